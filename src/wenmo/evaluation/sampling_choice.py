"""Temperature and top-p of a run, chosen on held-out text.

Likelihood cannot choose them: of a trained model it is best at a temperature of about 1, at which
small models invent words. So what the model *writes* is set beside held-out text: it may have no
larger a share of words and of pairs of neighbouring words that the training text does not have, and
repeat itself no more. Of the settings for which that holds, the most varied is taken. That the
statistics of what is written should be those of human text is the criterion of Holtzman et al.
(2020), section 4; the share of repeated 4-grams is that of Welleck et al. (2020), section 3.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wenmo.budget import CAUTION
from wenmo.evaluation.diversity import ngrams, units

SETTINGS = ((1.0, 1.0), *((temperature, 0.95) for temperature in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)))
"""Temperature and top-p, from the most varied texts to the least."""
ROUNDS = 3  # settings that a bisection tries
TEXTS = 64  # written with each of them, where they are as long as
TOKENS = 128  # of each text at most
MOST_TEXTS = 512  # where they are short
FEWEST_TOKENS = 48  # fewer show no repetition
FEWEST_WORDS = 400  # of held-out text, and of what is written: fewer tell too little
TOLERANCE = 0.005  # that a share may be above that of held-out text, however much text there is
COST = ROUNDS * TEXTS * TOKENS  # tokens that are written to choose
STATISTICS = ("new_words", "new_pairs", "repeated")
LONGEST_REFERENCE = 1_000_000  # characters of the training text that are looked through
SECONDS_PER_CHARACTER = 2e-6  # to look through it, and
SHARE_OF_REFERENCE = 0.25  # of the time for it
PROBE_TOKENS, PROBE_TEXTS = (4, 16), 4  # of the trials of how long writing takes
LEAST_SHARE = 0.25  # of the time of a trial is spent on its tokens, whatever the clock says
TOO_LITTLE_TEXT = "default: too little held-out text to choose by"
SHORT_TEXTS = "default: the texts are too short to choose by"
NO_TIME = "default: no time; full_evaluation=true chooses"

Words = list[str]


class Write(Protocol):
    """Writes texts with a temperature and a top-p."""

    def __call__(self, setting: tuple[float, float], tokens: int, texts: int) -> list[str]: ...


@dataclass(frozen=True)
class Choice:
    """How a run writes where nothing is asked for.

    Attributes:
        setting: temperature and top-p; None: not chosen, the default holds.
        reason: in one line.
        written, held_out: the shares by name, in ``STATISTICS``, of texts written with this setting
            and of held-out text.
        tried: the shares of every setting that was tried.
    """

    setting: tuple[float, float] | None
    reason: str
    written: dict[str, float] | None = None
    held_out: dict[str, float] | None = None
    tried: tuple[dict[str, float], ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Shares of what was written and of as much held-out text, float64 (statistics,) each, and the
    standard error of their difference.
    """

    written: NDArray[np.float64]
    held_out: NDArray[np.float64]
    error: NDArray[np.float64]

    @property
    def excess(self) -> NDArray[np.float64]:
        """By how much each share is above that of held-out text, beyond noise; at least 0."""
        beyond = self.written - self.held_out - np.maximum(TOLERANCE, self.error)
        return np.maximum(0.0, beyond)


