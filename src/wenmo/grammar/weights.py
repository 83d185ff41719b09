"""Probabilities of alternatives from weights, conditioned on the derivation being finite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from wenmo.grammar.ast import Grammar, called_rules
from wenmo.grammar.fixpoint import least_solution

TOLERANCE = 1e-7  # a probability of ending this close to 1 is 1, but for rounding


def probabilities(grammar: Grammar) -> dict[str, list[float]]:
    """The probability of each rule's alternatives, given that the derivation is finite.

    With plain weights, ``sum = ["1", "#sum#+#sum#", "#sum#-#sum#"]`` never ends half of the time.
    Conditioning keeps the relative probabilities of the finite derivations (Nederhof & Satta 2003,
    "Probabilistic parsing as intersection", section 4).
    """
    normalised = {}
    for name, rule in grammar.rules.items():
        total = sum(alternative.weight for alternative in rule)
        normalised[name] = [alternative.weight / total for alternative in rule]
    called = {
        name: [
            [symbol for symbol in called_rules(a.nodes) if symbol in grammar.rules] for a in rule
        ]
        for name, rule in grammar.rules.items()
    }
    end_probs = least_solution(
        {name: list(zip(normalised[name], called[name], strict=True)) for name in grammar.rules}
    )
    end_probs = {name: 1.0 if total > 1 - TOLERANCE else total for name, total in end_probs.items()}
    for name, probs in normalised.items():
        if end_probs[name] == 0:  # an unreachable rule that never ends
            continue
        for at, rule_names in enumerate(called[name]):
            for rule_name in rule_names:
                probs[at] *= end_probs[rule_name]
        total = sum(probs)
        normalised[name] = [prob / total for prob in probs]
    return normalised


def flatten(probs: Mapping[str, Sequence[float]]) -> list[float]:
    """The probabilities of all alternatives, rule after rule."""
    return [prob for rule in probs.values() for prob in rule]


def weights_of(grammar: Grammar) -> list[float]:
    """The weights of all alternatives, rule after rule."""
    return [alternative.weight for rule in grammar.rules.values() for alternative in rule]


def with_weights(grammar: Grammar, weights: Sequence[float]) -> Grammar:
    """The grammar with other weights, in the order of `weights_of`."""
    remaining = iter(weights)
    rules = {
        name: tuple(replace(alternative, weight=next(remaining)) for alternative in rule)
        for name, rule in grammar.rules.items()
    }
    return replace(grammar, rules=rules)
