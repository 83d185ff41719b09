"""Choose the default temperature and top-p of a run on held-out text.

Likelihood cannot choose them: it is best at a temperature of about 1, at which small models invent
words. Instead, *generated* texts are compared with held-out text: their ratios of words and word
bigrams that are not in the training text, and of repeated 4-grams, must not be larger. Of the
settings that fulfil this, the most diverse one is chosen. That statistics of generated text should
match human text is the criterion of Holtzman et al. (2020), section 4; the ratio of repeated
4-grams is that of Welleck et al. (2020), section 3.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wenmo.budget import SAFETY_FACTOR
from wenmo.evaluation.diversity import ngrams, units

SETTINGS = ((1.0, 1.0), *((temperature, 0.95) for temperature in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)))
"""Temperature and top-p, from the most diverse setting to the least."""
MAX_TRIALS = 3  # settings that the bisection tries
TEXTS_PER_TRIAL = 64  # generated with each setting; more if held-out texts are short
MAX_TOKENS = 128  # of each text
MAX_TEXTS = 512  # per trial
MIN_TOKENS = 48  # of each text; shorter texts show no repetition
MIN_WORDS = 400  # of held-out text and of the texts of each trial
TOLERANCE = 0.005  # by which a ratio may exceed that of held-out text
MAX_TOTAL_TOKENS = MAX_TRIALS * TEXTS_PER_TRIAL * MAX_TOKENS
STATISTICS = ("new_words", "new_pairs", "repeated")
MAX_REFERENCE_CHARACTERS = 1_000_000  # of the training text
REFERENCE_SECONDS_PER_CHARACTER = 2e-6  # estimate
REFERENCE_TIME_FRACTION = 0.25  # of the time for reading the training text
PROBE_TOKENS, PROBE_TEXTS = (4, 16), 4  # of the speed measurements
MIN_TIME_FRACTION = (
    0.25  # of a measurement, attributed to its tokens even if the measured slope is smaller
)
TOO_LITTLE_TEXT = "default: too little held-out text to choose by"
SHORT_TEXTS = "default: the texts are too short to choose by"
NO_TIME = "default: no time; full_evaluation=true chooses"

Words = list[str]


class GenerateTexts(Protocol):
    """Generates texts with a temperature and a top-p."""

    def __call__(self, setting: tuple[float, float], tokens: int, texts: int) -> list[str]: ...


@dataclass(frozen=True)
class Choice:
    """The result of the choice.

    Attributes:
        setting: temperature and top-p; None: no choice, the default is used.
        reason: the reason, in one line.
        written, held_out: ratios by name (``STATISTICS``) of texts generated with this setting, and
            of held-out text.
        tried: the ratios of all settings tried.
    """

    setting: tuple[float, float] | None
    reason: str
    written: dict[str, float] | None = None
    held_out: dict[str, float] | None = None
    tried: tuple[dict[str, float], ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Ratios of generated text and of the same amount of held-out text, float64 (statistics,), and
    the standard error of their difference.
    """

    written: NDArray[np.float64]
    held_out: NDArray[np.float64]
    error: NDArray[np.float64]

    @property
    def excess(self) -> NDArray[np.float64]:
        """By how much each ratio exceeds that of held-out text beyond noise; at least 0."""
        beyond = self.written - self.held_out - np.maximum(TOLERANCE, self.error)
        return np.maximum(0.0, beyond)


