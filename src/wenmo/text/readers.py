"""Records out of any file a user has, streamed: a file of any size is read in constant memory.

What can be read, told by suffix: plain text (``.txt``, and any suffix not known), the text of
Markdown, HTML, Word, EPUB and PDF files, the first sheet of a spreadsheet,
``.jsonl`` and ``.ndjson``, ``.json`` (a list, or values one after the other), ``.csv``, ``.tsv``,
``.parquet``, each of them also gzipped; folders of these; ``-``, plain text on the standard input.

The rules:

- Characters. The encoding is detected (UTF-8, UTF-16, GB18030, Windows-1252, ...) unless given.
  CRLF and CR become LF; in parallel files a CR alone ends no line, and is read as a space. NUL
  characters are removed and counted. A byte that does not belong to the encoding is an error,
  never a silent replacement.
- Missing values. Null, an absent key, an empty list, and text that is empty or only white space
  leave the record out, and ``ReadCounts.missing`` counts it; of a pair, both sides must be there.
- Malformed rows. Broken JSON, a row with too few or too many columns, a number where text is
  expected: an error that names file and line.
- Lists of strings are joined by newlines; a record keeps their items, too. Numbers count as text
  only in a field chosen by name.
- CSV and TSV have a header: the first row names the columns, even where there is only one column. A
  first row of CSV with semicolons and no comma is separated by semicolons; that is told.
  Where a field is chosen by a whole number, there is none: columns are numbered from 1, and the
  first row is a record. TSV knows no quoting: a quotation mark is a character like any other.
- Parallel files are two plain texts: each line of one, without the white space around it, is the
  source of the same line of the other. A blank line keeps its place, and its pair is missing.
- Conversations are lists of turns: strings, or objects that say who speaks (``role``, ``speaker``
  or ``from``) and what (``content``, ``text``, ``value`` or ``utterance``).
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
    Part,
    ReadCounts,
    Record,
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
from wenmo.text.json_values import LONGEST, Json
from wenmo.text.tmx import tmx
from wenmo.types import WenmoError

__all__ = [
    "Part",
    "ReadConfig",
    "ReadCounts",
    "Reader",
    "Record",
    "Source",
    "check_path",
    "has_fields",
]

PLAIN = (".txt", *MARKUP, *DOCUMENTS)
FIELDED = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".tmx", *SHEETS)
BINARY = (".parquet", *DOCUMENTS, *SHEETS)
"""Kinds of files that have no text encoding."""

CHATS = (".whatsapp", ".wechat")
KINDS = {"text": ".txt", "dictionary": ".json"}
"""How a format is known inside, where that is not its name with a dot."""


class Reader:
    """The records of a file, a folder or the standard input; may be iterated more than once.

    Attributes:
        name: what the user calls it.
        files: what is read, in order; the standard input (or a pipe) is a temporary copy, which
            lives as long as the reader does.
        parallel: whether they are two plain texts that are read side by side.
        skipped_files: the number of files of a folder that are not read, by suffix.
        findings: what was found out about the files while they were read, a line each (as keys).
        counts: what the latest pass met; complete once the pass is over.
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
            path: what is read.
            config: how.
            control: the fields whose values become the attributes of a record.
            turns: the text field holds a conversation, a list of turns.
            target: parallel files: ``path`` holds the sources, this file the texts, line by line;
                no fields are chosen then.
            aligned: the number of a line matters, as in parallel files: only LF and CRLF end a
                line, and a CR alone is read as a space.

        Raises:
            WenmoError: the path is missing or holds nothing readable; an unknown encoding; fields
                are asked of plain text.
        """
        self.config = config or ReadConfig()
        self.control, self.turns = control, turns
        self.counts = ReadCounts()
        self._names: dict[Path, str] = {}
        self._kept: list[Source] = []  # temporary copies live as long as the reader
        self._encodings: dict[Path, Encoding] = {}
        self.skipped_files: Counter[str] = Counter()
        self.findings: dict[str, None] = {}
        conversations.refuse_half(self.config, turns)
        check_encoding(self.config.encoding)
        found = self._found(path)
        self.name = self._place(found)
        self.files = self._in_folder(found) if found.is_dir() else [found]
        self._target = None if target is None else self._found(target)
        self.parallel = self._target is not None
        self.aligned = aligned or self.parallel
        if self._target is not None:
            self.files.append(self._target)
            self._check_parallel(found)
            self.config = replace(self.config, text_field="target", source_field="source")
        elif self._fielded and self._kind(self.files[0]) not in (*FIELDED, *CHATS):
            options = "--text-field, --source-field and --control"
            raise WenmoError(
                f"{self.name}: plain text has no fields; leave out {options}, or give "
                f"{_list(FIELDED)}"
            )

    def __iter__(self) -> Iterator[Record]:
        """Every record whole. A plain-text document is one string: see ``pieces`` for large ones.

        Raises:
            WenmoError: see the rules of the module; also where no record at all is left.
        """
        for path in self._pass():
            if self._is_document(path):
                if text := "".join(self._document(path)):
                    yield Record(text)
            else:
                yield from self._records(path)

    def pieces(self) -> Iterator[tuple[str, bool]]:
        """The texts of the records (not their sources), in pieces of about ``PIECE`` characters.

        Pieces are cut anywhere; the flag tells that the record ends with the piece.

        Raises:
            WenmoError: as ``__iter__``.
        """
        for path in self._pass():
            if self._is_document(path):
                held = ""
                for piece in self._document(path):
                    if held:
                        yield held, False
                    held = piece
                if held:
                    yield held, True
            else:
                for record in self._records(path):
                    for start in range(0, len(record.text), PIECE):
                        end = start + PIECE
                        yield record.text[start:end], end >= len(record.text)

    def first_rows(self, count: int) -> tuple[str, str, list[Mapping[str, Any]]] | None:
        """The name, the kind and the first rows of the first file that has fields.

        The columns of CSV and TSV are numbered: their first row may be a header, or a record.

        Returns:
            ``None`` where no file has fields, or the first rows have none.

        Raises:
            WenmoError: a row is malformed.
        """
        for path in self.files:
            kind = self._kind(path)
            if kind in FIELDED:
                kind = _as_table(kind)
                numbered = ["1"] if kind in (".csv", ".tsv") else None
                given = (row for _, row in islice(self._rows(path, numbered), count))
                rows = [row for row in given if isinstance(row, Mapping)]
                return (self._place(path), kind, rows) if rows else None
        return None

    def first_lines(self, count: int) -> list[str]:
        """The first lines of the first file, if it is plain text."""
        path = self.files[0]
        if self._kind(path) in FIELDED:
            return []
        lines = numbered_lines(self._texts(path), self._place(path))
        return [line for _, line in islice(lines, count)]

    @property
    def kinds(self) -> list[str]:
        """What the files are, each kind once, as their suffixes say it."""
        return list(dict.fromkeys(map(self._kind, self.files)))

    @property
    def encodings(self) -> dict[str, Encoding]:
        """The encoding of each text file, by what the user calls the file.

        Raises:
            WenmoError: a file cannot be read, or is not text.
        """
        texts = [path for path in self.files if self._kind(path) not in BINARY]
        return {self._place(path): self._encoding(path) for path in texts}

    @property
    def notes(self) -> list[str]:
        """What the user should know of how the files are read, a line each.

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
            notes.append(f"{_some(names)}: {advice}")
        for path in self.files if self.aligned else []:
            if (line := self._first_cr(path)) is not None:
                notes.append(f"{self._place(path)}:{line}: a carriage return is read as a space")
        stripped = [path for path in self.files if self._is_stripped(path)]
        if stripped:
            marked = _some([self._place(path) for path in stripped])
            notes.append(f"{marked}: markup is removed (markup=keep keeps it)")
        for path in self.files:
            if (kind := self._kind(path)) in SHEETS and (
                others := documents.other_sheets(path, self._place(path), kind)
            ):
                notes.append(f"{self._place(path)}: sheets that are not read: {_some(others)}")
        if self.skipped_files:
            kinds = (_skipped(*each) for each in self.skipped_files.most_common())
            notes.append(f"{self.name}: files that are not read: {', '.join(kinds)}")
        return notes

    @property
    def _fielded(self) -> bool:
        """Whether only what has fields will do."""
        return bool(self.config.fields or self.control or self.turns)

    def _found(self, path: Source) -> Path:
        """A path that can be read more than once."""
        path = rereadable(path)
        found = Path(path)
        self._names[found] = str(path)
        self._kept.append(path)
        return found

    def _check_parallel(self, path: Path) -> None:
        for side in (path, self._target):
            if side is not None and (side.is_dir() or self._kind(side) in FIELDED):
                raise WenmoError(
                    f"{self._place(side)}: parallel files are two plain texts with a line for each "
                    "line; where one file holds both sides, choose its fields and leave out the "
                    "target file"
                )
        if self.control or self.turns:
            raise WenmoError(
                f"{self.name}: parallel files have neither control fields nor turns; leave out "
                f"--control and --task dialogue, or give {_list(FIELDED)}"
            )

    def _in_folder(self, folder: Path) -> list[Path]:
        """The readable files below a folder, sorted; with fields named, only those with fields."""
        kinds = FIELDED if self._fielded else PLAIN + FIELDED
        files = []
        for path in files_below(folder):
            if not path.is_file():  # a pipe, or a link to nothing
                self.skipped_files["not a file"] += 1
            elif (kind := suffix_of(path)) in kinds and documents.is_readable(kind):
                files.append(path)
            else:
                self.skipped_files[kind] += 1
        if not files:
            raise WenmoError(
                f"{folder}: no readable file in this folder (looked for {_list(kinds)})"
            )
        return files

    def _is_document(self, path: Path) -> bool:
        plain = self._target is None and self._kind(path) not in (*FIELDED, *CHATS)
        return plain and self.config.unit == "document"

    def _place(self, path: Path) -> str:
        """What the user calls the file."""
        return self._names.get(path, str(path))

    def _pass(self) -> Iterator[Path]:
        """Go through the files once, with fresh counts; some record must come of it."""
        counts = self.counts = ReadCounts(skipped=self.skipped_files.total())
        for number, path in enumerate(self.files):
            if number == 0 or not self.parallel:  # otherwise it is read beside the first
                yield path
            counts.files += 1
            counts.bytes += path.stat().st_size
        if not counts.records:
            reason = "holds no text" if counts.bytes else "is empty"
            if counts.missing > 1:
                reason += f": in all {counts.missing} records the text or the source is missing"
            elif counts.rows_left_out:
                lacking = conversations.by_lacking(counts.rows_left_out)
                reason += f": {', '.join(conversations.rows_left_out(lacking))}"
            raise WenmoError(f"{self.name}: {reason}; give a file with text in it")

    def _texts(self, path: Path) -> Iterator[str]:
        """The characters of a file, normalised by the rules of the module, piece by piece."""
        place, kind = self._place(path), self._kind(path)
        if kind in DOCUMENTS:
            texts = iter([documents.document_text(path, place, kind)])
        elif self._is_stripped(path):
            texts = iter([documents.strip_markup(self._whole(path), kind)])
        else:
            texts = self._characters(path)
        for text in texts:
            self.counts.nuls += text.count("\0")
            text = text.replace("\r", " ")
            if text := text.replace("\0", ""):
                yield text

    def _characters(self, path: Path) -> Iterator[str]:
        """What the bytes of a text file say, piece by piece."""
        place = self._place(path)
        encoding = self._encoding(path).name
        with opened(path, place) as stream:
            yield from decoded(stream, encoding, place, keep_cr=self.aligned)

    def _whole(self, path: Path) -> str:
        """All the characters of a file with markup.

        Raises:
            WenmoError: there are too many to hold at once.
        """
        parts: list[str] = []
        size = 0
        for text in self._characters(path):
            parts.append(text)
            size += len(text)
            if size > LONGEST:
                raise WenmoError(
                    f"{self._place(path)}: over {LONGEST} characters with markup: part the file, "
                    "or pass markup=keep"
                )
        return "".join(parts)

    def _is_stripped(self, path: Path) -> bool:
        """Whether the markup of a file is removed."""
        return self._kind(path) in MARKUP and self.config.markup == "strip" and not self.aligned

    def _encoding(self, path: Path) -> Encoding:
        """The encoding of a file: the user's, or what its bytes look like."""
        if path not in self._encodings:
            place = self._place(path)
            if self.config.encoding:
                self._encodings[path] = Encoding(self.config.encoding)
            else:
                with opened(path, place) as stream:
                    self._encodings[path] = detect(stream, place)
        return self._encodings[path]

    def _first_cr(self, path: Path) -> int | None:
        """The number of the first line with a carriage return inside."""
        place, line = self._place(path), 1
        with opened(path, place) as stream:
            for text in decoded(stream, self._encoding(path).name, place, keep_cr=True):
                before, found, _ = text.partition("\r")
                line += before.count("\n")
                if found:
                    return line
        return None

    def _document(self, path: Path) -> Iterator[str]:
        """The pieces of a plain-text file, or none where it holds only white space."""
        blank: list[str] | None = []  # what was read before the first visible character
        for text in self._texts(path):
            if blank is None:
                yield text
            elif text.isspace():
                blank.append(text)
                if sum(map(len, blank)) > LONGEST:
                    raise WenmoError(f"{self._place(path)}: begins with {LONGEST} blanks; cut them")
            else:
                yield from blank
                yield text
                blank = None
        self.counts.records += blank is None
        self.counts.missing += blank is not None

    def _records(self, path: Path) -> Iterator[Record]:
        """The records of a file that has several; those with something missing are only counted."""
        place, kind, config = self._place(path), self._kind(path), self.config
        shape = _as_table(kind)
        fields = Fields(config, place, self.counts, shape, self.control, self.turns)
        wanted = fields.chosen if config.text_field or kind != ".parquet" else None
        rows = self._rows(path, wanted)
        if self.turns and (kind in CHATS or conversations.made_of(config)):
            rows, fields = self._conversations(rows, fields, kind)
        for where, row in rows:
            record = fields.pick(row, where)
            if record is None:
                self.counts.missing += 1
            else:
                self.counts.records += 1
                yield record
        fields.check(fields.met)

    def _conversations(
        self, rows: conversations.Rows, fields: Fields, kind: str
    ) -> tuple[conversations.Rows, Fields]:
        """Conversations made of rows that hold a part of one each, and how they are read."""
        plain = replace(
            self.config,
            text_field=conversations.TURNS,
            source_field=None,
            group_field=None,
            speaker_field=None,
        )
        if kind not in CHATS:
            make = conversations.by_group if self.config.group_field else conversations.by_pair
            rows = make(rows, fields, self.config)
        return rows, Fields(plain, fields.place, self.counts, "", self.control, turns=True)

    def _rows(self, path: Path, fields: list[str] | None) -> Iterator[tuple[str, object]]:
        """Where each row stands, for messages, and the row: a string or a mapping.

        Args:
            path: the file.
            fields: the columns that are wanted of a table; ``None``: all.
        """
        place, kind = self._place(path), self._kind(path)
        if kind == ".parquet":
            return parquet(path, place, fields)
        if kind in SHEETS:
            sheet = documents.sheet_texts(path, place, kind)
            return table(sheet, place, ".csv", fields or [])
        texts = self._texts(path)
        if self._target is not None:
            return parallel(texts, place, self._texts(self._target), self._place(self._target))
        if kind in (".jsonl", ".ndjson"):
            return jsonl(texts, place)
        if kind == ".json":
            return self._json(texts, place, fields or [])
        if kind == ".tmx":
            return tmx(texts, place)
        if kind == ".whatsapp" or kind == ".wechat":
            program: Any = kind[1:]
            return chat(texts, place, program, self._leave_out)
        if kind in (".csv", ".tsv"):
            return table(texts, place, kind, fields or [], self._noting(place))
        return lines_of_text(texts, place) if self.config.unit == "line" else blocks(texts, place)

    def _json(
        self, texts: Iterator[str], place: str, fields: list[str]
    ) -> Iterator[tuple[str, object]]:
        values = Json(
            texts,
            place,
            self._noting(place),
            records_key=self.config.records_key,
            dictionary={"dictionary": True, "json": False}.get(self.config.format or ""),
            wanted={top(field) for field in fields},
        )
        return values.values()

    def _noting(self, place: str) -> Callable[[str], None]:
        """What takes notes of a file for the user, each once."""
        return lambda note: self.findings.update({f"{place}: {note}": None})

    def _leave_out(self) -> None:
        self.counts.system_lines += 1

    def _kind(self, path: Path) -> str:
        """What a file is, as a suffix would say it."""
        chosen = self.config.format
        return KINDS.get(chosen, f".{chosen}") if chosen else suffix_of(path)


