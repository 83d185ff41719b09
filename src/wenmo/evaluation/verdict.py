"""Whether a finished run is any good: beside plain counts, in what it invents, repeats and copies,
and in what more training would bring.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from unicodedata import normalize

import numpy as np

from wenmo.budget import ENOUGH_STEPS, enough_minutes
from wenmo.evaluation.diversity import distinct, graphemes, units
from wenmo.evaluation.results import Forecast, Originality
from wenmo.types import amount

TEXT = 3_000_000  # characters of the training text that samples are compared with, at most
FEWEST = 5  # evaluations, fewer of which tell nothing about the next ones
OVERFITTED = 1.005  # times the best bits per byte at the end
EXPONENTS = np.linspace(0.1, 2.0, 20)  # of the power laws that are tried
DRAWS = 50
LEAST_NOISE = 0.003  # bits per byte
QUANTILES = (0.1, 0.5, 0.9)
NOISE = 0.01  # bits per byte that a run may be above counts and still be as good
FAR = 0.25  # bits per byte above counts: a run has hardly begun to learn
FEW_STEPS = 50  # fewer are too few to judge a run by
WORTH = 0.02  # bits per byte that are worth twice the time
MANY_INVENTED = 0.05
LITTLE = 50_000  # tokens of a training text; a network learns few words from fewer


@dataclass(frozen=True)
class Spent:
    """What a run was trained for.

    Attributes:
        steps: how many it made.
        step_seconds: what each took.
        minutes: those it was given; None: it was given steps.
        besides: seconds that it spent on other things than steps.
        passes: how often the steps have read the training text.
    """

    steps: int
    step_seconds: float
    minutes: float | None
    besides: float = 0.0
    passes: float = math.inf

    def more(self) -> str:
        """The option that trains enough: 200 steps, and twice as many as were made."""
        return self._option(max(ENOUGH_STEPS, 2 * self.steps))

    def one_pass(self) -> str:
        """The option that reads the whole text, or ten times as much as was read."""
        return self._option(max(ENOUGH_STEPS, math.ceil(self.steps / max(self.passes, 0.1))))

    def _option(self, steps: int) -> str:
        if self.minutes is None:
            return f"--steps {steps}"
        minutes = enough_minutes(
            self.step_seconds, given=self.minutes, besides=self.besides, steps=steps
        )
        return f"--minutes {minutes:g}, for {steps:,} steps"


def originality(
    samples: Sequence[str], text: str, *, seconds: float | None = None, knows_more: bool = False
) -> Originality:
    """Set samples beside the training text.

    Args:
        samples: written by the model.
        text: the training text, or as much of it as is to be looked through.
        seconds: wall-clock time for finding copies.
        knows_more: the model was trained on other text before.
    """
    folded = normalize("NFC", text.lower())
    words = [word for sample in samples for word in units(sample)]
    letters = [each for sample in samples for each in graphemes(sample) if not each.isspace()]
    known = {word: word in folded for word in set(words)}
    seen = {letter: letter.lower() in folded for letter in set(letters)}
    invented = sum(not known[word] for word in words) / max(1, len(words))
    new = sum(not seen[letter] for letter in letters) / max(1, len(letters))
    repeated = 1 - distinct(samples, 2)[0] / 100 if len(words) > len(samples) else 0.0
    return Originality(
        len(words),
        len(letters),
        None if knows_more else invented,
        None if knows_more else new,
        repeated,
        longest_copy(samples, text, seconds=seconds),
    )


def longest_copy(samples: Sequence[str], text: str, *, seconds: float | None = None) -> int:
    """Characters of the longest run in a sample that stands in the text as it is."""
    started, longest = time.perf_counter(), 0
    for sample in samples:
        begin = 0
        while begin + longest < len(sample):
            if sample[begin : begin + longest + 1] in text:
                longest += 1
            else:
                begin += 1
            if seconds is not None and time.perf_counter() - started > seconds:
                return longest
    return longest


def forecast(points: Sequence[tuple[int, float]]) -> Forecast | None:
    """What twice the steps would gain: a power law of the steps, fitted to held-out bits per byte.

    Laws of many exponents are weighed by how well they fit (Hestness et al. 2017 on the form), and
    drawn again with the noise that is left. The curve of a run whose learning rate falls is steeper
    at its end than that of a longer one: the gain is rather less.

    Args:
        points: steps and bits per byte of each evaluation, the last at the end.

    Returns:
        None: there are too few.
    """
    finite = [point for point in points if np.isfinite(point[1])]
    if len(finite) < FEWEST:
        return None
    steps, bits = np.array(finite, float).T
    best_at = float(steps[bits.argmin()] / steps[-1])
    if bits[-1] > OVERFITTED * bits.min():
        return Forecast(0.0, 0.0, 0.0, best_at, True)
    rng, gains, weights = np.random.default_rng(0), [], []
    fits = [_fit(exponent, steps / steps[-1], bits) for exponent in EXPONENTS]
    errors = np.array([error for _, error in fits])
    noise = max(LEAST_NOISE, float(np.sqrt(errors.min() / (len(bits) - 2))))
    for exponent, (_, error) in zip(EXPONENTS, fits, strict=True):
        weight = np.exp(-(error - errors.min()) / (2 * noise**2))
        for _ in range(DRAWS):
            drawn = bits + noise * rng.standard_normal(len(bits))
            slope, _ = _fit(exponent, steps / steps[-1], drawn)
            gains.append(max(0.0, slope * (1 - 2**-exponent)))
            weights.append(weight)
    order = np.argsort(gains)
    shares = np.cumsum(np.array(weights)[order]) / sum(weights)
    ranked = np.array(gains)[order]
    low, middle, high = (float(ranked[np.searchsorted(shares, q)]) for q in QUANTILES)
    return Forecast(middle, low, high, best_at, False)


def _fit(exponent: float, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The slope of y over x to the power of minus ``exponent``, and the sum of squared errors."""
    z = x**-exponent
    slope = float(np.cov(z, y, bias=True)[0, 1] / z.var())
    errors = y - y.mean() - slope * (z - z.mean())
    return slope, float((errors**2).sum())


