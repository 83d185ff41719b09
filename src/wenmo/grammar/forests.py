"""Parse forests of many texts as arrays, for the inside-outside algorithm.

A forest node is a symbol, or a prefix of a production, over a span of a text; each of its edges is
one derivation step from at most two nodes, with one weight. All forests share the same arrays,
level by level, so that a pass takes a few operations for each level, whatever the number of texts
(Baker 1979; Lari & Young 1990, "The estimation of stochastic context-free grammars using the
inside-outside algorithm").
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
NONE = -1  # no node (probability 1), or no weight (1)
Chain: TypeAlias = tuple[int, int]


class ForestNode(NamedTuple):
    """A symbol or a prefix of a production over a span of a text.

    Attributes:
        kind: ``symbol``, unit productions included; ``direct``, a symbol by its own productions; or
            ``prefix``, of a production, ending with a symbol.
        item: the symbol, or the trie node of the prefix.
        start, stop: the span of the text.
    """

    kind: Literal["symbol", "direct", "prefix"]
    item: int
    start: int
    stop: int


class Edge(NamedTuple):
    """One derivation step: a variant or a chain of unit productions, and child nodes."""

    variant: int
    chain: Chain | None
    children: tuple[ForestNode, ...]


class Forests:
    """The derivations of many texts under one grammar.

    Attributes:
        chains: index of the weight of each chain; these follow the weights of the variants.
        empty: count of the empty text.
    """

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.chains: dict[Chain, int] = {}
        self.empty = 0.0
        self._levels: list[int] = []
        self._edges: list[tuple[int, int, int, int]] = []  # head, weight, two children
        self._roots: list[int] = []
        self._counts: list[float] = []

    def add(self, text: str, count: float = 1.0) -> bool:
        """Add a text with its count; False if the grammar cannot generate it."""
        columns = self.chart.parse(text)
        if columns is None or not columns[-1].end_prob > 0:
            return False
        if not text:
            self.empty += count
            return True
        root, indices = ForestNode("symbol", START, 0, len(text)), dict[ForestNode, int]()
        stack: list[tuple[ForestNode, list[Edge] | None]] = [(root, None)]
        while stack:
            node, edges = stack.pop()
            if node in indices:
                continue
            if edges is None:
                edges = list(_edges(self.chart, columns, node))
                stack.append((node, edges))
                stack += [(child, None) for edge in edges for child in edge.children]
                continue
            indices[node] = self._add(edges, indices)
        self._roots.append(indices[root])
        self._counts.append(count)
        return True

    def _add(self, edges: list[Edge], indices: dict[ForestNode, int]) -> int:
        index, level = len(self._levels), 0
        for edge in edges:
            children = [indices[child] for child in edge.children]
            level = max([level, *(self._levels[child] + 1 for child in children)])
            weight = edge.variant
            if edge.chain is not None:
                variants = len(self.chart.cfg.variants)
                weight = variants + self.chains.setdefault(edge.chain, len(self.chains))
            left, right = [*children, NONE, NONE][:2]
            self._edges.append((index, weight, left, right))
        self._levels.append(level)
        return index

    def pack(self) -> PackedForests:
        """The forests as arrays."""
        return PackedForests(
            np.array(self._levels, np.int64),
            np.array(self._edges, np.int64).reshape(-1, 4),
            np.array(self._roots, np.int64),
            np.array(self._counts, np.float64),
        )


class PackedForests:
    """Forests as arrays.

    Args:
        levels: level of each node, int64 (nodes,); children are at lower levels.
        edges: head, weight and two children of each edge, `NONE` for none, int64 (edges, 4).
        roots: root node of each text, int64 (texts,).
        counts: count of each text, float64 (texts,).
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
        self.node_count, self.roots, self.counts = len(levels), roots, counts

    def inside_outside(self, log_weights: Floats) -> tuple[Floats, Floats]:
        """One pass of the inside-outside algorithm.

        Args:
            log_weights: of the variants and chains, float64 (weights,).

        Returns:
            The log-probability of each text, and the expected count of each weight.
        """
        weights = np.append(log_weights, 0.0)  # the last is for edges without a weight
        inside = np.zeros(self.node_count + 1)  # the last is for missing children
        scores = np.empty(len(self.head))
        for level in self.slices:
            scores[level] = weights[self.weight[level]]
            scores[level] += inside[self.left[level]] + inside[self.right[level]]
            heads, starts = np.unique(self.head[level], return_index=True)
            inside[heads] = np.logaddexp.reduceat(scores[level], starts)
        with np.errstate(invalid="ignore"):  # nodes of probability 0
            posteriors = np.nan_to_num(np.exp(scores - inside[self.head]))
        outside = np.zeros(self.node_count + 1)
        np.add.at(outside, self.roots, self.counts)
        counts = np.zeros(len(self.head))
        for level in reversed(self.slices):
            counts[level] = posteriors[level] * outside[self.head[level]]
            np.add.at(outside, self.left[level], counts[level])
            np.add.at(outside, self.right[level], counts[level])
        expected = np.zeros(len(weights))
        np.add.at(expected, self.weight, counts)
        return inside[self.roots], expected[:-1]


def _edges(chart: Chart, columns: list[Column], node: ForestNode) -> Iterator[Edge]:
    """The edges of a node."""
    kind, symbol, start, stop = node
    cfg, nodes = chart.cfg, columns[stop].states[columns[start]]
    if kind == "symbol":
        direct = {cfg.head[trie_node] for trie_node in nodes if cfg.end_weight[trie_node] > 0}
        for end, chain in cfg.unit_closure.get(symbol, {symbol: 1.0}).items():
            if end in direct and chain > 0:
                yield Edge(NONE, (symbol, end), (ForestNode("direct", end, start, stop),))
    elif kind == "direct":
        for trie_node in nodes:
            if cfg.head[trie_node] == symbol and cfg.end_weight[trie_node] > 0:
                children = tuple(_last_symbol(chart, trie_node, start, stop))
                for variant in cfg.variants_ending[trie_node]:
                    if cfg.variant_weights[variant] > 0:
                        yield Edge(variant, None, children)
    else:
        yield from _prefix_edges(chart, columns, node)


def _prefix_edges(chart: Chart, columns: list[Column], node: ForestNode) -> Iterator[Edge]:
    """The edges of a prefix: its last symbol, and the prefix before that."""
    cfg = chart.cfg
    parent, symbol = cfg.parent[node.item], int(cfg.label[node.item])
    for origin, completed in columns[node.stop].completed.items():
        middle = origin.length
        if middle < node.start or symbol not in completed:
            continue
        last = ForestNode("symbol", symbol, middle, node.stop)
        if cfg.parent[parent] < 0:
            if middle == node.start:
                yield Edge(NONE, None, (last,))
        elif parent in columns[middle].states.get(columns[node.start], {}):
            yield Edge(NONE, None, (*_last_symbol(chart, parent, node.start, middle), last))


def _last_symbol(chart: Chart, node: int, start: int, stop: int) -> Iterator[ForestNode]:
    """A prefix without its trailing characters; none if nothing remains."""
    cfg = chart.cfg
    while isinstance(cfg.label[node], str) and cfg.parent[node] >= 0:
        node, stop = cfg.parent[node], stop - 1
    if cfg.parent[node] >= 0:
        yield ForestNode("prefix", node, start, stop)
