"""Pairs of texts out of a flat array of ids, and batches of them bucketed by length.

The ids are ``END source END target END source END target END ...``. A source that is longer than
the model can read is cut; a target that is longer than it can write leaves its pair out, since a
text that breaks off would teach to break off. Both are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from wenmo.text.batches import joined, pad
from wenmo.text.spread import spread_sample
from wenmo.types import END, IGNORE, Batch, SpecialTokens, WenmoError

Conditioning = Literal["none", "prefix", "encoder"]
Keep = Literal["beginning", "end"]


def source_room(conditioning: Conditioning, context: int | None) -> int | None:
    """The most ids of a source that a model can read; ``None`` if there is no bound.

    Where the source stands before the text itself, a quarter of the context is left to write in.
    """
    if context is None:
        return None
    return context - 1 if conditioning == "encoder" else max(1, 3 * context // 4 - 2)


@dataclass
class Pairs:
    """Pairs of texts as a model can read them.

    Attributes:
        ids: the flat array.
        conditioning: how the model is given the source.
        context: the model's.
        keep: which end of a source that is too long is kept.
        ends: where the ENDs that part the texts stand; None: there are no other ENDs.
        special_tokens: the model's.
        sources, targets: int64 (pairs, 2), where each begins and stops in ``ids``, without END.
        places: int64 (pairs,), where the END before each target stands in `stream`.
        cut: how many sources were cut.
        left_out: how many pairs were left out, their target being too long.
    """

    ids: NDArray[np.unsignedinteger]
    conditioning: Conditioning
    context: int | None = None
    keep: Keep = "beginning"
    ends: NDArray[np.int64] | None = None
    special_tokens: SpecialTokens = SpecialTokens()
    sources: NDArray[np.int64] = field(init=False)
    targets: NDArray[np.int64] = field(init=False)
    places: NDArray[np.int64] = field(init=False)
    cut: int = field(init=False)
    left_out: int = field(init=False)

    def __post_init__(self) -> None:
        ends = np.flatnonzero(self.ids == END) if self.ends is None else self.ends
        spans = np.stack([ends[:-1] + 1, ends[1:]], axis=1)
        self.sources, self.targets = spans[0::2].copy(), spans[1::2].copy()
        self.cut = self._cut()
        fits = np.ones(len(self.targets), bool)
        if self.context is not None:
            before = self._before()
            fits = before + _lengths(self.targets) <= self.context
        self.left_out = int((~fits).sum())
        self.sources, self.targets = self.sources[fits], self.targets[fits]
        lengths = 1 + _lengths(self.targets)
        self.places = np.cumsum(lengths) - lengths

    def _before(self) -> NDArray[np.int64]:
        """How many tokens are read before each target."""
        before = np.full(len(self.sources), len(self.special_tokens.bos))
        if self.conditioning != "encoder":
            before += _lengths(self.sources) + len(self.special_tokens.separator)
        return np.maximum(before, 1)

    def _cut(self) -> int:
        """Cut the sources that are too long; how many they are."""
        room = source_room(self.conditioning, self.context)
        if room is None:
            return 0
        long = _lengths(self.sources) > room
        if self.keep == "beginning":
            self.sources[long, 1] = self.sources[long, 0] + room
        else:
            self.sources[long, 0] = self.sources[long, 1] - room
        return int(long.sum())

    def __len__(self) -> int:
        return len(self.targets)

    def source(self, number: int) -> NDArray[np.unsignedinteger]:
        """The ids of a source, without END."""
        return self.ids[slice(*self.sources[number])]

    def target(self, number: int) -> NDArray[np.unsignedinteger]:
        """The ids of a target, without END."""
        return self.ids[slice(*self.targets[number])]

    def sample(self, tokens: int) -> Pairs:
        """Pairs from all over the text whose targets have so many tokens together; at least one."""
        return self.chosen(spread_sample(1 + _lengths(self.targets), tokens))

    def chosen(self, numbers: NDArray[np.int64]) -> Pairs:
        """The named pairs alone."""
        some = replace(self)
        some.sources, some.targets = self.sources[numbers], self.targets[numbers]
        some.places = self.places[numbers]
        return some

    def stream(self) -> NDArray[np.unsignedinteger]:
        """The targets alone as a flat array: END target END target END ..."""
        ended = joined(self.ids, self.targets[:, 0] - 1, self.targets[:, 1])
        return np.append(ended, np.array([END], self.ids.dtype))

    def widths(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What each pair takes in a batch: tokens of the source and of the target. Of a source that
        stands before the text nothing has a place of its own, so that its width is 0.
        """
        sources, texts = np.zeros(len(self), np.int64), self._before() + _lengths(self.targets)
        if self.conditioning == "encoder":
            sources += _lengths(self.sources) + len(self.special_tokens.source_suffix)
        return sources, texts

    def batch(self, numbers: Sequence[int] | NDArray[np.int64]) -> Batch:
        """The named pairs under one another; only what belongs to a target is to be predicted."""
        marks = self.special_tokens
        source, before = None, [marks.bos] * len(numbers)
        if self.conditioning == "encoder":
            source = pad([[*self.source(n), *marks.source_suffix] for n in numbers], IGNORE)
        else:
            before = [(*marks.bos, *self.source(n), *marks.separator) for n in numbers]
        rows = [(first or (END,), self.target(n)) for n, first in zip(numbers, before, strict=True)]
        tokens = [[*first, *target] for first, target in rows]
        targets = [[*[IGNORE] * (len(first) - 1), *target, END] for first, target in rows]
        places = [
            [*[0] * (len(first) - 1), *range(at, at + 1 + len(target))]
            for at, (first, target) in zip(self.places[numbers], rows, strict=True)
        ]
        return Batch(pad(tokens, END), pad(targets, IGNORE), source=source, places=pad(places, 0))


