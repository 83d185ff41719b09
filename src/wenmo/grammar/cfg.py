"""A weighted context-free grammar made ready to be parsed character by character.

Three things that a chart cannot follow step by step are summed over beforehand (Stolcke 1995, "An
efficient probabilistic context-free parsing algorithm that computes prefix probabilities",
sections 4.5 to 4.7): symbols that write nothing, chains of symbols that become one another, and the
corners at which a symbol may begin. Productions that can write nothing in some place become
`Variant` productions without it, and those that are left with one symbol become links of chains.
What remains of a symbol's productions is a tree of their common beginnings, so that a list of a
thousand words costs little more than one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import NamedTuple

from wenmo.grammar.ast import Grammar
from wenmo.grammar.expansion import Expansion, Production, expand
from wenmo.grammar.fixpoint import least, paths
from wenmo.grammar.weights import flat, probabilities

START = 0
MOST_OPTIONAL = 4  # symbols of one production that may write nothing; longer ones are cut in two


class Variant(NamedTuple):
    """A production without some of its symbols, which write nothing.

    Attributes:
        production: its number.
        dropped: the symbols that write nothing.
        kept: what is left: single characters, and symbols.
    """

    production: int
    dropped: tuple[int, ...]
    kept: tuple[str | int, ...]


class Cfg:
    """The productions of an expansion and, for their present weights, all that a chart needs.

    Attributes:
        rules: the rule that each symbol belongs to, as it is shown.
        count: of symbols; 0 is the start.
        variants: what productions become; a variant's number is its place.
        root: the node of each symbol's tree where nothing is read yet.
        head: the symbol whose tree a node is in.
        parent, via: the node before it, and what is read on the way from there.
        characters, symbols: for each node, where a character or a symbol leads.
        ends: the variants that end at a node.
        total: of all that the weights give to texts that end; what follows is given that one does.
        nothing: how likely each symbol is to write nothing.
        final: the weight of what ends at a node.
        mass: the weight of all that ends at a node or behind it.
        up: for each symbol, those that become it by a chain, and the chain's weight.
        corner: for each symbol, those that it may begin with, and how often.
    """

    def __init__(self, expansion: Expansion) -> None:
        self.expansion = expansion
        self.productions, self.rules = _cut(expansion.productions, expansion.rules)
        self.count = len(self.rules)
        self._optional = _nullable(self.productions)
        self.variants: list[Variant] = []
        self.links: list[tuple[int, int, int]] = []  # head, symbol, variant
        self.head: list[int] = []
        self.parent: list[int] = []
        self.via: list[str | int] = []
        self.characters: list[dict[str, int]] = []
        self.symbols: list[dict[int, int]] = []
        self.ends: list[list[int]] = []
        self.root = [self._node(symbol, -1, "") for symbol in range(self.count)]
        for number, production in enumerate(self.productions):
            for variant in self._variants(number, production.body):
                self._plant(production.head, variant)

    @classmethod
    def of(cls, grammar: Grammar) -> Cfg:
        """A grammar made ready to be parsed.

        Raises:
            Beyond: it cannot be written out as a context-free one.
        """
        cfg = cls(expand(grammar))
        cfg.weigh_as(grammar)
        return cfg

    # -- the structure ---------------------------------------------------------------------------

    def _variants(self, number: int, body: Sequence[str | int]) -> Iterator[Variant]:
        optional = [at for at, part in enumerate(body) if part in self._optional]
        for dropping in product((False, True), repeat=len(optional)):
            gone = {at for at, drops in zip(optional, dropping, strict=True) if drops}
            kept: list[str | int] = []
            for at, part in enumerate(body):
                if at not in gone:
                    kept += part if isinstance(part, str) else [part]
            dropped = tuple(part for at in gone if isinstance(part := body[at], int))
            yield Variant(number, dropped, tuple(kept))

    def _plant(self, head: int, variant: Variant) -> None:
        """Put a variant into its symbol's tree, or among the links."""
        number = len(self.variants)
        self.variants.append(variant)
        if len(variant.kept) == 1 and isinstance(variant.kept[0], int):
            self.links.append((head, variant.kept[0], number))
            return
        node = self.root[head]
        for part in variant.kept:
            ways: dict[str, int] | dict[int, int] = self.symbols[node]
            if isinstance(part, str):
                ways = self.characters[node]
            if part not in ways:
                ways[part] = self._node(head, node, part)  # type: ignore[index]
            node = ways[part]  # type: ignore[index]
        if variant.kept:  # what is left with nothing is part of `nothing`
            self.ends[node].append(number)

    def _node(self, head: int, parent: int, via: str | int) -> int:
        self.head.append(head)
        self.parent.append(parent)
        self.via.append(via)
        self.characters.append({})
        self.symbols.append({})
        self.ends.append([])
        return len(self.head) - 1

    # -- the weights -----------------------------------------------------------------------------

    def weigh_as(self, grammar: Grammar) -> None:
        """Take the weights of a grammar that is otherwise the same."""
        shares, takings = flat(probabilities(grammar)), self.expansion.takings
        totals = [sum(shares[at] for at in taking.among) for taking in takings]
        self.weigh(
            [
                shares[taking.alternative] / total if total else 0.0
                for taking, total in zip(takings, totals, strict=True)
            ]
        )

    def weigh(self, probabilities: Sequence[float]) -> None:
        """Take other weights.

        Args:
            probabilities: of the takings of the expansion, by number.
        """
        raw = [
            production.share * prod(probabilities[taking] for taking in production.takings)
            for production in self.productions
        ]
        inside = [[part for part in p.body if isinstance(part, int)] for p in self.productions]
        self.weights = self._proper(raw, inside)
        self.nothing = self._nothing(inside)
        self.variant_weights = [self._variant_weight(variant) for variant in self.variants]
        self._weigh_trees()
        self._weigh_links()

    def _proper(self, raw: Sequence[float], inside: Sequence[Sequence[int]]) -> list[float]:
        """Weights of which those of a symbol sum to 1, with the same shares of all that ends."""
        equations: dict[int, list[tuple[float, Sequence[int]]]] = {
            symbol: [] for symbol in range(self.count)
        }
        for weight, production, symbols in zip(raw, self.productions, inside, strict=True):
            equations[production.head].append((weight, symbols))
        ends = least(equations)
        self.total = ends[START]
        return [
            weight * prod(ends[symbol] for symbol in symbols) / ends[production.head]
            if ends[production.head] > 0
            else 0.0
            for weight, production, symbols in zip(raw, self.productions, inside, strict=True)
        ]

    def _nothing(self, inside: Sequence[Sequence[int]]) -> list[float]:
        equations: dict[int, list[tuple[float, Sequence[int]]]] = {
            symbol: [] for symbol in range(self.count)
        }
        for weight, production, symbols in zip(self.weights, self.productions, inside, strict=True):
            if production.head in self._optional and len(symbols) == len(production.body):
                equations[production.head].append((weight, symbols))
        found = least(equations)
        return [min(1.0, found[symbol]) for symbol in range(self.count)]

    def _variant_weight(self, variant: Variant) -> float:
        """Of writing the variant, given that its head writes something."""
        head = self.productions[variant.production].head
        something = 1 - self.nothing[head]
        if something <= 0 or not variant.kept:
            return 0.0
        weight = self.weights[variant.production] / something
        for symbol in variant.dropped:
            weight *= self.nothing[symbol]
        for part in variant.kept:
            if isinstance(part, int):
                weight *= 1 - self.nothing[part]
        return weight

    def _weigh_trees(self) -> None:
        self.final = [sum(self.variant_weights[v] for v in ends) for ends in self.ends]
        self.mass = self.final[:]
        for node in range(len(self.head) - 1, -1, -1):  # a node stands behind its parent
            if self.parent[node] >= 0:
                self.mass[self.parent[node]] += self.mass[node]

    def _weigh_links(self) -> None:
        links: dict[int, dict[int, float]] = {}
        for head, symbol, variant in self.links:
            weight = self.variant_weights[variant]
            if weight > 0:
                own = links.setdefault(head, {})
                own[symbol] = own.get(symbol, 0.0) + weight
        self.chains = paths(links)
        self.up: list[list[tuple[int, float]]] = [[] for _ in range(self.count)]
        for symbol in range(self.count):
            for end, weight in self.chains.get(symbol, {symbol: 1.0}).items():
                self.up[end].append((symbol, weight))
        corners = {head: dict(row) for head, row in links.items()}
        for symbol in range(self.count):
            for first, node in self.symbols[self.root[symbol]].items():
                if self.mass[node] > 0:
                    own = corners.setdefault(symbol, {})
                    own[first] = own.get(first, 0.0) + self.mass[node]
        closed = paths(corners)
        self.corner = [
            list(closed.get(symbol, {symbol: 1.0}).items()) for symbol in range(self.count)
        ]


