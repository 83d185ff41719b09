"""A small sketch of a text, by which two texts are found to have lines or records in common.

It holds the smallest hashes of a text's distinct units (Broder 1997, "On the resemblance and
containment of documents"). A unit is a record, or, of a long record, a line.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from wenmo.text.spool import PIECE, Spool, hash_of

SIZE = 512
"""The most hashes that a sketch holds."""

LONG = 1000
"""From this many characters on, a record is known by its lines."""

_HAN = re.compile(r"[㐀-\u9fff豈-\ufaff\U00020000-\U0003ffff]")


def sketch(spool: Spool) -> str:
    """The sketch of a text: base64 of up to ``SIZE`` hashes, uint64, rising."""
    smallest = np.zeros(0, np.uint64)
    for hashes in _in_blocks(hash_of(unit) for unit in _units(spool) if is_telling(unit)):
        smallest = np.union1d(smallest, hashes)[:SIZE]
    return _written(smallest)


def union(one: str, other: str) -> str:
    """The sketch of two texts together, from the sketch of each."""
    return _written(np.union1d(_hashes(one), _hashes(other))[:SIZE])


def overlap(one: str, other: str) -> tuple[float, float]:
    """About which share of one text's units the other has too, and the reverse.

    Args:
        one, other: from `sketch`. Where one has no units, both shares are 0.
    """
    ours, theirs = _hashes(one), _hashes(other)
    limit = min((int(each[-1]) for each in (ours, theirs) if len(each) == SIZE), default=2**64 - 1)
    ours, theirs = ours[ours <= limit], theirs[theirs <= limit]
    common = len(np.intersect1d(ours, theirs))
    return common / max(1, len(ours)), common / max(1, len(theirs))


def is_telling(text: str) -> bool:
    """Whether a unit is so long that two texts hardly have it in common by chance."""
    return len(text) >= 20 or len(_HAN.findall(text)) >= 10


def _units(spool: Spool) -> Iterator[str]:
    held, long = "", False
    for piece, ends in spool.pieces():
        held += piece
        long |= len(held) > LONG
        if long:
            *lines, held = held.split("\n")
            yield from map(str.strip, lines)
            held = held[:PIECE]  # what is longer is known by its beginning: memory is bounded
        if ends:
            yield held.strip()
            held, long = "", False


def _in_blocks(numbers: Iterable[int], size: int = 1 << 16) -> Iterator[NDArray[np.uint64]]:
    block: list[int] = []
    for number in numbers:
        block.append(number)
        if len(block) == size:
            yield np.array(block, np.uint64)
            block = []
    yield np.array(block, np.uint64)


def _written(hashes: NDArray[np.uint64]) -> str:
    return base64.b64encode(hashes.astype("<u8").tobytes()).decode()


def _hashes(text: str) -> NDArray[np.uint64]:
    return np.frombuffer(base64.b64decode(text), "<u8")
