"""Sampled frequencies against probabilities, bounds of recursion, and derivations."""

from __future__ import annotations

import json
import math
import random
from collections import Counter

import pytest
import torch

from wenmo.grammar.ast import Grammar
from wenmo.grammar.chart import Chart
from wenmo.grammar.reading import parse_grammar
from wenmo.grammar.sampler import Sampler
from wenmo.types import WenmoError

SAMPLES = 2500


def chi_square(counts: Counter[str], probs: dict[str, float]) -> float:
    """The p-value of counts under a distribution; rare texts are pooled."""
    total = sum(counts.values())
    frequent = {text: p for text, p in probs.items() if p * total >= 5}
    rare = 1 - sum(frequent.values())
    cells = [(counts[text], p * total) for text, p in frequent.items()]
    if rare * total >= 5:
        cells.append((total - sum(counts[text] for text in frequent), rare * total))
    statistic = sum((observed - expected) ** 2 / expected for observed, expected in cells)
    half = torch.tensor([(len(cells) - 1) / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def random_grammar(seed: int) -> Grammar:
    """Rules with weights, empty texts, recursion, and, in some, saved texts and modifiers."""
    rng = random.Random(seed)
    parts = ["a", "b ", "猫", "#x#", "#y#", "#z#", "#z.s#", "#y.capitalize#"]
    while True:
        rules = {
            name: {
                "".join(rng.choices(parts, k=rng.randint(0, 3))): rng.randint(1, 5)
                for _ in range(rng.randint(1, 4))
            }
            for name in ("origin", "x", "y")
        }
        rules["z"] = {word: rng.randint(1, 5) for word in ("ox", "fly", "owl")}
        if rng.random() < 0.4:
            rules["origin"] = {"#[z:#z#][v:u,w]" + name + "##v#": 1 for name in "xy"}
        try:
            grammar = parse_grammar(json.dumps(rules))
            chart = Chart.from_grammar(grammar)
        except WenmoError:
            continue
        frequent = [
            text for text in frequent_texts(grammar) if chart.logprob(text) > math.log(0.01)
        ]
        if len(frequent) > 3:
            return grammar


def frequent_texts(grammar: Grammar) -> list[str]:
    """Frequent texts, from other samples than those that are tested."""
    sampler = Sampler(grammar)
    counts = Counter(sampler.sample(10**6 + seed).text for seed in range(300))
    return [text for text, count in counts.items() if count > 2]


@pytest.mark.parametrize("seed", range(20))
def test_frequencies_are_probabilities(seed):
    grammar = random_grammar(seed)
    sampler, chart = Sampler(grammar), Chart.from_grammar(grammar)
    counts = Counter(sampler.sample(seed).text for seed in range(SAMPLES))
    probs = {text: math.exp(chart.logprob(text)) for text in frequent_texts(grammar)}
    assert chi_square(counts, probs) > 0.01


def test_chi_square_rejects_another_distribution():
    counts = Counter(a=500, b=500)
    assert chi_square(counts, {"a": 0.5, "b": 0.5}) == pytest.approx(1)
    assert chi_square(counts, {"a": 0.55, "b": 0.45}) < 0.01


TREES = '{"origin": {"#x##x#": 1, "#y#": 50}, "x": {"a": 9, "b": 1, "#y#": 5}, "y": ["c", "d"]}'


def test_uniform_sampling_of_derivations():
    grammar = parse_grammar(TREES)
    sampler = Sampler(grammar, uniform=True)
    derivations = Counter(
        tuple(choice.source for choice in sampler.sample(n).trace) for n in range(SAMPLES)
    )
    assert len(derivations) == 4 * 4 + 2
    probs = {str(derivation): 1 / len(derivations) for derivation in derivations}
    assert (
        chi_square(Counter({str(derivation): n for derivation, n in derivations.items()}), probs)
        > 0.01
    )


@pytest.mark.parametrize(("depth", "count"), [(1, 1), (2, 2), (3, 5), (4, 26)])
def test_uniform_sampling_up_to_a_depth(depth, count):
    grammar = parse_grammar('{"origin": {"x": 1, "(#origin##origin#)": 9}}')  # c' = 1 + c²
    sampler = Sampler(grammar, uniform=True, depth=depth)
    texts = Counter(sampler.sample(n).text for n in range(SAMPLES, 2 * SAMPLES))
    assert len(texts) == count
    if count > 1:
        assert chi_square(texts, dict.fromkeys(texts, 1 / count)) > 0.01


def test_grammars_that_cannot_be_sampled_uniformly():
    with pytest.raises(WenmoError, match="rule 'x' is recursive: give the depth"):
        Sampler(parse_grammar('{"origin": "#x#", "x": ["a", "#x#b"]}'), uniform=True)
    with pytest.raises(WenmoError, match="saves texts cannot be sampled uniformly"):
        Sampler(parse_grammar('{"origin": "[x:a]#x#"}'), uniform=True)
    with pytest.raises(WenmoError, match="no text ends within depth 2: the shallowest needs 3"):
        Sampler(parse_grammar('{"origin": "#a#", "a": "#b#", "b": "c"}'), uniform=True, depth=2)


def test_text_depends_on_its_seed_alone():
    first, second = Sampler(parse_grammar(TREES)), Sampler(parse_grammar(TREES))
    ascending = [first.sample(seed).text for seed in range(50)]
    descending = [second.sample(seed).text for seed in reversed(range(50))]
    assert ascending == descending[::-1]
    assert first.sample(2**63 + 5).text  # seeds up to 2**64 - 1


def test_derivation_tree():
    rules = {
        "origin": "#[who:#name#]says# 说#good.capitalize#!",
        "name": ["小明", "Ann"],
        "says": "#who.uppercase#",
        "good": [{"text": "hi #name#", "weight": 2}],
    }
    sampled = Sampler(parse_grammar(json.dumps(rules))).sample(3)
    tree = sampled.derivation
    assert (tree.rule, tree.text) == ("origin", sampled.text)
    assert tree.alternative == rules["origin"]
    who, says, good = tree.children
    assert (who.rule, who.text) == ("name", who.alternative)
    assert [(inner.rule, inner.text) for inner in says.children] == [("who", who.text)]
    assert says.text == who.text.upper()
    assert (good.alternative, good.text) == ("hi #name#", f"hi {good.children[0].text}")
    assert sampled.text == f"{says.text} 说{good.text.capitalize()}!"
    assert tree.to_dict()["inside"][0] == {
        "rule": "name",
        "alternative": who.text,
        "text": who.text,
        "inside": [],
    }


def test_logprob_of_a_derivation():
    grammar = parse_grammar('{"origin": {"#x##x#": 1, "aa": 1}, "x": {"a": 3, "": 1}}')
    chart, sampler = Chart.from_grammar(grammar), Sampler(grammar)
    found = {
        tuple(c.source for c in sampled.trace): (sampled.text, sampled.logprob)
        for sampled in map(sampler.sample, range(300))
    }
    total = sum(math.exp(p) for text, p in found.values() if text == "aa")
    assert math.exp(chart.logprob("aa")) == pytest.approx(total)
    assert total == pytest.approx(0.5 + 0.5 * 9 / 16)


def test_impossible_conditions_are_refused():
    text = "[rules]\norigin = '[w:a]#x#'\nx = { text = 'b', when = { w = 'b' } }"
    with pytest.raises(WenmoError, match=r"'x' has no alternative for the saved texts \(w: a\)"):
        Sampler(parse_grammar(text)).sample(0)
    with pytest.raises(WenmoError, match="calls #x# before anything is saved under that name"):
        Sampler(parse_grammar('{"origin": "#x#[x:a]"}')).sample(0)


def test_conditions_and_depth():
    """An error if only recursive alternatives are allowed; otherwise the depth bounds recursion."""
    rules = "x = [{ text = 'b', when = { w = 'b' } }, '#x#a', { text = '[w:b]#x#', weight = W }]"
    text = "[rules]\norigin = '[w:a]#x#'\n" + rules
    grammar = parse_grammar(text.replace("W", "1e-9"))
    with pytest.raises(WenmoError, match="exclude every end"):
        Sampler(grammar, depth=5).sample(0)
    grammar = parse_grammar(text.replace("W", "1"))
    assert {Sampler(grammar).sample(seed).text[0] for seed in range(20)} == {"b"}
