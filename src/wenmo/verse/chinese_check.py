"""Judges Chinese poems by tone patterns and rhymes.

A poem is valid if one of the patterns accepts it. A character with two tones has either, one that
the rhyme book lacks has any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from wenmo.verse.chinese_text import fit_lines, length_faults
from wenmo.verse.form import Verdict
from wenmo.verse.patterns import BREAKS, EITHER, LOOSE, MENDS, REPEATS, Line, Pattern, Variant
from wenmo.verse.rhyme_books import RhymeBook


class Rules(NamedTuple):
    """What a poem is judged by.

    Attributes:
        patterns: of which one must accept it.
        faults: tone patterns that have a name, for messages.
        book: tones and rhymes.
        loose_first_rhyme: the first line may rhyme with a neighbouring group.
        no_shared_characters: no character stands in the poem twice.
        links_lines: second characters are equal or opposed from line to line (粘, 对), which names
            a fault of the order of lines.
    """

    patterns: tuple[Pattern, ...]
    faults: Mapping[str, str]
    book: RhymeBook
    loose_first_rhyme: bool = False
    no_shared_characters: bool = False
    links_lines: bool = False


def check_poem(text: str, rules: Rules) -> Verdict:
    """Judge a poem."""
    lengths = {pattern.lengths for pattern in rules.patterns}
    fitting = [each for each in lengths if fit_lines(text, each) is not None]
    if not fitting:
        return Verdict(False, length_faults(text, min(lengths)))
    poem = fit_lines(text, fitting[0]) or []
    patterns = [each for each in rules.patterns if each.lengths == fitting[0]]
    unknown = _unknown(poem, rules.book)
    judged = [_judge(poem, pattern, rules) for pattern in patterns]
    best = min(judged, key=lambda each: (len(each.reasons), len(each.warnings)))
    if best.valid:
        return Verdict(True, [], best.warnings + unknown)
    return Verdict(False, _explain(poem, patterns, rules) or best.reasons, unknown)


def _judge(poem: Sequence[str], pattern: Pattern, rules: Rules) -> Verdict:
    """Judge a poem by one pattern."""
    reasons: list[str] = []
    warnings: list[str] = []
    for number, variants in enumerate(_choose_variants(poem, pattern, rules.book)):
        if not variants:
            line = pattern.lines[number]
            reasons += _tone_faults(number, poem[number], line.variants, rules)
        elif all(each.mark == BREAKS for each in variants):
            if not _is_mended(poem, pattern, number + 1, rules.book):
                reasons.append(f"line {number + 1}: 拗, and the next line has no 救")
        elif all(each.mark == LOOSE for each in variants):
            warnings.append(f"line {number + 1}: {variants[0].tones} is accepted by loose rules")
    reasons += _repetition_faults(poem, pattern)
    rhyme_reasons, rhyme_warnings = _judge_rhymes(poem, pattern, rules)
    reasons += rhyme_reasons
    return Verdict(not reasons, reasons, warnings + rhyme_warnings)


def _choose_variants(
    poem: Sequence[str], pattern: Pattern, book: RhymeBook
) -> Iterator[list[Variant]]:
    """The variants that each line has, strict ones first; none: a fault of its tones."""
    for line, rule in zip(poem, pattern.lines, strict=True):
        yield [variant for variant in rule.variants if _fits(line, variant, book)]


def _is_mended(poem: Sequence[str], pattern: Pattern, number: int, book: RhymeBook) -> bool:
    """Whether a line, the one after a line that is 拗, is 救."""
    if number == len(poem):
        return False
    variants = (each for each in pattern.lines[number].variants if each.mark == MENDS)
    return any(_fits(poem[number], each, book) for each in variants)


def _fits(line: str, variant: Variant, book: RhymeBook) -> bool:
    return not _misfits(line, variant.tones, book)


def _misfits(line: str, tones: str, book: RhymeBook) -> list[int]:
    """The indices of the characters that have another tone."""
    return [
        index
        for index, (character, tone) in enumerate(zip(line, tones, strict=True))
        if tone != EITHER and tone not in book.tones(character)
    ]


def _tone_faults(
    number: int, line: str, variants: Sequence[Variant], rules: Rules
) -> Iterator[str]:
    """The faults of a line that has none of the variants, against the nearest."""
    nearest = min(variants, key=lambda each: len(_misfits(line, each.tones, rules.book)))
    named = [
        name
        for name, tones in rules.faults.items()
        if len(tones) == len(line)
        and tones[-1] == nearest.tones[-1]
        and not _misfits(line, tones, rules.book)
    ]
    if named:
        yield f"line {number + 1}: {named[0]}"
        return
    for index in _misfits(line, nearest.tones, rules.book):
        tone = "".join(rules.book.tones(line[index]))
        yield (
            f"line {number + 1}, character {index + 1}: {line[index]} is {tone}, not "
            f"{nearest.tones[index]}"
        )


def _judge_rhymes(
    poem: Sequence[str], pattern: Pattern, rules: Rules
) -> tuple[list[str], list[str]]:
    """Faults and warnings of the rhymes."""
    reasons: list[str] = []
    warnings: list[str] = []
    for letter in dict.fromkeys(line.rhyme for line in pattern.lines if line.rhyme):
        rhyming = {n: line for n, line in enumerate(pattern.lines) if line.rhyme == letter}
        own = {n: line for n, line in rhyming.items() if not line.repeats}
        reasons += _equal_rhymes(poem, own)
        groups = {
            n: rules.book.groups(poem[n][-1], line.last_tone)
            for n, line in own.items()
            if poem[n][-1] in rules.book.readings
        }
        if not groups or frozenset.intersection(*groups.values()):
            continue
        later = [each for n, each in groups.items() if n]
        if rules.loose_first_rhyme and 0 in groups and later:
            common = frozenset.intersection(*later)
            near = [
                (one, other)
                for one in groups[0]
                for other in common
                if rules.book.are_neighbours(one, other)
            ]
            if near:
                warnings.append(
                    f"line 1: {poem[0][-1]} rhymes with a neighbouring group ({near[0][0]}, the "
                    f"others {near[0][1]})"
                )
                continue
        reasons += _other_groups(poem, groups)
    return reasons, warnings


def _equal_rhymes(poem: Sequence[str], rhyming: Mapping[int, Line]) -> Iterator[str]:
    first: dict[str, int] = {}
    for number in rhyming:
        character = poem[number][-1]
        if character in first:
            yield f"line {number + 1}: {character} rhymes with itself in line {first[character]}"
        first.setdefault(character, number + 1)


def _other_groups(poem: Sequence[str], groups: Mapping[int, frozenset[str]]) -> Iterator[str]:
    """The lines that do not rhyme with the group that most lines have."""
    counts = Counter(group for each in groups.values() for group in sorted(each))
    if not counts:
        return
    common = max(counts, key=lambda group: (counts[group], group))
    for number, each in groups.items():
        if common not in each and each:  # a wrong tone is a fault of its own
            own = ", ".join(sorted(each))
            yield f"line {number + 1}: {poem[number][-1]} ({own}) does not rhyme with {common}"


def _repetition_faults(poem: Sequence[str], pattern: Pattern) -> Iterator[str]:
    for number, line in enumerate(pattern.lines):
        if line.variants[0].mark == REPEATS and poem[number] != poem[number - 1]:
            yield f"line {number + 1}: does not repeat line {number}"


def _explain(poem: Sequence[str], patterns: Sequence[Pattern], rules: Rules) -> list[str]:
    """The faults of a poem that no pattern accepts: of each line, then of their order."""
    if len(patterns) < 2:
        return []
    reasons: list[str] = []
    for number, line in enumerate(poem):
        variants = [each for pattern in patterns for each in pattern.lines[number].variants]
        if not any(_fits(line, each, rules.book) for each in variants):
            reasons += _tone_faults(number, line, variants, rules)
    if rules.links_lines:
        reasons += _link_faults(poem, rules.book)
    first_rhymes = len(poem) > 1 and _ends_level(poem[0], rules.book)
    pattern = next((p for p in patterns if bool(p.lines[0].rhyme) == first_rhymes), patterns[0])
    return reasons + _judge_rhymes(poem, pattern, rules)[0]


def _link_faults(poem: Sequence[str], book: RhymeBook) -> Iterator[str]:
    """失对: a couplet whose second characters have one tone; 失粘: couplets that differ in it."""
    for number in range(1, len(poem)):
        before, here = book.tones(poem[number - 1][1]), book.tones(poem[number][1])
        is_couplet = number % 2 == 1
        if is_couplet and before == here and len(here) == 1:
            yield f"line {number + 1}: 失对 with line {number}, character 2"
        if not is_couplet and not before & here:
            yield f"line {number + 1}: 失粘 with line {number}, character 2"


def _ends_level(line: str, book: RhymeBook) -> bool:
    return book.tones(line[-1]) == {"平"}


def _unknown(poem: Sequence[str], book: RhymeBook) -> list[str]:
    missing = dict.fromkeys(each for line in poem for each in line if each not in book.readings)
    if not missing:
        return []
    return [f"not in the rhyme book, any tone is accepted: {' '.join(missing)}"]
