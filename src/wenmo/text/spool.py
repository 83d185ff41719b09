"""Records on disk as raw UTF-8: written in one pass over the source, then split and read again."""

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

from wenmo.text.chat_formatter import ChatFormatter
from wenmo.text.config import TaskConfig
from wenmo.text.control import Values, tally
from wenmo.text.formats import listed
from wenmo.text.readers import Reader, Record
from wenmo.text.tasks import Example, examples, group_key, speakers_of
from wenmo.types import WenmoError

PIECE = 1 << 20
"""Number of bytes read at a time."""

Progress: TypeAlias = Callable[[str, float], None]
"""Called with the stage and the fraction of it that is done, from 0 to 1 (0: unknown)."""


@dataclass(frozen=True)
class Spool:
    """Texts in a file of raw UTF-8, one after the other: records, or sources and targets of
    examples.

    Attributes:
        path: the file.
        starts: start of each text in bytes, int64 (texts,).
        stops: stop of each text in bytes, int64 (texts,).
        groups: for alternating sources and targets, the group of each pair, uint64 (pairs,); pairs
            of a group stay together in a split. ``None``: every text is a record.
        control: counts of the values of the control fields.
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
        formatter: ChatFormatter | None = None,
    ) -> Spool:
        """Read all records once and write them.

        Args:
            formatter: formatter of conversations for a model with a chat template; None: one turn
                per line.

        Raises:
            WenmoError: a record is invalid, or no record gives an example of the task.
        """
        report("reading", 0.0)
        groups = array("Q")
        stops = array("q", [0])
        size = 0
        with path.open("wb") as file:
            values: Values = {}
            examples_of_records = _examples(reader, task, formatter, report, values)
            for piece, ends in (
                _pairs(examples_of_records, task, groups) if task.paired else reader.pieces()
            ):
                try:
                    size += file.write(piece.encode())
                except UnicodeEncodeError:
                    raise WenmoError(
                        f"{reader.name}: {'example' if groups else 'record'} "
                        f"{len(groups) or len(stops)} contains an unpaired surrogate; fix or "
                        "remove it"
                    ) from None
                if ends:
                    stops.append(size)
        bounds = np.array(stops, np.int64)
        group_array = np.array(groups, np.uint64) if task.paired else None
        return cls(path, bounds[:-1], bounds[1:], group_array, values)

    @property
    def records(self) -> int:
        """The number of records, or of pairs."""
        return len(self.starts) if self.groups is None else len(self.groups)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The bytes of each record, or of each target, int64 (records,)."""
        sizes: NDArray[np.int64] = self.stops - self.starts
        return sizes if self.groups is None else sizes[1::2]

    @property
    def bytes(self) -> int:
        """The bytes of the records, or of the targets, plus one for the end of each."""
        return int(self.sizes.sum()) + self.records

    def pieces(self) -> Iterator[tuple[str, bool]]:
        """The texts in pieces of at most ``PIECE`` bytes, each with whether its text ends."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        with self.path.open("rb") as file:
            for start, stop in zip(self.starts.tolist(), self.stops.tolist(), strict=True):
                file.seek(start)
                if stop - start <= PIECE:  # also for empty sources
                    yield file.read(stop - start).decode(), True
                    continue
                while start < stop:
                    raw = file.read(min(PIECE, stop - start))
                    start += len(raw)
                    yield decoder.decode(raw), start == stop

    def split_at_random(self, fraction: float, seed: int) -> tuple[Spool, Spool]:
        """Split at random by records; the order of records does not change if others are appended.

        Pairs of a group stay together; if there is only one group, nothing is held out.
        """
        group, first = np.arange(self.records), np.arange(self.records)
        if self.groups is not None:
            _, first, group = np.unique(self.groups, return_index=True, return_inverse=True)
        order = np.argsort(_hashes(self.records, seed)[first], kind="stable")
        sizes = np.cumsum(np.bincount(group, self.sizes).astype(np.int64)[order])
        count = int(np.abs(sizes - fraction * sizes[-1]).argmin()) + 1
        chosen = np.zeros(len(order), np.bool_)
        chosen[order[: min(count, len(order) - 1)]] = True
        is_held_out = chosen[group]
        return self._subset(~is_held_out), self._subset(is_held_out)

    def _subset(self, records: NDArray[np.bool_]) -> Spool:
        if self.groups is None:
            return Spool(self.path, self.starts[records], self.stops[records])
        texts = np.repeat(records, 2)
        return Spool(self.path, self.starts[texts], self.stops[texts], self.groups[records])

    def split_at_end(self, fraction: float) -> tuple[Spool, Spool]:
        """Split off the last characters, at the end of a record if that at most doubles the
        held-out part.
        """
        counts = [len(starts) for starts in self._character_starts()]
        kept_characters = int(sum(counts) * (1 - fraction))
        seen = offset = 0
        for starts, count in zip(self._character_starts(), counts, strict=True):
            if seen + count > kept_characters:
                offset += int(starts[kept_characters - seen])
                break
            seen += count
            offset += PIECE
        if len(self.starts) > 1:
            nearest = self.starts[1:][np.abs(self.starts[1:] - offset).argmin()]
            if abs(nearest - offset) <= self.stops[-1] - offset:
                offset = int(nearest)
        before, after = self.starts < offset, self.stops > offset
        return (
            Spool(self.path, self.starts[before], np.minimum(self.stops[before], offset)),
            Spool(self.path, np.maximum(self.starts[after], offset), self.stops[after]),
        )

    def _character_starts(self) -> Iterator[NDArray[np.intp]]:
        """The offsets of characters in each block of ``PIECE`` bytes."""
        with self.path.open("rb") as file:
            while raw := file.read(PIECE):
                # A byte starts a character unless it has the form 10xxxxxx.
                yield np.flatnonzero((np.frombuffer(raw, np.uint8) & 0xC0) != 0x80)


def _examples(
    reader: Reader,
    task: TaskConfig,
    formatter: ChatFormatter | None,
    report: Progress,
    values: Values,
) -> Iterator[tuple[Record, list[Example]]]:
    """Every record with its examples; counts control values in ``values``.

    Raises:
        WenmoError: there is no example at all.
    """
    count = 0 if formatter is None else sum(1 for _ in reader)
    plain = ((record, list(examples(record, task))) for record in reader)
    found = False
    for index, (record, record_examples) in enumerate(
        formatter.examples(reader, task) if formatter else plain, 1
    ):
        found |= bool(record_examples)
        if record_examples and task.control:
            tally(values, record, task)
        reader.counts.missing += not record_examples
        if task.name == "dialogue":
            speakers, replies = speakers_of(record, task)
            reader.counts.speakers.update(speakers)
            reader.counts.replies.update(replies if record_examples else ())
        if count:
            report("writing conversations by the template", index / count)
        yield record, record_examples
    if not found:
        reason = f"none of its {reader.counts.records:,} records gives an example of {task.name}"
        if task.reply_speakers:
            known = [name for name, _ in reader.counts.speakers.most_common()]
            reason += f" with a reply of {listed(task.reply_speakers)} (speakers: {listed(known)})"
        raise WenmoError(f"{reader.name}: {reason}; give other data, or another --task")


def _pairs(
    examples_of_records: Iterator[tuple[Record, list[Example]]],
    task: TaskConfig,
    groups: array[int],
) -> Iterator[tuple[str, bool]]:
    """Sources and targets of all examples, alternating; appends the group of each to ``groups``."""
    for index, (record, record_examples) in enumerate(examples_of_records):
        key = group_key(record, task)
        group = index if key is None else hash_of(key)
        for source, target in record_examples:
            groups.append(group)
            yield source, True
            yield target, True


def hash_of(text: str) -> int:
    """A 64-bit hash of a text."""
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
