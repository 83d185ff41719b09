"""What is drawn is as frequent as it is likely, ends where it must, and tells what made it."""

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

DRAWS = 2500


def chi_square(counts: Counter[str], likely: dict[str, float]) -> float:
    """How probable counts are that differ at least so much; what is rare is taken together."""
    total = sum(counts.values())
    frequent = {text: p for text, p in likely.items() if p * total >= 5}
    rare = 1 - sum(frequent.values())
    cells = [(counts[text], p * total) for text, p in frequent.items()]
    if rare * total >= 5:
        cells.append((total - sum(counts[text] for text in frequent), rare * total))
    statistic = sum((seen - expected) ** 2 / expected for seen, expected in cells)
    half = torch.tensor([(len(cells) - 1) / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def random_grammar(seed: int) -> Grammar:
    """Rules with weights, empty texts, recursion, and, in some, saved texts and modifiers."""
    draw = random.Random(seed)
    parts = ["a", "b ", "猫", "#x#", "#y#", "#z#", "#z.s#", "#y.capitalize#"]
    while True:
        rules = {
            name: {
                "".join(draw.choices(parts, k=draw.randint(0, 3))): draw.randint(1, 5)
                for _ in range(draw.randint(1, 4))
            }
            for name in ("origin", "x", "y")
        }
        rules["z"] = {word: draw.randint(1, 5) for word in ("ox", "fly", "owl")}
        if draw.random() < 0.4:
            rules["origin"] = {"#[z:#z#][v:u,w]" + name + "##v#": 1 for name in "xy"}
        try:
            grammar = parse_grammar(json.dumps(rules))
            chart = Chart.of(grammar)
        except WenmoError:
            continue
        frequent = [text for text in often(grammar) if chart.logprob(text) > math.log(0.01)]
        if len(frequent) > 3:
            return grammar


def often(grammar: Grammar) -> list[str]:
    """Texts that are drawn often, by other draws than those that are judged."""
    sampler = Sampler(grammar)
    counts = Counter(sampler.draw(10**6 + seed).text for seed in range(300))
    return [text for text, count in counts.items() if count > 2]


@pytest.mark.parametrize("seed", range(20))
def test_frequencies_are_probabilities(seed):
    grammar = random_grammar(seed)
    sampler, chart = Sampler(grammar), Chart.of(grammar)
    counts = Counter(sampler.draw(number).text for number in range(DRAWS))
    likely = {text: math.exp(chart.logprob(text)) for text in often(grammar)}
    assert chi_square(counts, likely) > 0.01


def test_chi_square_knows_another_distribution():
    counts = Counter(a=500, b=500)
    assert chi_square(counts, {"a": 0.5, "b": 0.5}) == pytest.approx(1)
    assert chi_square(counts, {"a": 0.55, "b": 0.45}) < 0.01


TREES = '{"origin": {"#x##x#": 1, "#y#": 50}, "x": {"a": 9, "b": 1, "#y#": 5}, "y": ["c", "d"]}'


def test_every_derivation_is_as_likely_as_any_other():
    grammar = parse_grammar(TREES)
    sampler = Sampler(grammar, uniform=True)
    ways = Counter(tuple(choice.source for choice in sampler.draw(n).trace) for n in range(DRAWS))
    assert len(ways) == 4 * 4 + 2
    likely = {str(way): 1 / len(ways) for way in ways}
    assert chi_square(Counter({str(way): n for way, n in ways.items()}), likely) > 0.01


@pytest.mark.parametrize(("depth", "count"), [(1, 1), (2, 2), (3, 5), (4, 26)])
def test_derivations_up_to_a_depth(depth, count):
    grammar = parse_grammar('{"origin": {"x": 1, "(#origin##origin#)": 9}}')  # c' = 1 + c²
    sampler = Sampler(grammar, uniform=True, depth=depth)
    texts = Counter(sampler.draw(n).text for n in range(DRAWS, 2 * DRAWS))
    assert len(texts) == count
    if count > 1:
        assert chi_square(texts, dict.fromkeys(texts, 1 / count)) > 0.01


def test_derivations_that_cannot_be_drawn_alike():
    with pytest.raises(WenmoError, match="rule 'x' comes back to itself: give a depth"):
        Sampler(parse_grammar('{"origin": "#x#", "x": ["a", "#x#b"]}'), uniform=True)
    with pytest.raises(WenmoError, match="where texts are saved"):
        Sampler(parse_grammar('{"origin": "[x:a]#x#"}'), uniform=True)
    with pytest.raises(WenmoError, match="no text ends within depth 2: the first takes 3"):
        Sampler(parse_grammar('{"origin": "#a#", "a": "#b#", "b": "c"}'), uniform=True, depth=2)


def test_a_text_is_its_seeds_alone():
    first, second = Sampler(parse_grammar(TREES)), Sampler(parse_grammar(TREES))
    forward = [first.draw(seed).text for seed in range(50)]
    backward = [second.draw(seed).text for seed in reversed(range(50))]
    assert forward == backward[::-1]
    assert first.draw(2**63 + 5).text  # as large as seeds are


def test_a_derivation_tells_which_rules_wrote_what():
    rules = {
        "origin": "#[who:#name#]says# 说#good.capitalize#!",
        "name": ["小明", "Ann"],
        "says": "#who.uppercase#",
        "good": [{"text": "hi #name#", "weight": 2}],
    }
    drawn = Sampler(parse_grammar(json.dumps(rules))).draw(3)
    tree = drawn.derivation
    assert (tree.rule, tree.text) == ("origin", drawn.text)
    assert tree.alternative == rules["origin"]
    who, says, good = tree.inside
    assert (who.rule, who.text) == ("name", who.alternative)
    assert [(inner.rule, inner.text) for inner in says.inside] == [("who", who.text)]
    assert says.text == who.text.upper()
    assert (good.alternative, good.text) == ("hi #name#", f"hi {good.inside[0].text}")
    assert drawn.text == f"{says.text} 说{good.text.capitalize()}!"
    assert tree.plain()["inside"][0] == {
        "rule": "name",
        "alternative": who.text,
        "text": who.text,
        "inside": [],
    }


def test_its_log_probability_is_that_of_the_derivation():
    grammar = parse_grammar('{"origin": {"#x##x#": 1, "aa": 1}, "x": {"a": 3, "": 1}}')
    chart, sampler = Chart.of(grammar), Sampler(grammar)
    found = {
        tuple(c.source for c in drawn.trace): (drawn.text, drawn.logprob)
        for drawn in map(sampler.draw, range(300))
    }
    total = sum(math.exp(p) for text, p in found.values() if text == "aa")
    assert math.exp(chart.logprob("aa")) == pytest.approx(total)
    assert total == pytest.approx(0.5 + 0.5 * 9 / 16)


def test_what_no_alternative_allows_is_told():
    text = "[rules]\norigin = '[w:a]#x#'\nx = { text = 'b', when = { w = 'b' } }"
    with pytest.raises(WenmoError, match=r"'x' has no alternative for what is saved \(w: a\)"):
        Sampler(parse_grammar(text)).draw(0)
    with pytest.raises(WenmoError, match="calls #x# before anything is saved under it"):
        Sampler(parse_grammar('{"origin": "#x#[x:a]"}')).draw(0)


def test_conditions_and_depth():
    """Where only what goes on is allowed, it is told; else the depth holds."""
    rules = "x = [{ text = 'b', when = { w = 'b' } }, '#x#a', { text = '[w:b]#x#', weight = W }]"
    text = "[rules]\norigin = '[w:a]#x#'\n" + rules
    grammar = parse_grammar(text.replace("W", "1e-9"))
    with pytest.raises(WenmoError, match="no way to end a text"):
        Sampler(grammar, depth=5).draw(0)
    grammar = parse_grammar(text.replace("W", "1"))
    assert {Sampler(grammar).draw(seed).text[0] for seed in range(20)} == {"b"}
