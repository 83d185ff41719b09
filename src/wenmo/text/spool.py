"""Records on disk as raw UTF-8: read once, then split and read again as often as one likes."""

from __future__ import annotations

import codecs
import hashlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from wenmo.text.config import TaskConfig
from wenmo.text.control import Values, tally
from wenmo.text.formats import listed
from wenmo.text.readers import Reader, Record
from wenmo.text.talk import ChatFormatter
from wenmo.text.tasks import Example, companions, examples, who_speaks
from wenmo.types import WenmoError

PIECE = 1 << 20
"""Bytes of text read at a time."""

Progress: TypeAlias = Callable[[str, float], None]
"""Told what is being done, and how much of that is done, from 0 to 1 (0: not known)."""


@dataclass(frozen=True)
class Spool:
    """Texts in a file of raw UTF-8, one after the other: records, or both sides of examples.

    Attributes:
        starts: where each text begins, in bytes, int64 (texts,).
        stops: where each ends.
        groups: where sources and targets take turns, a number for each pair; those with the same
            number stay together. uint64 (pairs,); ``None``: every text is a record.
        control: the values of the control fields in what was read.
    """

    path: Path
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    groups: NDArray[np.uint64] | None = None
    control: Values = field(default_factory=dict)

    @classmethod
    def write(
        cls,
        path: Path,
        reader: Reader,
        task: TaskConfig,
        report: Progress,
        talk: ChatFormatter | None = None,
    ) -> Spool:
        """Read everything once.

        Args:
            talk: how conversations are written for the model; None: a turn a line.

        Raises:
            WenmoError: what is read is wrong, or gives no example of the task.
        """
        report("reading", 0.0)
        groups = array("Q")
        ends_at = array("q", [0])
        size = 0
        with path.open("wb") as file:
            values: Values = {}
            given = _examples(reader, task, talk, report, values)
            for piece, ends in _pairs(given, task, groups) if task.paired else reader.pieces():
                try:
                    size += file.write(piece.encode())
                except UnicodeEncodeError:
                    raise WenmoError(
                        f"{reader.name}: {'example' if groups else 'record'} "
                        f"{len(groups) or len(ends_at)} holds half a surrogate pair, which is no "
                        "character; mend or remove it"
                    ) from None
                if ends:
                    ends_at.append(size)
        marks = np.array(ends_at, np.int64)
        paired = np.array(groups, np.uint64) if task.paired else None
        return cls(path, marks[:-1], marks[1:], paired, values)

    @property
    def records(self) -> int:
        """How many records, or pairs."""
        return len(self.starts) if self.groups is None else len(self.groups)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The bytes of each record, or of each pair's target, int64 (records,)."""
        sizes: NDArray[np.int64] = self.stops - self.starts
        return sizes if self.groups is None else sizes[1::2]

    @property
    def bytes(self) -> int:
        """The records' bytes, or those of the pairs' targets, and one for the end of each."""
        return int(self.sizes.sum()) + self.records

    def pieces(self) -> Iterator[tuple[str, bool]]:
        """The texts in pieces of at most ``PIECE`` bytes, each with whether its text ends."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        with self.path.open("rb") as file:
            for start, stop in zip(self.starts.tolist(), self.stops.tolist(), strict=True):
                file.seek(start)
                if stop - start <= PIECE:  # of a source without any code: nothing
                    yield file.read(stop - start).decode(), True
                    continue
                while start < stop:
                    raw = file.read(min(PIECE, stop - start))
                    start += len(raw)
                    yield decoder.decode(raw), start == stop

    def draw(self, share: float, seed: int) -> tuple[Spool, Spool]:
        """Part whole records, in an order that does not change when others are added at the end.

        Of pairs, all of one group go together; where there is but one group, none is held out.
        """
        group, first = np.arange(self.records), np.arange(self.records)
        if self.groups is not None:
            _, first, group = np.unique(self.groups, return_index=True, return_inverse=True)
        order = np.argsort(_hashes(self.records, seed)[first], kind="stable")
        sizes = np.cumsum(np.bincount(group, self.sizes).astype(np.int64)[order])
        count = int(np.abs(sizes - share * sizes[-1]).argmin()) + 1
        chosen = np.zeros(len(order), np.bool_)
        chosen[order[: min(count, len(order) - 1)]] = True
        held = chosen[group]
        return self._only(~held), self._only(held)

    def _only(self, records: NDArray[np.bool_]) -> Spool:
        if self.groups is None:
            return Spool(self.path, self.starts[records], self.stops[records])
        texts = np.repeat(records, 2)
        return Spool(self.path, self.starts[texts], self.stops[texts], self.groups[records])

    def cut(self, share: float) -> tuple[Spool, Spool]:
        """Part the last characters from the others: where a record ends, if one ends so near that
        at most twice as much is held out.
        """
        counts = [len(begins) for begins in self._beginnings()]
        wanted = int(sum(counts) * (1 - share))
        seen = place = 0
        for begins, count in zip(self._beginnings(), counts, strict=True):
            if seen + count > wanted:
                place += int(begins[wanted - seen])
                break
            seen += count
            place += PIECE
        if len(self.starts) > 1:
            nearest = self.starts[1:][np.abs(self.starts[1:] - place).argmin()]
            if abs(nearest - place) <= self.stops[-1] - place:
                place = int(nearest)
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


def _examples(
    reader: Reader, task: TaskConfig, talk: ChatFormatter | None, report: Progress, values: Values
) -> Iterator[tuple[Record, list[Example]]]:
    """Every record with the examples that it gives; ``values`` counts those of control fields.

    Raises:
        WenmoError: there is none in all.
    """
    count = 0 if talk is None else sum(1 for _ in reader)
    plainly = ((record, list(examples(record, task))) for record in reader)
    found = False
    for number, (record, made) in enumerate(talk.examples(reader, task) if talk else plainly, 1):
        found |= bool(made)
        if made and task.control:
            tally(values, record, task)
        reader.counts.missing += not made
        if task.name == "dialogue":
            speakers, replies = who_speaks(record, task)
            reader.counts.speakers.update(speakers)
            reader.counts.replies.update(replies if made else ())
        if count:
            report("writing conversations by the template", number / count)
        yield record, made
    if not found:
        reason = f"none of its {reader.counts.records:,} records gives an example of {task.name}"
        if task.reply_speakers:
            known = [name for name, _ in reader.counts.speakers.most_common()]
            reason += f" with a reply of {listed(task.reply_speakers)} (speakers: {listed(known)})"
        raise WenmoError(f"{reader.name}: {reason}; give other data, or another --task")


def _pairs(
    given: Iterator[tuple[Record, list[Example]]], task: TaskConfig, groups: array[int]
) -> Iterator[tuple[str, bool]]:
    """Source and target of every example in turn; the number of its group is put on ``groups``."""
    for number, (record, made) in enumerate(given):
        key = companions(record, task)
        group = number if key is None else hash_of(key)
        for source, target in made:
            groups.append(group)
            yield source, True
            yield target, True


def hash_of(text: str) -> int:
    """A number that stands for a text: that two texts share one is next to impossible."""
    seed = hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(seed, "little")


def _hashes(count: int, seed: int) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea and Flood 2014) of 0 to ``count`` - 1."""
    z = (np.arange(count, dtype=np.uint64) + np.uint64(seed % 2**32 << 32)) * np.uint64(
        0x9E3779B97F4A7C15
    )
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
