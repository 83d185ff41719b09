"""Pairs of texts from a flat array of ids, and batches of them bucketed by length.

The ids are ``END source END target END source END target END ...``. A source longer than the model
can read is truncated; a pair whose target is longer than the model can generate is skipped, since a
truncated target would teach to stop early. Both are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from wenmo.text.batches import concatenate_spans, pad
from wenmo.text.config import KeptSide
from wenmo.text.spread import spread_sample
from wenmo.types import END, IGNORE, Batch, SpecialTokens, WenmoError

Conditioning = Literal["none", "prefix", "encoder"]


def max_source_length(conditioning: Conditioning, context: int | None) -> int | None:
    """The maximum number of source tokens that a model can read; ``None``: unbounded.

    If the source is a prefix of the text, a quarter of the context remains for the target.
    """
    if context is None:
        return None
    return context - 1 if conditioning == "encoder" else max(1, 3 * context // 4 - 2)


@dataclass
class Pairs:
    """Pairs of texts within the limits of a model.

    Attributes:
        ids: the flat array.
        conditioning: how the model receives the source.
        context: the model's context length; None: unbounded.
        keep: the side of an overlong source that is kept.
        ends: indices of the ENDs that separate the texts; None: there are no other ENDs.
        special_tokens: the model's special tokens.
        sources, targets: int64 (pairs, 2), start and stop of each in ``ids``, without END.
        positions: int64 (pairs,), index of the END before each target in `stream`.
        truncated: number of truncated sources.
        skipped: number of pairs skipped for their long targets.
    """

    ids: NDArray[np.unsignedinteger]
    conditioning: Conditioning
    context: int | None = None
    keep: KeptSide = "beginning"
    ends: NDArray[np.int64] | None = None
    special_tokens: SpecialTokens = SpecialTokens()
    sources: NDArray[np.int64] = field(init=False)
    targets: NDArray[np.int64] = field(init=False)
    positions: NDArray[np.int64] = field(init=False)
    truncated: int = field(init=False)
    skipped: int = field(init=False)

    def __post_init__(self) -> None:
        ends = np.flatnonzero(self.ids == END) if self.ends is None else self.ends
        spans = np.stack([ends[:-1] + 1, ends[1:]], axis=1)
        self.sources, self.targets = spans[0::2].copy(), spans[1::2].copy()
        self.truncated = self._truncate_sources()
        fits = np.ones(len(self.targets), bool)
        if self.context is not None:
            before = self._prefix_lengths()
            fits = before + _lengths(self.targets) <= self.context
        self.skipped = int((~fits).sum())
        self.sources, self.targets = self.sources[fits], self.targets[fits]
        lengths = 1 + _lengths(self.targets)
        self.positions = np.cumsum(lengths) - lengths

    def _prefix_lengths(self) -> NDArray[np.int64]:
        """The number of tokens read before each target."""
        before = np.full(len(self.sources), len(self.special_tokens.bos))
        if self.conditioning != "encoder":
            before += _lengths(self.sources) + len(self.special_tokens.separator)
        return np.maximum(before, 1)

    def _truncate_sources(self) -> int:
        """Truncate overlong sources; returns their number."""
        max_length = max_source_length(self.conditioning, self.context)
        if max_length is None:
            return 0
        long = _lengths(self.sources) > max_length
        if self.keep == "beginning":
            self.sources[long, 1] = self.sources[long, 0] + max_length
        else:
            self.sources[long, 0] = self.sources[long, 1] - max_length
        return int(long.sum())

    def __len__(self) -> int:
        return len(self.targets)

    def source(self, index: int) -> NDArray[np.unsignedinteger]:
        """The ids of a source, without END."""
        return self.ids[slice(*self.sources[index])]

    def target(self, index: int) -> NDArray[np.unsignedinteger]:
        """The ids of a target, without END."""
        return self.ids[slice(*self.targets[index])]

    def sample(self, tokens: int) -> Pairs:
        """Pairs spread over the text whose targets have at most this many tokens in all; at least
        one pair.
        """
        return self.select(spread_sample(1 + _lengths(self.targets), tokens))

    def select(self, indices: NDArray[np.int64]) -> Pairs:
        """The pairs with these indices."""
        selected = replace(self)
        selected.sources, selected.targets = self.sources[indices], self.targets[indices]
        selected.positions = self.positions[indices]
        return selected

    def stream(self) -> NDArray[np.unsignedinteger]:
        """The targets as a flat array: END target END target END ..."""
        ended = concatenate_spans(self.ids, self.targets[:, 0] - 1, self.targets[:, 1])
        return np.append(ended, np.array([END], self.ids.dtype))

    def token_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The number of source and target tokens of each pair in a batch. A source in the prefix is
        counted in the target's row, so that its own number is 0.
        """
        sources, texts = (
            np.zeros(len(self), np.int64),
            self._prefix_lengths() + _lengths(self.targets),
        )
        if self.conditioning == "encoder":
            sources += _lengths(self.sources) + len(self.special_tokens.source_suffix)
        return sources, texts

    def batch(self, indices: Sequence[int] | NDArray[np.int64]) -> Batch:
        """A batch of the pairs with these indices; only tokens of targets are predicted."""
        special = self.special_tokens
        source, prefixes = None, [special.bos] * len(indices)
        if self.conditioning == "encoder":
            source = pad([[*self.source(n), *special.source_suffix] for n in indices], IGNORE)
        else:
            prefixes = [(*special.bos, *self.source(n), *special.separator) for n in indices]
        rows = [
            (prefix or (END,), self.target(n)) for n, prefix in zip(indices, prefixes, strict=True)
        ]
        tokens = [[*prefix, *target] for prefix, target in rows]
        targets = [[*[IGNORE] * (len(prefix) - 1), *target, END] for prefix, target in rows]
        positions = [
            [*[0] * (len(prefix) - 1), *range(position, position + 1 + len(target))]
            for position, (prefix, target) in zip(self.positions[indices], rows, strict=True)
        ]
        return Batch(
            pad(tokens, END), pad(targets, IGNORE), source=source, positions=pad(positions, 0)
        )


