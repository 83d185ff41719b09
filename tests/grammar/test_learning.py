"""The inside-outside algorithm: expected counts, monotone likelihood, recovery of known weights."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from wenmo.grammar.ast import Grammar
from wenmo.grammar.chart import Chart
from wenmo.grammar.forests import Forests
from wenmo.grammar.learning import _choice_counts, _log_weights, build_forests, learn_weights
from wenmo.grammar.reading import parse_grammar
from wenmo.grammar.sampler import Sampler
from wenmo.grammar.weights import weights_of, with_weights
from wenmo.types import WenmoError

# Ambiguous, left-recursive, with empty texts, a cycle of unit productions, and common prefixes.
RULES = {
    "origin": {"#origin##x#": 2, "#y#": 1, "ab": 3},
    "x": {"": 1, "a": 2, "#y#": 1, "abb": 1},
    "y": {"#x#": 2, "b#x##x#": 2, "b": 3},
}
SAVED = {"origin": "#[n:#name#]s#", "name": {"A": 2, "B": 1}, "s": {"#n##n#": 1, "#n#-#name#": 3}}
CHOSEN = """
[rules]
origin = ["1[w:1]#a#", "2[w:2]#a#", "#b#"]
b = "3[w:3]#a#"
a = ["x", { text = "y", weight = 2, when = { w = "1" } },
     { text = "z", when = { w = ["1", "2"] } }]
"""
GRAMMARS = {"rules": json.dumps(RULES), "saved": json.dumps(SAVED), "chosen": CHOSEN}


def counts_of(chart: Chart, text: str) -> np.ndarray:
    forests = Forests(chart)
    assert forests.add(text)
    _, counts = forests.pack().inside_outside(_log_weights(chart.cfg, forests))
    return _choice_counts(chart.cfg, forests, counts)


@pytest.mark.parametrize(
    ("name", "text"),
    [("rules", t) for t in ("", "a", "ab", "abb", "bab")] + [("saved", "AA"), ("saved", "A-B")],
)
def test_counts_are_derivatives(name, text):
    """The expected count of a choice is the derivative of the text's log-probability by the
    logarithm of the choice's probability, apart from the normalisation of finite derivations.
    """
    chart = Chart.from_grammar(parse_grammar(GRAMMARS[name]))
    cfg, expected = chart.cfg, counts_of(chart, text)
    initial_probs = [0.9 * p for p in choice_probs(cfg)]

    def score(i: int, factor: float) -> float:
        probabilities = [p * factor if n == i else p for n, p in enumerate(initial_probs)]
        cfg.set_probabilities(probabilities)
        return Chart(cfg).logprob(text) + math.log(cfg.total)

    cfg.set_probabilities(initial_probs)
    expected = counts_of(Chart(cfg), text)
    step = 1e-4
    for i in range(len(initial_probs)):
        slope = score(i, math.exp(step)) - score(i, math.exp(-step))
        assert expected[i] == pytest.approx(slope / (2 * step), abs=1e-5), i


def choice_probs(cfg) -> list[float]:
    found = [0.0] * len(cfg.expanded.choices)
    for production, weight in zip(cfg.productions, cfg.weights, strict=True):
        if len(production.choices) == 1:
            found[production.choices[0]] = weight / production.factor
    return [p or 0.5 for p in found]


def sample_counts(grammar: Grammar, count: int) -> Counter[str]:
    sampler = Sampler(grammar)
    return Counter(sampler.sample(seed).text for seed in range(count))


def with_equal_weights(grammar: Grammar) -> Grammar:
    return with_weights(grammar, [1.0] * len(weights_of(grammar)))


@pytest.mark.parametrize("name", GRAMMARS)
def test_every_iteration_improves_and_recovers_known_weights(name):
    true_grammar = parse_grammar(GRAMMARS[name])
    texts = sample_counts(true_grammar, 2000)
    forests = build_forests(Chart.from_grammar(with_equal_weights(true_grammar)), texts)
    iterations = list(learn_weights(with_equal_weights(true_grammar), forests, rounds=100, prior=0))
    nats = [iteration.nats for iteration in iterations]
    assert all(later <= before + 1e-7 for before, later in pairwise(nats))
    chart = Chart.from_grammar(iterations[-1].grammar)
    assert nats[-1] == pytest.approx(-sum(n * chart.logprob(t) for t, n in texts.items()))
    best = -sum(n * Chart.from_grammar(true_grammar).logprob(t) for t, n in texts.items())
    assert nats[-1] <= best
    assert nats[-1] > best - 12  # chance, with about this many free weights
    if name != "rules":  # its weights are not identifiable
        assert probs(iterations[-1].grammar) == pytest.approx(probs(true_grammar), abs=0.05)


def probs(grammar: Grammar) -> list[float]:
    found = []
    for rule in grammar.rules.values():
        total = sum(alternative.weight for alternative in rule)
        found += [alternative.weight / total for alternative in rule]
    return found


def test_prior_keeps_unseen_alternatives():
    grammar = parse_grammar('{"origin": {"a": 1, "b": 3}, "x": ["c", "d"]}')
    forests = build_forests(Chart.from_grammar(grammar), {"a": 4})
    [*_, last] = learn_weights(grammar, forests, rounds=9, prior=2.0)
    assert probs(last.grammar) == pytest.approx([4.5 / 6, 1.5 / 6, 0.5, 0.5])
    [*_, last] = learn_weights(
        grammar, build_forests(Chart.from_grammar(grammar), {"a": 4}), rounds=9, prior=0
    )
    assert probs(last.grammar) == pytest.approx([1, 0, 0.5, 0.5])


@pytest.mark.parametrize(
    ("text", "where"),
    [("春眠x", "at 'x', character 3"), ("春", "at its end"), ("y" * 99, "'yyyyyyyyyy', cha")],
)
def test_impossible_texts_are_refused_with_the_position(text, where):
    chart = Chart.from_grammar(parse_grammar('{"origin": "春眠"}'))
    with pytest.raises(WenmoError, match=f"cannot generate the text .* it fails .*{where}"):
        build_forests(chart, {text: 1})
