"""Validation of parsed grammars; each error is one line that names the rule."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from wenmo.config import closest_match, did_you_mean
from wenmo.grammar.ast import Alternative, Grammar, Save, called_rules, walk
from wenmo.types import WenmoError

INFINITE = 10**9
MAX_HEIGHT = 100  # nested rules in the shallowest derivation of a rule


def validate_grammar(grammar: Grammar, where: str) -> None:
    """Validate that a grammar can generate texts.

    Raises:
        WenmoError: a rule or saved name does not exist, or a rule never ends.
    """
    names = saved_names(grammar)
    known = [*grammar.rules, *(name for name in names if name not in grammar.rules)]
    if grammar.start not in grammar.rules:
        raise WenmoError(f"{where}: no start rule {grammar.start!r}; {_start_hint(grammar)}")
    for name, rule in grammar.rules.items():
        for alternative in rule:
            for called in called_rules(alternative.nodes):
                if called not in grammar.rules and called not in names:
                    raise WenmoError(
                        f"{where}: rule {name!r} calls #{called}#: no such rule"
                        f"{did_you_mean(called, known)}"
                    )
            for condition, _ in alternative.conditions:
                if condition not in names:
                    raise WenmoError(
                        f"{where}: rule {name!r} has a condition on {condition!r}, and nothing is "
                        f"saved under that name{did_you_mean(condition, names)}"
                    )
    rule_heights = heights(grammar)
    for name in reachable_rules(grammar):
        if rule_heights[name] >= INFINITE:
            raise WenmoError(
                f"{where}: rule {_cycle_start(grammar, name, rule_heights)!r} never ends: "
                "every alternative calls it again; add one that does not"
            )
        if rule_heights[name] > MAX_HEIGHT:
            raise WenmoError(
                f"{where}: rule {name!r} needs {rule_heights[name]} nested rules to end; "
                f"the limit is {MAX_HEIGHT}"
            )


def _start_hint(grammar: Grammar) -> str:
    """A hint for a missing start rule: a similar name, or rules that no other rule calls."""
    called = {
        name
        for caller, rule in grammar.rules.items()
        for alternative in rule
        for name in called_rules(alternative.nodes)
        if name != caller
    }
    names = [name for name in grammar.rules if name not in called] or list(grammar.rules)
    close = closest_match(grammar.start, grammar.rules)
    proposed = close or names[0]
    format_value = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    reason = f"did you mean {close!r}? " if close else f"no other rule calls {format_value}: "
    return f'{reason}add the rule "{grammar.start}": "#{proposed}#" (in TOML: start = "{proposed}")'


def saved_names(grammar: Grammar) -> list[str]:
    """The names under which texts can be saved."""
    names = dict.fromkeys(grammar.saved)
    for rule in grammar.rules.values():
        for alternative in rule:
            for node in walk(alternative.nodes):
                if isinstance(node, Save):
                    names[node.name] = None
    return list(names)


def reachable_rules(grammar: Grammar) -> list[str]:
    """The rules reachable from the start rule, which is first."""
    found, todo = {grammar.start: None}, [grammar.start]
    while todo:
        for alternative in grammar.rules[todo.pop()]:
            for called in called_rules(alternative.nodes):
                if alternative.weight and called in grammar.rules and called not in found:
                    found[called] = None
                    todo.append(called)
    return list(found)


def heights(grammar: Grammar) -> dict[str, int]:
    """The height of the shallowest derivation of each rule; `INFINITE` if all are infinite."""
    callers: dict[str, list[str]] = {name: [] for name in grammar.rules}
    for name, rule in grammar.rules.items():
        for called in {symbol for a in rule for symbol in called_rules(a.nodes)}:
            if called in callers:
                callers[called].append(name)
    rule_heights = dict.fromkeys(grammar.rules, INFINITE)
    level, changed = 1, set(grammar.rules)
    while changed:  # iteration `level` finds the rules of height `level`
        found = [name for name in changed if _height(grammar.rules[name], rule_heights) <= level]
        for name in found:
            rule_heights[name] = level
        changed = {
            caller for name in found for caller in callers[name] if rule_heights[caller] == INFINITE
        }
        level += 1
    return rule_heights


def _height(rule: Collection[Alternative], rule_heights: Mapping[str, int]) -> int:
    return min(height_of(alternative, rule_heights) for alternative in rule)


def height_of(alternative: Alternative, rule_heights: Mapping[str, int]) -> int:
    """The height of the shallowest derivation of an alternative, its own rule included."""
    if not alternative.weight:
        return INFINITE
    called_heights = [
        rule_heights[name] for name in called_rules(alternative.nodes) if name in rule_heights
    ]
    return min(INFINITE, 1 + max(called_heights, default=0))


def _cycle_start(grammar: Grammar, name: str, rule_heights: Mapping[str, int]) -> str:
    """The first rule on a cycle, following rules that never end from this one."""
    visited: list[str] = []
    while name not in visited:
        visited.append(name)
        following = [called for a in grammar.rules[name] for called in called_rules(a.nodes)]
        name = next(called for called in following if rule_heights.get(called, 0) >= INFINITE)
    return name
