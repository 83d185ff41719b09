"""Whole records out of a flat array of ids, for models that learn each from its beginning on.

The ids are ``END record END record END ...``. A record that is longer than the model can hold is
left out, since a text that breaks off would teach to break off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from wenmo.text.batches import joined, pad
from wenmo.text.spread import spread_sample
from wenmo.types import END, IGNORE, Batch


@dataclass
class Records:
    """Records as a model can hold them; see ``Buckets``.

    Attributes:
        ids: the flat array.
        context: the model's: the most tokens of a record, its END counted; None: any number.
        spans: int64 (records, 2), where each begins and stops in ``ids``, without END.
        places: int64 (records,), where the END before each stands in `stream`.
        left_out: how many records are too long.
    """

    ids: NDArray[np.unsignedinteger]
    context: int | None = None
    spans: NDArray[np.int64] = field(init=False)
    places: NDArray[np.int64] = field(init=False)
    left_out: int = field(init=False)

    def __post_init__(self) -> None:
        ends = np.flatnonzero(self.ids == END)
        self.spans = np.stack([ends[:-1] + 1, ends[1:]], axis=1)
        fits = self._lengths() <= (self.context or np.inf)
        self.left_out = int((~fits).sum())
        self.spans = self.spans[fits]
        self.places = np.cumsum(self._lengths()) - self._lengths()

    def __len__(self) -> int:
        return len(self.spans)

    def record(self, number: int) -> NDArray[np.unsignedinteger]:
        """The ids of a record, without END."""
        return self.ids[slice(*self.spans[number])]

    def sample(self, tokens: int) -> Records:
        """Records from all over the text that have so many tokens together; at least one."""
        return self.chosen(spread_sample(self._lengths(), tokens))

    def chosen(self, numbers: NDArray[np.int64]) -> Records:
        """The named records alone."""
        some = replace(self)
        some.spans, some.places = self.spans[numbers], self.places[numbers]
        return some

    def stream(self) -> NDArray[np.unsignedinteger]:
        """The records as a flat array: END record END record END ..."""
        ended = joined(self.ids, self.spans[:, 0] - 1, self.spans[:, 1])
        return np.append(ended, np.array([END], self.ids.dtype))

    def widths(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        lengths = self._lengths()
        return np.zeros_like(lengths), lengths

    def batch(self, numbers: Sequence[int] | NDArray[np.int64]) -> Batch:
        """The named records under one another, each from END to END."""
        tokens = [[END, *self.record(n)] for n in numbers]
        targets = [[*self.record(n), END] for n in numbers]
        begins = self.places[numbers].tolist()
        places = [range(at, at + len(row)) for at, row in zip(begins, tokens, strict=True)]
        return Batch(pad(tokens, END), pad(targets, IGNORE), places=pad(places, 0))

    def _lengths(self) -> NDArray[np.int64]:
        return self.spans[:, 1] - self.spans[:, 0] + 1


@dataclass
class Shuffled:
    """Endless batches of so many records each, in random order, whatever their lengths. A batch is
    a pure function of the seed and its number.
    """

    records: Records
    rows: int
    seed: int = 0
    _epoch: int = field(default=-1, init=False)
    _order: NDArray[np.int64] = field(init=False)

    def __getitem__(self, number: int) -> Batch:
        rows = min(self.rows, len(self.records))
        epoch, place = divmod(number, len(self.records) // rows)
        if epoch != self._epoch:
            rng = np.random.default_rng((self.seed, epoch))
            self._order, self._epoch = rng.permutation(len(self.records)), epoch
        return self.records.batch(self._order[place * rows : (place + 1) * rows])
