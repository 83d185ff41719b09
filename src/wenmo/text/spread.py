"""An order in which to take items so that any number of them is spread evenly over all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wenmo.types import END

PIECE = 4096


def spread_order(count: int) -> NDArray[np.int64]:
    """A permutation of ``range(count)`` whose every prefix is spread evenly over the range, and
    which is the same each time.

    The positions are the van der Corput sequence of base 2 with scrambled digits (Owen 1995):
    without scrambling, the first items would be multiples of a power of two, which is the rhythm
    of couplets and of dialogues. Samples of two sizes are nested: the larger holds the smaller.
    """
    numbers = np.arange(count)
    digits = max(1, (count - 1).bit_length())
    flips = np.random.default_rng(0).integers(0, 2, 1 << digits)  # one for each node of a tree
    node, position = np.ones(count, np.int64), np.zeros(count, np.int64)
    for place in range(digits):
        digit = numbers >> place & 1
        position = 2 * position + (digit ^ flips[node])
        node = 2 * node + digit
    return np.argsort(np.argsort(position))


def spread_sample(lengths: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """The first items in `spread_order` whose lengths add up to at most ``most``; at least one.

    Returns:
        Their numbers, sorted.
    """
    order = spread_order(len(lengths))
    count = int(np.searchsorted(np.cumsum(lengths[order]), most, "right"))
    return np.sort(order[: max(1, count)])


def spread_pieces(ids: NDArray[np.unsignedinteger], most: int) -> NDArray[np.unsignedinteger]:
    """At most ``most`` ids of a stream of texts, in pieces of `PIECE` from all over it, with END at
    both ends; all, if so few.
    """
    if len(ids) <= most:
        return ids
    count = max(1, most // PIECE)
    begins = PIECE * np.sort(spread_order(-(-len(ids) // PIECE))[:count])
    part = np.concatenate([ids[begin : begin + PIECE] for begin in begins.tolist()])[:most]
    part[[0, -1]] = END
    return part
