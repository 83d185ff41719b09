"""Readers of records from data files, streamed in constant memory.

Formats by suffix: plain text (``.txt``, and any unknown suffix), the text of Markdown, HTML, Word,
EPUB and PDF files, the first sheet of a spreadsheet, ``.jsonl`` and ``.ndjson``, ``.json`` (a list,
or concatenated values), ``.csv``, ``.tsv``, ``.parquet``, each of them also gzipped; folders of
these; ``-``, plain text on standard input.

Rules:

- Characters. The encoding is detected (UTF-8, UTF-16, GB18030, Windows-1252, ...) unless given.
  CRLF and CR become LF; in parallel files a CR alone ends no line, and is read as a space. NUL
  characters are removed and counted. An invalid byte is an error, never replaced silently.
- Missing values. A record is left out, and counted in ``ReadCounts.missing``, if its text is null,
  an absent key, an empty list, empty, or only white space; for pairs, if either side is.
- Malformed rows. Broken JSON, a wrong number of columns, or a number instead of text is an error
  that names file and line.
- Lists of strings are joined by newlines; a record also keeps their items. Numbers count as text
  only in a field chosen by name.
- CSV and TSV have a header: the first row names the columns, even if there is only one. A CSV file
  whose first row has semicolons and no comma is separated by semicolons; a note says so. If a field
  is chosen by an integer there is no header: columns are numbered from 1, and the first row is a
  record. TSV has no quoting: a quotation mark is an ordinary character.
- Parallel files are two plain texts: each line of one, stripped, is the source of the same line of
  the other. A blank line counts as a line, and its pair is missing.
- Conversations are lists of turns: strings, or objects with a speaker (``role``, ``speaker`` or
  ``from``) and a text (``content``, ``text``, ``value`` or ``utterance``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from wenmo.text import conversations, documents
from wenmo.text.chat_exports import chat
from wenmo.text.config import ReadConfig
from wenmo.text.detection import Encoding, detect
from wenmo.text.documents import DOCUMENTS, MARKUP, SHEETS
from wenmo.text.encodings import PIECE, check_encoding, decoded, opened
from wenmo.text.fields import Fields
from wenmo.text.formats import (
    ReadCounts,
    Record,
    Segment,
    blocks,
    jsonl,
    lines_of_text,
    numbered_lines,
    parallel,
    parquet,
    table,
    top,
)
from wenmo.text.inputs import Source, check_path, files_below, rereadable
from wenmo.text.json_values import MAX_CHARACTERS, Json
from wenmo.text.tmx import tmx
from wenmo.types import WenmoError

__all__ = [
    "ReadConfig",
    "ReadCounts",
    "Reader",
    "Record",
    "Segment",
    "Source",
    "check_path",
    "has_fields",
]

PLAIN_SUFFIXES = (".txt", *MARKUP, *DOCUMENTS)
STRUCTURED = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".tmx", *SHEETS)
BINARY_SUFFIXES = (".parquet", *DOCUMENTS, *SHEETS)
"""Suffixes of files without a text encoding."""

CHAT_SUFFIXES = (".whatsapp", ".wechat")
FORMAT_SUFFIXES = {"text": ".txt", "dictionary": ".json"}
"""The suffix of a format, where it is not the name with a dot."""


class Reader:
    """The records of a file, a folder or standard input; can be iterated repeatedly.

    Attributes:
        name: the path as the user gave it.
        files: the files, in order; standard input or a pipe is a temporary copy, removed with the
            reader.
        parallel: whether they are two plain texts that are read side by side.
        skipped_files: number of unread files of a folder, by suffix.
        findings: notes made while reading, one per line (as keys).
        counts: counts of the latest pass; complete when the pass ends.
    """

    def __init__(
        self,
        path: Source,
        config: ReadConfig | None = None,
        *,
        control: tuple[str, ...] = (),
        turns: bool = False,
        target: Source | None = None,
        aligned: bool = False,
    ) -> None:
        """Find the files.

        Args:
            path: file, folder or ``-``.
            config: settings of reading (default: `ReadConfig`).
            control: fields whose values become the attributes of a record.
            turns: whether the text field contains a conversation, a list of turns (default False).
            target: for parallel files, the file with the targets; ``path`` has the sources, and no
                fields are chosen.
            aligned: whether line numbers matter, as in parallel files: only LF and CRLF end a line,
                and a CR alone is read as a space (default False).

        Raises:
            WenmoError: the path does not exist or has no readable file; the encoding is unknown; or
                fields of plain text are requested.
        """
        self.config = config or ReadConfig()
        self.control, self.turns = control, turns
        self.counts = ReadCounts()
        self._names: dict[Path, str] = {}
        self._sources: list[Source] = []  # temporary copies live as long as the reader
        self._encodings: dict[Path, Encoding] = {}
        self.skipped_files: Counter[str] = Counter()
        self.findings: dict[str, None] = {}
        conversations.check_options(self.config, turns)
        check_encoding(self.config.encoding)
        found = self._rereadable(path)
        self.name = self._display_name(found)
        self.files = self._files_in(found) if found.is_dir() else [found]
        self._target = None if target is None else self._rereadable(target)
        self.parallel = self._target is not None
        self.aligned = aligned or self.parallel
        if self._target is not None:
            self.files.append(self._target)
            self._check_parallel(found)
            self.config = replace(self.config, text_field="target", source_field="source")
        elif self._needs_fields and self._suffix(self.files[0]) not in (
            *STRUCTURED,
            *CHAT_SUFFIXES,
        ):
            options = "--text-field, --source-field and --control"
            raise WenmoError(
                f"{self.name}: plain text has no fields; leave out {options}, or give "
                f"{_list(STRUCTURED)}"
            )

    def __iter__(self) -> Iterator[Record]:
        """Every record. A plain-text document is one string: see ``pieces`` for large ones.

        Raises:
            WenmoError: see the rules of the module; also if there is no record at all.
        """
        for path in self._pass():
            if self._is_document(path):
                if text := "".join(self._document(path)):
                    yield Record(text)
            else:
                yield from self._records(path)

    def pieces(self) -> Iterator[tuple[str, bool]]:
        """The texts of the records (without sources), in pieces of about ``PIECE`` characters, cut
        anywhere, each with whether its record ends with it.

        Raises:
            WenmoError: as ``__iter__``.
        """
        for path in self._pass():
            if self._is_document(path):
                buffer = ""
                for piece in self._document(path):
                    if buffer:
                        yield buffer, False
                    buffer = piece
                if buffer:
                    yield buffer, True
            else:
                for record in self._records(path):
                    for start in range(0, len(record.text), PIECE):
                        end = start + PIECE
                        yield record.text[start:end], end >= len(record.text)

    def first_rows(self, count: int) -> tuple[str, str, list[Mapping[str, Any]]] | None:
        """Name, suffix and first rows of the first file with fields.

        CSV and TSV columns are numbered: the first row can be a header or a record.

        Returns:
            ``None`` if no file has fields, or the first rows have none.

        Raises:
            WenmoError: a row is malformed.
        """
        for path in self.files:
            suffix = self._suffix(path)
            if suffix in STRUCTURED:
                suffix = _as_table(suffix)
                columns = ["1"] if suffix in (".csv", ".tsv") else None
                rows_read = (row for _, row in islice(self._rows(path, columns), count))
                rows = [row for row in rows_read if isinstance(row, Mapping)]
                return (self._display_name(path), suffix, rows) if rows else None
        return None

    def first_lines(self, count: int) -> list[str]:
        """The first lines of the first file, if it is plain text."""
        path = self.files[0]
        if self._suffix(path) in STRUCTURED:
            return []
        lines = numbered_lines(self._texts(path), self._display_name(path))
        return [line for _, line in islice(lines, count)]

    @property
    def suffixes(self) -> list[str]:
        """The suffixes of the files, without duplicates."""
        return list(dict.fromkeys(map(self._suffix, self.files)))

    @property
    def encodings(self) -> dict[str, Encoding]:
        """The encoding of each text file, by its display name.

        Raises:
            WenmoError: a file cannot be read, or is not text.
        """
        texts = [path for path in self.files if self._suffix(path) not in BINARY_SUFFIXES]
        return {self._display_name(path): self._encoding(path) for path in texts}

    @property
    def notes(self) -> list[str]:
        """Remarks on how the files are read, one per line.

        Raises:
            WenmoError: as ``encodings``.
        """
        notes = []
        guesses: dict[str, list[str]] = {}
        for name, encoding in self.encodings.items():
            if encoding.guessed:
                guesses.setdefault(encoding.name, []).append(name)
        for guess, names in guesses.items():
            advice = f"read as {guess}, guessed (--encoding=NAME chooses another)"
            notes.append(f"{_summarize(names)}: {advice}")
        for path in self.files if self.aligned else []:
            if (line := self._first_cr(path)) is not None:
                notes.append(
                    f"{self._display_name(path)}:{line}: a carriage return is read as a space"
                )
        stripped = [path for path in self.files if self._is_stripped(path)]
        if stripped:
            marked = _summarize([self._display_name(path) for path in stripped])
            notes.append(f"{marked}: markup is removed (markup=keep keeps it)")
        for path in self.files:
            if (suffix := self._suffix(path)) in SHEETS and (
                others := documents.other_sheets(path, self._display_name(path), suffix)
            ):
                notes.append(
                    f"{self._display_name(path)}: sheets that are not read: {_summarize(others)}"
                )
        if self.skipped_files:
            suffixes = (_skipped(*each) for each in self.skipped_files.most_common())
            notes.append(f"{self.name}: files that are not read: {', '.join(suffixes)}")
        return notes

    @property
    def _needs_fields(self) -> bool:
        """Whether fields are required."""
        return bool(self.config.fields or self.control or self.turns)

    def _rereadable(self, path: Source) -> Path:
        """The path, or a temporary copy if it can be read only once."""
        path = rereadable(path)
        found = Path(path)
        self._names[found] = str(path)
        self._sources.append(path)
        return found

    def _check_parallel(self, path: Path) -> None:
        for side in (path, self._target):
            if side is not None and (side.is_dir() or self._suffix(side) in STRUCTURED):
                raise WenmoError(
                    f"{self._display_name(side)}: parallel files are two plain texts with "
                    "corresponding lines; if one file has both sides, choose its fields "
                    "and leave out the target file"
                )
        if self.control or self.turns:
            raise WenmoError(
                f"{self.name}: parallel files have neither control fields nor turns; leave out "
                f"--control and --task dialogue, or give {_list(STRUCTURED)}"
            )

    def _files_in(self, folder: Path) -> list[Path]:
        """The readable files below a folder, sorted; only those with fields if fields are
        required.
        """
        suffixes = STRUCTURED if self._needs_fields else PLAIN_SUFFIXES + STRUCTURED
        files = []
        for path in files_below(folder):
            if not path.is_file():  # a pipe, or a link to nothing
                self.skipped_files["not a file"] += 1
            elif (suffix := suffix_of(path)) in suffixes and documents.is_readable(suffix):
                files.append(path)
            else:
                self.skipped_files[suffix] += 1
        if not files:
            raise WenmoError(
                f"{folder}: no readable file in this folder (looked for {_list(suffixes)})"
            )
        return files

    def _is_document(self, path: Path) -> bool:
        plain = self._target is None and self._suffix(path) not in (*STRUCTURED, *CHAT_SUFFIXES)
        return plain and self.config.unit == "document"

    def _display_name(self, path: Path) -> str:
        """The path as the user gave it."""
        return self._names.get(path, str(path))

    def _pass(self) -> Iterator[Path]:
        """Iterate over the files once, with new counts; raise if there is no record."""
        counts = self.counts = ReadCounts(skipped=self.skipped_files.total())
        for number, path in enumerate(self.files):
            if number == 0 or not self.parallel:  # the target file is read beside the first
                yield path
            counts.files += 1
            counts.bytes += path.stat().st_size
        if not counts.records:
            reason = "holds no text" if counts.bytes else "is empty"
            if counts.missing > 1:
                reason += f": in all {counts.missing} records the text or the source is missing"
            elif counts.rows_left_out:
                lacking = conversations.group_by_role(counts.rows_left_out)
                reason += f": {', '.join(conversations.rows_left_out(lacking))}"
            raise WenmoError(f"{self.name}: {reason}; give a file with text in it")

    def _texts(self, path: Path) -> Iterator[str]:
        """The characters of a file, normalized by the rules of the module, in pieces."""
        location, suffix = self._display_name(path), self._suffix(path)
        if suffix in DOCUMENTS:
            texts = iter([documents.document_text(path, location, suffix)])
        elif self._is_stripped(path):
            texts = iter([documents.strip_markup(self._read_all(path), suffix)])
        else:
            texts = self._characters(path)
        for text in texts:
            self.counts.nuls += text.count("\0")
            text = text.replace("\r", " ")
            if text := text.replace("\0", ""):
                yield text

    def _characters(self, path: Path) -> Iterator[str]:
        """The decoded characters of a text file, in pieces."""
        location = self._display_name(path)
        encoding = self._encoding(path).name
        with opened(path, location) as stream:
            yield from decoded(stream, encoding, location, keep_cr=self.aligned)

    def _read_all(self, path: Path) -> str:
        """All characters of a file with markup.

        Raises:
            WenmoError: there are too many to hold in memory.
        """
        pieces: list[str] = []
        size = 0
        for text in self._characters(path):
            pieces.append(text)
            size += len(text)
            if size > MAX_CHARACTERS:
                raise WenmoError(
                    f"{self._display_name(path)}: over {MAX_CHARACTERS} characters with markup: "
                    "split the file, or pass markup=keep"
                )
        return "".join(pieces)

    def _is_stripped(self, path: Path) -> bool:
        """Whether the markup of a file is removed."""
        return self._suffix(path) in MARKUP and self.config.markup == "strip" and not self.aligned

    def _encoding(self, path: Path) -> Encoding:
        """The encoding of a file: configured, or detected."""
        if path not in self._encodings:
            location = self._display_name(path)
            if self.config.encoding:
                self._encodings[path] = Encoding(self.config.encoding)
            else:
                with opened(path, location) as stream:
                    self._encodings[path] = detect(stream, location)
        return self._encodings[path]

    def _first_cr(self, path: Path) -> int | None:
        """The number of the first line with a carriage return inside."""
        location, line = self._display_name(path), 1
        with opened(path, location) as stream:
            for text in decoded(stream, self._encoding(path).name, location, keep_cr=True):
                before, found, _ = text.partition("\r")
                line += before.count("\n")
                if found:
                    return line
        return None

    def _document(self, path: Path) -> Iterator[str]:
        """The pieces of a plain-text file; none if it contains only white space."""
        blank: list[str] | None = []  # white space before the first visible character
        for text in self._texts(path):
            if blank is None:
                yield text
            elif text.isspace():
                blank.append(text)
                if sum(map(len, blank)) > MAX_CHARACTERS:
                    raise WenmoError(
                        f"{self._display_name(path)}: begins with {MAX_CHARACTERS} blanks; cut them"
                    )
            else:
                yield from blank
                yield text
                blank = None
        self.counts.records += blank is None
        self.counts.missing += blank is not None

    def _records(self, path: Path) -> Iterator[Record]:
        """The records of a structured file; incomplete ones are only counted."""
        location, suffix, config = self._display_name(path), self._suffix(path), self.config
        table_suffix = _as_table(suffix)
        fields = Fields(config, location, self.counts, table_suffix, self.control, self.turns)
        columns = fields.chosen if config.text_field or suffix != ".parquet" else None
        rows = self._rows(path, columns)
        if self.turns and (suffix in CHAT_SUFFIXES or conversations.is_row_based(config)):
            rows, fields = self._conversations(rows, fields, suffix)
        for row_location, row in rows:
            record = fields.to_record(row, row_location)
            if record is None:
                self.counts.missing += 1
            else:
                self.counts.records += 1
                yield record
        fields.check_chosen(fields.seen_fields)

    def _conversations(
        self, rows: conversations.Rows, fields: Fields, suffix: str
    ) -> tuple[conversations.Rows, Fields]:
        """Conversations grouped from rows with a message each, and how they are read."""
        plain = replace(
            self.config,
            text_field=conversations.TURNS,
            source_field=None,
            group_field=None,
            speaker_field=None,
        )
        if suffix not in CHAT_SUFFIXES:
            make = (
                conversations.group_messages
                if self.config.group_field
                else conversations.make_pairs
            )
            rows = make(rows, fields, self.config)
        return rows, Fields(plain, fields.location, self.counts, "", self.control, turns=True)

    def _rows(self, path: Path, fields: list[str] | None) -> Iterator[tuple[str, object]]:
        """Location and content of each row: a string or a mapping.

        Args:
            path: the file.
            fields: required columns of a table; ``None``: all.
        """
        location, suffix = self._display_name(path), self._suffix(path)
        if suffix == ".parquet":
            return parquet(path, location, fields)
        if suffix in SHEETS:
            sheet = documents.sheet_texts(path, location, suffix)
            return table(sheet, location, ".csv", fields or [])
        texts = self._texts(path)
        if self._target is not None:
            return parallel(
                texts, location, self._texts(self._target), self._display_name(self._target)
            )
        if suffix in (".jsonl", ".ndjson"):
            return jsonl(texts, location)
        if suffix == ".json":
            return self._json(texts, location, fields or [])
        if suffix == ".tmx":
            return tmx(texts, location)
        if suffix == ".whatsapp" or suffix == ".wechat":
            program: Any = suffix[1:]
            return chat(texts, location, program, self._count_system_line)
        if suffix in (".csv", ".tsv"):
            return table(texts, location, suffix, fields or [], self._note_taker(location))
        return (
            lines_of_text(texts, location)
            if self.config.unit == "line"
            else blocks(texts, location)
        )

    def _json(
        self, texts: Iterator[str], location: str, fields: list[str]
    ) -> Iterator[tuple[str, object]]:
        values = Json(
            texts,
            location,
            self._note_taker(location),
            records_key=self.config.records_key,
            dictionary={"dictionary": True, "json": False}.get(self.config.format or ""),
            chosen_fields={top(field) for field in fields},
        )
        return values.values()

    def _note_taker(self, location: str) -> Callable[[str], None]:
        """A function that adds a note about a file, without duplicates."""
        return lambda note: self.findings.update({f"{location}: {note}": None})

    def _count_system_line(self) -> None:
        self.counts.system_lines += 1

    def _suffix(self, path: Path) -> str:
        """The suffix of a file, or of the configured format."""
        format_ = self.config.format
        return FORMAT_SUFFIXES.get(format_, f".{format_}") if format_ else suffix_of(path)


def _as_table(suffix: str) -> str:
    """Spreadsheets are read as CSV."""
    return ".csv" if suffix in SHEETS else suffix


def has_fields(path: Source) -> bool:
    """Whether fields can be chosen by name, which excludes plain text."""
    return Path(path).is_dir() or suffix_of(Path(path)) in STRUCTURED


def for_other_data(config: ReadConfig, *, plain: bool) -> ReadConfig:
    """Settings for reading other data than the training data.

    Args:
        config: settings for the training data.
        plain: the data has no fields, so that fields are dropped. They are also dropped if the
            format was detected from the lines of a plain text, which says nothing about another
            file.
    """
    by_lines = config.format in ("tsv", "whatsapp", "wechat")
    return without_fields(config) if plain or by_lines else config


def without_fields(config: ReadConfig) -> ReadConfig:
    """The same settings for a text without fields."""
    return replace(
        config,
        text_field=None,
        source_field=None,
        group_field=None,
        speaker_field=None,
        records_key=None,
        format=None,
    )


def suffix_of(path: Path) -> str:
    """The suffix that determines the format, in lower case, without ``.gz``."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _summarize(names: list[str]) -> str:
    """The first three names, and the number of the others."""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _skipped(suffix: str, count: int) -> str:
    """The number of unread files with a suffix, and how to read them."""
    advice = "" if documents.is_readable(suffix) else f" (read with {documents.INSTALL})"
    return f"{count:,} {suffix or 'without a suffix'}{advice}"


def _list(suffixes: tuple[str, ...]) -> str:
    return ", ".join(suffixes)
