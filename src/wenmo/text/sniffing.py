"""Detection of the format of plain text from its first lines: a table, or an exported chat."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from wenmo.text.chat_exports import is_wechat, is_whatsapp
from wenmo.text.config import Format
from wenmo.text.field_names import language_of
from wenmo.text.json_values import FIELD_NAMES

MIN_LINES = 2
ATTRIBUTION = re.compile(r"(CC[- ]BY|CC0|tatoeba\.org)")
_HAN = re.compile(r"[㐀-鿿]")
_SENTENCE = re.compile(r"[.,!?;:…。，、！？；：\"“”()（）]")
MAX_NAME = 30
MAX_HAN_NAME = 4


def sniff(lines: Sequence[str]) -> Format | None:
    """The format that lines look like; ``None``: plain text."""
    filled_lines = [line for line in lines if line.strip()]
    if is_whatsapp(filled_lines):
        return "whatsapp"
    if is_wechat(filled_lines):
        return "wechat"
    rows = [line for line in filled_lines if not line.startswith("#")]
    tabs = {line.count("\t") for line in rows}
    return "tsv" if len(rows) >= MIN_LINES and len(tabs) == 1 and min(tabs) > 0 else None


def is_csv(lines: Sequence[str]) -> bool:
    """Whether lines are CSV with a header: at least two columns, one with a known name, and rows of
    equal length. Prose may have a comma in each line, but no such header.
    """
    try:
        rows = [row for row in csv.reader((f"{line}\n" for line in lines), strict=True) if row]
    except csv.Error:
        return False
    if len(rows) < MIN_LINES or len(rows[0]) < 2 or {len(row) for row in rows} != {len(rows[0])}:
        return False
    names = [name.strip().lower() for name in rows[0]]
    known = any(name in FIELD_NAMES or language_of(name) for name in names)
    return known and len(set(names)) == len(names) and all(map(_is_name, rows[0]))


def text_columns(rows: Sequence[Sequence[str]]) -> list[int]:
    """The indices of columns with text, neither numbers nor attributions."""
    chosen = []
    for number, cells in enumerate(zip(*rows, strict=False)):
        filled = [cell.strip() for cell in cells if cell.strip()]
        numbers = all(re.fullmatch(r"[-+\d.,:/ ]+", cell) for cell in filled)
        is_attribution = 2 * sum(bool(ATTRIBUTION.search(cell)) for cell in filled) > len(filled)
        if filled and not numbers and not is_attribution:
            chosen.append(number)
    return chosen


def header(rows: Sequence[Sequence[str]]) -> bool | None:
    """Whether the first row of a table is a header; ``None``: undecided."""
    first, rest = rows[0], rows[1:]
    if not all(map(_is_name, first)):
        return False
    for name, *cells in zip(first, *rest, strict=False):
        chinese = 2 * sum(bool(_HAN.search(cell)) for cell in cells) > len(cells)
        if chinese and not _HAN.search(name):
            return True
    return True if all(map(language_of, first)) else None


def looks_like_text(first: Sequence[str]) -> bool:
    """Whether the first row of a table contains sentences, not column names."""
    return any(map(_is_sentence, first)) and not any(map(_is_name, first))


def _is_sentence(cell: str) -> bool:
    """Whether a cell is too long for a name, or ends like a sentence; see `_is_name`."""
    text = cell.strip()
    if _HAN.search(text) and len(text) > MAX_HAN_NAME:
        return True
    return text.endswith(tuple(".!?…。！？")) or len(text.split()) > 3


def _is_name(cell: str) -> bool:
    """Whether a cell can be a column name: a few words without punctuation."""
    name = cell.strip()
    if not name or _SENTENCE.search(name) or any(map(str.isdecimal, name.split())):
        return False
    if _HAN.search(name):
        return len(name) <= MAX_HAN_NAME
    return len(name) <= MAX_NAME and len(name.split()) <= 3
