"""All derivations of texts, kept as sums of products, so that weights can be learnt from them.

A forest's node is a symbol, or the beginning of a production, over a part of a text; each of its
edges is one way to make it, of at most two nodes and one weight. All forests stand in the same
arrays, level above level, so that a round of inside and outside takes a few operations for each
level, whatever the number of texts (Baker 1979; Lari & Young 1990, "The estimation of stochastic
context-free grammars using the inside-outside algorithm").
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wenmo.grammar.cfg import START
from wenmo.grammar.chart import Chart, Column

Floats: TypeAlias = NDArray[np.float64]
NOTHING = -1  # a node that is certain, or a weight of one
Chain: TypeAlias = tuple[int, int]


class Node(NamedTuple):
    """Something that is written of a part of a text.

    Attributes:
        kind: ``whole``, a symbol, chains and all; ``direct``, a symbol by its own productions; or
            ``begun``, the beginning of a production, of which the last part is a symbol.
        what: the symbol, or the node of the tree of beginnings.
        start, stop: the part of the text.
    """

    kind: Literal["whole", "direct", "begun"]
    what: int
    start: int
    stop: int


class Edge(NamedTuple):
    """One way to make a node: a variant, or a chain from a symbol to a symbol, and other nodes."""

    variant: int
    chain: Chain | None
    parts: tuple[Node, ...]


class Forests:
    """The derivations of many texts under one grammar.

    Attributes:
        weights: the number of every weight of an edge: a variant's is its own, a chain's follow.
        empty: how often the empty text was added.
    """

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.chains: dict[Chain, int] = {}
        self.empty = 0.0
        self._levels: list[int] = []
        self._edges: list[tuple[int, int, int, int]] = []  # head, weight, two parts
        self._roots: list[int] = []
        self._counts: list[float] = []

    def add(self, text: str, count: float = 1.0) -> bool:
        """Add a text that was seen so often; false if the grammar cannot write it."""
        columns = self.chart.read(text)
        if columns is None or not columns[-1].end > 0:
            return False
        if not text:
            self.empty += count
            return True
        root, numbers = Node("whole", START, 0, len(text)), dict[Node, int]()
        todo: list[tuple[Node, list[Edge] | None]] = [(root, None)]
        while todo:
            node, edges = todo.pop()
            if node in numbers:
                continue
            if edges is None:
                edges = list(_edges(self.chart, columns, node))
                todo.append((node, edges))
                todo += [(part, None) for edge in edges for part in edge.parts]
                continue
            numbers[node] = self._add(edges, numbers)
        self._roots.append(numbers[root])
        self._counts.append(count)
        return True

    def _add(self, edges: list[Edge], numbers: dict[Node, int]) -> int:
        number, level = len(self._levels), 0
        for edge in edges:
            parts = [numbers[part] for part in edge.parts]
            level = max([level, *(self._levels[part] + 1 for part in parts)])
            weight = edge.variant
            if edge.chain is not None:
                variants = len(self.chart.cfg.variants)
                weight = variants + self.chains.setdefault(edge.chain, len(self.chains))
            left, right = [*parts, NOTHING, NOTHING][:2]
            self._edges.append((number, weight, left, right))
        self._levels.append(level)
        return number

    def freeze(self) -> Frozen:
        """The forests as arrays."""
        return Frozen(
            np.array(self._levels, np.int64),
            np.array(self._edges, np.int64).reshape(-1, 4),
            np.array(self._roots, np.int64),
            np.array(self._counts, np.float64),
        )


class Frozen:
    """Forests that nothing is added to.

    Args:
        levels: of each node; what it is made of is below.
        edges: node, weight, and two nodes it is made of, `NOTHING` for none.
        roots: the node of each text.
        counts: how often each was seen.
    """

    def __init__(
        self,
        levels: NDArray[np.int64],
        edges: NDArray[np.int64],
        roots: NDArray[np.int64],
        counts: Floats,
    ) -> None:
        order = np.lexsort((edges[:, 0], levels[edges[:, 0]]))
        self.head, self.weight, self.left, self.right = edges[order].T
        bounds = np.flatnonzero(np.diff(levels[self.head], prepend=-1, append=-1))
        self.slices = [slice(a, b) for a, b in pairwise(bounds)]
        self.nodes, self.roots, self.counts = len(levels), roots, counts

    def expect(self, log_weights: Floats) -> tuple[Floats, Floats]:
        """How likely the texts are, and how often each weight is expected to have had a part.

        Args:
            log_weights: of the variants and chains, by number.

        Returns:
            The log-probability of each text, and the expected count of each weight.
        """
        weights = np.append(log_weights, 0.0)  # the last is that of edges without one
        inside = np.zeros(self.nodes + 1)  # the last is the certain node
        made = np.empty(len(self.head))
        for part in self.slices:
            made[part] = weights[self.weight[part]]
            made[part] += inside[self.left[part]] + inside[self.right[part]]
            heads, starts = np.unique(self.head[part], return_index=True)
            inside[heads] = np.logaddexp.reduceat(made[part], starts)
        with np.errstate(invalid="ignore"):  # of nodes that cannot be made
            shares = np.nan_to_num(np.exp(made - inside[self.head]))
        outside = np.zeros(self.nodes + 1)
        np.add.at(outside, self.roots, self.counts)
        counts = np.zeros(len(self.head))
        for part in reversed(self.slices):
            counts[part] = shares[part] * outside[self.head[part]]
            np.add.at(outside, self.left[part], counts[part])
            np.add.at(outside, self.right[part], counts[part])
        expected = np.zeros(len(weights))
        np.add.at(expected, self.weight, counts)
        return inside[self.roots], expected[:-1]


def _edges(chart: Chart, columns: list[Column], node: Node) -> Iterator[Edge]:
    """The ways to make a node, each of nodes over smaller parts of the text."""
    kind, what, start, stop = node
    cfg, nodes = chart.cfg, columns[stop].states[columns[start]]
    if kind == "whole":
        direct = {cfg.head[at] for at in nodes if cfg.final[at] > 0}
        for end, chain in cfg.chains.get(what, {what: 1.0}).items():
            if end in direct and chain > 0:
                yield Edge(NOTHING, (what, end), (Node("direct", end, start, stop),))
    elif kind == "direct":
        for at in nodes:
            if cfg.head[at] == what and cfg.final[at] > 0:
                parts = tuple(_last_symbol(chart, at, start, stop))
                for variant in cfg.ends[at]:
                    if cfg.variant_weights[variant] > 0:
                        yield Edge(variant, None, parts)
    else:
        yield from _beginnings(chart, columns, node)


def _beginnings(chart: Chart, columns: list[Column], node: Node) -> Iterator[Edge]:
    """The ways in which a beginning can be parted into its last symbol and what stands before."""
    cfg = chart.cfg
    parent, symbol = cfg.parent[node.what], int(cfg.via[node.what])
    for origin, whole in columns[node.stop].spans.items():
        middle = origin.length
        if middle < node.start or symbol not in whole:
            continue
        last = Node("whole", symbol, middle, node.stop)
        if cfg.parent[parent] < 0:
            if middle == node.start:
                yield Edge(NOTHING, None, (last,))
        elif parent in columns[middle].states.get(columns[node.start], {}):
            yield Edge(NOTHING, None, (*_last_symbol(chart, parent, node.start, middle), last))


def _last_symbol(chart: Chart, node: int, start: int, stop: int) -> Iterator[Node]:
    """A beginning of a production without the characters at its end, if anything is left then."""
    cfg = chart.cfg
    while isinstance(cfg.via[node], str) and cfg.parent[node] >= 0:
        node, stop = cfg.parent[node], stop - 1
    if cfg.parent[node] >= 0:
        yield Node("begun", node, start, stop)
