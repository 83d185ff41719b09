"""Decoding of files, in pieces. ``wenmo.text.detection`` detects the encoding."""

from __future__ import annotations

import codecs
import gzip
import io
import itertools
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from wenmo.text import cesu8  # noqa: F401 - registers the encoding
from wenmo.types import WenmoError

PIECE = 1 << 20
"""Bytes read at a time, and maximum number of characters in a piece."""


@contextmanager
def opened(path: Path, location: str) -> Iterator[IO[bytes]]:
    """The bytes of a file, decompressed if it starts with the magic number of gzip.

    Args:
        path: the file.
        location: its name in messages.

    Raises:
        WenmoError: the file cannot be read, or its compressed data is damaged.
    """
    try:
        with path.open("rb") as raw:
            is_gzip = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if is_gzip:
                with gzip.GzipFile(fileobj=raw) as stream:
                    yield cast(IO[bytes], stream)
            else:
                yield raw
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise WenmoError(
            f"{location}: the gzip file is damaged or cut off; fetch it again"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error).partition("\n")[0]
        raise WenmoError(f"{location}: cannot be read: {reason}") from None


@contextmanager
def seekable(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """The stream, or a decompressed temporary copy if it is gzipped: Parquet files are read from
    the end.
    """
    if not isinstance(cast(object, stream), gzip.GzipFile):
        yield stream
        return
    with tempfile.TemporaryFile() as file:
        shutil.copyfileobj(stream, file, PIECE)
        file.seek(0)
        yield file


class Crlf:
    """Converts CRLF to LF incrementally; a CR alone is kept."""

    def __init__(self) -> None:
        self._pending = ""

    def decode(self, text: str, final: bool = False) -> str:
        text = (self._pending + text).replace("\r\n", "\n")
        self._pending = "\r" if text.endswith("\r") and not final else ""
        return text.removesuffix(self._pending)


def decoded(
    stream: IO[bytes], encoding: str, location: str, *, keep_cr: bool = False
) -> Iterator[str]:
    """Decode in pieces; characters and CRLFs are never split between pieces.

    CRLF becomes LF, and so does CR alone unless it is kept; the byte order mark is dropped.

    Raises:
        WenmoError: an invalid byte; names its line and offset.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    newlines = Crlf() if keep_cr else io.IncrementalNewlineDecoder(None, translate=True)
    offset, line, started = 0, 1, False
    for block in itertools.chain(iter(lambda: stream.read(PIECE), b""), [b""]):
        try:
            text = newlines.decode(decoder.decode(block, final=not block), final=not block)
        except UnicodeDecodeError as error:
            before = error.object[: error.start]  # the object starts with bytes of the block before
            line += newlines.decode(before.decode(encoding, "replace"), final=True).count("\n")
            offset += len(block) - len(error.object) + error.start
            advice = "fix the file, or pass --encoding=NAME (gb18030, for example)"
            problem = f"byte {offset} (0x{error.object[error.start]:02x}) is not valid {encoding}"
            raise WenmoError(f"{location}:{line}: {problem}; {advice}") from None
        except UnicodeError as error:
            advice = "leave out encoding=NAME"
            raise WenmoError(f"{location}: not valid {encoding}: {error}; {advice}") from None
        offset += len(block)
        line += text.count("\n")
        if text and not started:
            text, started = text.removeprefix("\ufeff"), True
        yield text


def check_encoding(encoding: str | None) -> None:
    """Raise if a name is not a text encoding; ``None`` is allowed."""
    try:
        "".encode(encoding or "utf-8")
    except (LookupError, ValueError):
        advice = "use a name such as utf-8, gb18030, big5 or cp1252, or leave it out"
        raise WenmoError(f"encoding={encoding}: no such text encoding; {advice}") from None
