"""What a plain text really is, told by its first lines: a table, or a chat that was exported."""

from __future__ import annotations

import re
from collections.abc import Sequence

from wenmo.text.chat_exports import is_wechat, is_whatsapp
from wenmo.text.field_names import language_of
from wenmo.text.formats import Format

FEWEST_LINES = 2
ATTRIBUTION = re.compile(r"(CC[- ]BY|CC0|tatoeba\.org)")
_HAN = re.compile(r"[㐀-鿿]")
_SENTENCE = re.compile(r"[.,!?;:…。，、！？；：\"“”()（）]")
LONGEST_NAME = 30
LONGEST_HAN_NAME = 4


def sniff(lines: Sequence[str]) -> Format | None:
    """What the lines of a plain text look like; ``None``: just text."""
    said = [line for line in lines if line.strip()]
    if is_whatsapp(said):
        return "whatsapp"
    if is_wechat(said):
        return "wechat"
    rows = [line for line in said if not line.startswith("#")]
    tabs = {line.count("\t") for line in rows}
    return "tsv" if len(rows) >= FEWEST_LINES and len(tabs) == 1 and min(tabs) > 0 else None


def text_columns(rows: Sequence[Sequence[str]]) -> list[int]:
    """The columns, from 0, that hold text: not numbers, nor whom the text is owed to."""
    chosen = []
    for number, cells in enumerate(zip(*rows, strict=False)):
        filled = [cell.strip() for cell in cells if cell.strip()]
        numbers = all(re.fullmatch(r"[-+\d.,:/ ]+", cell) for cell in filled)
        owed = 2 * sum(bool(ATTRIBUTION.search(cell)) for cell in filled) > len(filled)
        if filled and not numbers and not owed:
            chosen.append(number)
    return chosen


def header(rows: Sequence[Sequence[str]]) -> bool | None:
    """Whether the first row of a table names the columns; ``None``: it cannot be told."""
    first, rest = rows[0], rows[1:]
    if not all(map(_is_name, first)):
        return False
    for name, *cells in zip(first, *rest, strict=False):
        chinese = 2 * sum(bool(_HAN.search(cell)) for cell in cells) > len(cells)
        if chinese and not _HAN.search(name):
            return True
    return True if all(map(language_of, first)) else None


def _is_name(cell: str) -> bool:
    """Whether a cell may be the name of a column: a few words, without punctuation."""
    name = cell.strip()
    if not name or _SENTENCE.search(name) or any(map(str.isdecimal, name.split())):
        return False
    if _HAN.search(name):
        return len(name) <= LONGEST_HAN_NAME
    return len(name) <= LONGEST_NAME and len(name.split()) <= 3
