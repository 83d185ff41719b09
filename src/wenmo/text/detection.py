"""Detection of text encodings."""

from __future__ import annotations

import codecs
import re
from typing import IO, NamedTuple

from wenmo.text import cesu8
from wenmo.text.plausibility import cost, neighbour_cost
from wenmo.types import WenmoError

SAMPLE = 1 << 16
"""Number of bytes for detecting the encoding."""

BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark is its prefix
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
CONTROLS = bytes(set(range(32)) - set(b"\b\t\n\v\f\r\x1a\x1b\x02\x03\x04\x0f\x11\x16\x1d\x1e\x1f"))
"""Control characters that never occur in text; IRC logs contain those for colours and styles."""
LEGACY = {
    "utf-8": 2.0,
    "gb18030": 4.5,
    "big5": 0.5,
    "cp950": 0.0,
    "big5hkscs": -0.5,
    "shift_jis": 1.0,
    "cp932": 0.5,
    "euc_jp": -1.0,
    "euc_kr": 0.5,
    "cp949": 0.0,
    "utf-16-le": -2.0,
    "utf-16-be": -3.0,
    "cp1252": 3.0,
    "iso8859_15": 0.0,
    "iso8859_2": 0.0,
    "cp1250": 0.5,
    "cp1251": 1.0,
    "koi8_r": 0.5,
    "koi8_u": 0.0,
    "iso8859_5": -1.0,
    "cp1253": 0.5,
    "iso8859_7": 0.0,
    "cp1254": 0.5,
    "cp1255": 0.5,
    "iso8859_8": 0.0,
    "cp1256": 0.0,
    "iso8859_6": -1.0,
    "cp1257": 0.0,
    "iso8859_4": -1.0,
    "cp1258": -1.0,
    "cp874": 0.5,
    "cp866": -2.0,
    "cp850": -3.0,
    "cp852": -3.0,
    "mac_roman": -3.0,
    "mac_cyrillic": -3.0,
}
"""Encodings without a byte order mark, and their log-priors in nats."""

FAMILIES = (
    ("big5", "cp950", "big5hkscs"),
    ("shift_jis", "cp932"),
    ("euc_kr", "cp949"),
    ("koi8_r", "koi8_u"),
)
"""Encodings that differ in a few characters and count as one alternative."""

EVIDENCE = 4_000
"""Number of bytes, in lines with non-ASCII bytes, for choosing an encoding."""

DOUBT = 4.0
"""Minimum advantage in nats of the chosen encoding over one that gives another text."""

PLAUSIBLE = 11.0
"""Maximum cost of text, in nats per character."""

UNLIKELY = 12.5
"""Maximum cost of non-ASCII characters in correctly decoded text, in nats per character."""


class Encoding(NamedTuple):
    """The encoding of a file.

    Attributes:
        name: Python's name of it.
        guessed: whether it was chosen by plausibility of the text, and may be wrong.
    """

    name: str
    guessed: bool = False


def detect(stream: IO[bytes], location: str) -> Encoding:
    """The encoding of a file, decided at its first non-ASCII bytes.

    Raises:
        WenmoError: the file is not text.
    """
    block = stream.read(SAMPLE)
    for mark, encoding in BOMS.items():
        if block.startswith(mark):
            return Encoding(encoding)
    _refuse_binary_magic(block, location)
    nuls, controls = block.count(0), sum(map(block.count, CONTROLS))
    if controls and (unmarked := _utf16(block)):
        return Encoding(unmarked, guessed=True)
    if nuls > 0.3 * len(block) or controls - nuls > 0.02 * len(block):
        raise WenmoError(f"{location}: a binary file, not text; give text, or pass --encoding=NAME")
    while block.isascii():
        if not block:
            return Encoding("utf-8")
        block = stream.read(SAMPLE)
    rest = stream.read(SAMPLE)
    return _choose(block + rest, len(rest) < SAMPLE, location)


def _refuse_binary_magic(head: bytes, location: str) -> None:
    """Refuse files with known magic numbers; safetensors start with the length of a JSON header."""
    names = [name for magic, name in MAGIC.items() if head.startswith(magic)]
    if head[4:9] == b"\0\0\0\0{":
        names.append("a safetensors file")
    if names:
        advice = "give a file of plain text, JSON, CSV, TSV or Parquet"
        raise WenmoError(f"{location}: {names[0]}, not text; {advice}")


def _utf16(block: bytes) -> str | None:
    """UTF-16 without a byte order mark, if the text is plausible in one byte order."""
    costs = {}
    for encoding in ("utf-16-le", "utf-16-be"):
        text = _decode(block[:EVIDENCE], encoding, False)
        costs[cost(text)] = encoding
    least = min(costs)
    plausible = 2 * least < PLAUSIBLE * len(block[:EVIDENCE])
    better = least < cost(_decode(block[:EVIDENCE], "utf-8", False))
    return costs[least] if plausible and better else None


def _choose(block: bytes, is_final: bool, location: str) -> Encoding:
    """UTF-8 if the bytes are valid; otherwise the encoding with the most plausible text.

    Args:
        block: the bytes, some of which are not ASCII.
        is_final: whether they are the end of the file.

    Raises:
        WenmoError: two encodings are about as plausible, and give different texts.
    """
    if _is_valid(block, "utf-8", is_final):
        return Encoding("utf-8")
    if cesu8.PAIR.search(block) and _is_valid(block, "cesu-8", is_final):
        return Encoding("cesu-8", guessed=True)
    ranking = _ranking(block, is_final)
    least, best, text = ranking[0]
    if best == "utf-8":  # with some invalid bytes, which reading reports
        return Encoding(best)
    similar = [entry for entry in ranking[1:] if entry[0] < least + DOUBT and entry[2] != text]
    alternatives = [name for _, name, _ in similar if _family(name) != _family(best)]
    others = re.sub("[\x00-\x7f]+", "", text)
    if alternatives or cost(others) > UNLIKELY * len(others):
        names = " or ".join([best, *alternatives[:3]])
        advice = f"perhaps {names}; pass --encoding=NAME"
        raise WenmoError(f"{location}: the encoding is not clear: {advice}")
    return Encoding(best, guessed=True)


def _ranking(block: bytes, is_final: bool) -> list[tuple[float, str, str]]:
    """Costs, encodings and texts, the most plausible first."""
    lines = [line for line in block.splitlines(keepends=True) if not line.isascii()]
    evidence = b"".join(lines)
    texts = []
    for encoding, prior in LEGACY.items():
        some = block if encoding.startswith("utf-16") else evidence
        text = _decode(some[:EVIDENCE], encoding, is_final and len(some) <= EVIDENCE)
        texts.append((cost(text) - prior, encoding, text))
    ranking: list[tuple[float, str, str]] = []
    for least, encoding, text in sorted(texts):
        if not ranking or least < min(ranking)[0] + DOUBT:  # neighbours only add costs
            ranking.append((least + neighbour_cost(text), encoding, text))
    return sorted(ranking)


def _is_valid(block: bytes, encoding: str, is_final: bool) -> bool:
    """Whether all bytes are valid; unless final, the last character may be incomplete."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(block, is_final)
    except UnicodeDecodeError:
        return False
    return True


def _decode(block: bytes, encoding: str, is_final: bool) -> str:
    """The text, with invalid bytes as U+FFFD; unless final, the last character may be
    incomplete.
    """
    return codecs.getincrementaldecoder(encoding)("replace").decode(block, is_final)


def _family(encoding: str) -> str:
    return next((family[0] for family in FAMILIES if encoding in family), encoding)
