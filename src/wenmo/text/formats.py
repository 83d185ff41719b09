"""Texts in, rows out. The rules are told in ``wenmo.text.readers``."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from wenmo.text.encodings import PIECE, opened, seekable
from wenmo.types import WenmoError

LONGEST = 1 << 24
"""The most characters of one line, field or JSON value, so that memory stays bounded."""

HINT = "without a header line, choose columns by number: --text-field 1"


@dataclass(frozen=True)
class ReadConfig:
    """How text is read.

    Attributes:
        unit: what one record of plain text is: the whole file, a block between blank lines, or a
            line (without the white space around it).
        text_field: the column or key that holds the text; a dot goes into a nested object. A whole
            number chooses a column of CSV or TSV without a header line, from 1.
        source_field: the same for the source of a pair.
        encoding: a name that Python knows, such as ``gb18030``; ``None`` detects it.
    """

    unit: Literal["document", "paragraph", "line"] = "document"
    text_field: str | None = None
    source_field: str | None = None
    encoding: str | None = None

    @property
    def fields(self) -> list[str]:
        """The fields chosen by the user."""
        return [field for field in (self.text_field, self.source_field) if field]


class Part(NamedTuple):
    """One item of a list: a line, a reference, or a turn and who says it, where that is told."""

    text: str
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One text, and what belongs to it.

    Attributes:
        text: the text; of a list, its items joined by newlines.
        source: for pairs, what the text answers to.
        parts: the items, where the text is a list.
        attributes: the names and values of the control fields; those without a value are left out.
        place: where the row stands that it comes from, for messages.
    """

    text: str
    source: str | None = None
    parts: tuple[Part, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    place: str = field(default="", compare=False)


@dataclass(slots=True)
class ReadCounts:
    """What one pass over the files met.

    Attributes:
        files: files read.
        bytes: their size as stored.
        records: records given.
        missing: records left out, because their text or source was missing, or because they gave no
            example of the task.
        nuls: NUL characters removed.
        skipped: files of a folder that are of no readable kind.
    """

    files: int = 0
    bytes: int = 0
    records: int = 0
    missing: int = 0
    nuls: int = 0
    skipped: int = 0


# Formats: texts in, rows out, each with its place.


def _lines(texts: Iterator[str], place: str) -> Iterator[tuple[int, str]]:
    """Each line without its newline, and its number from 1. Only LF ends a line."""
    number, rest = 0, ""
    for text in texts:
        *whole, rest = (rest + text).split("\n")
        for line in whole:
            number += 1
            yield number, line
        if len(rest) > LONGEST:
            advice = "part it into lines, or read plain text as one document"
            raise WenmoError(f"{place}:{number + 1}: a line of over {LONGEST} characters; {advice}")
    if rest:
        yield number + 1, rest


def lines_of_text(texts: Iterator[str], place: str) -> Iterator[tuple[str, object]]:
    """The lines that are not blank, without the white space around them."""
    for number, line in _lines(texts, place):
        if line := line.strip():
            yield f"{place}:{number}", line


def blocks(texts: Iterator[str], place: str) -> Iterator[tuple[str, object]]:
    """Paragraphs: the lines between blank ones."""
    block: list[str] = []
    size = 0
    for number, line in itertools.chain(_lines(texts, place), [(0, "")]):
        if line.strip():
            block.append(line)
            size += len(line)
            if size > LONGEST:
                advice = "part it by a blank line, or read it as one document"
                raise WenmoError(
                    f"{place}:{number}: a paragraph of over {LONGEST} characters; {advice}"
                )
        elif block:
            yield place, "\n".join(block)
            block, size = [], 0


def jsonl(texts: Iterator[str], place: str) -> Iterator[tuple[str, object]]:
    """One JSON value a line."""
    for number, line in _lines(texts, place):
        if line.strip():
            try:
                yield f"{place}:{number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise _not_json(f"{place}:{number}", error, "line") from None


def _not_json(place: str, error: Exception, what: str) -> WenmoError:
    reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    return WenmoError(f"{place}: not valid JSON: {reason}; mend or remove the {what}")


class Json:
    """JSON values out of a stream, one at a time: the items of one list, or values in a row."""

    _blank = re.compile(r"[ \t\n]*")

    def __init__(self, texts: Iterator[str], place: str) -> None:
        self.texts, self.place = texts, place
        self.decoder = json.JSONDecoder()
        self.buffer, self.at, self.line = "", 0, 1

    def values(self) -> Iterator[tuple[str, object]]:
        in_list = self.peek() == "["
        if in_list:
            self.skip(self.at + 1)
        while self.peek() not in ("", "]") or (self.peek() and not in_list):
            place = f"{self.place}:{self.line}"
            yield place, self.value(place)
            if in_list and self.peek() == ",":
                self.skip(self.at + 1)
                if self.peek() in ("", "]"):
                    raise self.broken("a value is expected after the comma")
            elif in_list and self.peek() != "]":
                raise self.broken("a comma or the end of the list is expected")
        if in_list:
            if not self.peek():
                raise self.broken("the list has no end")
            self.skip(self.at + 1)
            if self.peek():
                raise self.broken("something follows the end of the list")

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            match = self._blank.match(self.buffer, self.at)
            assert match is not None
            self.skip(match.end())
            if self.at < len(self.buffer) or not self.more():
                return self.buffer[self.at : self.at + 1]

    def value(self, place: str) -> object:
        """Decode the next value, reading on for as long as it is not whole."""
        while True:
            try:
                value, end = self.decoder.raw_decode(self.buffer, self.at)
            except (ValueError, RecursionError) as error:
                endless = len(self.buffer) - self.at > LONGEST
                if not endless and self.more():
                    continue
                reason = ValueError(f"no end within {LONGEST} characters") if endless else error
                raise _not_json(place, reason, "value that begins here") from None
            if end < len(self.buffer) or not self.more():  # a number may go on in the next piece
                self.skip(end)
                return value

    def skip(self, end: int) -> None:
        self.line += self.buffer.count("\n", self.at, end)
        self.at = end

    def more(self) -> bool:
        piece = next(self.texts, "")
        if piece:
            self.buffer, self.at = self.buffer[self.at :] + piece, 0
        return bool(piece)

    def broken(self, reason: str) -> WenmoError:
        return _not_json(f"{self.place}:{self.line}", ValueError(reason), "list")


def parallel(
    sources: Iterator[str], source_place: str, targets: Iterator[str], target_place: str
) -> Iterator[tuple[str, object]]:
    """The lines of two files side by side, ``source`` and ``target``; a blank one keeps its place.

    Raises:
        WenmoError: one has more lines than the other, which is known only at the end.
    """
    lines = itertools.zip_longest(
        _lines(sources, source_place), _lines(targets, target_place), fillvalue=(0, None)
    )
    for number, ((_, source), (_, target)) in enumerate(lines, 1):
        if source is None or target is None:
            longer = number + sum(1 for _ in lines)
            counts = (number - 1, longer) if source is None else (longer, number - 1)
            raise WenmoError(
                f"{source_place} has {counts[0]:,} lines and {target_place} has {counts[1]:,}: "
                "parallel files have the same number; mend one of them"
            )
        yield f"{source_place}:{number}", {"source": source.strip(), "target": target.strip()}


def table(
    texts: Iterator[str], place: str, kind: str, fields: list[str]
) -> Iterator[tuple[str, object]]:
    """The rows of CSV or TSV by the names of their columns: the header's, or numbers from 1."""
    numbered = by_number(fields)
    if numbered and not all(map(_is_number, fields)):
        advice = "numbers and names; choose all columns by number, or all by name"
        raise WenmoError(f"{place}: fields {listed(fields)}: {advice}")
    names: list[str] = []
    for where, row in _cells(texts, place, kind):
        if not names:
            names = [str(i) for i in range(1, len(row) + 1)] if numbered else row
            if twice := [name for name in names if names.count(name) > 1]:
                name = listed(twice[:1])
                raise WenmoError(f"{where}: two columns are named {name!r}; rename one; {HINT}")
            if not numbered:
                continue
        if len(row) != len(names):
            model = "first row" if numbered else "header"
            advice = f"{len(row)} columns where the {model} has {len(names)}; mend or remove it"
            raise WenmoError(f"{where}: a row of {advice}")
        yield where, dict(zip(names, row, strict=True))


def _cells(texts: Iterator[str], place: str, kind: str) -> Iterator[tuple[str, list[str]]]:
    """The rows of CSV or TSV that are not blank."""
    csv.field_size_limit(LONGEST)  # one setting for the whole process; the default is 128 KiB
    lines = (f"{line}\n" for _, line in _lines(texts, place))
    if kind == ".csv":
        reader = csv.reader(lines, strict=True)
    else:
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    while True:
        where = f"{place}:{reader.line_num + 1}"
        try:
            row = next(reader, None)
        except csv.Error as error:
            reason = f"not a valid {kind[1:].upper()} row: {error}"
            raise WenmoError(f"{where}: {reason}; mend it") from None
        if row is None:
            return
        if row:
            yield where, row


def parquet(path: Path, place: str, fields: list[str] | None) -> Iterator[tuple[str, object]]:
    """The rows of Parquet; only the columns of the fields are read, or all where none are given."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with opened(path, place) as stream, seekable(stream) as file:
            stored = pyarrow.parquet.ParquetFile(file, buffer_size=PIECE)
            names = stored.schema_arrow.names
            columns = [field if field in names else top(field) for field in fields or names]
            if not set(columns) <= set(names):
                columns = names
            for batch in stored.iter_batches(batch_size=64, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{place}: row {number}", row
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise WenmoError(f"{place}: not a valid Parquet file: {reason}") from None


# Fields, by what the user calls them.


def by_number(fields: Iterable[str]) -> bool:
    """Whether columns are chosen by number: then CSV and TSV have no header line."""
    return any(map(_is_number, fields))


def _is_number(field: str) -> bool:
    return field.isascii() and field.isdecimal()


def top(field: str) -> str:
    """The column of a field that may go into a nested object."""
    return field.partition(".")[0]


def listed(names: Iterable[str]) -> str:
    """Names on one line: they are the user's, any of them may be a whole sentence, or a page."""
    short = [" ".join(name[:40].split()) + "…" * (len(name) > 40) for name in names]
    more = f" and {len(short) - 20} more" if len(short) > 20 else ""
    return ", ".join(short[:20]) + more
