"""Inside–outside: what is counted, that every round helps, and that known weights come back."""

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
from wenmo.grammar.learning import _counts_of_takings, _log_weights, gather, learn
from wenmo.grammar.reading import parse_grammar
from wenmo.grammar.sampler import Sampler
from wenmo.grammar.weights import reweighted, weights_of
from wenmo.types import WenmoError

# Ambiguous, left-recursive, with empty texts, a circle of single calls, and common beginnings.
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
    _, counts = forests.freeze().expect(_log_weights(chart.cfg, forests))
    return _counts_of_takings(chart.cfg, forests, counts)


@pytest.mark.parametrize(
    ("name", "text"),
    [("rules", t) for t in ("", "a", "ab", "abb", "bab")] + [("saved", "AA"), ("saved", "A-B")],
)
def test_counts_are_derivatives(name, text):
    """A taking's expected count is the derivative of the text's log-probability by the logarithm of
    its probability; what makes texts end, and so scales all of them, is taken out.
    """
    chart = Chart.of(parse_grammar(GRAMMARS[name]))
    cfg, expected = chart.cfg, counts_of(chart, text)
    first = [0.9 * p for p in taking_probabilities(cfg)]

    def score(at: int, factor: float) -> float:
        probabilities = [p * factor if n == at else p for n, p in enumerate(first)]
        cfg.weigh(probabilities)
        return Chart(cfg).logprob(text) + math.log(cfg.total)

    cfg.weigh(first)
    expected = counts_of(Chart(cfg), text)
    step = 1e-4
    for at in range(len(first)):
        slope = score(at, math.exp(step)) - score(at, math.exp(-step))
        assert expected[at] == pytest.approx(slope / (2 * step), abs=1e-5), at


def taking_probabilities(cfg) -> list[float]:
    found = [0.0] * len(cfg.expansion.takings)
    for production, weight in zip(cfg.productions, cfg.weights, strict=True):
        if len(production.takings) == 1:
            found[production.takings[0]] = weight / production.share
    return [p or 0.5 for p in found]


def sampled(grammar: Grammar, count: int) -> Counter[str]:
    sampler = Sampler(grammar)
    return Counter(sampler.draw(seed).text for seed in range(count))


def even(grammar: Grammar) -> Grammar:
    return reweighted(grammar, [1.0] * len(weights_of(grammar)))


@pytest.mark.parametrize("name", GRAMMARS)
def test_every_round_helps_and_known_weights_come_back(name):
    true = parse_grammar(GRAMMARS[name])
    texts = sampled(true, 2000)
    forests = gather(Chart.of(even(true)), texts)
    rounds = list(learn(even(true), forests, rounds=100, prior=0))
    nats = [one.nats for one in rounds]
    assert all(later <= before + 1e-7 for before, later in pairwise(nats))
    chart = Chart.of(rounds[-1].grammar)
    assert nats[-1] == pytest.approx(-sum(n * chart.logprob(t) for t, n in texts.items()))
    best = -sum(n * Chart.of(true).logprob(t) for t, n in texts.items())
    assert nats[-1] <= best
    assert nats[-1] > best - 12  # of about as many free weights
    if name != "rules":  # whose weights texts do not tell apart wholly
        assert shares(rounds[-1].grammar) == pytest.approx(shares(true), abs=0.05)


def shares(grammar: Grammar) -> list[float]:
    found = []
    for rule in grammar.rules.values():
        total = sum(alternative.weight for alternative in rule)
        found += [alternative.weight / total for alternative in rule]
    return found


def test_a_prior_keeps_what_was_not_seen():
    grammar = parse_grammar('{"origin": {"a": 1, "b": 3}, "x": ["c", "d"]}')
    forests = gather(Chart.of(grammar), {"a": 4})
    [*_, last] = learn(grammar, forests, rounds=9, prior=2.0)
    assert shares(last.grammar) == pytest.approx([4.5 / 6, 1.5 / 6, 0.5, 0.5])
    [*_, last] = learn(grammar, gather(Chart.of(grammar), {"a": 4}), rounds=9, prior=0)
    assert shares(last.grammar) == pytest.approx([1, 0, 0.5, 0.5])


@pytest.mark.parametrize(
    ("text", "where"),
    [("春眠x", "at 'x', character 3"), ("春", "where it ends"), ("y" * 99, "'yyyyyyyyyy', cha")],
)
def test_what_cannot_be_written_is_told(text, where):
    chart = Chart.of(parse_grammar('{"origin": "春眠"}'))
    with pytest.raises(WenmoError, match=f"cannot write the text .* it leaves it .*{where}"):
        gather(chart, {text: 1})
