"""Probabilistic Earley parsing, character by character (Earley 1970; Stolcke 1995).

A column is the set of Earley items after a prefix. It is computed from the column before it and
never changed, so that texts with a common prefix share columns and any column can be continued
again.

All probabilities in a column are conditioned on its prefix; this scaling prevents underflow,
however long the text is.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush

from wenmo.grammar.ast import Grammar
from wenmo.grammar.cfg import START, Cfg
from wenmo.grammar.fixpoint import IntractableError
from wenmo.types import WenmoError


class Column:
    """The Earley items after a prefix.

    Attributes:
        length: number of characters of the prefix.
        logprob: natural log-probability of all texts with this prefix.
        end_prob: probability that the text ends here.
        states: by origin column, the trie nodes reached since then, with the probability of the
            characters read.
        completed: by origin column, the symbols completed here, with the probability of the
            characters read.
        predicted: the symbols predicted here, with their probabilities.
    """

    __slots__ = (
        "_waiting",
        "completed",
        "end_prob",
        "length",
        "logprob",
        "predicted",
        "states",
    )

    def __init__(self, length: int, logprob: float) -> None:
        self.length, self.logprob, self.end_prob = length, logprob, 0.0
        self.states: dict[Column, dict[int, float]] = {}
        self.completed: dict[Column, dict[int, float]] = {}
        self.predicted: dict[int, float] = {}
        self._waiting: dict[int, list[tuple[int, Column, float]]] | None = None

    def waiting_for(self, cfg: Cfg) -> dict[int, list[tuple[int, Column, float]]]:
        """The items waiting for each symbol predicted here: the node after it, the item's origin,
        and the probability of the characters it has read.
        """
        if self._waiting is None:
            self._waiting = {}
            for origin, nodes in self.states.items():
                for node, inside_prob in nodes.items():
                    for symbol, after in cfg.symbols[node].items():
                        self._waiting.setdefault(symbol, []).append((after, origin, inside_prob))
            for head in self.predicted:
                for symbol, after in cfg.symbols[cfg.roots[head]].items():
                    self._waiting.setdefault(symbol, []).append((after, self, 1.0))
        return self._waiting


class Chart:
    """The columns of a grammar's texts."""

    def __init__(self, cfg: Cfg) -> None:
        self.cfg = cfg
        self._nonempty_prob = 1 - cfg.empty_prob[START]
        self.start = Column(0, 0.0)
        self.start.end_prob = cfg.empty_prob[START]
        if self._nonempty_prob > 0:
            self._add_predictions(self.start, {START: self._nonempty_prob})

    @classmethod
    def from_grammar(cls, grammar: Grammar) -> Chart:
        """The chart of a grammar.

        Raises:
            WenmoError: probabilities cannot be computed, because of saved texts or modifiers.
        """
        try:
            return cls(Cfg.from_grammar(grammar))
        except IntractableError as reason:
            raise WenmoError(
                "this grammar can generate texts, but their probabilities cannot be computed: "
                f"{reason}"
            ) from None

    def advance(self, column: Column, character: str) -> Column | None:
        """The column after one more character; None if no text has this prefix."""
        cfg = self.cfg
        states: dict[Column, dict[int, float]] = {}
        total = 0.0
        for origin, nodes in column.states.items():
            advanced = {}
            for node, inside_prob in nodes.items():
                after = cfg.characters[node].get(character)
                if after is not None and cfg.subtree_weight[after] > 0:
                    advanced[after] = inside_prob
                    total += (
                        origin.predicted[cfg.head[node]] * inside_prob * cfg.subtree_weight[after]
                    )
            if advanced:
                states[origin] = advanced
        advanced = {}
        for symbol, prob in column.predicted.items():
            after = cfg.characters[cfg.roots[symbol]].get(character)
            if after is not None and cfg.subtree_weight[after] > 0:
                advanced[after] = 1.0
                total += prob * cfg.subtree_weight[after]
        if advanced:
            states[column] = advanced
        if not total > 0:
            return None
        for nodes in states.values():
            for node in nodes:
                nodes[node] /= total
        new = Column(column.length + 1, column.logprob + math.log(total))
        new.states = states
        self._complete(new)
        self._predict(new)
        return new

    def parse(self, text: str) -> list[Column] | None:
        """The columns of all prefixes of a text, the empty one first; None if no text has this
        prefix.
        """
        columns = [self.start]
        for character in text:
            column = self.advance(columns[-1], character)
            if column is None:
                return None
            columns.append(column)
        return columns

    def logprob(self, text: str) -> float:
        """The natural log-probability of a text, summed over its derivations; -inf if it has
        none.
        """
        columns = self.parse(text)
        if columns is None or not columns[-1].end_prob > 0:
            return -math.inf
        return columns[-1].logprob + math.log(columns[-1].end_prob)

    def next_char_probs(self, column: Column) -> dict[str, float]:
        """The probability of each next character; they sum to 1 with `Column.end_prob`."""
        total: dict[str, float] = {}
        for probs in self.next_char_probs_by_symbol(column).values():
            for character, prob in probs.items():
                total[character] = total.get(character, 0.0) + prob
        return total

    def next_char_probs_by_symbol(self, column: Column) -> dict[int, dict[str, float]]:
        """The probability of each next character by the symbol whose production contains it."""
        cfg = self.cfg
        found: dict[int, dict[str, float]] = {}
        items = [
            (node, origin.predicted[cfg.head[node]] * inside_prob)
            for origin, nodes in column.states.items()
            for node, inside_prob in nodes.items()
        ]
        predicted = [(cfg.roots[symbol], prob) for symbol, prob in column.predicted.items()]
        for node, prob in items + predicted:
            for character, after in cfg.characters[node].items():
                if cfg.subtree_weight[after] > 0:
                    probs = found.setdefault(cfg.head[node], {})
                    probs[character] = probs.get(character, 0.0) + prob * cfg.subtree_weight[after]
        return found

    def _complete(self, new: Column) -> None:
        """Complete symbols and advance the items waiting for them, in the order of their origins,
        last first.
        """
        cfg, states = self.cfg, new.states
        queue = [(-origin.length, origin) for origin in states]
        heapify(queue)
        while queue:
            _, origin = heappop(queue)
            direct: dict[int, float] = {}
            for node, inside_prob in states[origin].items():
                if cfg.end_weight[node] > 0:
                    head = cfg.head[node]
                    direct[head] = direct.get(head, 0.0) + inside_prob * cfg.end_weight[node]
            if not direct:
                continue
            completed: dict[int, float] = {}
            for symbol, inside_prob in direct.items():
                for above, chain in cfg.unit_ancestors[symbol]:
                    completed[above] = completed.get(above, 0.0) + inside_prob * chain
            new.completed[origin] = completed
            waiting = origin.waiting_for(cfg)
            for symbol, inside_prob in completed.items():
                for node, item_origin, item_prob in waiting.get(symbol, ()):
                    if not cfg.subtree_weight[node] > 0:
                        continue
                    if item_origin not in states:
                        states[item_origin] = {}
                        heappush(queue, (-item_origin.length, item_origin))
                    nodes = states[item_origin]
                    nodes[node] = nodes.get(node, 0.0) + item_prob * inside_prob
        new.end_prob = new.completed.get(self.start, {}).get(START, 0.0) * self._nonempty_prob

    def _predict(self, new: Column) -> None:
        """Predict the symbols that can begin here."""
        cfg = self.cfg
        predictions: dict[int, float] = {}
        for origin, nodes in new.states.items():
            for node, inside_prob in nodes.items():
                for symbol, after in cfg.symbols[node].items():
                    prob = (
                        origin.predicted[cfg.head[node]] * inside_prob * cfg.subtree_weight[after]
                    )
                    if prob > 0:
                        predictions[symbol] = predictions.get(symbol, 0.0) + prob
        self._add_predictions(new, predictions)

    def _add_predictions(self, column: Column, predictions: dict[int, float]) -> None:
        expected = column.predicted
        for symbol, prob in predictions.items():
            for corner, weight in self.cfg.left_corners[symbol]:
                expected[corner] = expected.get(corner, 0.0) + prob * weight
