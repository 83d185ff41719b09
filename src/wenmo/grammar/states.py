"""Saved texts as part of a symbol: which rules depend on them, which rules change them, and the
shortest text of each rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import TypeAlias, TypeGuard

from wenmo.grammar.ast import Call, Evaluate, Grammar, Node, Pop, Save, walk
from wenmo.grammar.fixpoint import components

INFINITE = 1 << 30

Stack: TypeAlias = tuple[tuple[str, ...], ...]
State: TypeAlias = tuple[tuple[str, Stack], ...]
"""The saved texts of each name, sorted by name; names with an empty stack are absent."""


def restrict(state: State, names: frozenset[str]) -> State:
    """The part of a state with the given names."""
    return tuple((name, stack) for name, stack in state if name in names)


def with_stack(state: State, name: str, stack: Stack) -> State:
    """The state with another stack under a name."""
    others = {key: value for key, value in state if key != name}
    return tuple(sorted((others | {name: stack} if stack else others).items()))


def merge_states(state: State, writes: frozenset[str], after: State) -> State:
    """The state before a call, with the names it may change taken from the state after it."""
    unchanged = [(name, stack) for name, stack in state if name not in writes]
    return tuple(sorted([*unchanged, *after]))


def saved_dependencies(
    grammar: Grammar, saved_names: frozenset[str]
) -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    """For each rule, the names whose saved texts it depends on, and those it may change."""
    reads: dict[str, set[str]] = {}
    writes: dict[str, set[str]] = {}
    callees: dict[str, set[str]] = {}
    for rule, alternatives in grammar.rules.items():
        reads[rule] = {name for a in alternatives for name, _ in a.conditions}
        writes[rule], callees[rule] = set(), set()
        for node in (node for a in alternatives for node in walk(a.nodes)):
            if isinstance(node, Save | Pop):
                reads[rule].add(node.name)
            elif isinstance(node, Call):
                callees[rule].add(node.symbol)
                reads[rule] |= {node.symbol} & saved_names
        lasting_actions = (node for a in alternatives for node in _lasting_actions(a.nodes))
        writes[rule] = {node.name for node in lasting_actions}
    graph = {
        rule: [other for other in others if other in callees] for rule, others in callees.items()
    }
    for component in components(graph):
        for effect in (reads, writes):
            of_members = [effect[rule] for rule in component]
            of_callees = [effect[other] for rule in component for other in graph[rule]]
            for rule in component:
                effect[rule] = set().union(*of_members, *of_callees)
    return (
        {rule: frozenset(names) for rule, names in reads.items()},
        {rule: frozenset(names) for rule, names in writes.items()},
    )


def _lasting_actions(nodes: Sequence[Node]) -> Iterator[Save | Pop]:
    """The actions whose effects outlast the call that they belong to."""
    for node in nodes:
        if isinstance(node, Call):
            yield from (action for action in node.actions if isinstance(action, Pop))
            for action in node.actions:
                values = action.values if isinstance(action, Save) else ()
                yield from (nested for value in values for nested in _lasting_actions(value))
                yield from _lasting_actions(action.nodes) if isinstance(action, Evaluate) else ()
        elif isinstance(node, Save):
            yield node
            yield from (nested for value in node.values for nested in _lasting_actions(value))
        elif isinstance(node, Pop):
            yield node
        elif isinstance(node, Evaluate):
            yield from _lasting_actions(node.nodes)


def min_lengths(grammar: Grammar, saved_names: frozenset[str]) -> dict[str, int]:
    """A lower bound on the length of each rule's texts, in characters.

    Knuth's generalization of Dijkstra's algorithm (Knuth 1977, "A generalization of Dijkstra's
    algorithm").
    """
    lengths, remaining, callers = [], [], dict[str, list[int]]()
    rules = [name for name, rule in grammar.rules.items() for _ in rule]
    for index, alternative in enumerate(a for rule in grammar.rules.values() for a in rule):
        known_calls = [node for node in alternative.nodes if _has_known_length(node, saved_names)]
        lengths.append(sum(len(node) for node in alternative.nodes if isinstance(node, str)))
        remaining.append(len(known_calls) if alternative.weight else INFINITE)
        for node in known_calls:
            callers.setdefault(node.symbol, []).append(index)
    settled: dict[str, int] = {}
    queue = [(lengths[i], rules[i], i) for i in range(len(rules)) if not remaining[i]]
    heapify(queue)
    while queue:
        length, rule, _ = heappop(queue)
        if rule in settled:
            continue
        settled[rule] = length
        for index in callers.get(rule, ()):
            lengths[index] += length
            remaining[index] -= 1
            if not remaining[index]:
                heappush(queue, (lengths[index], rules[index], index))
    return {rule: settled.get(rule, INFINITE) for rule in grammar.rules}


def _has_known_length(node: Node, saved_names: frozenset[str]) -> TypeGuard[Call]:
    """Whether a node is a call that adds a known length."""
    if not isinstance(node, Call) or node.symbol in saved_names or not node.symbol:
        return False
    return not any(modifier.type.scope == "text" for modifier in node.modifiers)
