"""What follows from itself: the components of a graph, the least solution of polynomial equations,
and sums over all paths.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import prod
from typing import TypeAlias, TypeVar

import numpy as np

N = TypeVar("N", bound=Hashable)
Polynomial: TypeAlias = "Sequence[tuple[float, Sequence[N]]]"
"""A sum of products: a coefficient, and the variables that it is multiplied by."""

ROUNDS = 200
CLOSE = 1e-15
LARGEST_SYSTEM = 300  # equations that are solved as one matrix; more by repeating alone
MOST_TERMS = 5_000_000  # that are looked at in repeating
FAR = 1e9
LARGEST_CIRCLE = 2000  # nodes that all lead to one another
MOST_PATHS = 5_000_000  # that sums over paths are kept of


class Beyond(Exception):  # noqa: N818 - what it tells of is no error of the grammar
    """Something cannot be computed for a grammar; the message says why."""


def components(graph: Mapping[N, Sequence[N]]) -> list[list[N]]:
    """The strongly connected components, each after all that it leads to (Tarjan 1972).

    Args:
        graph: for each node, the nodes it leads to, which must be nodes, too.
    """
    number: dict[N, int] = {}
    lowest: dict[N, int] = {}
    path: list[N] = []
    on_path: set[N] = set()
    found: list[list[N]] = []
    for root in graph:
        if root in number:
            continue
        todo = [(root, iter(graph[root]))]
        number[root] = lowest[root] = len(number)
        path.append(root)
        on_path.add(root)
        while todo:
            node, following = todo[-1]
            for other in following:
                if other not in number:
                    number[other] = lowest[other] = len(number)
                    path.append(other)
                    on_path.add(other)
                    todo.append((other, iter(graph[other])))
                    break
                if other in on_path:
                    lowest[node] = min(lowest[node], number[other])
            else:
                todo.pop()
                if todo:
                    above = todo[-1][0]
                    lowest[above] = min(lowest[above], lowest[node])
                if lowest[node] == number[node]:
                    component = [path.pop()]
                    while component[-1] != node:
                        component.append(path.pop())
                    on_path.difference_update(component)
                    found.append(component)
    return found


def least(equations: Mapping[N, Polynomial[N]]) -> dict[N, float]:
    """The least solution of ``variable = polynomial``, where no coefficient is negative.

    By Newton's method from zero, component by component, which rises to the least solution
    (Etessami & Yannakakis 2009, "Recursive Markov chains, stochastic grammars, and monotone systems
    of nonlinear equations").
    """
    graph = {
        name: [other for _, factors in polynomial for other in factors]
        for name, polynomial in equations.items()
    }
    solved: dict[N, float] = {}
    for component in components(graph):
        own = set(component)
        known = {
            name: [_substitute(term, solved, own) for term in equations[name]] for name in component
        }
        if len(component) == 1 and component[0] not in graph[component[0]]:
            solved[component[0]] = sum(coefficient for coefficient, _ in known[component[0]])
        else:
            solved |= _newton(known)
    return solved


def _substitute(
    term: tuple[float, Sequence[N]], solved: Mapping[N, float], own: set[N]
) -> tuple[float, list[N]]:
    coefficient, factors = term
    left = []
    for name in factors:
        if name in own:
            left.append(name)
        else:
            coefficient *= solved[name]
    return coefficient, left


def _newton(equations: Mapping[N, Polynomial[N]]) -> dict[N, float]:
    place = {name: at for at, name in enumerate(equations)}
    terms = [
        [(coefficient, [place[name] for name in factors]) for coefficient, factors in polynomial]
        for polynomial in equations.values()
    ]
    x = [0.0] * len(terms)
    dense = len(terms) <= LARGEST_SYSTEM
    repeats = 1 + MOST_TERMS // max(1, sum(map(len, terms)))
    for _ in range(ROUNDS if dense else repeats):
        lacking = [value - old for value, old in zip(_values(terms, x), x, strict=True)]
        step = _newton_step(terms, x, lacking) if dense else lacking
        x = [old + more for old, more in zip(x, step, strict=True)]
        if max(map(abs, step)) <= CLOSE * max(1.0, *x):
            break
    return dict(zip(equations, x, strict=True))


def _newton_step(
    terms: Sequence[Polynomial[int]], x: Sequence[float], lacking: Sequence[float]
) -> list[float]:
    jacobian = np.zeros((len(x), len(x)))
    for row, polynomial in enumerate(terms):
        for coefficient, factors in polynomial:
            for skipped, name in enumerate(factors):
                others = (x[other] for at, other in enumerate(factors) if at != skipped)
                jacobian[row, name] += coefficient * prod(others)
    try:
        step = np.linalg.solve(np.eye(len(x)) - jacobian, np.array(lacking)).tolist()
    except np.linalg.LinAlgError:  # as close to a double root as numbers come
        return [max(less, 0.0) for less in lacking]
    # Close to a double root rounding may send a step back, or far away.
    return [
        far if 0 <= far < FAR else max(less, 0.0) for far, less in zip(step, lacking, strict=True)
    ]


def _values(terms: Sequence[Polynomial[int]], x: Sequence[float]) -> list[float]:
    return [
        sum(coefficient * prod(x[name] for name in factors) for coefficient, factors in polynomial)
        for polynomial in terms
    ]


def paths(edges: Mapping[N, Mapping[N, float]]) -> dict[N, dict[N, float]]:
    """For each node, the sum over all paths from it to each node of the product of their edges.

    The path that goes nowhere counts 1. This is the inverse of one minus the matrix of edges, row
    by row, whose sums must be finite.

    Args:
        edges: from each node to others, which need not be named themselves.

    Raises:
        Beyond: there are too many.
    """
    count = 0
    ends = {other for row in edges.values() for other in row}
    graph = {node: list(edges.get(node, ())) for node in [*edges, *(ends - edges.keys())]}
    rows: dict[N, dict[N, float]] = {}
    for component in components(graph):
        if len(component) > LARGEST_CIRCLE:
            raise Beyond("too many of its rules begin with one another, in a circle")
        own = {node: at for at, node in enumerate(component)}
        outward: list[dict[N, float]] = []
        inner = np.zeros((len(own), len(own)))
        for node, at in own.items():
            row = {node: 1.0}
            for other, weight in edges.get(node, {}).items():
                if other in own:
                    inner[at, own[other]] += weight
                    continue
                for end, total in rows[other].items():
                    row[end] = row.get(end, 0.0) + weight * total
            outward.append(row)
        closed = np.linalg.inv(np.eye(len(own)) - inner)
        for node, at in own.items():
            row = {}
            for share, other_row in zip(closed[at].tolist(), outward, strict=True):
                for end, total in other_row.items():
                    row[end] = row.get(end, 0.0) + share * total
            rows[node] = row
        count += sum(len(rows[node]) for node in component)
        if count > MOST_PATHS:
            raise Beyond("too many of its rules begin with one another")
    return rows
