"""A small sketch of a text, to estimate which fraction of their lines or records two texts share.

It contains the smallest hashes of a text's distinct units (Broder 1997, "On the resemblance and
containment of documents"). A unit is a record, or a line of a long record.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from wenmo.text.spool import PIECE, Spool, hash_of

SIZE = 512
"""Maximum number of hashes in a sketch."""

LONG = 1000
"""Records with more characters than this are split into lines."""

_HAN = re.compile(r"[㐀-\u9fff豈-\ufaff\U00020000-\U0003ffff]")


def sketch(spool: Spool) -> str:
    """The sketch of a text: base64 of up to ``SIZE`` hashes, uint64, ascending."""
    smallest = np.zeros(0, np.uint64)
    for hashes in _in_blocks(hash_of(unit) for unit in _units(spool) if is_distinctive(unit)):
        smallest = np.union1d(smallest, hashes)[:SIZE]
    return _to_base64(smallest)


def union(first: str, second: str) -> str:
    """The sketch of two texts together, from their sketches."""
    return _to_base64(np.union1d(_hashes(first), _hashes(second))[:SIZE])


def overlap(first: str, second: str) -> tuple[float, float]:
    """Estimates of the fraction of the first text's units that the second contains, and the
    reverse.

    Args:
        first, second: sketches from `sketch`. A text without units has the fraction 0.
    """
    first_hashes, second_hashes = _hashes(first), _hashes(second)
    limit = min(
        (int(each[-1]) for each in (first_hashes, second_hashes) if len(each) == SIZE),
        default=2**64 - 1,
    )
    first_hashes, second_hashes = (
        first_hashes[first_hashes <= limit],
        second_hashes[second_hashes <= limit],
    )
    common = len(np.intersect1d(first_hashes, second_hashes))
    return common / max(1, len(first_hashes)), common / max(1, len(second_hashes))


def is_distinctive(text: str) -> bool:
    """Whether a unit is long enough to be rarely shared by chance."""
    return len(text) >= 20 or len(_HAN.findall(text)) >= 10


def _units(spool: Spool) -> Iterator[str]:
    buffer, by_line = "", False
    for piece, ends in spool.pieces():
        buffer += piece
        by_line |= len(buffer) > LONG
        if by_line:
            *lines, buffer = buffer.split("\n")
            yield from map(str.strip, lines)
            buffer = buffer[:PIECE]  # only the beginning of a long line, to bound memory
        if ends:
            yield buffer.strip()
            buffer, by_line = "", False


def _in_blocks(hashes: Iterable[int], size: int = 1 << 16) -> Iterator[NDArray[np.uint64]]:
    block: list[int] = []
    for hash_ in hashes:
        block.append(hash_)
        if len(block) == size:
            yield np.array(block, np.uint64)
            block = []
    yield np.array(block, np.uint64)


def _to_base64(hashes: NDArray[np.uint64]) -> str:
    return base64.b64encode(hashes.astype("<u8").tobytes()).decode()


def _hashes(text: str) -> NDArray[np.uint64]:
    return np.frombuffer(base64.b64decode(text), "<u8")
