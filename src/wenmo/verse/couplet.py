"""Couplets (对联): two lines of one length whose tones are opposed.

The second, fourth, ... and the last characters are opposed in tone; the first line ends with 仄,
the second with 平; no character stands in both lines. Words at the same place should be of one
class: where they are not, by the tags of a dictionary of modern Chinese, this is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wenmo.verse.chinese_text import chunks_of
from wenmo.verse.form import Verdict
from wenmo.verse.patterns import EITHER, Line, Pattern, Variant
from wenmo.verse.rhyme_books import LEVEL, OBLIQUE, RhymeBook

OPPOSED = {LEVEL: OBLIQUE, OBLIQUE: LEVEL, EITHER: EITHER}


def check_couplet(text: str, book: RhymeBook) -> Verdict:
    """Judge a couplet of any length."""
    chunks = chunks_of(text)
    if len(chunks) == 1 and len(chunks[0].characters) % 2 == 0:
        half = len(chunks[0].characters) // 2
        lines = [chunks[0].characters[:half], chunks[0].characters[half:]]
    else:
        lines = [chunk.characters for chunk in chunks]
    if len(lines) != 2:
        return Verdict(False, [f"{len(lines)} lines, not 2"])
    if len(lines[0]) != len(lines[1]):
        return Verdict(False, [f"line 2: {len(lines[1])} characters, not {len(lines[0])}"])
    reasons = [*_tone_faults(lines, book), *_shared(lines)]
    return Verdict(not reasons, reasons, list(_class_warnings(lines)))


def answer_to(first: str, book: RhymeBook) -> Pattern:
    """The pattern of a couplet whose first line is given."""
    tones = ["".join(book.tones(each)) for each in first]
    wanted = [
        OPPOSED.get(each, EITHER) if n in _keys(first) else EITHER for n, each in enumerate(tones)
    ]
    wanted[-1] = LEVEL
    lines = (EITHER * (len(first) - 1) + OBLIQUE, "".join(wanted))
    return Pattern(
        "", tuple(Line((Variant(each),), end) for each, end in zip(lines, "，。", strict=True))
    )


def _keys(line: str) -> set[int]:
    """The indices whose tones are opposed."""
    return {*range(1, len(line), 2), len(line) - 1}


def _tone_faults(lines: Sequence[str], book: RhymeBook) -> Iterator[str]:
    for number, (line, tone) in enumerate(zip(lines, (OBLIQUE, LEVEL), strict=True), start=1):
        if tone not in book.tones(line[-1]):
            yield f"line {number}, character {len(line)}: {line[-1]} is not {tone}"
    for index in sorted(_keys(lines[0]) - {len(lines[0]) - 1}):
        first, second = (book.tones(line[index]) for line in lines)
        if len(first) == 1 and first == second:
            yield (
                f"line 2, character {index + 1}: {lines[1][index]} is {''.join(second)} as "
                f"{lines[0][index]} above it"
            )


def _shared(lines: Sequence[str]) -> Iterator[str]:
    for character in dict.fromkeys(lines[1]):
        if character in lines[0]:
            index = lines[1].index(character)
            yield f"line 2, character {index + 1}: {character} is in line 1, too"


def _class_warnings(lines: Sequence[str]) -> Iterator[str]:
    """Words at the same place of different classes."""
    first, second = (dict(_words(line)) for line in lines)
    for place, (word, tag) in first.items():
        other, other_tag = second.get(place, ("", tag))
        if other_tag[0] != tag[0]:
            yield f"characters {place[0] + 1}-{place[1]}: {word} ({tag}) and {other} ({other_tag})"


def _words(line: str) -> Iterator[tuple[tuple[int, int], tuple[str, str]]]:
    import rjieba  # loads its dictionary

    start = 0
    for word, tag in rjieba.tag(line):
        yield (start, start + len(word)), (word, tag)
        start += len(word)
