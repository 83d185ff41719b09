"""What is saved while a text is written, as part of a symbol: which rules it can matter to, and
which rules may change it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import TypeAlias, TypeGuard

from wenmo.grammar.ast import Call, Do, Forget, Grammar, Part, Save, walk
from wenmo.grammar.fixpoint import components

ENDLESS = 1 << 30

Stack: TypeAlias = tuple[tuple[str, ...], ...]
State: TypeAlias = tuple[tuple[str, Stack], ...]
"""What is saved, by name, in the order of the names; names without anything are left out."""


def only(state: State, names: frozenset[str]) -> State:
    """The part of a state that names some names."""
    return tuple((name, stack) for name, stack in state if name in names)


def put(state: State, name: str, stack: Stack) -> State:
    """A state with something else saved under a name."""
    others = {key: value for key, value in state if key != name}
    return tuple(sorted((others | {name: stack} if stack else others).items()))


def merged(state: State, written: frozenset[str], after: State) -> State:
    """A state in which some names were changed to what ``after`` has under them."""
    kept = [(name, stack) for name, stack in state if name not in written]
    return tuple(sorted([*kept, *after]))


def effects(
    grammar: Grammar, dynamic: frozenset[str]
) -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    """For each rule, the names whose saved texts can matter to it, and those it may change."""
    touched: dict[str, set[str]] = {}
    written: dict[str, set[str]] = {}
    called: dict[str, set[str]] = {}
    for rule, alternatives in grammar.rules.items():
        touched[rule] = {name for a in alternatives for name, _ in a.when}
        written[rule], called[rule] = set(), set()
        for part in (part for a in alternatives for part in walk(a.parts)):
            if isinstance(part, Save | Forget):
                touched[rule].add(part.name)
            elif isinstance(part, Call):
                called[rule].add(part.symbol)
                touched[rule] |= {part.symbol} & dynamic
        lasting = (part for a in alternatives for part in _lasting(a.parts))
        written[rule] = {part.name for part in lasting}
    inside = {
        rule: [other for other in others if other in called] for rule, others in called.items()
    }
    for component in components(inside):
        for effect in (touched, written):
            own = [effect[rule] for rule in component]
            below = [effect[other] for rule in component for other in inside[rule]]
            for rule in component:
                effect[rule] = set().union(*own, *below)
    return (
        {rule: frozenset(names) for rule, names in touched.items()},
        {rule: frozenset(names) for rule, names in written.items()},
    )


def _lasting(parts: Sequence[Part]) -> Iterator[Save | Forget]:
    """The actions whose effects last longer than a call that they stand before."""
    for part in parts:
        if isinstance(part, Call):
            yield from (action for action in part.before if isinstance(action, Forget))
            for action in part.before:
                inside = action.values if isinstance(action, Save) else ()
                yield from (deep for value in inside for deep in _lasting(value))
                yield from _lasting(action.parts) if isinstance(action, Do) else ()
        elif isinstance(part, Save):
            yield part
            yield from (deep for value in part.values for deep in _lasting(value))
        elif isinstance(part, Forget):
            yield part
        elif isinstance(part, Do):
            yield from _lasting(part.parts)


def shortest(grammar: Grammar, dynamic: frozenset[str]) -> dict[str, int]:
    """The fewest characters that each rule can write, at least.

    Rules are settled in the order of their lengths (Knuth 1977, "A generalization of Dijkstra's
    algorithm").
    """
    lengths, left, callers = [], [], dict[str, list[int]]()
    rules = [name for name, rule in grammar.rules.items() for _ in rule]
    for number, alternative in enumerate(a for rule in grammar.rules.values() for a in rule):
        counted = [part for part in alternative.parts if _counts(part, dynamic)]
        lengths.append(sum(len(part) for part in alternative.parts if isinstance(part, str)))
        left.append(len(counted) if alternative.weight else ENDLESS)
        for part in counted:
            callers.setdefault(part.symbol, []).append(number)
    settled: dict[str, int] = {}
    todo = [(lengths[n], rules[n], n) for n in range(len(rules)) if not left[n]]
    heapify(todo)
    while todo:
        length, rule, _ = heappop(todo)
        if rule in settled:
            continue
        settled[rule] = length
        for number in callers.get(rule, ()):
            lengths[number] += length
            left[number] -= 1
            if not left[number]:
                heappush(todo, (lengths[number], rules[number], number))
    return {rule: settled.get(rule, ENDLESS) for rule in grammar.rules}


def _counts(part: Part, dynamic: frozenset[str]) -> TypeGuard[Call]:
    """Whether a part is a call whose length is known."""
    if not isinstance(part, Call) or part.symbol in dynamic or not part.symbol:
        return False
    return not any(modifier.kind.acts == "whole" for modifier in part.modifiers)
