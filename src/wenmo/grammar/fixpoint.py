"""Graph and equation solvers of the grammar code: strongly connected components, the least solution
of polynomial equations, and sums over all paths.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import prod
from typing import TypeAlias, TypeVar

import numpy as np

N = TypeVar("N", bound=Hashable)
Polynomial: TypeAlias = "Sequence[tuple[float, Sequence[N]]]"
"""A sum of products: a coefficient, and the variables that it is multiplied by."""

MAX_NEWTON_STEPS = 200
TOLERANCE = 1e-15  # relative, of a Newton step
MAX_DENSE = 300  # equations solved with a Jacobian; larger systems use fixed-point iteration
MAX_TERMS = 5_000_000  # evaluated in all fixed-point iterations
MAX_STEP = 1e9
MAX_COMPONENT = 2000  # nodes of a strongly connected component
MAX_PATHS = 5_000_000  # pairs of nodes that `path_sums` stores


class IntractableError(Exception):
    """A computation is impossible or too large for a valid grammar; the message gives the
    reason.
    """


def components(graph: Mapping[N, Sequence[N]]) -> list[list[N]]:
    """The strongly connected components, each after all that are reachable from it (Tarjan 1972).

    Args:
        graph: the successors of each node; every successor must be a key, too.
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


def least_solution(equations: Mapping[N, Polynomial[N]]) -> dict[N, float]:
    """The least solution of ``variable = polynomial`` with coefficients of at least 0.

    Newton's method from zero converges to it from below, one component at a time (Etessami &
    Yannakakis 2009, "Recursive Markov chains, stochastic grammars, and monotone systems of
    nonlinear equations").
    """
    graph = {
        name: [other for _, factors in polynomial for other in factors]
        for name, polynomial in equations.items()
    }
    solved: dict[N, float] = {}
    for component in components(graph):
        members = set(component)
        reduced = {
            name: [_substitute(term, solved, members) for term in equations[name]]
            for name in component
        }
        if len(component) == 1 and component[0] not in graph[component[0]]:
            solved[component[0]] = sum(coefficient for coefficient, _ in reduced[component[0]])
        else:
            solved |= _newton(reduced)
    return solved


def _substitute(
    term: tuple[float, Sequence[N]], solved: Mapping[N, float], members: set[N]
) -> tuple[float, list[N]]:
    coefficient, factors = term
    left = []
    for name in factors:
        if name in members:
            left.append(name)
        else:
            coefficient *= solved[name]
    return coefficient, left


def _newton(equations: Mapping[N, Polynomial[N]]) -> dict[N, float]:
    index_of = {name: at for at, name in enumerate(equations)}
    terms = [
        [(coefficient, [index_of[name] for name in factors]) for coefficient, factors in polynomial]
        for polynomial in equations.values()
    ]
    x = [0.0] * len(terms)
    use_newton = len(terms) <= MAX_DENSE
    iterations = 1 + MAX_TERMS // max(1, sum(map(len, terms)))
    for _ in range(MAX_NEWTON_STEPS if use_newton else iterations):
        residual = [value - old for value, old in zip(_values(terms, x), x, strict=True)]
        step = _newton_step(terms, x, residual) if use_newton else residual
        x = [old + more for old, more in zip(x, step, strict=True)]
        if max(map(abs, step)) <= TOLERANCE * max(1.0, *x):
            break
    return dict(zip(equations, x, strict=True))


def _newton_step(
    terms: Sequence[Polynomial[int]], x: Sequence[float], residual: Sequence[float]
) -> list[float]:
    jacobian = np.zeros((len(x), len(x)))
    for row, polynomial in enumerate(terms):
        for coefficient, factors in polynomial:
            for skipped, name in enumerate(factors):
                others = (x[other] for at, other in enumerate(factors) if at != skipped)
                jacobian[row, name] += coefficient * prod(others)
    try:
        step = np.linalg.solve(np.eye(len(x)) - jacobian, np.array(residual)).tolist()
    except np.linalg.LinAlgError:  # singular at a double root
        return [max(less, 0.0) for less in residual]
    # Near a double root, rounding makes steps negative or very large.
    return [
        far if 0 <= far < MAX_STEP else max(less, 0.0)
        for far, less in zip(step, residual, strict=True)
    ]


def _values(terms: Sequence[Polynomial[int]], x: Sequence[float]) -> list[float]:
    return [
        sum(coefficient * prod(x[name] for name in factors) for coefficient, factors in polynomial)
        for polynomial in terms
    ]


def path_sums(edges: Mapping[N, Mapping[N, float]]) -> dict[N, dict[N, float]]:
    """For each pair of nodes, the sum over all paths of the product of their edge weights.

    The empty path counts 1. This is the inverse of (identity - edge matrix), row by row; the sums
    must be finite.

    Args:
        edges: the weight of each edge, by its first and its second node; nodes without outgoing
            edges may be absent.

    Raises:
        IntractableError: the result is too large.
    """
    count = 0
    ends = {other for row in edges.values() for other in row}
    graph = {node: list(edges.get(node, ())) for node in [*edges, *(ends - edges.keys())]}
    rows: dict[N, dict[N, float]] = {}
    for component in components(graph):
        if len(component) > MAX_COMPONENT:
            raise IntractableError(
                f"more than {MAX_COMPONENT:,} of its rules are left-recursive through one another"
            )
        members = {node: at for at, node in enumerate(component)}
        outer_rows: list[dict[N, float]] = []
        inner = np.zeros((len(members), len(members)))
        for node, at in members.items():
            row = {node: 1.0}
            for other, weight in edges.get(node, {}).items():
                if other in members:
                    inner[at, members[other]] += weight
                    continue
                for end, total in rows[other].items():
                    row[end] = row.get(end, 0.0) + weight * total
            outer_rows.append(row)
        inverse = np.linalg.inv(np.eye(len(members)) - inner)
        for node, at in members.items():
            row = {}
            for weight, other_row in zip(inverse[at].tolist(), outer_rows, strict=True):
                for end, total in other_row.items():
                    row[end] = row.get(end, 0.0) + weight * total
            rows[node] = row
        count += sum(len(rows[node]) for node in component)
        if count > MAX_PATHS:
            raise IntractableError("the left corners of its rules form too many pairs")
    return rows
