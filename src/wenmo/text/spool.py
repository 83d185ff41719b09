"""Records on disk as raw UTF-8: read once, then split and read again as often as one likes."""

from __future__ import annotations

import codecs
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from wenmo.text.readers import Reader
from wenmo.types import WenmoError

PIECE = 1 << 20
"""Bytes of text read at a time."""

Progress: TypeAlias = Callable[[str, float], None]
"""Told what is being done, and how much of that is done, from 0 to 1 (0: not known)."""


@dataclass(frozen=True)
class Spool:
    """Records in a file of raw UTF-8, one after the other.

    Attributes:
        starts: where each record begins, in bytes, int64 (records,).
        stops: where each ends.
    """

    path: Path
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    @classmethod
    def write(cls, path: Path, reader: Reader, report: Progress) -> Spool:
        report("reading", 0.0)
        ends_at = array("q", [0])
        size = 0
        with path.open("wb") as file:
            for piece, ends in reader.pieces():
                try:
                    size += file.write(piece.encode())
                except UnicodeEncodeError:
                    raise WenmoError(
                        f"{reader.files[0]}: record {len(ends_at)} holds half a surrogate pair, "
                        "which is no character; mend or remove it"
                    ) from None
                if ends:
                    ends_at.append(size)
        marks = np.array(ends_at, np.int64)
        return cls(path, marks[:-1], marks[1:])

    @property
    def bytes(self) -> int:
        """The records' bytes, and one for the end of each."""
        return int((self.stops - self.starts).sum()) + len(self.starts)

    def pieces(self) -> Iterator[tuple[str, bool]]:
        """The records in pieces of at most ``PIECE`` bytes, each with whether its record ends."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        with self.path.open("rb") as file:
            for start, stop in zip(self.starts.tolist(), self.stops.tolist(), strict=True):
                file.seek(start)
                while start < stop:
                    raw = file.read(min(PIECE, stop - start))
                    start += len(raw)
                    yield decoder.decode(raw), start == stop

    def draw(self, share: float, seed: int) -> tuple[Spool, Spool]:
        """Part whole records, in an order that does not change when others are added at the end."""
        order = np.argsort(_hashes(len(self.starts), seed), kind="stable")
        sizes = np.cumsum((self.stops - self.starts)[order])
        count = int(np.abs(sizes - share * sizes[-1]).argmin()) + 1
        held = np.zeros(len(order), np.bool_)
        held[order[: min(count, len(order) - 1)]] = True
        return (
            Spool(self.path, self.starts[~held], self.stops[~held]),
            Spool(self.path, self.starts[held], self.stops[held]),
        )

    def cut(self, share: float) -> tuple[Spool, Spool]:
        """Part the last characters from the others."""
        counts = [len(begins) for begins in self._beginnings()]
        wanted = int(sum(counts) * (1 - share))
        seen = place = 0
        for begins, count in zip(self._beginnings(), counts, strict=True):
            if seen + count > wanted:
                place += int(begins[wanted - seen])
                break
            seen += count
            place += PIECE
        left, right = self.starts < place, self.stops > place
        return (
            Spool(self.path, self.starts[left], np.minimum(self.stops[left], place)),
            Spool(self.path, np.maximum(self.starts[right], place), self.stops[right]),
        )

    def _beginnings(self) -> Iterator[NDArray[np.intp]]:
        """Where characters begin in each ``PIECE`` bytes of the file."""
        with self.path.open("rb") as file:
            while raw := file.read(PIECE):
                # Every byte begins a character but those of the form 10xxxxxx.
                yield np.flatnonzero((np.frombuffer(raw, np.uint8) & 0xC0) != 0x80)


def _hashes(count: int, seed: int) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea and Flood 2014) of 0 to ``count`` - 1."""
    z = (np.arange(count, dtype=np.uint64) + np.uint64(seed % 2**32 << 32)) * np.uint64(
        0x9E3779B97F4A7C15
    )
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
