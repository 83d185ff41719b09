"""BLEU and Self-BLEU compared with sacrebleu, the verdict, and the chart."""

from __future__ import annotations

import random
from xml.etree import ElementTree

import numpy as np
import pytest
from sacrebleu import BLEU

from wenmo.evaluation.results import Curve, TradeoffPoint
from wenmo.evaluation.tradeoff import (
    ORDERS,
    SMOOTHING,
    NgramMatches,
    tradeoff_point,
    tradeoff_svg,
    verdict,
)

WORDS = ["a", "b", "c", "d", "e", "f"]


def texts(count: int, seed: int) -> list[list[str]]:
    rng = random.Random(seed)
    return [rng.choices(WORDS, k=rng.randint(5, 9)) for _ in range(count)]


@pytest.mark.parametrize("order", ORDERS)
def test_bleu_matches_sacrebleu(order: int) -> None:
    references, known = texts(12, 0), NgramMatches(texts(12, 0))
    metric = BLEU(
        max_ngram_order=order,
        smooth_method="floor",
        smooth_value=SMOOTHING,
        tokenize="none",
        effective_order=False,
    )
    plain = [" ".join(reference) for reference in references]
    for text in texts(40, 1):
        expected = metric.sentence_score(" ".join(text), plain).score / 100
        assert known.bleu(text)[ORDERS.index(order)] == pytest.approx(expected, rel=1e-6)


def test_self_bleu_excludes_the_text_itself() -> None:
    own = [*texts(6, 2), *texts(1, 2), ["a"] * 12]
    together = NgramMatches(own)
    for number, text in enumerate(own):
        alone = NgramMatches([other for i, other in enumerate(own) if i != number])
        assert together.bleu(text, excluded=number) == pytest.approx(alone.bleu(text), rel=1e-9)


def test_bleu_without_matches() -> None:
    known = NgramMatches([["a", "b"]])
    assert known.bleu(["x", "y"]) == [0.0] * 4
    assert known.bleu([]) == [0.0] * 4


def test_chinese_is_split_into_characters() -> None:
    found = tradeoff_point(1.0, ["床前明月光", "床前明月光。"], NgramMatches([list("床前明月光")]))
    assert found.bleu["5"] > 0.5
    assert found.self_bleu["4"] > 0.5


NAMES = ("this run", "the other run")


def curve(*points: tuple[float, float], error: float = 0.001) -> Curve:
    off = {"4": error}
    return [
        TradeoffPoint(1 - 0.1 * n, {"4": quality}, off, {"4": alike}, off, sample="")
        for n, (quality, alike) in enumerate(points)
    ]


def test_verdict_at_equal_diversity() -> None:
    baseline = curve((0.2, 0.2), (0.4, 0.6))
    better = verdict(curve((0.35, 0.4), (0.9, 0.95)), baseline, NAMES)
    assert better.gain == pytest.approx(0.05)
    assert better.compared == 1
    assert better.text.startswith("this run is better")
    worse = verdict(curve((0.25, 0.4), (0.35, 0.6)), baseline, NAMES)
    assert worse.gain == pytest.approx(-0.05)
    assert worse.text.startswith("the other run is better")
    assert verdict(curve((0.5, 0.9)), baseline, NAMES).gain is None
    assert verdict(curve((0.5, 0.2)), curve((0.3, 0.2)), NAMES).gain == pytest.approx(0.2)


def test_verdict_within_the_error() -> None:
    result = verdict(
        curve((0.35, 0.4), error=0.03), curve((0.2, 0.2), (0.4, 0.6), error=0.03), NAMES
    )
    assert result.text.startswith("no significant difference")
    # Each curve's error upward, and sideways by half, the slope of the baseline's.
    assert result.error == pytest.approx((2 * 0.03**2 * (1 + 0.5**2)) ** 0.5)


def test_standard_errors() -> None:
    """The spread of independent sweeps matches their standard errors."""
    known = NgramMatches(texts(50, 3))
    sweeps = [
        tradeoff_point(1.0, [" ".join(text) for text in texts(60, seed)], known)
        for seed in range(9, 49)
    ]
    found = np.array([each.bleu["4"] for each in sweeps]).std()
    result = np.mean([each.bleu_error["4"] for each in sweeps])
    assert found == pytest.approx(result, rel=0.35)


def test_svg_has_a_point_for_each_temperature() -> None:
    curves = {"model <1>": curve((0.2, 0.2), (0.4, 0.6)), "另一个": curve((0.3, 0.3))}
    root = ElementTree.fromstring(tradeoff_svg(curves))
    space = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{space}circle")) == 3
    assert len(root.findall(f"{space}polyline")) == 2
    said = [element.text for element in root.findall(f"{space}text")]
    assert {"model <1>", "另一个", "quality: BLEU-4", "0.9"} <= set(said)