def _as_table(kind: str) -> str:
    """A spreadsheet is read as CSV."""
    return ".csv" if kind in SHEETS else kind


def has_fields(path: Source) -> bool:
    """Whether fields can be chosen by name in what lies there: not in a plain text."""
    return Path(path).is_dir() or suffix_of(Path(path)) in FIELDED


def for_other_data(config: ReadConfig, *, plain: bool) -> ReadConfig:
    """How other data is read than what a run was trained on.

    Args:
        config: how that was read.
        plain: the data has no fields. Then the run's do not matter; nor do those that were found by
            the lines of a plain text, which say nothing about another file.
    """
    by_lines = config.format in ("tsv", "whatsapp", "wechat")
    return without_fields(config) if plain or by_lines else config


def without_fields(config: ReadConfig) -> ReadConfig:
    """The same way of reading for a text that has no fields."""
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
    """The suffix that tells what a file is, in lower case: packed or not."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _some(names: list[str]) -> str:
    """Names in a line: the first three, and how many more there are."""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _skipped(kind: str, count: int) -> str:
    """How many files of a kind are not read, and how they would be."""
    advice = "" if documents.is_readable(kind) else f" (read with {documents.INSTALL})"
    return f"{count:,} {kind or 'without a suffix'}{advice}"


def _list(kinds: tuple[str, ...]) -> str:
    return ", ".join(kinds)
