"""Stochastic beam search: texts drawn without replacement, with importance weights.

Kool, van Hoof & Welling (2019), *Stochastic Beams and Where to Find Them: The Gumbel-Top-k Trick
for Sampling Sequences Without Replacement*, algorithm 1. Every text y has log-probability φ(y) and
a perturbed one, G(y) ~ Gumbel(φ(y)); the k texts with the largest G are a sample of k texts
without replacement. The search finds them from the top down: the G of a live text is the largest of
those of its children, so with G'(c) = φ(c) + Gumbel noise and Z their maximum (section 4.1)

    G(c) = −log(exp(−G(parent)) − exp(−Z) + exp(−G'(c))).

The live and finished texts with the largest G are kept. One more than the width is followed: its G
is the threshold κ, and a text is among those above κ with probability (section 4.2)

    q(y) = P(Gumbel(φ(y)) > κ) = 1 − exp(−exp(φ(y) − κ)).

The sum of f(y) p(y) / q(y) over the texts found is an unbiased estimate of the expectation of f
under the model as it is sampled from, with temperature, top-k and so on; p(y) / q(y) is the
importance weight of a text. A text that ``max_tokens`` cuts is a text like another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from wenmo.decoding.noise import fold_in, gumbel
from wenmo.decoding.params import Sampling
from wenmo.decoding.search.base import Candidates, Hypothesis, Text
from wenmo.types import END

ROOT = -1
"""The number of the noise of the empty text."""


class Perturbed(NamedTuple):
    """A text with its perturbed log-probability, and the row that it continues; None: it is
    finished.
    """

    value: float
    text: Text
    row: int | None


class StochasticBeamSearch:
    """The stochastic beam of one request.

    Args:
        sampling: the settings of the beam.
        limit: the largest number of tokens of a text.
    """

    def __init__(self, sampling: Sampling, limit: int) -> None:
        self._width, self._limit = sampling.beam_width, limit
        key = fold_in(torch.tensor([sampling.seed]), torch.tensor([ROOT]))
        self._live = [Perturbed(float(gumbel(key, 1)), Text(), 0)]
        self._finished: list[Perturbed] = []

    def step(self, candidates_of: Sequence[Candidates]) -> list[tuple[int, int]]:
        """Take the candidates of each row; return each (row, token) that continues, if any does."""
        children = [
            child
            for row, candidates in enumerate(candidates_of)
            for child in self._children(row, candidates)
        ]
        kept = sorted([*self._finished, *children], key=lambda each: -each.value)
        kept = kept[: self._width + 1]
        self._finished = [each for each in kept if each.row is None]
        self._live = [each for each in kept if each.row is not None]
        return [(each.row, each.text.tokens[-1]) for each in self._live if each.row is not None]

    def best(self, n: int) -> list[Hypothesis]:
        """The first n texts that were drawn, with their perturbed log-probabilities as scores."""
        found = sorted(self._finished, key=lambda each: -each.value)
        threshold = found[self._width].value if len(found) > self._width else -math.inf
        return [
            Hypothesis(each.text, each.value, importance_weight(each.text.total, threshold))
            for each in found[: min(n, self._width)]
        ]

    def _children(self, row: int, candidates: Candidates) -> list[Perturbed]:
        """The candidates of a row; the first has the largest perturbed value."""
        parent = self._live[row]
        total = parent.text.total
        largest = total + candidates.perturbed[0]
        children = []
        for index, token in enumerate(candidates.tokens):
            gain, value = candidates.gains[index], total + candidates.perturbed[index]
            if gain > -math.inf:
                text = parent.text.then(token, gain, candidates.logprobs[index])
                ends = token == END or len(text.tokens) == self._limit
                conditioned = truncated_gumbel(value, largest, parent.value)
                children.append(Perturbed(conditioned, text, None if ends else row))
        return children


def truncated_gumbel(value: float, largest: float, maximum: float) -> float:
    """A Gumbel variable, given that the largest of its siblings is ``maximum``.

    It is −log(exp(−maximum) − exp(−largest) + exp(−value)), computed as in appendix B.3 of Kool et
    al. (2019), so that nothing overflows.

    Args:
        value: the variable before.
        largest: the largest of its siblings before, itself among them.
        maximum: the largest of them after.
    """
    if value >= largest:
        return maximum
    v = maximum - value + math.log(-math.expm1(value - largest))
    return maximum - max(0.0, v) - math.log1p(math.exp(-abs(v)))


def importance_weight(logprob: float, threshold: float) -> float:
    """p / q of a text: its probability over that of a perturbed log-probability above a threshold.

    Args:
        logprob: its natural log-probability.
        threshold: −inf where all texts were found, so that q is 1.
    """
    if threshold == -math.inf:
        return math.exp(logprob)
    rate = math.exp(min(logprob - threshold, 700.0))
    return math.exp(logprob) / -math.expm1(-rate) if rate > 0 else math.exp(threshold)