class Examples(Protocol):
    """Texts, or pairs of them, each of which is learnt as a whole."""

    def __len__(self) -> int: ...

    def widths(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What each takes in a batch: tokens of the source and of the text itself."""
        ...

    def batch(self, numbers: NDArray[np.int64]) -> Batch:
        """The named ones under one another."""
        ...


@dataclass
class Buckets:
    """Endless batches of pairs of like length, in random order, each within a budget of tokens.

    Pairs are sorted by the lengths of target and source, those of equal lengths at random, cut into
    batches, and the batches are shuffled: every epoch anew. A batch is a pure function of the seed
    and its number.

    Attributes:
        pairs: the pairs.
        tokens: the most tokens of a batch, sources and targets, their ENDs and padding counted.
        seed: of the order.

    Raises:
        WenmoError: there is no pair.
    """

    pairs: Examples
    tokens: int
    seed: int = 0
    _epoch: int = field(default=-1, init=False)
    _order: NDArray[np.int64] = field(init=False)
    _turns: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        if not len(self.pairs):
            raise WenmoError(
                "no text is left: each is longer than the model's context: raise "
                "context_length=, or give "
                "shorter ones (--unit line)"
            )
        self._widths = np.stack(self.pairs.widths())
        # Their lengths alone decide where batches are cut, so that it is the same in every epoch.
        ordered = self._widths[:, np.lexsort(self._widths)]
        self.cuts = _cuts(ordered, self.tokens)

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch."""
        return len(self.cuts) - 1

    @property
    def padding(self) -> float:
        """The share of all places in the batches that hold no token."""
        ordered = self._widths[:, np.lexsort(self._widths)]
        spans = zip(self.cuts[:-1], self.cuts[1:], strict=True)
        places = sum((b - a) * int(ordered[:, a:b].max(1).sum()) for a, b in spans)
        return 1 - int(ordered.sum()) / places

    def __getitem__(self, number: int) -> Batch:
        epoch, turn = divmod(number, self.per_epoch)
        if epoch != self._epoch:
            rng = np.random.default_rng((self.seed, epoch))
            shuffled = rng.permutation(len(self.pairs))
            self._order = shuffled[np.lexsort(self._widths[:, shuffled])]
            self._turns = rng.permutation(self.per_epoch)
            self._epoch = epoch
        return self.pairs.batch(self._numbers(int(self._turns[turn])))

    def once(self) -> Iterator[Batch]:
        """Every pair once, shortest first."""
        self._order, self._epoch = np.lexsort(self._widths), -1
        for place in range(self.per_epoch):
            yield self.pairs.batch(self._numbers(place))

    def _numbers(self, place: int) -> NDArray[np.int64]:
        return self._order[self.cuts[place] : self.cuts[place + 1]]


def _lengths(spans: NDArray[np.int64]) -> NDArray[np.int64]:
    return spans[:, 1] - spans[:, 0]


def _cuts(widths: NDArray[np.int64], tokens: int) -> list[int]:
    """Where sorted pairs, (2, pairs) wide, are cut so that no batch takes more than ``tokens``."""
    cuts, widest = [0], (0, 0)
    for place, pair in enumerate(widths.T.tolist()):
        grown = max(widest[0], pair[0]), max(widest[1], pair[1])
        if place > cuts[-1] and (place + 1 - cuts[-1]) * sum(grown) > tokens:
            cuts.append(place)
            grown = (pair[0], pair[1])
        widest = grown
    return [*cuts, widths.shape[1]]
