"""Deterministic orders whose prefixes are spread evenly over all items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wenmo.types import END

PIECE = 4096


def spread_order(count: int) -> NDArray[np.int64]:
    """A fixed permutation of ``range(count)``; each prefix is spread evenly over the range.

    It is the van der Corput sequence of base 2 with scrambled digits (Owen 1995). Without
    scrambling, the first items would be multiples of a power of two, which is the period of
    couplets and dialogues. Samples are nested: a larger one contains the smaller ones.
    """
    numbers = np.arange(count)
    digits = max(1, (count - 1).bit_length())
    flips = np.random.default_rng(0).integers(
        0, 2, 1 << digits
    )  # one for each node of the binary tree
    node, position = np.ones(count, np.int64), np.zeros(count, np.int64)
    for digit_index in range(digits):
        digit = numbers >> digit_index & 1
        position = 2 * position + (digit ^ flips[node])
        node = 2 * node + digit
    return np.argsort(np.argsort(position))


def spread_sample(lengths: NDArray[np.int64], max_total: int) -> NDArray[np.int64]:
    """The longest prefix of `spread_order` whose lengths add up to at most ``max_total``; at least
    one item.

    Returns:
        The indices of the items, sorted.
    """
    order = spread_order(len(lengths))
    count = int(np.searchsorted(np.cumsum(lengths[order]), max_total, "right"))
    return np.sort(order[: max(1, count)])


def spread_pieces(ids: NDArray[np.unsignedinteger], max_total: int) -> NDArray[np.unsignedinteger]:
    """At most ``max_total`` ids of a stream, in pieces of `PIECE` tokens spread over it, with END
    at both ends; the whole stream if it is not longer.
    """
    if len(ids) <= max_total:
        return ids
    count = max(1, max_total // PIECE)
    starts = PIECE * np.sort(spread_order(-(-len(ids) // PIECE))[:count])
    sample = np.concatenate([ids[start : start + PIECE] for start in starts.tolist()])[:max_total]
    sample[[0, -1]] = END
    return sample
