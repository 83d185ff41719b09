"""Parsers of the formats: texts in, rows out. The rules are in ``wenmo.text.readers``."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from wenmo.text.encodings import PIECE, opened, seekable
from wenmo.text.json_values import MAX_CHARACTERS, not_json
from wenmo.types import WenmoError

HINT = "without a header line, choose columns by number: --text-field 1"


class Segment(NamedTuple):
    """An item of a list: a turn with its speaker, or a line or reference without."""

    text: str
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A text with its source and attributes.

    Attributes:
        text: the text; for a list, its items joined by newlines.
        source: source of a pair.
        segments: items of a text that is a list.
        attributes: names and values of the control fields that have a value.
        location: location of the row, for messages.
    """

    text: str
    source: str | None = None
    segments: tuple[Segment, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    location: str = field(default="", compare=False)


@dataclass(slots=True)
class ReadCounts:
    """Counts of one pass over the files.

    Attributes:
        files: files read.
        bytes: their stored size.
        records: records returned.
        missing: records left out, because text or source is missing, or because they give no
            example of the task.
        nuls: NUL characters removed.
        skipped: unreadable files of a folder.
        system_lines: lines of a chat by no speaker, and messages without text, which are left out.
        missing_values: number of cells of each word that means a missing value.
        rows: rows with a message each, including those left out.
        rows_left_out: number of rows by what they lack (``conversation``, ``message`` or
            ``speaker``) and the word in that cell; see ``wenmo.text.conversations``.
        replies: number of conversations by speaker who replies; empty name if every turn after the
            first is a reply.
        speakers: number of conversations by speaker.
    """

    files: int = 0
    bytes: int = 0
    records: int = 0
    missing: int = 0
    nuls: int = 0
    skipped: int = 0
    system_lines: int = 0
    missing_values: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    rows_left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    replies: Counter[str] = field(default_factory=Counter)
    speakers: Counter[str] = field(default_factory=Counter)


# Formats: texts in, rows with their locations out.


def numbered_lines(texts: Iterator[str], location: str) -> Iterator[tuple[int, str]]:
    """Each line without its newline, with its number from 1. Only LF ends a line."""
    number, rest = 0, ""
    for text in texts:
        *lines_, rest = (rest + text).split("\n")
        for line in lines_:
            number += 1
            yield number, line
        if len(rest) > MAX_CHARACTERS:
            advice = "split it into lines, or read plain text as one document"
            raise WenmoError(
                f"{location}:{number + 1}: a line of over {MAX_CHARACTERS} characters; {advice}"
            )
    if rest:
        yield number + 1, rest


def lines_of_text(texts: Iterator[str], location: str) -> Iterator[tuple[str, object]]:
    """The nonblank lines, stripped."""
    for number, line in numbered_lines(texts, location):
        if line := line.strip():
            yield f"{location}:{number}", line


def blocks(texts: Iterator[str], location: str) -> Iterator[tuple[str, object]]:
    """Paragraphs: runs of nonblank lines."""
    block: list[str] = []
    size = 0
    for number, line in itertools.chain(numbered_lines(texts, location), [(0, "")]):
        if line.strip():
            block.append(line)
            size += len(line)
            if size > MAX_CHARACTERS:
                advice = "split it with a blank line, or read it as one document"
                raise WenmoError(
                    f"{location}:{number}: a paragraph of over {MAX_CHARACTERS} "
                    f"characters; {advice}"
                )
        elif block:
            yield location, "\n".join(block)
            block, size = [], 0


def jsonl(texts: Iterator[str], location: str) -> Iterator[tuple[str, object]]:
    """One JSON value per line."""
    for number, line in numbered_lines(texts, location):
        if line.strip():
            try:
                yield f"{location}:{number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise not_json(f"{location}:{number}", error, "line") from None


def parallel(
    sources: Iterator[str], source_location: str, targets: Iterator[str], target_location: str
) -> Iterator[tuple[str, object]]:
    """The lines of two files side by side, as ``source`` and ``target``; blank lines count.

    Raises:
        WenmoError: the numbers of lines differ, which is known only at the end.
    """
    lines = itertools.zip_longest(
        numbered_lines(sources, source_location),
        numbered_lines(targets, target_location),
        fillvalue=(0, None),
    )
    for number, ((_, source), (_, target)) in enumerate(lines, 1):
        if source is None or target is None:
            longer = number + sum(1 for _ in lines)
            counts = (number - 1, longer) if source is None else (longer, number - 1)
            raise WenmoError(
                f"{source_location} has {counts[0]:,} lines and {target_location} has "
                f"{counts[1]:,}: parallel files have the same number (LF or CRLF ends a line); "
                "fix one of them"
            )
        yield f"{source_location}:{number}", {"source": source.strip(), "target": target.strip()}


def table(
    texts: Iterator[str],
    location: str,
    suffix: str,
    fields: list[str],
    note: Callable[[str], object] | None = None,
) -> Iterator[tuple[str, object]]:
    """The rows of CSV or TSV by column name: from the header, or numbers from 1.

    Args:
        note: called with a remark if the separator is guessed; ``None``: no guessing.
    """
    numbered = by_number(fields)
    if numbered and not all(map(_is_number, fields)):
        advice = "numbers and names; choose all columns by number, or all by name"
        raise WenmoError(f"{location}: fields {listed(fields)}: {advice}")
    names: list[str] = []
    for row_location, row in _cells(texts, location, suffix, note):
        if not names:
            names = [str(i) for i in range(1, len(row) + 1)] if numbered else row
            if twice := [name for name in names if names.count(name) > 1]:
                name = listed(twice[:1])
                raise WenmoError(
                    f"{row_location}: two columns are named {name!r}; rename one; {HINT}"
                )
            if not numbered:
                continue
        if len(row) != len(names):
            model = "first row" if numbered else "header"
            advice = f"{len(row)} columns where the {model} has {len(names)}; fix or remove it"
            raise WenmoError(f"{row_location}: a row of {advice}")
        yield row_location, dict(zip(names, row, strict=True))


_DIRECTIVE = re.compile(r"#(separator|html|columns|tags|notetype|deck|guid)\b[a-z ]*:")
"""A header line of Anki's exports."""


def _cells(
    texts: Iterator[str], location: str, suffix: str, note: Callable[[str], object] | None
) -> Iterator[tuple[str, list[str]]]:
    """The nonblank rows of CSV or TSV."""
    csv.field_size_limit(MAX_CHARACTERS)  # a process-wide setting; the default is 128 KiB
    lines = (f"{line}\n" for _, line in numbered_lines(texts, location))
    if suffix == ".csv":
        first = next(lines, "")
        # Spreadsheets use semicolons in locales with a decimal comma.
        semicolons = note is not None and ";" in first and "," not in first
        if note is not None and semicolons:
            note("the first row has semicolons and no comma: read as separated by semicolons")
        reader = csv.reader(
            itertools.chain([first], lines), delimiter=";" if semicolons else ",", strict=True
        )
    else:
        lines_ = ("\n" if _DIRECTIVE.match(line) else line for line in lines)
        reader = csv.reader(lines_, delimiter="\t", quoting=csv.QUOTE_NONE)
    while True:
        row_location = f"{location}:{reader.line_num + 1}"
        try:
            row = next(reader, None)
        except csv.Error as error:
            reason = f"not a valid {suffix[1:].upper()} row: {error}"
            raise WenmoError(f"{row_location}: {reason}; fix it") from None
        if row is None:
            return
        if row:
            yield row_location, row


def parquet(path: Path, location: str, fields: list[str] | None) -> Iterator[tuple[str, object]]:
    """The rows of Parquet; only the columns of the given fields are read, or all."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with opened(path, location) as stream, seekable(stream) as file:
            stored = pyarrow.parquet.ParquetFile(file, buffer_size=PIECE)
            names = stored.schema_arrow.names
            columns_ = [each for field in fields or names for each in split_fields(field, names)]
            columns = [field if field in names else top(field) for field in columns_]
            if not set(columns) <= set(names):
                columns = names
            for batch in stored.iter_batches(batch_size=64, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{location}: row {number}", row
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise WenmoError(f"{location}: not a valid Parquet file: {reason}") from None


# Fields, as users name them.


def by_number(fields: Iterable[str]) -> bool:
    """Whether columns are chosen by number, so that CSV and TSV have no header."""
    return any(map(_is_number, fields))


def _is_number(field: str) -> bool:
    """Whether a field is a column number, or several separated by commas."""
    return re.fullmatch(r"[0-9]+( *, *[0-9]+)*", field) is not None


def split_fields(field: str, names: Container[str]) -> list[str]:
    """The fields in a comma-separated choice, unless a field has that name."""
    return [field] if field in names else [part.strip() for part in field.split(",")]


def top(field: str) -> str:
    """The column of a field that may be nested with dots."""
    return field.partition(".")[0]


def listed(names: Iterable[str]) -> str:
    """Names in one line, each shortened: user-given names can be long."""
    short = [" ".join(name[:40].split()) + "…" * (len(name) > 40) for name in names]
    more = f" and {len(short) - 20} more" if len(short) > 20 else ""
    return ", ".join(short[:20]) + more
