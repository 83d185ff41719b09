"""What all searches over whole texts share: candidates in, rows that continue out.

A search knows no model. It is given the candidates of each of its rows, and returns which rows
continue with which token; when none does, the search is over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from wenmo.types import END

UNSEEN = 1e-10
"""The least attention that a source position counts as having received: log 0 is no score."""


class Candidates(NamedTuple):
    """The candidates for the next token of one row.

    Attributes:
        tokens: the tokens that the search must consider: those of `best_candidates`, of which the
            first is the row's likeliest token, or those of `drawn_candidates`.
        gains: what each token adds to the total of the text; −inf forbids it.
        logprobs: the log-probability of each token under the model itself.
        end: gain and log-probability of END.
        coverage: the `coverage_score` of the row; 0 without a coverage penalty.
        perturbed: gain plus Gumbel noise of each token, of searches that draw; else empty.
        missing: how much the text has still to meet after each token, of a constraint with goals;
            empty where all are met.
    """

    tokens: Sequence[int]
    gains: Sequence[float]
    logprobs: Sequence[float]
    end: tuple[float, float]
    coverage: float = 0.0
    perturbed: Sequence[float] = ()
    missing: Sequence[int] = ()

    @classmethod
    def none(cls) -> Candidates:
        """Of a row in which nothing can follow."""
        return cls([END], [-math.inf], [-math.inf], (-math.inf, -math.inf), perturbed=[-math.inf])

    @classmethod
    def from_line(cls, line: Sequence[float], *, draws: bool) -> Candidates:
        """From a line of numbers: tokens, gains, log-probabilities, with ``draws`` the perturbed
        gains, END's two numbers, coverage.
        """
        count = (len(line) - 3) // (4 if draws else 3)
        columns = [line[start : start + count] for start in range(0, len(line) - 3, count)]
        tokens = [int(token) for token in columns[0]]
        perturbed = columns[3] if draws else ()
        return cls(tokens, columns[1], columns[2], (line[-3], line[-2]), line[-1], perturbed)


class Text(NamedTuple):
    """The tokens so far, the log-probability of each, and the sum of their gains."""

    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    total: float = 0.0

    def then(self, token: int, gain: float, logprob: float) -> Text:
        """The text with one more token."""
        return Text((*self.tokens, token), (*self.logprobs, logprob), self.total + gain)


class Hypothesis(NamedTuple):
    """A finished text, its score, and its importance weight where the search gives one."""

    text: Text
    score: float
    weight: float | None = None
    missing: int = 0  # what it has not met, where its length was cut


class Search(Protocol):
    """The search of one request, which begins with one row."""

    def step(self, candidates_of: Sequence[Candidates]) -> list[tuple[int, int]]:
        """Take the candidates of each row; return each (row, token) that continues, if any does."""
        ...

    def best(self, n: int) -> list[Hypothesis]:
        """The n best texts, best first; fewer where the search found fewer."""
        ...


def best_candidates(gains: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The tokens of each row that a beam of this width must consider.

    The first is the greedy choice. More are not needed: at most one of them is END, which leaves
    ``width`` others, and no row has more children than that. Groups do not need more either: each
    has a fraction of the width, and the groups before it have penalised at most the rest of it.

    Args:
        gains: float32 (rows, vocab_size).

    Returns:
        Tokens, int64 (rows, width + 1), and their gains, float32, −inf where there are fewer.
    """
    best = gains.argmax(1, keepdim=True)
    others = gains.scatter(1, best, -math.inf).topk(min(width, gains.shape[1] - 1), dim=1)
    tokens = torch.cat([best, others.indices], 1)
    return tokens, torch.cat([gains.gather(1, best), others.values], 1)


def drawn_candidates(gains: Tensor, noise: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` tokens of each row with the largest gain plus noise, the largest first.

    With Gumbel noise they are a sample without replacement, in the order in which they are drawn
    (the Gumbel-top-k trick: Kool, van Hoof & Welling 2019, section 2.3).

    Args:
        gains: float32 (rows, vocab_size).
        noise: float32 (rows, vocab_size).

    Returns:
        Tokens, int64 (rows, at most count), and their perturbed gains, float32.
    """
    drawn = (gains + noise).topk(min(count, gains.shape[1]), dim=1)
    return drawn.indices, drawn.values


def coverage_score(coverage: Tensor, lengths: Tensor) -> Tensor:
    """The sum over the source of log(min(attention received, 1)), float64 (rows,), at most 0.

    Args:
        coverage: the attention that each position received, float32 (rows, source time).
        lengths: the number of source tokens of each row, int64 (rows,).
    """
    positions = torch.arange(coverage.shape[1], device=coverage.device)
    received = coverage.double().clamp(UNSEEN, 1.0).masked_fill(positions >= lengths[:, None], 1.0)
    return received.log().sum(1)