class Examples(Protocol):
    """Texts, or pairs of texts, that are learned as units."""

    def __len__(self) -> int: ...

    def token_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The number of source and target tokens of each in a batch."""
        ...

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """A batch of the examples with these indices."""
        ...


@dataclass
class Buckets:
    """Endless batches of pairs of similar length, in random order, with a bounded number of tokens
    each.

    Pairs are sorted by the lengths of target and source, ties in random order, and cut into
    batches, which are shuffled; each epoch has a new order. A batch is a pure function of the seed
    and its index.

    Attributes:
        pairs: the pairs.
        tokens: maximum number of tokens in a batch: sources and targets with their ENDs and
            padding.
        seed: seed of the order (default 0).

    Raises:
        WenmoError: there is no pair.
    """

    pairs: Examples
    tokens: int
    seed: int = 0
    _epoch: int = field(default=-1, init=False)
    _order: NDArray[np.int64] = field(init=False)
    _batch_order: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        if not len(self.pairs):
            raise WenmoError(
                "no text is left: each is longer than the model's context: raise "
                "context_length=, or give shorter ones (--unit line)"
            )
        self._token_counts = np.stack(self.pairs.token_counts())
        # Boundaries depend on lengths alone, and so are the same in every epoch.
        ordered = self._token_counts[:, np.lexsort(self._token_counts)]
        self.boundaries = _boundaries(ordered, self.tokens)

    @property
    def per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return len(self.boundaries) - 1

    @property
    def padding(self) -> float:
        """The fraction of token slots in the batches that is padding."""
        ordered = self._token_counts[:, np.lexsort(self._token_counts)]
        spans = zip(self.boundaries[:-1], self.boundaries[1:], strict=True)
        slots = sum((b - a) * int(ordered[:, a:b].max(1).sum()) for a, b in spans)
        return 1 - int(ordered.sum()) / slots

    def __getitem__(self, index: int) -> Batch:
        epoch, position = divmod(index, self.per_epoch)
        if epoch != self._epoch:
            rng = np.random.default_rng((self.seed, epoch))
            shuffled = rng.permutation(len(self.pairs))
            self._order = shuffled[np.lexsort(self._token_counts[:, shuffled])]
            self._batch_order = rng.permutation(self.per_epoch)
            self._epoch = epoch
        return self.pairs.batch(self._batch_indices(int(self._batch_order[position])))

    def once(self) -> Iterator[Batch]:
        """Every pair once, the shortest first."""
        self._order, self._epoch = np.lexsort(self._token_counts), -1
        for index in range(self.per_epoch):
            yield self.pairs.batch(self._batch_indices(index))

    def _batch_indices(self, index: int) -> NDArray[np.int64]:
        return self._order[self.boundaries[index] : self.boundaries[index + 1]]


def _lengths(spans: NDArray[np.int64]) -> NDArray[np.int64]:
    return spans[:, 1] - spans[:, 0]


def _boundaries(lengths: NDArray[np.int64], tokens: int) -> list[int]:
    """Boundaries of batches of at most ``tokens`` tokens, for sorted lengths (2, pairs)."""
    boundaries, longest = [0], (0, 0)
    for index, pair in enumerate(lengths.T.tolist()):
        grown = max(longest[0], pair[0]), max(longest[1], pair[1])
        if index > boundaries[-1] and (index + 1 - boundaries[-1]) * sum(grown) > tokens:
            boundaries.append(index)
            grown = (pair[0], pair[1])
        longest = grown
    return [*boundaries, lengths.shape[1]]
