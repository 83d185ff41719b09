"""Records from a flat array of ids, for models that learn each record as a unit.

The ids are ``END record END record END ...``. A record longer than the model's context is skipped,
since a truncated one would teach to stop early.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from wenmo.text.batches import concatenate_spans, pad
from wenmo.text.spread import spread_sample
from wenmo.types import END, IGNORE, Batch


@dataclass
class Records:
    """Records within the context of a model; see ``Buckets``.

    Attributes:
        ids: the flat array.
        context: maximum number of tokens of a record, END included; None: unbounded.
        spans: int64 (records, 2), start and stop of each in ``ids``, without END.
        positions: int64 (records,), index of the END before each record in `stream`.
        skipped: number of records skipped for their length.
    """

    ids: NDArray[np.unsignedinteger]
    context: int | None = None
    spans: NDArray[np.int64] = field(init=False)
    positions: NDArray[np.int64] = field(init=False)
    skipped: int = field(init=False)

    def __post_init__(self) -> None:
        ends = np.flatnonzero(self.ids == END)
        self.spans = np.stack([ends[:-1] + 1, ends[1:]], axis=1)
        fits = self._lengths() <= (self.context or np.inf)
        self.skipped = int((~fits).sum())
        self.spans = self.spans[fits]
        self.positions = np.cumsum(self._lengths()) - self._lengths()

    def __len__(self) -> int:
        return len(self.spans)

    def record(self, index: int) -> NDArray[np.unsignedinteger]:
        """The ids of a record, without END."""
        return self.ids[slice(*self.spans[index])]

    def sample(self, tokens: int) -> Records:
        """Records spread over the text with at most this many tokens in all; at least one."""
        return self.select(spread_sample(self._lengths(), tokens))

    def select(self, indices: NDArray[np.int64]) -> Records:
        """The records with these indices."""
        selected = replace(self)
        selected.spans, selected.positions = self.spans[indices], self.positions[indices]
        return selected

    def stream(self) -> NDArray[np.unsignedinteger]:
        """The records as a flat array: END record END record END ..."""
        ended = concatenate_spans(self.ids, self.spans[:, 0] - 1, self.spans[:, 1])
        return np.append(ended, np.array([END], self.ids.dtype))

    def token_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        lengths = self._lengths()
        return np.zeros_like(lengths), lengths

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> Batch:
        """A batch of the records with these indices, each from END to END."""
        tokens = [[END, *self.record(n)] for n in indices]
        targets = [[*self.record(n), END] for n in indices]
        starts = self.positions[indices].tolist()
        positions = [
            range(start, start + len(row)) for start, row in zip(starts, tokens, strict=True)
        ]
        return Batch(pad(tokens, END), pad(targets, IGNORE), positions=pad(positions, 0))

    def _lengths(self) -> NDArray[np.int64]:
        return self.spans[:, 1] - self.spans[:, 0] + 1


@dataclass
class ShuffledRecords:
    """Endless batches of a fixed number of records in random order. A batch is a pure function of
    the seed and its index.
    """

    records: Records
    batch_size: int
    seed: int = 0
    _epoch: int = field(default=-1, init=False)
    _order: NDArray[np.int64] = field(init=False)

    def __getitem__(self, index: int) -> Batch:
        batch_size = min(self.batch_size, len(self.records))
        epoch, position = divmod(index, len(self.records) // batch_size)
        if epoch != self._epoch:
            rng = np.random.default_rng((self.seed, epoch))
            self._order, self._epoch = rng.permutation(len(self.records)), epoch
        return self.records.batch(self._order[position * batch_size : (position + 1) * batch_size])
