"""A weighted context-free grammar, prepared for parsing character by character.

What a chart cannot follow step by step is computed beforehand (Stolcke 1995, "An efficient
probabilistic context-free parsing algorithm that computes prefix probabilities", sections 4.5 to
4.7): nullable symbols, chains of unit productions, and left corners. A production with nullable
symbols becomes a `Variant` for each subset of them that is dropped; variants with a single symbol
become unit productions. The other variants of a symbol form a trie of their common prefixes, so
that a list of a thousand words costs little more than one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import NamedTuple

from wenmo.grammar.ast import Grammar
from wenmo.grammar.expansion import ExpandedGrammar, Production, expand
from wenmo.grammar.fixpoint import least_solution, path_sums
from wenmo.grammar.weights import flatten, probabilities

START = 0
MAX_NULLABLE = 4  # nullable symbols of a production; productions with more are split in two


class Variant(NamedTuple):
    """A production without some of its nullable symbols.

    Attributes:
        production: index of the production.
        dropped: the symbols that are replaced by the empty string.
        kept: the others: single characters, and symbols.
    """

    production: int
    dropped: tuple[int, ...]
    kept: tuple[str | int, ...]


class Cfg:
    """A context-free grammar with the tables of a chart parser, for the present weights.

    Attributes:
        rules: display name of the rule of each symbol.
        symbol_count: number of symbols; 0 is the start symbol.
        variants: the variants of all productions.
        roots: root node of each symbol's trie.
        head: the symbol whose trie a node is in.
        parent, label: a node's parent, and the label of the edge from it.
        characters, symbols: a node's children, by character and by symbol.
        variants_ending: the variants that end at a node.
        total: probability of the finite derivations; all other probabilities are conditioned on
            them.
        empty_prob: probability of the empty string, for each symbol.
        end_weight: weight of the variants that end at a node.
        subtree_weight: weight of the variants that end in a node's subtree.
        unit_ancestors: for each symbol, those that derive it by unit productions, with the weight
            of all chains.
        left_corners: for each symbol, its left corners with their expected numbers.
    """

    def __init__(self, expanded: ExpandedGrammar) -> None:
        self.expanded = expanded
        self.productions, self.rules = _split_productions(expanded.productions, expanded.rules)
        self.symbol_count = len(self.rules)
        self._nullable = nullable_symbols(self.productions)
        self.variants: list[Variant] = []
        self.unit_productions: list[tuple[int, int, int]] = []  # head, symbol, variant
        self.head: list[int] = []
        self.parent: list[int] = []
        self.label: list[str | int] = []
        self.characters: list[dict[str, int]] = []
        self.symbols: list[dict[int, int]] = []
        self.variants_ending: list[list[int]] = []
        self.roots = [self._add_node(symbol, -1, "") for symbol in range(self.symbol_count)]
        for number, production in enumerate(self.productions):
            for variant in self._variants_of(number, production.body):
                self._insert(production.head, variant)

    @classmethod
    def from_grammar(cls, grammar: Grammar) -> Cfg:
        """The context-free form of a grammar.

        Raises:
            IntractableError: it has none, or it is too large.
        """
        cfg = cls(expand(grammar))
        cfg.set_weights(grammar)
        return cfg

    # -- structure -----------------------------------------------------------------------------

    def _variants_of(self, number: int, body: Sequence[str | int]) -> Iterator[Variant]:
        nullable = [i for i, item in enumerate(body) if item in self._nullable]
        for dropping in product((False, True), repeat=len(nullable)):
            dropped_at = {i for i, drops in zip(nullable, dropping, strict=True) if drops}
            kept: list[str | int] = []
            for i, item in enumerate(body):
                if i not in dropped_at:
                    kept += item if isinstance(item, str) else [item]
            dropped = tuple(item for i in dropped_at if isinstance(item := body[i], int))
            yield Variant(number, dropped, tuple(kept))

    def _insert(self, head: int, variant: Variant) -> None:
        """Insert a variant into its symbol's trie, or append it to the unit productions."""
        number = len(self.variants)
        self.variants.append(variant)
        if len(variant.kept) == 1 and isinstance(variant.kept[0], int):
            self.unit_productions.append((head, variant.kept[0], number))
            return
        node = self.roots[head]
        for item in variant.kept:
            children: dict[str, int] | dict[int, int] = self.symbols[node]
            if isinstance(item, str):
                children = self.characters[node]
            if item not in children:
                children[item] = self._add_node(head, node, item)  # type: ignore[index]
            node = children[item]  # type: ignore[index]
        if variant.kept:  # empty variants are counted in `empty_prob`
            self.variants_ending[node].append(number)

    def _add_node(self, head: int, parent: int, label: str | int) -> int:
        self.head.append(head)
        self.parent.append(parent)
        self.label.append(label)
        self.characters.append({})
        self.symbols.append({})
        self.variants_ending.append([])
        return len(self.head) - 1

    # -- weights -------------------------------------------------------------------------------

    def set_weights(self, grammar: Grammar) -> None:
        """Set the weights of a grammar that is otherwise the same."""
        probs, choices = flatten(probabilities(grammar)), self.expanded.choices
        totals = [sum(probs[i] for i in choice.candidates) for choice in choices]
        self.set_probabilities(
            [
                probs[choice.alternative] / total if total else 0.0
                for choice, total in zip(choices, totals, strict=True)
            ]
        )

    def set_probabilities(self, probabilities: Sequence[float]) -> None:
        """Set the probabilities.

        Args:
            probabilities: of each choice of the expanded grammar.
        """
        weights = [
            production.factor * prod(probabilities[choice] for choice in production.choices)
            for production in self.productions
        ]
        body_symbols = [
            [item for item in p.body if isinstance(item, int)] for p in self.productions
        ]
        self.weights = self._normalise(weights, body_symbols)
        self.empty_prob = self._empty_probs(body_symbols)
        self.variant_weights = [self._variant_weight(variant) for variant in self.variants]
        self._set_trie_weights()
        self._set_unit_closure()

    def _normalise(
        self, weights: Sequence[float], body_symbols: Sequence[Sequence[int]]
    ) -> list[float]:
        """Weights normalised for each symbol, with the same relative weights of finite
        derivations.
        """
        equations: dict[int, list[tuple[float, Sequence[int]]]] = {
            symbol: [] for symbol in range(self.symbol_count)
        }
        for weight, production, symbols in zip(
            weights, self.productions, body_symbols, strict=True
        ):
            equations[production.head].append((weight, symbols))
        end_probs = least_solution(equations)
        self.total = end_probs[START]
        return [
            weight * prod(end_probs[symbol] for symbol in symbols) / end_probs[production.head]
            if end_probs[production.head] > 0
            else 0.0
            for weight, production, symbols in zip(
                weights, self.productions, body_symbols, strict=True
            )
        ]

    def _empty_probs(self, body_symbols: Sequence[Sequence[int]]) -> list[float]:
        equations: dict[int, list[tuple[float, Sequence[int]]]] = {
            symbol: [] for symbol in range(self.symbol_count)
        }
        for weight, production, symbols in zip(
            self.weights, self.productions, body_symbols, strict=True
        ):
            if production.head in self._nullable and len(symbols) == len(production.body):
                equations[production.head].append((weight, symbols))
        found = least_solution(equations)
        return [min(1.0, found[symbol]) for symbol in range(self.symbol_count)]

    def _variant_weight(self, variant: Variant) -> float:
        """The probability of a variant, given that its head is not empty."""
        head = self.productions[variant.production].head
        nonempty_prob = 1 - self.empty_prob[head]
        if nonempty_prob <= 0 or not variant.kept:
            return 0.0
        weight = self.weights[variant.production] / nonempty_prob
        for symbol in variant.dropped:
            weight *= self.empty_prob[symbol]
        for item in variant.kept:
            if isinstance(item, int):
                weight *= 1 - self.empty_prob[item]
        return weight

    def _set_trie_weights(self) -> None:
        self.end_weight = [
            sum(self.variant_weights[v] for v in variants) for variants in self.variants_ending
        ]
        self.subtree_weight = self.end_weight[:]
        # Children have larger indices than their parents.
        for node in reversed(range(len(self.head))):
            if self.parent[node] >= 0:
                self.subtree_weight[self.parent[node]] += self.subtree_weight[node]

    def _set_unit_closure(self) -> None:
        units: dict[int, dict[int, float]] = {}
        for head, symbol, variant in self.unit_productions:
            weight = self.variant_weights[variant]
            if weight > 0:
                row = units.setdefault(head, {})
                row[symbol] = row.get(symbol, 0.0) + weight
        self.unit_closure = path_sums(units)
        self.unit_ancestors: list[list[tuple[int, float]]] = [[] for _ in range(self.symbol_count)]
        for symbol in range(self.symbol_count):
            for end, weight in self.unit_closure.get(symbol, {symbol: 1.0}).items():
                self.unit_ancestors[end].append((symbol, weight))
        corners = {head: dict(row) for head, row in units.items()}
        for symbol in range(self.symbol_count):
            for corner, node in self.symbols[self.roots[symbol]].items():
                if self.subtree_weight[node] > 0:
                    row = corners.setdefault(symbol, {})
                    row[corner] = row.get(corner, 0.0) + self.subtree_weight[node]
        corner_closure = path_sums(corners)
        self.left_corners = [
            list(corner_closure.get(symbol, {symbol: 1.0}).items())
            for symbol in range(self.symbol_count)
        ]


