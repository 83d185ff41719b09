"""The order in which a reader expects files: chapter 2 before chapter 10, 第二回 before 第十回."""

from __future__ import annotations

import re
from pathlib import Path

DIGITS = {character: value for value, character in enumerate("〇一二三四五六七八九")}
DIGITS |= {"零": 0, "两": 2}
UNITS = {"十": 10, "百": 100, "千": 1000}
_NUMBER = re.compile(r"(\d+|[〇零一二三四五六七八九十百千两廿卅]+)")


def natural_key(path: Path) -> list[tuple[bool, int, str]]:
    """What to sort paths by: their names, in which numbers count by their value."""
    return [_part(piece) for piece in _NUMBER.split(str(path)) if piece]


def _part(piece: str) -> tuple[bool, int, str]:
    """A number, which stands before other text, or such text."""
    value = int(piece) if piece.isdecimal() else chinese_number(piece)
    return value is None, value or 0, piece


def chinese_number(text: str) -> int | None:
    """The value of 十二, 一百零五 or 二〇二六; ``None``: the text is no number below 10,000."""
    text = text.replace("廿", "二十").replace("卅", "三十")
    if text and all(character in DIGITS for character in text):
        return int("".join(str(DIGITS[character]) for character in text))
    total = digit = 0
    for character in text:
        if character in UNITS:
            total += (digit or 1) * UNITS[character]
            digit = 0
        elif character in DIGITS:
            digit += DIGITS[character]
        else:
            return None
    return total + digit if text else None
