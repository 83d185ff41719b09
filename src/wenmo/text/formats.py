"""Texts in, rows out. The rules are told in ``wenmo.text.readers``."""

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
from wenmo.text.json_values import LONGEST, not_json
from wenmo.types import WenmoError

HINT = "without a header line, choose columns by number: --text-field 1"


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
        system_lines: lines of a chat that nobody wrote, and messages without text: left out.
        missing_values: the words that were read as missing, and how many cells held each.
        rows: rows that hold a message each, those that are left out among them.
        rows_left_out: how many rows lack what (``conversation``, ``message`` or ``speaker``), with
            the word that stands for it; see ``wenmo.text.conversations``.
        replies: who replies in a conversation, and in how many: empty where every turn after the
            first is a reply.
        speakers: who speaks, and in how many conversations.
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


# Formats: texts in, rows out, each with its place.


def numbered_lines(texts: Iterator[str], place: str) -> Iterator[tuple[int, str]]:
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
    for number, line in numbered_lines(texts, place):
        if line := line.strip():
            yield f"{place}:{number}", line


def blocks(texts: Iterator[str], place: str) -> Iterator[tuple[str, object]]:
    """Paragraphs: the lines between blank ones."""
    block: list[str] = []
    size = 0
    for number, line in itertools.chain(numbered_lines(texts, place), [(0, "")]):
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
    for number, line in numbered_lines(texts, place):
        if line.strip():
            try:
                yield f"{place}:{number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise not_json(f"{place}:{number}", error, "line") from None


def parallel(
    sources: Iterator[str], source_place: str, targets: Iterator[str], target_place: str
) -> Iterator[tuple[str, object]]:
    """The lines of two files side by side, ``source`` and ``target``; a blank one keeps its place.

    Raises:
        WenmoError: one has more lines than the other, which is known only at the end.
    """
    lines = itertools.zip_longest(
        numbered_lines(sources, source_place),
        numbered_lines(targets, target_place),
        fillvalue=(0, None),
    )
    for number, ((_, source), (_, target)) in enumerate(lines, 1):
        if source is None or target is None:
            longer = number + sum(1 for _ in lines)
            counts = (number - 1, longer) if source is None else (longer, number - 1)
            raise WenmoError(
                f"{source_place} has {counts[0]:,} lines and {target_place} has {counts[1]:,}: "
                "parallel files have the same number (LF or CRLF ends a line); mend one of them"
            )
        yield f"{source_place}:{number}", {"source": source.strip(), "target": target.strip()}


def table(
    texts: Iterator[str],
    place: str,
    kind: str,
    fields: list[str],
    note: Callable[[str], object] | None = None,
) -> Iterator[tuple[str, object]]:
    """The rows of CSV or TSV by the names of their columns: the header's, or numbers from 1.

    Args:
        note: told what is guessed of the separator; ``None``: nothing is guessed.
    """
    numbered = by_number(fields)
    if numbered and not all(map(_is_number, fields)):
        advice = "numbers and names; choose all columns by number, or all by name"
        raise WenmoError(f"{place}: fields {listed(fields)}: {advice}")
    names: list[str] = []
    for where, row in _cells(texts, place, kind, note):
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


_DIRECTIVE = re.compile(r"#(separator|html|columns|tags|notetype|deck|guid)\b[a-z ]*:")
"""A line at the head of what Anki exports."""


def _cells(
    texts: Iterator[str], place: str, kind: str, note: Callable[[str], object] | None
) -> Iterator[tuple[str, list[str]]]:
    """The rows of CSV or TSV that are not blank."""
    csv.field_size_limit(LONGEST)  # one setting for the whole process; the default is 128 KiB
    lines = (f"{line}\n" for _, line in numbered_lines(texts, place))
    if kind == ".csv":
        first = next(lines, "")
        # Spreadsheets write semicolons where the comma is the decimal sign.
        semicolons = note is not None and ";" in first and "," not in first
        if note is not None and semicolons:
            note("the first row has semicolons and no comma: read as separated by semicolons")
        reader = csv.reader(
            itertools.chain([first], lines), delimiter=";" if semicolons else ",", strict=True
        )
    else:
        kept = ("\n" if _DIRECTIVE.match(line) else line for line in lines)
        reader = csv.reader(kept, delimiter="\t", quoting=csv.QUOTE_NONE)
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
            wanted = [each for field in fields or names for each in spread(field, names)]
            columns = [field if field in names else top(field) for field in wanted]
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
    """Whether a field is a column's number, or several numbers with commas between them."""
    return re.fullmatch(r"[0-9]+( *, *[0-9]+)*", field) is not None


def spread(field: str, names: Container[str]) -> list[str]:
    """The fields that a choice names: several have commas between them, unless one is so named."""
    return [field] if field in names else [part.strip() for part in field.split(",")]


def top(field: str) -> str:
    """The column of a field that may go into a nested object."""
    return field.partition(".")[0]


def listed(names: Iterable[str]) -> str:
    """Names on one line: they are the user's, any of them may be a whole sentence, or a page."""
    short = [" ".join(name[:40].split()) + "…" * (len(name) > 40) for name in names]
    more = f" and {len(short) - 20} more" if len(short) > 20 else ""
    return ", ".join(short[:20]) + more
