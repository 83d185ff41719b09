"""Records out of any file a user has, streamed: a file of any size is read in constant memory.

What can be read, told by suffix: plain text (``.txt``, ``.md``, and any suffix not known),
``.jsonl`` and ``.ndjson``, ``.json`` (a list, or values one after the other), ``.csv``, ``.tsv``,
``.parquet``, each of them also gzipped; folders of these; ``-``, plain text on the standard input.

The rules:

- Characters. The encoding is detected (UTF-8, UTF-16, GB18030, Windows-1252, ...) unless given.
  CRLF and CR become LF. NUL characters are removed and counted. A byte that does not belong to the
  encoding is an error, never a silent replacement.
- Missing values. Null, an absent key, an empty list, and text that is empty or only white space
  leave the record out, and ``ReadCounts.missing`` counts it; of a pair, both sides must be there.
- Malformed rows. Broken JSON, a row with too few or too many columns, a number where text is
  expected: an error that names file and line.
- Lists of strings are joined by newlines. Numbers count as text only in a field chosen by name.
- CSV and TSV have a header: the first row names the columns, even where there is only one column.
  TSV knows no quoting: a quotation mark is a character like any other.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import json
import os
import re
import shutil
import sys
import tempfile
import weakref
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal, cast

from wenmo.config import nearest
from wenmo.types import WenmoError

PIECE = 1 << 20
"""Bytes read at a time, and the most characters in a piece."""

SAMPLE = 1 << 16
"""Bytes on which the encoding is decided."""

LONGEST = 1 << 24
"""The most characters of one line, field or JSON value, so that memory stays bounded."""

TEXT_NAMES = ("text", "content", "sentence", "body", "文本", "内容", "正文")
PLAIN = (".txt", ".md")
FIELDED = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class ReadConfig:
    """How text is read.

    Attributes:
        unit: what one record of plain text is: the whole file, a block between blank lines, or a
            line (without the white space around it).
        text_field: the column or key that holds the text; a dot goes into a nested object.
        source_field: the same for the source of a pair.
        encoding: a name that Python knows, such as ``gb18030``; ``None`` detects it.
    """

    unit: Literal["document", "paragraph", "line"] = "document"
    text_field: str | None = None
    source_field: str | None = None
    encoding: str | None = None


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


class Reader:
    """The records of a file, a folder or the standard input; may be iterated more than once.

    Attributes:
        files: what is read, in order; the standard input (or a pipe) is a temporary copy, which
            lives as long as the reader does.
        counts: what the latest pass met; complete once the pass is over.
    """

    def __init__(self, path: str | Path, config: ReadConfig = ReadConfig()) -> None:
        """Find the files.

        Raises:
            WenmoError: the path is missing or holds nothing readable; an unknown encoding.
        """
        self.config = config
        self.counts = ReadCounts()
        self._name = "standard input" if str(path) == "-" else str(path)
        self._encodings: dict[Path, str] = {}
        self._skipped = 0
        _check_encoding(config.encoding)
        path = Path(path)
        if str(path) == "-":
            path = self._spooled(sys.stdin.buffer)
        elif not os.path.exists(path):
            siblings = [other.name for other in path.parent.glob("*")]
            raise WenmoError(f"{path}: no such file or folder{nearest(path.name, siblings)}")
        elif not path.is_file() and not path.is_dir():  # a pipe
            with path.open("rb") as stream:
                path = self._spooled(stream)
        self._folder = path.is_dir()
        self.files = self._in_folder(path) if self._folder else [path]
        if self._wants_fields() and _kind(self.files[0]) not in FIELDED:
            advice = f"leave out --text-field and --source-field, or give {_list(FIELDED)}"
            raise WenmoError(f"{self._name}: plain text has no fields; {advice}")

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

    def _spooled(self, stream: IO[bytes]) -> Path:
        path = spool(stream)
        weakref.finalize(self, path.unlink, missing_ok=True)
        return path

    def _in_folder(self, folder: Path) -> list[Path]:
        """The readable files below a folder, sorted; with fields named, only those with fields."""
        kinds = FIELDED if self._wants_fields() else PLAIN + FIELDED
        files = []
        for root, folders, names in os.walk(folder, onerror=_unreadable):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for path in (Path(root, name) for name in names if not name.startswith(".")):
                if _kind(path) in kinds and path.is_file():
                    files.append(path)
                else:
                    self._skipped += 1
        if not files:
            raise WenmoError(
                f"{folder}: no readable file in this folder (looked for {_list(kinds)})"
            )
        return sorted(files)

    def _wants_fields(self) -> bool:
        return bool(self.config.text_field or self.config.source_field)

    def _is_document(self, path: Path) -> bool:
        return _kind(path) not in FIELDED and self.config.unit == "document"

    def _place(self, path: Path) -> str:
        """What the user calls the file."""
        return str(path) if self._folder else self._name

    def _pass(self) -> Iterator[Path]:
        """Go through the files once, with fresh counts; some record must come of it."""
        counts = self.counts = ReadCounts(skipped=self._skipped)
        for path in self.files:
            yield path
            counts.files += 1
            counts.bytes += path.stat().st_size
        if not counts.records:
            reason = "holds no text" if counts.bytes else "is empty"
            if counts.missing > 1:
                reason += f": in all {counts.missing} records the text or the source is missing"
            raise WenmoError(f"{self._name}: {reason}; give a file with text in it")

    def _texts(self, path: Path) -> Iterator[str]:
        """The characters of a file, normalised by the rules of the module, piece by piece."""
        place = self._place(path)
        if path not in self._encodings:
            with _opened(path, place) as stream:
                self._encodings[path] = self.config.encoding or _detect(stream, place)
        with _opened(path, place) as stream:
            for text in _decoded(stream, self._encodings[path], place):
                self.counts.nuls += text.count("\0")
                if text := text.replace("\0", ""):
                    yield text

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
        columns = _kind(path) in (".csv", ".tsv", ".parquet")
        fields = _Fields(self.config, self._place(path), self.counts, columns)
        for place, row in self._rows(path):
            record = fields.pick(row, place)
            if record is None:
                self.counts.missing += 1
            else:
                self.counts.records += 1
                yield record
        fields.check(fields.met)

    def _rows(self, path: Path) -> Iterator[tuple[str, object]]:
        """Where each row stands, for messages, and the row: a string or a mapping."""
        place, kind = self._place(path), _kind(path)
        if kind == ".parquet":
            return _parquet(path, place, self.config)
        texts = self._texts(path)
        if kind in (".jsonl", ".ndjson"):
            return _jsonl(texts, place)
        if kind == ".json":
            return _Json(texts, place).values()
        if kind in (".csv", ".tsv"):
            return _table(texts, place, kind)
        return _lines_of_text(texts, place) if self.config.unit == "line" else _blocks(texts, place)


def spool(stream: IO[bytes]) -> Path:
    """Copy what can be read only once to a temporary file, which is the caller's to remove."""
    handle, name = tempfile.mkstemp(prefix="wenmo-")
    try:
        with open(handle, "wb") as file:
            shutil.copyfileobj(stream, file, PIECE)
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _list(kinds: tuple[str, ...]) -> str:
    return ", ".join(kinds)


