"""Which encoding a file has."""

from __future__ import annotations

import codecs
import re
from typing import IO, NamedTuple

from wenmo.text import cesu8
from wenmo.text.plausibility import cost, neighbour_cost
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
CONTROLS = bytes(set(range(32)) - set(b"\b\t\n\v\f\r\x1a\x1b\x02\x03\x04\x0f\x11\x16\x1d\x1e\x1f"))
"""Control characters that no text holds; logs of IRC hold those that set colours and styles."""
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
"""Encodings that have no mark of their own, and how much likelier (in nats) each is beforehand."""

FAMILIES = (
    ("big5", "cp950", "big5hkscs"),
    ("shift_jis", "cp932"),
    ("euc_kr", "cp949"),
    ("koi8_r", "koi8_u"),
)
"""Encodings that differ in a few characters: they are one answer to what a text is."""

EVIDENCE = 4_000
"""The bytes, of lines with bytes beyond ASCII, on which an encoding is chosen."""

DOUBT = 4.0
"""An encoding is chosen where it is so many nats more plausible than what reads another text."""

PLAUSIBLE = 11.0
"""A text costs fewer nats a character; what is no text costs more."""

UNLIKELY = 12.5
"""Characters beyond ASCII cost fewer nats each in a text that is read right."""


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
    nuls, controls = block.count(0), sum(map(block.count, CONTROLS))
    if controls and (unmarked := _utf16(block)):
        return Encoding(unmarked, guessed=True)
    if nuls > 0.3 * len(block) or controls - nuls > 0.02 * len(block):
        raise WenmoError(f"{place}: a binary file, not text; give text, or pass --encoding=NAME")
    while block.isascii():
        if not block:
            return Encoding("utf-8")
        block = stream.read(SAMPLE)
    rest = stream.read(SAMPLE)
    return _choose(block + rest, len(rest) < SAMPLE, place)


def _refuse_binary_magic(head: bytes, place: str) -> None:
    """Know a file by its first bytes; safetensors begin with the length of their JSON header."""
    kinds = [kind for magic, kind in MAGIC.items() if head.startswith(magic)]
    if head[4:9] == b"\0\0\0\0{":
        kinds.append("a safetensors file")
    if kinds:
        advice = "give a file of plain text, JSON, CSV, TSV or Parquet"
        raise WenmoError(f"{place}: {kinds[0]}, not text; {advice}")


def _utf16(block: bytes) -> str | None:
    """UTF-16 without its mark, where the text is plausible in one order of the bytes."""
    costs = {}
    for encoding in ("utf-16-le", "utf-16-be"):
        text = _decode(block[:EVIDENCE], encoding, False)
        costs[cost(text)] = encoding
    least = min(costs)
    plausible = 2 * least < PLAUSIBLE * len(block[:EVIDENCE])
    better = least < cost(_decode(block[:EVIDENCE], "utf-8", False))
    return costs[least] if plausible and better else None


def _choose(block: bytes, whole: bool, place: str) -> Encoding:
    """UTF-8 where the bytes are valid; otherwise the encoding whose text is the most plausible.

    Args:
        block: the bytes, some of which are beyond ASCII.
        whole: whether the file ends with them.

    Raises:
        WenmoError: two encodings are about as plausible, and read different texts.
    """
    if _is_valid(block, "utf-8", whole):
        return Encoding("utf-8")
    if cesu8.PAIR.search(block) and _is_valid(block, "cesu-8", whole):
        return Encoding("cesu-8", guessed=True)
    ranking = _ranking(block, whole)
    least, best, text = ranking[0]
    if best == "utf-8":  # with a bad byte here and there: reading tells where
        return Encoding(best)
    near = [each for each in ranking[1:] if each[0] < least + DOUBT and each[2] != text]
    rivals = [name for _, name, _ in near if _family(name) != _family(best)]
    others = re.sub("[\x00-\x7f]+", "", text)
    if rivals or cost(others) > UNLIKELY * len(others):
        names = " or ".join([best, *rivals[:3]])
        advice = f"perhaps {names}; pass --encoding=NAME"
        raise WenmoError(f"{place}: the encoding is not clear: {advice}")
    return Encoding(best, guessed=True)


def _ranking(block: bytes, whole: bool) -> list[tuple[float, str, str]]:
    """Costs, encodings and texts, the most plausible first."""
    lines = [line for line in block.splitlines(keepends=True) if not line.isascii()]
    evidence = b"".join(lines)
    texts = []
    for encoding, prior in LEGACY.items():
        some = block if encoding.startswith("utf-16") else evidence
        text = _decode(some[:EVIDENCE], encoding, whole and len(some) <= EVIDENCE)
        texts.append((cost(text) - prior, encoding, text))
    ranking: list[tuple[float, str, str]] = []
    for least, encoding, text in sorted(texts):
        if not ranking or least < min(ranking)[0] + DOUBT:  # neighbours only add to it
            ranking.append((least + neighbour_cost(text), encoding, text))
    return sorted(ranking)


def _is_valid(block: bytes, encoding: str, whole: bool) -> bool:
    """Whether every byte belongs to the encoding; unless whole, the last character may be cut."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(block, whole)
    except UnicodeDecodeError:
        return False
    return True


def _decode(block: bytes, encoding: str, whole: bool) -> str:
    """The text, a bad byte as U+FFFD; unless whole, the last character may be cut."""
    return codecs.getincrementaldecoder(encoding)("replace").decode(block, whole)


def _family(encoding: str) -> str:
    return next((family[0] for family in FAMILIES if encoding in family), encoding)
