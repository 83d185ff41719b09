"""Texts in, rows out; rows in, records out. The rules are told in ``wenmo.text.readers``."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wenmo.config import nearest
from wenmo.text.encodings import PIECE, opened, seekable
from wenmo.types import WenmoError

LONGEST = 1 << 24
"""The most characters of one line, field or JSON value, so that memory stays bounded."""

TEXT_NAMES = ("text", "content", "sentence", "body", "文本", "内容", "正文")

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

    @property
    def by_number(self) -> bool:
        """Whether columns are chosen by number: then CSV and TSV have no header line."""
        return any(map(_is_number, self.fields))


@dataclass(frozen=True, slots=True)
class Record:
    """One text, and for pairs what it answers to."""

    text: str
    source: str | None = None


@dataclass(slots=True)
class ReadCounts:
    """What one pass over the files met.

    Attributes:
        files: files read.
        bytes: their size as stored.
        records: records given.
        missing: records left out, because their text or source was missing.
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


def table(
    texts: Iterator[str], place: str, kind: str, config: ReadConfig
) -> Iterator[tuple[str, object]]:
    """The rows of CSV or TSV by the names of their columns: the header's, or numbers from 1."""
    if config.by_number and not all(map(_is_number, config.fields)):
        given = f"--text-field {config.text_field} and --source-field {config.source_field}"
        raise WenmoError(f"{place}: {given}: a number and a name; give two numbers or two names")
    names: list[str] = []
    for where, row in _cells(texts, place, kind):
        if not names:
            names = [str(i) for i in range(1, len(row) + 1)] if config.by_number else row
            if twice := [name for name in names if names.count(name) > 1]:
                name = _listed(twice[:1])
                raise WenmoError(f"{where}: two columns are named {name!r}; rename one; {HINT}")
            if not config.by_number:
                continue
        if len(row) != len(names):
            model = "first row" if config.by_number else "header"
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


def parquet(path: Path, place: str, config: ReadConfig) -> Iterator[tuple[str, object]]:
    """The rows of Parquet; only the columns that are chosen are read."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with opened(path, place) as stream, seekable(stream) as file:
            stored = pyarrow.parquet.ParquetFile(file, buffer_size=PIECE)
            names = stored.schema_arrow.names
            columns = [field if field in names else _top(field) for field in config.fields]
            if not config.text_field or not set(columns) <= set(names):
                columns = names
            for batch in stored.iter_batches(batch_size=64, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{place}: row {number}", row
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise WenmoError(f"{place}: not a valid Parquet file: {reason}") from None


# Fields: rows in, records out.


class Fields:
    """Finds the text, and the source, in the rows of one file."""

    def __init__(self, config: ReadConfig, place: str, counts: ReadCounts, kind: str) -> None:
        self.config, self.place, self.counts = config, place, counts
        self.columns = kind in (".csv", ".tsv", ".parquet")  # every row has the same fields
        self.hint = f"; {HINT}" if kind in (".csv", ".tsv") and not config.by_number else ""
        self.text = config.text_field
        self.first: tuple[str, Mapping[str, object]] | None = None  # to name its fields in errors
        self.met: set[str] = set()

    def pick(self, row: object, place: str) -> Record | None:
        """The record of a row; ``None`` where something is missing."""
        source = self.config.source_field
        if isinstance(row, str) and source is None:
            text = self.clean(row, place)
            return Record(text) if text.strip() else None
        if not isinstance(row, Mapping):
            expected = "an object" if source else "an object or a string"
            raise WenmoError(f"{place}: {_is(row)} where {expected} is expected; mend or remove it")
        if not row:
            return None
        if self.first is None:
            self.first = (self.place if self.columns else place), row
            if self.columns:
                fields = self.config.fields
                self.check({name for name in fields if name in row or _top(name) in row})
        self.text = self.text or self.guess(row)
        text = self.read(row, self.text, place, chosen=bool(self.config.text_field))
        if source is None:
            return Record(text) if text.strip() else None
        said = self.read(row, source, place, chosen=True)
        return Record(text, said) if text.strip() and said.strip() else None

    def guess(self, row: Mapping[str, object]) -> str:
        """The field that holds the text, told by there being only one, its name, or its type."""
        names = [name for name in row if name != self.config.source_field]
        known = [name for name in names if name in TEXT_NAMES]
        texts = [name for name in names if _is_text(row[name])]
        for candidates in (names, known, texts):
            if len(candidates) == 1:
                return candidates[0]
        choice = f"one of: {_listed(names)}" if names else "another than the source"
        advice = f"pass --text-field NAME, {choice}{self.hint}"
        raise WenmoError(f"{self.place}: which field holds the text? {advice}")

    def read(self, row: Mapping[str, object], field: str, place: str, chosen: bool) -> str:
        """The text of a field, empty where it is missing."""
        value: Any = row
        for key in [field] if field in row else field.split("."):
            if value is None or not isinstance(value, Mapping) or key not in value:
                return ""
            value = value[key]
        self.met.add(field)
        if chosen and isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if value is None:
            return ""
        if not _is_text(value) and value != []:
            option = "--source-field" if field == self.config.source_field else "--text-field"
            advice = f"pass {option} NAME with another, or mend the row"
            if isinstance(value, Mapping) and value:
                inside = _listed(f"{field}.{key}" for key in value)
                advice = f"pass {option} NAME, one of: {inside}"
            raise WenmoError(
                f"{place}: field {field!r} holds {_is(value)} where text is expected; {advice}"
            )
        return self.clean(value if isinstance(value, str) else "\n".join(value), place)

    def clean(self, text: str, place: str) -> str:
        """What a decoder does to a file, done to a value: escapes hide the same characters."""
        self.counts.nuls += text.count("\0")
        if re.search("[\ud800-\udfff]", text):
            raise WenmoError(f"{place}: half a surrogate pair (\\ud800 to \\udfff); mend the row")
        return text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")

    def check(self, met: set[str]) -> None:
        """A field that no row has is a slip of the user's, not a missing value."""
        for field in self.config.fields:
            if self.first and field not in met:
                place, row = self.first
                names = list(_names(row))
                found = f"{nearest(field, names)} (found: {_listed(names)}){self.hint}"
                raise WenmoError(f"{place}: no field {field!r}{found}")


def _is_number(field: str) -> bool:
    return field.isascii() and field.isdecimal()


def _top(field: str) -> str:
    return field.partition(".")[0]


def _names(row: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    for name, value in row.items():
        if isinstance(value, Mapping) and value:
            yield from _names(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def _listed(names: Iterable[str]) -> str:
    """Names on one line: they are the user's, any of them may be a whole sentence, or a page."""
    short = [" ".join(name[:40].split()) + "…" * (len(name) > 40) for name in names]
    more = f" and {len(short) - 20} more" if len(short) > 20 else ""
    return ", ".join(short[:20]) + more


def _is_text(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, str) for item in value)
    return isinstance(value, str)


def _is(value: object) -> str:
    kinds: dict[type, str] = {dict: "an object", list: "a list", bool: "true or false", str: "text"}
    kinds |= {int: "a number", float: "a number", bytes: "bytes", type(None): "null"}
    kind = kinds.get(type(value), f"a {type(value).__name__}")
    return "a list of not only strings" if kind == "a list" and value else kind