def _unreadable(error: OSError) -> None:
    raise WenmoError(f"{error.filename}: cannot be read: {error.strerror}")


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


def _lines_of_text(texts: Iterator[str], place: str) -> Iterator[tuple[str, object]]:
    for number, line in _lines(texts, place):
        if line := line.strip():
            yield f"{place}:{number}", line


def _blocks(texts: Iterator[str], place: str) -> Iterator[tuple[str, object]]:
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


def _jsonl(texts: Iterator[str], place: str) -> Iterator[tuple[str, object]]:
    for number, line in _lines(texts, place):
        if line.strip():
            try:
                yield f"{place}:{number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise _not_json(f"{place}:{number}", error, "line") from None


def _not_json(place: str, error: Exception, what: str) -> WenmoError:
    reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    return WenmoError(f"{place}: not valid JSON: {reason}; mend or remove the {what}")


class _Json:
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


def _table(texts: Iterator[str], place: str, kind: str) -> Iterator[tuple[str, object]]:
    csv.field_size_limit(LONGEST)  # one setting for the whole process; the default is 128 KiB
    lines = (f"{line}\n" for _, line in _lines(texts, place))
    if kind == ".csv":
        reader = csv.reader(lines, strict=True)
    else:
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    header: list[str] = []
    while True:
        where = f"{place}:{reader.line_num + 1}"
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise WenmoError(
                f"{where}: not a valid {kind[1:].upper()} row: {error}; mend it"
            ) from None
        if row is None:
            return
        if not header:
            header = row
            twice = sorted({name for name in header if header.count(name) > 1})
            if twice:
                raise WenmoError(f"{where}: two columns are named {twice[0]!r}; rename one")
        elif row:
            if len(row) != len(header):
                advice = f"{len(row)} columns where the header has {len(header)}; mend or remove it"
                raise WenmoError(f"{where}: a row of {advice}")
            yield where, dict(zip(header, row, strict=True))


