"""Utilities of minimum Bayes risk, and the choice by them, against brute force."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.decoding.search.mbr import expected_utilities
from wenmo.evaluation.overlap import METRICS, measure
from wenmo.evaluation.utility import UTILITIES, edit_distance
from wenmo.models.ngram_config import NgramConfig
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError

TEXTS = ("the cat and the dog", "a dog and a cat", "the cat", "春眠不觉晓", "春眠觉晓", "")
words = st.lists(st.sampled_from("abc"), max_size=7).map(tuple)


def plain_edit_distance(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    row = list(range(len(second) + 1))
    for i, one in enumerate(first, 1):
        previous, row = row, [i]
        for j, other in enumerate(second, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (one != other)))
    return row[-1]


@given(words, words)
def test_edit_distance(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    assert edit_distance(first, second) == plain_edit_distance(first, second)


def test_every_utility_has_a_name_in_the_settings() -> None:
    [names] = [get_args(t) for t in get_args(get_type_hints(Sampling)["mbr"]) if get_args(t)]
    assert set(names) == set(UTILITIES)


@pytest.mark.parametrize("name", sorted(UTILITIES.keys() & METRICS.keys() - {"bleu"}))
def test_utilities_are_the_metrics_of_one_text(name: str) -> None:
    """But for their unit and sign. BLEU of one text is smoothed, that of a corpus is not."""
    for candidate in TEXTS:
        for reference in TEXTS[:-1]:
            expected = measure([name], [candidate], [[reference]])[name].value
            scale = {"chrf": 1, "ter": -1}.get(name, 100)
            assert scale * UTILITIES[name](candidate, reference) == pytest.approx(expected)


def test_sentence_bleu_by_hand() -> None:
    # 3 of 4 words, 2 of 3 pairs, 1 of 2 triples, no quadruple (half a match of 1); no penalty.
    found = UTILITIES["bleu"]("a b c x", "a b c d")
    assert found == pytest.approx(100 * (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25)
    assert UTILITIES["bleu"]("春眠不觉晓", "春眠不觉晓") == pytest.approx(100)
    assert UTILITIES["edit-distance"]("春眠不觉晓", "春眠觉晓") == pytest.approx(0.8)


def test_expected_utilities_by_hand() -> None:
    samples = ["ab", "abc", "ab", "xyz"]
    expected = expected_utilities(samples, UTILITIES["edit-distance"])
    assert list(expected) == ["ab", "abc", "xyz"]
    assert list(expected.values()) == pytest.approx([(2 + 2 / 3) / 4, (1 + 4 / 3) / 4, 1 / 4])


@pytest.fixture(scope="module")
def writer() -> TextGenerator:
    tokenizer = Tokenizer.train(["the cat and the dog"], TokenizerConfig("bytes"))
    model = NgramConfig(3).build(tokenizer.vocab_size)
    texts = [tokenizer.encode(t).tolist() for t in ("the cat and the dog", "a dog and a cat")]
    model.fit(np.array([0, *texts[0], 0, *texts[1], 0], np.uint16))
    return TextGenerator(model, tokenizer, utilities=UTILITIES)


@pytest.mark.parametrize("name", UTILITIES)
def test_the_text_of_least_risk_is_that_of_brute_force(writer: TextGenerator, name: str) -> None:
    sampling = Sampling(max_tokens=12, seed=3, mbr=name, mbr_samples=8)  # type: ignore[arg-type]
    samples = writer.generate(["the ", "a "], replace(sampling, mbr=None), 8)
    found = writer.generate(["the ", "a "], sampling, 3)
    for outputs, best in zip(samples, found, strict=True):
        texts = [output.text for output in outputs]
        risk = {t: np.mean([UTILITIES[name](t, other) for other in texts]) for t in texts}
        assert best[0].score == pytest.approx(max(risk.values()))
        assert [each.score for each in best] == pytest.approx(
            sorted(risk.values(), reverse=True)[: len(best)]
        )
        assert all(each.score == pytest.approx(risk[each.text]) for each in best)
        assert best[0].logprob == next(o.logprob for o in outputs if o.text == best[0].text)
    assert writer.texts(["a "], sampling, 1) == [[found[1][0].text]]
    assert list(writer.stream("a ", sampling)) == [found[1][0].text]


def test_what_cannot_be_drawn_is_refused(writer: TextGenerator) -> None:
    with pytest.raises(WenmoError, match="9 texts of 8 samples: raise mbr_samples"):
        writer.generate(["a "], Sampling(mbr="chrf", mbr_samples=8), 9)
    for settings in ({"method": "beam"}, {"method": "greedy"}, {"temperature": 0.0}):
        with pytest.raises(ValueError, match="mbr=chrf: must be used with method=sample and a"):
            Sampling(mbr="chrf", **settings)