def advise(
    *,
    bits: float | None,
    counts: float | None,
    found: Originality | None,
    ahead: Forecast | None,
    stands_on_counts: bool,
    spaced: bool,
    plain: bool = True,
    countable: bool = True,
    has_base: bool = False,
    spent: Spent | None = None,
    idle: bool = False,
    smaller: str | None = None,
    size: int | None = None,
) -> str:
    """What to try next, in a few words.

    Args:
        bits, counts: bits per byte of the run and of plain counts.
        found: of its samples.
        ahead: its forecast.
        stands_on_counts: the run is mixed with counts already.
        spaced: the text has spaces between its words.
        plain: the run learns a running text, not pairs or records.
        countable: its family can be mixed with counts.
        has_base: it began from a trained model.
        spent: what it was trained for; None: it is not trained in steps.
        idle: the run is a mixture in which the network adds nothing to the counts.
        smaller: the name of a smaller model of the family; None: there is none.
        size: tokens of the training text; None: unknown.
    """
    invented = (found and found.invented_words) or 0.0
    base = [] if has_base else ["a pretrained base (--from)"]
    counted = ["--prior ngram"] if countable and not (stands_on_counts or has_base) else []
    if spent is not None and spent.steps < FEW_STEPS:
        far = bits is not None and counts is not None and bits > counts + FAR
        return _or([f"more training: {spent.more()}", *(counted if far else [])])
    little = size is not None and size < LITTLE
    text = f"more text ({amount(size or 0, 'token')} are few)" if little else "more text"
    if ahead is not None and ahead.overfits:
        model = [] if smaller is None else [f"a smaller model (--model {smaller})"]
        return _or([text, *(base if little else []), *model, "a higher dropout="])
    if spent is not None and spent.passes < 1:
        return f"more training ({spent.one_pass()}): only {spent.passes:.0%} of the text was read"
    if spent is not None and idle:
        return f"more training ({spent.more()}): the network adds nothing to its counts yet"
    if bits is not None and counts is not None and bits > counts + NOISE:
        begun = spent is not None and bits > counts + FAR
        more = [f"more training ({spent.more()})" if spent and begun else "more minutes"]
        other = counted or (["--model ngram"] if plain else [])
        if little:
            return _or([text, *base, *more])
        return _or(more + other + base if begun else other + more + base)
    if ahead is not None and ahead.gain >= WORTH:
        return f"the same command with {spent.more() if spent else 'twice the minutes or steps'}"
    if spaced and invented > MANY_INVENTED and not has_base:
        return _or(["--tokenizer words min_count=1", *base])
    return _or([text, "another family (wenmo models)", *base])


def _or(options: Sequence[str]) -> str:
    """``a``; ``a, or b``; ``a, b, or c``."""
    *others, last = options
    return f"{', '.join(others)}, or {last}" if others else last
