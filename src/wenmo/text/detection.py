"""Which encoding a file has."""

from __future__ import annotations

import codecs
import re
from functools import cache
from typing import IO, NamedTuple

from wenmo.types import WenmoError

SAMPLE = 1 << 16
"""Bytes on which the encoding is decided."""

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


class Encoding(NamedTuple):
    """The encoding of a file.

    Attributes:
        name: as Python knows it.
        guessed: whether it was chosen by how plausible the text is, and may be wrong.
    """

    name: str
    guessed: bool = False


def detect(stream: IO[bytes], place: str) -> Encoding:
    """The encoding of a file, decided where its first bytes outside ASCII stand.

    Raises:
        WenmoError: the file is not text.
    """
    block = stream.read(SAMPLE)
    for mark, encoding in BOMS.items():
        if block.startswith(mark):
            return Encoding(encoding)
    _refuse_binary_magic(block, place)
    if unmarked := _utf16(block):
        return Encoding(unmarked, guessed=True)
    nuls, controls = block.count(0), sum(map(block.count, CONTROLS))
    if nuls > 0.3 * len(block) or controls - nuls > 0.02 * len(block):
        raise WenmoError(f"{place}: a binary file, not text; give text, or pass encoding=NAME")
    while block.isascii():
        if not block:
            return Encoding("utf-8")
        block = stream.read(SAMPLE)
    rest = stream.read(SAMPLE)
    block += rest
    whole = len(rest) < SAMPLE
    utf8 = _beyond_ascii(block, "utf-8", whole)
    if 2 * utf8.count("\ufffd") < len(utf8):  # a bad byte here and there is an error to report
        return Encoding("utf-8")
    return Encoding(_legacy(block, whole), guessed=True)


def _refuse_binary_magic(head: bytes, place: str) -> None:
    """Know a file by its first bytes; safetensors begin with the length of their JSON header."""
    kinds = [kind for magic, kind in MAGIC.items() if head.startswith(magic)]
    if head[4:9] == b"\0\0\0\0{":
        kinds.append("a safetensors file")
    if kinds:
        advice = "give a file of plain text, JSON, CSV, TSV or Parquet"
        raise WenmoError(f"{place}: {kinds[0]}, not text; {advice}")


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
