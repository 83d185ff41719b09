"""Bytes in, texts out, piece by piece. ``wenmo.text.detection`` finds the encoding."""

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

from wenmo.text import cesu8  # noqa: F401 - makes the encoding known
from wenmo.types import WenmoError

PIECE = 1 << 20
"""Bytes read at a time, and the most characters in a piece."""


@contextmanager
def opened(path: Path, place: str) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked if its first bytes are those of gzip.

    Args:
        path: the file.
        place: what the user calls it, for messages.

    Raises:
        WenmoError: the file cannot be read, or its compressed data is damaged.
    """
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


@contextmanager
def seekable(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """A Parquet file is read from its end, so a gzipped one is unpacked to a temporary file."""
    if not isinstance(cast(object, stream), gzip.GzipFile):
        yield stream
        return
    with tempfile.TemporaryFile() as file:
        shutil.copyfileobj(stream, file, PIECE)
        file.seek(0)
        yield file


class Crlf:
    """Makes CRLF an LF, piece by piece; a CR alone stays."""

    def __init__(self) -> None:
        self._held = ""

    def decode(self, text: str, final: bool = False) -> str:
        text = (self._held + text).replace("\r\n", "\n")
        self._held = "\r" if text.endswith("\r") and not final else ""
        return text.removesuffix(self._held)


def decoded(
    stream: IO[bytes], encoding: str, place: str, *, keep_cr: bool = False
) -> Iterator[str]:
    """Decode piece by piece; no character, and no CRLF, is parted by the end of a piece.

    CRLF becomes LF, and so does CR alone unless it is kept; the byte order mark is dropped.

    Raises:
        WenmoError: a byte does not belong to the encoding; names its line and its offset.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    newlines = Crlf() if keep_cr else io.IncrementalNewlineDecoder(None, translate=True)
    offset, line, begun = 0, 1, False
    for block in itertools.chain(iter(lambda: stream.read(PIECE), b""), [b""]):
        try:
            text = newlines.decode(decoder.decode(block, final=not block), final=not block)
        except UnicodeDecodeError as error:
            before = error.object[: error.start]  # the object begins with what was kept back before
            line += newlines.decode(before.decode(encoding, "replace"), final=True).count("\n")
            offset += len(block) - len(error.object) + error.start
            advice = "mend the file, or pass --encoding=NAME (gb18030, for example)"
            bad = f"byte {offset} (0x{error.object[error.start]:02x}) is not valid {encoding}"
            raise WenmoError(f"{place}:{line}: {bad}; {advice}") from None
        except UnicodeError as error:
            advice = "leave out encoding=NAME"
            raise WenmoError(f"{place}: not valid {encoding}: {error}; {advice}") from None
        offset += len(block)
        line += text.count("\n")
        if text and not begun:
            text, begun = text.removeprefix("\ufeff"), True
        yield text


def check_encoding(encoding: str | None) -> None:
    """Refuse a name that is no text encoding's; ``None`` is none given."""
    try:
        "".encode(encoding or "utf-8")
    except (LookupError, ValueError):
        advice = "use a name such as utf-8, gb18030, big5 or cp1252, or leave it out"
        raise WenmoError(f"encoding={encoding}: no such text encoding; {advice}") from None