def _parquet(path: Path, place: str, config: ReadConfig) -> Iterator[tuple[str, object]]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with _opened(path, place) as stream, _seekable(stream) as file:
            table = pyarrow.parquet.ParquetFile(file, buffer_size=PIECE)
            names = table.schema_arrow.names
            wanted = [field for field in (config.text_field, config.source_field) if field]
            columns = [field if field in names else _top(field) for field in wanted]
            if config.text_field is None or not set(columns) <= set(names):
                columns = names
            for batch in table.iter_batches(batch_size=64, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{place}: row {number}", row
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise WenmoError(f"{place}: not a valid Parquet file: {reason}") from None


@contextmanager
def _seekable(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """A Parquet file is read from its end, so a gzipped one is unpacked to a temporary file."""
    if not isinstance(cast(object, stream), gzip.GzipFile):
        yield stream
        return
    with tempfile.TemporaryFile() as file:
        shutil.copyfileobj(stream, file, PIECE)
        file.seek(0)
        yield file


# Fields: rows in, records out.


class _Fields:
    """Finds the text, and the source, in the rows of one file."""

    def __init__(self, config: ReadConfig, place: str, counts: ReadCounts, columns: bool) -> None:
        self.config, self.place, self.counts = config, place, counts
        self.columns = columns  # every row has the same fields
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
            self.first = place, row
            if self.columns:
                self.check(
                    {name for name in self.wanted() if not {name, _top(name)}.isdisjoint(row)}
                )
        self.text = self.text or self.guess(row, place)
        text = self.read(row, self.text, place, chosen=self.config.text_field is not None)
        if source is None:
            return Record(text) if text.strip() else None
        said = self.read(row, source, place, chosen=True)
        return Record(text, said) if text.strip() and said.strip() else None

    def guess(self, row: Mapping[str, object], place: str) -> str:
        """The field that holds the text, told by there being only one, its name, or its type."""
        names = [name for name in row if name != self.config.source_field]
        known = [name for name in names if name in TEXT_NAMES]
        texts = [name for name in names if _is_text(row[name])]
        for candidates in (names, known, texts):
            if len(candidates) == 1:
                return candidates[0]
        advice = f"pass --text-field with one of: {', '.join(names)}"
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
            advice = "name another with --text-field, or mend the row"
            if isinstance(value, Mapping):
                advice = f"name one inside it: {', '.join(f'{field}.{key}' for key in value)}"
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

    def wanted(self) -> list[str]:
        return [name for name in (self.config.text_field, self.config.source_field) if name]

    def check(self, met: set[str]) -> None:
        """A field that no row has is a slip of the user's, not a missing value."""
        for field in self.wanted():
            if self.first and field not in met:
                place, row = self.first
                names = list(_names(row))
                found = f"{nearest(field, names)} (found: {', '.join(names)})"
                raise WenmoError(f"{place}: no field {field!r}{found}")


def _top(field: str) -> str:
    return field.partition(".")[0]


def _names(row: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    for name, value in row.items():
        if isinstance(value, Mapping) and value:
            yield from _names(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def _is_text(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, str) for item in value)
    return isinstance(value, str)


def _is(value: object) -> str:
    kinds: dict[type, str] = {dict: "an object", list: "a list", bool: "true or false", str: "text"}
    kinds |= {int: "a number", float: "a number", bytes: "bytes", type(None): "null"}
    kind = kinds.get(type(value), f"a {type(value).__name__}")
    return "a list of not only strings" if kind == "a list" and value else kind


# Characters: bytes in, texts out.

BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
MAGIC = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF87a": "a GIF image",
    b"GIF89a": "a GIF image",
    b"%PDF-": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or an Office document",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!\x1a": "a RAR archive",
    b"\xfd7zXZ": "an XZ archive",
    b"BZh91AY&SY": "a bzip2 archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"\x7fELF": "a program",
    b"\x93NUMPY": "a NumPy array",
    b"SQLite format 3\0": "an SQLite database",
    b"GGUF\x03\0": "a GGUF model",
    b"PAR1\x15": "a Parquet file without the suffix .parquet",
}
CONTROLS = bytes(set(range(32)) - set(b"\b\t\n\v\f\r\x1a\x1b"))
LEGACY = ("gb18030", "big5", "shift_jis", "euc_jp", "euc_kr", "cp1251", "koi8_r", "cp1252")
FREQUENT = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里"
    "用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实"
)


@contextmanager
def _opened(path: Path, place: str) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked if its first bytes are those of gzip."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=raw) as stream:
                    yield cast(IO[bytes], stream)
            else:
                yield raw
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise WenmoError(f"{place}: the gzip file is damaged or cut off; fetch it again") from None
    except OSError as error:
        reason = error.strerror or str(error).partition("\n")[0]
        raise WenmoError(f"{place}: cannot be read: {reason}") from None


def _decoded(stream: IO[bytes], encoding: str, place: str) -> Iterator[str]:
    """Decode piece by piece; no character, and no CRLF, is parted by the end of a piece."""
    decoder = codecs.getincrementaldecoder(encoding)()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    offset, line, begun = 0, 1, False
    for block in itertools.chain(iter(lambda: stream.read(PIECE), b""), [b""]):
        try:
            text = newlines.decode(decoder.decode(block, final=not block), final=not block)
        except UnicodeDecodeError as error:
            before = error.object[: error.start]  # the object begins with what was kept back before
            line += newlines.decode(before.decode(encoding, "replace"), final=True).count("\n")
            offset += len(block) - len(error.object) + error.start
            advice = "mend the file, or name its encoding (encoding=gb18030, for example)"
            bad = f"byte {offset} (0x{error.object[error.start]:02x}) is not valid {encoding}"
            raise WenmoError(f"{place}:{line}: {bad}; {advice}") from None
        except UnicodeError as error:
            raise WenmoError(
                f"{place}: not valid {encoding}: {error}; leave out encoding="
            ) from None
        offset += len(block)
        line += text.count("\n")
        if text and not begun:
            text, begun = text.removeprefix("\ufeff"), True
        yield text


def _check_encoding(encoding: str | None) -> None:
    try:
        "".encode(encoding or "utf-8")
    except (LookupError, ValueError):
        advice = "use a name such as utf-8, gb18030, big5 or cp1252, or leave it out"
        raise WenmoError(f"encoding={encoding}: no such text encoding; {advice}") from None


def _detect(stream: IO[bytes], place: str) -> str:
    """The encoding of a file, decided where its first bytes outside ASCII stand.

    Raises:
        WenmoError: the file is not text.
    """
    block = stream.read(SAMPLE)
    for mark, encoding in BOMS.items():
        if block.startswith(mark):
            return encoding
    _refuse_binary_magic(block, place)
    if unmarked := _utf16(block):
        return unmarked
    nuls, controls = block.count(0), sum(map(block.count, CONTROLS))
    if nuls > 0.3 * len(block) or controls - nuls > 0.02 * len(block):
        raise WenmoError(f"{place}: a binary file, not text; give a text file, or its encoding")
    while block.isascii():
        if not block:
            return "utf-8"
        block = stream.read(SAMPLE)
    rest = stream.read(SAMPLE)
    block += rest
    whole = len(rest) < SAMPLE
    utf8 = _beyond_ascii(block, "utf-8", whole)
    if 2 * utf8.count("\ufffd") < len(utf8):  # a bad byte here and there is an error to report
        return "utf-8"
    return _legacy(block, whole)


def _refuse_binary_magic(head: bytes, place: str) -> None:
    """Know a file by its first bytes; safetensors begin with the length of their JSON header."""
    kinds = [kind for magic, kind in MAGIC.items() if head.startswith(magic)]
    if head[4:9] == b"\0\0\0\0{":
        kinds.append("a safetensors file")
    if kinds:
        known = _list(PLAIN + FIELDED)
        raise WenmoError(f"{place}: {kinds[0]}, not text; save its text as one of {known}")


def _beyond_ascii(block: bytes, encoding: str, whole: bool) -> str:
    """The characters outside ASCII, a bad byte as U+FFFD; unless whole, the last one may be cut."""
    text = codecs.getincrementaldecoder(encoding)("replace").decode(block, whole)
    return re.sub(r"[\x00-\x7f]+", "", text)


def _utf16(block: bytes) -> str | None:
    """UTF-16 without its mark: there are NUL bytes, and plausible text if read in one order."""
    if 0 not in block:
        return None
    shares = {}
    for encoding in ("utf-16-le", "utf-16-be"):
        text = codecs.getincrementaldecoder(encoding)("replace").decode(block)
        likely = sum(map(_likely, text))
        shares[likely / max(len(text), 1)] = encoding
    return shares[max(shares)] if max(shares) > 0.7 else None


def _likely(c: str) -> bool:
    return c in "\n\r\t" or " " <= c <= "~" or (c.isalpha() and c < "\u0500") or c in _common()


def _legacy(block: bytes, whole: bool) -> str:
    """Choose among the encodings from before Unicode, by how plausible the text would be.

    Chinese read as Chinese is mostly of the common characters; Latin letters read as Chinese are
    rare ones. What neither settles (Korean, Japanese, Russian) is left to charset-normalizer.
    """
    chinese = _beyond_ascii(block, "gb18030", whole)
    common = sum(c in _common() for c in chinese) / len(chinese)
    if common > 0.5 and sum(c in FREQUENT for c in chinese) > 0.1 * len(chinese):
        return "gb18030"
    runs = re.findall(rb"[\x80-\xff]+", block)
    if common < 0.2 and sum(map(len, runs)) < 2 * len(runs):  # accents stand alone
        return "cp1252"
    from charset_normalizer import from_bytes

    lines = block[: block.rfind(b"\n") + 1] or block
    best = from_bytes(lines, cp_isolation=list(LEGACY)).best()
    if best is not None:
        return best.encoding
    return "gb18030" if common > 0.5 else "cp1252"


@cache
def _common() -> frozenset[str]:
    """GB 2312's 3,755 common characters (rows 16 to 55), punctuation and full-width forms."""
    rows = [0xA1, 0xA3, *range(0xB0, 0xD8)]
    pairs = (bytes((row, cell)) for row in rows for cell in range(0xA1, 0xFF))
    return frozenset("".join(pair.decode("gb2312", "ignore") for pair in pairs))
