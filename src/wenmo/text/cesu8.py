"""CESU-8 (Unicode Technical Report 26), which some databases and Java programs write for UTF-8.

A character beyond U+FFFF is a pair of surrogates, each in three bytes. Importing this module makes
``cesu-8`` an encoding that Python knows.
"""

from __future__ import annotations

import codecs
import re
from typing import Any

PAIR = re.compile(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]")
_BEGUN = re.compile(rb"\xed([\xa0-\xaf]([\x80-\xbf](\xed([\xb0-\xbf])?)?)?)?\Z")


def to_utf8(content: bytes) -> bytes:
    """The same characters in UTF-8."""
    return PAIR.sub(lambda pair: _joined(pair[0]), content)


def _joined(pair: bytes) -> bytes:
    halves = pair.decode("utf-8", "surrogatepass").encode("utf-16-le", "surrogatepass")
    return halves.decode("utf-16-le").encode()


def _decode(content: bytes, errors: str, final: bool) -> tuple[str, int]:
    """The text, and how many bytes of the content it takes: without what is cut at the end."""
    begun = None if final else _BEGUN.search(content)
    whole = content[: begun.start()] if begun else content
    joined = to_utf8(whole)
    try:
        text, taken = codecs.utf_8_decode(joined, errors, final)
    except UnicodeDecodeError as error:
        start = error.start
        for pair in PAIR.finditer(whole):
            start += 2 * (pair.start() < start)
        end = start + error.end - error.start
        raise UnicodeDecodeError("cesu-8", content, start, end, error.reason) from None
    return text, len(whole) - (len(joined) - taken)


class IncrementalDecoder(codecs.BufferedIncrementalDecoder):
    def _buffer_decode(self, content: Any, errors: str, final: bool) -> tuple[str, int]:
        return _decode(bytes(content), errors, final)


def _decode_all(content: Any, errors: str = "strict", /) -> tuple[str, int]:
    return _decode(bytes(content), errors, True)


def _encode(text: str, errors: str = "strict") -> tuple[bytes, int]:
    units = text.encode("utf-16-be", errors)
    halves = (
        units[at : at + 2].decode("utf-16-be", "surrogatepass") for at in range(0, len(units), 2)
    )
    return "".join(halves).encode("utf-8", "surrogatepass"), len(text)


def _find(name: str) -> codecs.CodecInfo | None:
    if name not in ("cesu_8", "cesu8"):
        return None
    return codecs.CodecInfo(
        _encode, _decode_all, incrementaldecoder=IncrementalDecoder, name="cesu-8"
    )


codecs.register(_find)
