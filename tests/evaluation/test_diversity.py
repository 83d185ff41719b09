"""Units, n-grams and distinct-n: cases computed by hand, and the bootstrap."""

from __future__ import annotations

from itertools import pairwise
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.evaluation.diversity import distinct, graphemes, ngrams, units

WORDS = st.lists(st.sampled_from(["the", "cat", "sat", "on", "春", "眠", "x9"]), max_size=8)
TEXTS = st.lists(WORDS.map(" ".join), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat's 2nd hat_box!", ["the", "cat", "s", "2nd", "hat", "box"]),
        ("春眠不觉晓，", ["春", "眠", "不", "觉", "晓"]),
        ("用GPT2写诗", ["用", "gpt2", "写", "诗"]),
        ("人々が、カードを・", ["人", "々", "が", "カ", "ー", "ド", "を"]),
        ("한국어 시", ["한국어", "시"]),
        ("Où est l'ÉTÉ?", ["où", "est", "l", "été"]),
        ("𠮷野", ["𠮷", "野"]),
        (" … 。", []),
        ("वह किताब पढ़ती है", ["वह", "किताब", normalize("NFC", "पढ़ती"), "है"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("كِتَابٌ جَدِيدٌ", ["كِتَابٌ", "جَدِيدٌ"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("โรงสี", ["โ", "ร", "ง", "สี"]),
        ("น้ำ ๒๕ ใบ", ["น้ำ", "๒๕", "ใ", "บ"]),
        ("cafe\u0301 brûlée", ["café", "brûlée"]),
        ("か\u3099く", ["が", "く"]),
        ("\u0301 a", ["a"]),
    ],
)
def test_units(text: str, expected: list[str]) -> None:
    assert units(text) == expected


@given(st.text(st.sampled_from("aé\u0301e 春が\u3099กำ ้कि_1"), max_size=12))
def test_composed_and_decomposed_text_has_the_same_units(text: str) -> None:
    assert units(normalize("NFC", text)) == units(normalize("NFD", text))
    assert graphemes(normalize("NFC", text)) == graphemes(normalize("NFD", text))


def test_graphemes_keep_their_marks() -> None:
    assert graphemes("किता") == ["कि", "ता"]
    assert graphemes("e\u0301 春") == ["é", " ", "春"]
    assert len(graphemes("👩‍👩‍👧")) == 1


def test_ngrams_of_a_short_text() -> None:
    assert ngrams(["a", "b", "a"], 2) == [("a", "b"), ("b", "a")]
    assert ngrams(["a"], 2) == []


def test_distinct_by_hand() -> None:
    outputs = ["the cat the cat", "the dog"]  # the cat dog; the-cat cat-the the-dog
    assert distinct(outputs, 1)[0] == pytest.approx(100 * 3 / 6)
    assert distinct(outputs, 2)[0] == pytest.approx(100 * 3 / 4)
    assert distinct(["好好学习"], 1)[0] == pytest.approx(100 * 3 / 4)


def test_distinct_of_empty_texts() -> None:
    share, shares = distinct(["", "！"], 1, resamples=3)
    assert share == 0
    assert shares == [0, 0, 0]


@settings(max_examples=50, deadline=None)
@given(TEXTS, st.integers(1, 3))
def test_distinct_matches_set_counts(outputs: list[str], order: int) -> None:
    every = [
        tuple(found[i : i + order])
        for found in map(units, outputs)
        for i in range(len(found) - order + 1)
    ]
    expected = 100 * len(set(every)) / len(every) if every else 0
    assert distinct(outputs, order)[0] == pytest.approx(expected)
    assert distinct(outputs[::-1], order)[0] == pytest.approx(expected)


def test_resamples_match_brute_force() -> None:
    outputs = ["a b c", "a a", "", "b d e f"]
    share, shares = distinct(outputs, 1, resamples=20, seed=3)
    rng = np.random.default_rng(3)
    expected = []
    for _ in range(20):
        drawn = [outputs[i] for i in rng.integers(4, size=4)]
        every = " ".join(drawn).split()
        expected.append(100 * len(set(every)) / max(len(every), 1))
    shift = share - np.mean(expected)
    np.testing.assert_allclose(shares, np.clip(np.array(expected) + shift, 0, 100))


def test_bootstrap_spread_matches_new_samples() -> None:
    """New samples from a Zipfian vocabulary vary as much as bootstrap samples of one."""
    rng = np.random.default_rng(0)
    odds = 1 / np.arange(1, 1001)

    def sample() -> list[str]:
        ids = rng.choice(1000, size=(60, 15), p=odds / odds.sum())
        return [" ".join(map(str, row[: 5 + row[0] % 10])) for row in ids]

    fresh = np.std([distinct(sample(), 1)[0] for _ in range(200)])
    spreads = [np.std(distinct(sample(), 1, resamples=200)[1]) for _ in range(10)]
    assert 0.7 < np.mean(spreads) / fresh < 1.3


@given(WORDS)
def test_bigrams(words: list[str]) -> None:
    assert ngrams(words, 2) == list(pairwise(words))
