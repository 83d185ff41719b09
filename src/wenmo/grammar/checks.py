"""What can be wrong with rules that were read, each told in one line with the rule's name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from wenmo.config import closest, nearest
from wenmo.grammar.ast import Alternative, Grammar, Save, calls, walk
from wenmo.types import WenmoError

NEVER = 10**9
TALLEST = 100  # rules within one another that the shortest text of a rule may take


def check(grammar: Grammar, where: str) -> None:
    """See that a grammar can write.

    Raises:
        WenmoError: a rule or a saved name that is not there, or a rule that never ends.
    """
    names = saved_names(grammar)
    known = [*grammar.rules, *(name for name in names if name not in grammar.rules)]
    if grammar.start not in grammar.rules:
        raise WenmoError(f"{where}: no rule {grammar.start!r} to begin with; {_beginning(grammar)}")
    for name, rule in grammar.rules.items():
        for alternative in rule:
            for called in calls(alternative.parts):
                if called not in grammar.rules and called not in names:
                    raise WenmoError(
                        f"{where}: rule {name!r} calls #{called}#, and there is no such rule"
                        f"{nearest(called, known)}"
                    )
            for condition, _ in alternative.when:
                if condition not in names:
                    raise WenmoError(
                        f"{where}: rule {name!r} asks what is saved under {condition!r}, and "
                        f"nothing ever is{nearest(condition, names)}"
                    )
    tall = heights(grammar)
    for name in reachable(grammar):
        if tall[name] >= NEVER:
            raise WenmoError(
                f"{where}: rule {_culprit(grammar, name, tall)!r} never ends: every alternative "
                "comes back to it; give it one that does not"
            )
        if tall[name] > TALLEST:
            raise WenmoError(
                f"{where}: rule {name!r} takes {tall[name]} rules within one another to end: more "
                f"than {TALLEST} are not written"
            )


def _beginning(grammar: Grammar) -> str:
    """Which rule a grammar may begin with, and how to say so: one that no other rule calls."""
    called = {
        name
        for own, rule in grammar.rules.items()
        for alternative in rule
        for name in calls(alternative.parts)
        if name != own
    }
    names = [name for name in grammar.rules if name not in called] or list(grammar.rules)
    close = closest(grammar.start, grammar.rules)
    chosen = close or names[0]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    meant = f"did you mean {close!r}? " if close else f"no other rule calls {shown}: "
    return f'{meant}add the rule "{grammar.start}": "#{chosen}#" (in TOML: start = "{chosen}")'


def saved_names(grammar: Grammar) -> list[str]:
    """The names under which something may be saved."""
    names = dict.fromkeys(grammar.saved)
    for rule in grammar.rules.values():
        for alternative in rule:
            for part in walk(alternative.parts):
                if isinstance(part, Save):
                    names[part.name] = None
    return list(names)


def reachable(grammar: Grammar) -> list[str]:
    """The rules that can have a part in a text, the start first."""
    found, todo = {grammar.start: None}, [grammar.start]
    while todo:
        for alternative in grammar.rules[todo.pop()]:
            for called in calls(alternative.parts):
                if alternative.weight and called in grammar.rules and called not in found:
                    found[called] = None
                    todo.append(called)
    return list(found)


def heights(grammar: Grammar) -> dict[str, int]:
    """How many rules within one another each rule takes at least; `NEVER` for one without end."""
    callers: dict[str, list[str]] = {name: [] for name in grammar.rules}
    for name, rule in grammar.rules.items():
        for called in {symbol for a in rule for symbol in calls(a.parts)}:
            if called in callers:
                callers[called].append(name)
    tall = dict.fromkeys(grammar.rules, NEVER)
    level, changed = 1, set(grammar.rules)
    while changed:  # rules of height `level` are found in round `level`
        found = [name for name in changed if _height(grammar.rules[name], tall) <= level]
        for name in found:
            tall[name] = level
        changed = {caller for name in found for caller in callers[name] if tall[caller] == NEVER}
        level += 1
    return tall


def _height(rule: Collection[Alternative], tall: Mapping[str, int]) -> int:
    return min(alternative_height(alternative, tall) for alternative in rule)


def alternative_height(alternative: Alternative, tall: Mapping[str, int]) -> int:
    """How many rules within one another an alternative takes at least, its own counted."""
    if not alternative.weight:
        return NEVER
    inside = [tall[called] for called in calls(alternative.parts) if called in tall]
    return min(NEVER, 1 + max(inside, default=0))


def _culprit(grammar: Grammar, name: str, tall: Mapping[str, int]) -> str:
    """Of rules that never end, the first that comes back to itself."""
    passed: list[str] = []
    while name not in passed:
        passed.append(name)
        following = [called for a in grammar.rules[name] for called in calls(a.parts)]
        name = next(called for called in following if tall.get(called, 0) >= NEVER)
    return name