def _cut(
    productions: Sequence[Production], rules: Sequence[str]
) -> tuple[list[Production], list[str]]:
    """Productions with few enough symbols that may write nothing, and the rules of all symbols."""
    optional, rules = _nullable(productions), list(rules)
    made: list[Production] = []
    todo = list(reversed(productions))
    while todo:
        production = todo.pop()
        places = [at for at, part in enumerate(production.body) if part in optional]
        if len(places) > MOST_OPTIONAL:
            at = places[MOST_OPTIONAL - 1]
            rest = Production(len(rules), production.body[at:], (), 1.0)
            if all(part in optional for part in rest.body):
                optional.add(len(rules))
            production = production._replace(body=(*production.body[:at], len(rules)))
            todo.append(rest)
            rules.append(rules[production.head])
        made.append(production)
    return made, rules


def _nullable(productions: Sequence[Production]) -> set[int]:
    """The symbols that can write nothing."""
    waiting: dict[int, list[int]] = {}
    left = []
    for number, production in enumerate(productions):
        for part in production.body:
            if isinstance(part, int):
                waiting.setdefault(part, []).append(number)
        left.append(len(production.body))
    found: set[int] = set()
    todo = [p.head for p, count in zip(productions, left, strict=True) if not count]
    while todo:
        symbol = todo.pop()
        if symbol in found:
            continue
        found.add(symbol)
        for number in waiting.get(symbol, ()):
            left[number] -= 1
            if not left[number]:
                todo.append(productions[number].head)
    return found
