"""The choice of temperature and top-p, with generators whose ratios of new words are known."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import cycle, islice

import pytest

from wenmo.evaluation.sampling_choice import (
    MIN_WORDS,
    NO_TIME,
    SETTINGS,
    SHORT_TEXTS,
    TOO_LITTLE_TEXT,
    Reference,
    choose_sampling,
    inner_words,
    text_count,
)

# Words in an order without repeated 4-grams: each pair of 40 words occurs.
NAMES = [a + b for a in "bdfgklmn" for b in ("a", "e", "i", "o", "u")]
WALK = [word for step in range(1, 40) for n in range(40) for word in (NAMES[n * step % 40],)]
TRAINING = " ".join(f"{a} {b}" for a in NAMES for b in NAMES)
LENGTH = 52  # words of a text, 50 of which count


def texts(share: float, count: int, *, new: str = "x") -> list[str]:
    """Texts in which every n-th word is new, so that the ratio is known."""
    words, every = cycle(WALK), round(1 / share) if share else 0
    made = []
    for text in range(count):
        own = list(islice(words, LENGTH))
        for place in range(every, LENGTH, every or LENGTH):
            own[place] = f"{new}{text}q{place}"
        made.append(" ".join(own))
    return made


def writer(shares: dict[float, float], loops_below: float = 0.0) -> Callable[..., list[str]]:
    """Generates with this ratio of new words at each temperature, and loops if it is too low."""

    def write(setting: tuple[float, float], tokens: int, count: int) -> list[str]:
        temperature, _ = setting
        if temperature < loops_below:
            return [" ".join(NAMES[:4] * (LENGTH // 4))] * count
        return texts(shares[temperature], count)

    return write


SHARES = {1.0: 0.2, 0.9: 0.125, 0.8: 0.1, 0.7: 0.04, 0.6: 0.02, 0.5: 0.02}


def chosen(write: Callable[..., list[str]], held_out: list[str], **options: object) -> object:
    return choose_sampling(write, lambda characters: TRAINING[:characters], held_out, **options)


@pytest.mark.parametrize(
    ("held_out", "setting"),
    [(0.2, (1.0, 1.0)), (0.125, (0.9, 0.95)), (0.05, (0.7, 0.95)), (0.02, (0.6, 0.95))],
)
def test_most_diverse_setting_within_held_out_ratios(held_out, setting):
    choice = chosen(writer(SHARES), texts(held_out, 64, new="y"))
    assert choice.setting == setting
    assert choice.written["new_words"] <= choice.held_out["new_words"] + 0.01
    assert choice.reason.startswith("chosen on held-out text: new words ")
    assert len(choice.tried) == 3
    assert {"temperature": setting[0], "top_p": setting[1], **choice.written} in choice.tried


def test_lowest_temperature_if_all_invent_more():
    choice = chosen(writer(dict.fromkeys(SHARES, 0.1) | {0.5: 0.05}), texts(0, 64))
    assert choice.setting == (0.5, 0.95)


def test_repetition_is_weighed_against_invention():
    held_out = texts(0.02, 64, new="y")
    choice = chosen(writer(SHARES, loops_below=0.8), held_out)
    assert choice.setting == (0.8, 0.95)  # invents 10% instead of 2%: better than loops
    assert [row["repeated"] > 0.9 for row in choice.tried] == [False, True, True]


def test_chinese_is_compared_by_character_bigrams():
    han = [chr(0x4E00 + n) for n in range(40)]
    known = "。".join(a + b for a in han for b in han[:20])
    pure = ["".join(han[n * step % 20] for n in range(30)) for step in range(1, 40)]
    odd = [text[:10] + han[30] + han[31] + text[12:] for text in pure]
    found = Reference(known).compare(
        [inner_words(text) for text in odd], [inner_words(text) for text in pure]
    )
    assert list(found.excess > 0) == [False, True, False]


def test_equal_amounts_are_compared():
    """Held-out text is short, and repetition grows with the amount."""
    held_out = texts(0, 10)
    found = Reference(TRAINING).compare(
        [inner_words(t) for t in texts(0, 200)], list(map(inner_words, held_out))
    )
    assert list(found.written) == list(found.held_out)


def test_default_for_too_little_text():
    few = texts(0.1, MIN_WORDS // 50 - 1)
    assert chosen(writer(SHARES), few).reason == TOO_LITTLE_TEXT
    assert chosen(writer(SHARES), []).setting is None
    silent = chosen(lambda setting, tokens, count: [""] * count, texts(0.1, 64))
    assert (silent.setting, silent.reason) == (None, SHORT_TEXTS)


def test_nothing_is_generated_without_time():
    def write(setting, tokens, count):
        raise AssertionError

    assert chosen(write, texts(0.1, 64), seconds=0.0).reason == NO_TIME


@pytest.mark.parametrize(
    ("each", "in_time"), [(1e-6, True), (1e-5, True), (2e-4, False), (0.5, False)]
)
def test_time_limit_is_kept(monkeypatch, each, in_time):
    """With a clock that advances by ``each`` seconds for each generated token."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    write = writer(SHARES)

    def timed_write(setting, tokens, count):
        now[0] += each * tokens * count
        return write(setting, tokens, count)

    choice = chosen(timed_write, texts(0.05, 64, new="y"), seconds=1.0)
    assert (choice.setting is not None) == in_time
    assert choice.reason == NO_TIME or in_time
    assert now[0] <= max(1.0, each * 16)  # what is far too slow tries 16 tokens


def test_text_count_is_larger_for_short_texts():
    assert text_count([128] * 10) == text_count([]) // 8 == 64
    assert text_count([32] * 10) == 256
    assert len(SETTINGS) == 7  # three rounds of a bisection
