"""What can be written of a Chinese form with an alphabet and given characters, and what is drawn.

A seed draws the pattern by its frequency and the rhyme groups by how often poems rhyme with them,
less where the alphabet has few characters of a group. A character that the rhyme book lacks is not
written, and one with two tones only in that of its commonest modern reading.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from wenmo.text.automaton import CharacterSet
from wenmo.types import WenmoError
from wenmo.verse.chinese_check import Rules
from wenmo.verse.chinese_text import is_character
from wenmo.verse.patterns import BREAKS, EITHER, LOOSE, MENDS, Line, Pattern, Variant
from wenmo.verse.rhyme_books import LEVEL, OBLIQUE

FULL_GROUP = 30  # usable characters from which a rhyme group has its full weight
SPARE = 2  # a group is drawn if it has so many times the characters that the form needs


class Plan(NamedTuple):
    """What a seed draws: the number of the pattern, and the group of each rhyme by its letter."""

    pattern: int
    groups: tuple[tuple[str, str], ...]


class PoemPlans:
    """The patterns and rhymes that poems of a form can have.

    Args:
        name: of the form, for messages.
        rules: its patterns and its rhyme book.
        alphabet: the characters that can be written.
        fixed: characters that are given, by line and index; an index of -1 is the last.
        beginning: how the poem begins.

    Attributes:
        fixed: all characters that are given, by line and index.
        by_tone: the characters that are written for 平, 仄 and 中.
        by_group: the characters that rhyme, by tone and group.
        fitting: for each pattern and line, the variants that a poem can have after a line that is
            not 拗, and after one that is.

    Raises:
        WenmoError: no poem over this alphabet has the form and the fixed characters.
    """

    def __init__(
        self,
        name: str,
        rules: Rules,
        alphabet: Collection[str],
        fixed: Mapping[tuple[int, int], str],
        beginning: str = "",
    ) -> None:
        self.name, self.patterns, self.book = name, rules.patterns, rules.book
        self.alphabet = frozenset(alphabet)
        lines = self.patterns[0].lines
        self.fixed = {self._index(at, lines): each for at, each in fixed.items()}
        self._begin_with(beginning, lines)
        self._spread_repeats(lines)
        known = self.alphabet.intersection(self.book.readings)
        self.by_tone = {
            tone: CharacterSet(frozenset(c for c in known if tone in self.book.written_tones(c)))
            for tone in (LEVEL, OBLIQUE)
        }
        self.by_tone[EITHER] = CharacterSet(known)
        self.by_group = self._group_members()
        self.fitting = [self._fit(pattern) for pattern in self.patterns]
        self._rhymes = list(self._possible_rhymes())
        least = min(len(self.by_tone[tone].characters) for tone in (LEVEL, OBLIQUE))
        is_scarce = rules.no_shared_characters and least < sum(self.patterns[0].lengths)
        if is_scarce or all(rhymes is None for rhymes in self._rhymes):
            raise self._impossible(is_scarce)

    def draw(self, seed: int) -> Plan:
        """A pattern and rhymes, drawn by a seed."""
        chance = random.Random(seed)
        numbers = [number for number, rhymes in enumerate(self._rhymes) if rhymes is not None]
        frequencies = [self.patterns[number].frequency or 1e-9 for number in numbers]
        [number] = chance.choices(numbers, frequencies)
        groups: dict[str, str] = {}
        for letter, weights in (self._rhymes[number] or {}).items():
            others = {each: w for each, w in weights.items() if each not in groups.values()}
            choices = others or weights  # another rhyme is another group
            groups[letter] = chance.choices(list(choices), list(choices.values()))[0]
        return Plan(number, tuple(groups.items()))

    def fixed_rhymes(self, letter: str, pattern: int) -> list[str]:
        """The fixed characters that rhyme, without those of repeated lines."""
        lines = enumerate(self._lines(pattern))
        own = [(n, len(each) - 1) for n, each in lines if each.rhyme == letter and not each.repeats]
        return [self.fixed[at] for at in own if at in self.fixed]

    def _lines(self, pattern: int) -> tuple[Line, ...]:
        return self.patterns[pattern].lines

    def _index(self, at: tuple[int, int], lines: tuple[Line, ...]) -> tuple[int, int]:
        """The line and the index of a fixed character, counted from the beginning."""
        line, index = at
        if line >= len(lines):
            raise WenmoError(f"{self.name}: has {len(lines)} lines, not {line + 1}")
        length = len(lines[line])
        if not -length <= index < length:
            raise WenmoError(f"{self.name}: line {line + 1} has {length} characters")
        return line, index % length

    def _begin_with(self, beginning: str, lines: tuple[Line, ...]) -> None:
        """The characters of the beginning are given ones."""
        at, place = 0, 0
        for character in beginning:
            if not is_character(character):
                if place:
                    at, place = at + 1, 0
                continue
            if at < len(lines) and place == len(lines[at]):
                at, place = at + 1, 0
            if at < len(lines):
                other = self.fixed.setdefault((at, place), character)
                if other != character:
                    raise WenmoError(
                        f"{self.name}: character {place + 1} of line {at + 1} cannot be {other}: "
                        f"the prompt has {character} there"
                    )
            place += 1

    def _spread_repeats(self, lines: tuple[Line, ...]) -> None:
        """A fixed character of a line that is repeated is fixed in both lines."""
        for (line, index), character in sorted(self.fixed.items()):
            twin = line - 1 if lines[line].repeats else line + 1
            if twin < len(lines) and lines[max(line, twin)].repeats:
                other = self.fixed.setdefault((twin, index), character)
                if other != character:
                    raise WenmoError(
                        f"{self.name}: line {max(line, twin) + 1} repeats the line before: its "
                        f"character {index + 1} cannot be {character} in one and {other} in the "
                        "other"
                    )

    def _group_members(self) -> dict[tuple[str, str], frozenset[str]]:
        """The characters of each tone and group. One that has several groups in a tone rhymes with
        none: books differ about it, and ears do not know all of them.
        """
        members: dict[tuple[str, str], set[str]] = {}
        for tone in (LEVEL, OBLIQUE):
            for character in self.by_tone[tone].characters:
                group, *others = self.book.groups(character, tone)
                if not others:
                    members.setdefault((tone, group), set()).add(character)
        return {reading: frozenset(each) for reading, each in members.items()}

    def _fit(self, pattern: Pattern) -> list[tuple[tuple[Variant, ...], tuple[Variant, ...]]]:
        """The variants of each line that a poem can have, after a line that is 拗 or not."""
        fitting: list[tuple[tuple[Variant, ...], tuple[Variant, ...]]] = []
        following: tuple[tuple[Variant, ...], tuple[Variant, ...]] | None = None
        for number in reversed(range(len(pattern.lines))):
            variants = tuple(
                each
                for each in pattern.lines[number].variants
                if each.mark != LOOSE
                and self._fits_fixed(number, each)
                and (following is None or following[each.mark == BREAKS])
                and not (following is None and each.mark == BREAKS)
            )
            following = variants, tuple(each for each in variants if each.mark == MENDS)
            fitting.append(following)
        return fitting[::-1]

    def _fits_fixed(self, line: int, variant: Variant) -> bool:
        for index, tone in enumerate(variant.tones):
            given = self.fixed.get((line, index))
            if given is None and not self.by_tone[tone].characters:
                return False
            if given is not None and tone != EITHER and tone not in self.book.tones(given):
                return False
        return True

    def _possible_rhymes(self) -> Iterator[dict[str, dict[str, float]] | None]:
        """For each pattern the weight of the groups of each rhyme; None: it is not possible."""
        for number, pattern in enumerate(self.patterns):
            letters = dict.fromkeys(line.rhyme for line in pattern.lines if line.rhyme)
            rhymes = {letter: self._weights(letter, number) for letter in letters}
            is_possible = self.fitting[number][0][0] and all(rhymes.values())
            yield rhymes if is_possible else None

    def _weights(self, letter: str, pattern: int) -> dict[str, float]:
        """The weight of each group that a rhyme can have."""
        lines = [each for each in self._lines(pattern) if each.rhyme == letter]
        tones = dict.fromkeys(line.last_tone for line in lines)
        count = sum(not line.repeats for line in lines)
        given = self.fixed_rhymes(letter, pattern)
        if len(set(given)) < len(given):
            return {}
        weights = {}
        plenty = {}
        for group in sorted({group for tone, group in self.by_group if tone in tones}):
            sizes = [len(self.by_group.get((tone, group), ())) for tone in tones]
            if min(sizes) < count or not self._rhymes_with(letter, pattern, group):
                continue
            shares = [self.book.share(group, tone) for tone in tones]
            weights[group] = sum(shares) * min(1.0, min(sizes) / FULL_GROUP)
            if min(sizes) >= SPARE * count:
                plenty[group] = weights[group]
        return plenty or weights

    def _rhymes_with(self, letter: str, pattern: int, group: str) -> bool:
        """Whether the fixed characters that rhyme are in a group, or not in the book."""
        for number, line in enumerate(self._lines(pattern)):
            given = self.fixed.get((number, len(line) - 1))
            if line.rhyme != letter or given is None or given not in self.book.readings:
                continue
            if group not in self.book.groups(given, line.last_tone):
                return False
        return True

    def _impossible(self, is_scarce: bool) -> WenmoError:
        """Why no poem can be written."""
        least = min(len(self.by_tone[tone].characters) for tone in (LEVEL, OBLIQUE))
        if is_scarce or not least:
            return WenmoError(
                f"{self.name}: the model writes too few Chinese characters of both tones: train it "
                "on Chinese text"
            )
        number = min(
            range(len(self.patterns)),
            key=lambda n: (not self.fitting[n][0][0], sum(bool(x.rhyme) for x in self._lines(n))),
        )
        if not self.fitting[number][0][0]:
            given = "".join(self.fixed.values())
            return WenmoError(
                f"{self.name}: no tone pattern of the form has the given characters {given} at "
                "their places: change one of them"
            )
        lines = [each for each in self._lines(number) if each.rhyme and not each.repeats]
        for letter in dict.fromkeys(line.rhyme for line in lines):
            fixed = "".join(self.fixed_rhymes(letter, number))
            count = sum(line.rhyme == letter for line in lines)
            if not self._weights(letter, number) and fixed:
                return WenmoError(
                    f"{self.name}: no rhyme group of {self.book.name} has {count} characters that "
                    f"the model writes and the given {fixed}: change one of them"
                )
        largest = max(self.by_group, key=lambda each: len(self.by_group[each]))
        return WenmoError(
            f"{self.name}: needs {count} rhymes of one group, and no group of {self.book.name} has "
            f"so many characters that the model writes (the largest is {largest[1]}, "
            f"{len(self.by_group[largest])})"
        )