def _split_productions(
    productions: Sequence[Production], rules: Sequence[str]
) -> tuple[list[Production], list[str]]:
    """Productions with few enough nullable symbols, and the rules of all symbols."""
    nullable, rules = nullable_symbols(productions), list(rules)
    result: list[Production] = []
    stack = list(reversed(productions))
    while stack:
        production = stack.pop()
        nullable_at = [i for i, item in enumerate(production.body) if item in nullable]
        if len(nullable_at) > MAX_NULLABLE:
            i = nullable_at[MAX_NULLABLE - 1]
            tail = Production(len(rules), production.body[i:], (), 1.0)
            if all(item in nullable for item in tail.body):
                nullable.add(len(rules))
            production = production._replace(body=(*production.body[:i], len(rules)))
            stack.append(tail)
            rules.append(rules[production.head])
        result.append(production)
    return result, rules


def nullable_symbols(productions: Sequence[Production]) -> set[int]:
    """The symbols that can derive the empty string."""
    dependents: dict[int, list[int]] = {}
    remaining = []
    for number, production in enumerate(productions):
        for item in production.body:
            if isinstance(item, int):
                dependents.setdefault(item, []).append(number)
        remaining.append(len(production.body))
    found: set[int] = set()
    stack = [p.head for p, count in zip(productions, remaining, strict=True) if not count]
    while stack:
        symbol = stack.pop()
        if symbol in found:
            continue
        found.add(symbol)
        for number in dependents.get(symbol, ()):
            remaining[number] -= 1
            if not remaining[number]:
                stack.append(productions[number].head)
    return found
