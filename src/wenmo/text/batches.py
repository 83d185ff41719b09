"""Batches from a flat array of ids.

Each batch is a pure function of the seed and its index, so that training resumes exactly from a
step number and needs no worker processes or shuffle buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from wenmo.types import END, Batch, WenmoError

SPANS_PER_PASS = 1 << 16
TEXT_START_PERIOD = 16  # one window in 16, or batch of a stream, starts a text with END


class Batches(Protocol):
    """An endless sequence of batches."""

    def __getitem__(self, index: int) -> Batch: ...


@dataclass
class Windows:
    """Windows of the text in random order, for models with a bounded context.

    Every epoch cuts the text into disjoint windows at a random offset and visits each once. The
    first token of one window in ``TEXT_START_PERIOD`` is replaced by END: a training text of one
    document would otherwise show no beginning of a text.

    Attributes:
        ids: the text, (tokens,).
        batch_size: number of windows in a batch.
        sequence_length: number of tokens in a window.
        seed: seed of order and offsets (default 0).

    Raises:
        WenmoError: the text is shorter than two windows.
    """

    ids: NDArray[np.unsignedinteger]
    batch_size: int
    sequence_length: int
    seed: int = 0
    _epoch: int = field(default=-1, init=False)
    _starts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.per_epoch = (len(self.ids) - 1) // self.sequence_length - 1
        if self.per_epoch < 1:
            raise WenmoError(
                f"the training text has {len(self.ids):,} tokens, too few for windows of "
                f"{self.sequence_length}: give more text, or a smaller context"
            )

    def __getitem__(self, index: int) -> Batch:
        first = index * self.batch_size
        starts = [self._start(index) for index in range(first, first + self.batch_size)]
        positions = np.asarray(starts)[:, None] + np.arange(self.sequence_length + 1)
        batch = _pairs(self.ids, positions)
        text_starts = torch.arange(first, first + self.batch_size) % TEXT_START_PERIOD == 0
        batch.tokens[text_starts, 0] = END
        return batch

    def _start(self, index: int) -> int:
        epoch, offset_index = divmod(index, self.per_epoch)
        if epoch != self._epoch:
            rng = np.random.default_rng((self.seed, epoch))
            offset = int(rng.integers(self.sequence_length))
            self._starts = rng.permutation(self.per_epoch) * self.sequence_length + offset
            self._epoch = epoch
        return int(self._starts[offset_index])


@dataclass
class Streams:
    """The text cut into ``batch_size`` contiguous streams that are read in parallel, for models
    that carry their state (truncated backpropagation through time; Zaremba et al. 2014).

    At the start of an epoch, and every ``TEXT_START_PERIOD`` batches, a row is reset: its first
    token is END, and its state is not carried over. Otherwise a network would never be trained from
    the initial state, in which generation starts.

    Attributes:
        ids: the text, (tokens,).
        batch_size: number of streams.
        sequence_length: number of tokens of each stream in a batch.

    Raises:
        WenmoError: the text is shorter than ``batch_size`` tokens.
    """

    ids: NDArray[np.unsignedinteger]
    batch_size: int
    sequence_length: int

    def __post_init__(self) -> None:
        self.length = (len(self.ids) - 1) // self.batch_size
        if self.length < 1:
            raise WenmoError(
                f"the training text has {len(self.ids):,} tokens, too few for "
                f"{self.batch_size} rows: give more text, or fewer rows"
            )
        self.per_epoch = -(-self.length // self.sequence_length)

    def __getitem__(self, index: int) -> Batch:
        index = index % self.per_epoch
        start = index * self.sequence_length
        time = min(self.sequence_length, self.length - start)
        positions = np.arange(self.batch_size)[:, None] * self.length + start + np.arange(time + 1)
        batch = _pairs(self.ids, positions)
        resets = (torch.arange(self.batch_size) + index) % TEXT_START_PERIOD == 0
        resets |= index == 0
        batch.tokens[resets, 0] = END
        return replace(batch, carry_state=~resets)


@dataclass
class BatchesWithPriors:
    """Batches with prior probabilities, looked up in a table by position; see
    ``Batch.prior_probs``.
    """

    batches: Batches
    table: NDArray[np.floating]

    def __getitem__(self, index: int) -> Batch:
        batch = self.batches[index]
        if batch.positions is None:
            raise ValueError("these batches have no token positions")
        return replace(
            batch, prior_probs=torch.from_numpy(self.table[batch.positions.numpy()]).float()
        )


def _pairs(ids: NDArray[np.unsignedinteger], positions: NDArray[np.int64]) -> Batch:
    """Inputs and next-token targets at positions (rows, time + 1)."""
    window = torch.from_numpy(ids[positions].astype(np.int64))
    return Batch(
        window[:, :-1].clone(), window[:, 1:], positions=torch.from_numpy(positions[:, :-1])
    )


def pad(rows: Sequence[Sequence[int] | NDArray[np.integer]], fill: int) -> torch.Tensor:
    """Ids of different lengths in one tensor, int64 (rows, longest), padded with ``fill`` at the
    end.
    """
    longest = max(map(len, rows), default=0)
    padded = np.full((len(rows), longest), fill, np.int64)
    for padded_row, row in zip(padded, rows, strict=True):
        padded_row[: len(row)] = row
    return torch.from_numpy(padded)


def concatenate_spans(
    ids: NDArray[np.unsignedinteger], starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> NDArray[np.unsignedinteger]:
    """The concatenation of spans of an array.

    Args:
        starts, stops: bounds of each span, (spans,).
    """
    if np.array_equal(starts[1:], stops[:-1]):  # contiguous already
        return ids[starts[:1].sum() : stops[-1:].sum()]
    chunks = [ids[:0]]
    for first in range(0, len(starts), SPANS_PER_PASS):
        some = slice(first, first + SPANS_PER_PASS)
        lengths = stops[some] - starts[some]
        before = np.cumsum(lengths) - lengths
        chunks.append(ids[np.arange(lengths.sum()) + np.repeat(starts[some] - before, lengths)])
    return np.concatenate(chunks)
