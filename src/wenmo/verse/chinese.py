"""Chinese verse: forms with tone patterns and rhymes (格律诗, 词)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from wenmo.text.automaton import TextAutomaton
from wenmo.types import WenmoError
from wenmo.verse.form import FormFile, Verdict

LEVEL, OBLIQUE, EITHER = "平", "仄", "中"
BREAKS, MENDS, LOOSE, REPEATS = "拗", "救", "宽", "叠"
PARTS = re.compile(r"([平仄中]+)([A-Z]?)([拗救宽叠]?)([，。、；！？]?)")
RhymeBookName = Literal["pingshui", "cilin", "xinyun"]
KEYS = (
    "language",
    "aliases",
    "rhyme_book",
    "loose_first_rhyme",
    "orders",
    "types",
    "faults",
    "pattern",
)


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


class Line(NamedTuple):
    """A line of a pattern: its variants, the punctuation after it, whether a stanza ends."""

    variants: tuple[Variant, ...]
    pause: str
    ends_stanza: bool = False


@dataclass(frozen=True)
class Pattern:
    """The lines of a poem, and how often poems of the form have them.

    Attributes:
        name: line types, such as ``aBbA``; "" for a form with one pattern.
    """

    name: str
    lines: tuple[Line, ...]
    frequency: float = 1.0


@dataclass(frozen=True)
class ChineseForm:
    """A form of Chinese verse.

    Attributes:
        patterns: alternative patterns.
        faults: tone patterns with a name of their own, for messages.
        rhyme_book: the rhyme book that says what rhymes.
        loose_first_rhyme: whether the first line may rhyme with a neighbouring group.
    """

    name: str
    patterns: tuple[Pattern, ...]
    faults: Mapping[str, str]
    rhyme_book: RhymeBookName = "pingshui"
    loose_first_rhyme: bool = False
    language: str = "zh"

    @classmethod
    def read(cls, file: FormFile) -> ChineseForm:
        """Read a form file.

        Raises:
            WenmoError: an error in it.
        """
        file.only(KEYS)
        book = file.get("rhyme_book", str, "pingshui")
        if book not in get_args(RhymeBookName):
            known = ", ".join(get_args(RhymeBookName))
            raise file.error(f"rhyme_book {book!r} is not one of: {known}", key="rhyme_book")
        return cls(
            file.path.stem,
            _read_patterns(file),
            file.get("faults", dict, {}),
            book,
            file.get("loose_first_rhyme", bool, False),
        )

    def check(self, text: str) -> Verdict:
        """Judge a text."""
        raise WenmoError(f"{self.name}: checking is not implemented yet")

    def automaton(
        self,
        alphabet: Collection[str],
        *,
        fixed: Mapping[tuple[int, int], str] | None = None,
        seed: int = 0,
    ) -> TextAutomaton:
        """The texts of the form over an alphabet."""
        raise WenmoError(f"{self.name}: writing is not implemented yet")


def _read_patterns(file: FormFile) -> tuple[Pattern, ...]:
    if "pattern" in file.values:
        return (_read_pattern(file, file.get("pattern", str)),)
    types = {
        name: tuple(_read_variant(file, each)[0] for each in variants)
        for name, variants in file.get("types", dict).items()
    }
    patterns = []
    for order, frequency in file.get("orders", dict).items():
        for index, letter in enumerate(order):
            if letter not in types:
                raise file.error(f"no line type {letter!r} in [types]", value=order, index=index)
        lines = tuple(
            Line(types[letter], "。" if index % 2 else "，") for index, letter in enumerate(order)
        )
        patterns.append(Pattern(order, lines, float(frequency)))
    if not patterns:
        raise file.error("neither 'pattern' nor [orders] with [types]")
    return tuple(patterns)


def _read_pattern(file: FormFile, text: str) -> Pattern:
    """A pattern of one line each, ``中仄仄平平 A。``; an empty line ends a stanza."""
    lines: list[Line] = []
    for row in text.strip("\n").split("\n"):
        if not row.strip():
            lines[-1] = lines[-1]._replace(ends_stanza=True)
            continue
        read = [_read_variant(file, each) for each in row.split("/")]
        if len({len(variant.tones) for variant, _ in read}) > 1:
            raise file.error("the alternatives of a line differ in length", value=row)
        lines.append(Line(tuple(variant for variant, _ in read), read[-1][1]))
    return Pattern("", tuple(lines))


def _read_variant(file: FormFile, text: str) -> tuple[Variant, str]:
    """A variant and its punctuation: ``中仄仄平平 A。``."""
    compact = text.replace(" ", "")
    found = PARTS.fullmatch(compact)
    if not compact:
        raise file.error("a line type has an empty alternative", key="types")
    if not found:
        start = PARTS.match(compact)
        wrong = compact[start.end() if start else 0]
        index = text.rindex(wrong) if text.count(wrong) == 1 else text.index(wrong)
        raise file.error(
            f"{wrong!r} does not belong here: write tones (平 仄 中), then the letter of a rhyme, "
            "then one of 拗 救 宽 叠, then punctuation",
            value=text,
            index=index,
        )
    tones, rhyme, mark, pause = found.groups()
    return Variant(tones, rhyme, mark), pause