class Reference:
    """The words and word bigrams of the training text."""

    def __init__(self, text: str) -> None:
        words = units(text)
        self.words, self.pairs = set(words), set(ngrams(words, 2))

    def compare(self, written: Sequence[Words], held_out: Sequence[Words]) -> Comparison:
        """Compare equal amounts of text, because repetition grows with the amount."""
        word_count = min(sum(map(len, written)), sum(map(len, held_out)))
        (written_ratios, written_error), (held_out_ratios, held_out_error) = (
            self._ratios(_first_words(texts, word_count)) for texts in (written, held_out)
        )
        return Comparison(written_ratios, held_out_ratios, np.hypot(written_error, held_out_error))

    def _ratios(self, texts: Sequence[Words]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The ratio of each statistic, and its standard error over texts; words of a text are not
        independent.
        """
        counts, totals, seen = [], [], set[tuple[str, ...]]()
        for words in texts:
            pairs, fourgrams = ngrams(words, 2), ngrams(words, 4)
            new = [sum(word not in self.words for word in words)]
            new.append(sum(pair not in self.pairs for pair in pairs))
            new_fourgrams = set(fourgrams) - seen
            seen |= new_fourgrams
            counts.append([*new, len(fourgrams) - len(new_fourgrams)])
            totals.append([len(words), len(pairs), len(fourgrams)])
        counted, totals_ = np.array(counts, np.float64), np.array(totals, np.float64)
        denominator = np.maximum(1.0, totals_.sum(0))
        ratio = counted.sum(0) / denominator
        variance_sum = ((counted - ratio * totals_) ** 2).sum(0)
        return ratio, np.sqrt(variance_sum * len(texts) / max(1, len(texts) - 1)) / denominator


def choose_sampling(
    generate: GenerateTexts,
    read_training: Callable[[int], str],
    held_out: Sequence[str],
    *,
    seconds: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> Choice:
    """Choose temperature and top-p by bisection over `SETTINGS`.

    Args:
        generate: generates texts; deterministic.
        read_training: returns the training text up to a number of characters.
        held_out: held-out texts of at most `MAX_TOKENS` tokens.
        seconds: wall-clock limit; None: no limit.
        progress: called with the fraction done.

    Returns:
        The most diverse setting whose ratios do not exceed those of held-out text; if there is
        none, the one tried with the smallest excess.
    """
    started = time.perf_counter()
    held_out_words = [inner_words(text) for text in held_out]
    if sum(map(len, held_out_words)) < MIN_WORDS:
        enough = sum(len(units(text)) for text in held_out) >= MIN_WORDS
        return Choice(None, SHORT_TEXTS if enough else TOO_LITTLE_TEXT)
    if seconds is not None and seconds <= 0:
        return Choice(None, NO_TIME)
    tokens, characters, count = (
        MAX_TOKENS,
        MAX_REFERENCE_CHARACTERS,
        max(TEXTS_PER_TRIAL, len(held_out)),
    )
    if seconds is not None:
        characters = min(
            characters, int(REFERENCE_TIME_FRACTION * seconds / REFERENCE_SECONDS_PER_CHARACTER)
        )
        tokens = _affordable_tokens(generate, count, (1 - REFERENCE_TIME_FRACTION) * seconds)
        if tokens < MIN_TOKENS:
            return Choice(None, NO_TIME)
    reference, tried = Reference(read_training(characters)), dict[int, Comparison]()
    low, high = 0, len(SETTINGS)
    while low < high:
        if seconds is not None and time.perf_counter() - started > seconds:
            return Choice(None, NO_TIME)
        index = (low + high) // 2
        words = [inner_words(text) for text in generate(SETTINGS[index], tokens, count)]
        if sum(map(len, words)) < MIN_WORDS:
            return Choice(None, SHORT_TEXTS)
        tried[index] = reference.compare(words, held_out_words)
        invents_more = tried[index].excess[:2].any()
        low, high = (index + 1, high) if invents_more else (low, index)
        if progress is not None:
            progress(len(tried) / MAX_TRIALS)
    return _make_choice(tried, low)


def text_count(lengths: Sequence[int]) -> int:
    """The number of texts to generate and of held-out texts to compare them with: more if held-out
    texts are short.

    Args:
        lengths: tokens of held-out texts.
    """
    mean = max(1, sum(lengths) // max(1, len(lengths)))
    return min(MAX_TEXTS, max(TEXTS_PER_TRIAL, TEXTS_PER_TRIAL * MAX_TOKENS // mean))


def inner_words(text: str) -> Words:
    """The words of a text without the first and the last, which may be truncated."""
    return units(text)[1:-1]


def _first_words(texts: Sequence[Words], word_count: int) -> list[Words]:
    """The first ``word_count`` words of texts."""
    first = []
    for words in texts:
        if word_count <= 0:
            break
        first.append(words[:word_count])
        word_count -= len(words)
    return first


def _affordable_tokens(generate: GenerateTexts, texts: int, seconds: float) -> int:
    """The number of tokens per text for which all trials fit into the time; 0: far too few.

    Two measurements give the constant time of a call and the time of a token.
    """
    seconds_per_trial = seconds / (MAX_TRIALS + 1)  # the measurements count as one trial

    def measure(tokens: int, count: int) -> float:
        started = time.perf_counter()
        generate(SETTINGS[0], tokens, count)
        return time.perf_counter() - started

    few_tokens, more_tokens = PROBE_TOKENS
    too_slow = seconds_per_trial * few_tokens / MIN_TOKENS
    first_seconds = measure(few_tokens, PROBE_TEXTS)  # the first call may also load files
    if first_seconds > too_slow and (
        first_seconds > seconds_per_trial / 2 or measure(few_tokens, PROBE_TEXTS) > too_slow
    ):
        return 0
    short_seconds, long_seconds = measure(few_tokens, texts), measure(more_tokens, texts)
    if long_seconds > seconds_per_trial:
        return 0
    seconds_per_token = max(
        (long_seconds - short_seconds) / (more_tokens - few_tokens),
        MIN_TIME_FRACTION * long_seconds / more_tokens,
        1e-9,
    )
    return min(
        MAX_TOKENS,
        int(SAFETY_FACTOR * (seconds_per_trial - long_seconds) / seconds_per_token) + more_tokens,
    )


def _make_choice(tried: dict[int, Comparison], index: int) -> Choice:
    """The choice; ``index`` is the first setting that invents no more than held-out text."""
    if index not in tried or tried[index].excess.any():
        index = min(tried, key=lambda other: (float(tried[other].excess.sum()), other))
    comparison = tried[index]
    written, held_out = _by_statistic(comparison.written), _by_statistic(comparison.held_out)
    description = ", ".join(
        f"{name.replace('_', ' ')} {written[name]:.1%} (held-out text {held_out[name]:.1%})"
        for name in STATISTICS
    )
    tried_ratios = tuple(
        {"temperature": SETTINGS[n][0], "top_p": SETTINGS[n][1], **_by_statistic(tried[n].written)}
        for n in sorted(tried)
    )
    return Choice(
        SETTINGS[index], f"chosen on held-out text: {description}", written, held_out, tried_ratios
    )


def _by_statistic(ratios: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(STATISTICS, map(float, ratios), strict=True))
