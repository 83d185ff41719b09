"""From weights to probabilities: of each alternative of a rule, given that the text ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from wenmo.grammar.ast import Grammar, calls
from wenmo.grammar.fixpoint import least

CERTAIN = 1e-7  # a total so close to one is one: what is short of it is rounding


def probabilities(grammar: Grammar) -> dict[str, list[float]]:
    """How likely each rule's alternatives are, given that what they write comes to an end.

    Taken by their weights alone, the alternatives of ``sum = ["1", "#sum#+#sum#", "#sum#-#sum#"]``
    would go on for ever half of the time. The texts that end are as likely as they are among those
    that do (Nederhof & Satta 2003, "Probabilistic parsing as intersection", section 4).
    """
    weighed = {}
    for name, rule in grammar.rules.items():
        total = sum(alternative.weight for alternative in rule)
        weighed[name] = [alternative.weight / total for alternative in rule]
    inside = {
        name: [[called for called in calls(a.parts) if called in grammar.rules] for a in rule]
        for name, rule in grammar.rules.items()
    }
    ends = least(
        {name: list(zip(weighed[name], inside[name], strict=True)) for name in grammar.rules}
    )
    ends = {name: 1.0 if total > 1 - CERTAIN else total for name, total in ends.items()}
    for name, shares in weighed.items():
        if ends[name] == 0:  # it cannot be reached, or could not be read
            continue
        for at, called in enumerate(inside[name]):
            for rule_name in called:
                shares[at] *= ends[rule_name]
        total = sum(shares)
        weighed[name] = [share / total for share in shares]
    return weighed


def flat(shares: Mapping[str, Sequence[float]]) -> list[float]:
    """What is known of each rule's alternatives, rule after rule."""
    return [share for rule in shares.values() for share in rule]


def weights_of(grammar: Grammar) -> list[float]:
    """All weights, rule after rule."""
    return [alternative.weight for rule in grammar.rules.values() for alternative in rule]


def reweighted(grammar: Grammar, weights: Sequence[float]) -> Grammar:
    """The grammar with other weights, in the order of `weights_of`."""
    following = iter(weights)
    rules = {
        name: tuple(replace(alternative, weight=next(following)) for alternative in rule)
        for name, rule in grammar.rules.items()
    }
    return replace(grammar, rules=rules)