class Reference:
    """The words of the training text and its pairs of neighbouring words."""

    def __init__(self, text: str) -> None:
        words = units(text)
        self.words, self.pairs = set(words), set(ngrams(words, 2))

    def compare(self, written: Sequence[Words], held_out: Sequence[Words]) -> Comparison:
        """Equal amounts of both, since repetition grows with the amount."""
        amount = min(sum(map(len, written)), sum(map(len, held_out)))
        (own, own_error), (other, other_error) = (
            self._shares(_first(texts, amount)) for texts in (written, held_out)
        )
        return Comparison(own, other, np.hypot(own_error, other_error))

    def _shares(self, texts: Sequence[Words]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The share of each statistic, and its standard error: texts vary, not words, which depend
        on each other.
        """
        found, totals, before = [], [], set[tuple[str, ...]]()
        for words in texts:
            pairs, fours = ngrams(words, 2), ngrams(words, 4)
            new = [sum(word not in self.words for word in words)]
            new.append(sum(pair not in self.pairs for pair in pairs))
            fresh = set(fours) - before
            before |= fresh
            found.append([*new, len(fours) - len(fresh)])
            totals.append([len(words), len(pairs), len(fours)])
        part, whole = np.array(found, np.float64), np.array(totals, np.float64)
        most = np.maximum(1.0, whole.sum(0))
        share = part.sum(0) / most
        spread = ((part - share * whole) ** 2).sum(0)
        return share, np.sqrt(spread * len(texts) / max(1, len(texts) - 1)) / most


def choose_sampling(
    write: Write,
    training: Callable[[int], str],
    held_out: Sequence[str],
    *,
    seconds: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> Choice:
    """Choose temperature and top-p by bisection: the texts of each next setting are less varied.

    Args:
        write: writes texts; the same ones each time it is asked for the same.
        training: gives so many characters of the training text at most.
        held_out: texts of at most `TOKENS` tokens.
        seconds: the time there is; None: all it takes.
        progress: told the share that is done.

    Returns:
        The most varied setting with which no share is above that of held-out text; where there is
        none, that of those tried with which the shares are the least above it.
    """
    started = time.perf_counter()
    human = [inner(text) for text in held_out]
    if sum(map(len, human)) < FEWEST_WORDS:
        enough = sum(len(units(text)) for text in held_out) >= FEWEST_WORDS
        return Choice(None, SHORT_TEXTS if enough else TOO_LITTLE_TEXT)
    if seconds is not None and seconds <= 0:
        return Choice(None, NO_TIME)
    tokens, characters, count = TOKENS, LONGEST_REFERENCE, max(TEXTS, len(held_out))
    if seconds is not None:
        characters = min(characters, int(SHARE_OF_REFERENCE * seconds / SECONDS_PER_CHARACTER))
        tokens = _fitting_tokens(write, count, (1 - SHARE_OF_REFERENCE) * seconds)
        if tokens < FEWEST_TOKENS:
            return Choice(None, NO_TIME)
    reference, tried = Reference(training(characters)), dict[int, Comparison]()
    low, high = 0, len(SETTINGS)
    while low < high:
        if seconds is not None and time.perf_counter() - started > seconds:
            return Choice(None, NO_TIME)
        middle = (low + high) // 2
        texts = [inner(text) for text in write(SETTINGS[middle], tokens, count)]
        if sum(map(len, texts)) < FEWEST_WORDS:
            return Choice(None, SHORT_TEXTS)
        tried[middle] = reference.compare(texts, human)
        too_new = tried[middle].excess[:2].any()
        low, high = (middle + 1, high) if too_new else (low, middle)
        if progress is not None:
            progress(len(tried) / ROUNDS)
    return _chosen(tried, low)


def how_many_texts(lengths: Sequence[int]) -> int:
    """How many texts are written, where held-out texts have so many tokens each, and how many of
    those they are set beside: short ones tell less.
    """
    mean = max(1, sum(lengths) // max(1, len(lengths)))
    return min(MOST_TEXTS, max(TEXTS, TEXTS * TOKENS // mean))


def inner(text: str) -> Words:
    """The words of a text without the first and the last, which may be cut."""
    return units(text)[1:-1]


def _first(texts: Sequence[Words], amount: int) -> list[Words]:
    """The first so many words of texts."""
    kept = []
    for words in texts:
        if amount <= 0:
            break
        kept.append(words[:amount])
        amount -= len(words)
    return kept


def _fitting_tokens(write: Write, texts: int, seconds: float) -> int:
    """How many tokens a text may have so that all rounds fit; 0: far too few.

    Two trials tell what a call takes by itself, and what each token of all texts adds to that.
    """
    each = seconds / (ROUNDS + 1)  # the trials are like one round more

    def took(tokens: int, count: int) -> float:
        begun = time.perf_counter()
        write(SETTINGS[0], tokens, count)
        return time.perf_counter() - begun

    few, more = PROBE_TOKENS
    slow = each * few / FEWEST_TOKENS
    first = took(few, PROBE_TEXTS)  # loads what later ones find
    if first > slow and (first > each / 2 or took(few, PROBE_TEXTS) > slow):
        return 0
    short, long = took(few, texts), took(more, texts)
    if long > each:
        return 0
    token = max((long - short) / (more - few), LEAST_SHARE * long / more, 1e-9)
    return min(TOKENS, int(CAUTION * (each - long) / token) + more)


def _chosen(tried: dict[int, Comparison], place: int) -> Choice:
    """The choice, where ``place`` is the first setting that invents no more than held-out text."""
    if place not in tried or tried[place].excess.any():
        place = min(tried, key=lambda other: (float(tried[other].excess.sum()), other))
    found = tried[place]
    written, human = _by_name(found.written), _by_name(found.held_out)
    told = ", ".join(
        f"{name.replace('_', ' ')} {written[name]:.1%} (held-out text {human[name]:.1%})"
        for name in STATISTICS
    )
    rows = tuple(
        {"temperature": SETTINGS[n][0], "top_p": SETTINGS[n][1], **_by_name(tried[n].written)}
        for n in sorted(tried)
    )
    return Choice(SETTINGS[place], f"chosen on held-out text: {told}", written, human, rows)


def _by_name(shares: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(STATISTICS, map(float, shares), strict=True))
