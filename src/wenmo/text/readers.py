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
  Where a field is chosen by a whole number, there is none: columns are numbered from 1, and the
  first row is a record. TSV knows no quoting: a quotation mark is a character like any other.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from wenmo.config import nearest
from wenmo.text.encodings import PIECE, check_encoding, decoded, detect, opened
from wenmo.text.formats import (
    LONGEST,
    Fields,
    Json,
    ReadConfig,
    ReadCounts,
    Record,
    blocks,
    jsonl,
    lines_of_text,
    parquet,
    table,
)
from wenmo.types import WenmoError

__all__ = ["ReadConfig", "ReadCounts", "Reader", "Record", "has_fields", "spool"]

PLAIN = (".txt", ".md")
FIELDED = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")


class Reader:
    """The records of a file, a folder or the standard input; may be iterated more than once.

    Attributes:
        files: what is read, in order; the standard input (or a pipe) is a temporary copy, which
            lives as long as the reader does.
        counts: what the latest pass met; complete once the pass is over.
    """

    def __init__(self, path: str | Path, config: ReadConfig | None = None) -> None:
        """Find the files.

        Raises:
            WenmoError: the path is missing or holds nothing readable; an unknown encoding.
        """
        self.config = config or ReadConfig()
        self.counts = ReadCounts()
        self._name = "standard input" if str(path) == "-" else str(path)
        self._encodings: dict[Path, str] = {}
        self._skipped = 0
        check_encoding(self.config.encoding)
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
        if self.config.fields and _kind(self.files[0]) not in FIELDED:
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
        kinds = FIELDED if self.config.fields else PLAIN + FIELDED
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
            with opened(path, place) as stream:
                self._encodings[path] = self.config.encoding or detect(stream, place)
        with opened(path, place) as stream:
            for text in decoded(stream, self._encodings[path], place):
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
        fields = Fields(self.config, self._place(path), self.counts, _kind(path))
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
            return parquet(path, place, self.config)
        texts = self._texts(path)
        if kind in (".jsonl", ".ndjson"):
            return jsonl(texts, place)
        if kind == ".json":
            return Json(texts, place).values()
        if kind in (".csv", ".tsv"):
            return table(texts, place, kind, self.config)
        return lines_of_text(texts, place) if self.config.unit == "line" else blocks(texts, place)


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


def has_fields(path: str | Path) -> bool:
    """Whether fields can be chosen by name in what lies there: not in a plain text."""
    return Path(path).is_dir() or _kind(Path(path)) in FIELDED


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _list(kinds: tuple[str, ...]) -> str:
    return ", ".join(kinds)


def _unreadable(error: OSError) -> None:
    raise WenmoError(f"{error.filename}: cannot be read: {error.strerror}")
