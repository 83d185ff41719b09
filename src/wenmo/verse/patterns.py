"""Tone patterns of Chinese verse, and how form files write them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from wenmo.verse.form import FormFile

EITHER = "中"
BREAKS, MENDS, LOOSE, REPEATS = "拗", "救", "宽", "叠"
PARTS = re.compile(r"([平仄中]+)((?:[A-Z](?![平仄中]))?)([拗救宽叠]?)([，。、；！？]?)")


class Variant(NamedTuple):
    """One tone pattern that a line may have.

    Attributes:
        tones: a tone for each character: 平, 仄 or 中 (either).
        rhyme: letter of the rhyme of the last character; "": it does not rhyme.
        mark: 拗 (the next line must be a variant with 救), 救, 宽 (accepted with a warning, never
            written), 叠 (repeats the line before) or "".
    """

    tones: str
    rhyme: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Line:
    """A line of a pattern: its variants, the punctuation after it, whether a stanza ends."""

    variants: tuple[Variant, ...]
    pause: str = ""
    ends_stanza: bool = False

    def __len__(self) -> int:  # the number of characters
        return len(self.variants[0].tones)

    @property
    def rhyme(self) -> str:
        """The letter of its rhyme; "": it does not rhyme."""
        return self.variants[0].rhyme

    @property
    def last_tone(self) -> str:
        """The tone of the last character."""
        return self.variants[0].tones[-1]

    @property
    def repeats(self) -> bool:
        """Whether the line is the one before it once more."""
        return self.variants[0].mark == REPEATS


@dataclass(frozen=True)
class Pattern:
    """The lines of a poem.

    Attributes:
        name: line types, such as ``aBbA``; "" for a form with one pattern.
        frequency: how often poems of the form have it, relative to other patterns.
    """

    name: str
    lines: tuple[Line, ...]
    frequency: float = 1.0

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """The number of characters of each line."""
        return tuple(len(line) for line in self.lines)


def read_patterns(file: FormFile) -> tuple[Pattern, ...]:
    """The patterns of a form file: its key ``pattern``, or its ``orders`` of line ``types``.

    Raises:
        WenmoError: an error in them; the message has the line and the character.
    """
    if "pattern" in file.values:
        return (_read_pattern(file, file.get("pattern", str)),)
    types = {name: _read_type(file, name, each) for name, each in file.get("types", dict).items()}
    patterns = []
    for order, frequency in file.get("orders", dict).items():
        for index, letter in enumerate(order):
            if letter not in types:
                raise file.error(f"no line type {letter!r} in [types]", value=order, index=index)
        if not isinstance(frequency, int | float) or frequency < 0:
            raise file.error(f"{order}: the frequency is not a number from 0 on", value=order)
        lines = [Line(types[each], "。" if n % 2 else "，") for n, each in enumerate(order)]
        patterns.append(Pattern(order, tuple(lines), float(frequency)))
    if not patterns:
        raise file.error("no orders of line types", key="[orders]")
    return tuple(patterns)


def _read_type(file: FormFile, name: str, variants: object) -> tuple[Variant, ...]:
    if not isinstance(variants, list) or not all(isinstance(each, str) for each in variants):
        raise file.error(f"type {name} is not a list of strings", key=f"{name} ")
    if not variants:
        raise file.error(f"type {name} has no tones", key=f"{name} ")
    read = tuple(_read_variant(file, each)[0] for each in variants)
    _check_alike(file, read, variants[0])
    return read


def _read_pattern(file: FormFile, text: str) -> Pattern:
    """A pattern with one line of verse a line; an empty line ends a stanza."""
    lines: list[Line] = []
    for row in text.strip("\n").split("\n"):
        if not row.strip():
            if lines:
                lines[-1] = replace(lines[-1], ends_stanza=True)
            continue
        read = [_read_variant(file, each) for each in row.split("/")]
        variants = tuple(variant for variant, _ in read)
        _check_alike(file, variants, row)
        line = Line(variants, read[-1][1])
        if line.repeats and (not lines or lines[-1].variants[0].tones != variants[0].tones):
            raise file.error("叠 repeats the line before, which has other tones", value=row)
        lines.append(line)
    if not lines:
        raise file.error("pattern: has no lines", key="pattern")
    return Pattern("", tuple(lines))


def _read_variant(file: FormFile, text: str) -> tuple[Variant, str]:
    """A variant and its punctuation: ``中仄仄平平 A。``."""
    compact = text.replace(" ", "")
    if not compact:
        raise file.error("an alternative of a line is empty", value=text, key="types")
    found = PARTS.fullmatch(compact)
    if found is None:
        start = PARTS.match(compact)
        size = start.end() if start else 0
        indices = [index for index, each in enumerate(text) if each != " "]
        raise file.error(
            f"{compact[size]!r} does not belong here: a line has tones (平 仄 中), the letter of "
            "its rhyme, one of 拗 救 宽 叠, and punctuation, in this order, each but the tones if "
            "needed",
            value=text,
            index=indices[size],
        )
    tones, rhyme, mark, pause = found.groups()
    if rhyme and tones[-1] == EITHER:
        raise file.error("a character that rhymes is 平 or 仄, not 中", value=text)
    return Variant(tones, rhyme, mark), pause


def _check_alike(file: FormFile, variants: tuple[Variant, ...], text: str) -> None:
    """What the alternatives of a line must have in common."""
    if len({len(each.tones) for each in variants}) > 1:
        raise file.error("the alternatives of this line differ in length", value=text)
    if len({(each.rhyme, each.rhyme and each.tones[-1]) for each in variants}) > 1:
        raise file.error("the alternatives of this line differ in rhyme", value=text)
    if len({each.mark == REPEATS for each in variants}) > 1:
        raise file.error("叠 holds for all alternatives of a line, or for none", value=text)
    if all(each.mark == LOOSE for each in variants):
        raise file.error("all alternatives of this line are 宽: leave out the mark", value=text)
