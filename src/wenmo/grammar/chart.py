"""Reading a text character by character by the rules: how likely it is, and what may follow.

Earley's algorithm with probabilities (Earley 1970; Stolcke 1995). A column holds what may be under
way after a text. It is made of the column before and never changed, so that texts with a common
beginning share its columns, and any of them can be gone on from again.

All figures of a column are given the text up to it: they are scaled by its probability, which
keeps them within what a float can hold, however long the text is.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush

from wenmo.grammar.ast import Grammar
from wenmo.grammar.cfg import START, Cfg
from wenmo.grammar.fixpoint import Beyond
from wenmo.types import WenmoError


class Column:
    """What may be under way after a text.

    Attributes:
        length: of the text.
        logprob: of all texts that begin with it.
        end: how likely the text is to end here.
        states: for each column where a rule may have begun, the nodes of the trees that may have
            been reached since, each with the probability of what it read since then.
        spans: for each column, the symbols that may have been written whole since, and how likely
            they are to write just this.
        expected: the symbols that may begin here, and how likely they are to.
    """

    __slots__ = ("_waiting", "end", "expected", "length", "logprob", "spans", "states")

    def __init__(self, length: int, logprob: float) -> None:
        self.length, self.logprob, self.end = length, logprob, 0.0
        self.states: dict[Column, dict[int, float]] = {}
        self.spans: dict[Column, dict[int, float]] = {}
        self.expected: dict[int, float] = {}
        self._waiting: dict[int, list[tuple[int, Column, float]]] | None = None

    def waiting(self, cfg: Cfg) -> dict[int, list[tuple[int, Column, float]]]:
        """For each symbol, what goes on when it has been written from here: the node then, the
        column where that began, and the probability of what it has read up to here.
        """
        if self._waiting is None:
            self._waiting = {}
            for origin, nodes in self.states.items():
                for node, inside in nodes.items():
                    for symbol, after in cfg.symbols[node].items():
                        self._waiting.setdefault(symbol, []).append((after, origin, inside))
            for head in self.expected:
                for symbol, after in cfg.symbols[cfg.root[head]].items():
                    self._waiting.setdefault(symbol, []).append((after, self, 1.0))
        return self._waiting


class Chart:
    """The columns of a grammar's texts."""

    def __init__(self, cfg: Cfg) -> None:
        self.cfg = cfg
        self._something = 1 - cfg.nothing[START]
        self.start = Column(0, 0.0)
        self.start.end = cfg.nothing[START]
        if self._something > 0:
            self._expect(self.start, {START: self._something})

    @classmethod
    def of(cls, grammar: Grammar) -> Chart:
        """The chart of a grammar.

        Raises:
            WenmoError: how likely a text is cannot be computed, for what is saved or modified.
        """
        try:
            return cls(Cfg.of(grammar))
        except Beyond as reason:
            raise WenmoError(
                f"this grammar can write, but how likely a text is cannot be computed: {reason}"
            ) from None

    def advance(self, column: Column, character: str) -> Column | None:
        """The column after one more character; None where no text goes on with it."""
        cfg = self.cfg
        states: dict[Column, dict[int, float]] = {}
        total = 0.0
        for origin, nodes in column.states.items():
            read = {}
            for node, inside in nodes.items():
                after = cfg.characters[node].get(character)
                if after is not None and cfg.mass[after] > 0:
                    read[after] = inside
                    total += origin.expected[cfg.head[node]] * inside * cfg.mass[after]
            if read:
                states[origin] = read
        read = {}
        for symbol, likely in column.expected.items():
            after = cfg.characters[cfg.root[symbol]].get(character)
            if after is not None and cfg.mass[after] > 0:
                read[after] = 1.0
                total += likely * cfg.mass[after]
        if read:
            states[column] = read
        if not total > 0:
            return None
        for nodes in states.values():
            for node in nodes:
                nodes[node] /= total
        made = Column(column.length + 1, column.logprob + math.log(total))
        made.states = states
        self._complete(made)
        self._predict(made)
        return made

    def read(self, text: str) -> list[Column] | None:
        """The columns of a text, from that before it on; None where no text begins with it."""
        columns = [self.start]
        for character in text:
            column = self.advance(columns[-1], character)
            if column is None:
                return None
            columns.append(column)
        return columns

    def logprob(self, text: str) -> float:
        """The natural log-probability of a whole text, summed over its derivations."""
        columns = self.read(text)
        if columns is None or not columns[-1].end > 0:
            return -math.inf
        return columns[-1].logprob + math.log(columns[-1].end)

    def following(self, column: Column) -> dict[str, float]:
        """How likely each character is to follow; with `Column.end` they sum to 1."""
        likely: dict[str, float] = {}
        for shares in self.by_rule(column).values():
            for character, share in shares.items():
                likely[character] = likely.get(character, 0.0) + share
        return likely

    def by_rule(self, column: Column) -> dict[int, dict[str, float]]:
        """How likely each character is to follow by each symbol's own productions."""
        cfg = self.cfg
        found: dict[int, dict[str, float]] = {}
        under_way = [
            (node, origin.expected[cfg.head[node]] * inside)
            for origin, nodes in column.states.items()
            for node, inside in nodes.items()
        ]
        begun = [(cfg.root[symbol], likely) for symbol, likely in column.expected.items()]
        for node, likely in under_way + begun:
            for character, after in cfg.characters[node].items():
                if cfg.mass[after] > 0:
                    own = found.setdefault(cfg.head[node], {})
                    own[character] = own.get(character, 0.0) + likely * cfg.mass[after]
        return found

    def _complete(self, made: Column) -> None:
        """Find the symbols that are written whole, those that began last first, and let go on what
        waited for them.
        """
        cfg, states = self.cfg, made.states
        order = [(-origin.length, origin) for origin in states]
        heapify(order)
        while order:
            _, origin = heappop(order)
            direct: dict[int, float] = {}
            for node, inside in states[origin].items():
                if cfg.final[node] > 0:
                    head = cfg.head[node]
                    direct[head] = direct.get(head, 0.0) + inside * cfg.final[node]
            if not direct:
                continue
            whole: dict[int, float] = {}
            for symbol, inside in direct.items():
                for above, chain in cfg.up[symbol]:
                    whole[above] = whole.get(above, 0.0) + inside * chain
            made.spans[origin] = whole
            waiting = origin.waiting(cfg)
            for symbol, inside in whole.items():
                for node, began, before in waiting.get(symbol, ()):
                    if not cfg.mass[node] > 0:
                        continue
                    if began not in states:
                        states[began] = {}
                        heappush(order, (-began.length, began))
                    nodes = states[began]
                    nodes[node] = nodes.get(node, 0.0) + before * inside
        made.end = made.spans.get(self.start, {}).get(START, 0.0) * self._something

    def _predict(self, made: Column) -> None:
        """Find the symbols that may begin here."""
        cfg = self.cfg
        wanted: dict[int, float] = {}
        for origin, nodes in made.states.items():
            for node, inside in nodes.items():
                for symbol, after in cfg.symbols[node].items():
                    likely = origin.expected[cfg.head[node]] * inside * cfg.mass[after]
                    if likely > 0:
                        wanted[symbol] = wanted.get(symbol, 0.0) + likely
        self._expect(made, wanted)

    def _expect(self, column: Column, wanted: dict[int, float]) -> None:
        expected = column.expected
        for symbol, likely in wanted.items():
            for first, share in self.cfg.corner[symbol]:
                expected[first] = expected.get(first, 0.0) + likely * share
