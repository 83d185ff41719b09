"""Batches from a flat array of ids. Each is a pure function of the seed and its number, so training
resumes exactly from a step number alone, and no worker processes or shuffling buffers are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from wenmo.types import END, Batch, WenmoError

PIECES = 1 << 16  # joined at a time
BEGINNINGS = 16  # one window, or batch of a stream, in so many learns how a text begins


class Batches(Protocol):
    """An endless, numbered supply of batches."""

    def __getitem__(self, number: int) -> Batch: ...


@dataclass
class Windows:
    """Windows of the text in random order, for models with a bounded context.

    Every epoch cuts the text into windows that do not overlap, at an offset of its own, and visits
    each once. One in ``BEGINNINGS`` begins with the end symbol in place of its first token, as if a
    text began there: a text of one piece has no other beginning to learn from.

    Raises:
        WenmoError: the text is shorter than two windows.
    """

    ids: NDArray[np.unsignedinteger]
    rows: int
    time: int
    seed: int = 0
    _epoch: int = field(default=-1, init=False)
    _starts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.per_epoch = (len(self.ids) - 1) // self.time - 1
        if self.per_epoch < 1:
            raise WenmoError(
                f"the training text has {len(self.ids):,} tokens, too few for windows of "
                f"{self.time}: give more text, or a smaller context"
            )

    def __getitem__(self, number: int) -> Batch:
        first = number * self.rows
        starts = [self._start(index) for index in range(first, first + self.rows)]
        places = np.asarray(starts)[:, None] + np.arange(self.time + 1)
        batch = _pairs(self.ids, places)
        beginnings = torch.arange(first, first + self.rows) % BEGINNINGS == 0
        batch.tokens[beginnings, 0] = END
        return batch

    def _start(self, index: int) -> int:
        epoch, place = divmod(index, self.per_epoch)
        if epoch != self._epoch:
            rng = np.random.default_rng((self.seed, epoch))
            offset = int(rng.integers(self.time))
            self._starts = rng.permutation(self.per_epoch) * self.time + offset
            self._epoch = epoch
        return int(self._starts[place])


@dataclass
class Streams:
    """The text cut into ``rows`` long streams that are read side by side from start to end, for
    models that carry their state (truncated back-propagation through time; Zaremba et al. 2014).

    At the start of an epoch, and after every ``BEGINNINGS`` batches, a row begins afresh: its first
    token is the end symbol, and no state is carried to it. Without that a network that has always
    been carried along may never recover from the empty state in which all writing begins.

    Raises:
        WenmoError: the text is too short to be cut into ``rows``.
    """

    ids: NDArray[np.unsignedinteger]
    rows: int
    time: int

    def __post_init__(self) -> None:
        self.length = (len(self.ids) - 1) // self.rows
        if self.length < 1:
            raise WenmoError(
                f"the training text has {len(self.ids):,} tokens, too few for {self.rows} rows: "
                "give more text, or fewer rows"
            )
        self.per_epoch = -(-self.length // self.time)

    def __getitem__(self, number: int) -> Batch:
        place = number % self.per_epoch
        start = place * self.time
        time = min(self.time, self.length - start)
        places = np.arange(self.rows)[:, None] * self.length + start + np.arange(time + 1)
        batch = _pairs(self.ids, places)
        begins = (torch.arange(self.rows) + place) % BEGINNINGS == 0
        begins |= place == 0
        batch.tokens[begins, 0] = END
        return replace(batch, carry_state=~begins)


@dataclass
class Counted:
    """Batches, each with its tokens' rows of a table; see ``Batch.prior_probs``."""

    batches: Batches
    table: NDArray[np.floating]

    def __getitem__(self, number: int) -> Batch:
        batch = self.batches[number]
        if batch.places is None:
            raise ValueError("these batches do not tell the places of their tokens")
        return replace(
            batch, prior_probs=torch.from_numpy(self.table[batch.places.numpy()]).float()
        )


def _pairs(ids: NDArray[np.unsignedinteger], places: NDArray[np.int64]) -> Batch:
    """Inputs and next-token targets from the ids at (rows, time + 1) places."""
    both = torch.from_numpy(ids[places].astype(np.int64))
    return Batch(both[:, :-1].clone(), both[:, 1:], places=torch.from_numpy(places[:, :-1]))


def pad(rows: Sequence[Sequence[int] | NDArray[np.integer]], fill: int) -> torch.Tensor:
    """Ids of different lengths under one another, int64 (rows, longest), ``fill`` behind them."""
    longest = max(map(len, rows), default=0)
    padded = np.full((len(rows), longest), fill, np.int64)
    for place, row in zip(padded, rows, strict=True):
        place[: len(row)] = row
    return torch.from_numpy(padded)


def joined(
    ids: NDArray[np.unsignedinteger], starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> NDArray[np.unsignedinteger]:
    """Pieces of an array, one behind the other.

    Args:
        starts, stops: where each piece begins and ends, (pieces,).
    """
    if np.array_equal(starts[1:], stops[:-1]):  # they stand so already
        return ids[starts[:1].sum() : stops[-1:].sum()]
    parts = [ids[:0]]
    for first in range(0, len(starts), PIECES):
        begins, ends = starts[first : first + PIECES], stops[first : first + PIECES]
        lengths = ends - begins
        before = np.cumsum(lengths) - lengths
        parts.append(ids[np.arange(lengths.sum()) + np.repeat(begins - before, lengths)])
    return np.concatenate(parts)
