"""The poems of a Chinese form as an automaton over characters.

A seed draws the pattern by its frequency and the rhyme groups by how often poems rhyme with them,
less where the alphabet has few characters of a group. Below that, what follows is free: at each
character all variants of the line that still fit are kept. A character that the rhyme book lacks is
not written, and one with two tones only in that of its commonest modern reading.

No state is a dead end. A variant is kept only if the fixed characters of its line fit it and, where
it is 拗, a variant with 救 fits the next line; and a rhyme group is drawn only if it has more
characters than the form has rhymes.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from wenmo.text.automaton import CharacterSet, Classes
from wenmo.types import WenmoError
from wenmo.verse.chinese_check import Rules
from wenmo.verse.chinese_text import is_character, layouts_of
from wenmo.verse.patterns import BREAKS, EITHER, LOOSE, MENDS, Line, Pattern, Variant
from wenmo.verse.rhyme_books import LEVEL, OBLIQUE

FULL_GROUP = 30  # usable characters from which a rhyme group has its full weight
SPARE = 2  # a group is drawn if it has so many times the characters that the form needs


class Plan(NamedTuple):
    """What a seed draws: the number of the pattern, and the group of each rhyme by its letter."""

    pattern: int
    groups: tuple[tuple[str, str], ...]


class PoemState(NamedTuple):
    """Where a poem is.

    Attributes:
        plan: what was drawn.
        line: number of the line, from 0.
        at: number of characters of the line, and then of what stands between it and the next.
        variants: of the line, those that fit what is written.
        mends: the line before was 拗.
        rhymes: the letter and the character of each rhyme so far.
        text: what is written of a line that the next one repeats, and then of the one that does;
            of a couplet, all.
        layouts: those that fit what is written.
    """

    plan: Plan
    layouts: frozenset[int]
    line: int = 0
    at: int = 0
    variants: frozenset[Variant] = frozenset()
    mends: bool = False
    rhymes: frozenset[tuple[str, str]] = frozenset()
    text: str = ""


class ChineseAutomaton:
    """The poems of a form.

    Args:
        name: of the form, for messages.
        rules: its patterns and its rhyme book.
        alphabet: the characters that can be written.
        fixed: characters that are given, by line and index; an index of -1 is the last.
        beginning: how the poem begins.

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
        self._no_shared = rules.no_shared_characters
        self.alphabet = frozenset(alphabet)
        lines = self.patterns[0].lines
        self.fixed = {self._index(at, lines): each for at, each in fixed.items()}
        self._begin_with(beginning, lines)
        self._spread_repeats(lines)
        known = self.alphabet.intersection(self.book.readings)
        self._by_tone = {
            tone: CharacterSet(frozenset(c for c in known if tone in self.book.written_tones(c)))
            for tone in (LEVEL, OBLIQUE)
        }
        self._by_tone[EITHER] = CharacterSet(known)
        level, oblique = (self._by_tone[tone].characters for tone in (LEVEL, OBLIQUE))
        self._tone_classes = (level - oblique, oblique - level, level & oblique)
        self._by_group = self._group_members()
        self._fitting = [self._fit(pattern) for pattern in self.patterns]
        self.layouts = [
            layout
            for layout in layouts_of(lines)
            if self.alphabet.issuperset("".join(layout)) and any(layout)
        ] or [("",) * len(lines)]
        self._plans = list(self._possible_plans())
        if all(rhymes is None for rhymes in self._plans):
            raise self._impossible()
        self._beginning = beginning
        self._check_beginning()

    @cached_property
    def start(self) -> PoemState:
        """The first state, as the seed 0 draws it."""
        return self.draw(0)

    def draw(self, seed: int) -> PoemState:
        """The first state, with a pattern and rhymes that are drawn by a seed."""
        state = self._draw(seed)
        for character in self._beginning:
            state = self.advance(state, character)
        return state

    def _draw(self, seed: int) -> PoemState:
        """The state of an empty text."""
        chance = random.Random(seed)
        numbers = [number for number, rhymes in enumerate(self._plans) if rhymes is not None]
        frequencies = [self.patterns[number].frequency or 1e-9 for number in numbers]
        [number] = chance.choices(numbers, frequencies)
        groups: dict[str, str] = {}
        for letter, weights in (self._plans[number] or {}).items():
            others = {each: w for each, w in weights.items() if each not in groups.values()}
            choices = others or weights  # another rhyme is another group
            groups[letter] = chance.choices(list(choices), list(choices.values()))[0]
        return PoemState(Plan(number, tuple(groups.items())), frozenset(range(len(self.layouts))))

    # -- the automaton -----------------------------------------------------------------------------

    def allowed(self, state: PoemState) -> CharacterSet:
        """The characters after which the poem can still be completed."""
        lines = self._lines(state.plan.pattern)
        if state.at < len(lines[state.line]):
            return self._characters(state, self._variants(state))
        breaks, ends_line = self._breaks(state)
        if not ends_line or state.line + 1 == len(lines):
            return CharacterSet(breaks)
        following = self._next_line(state)
        characters = self._characters(following, self._variants(following))
        return CharacterSet(characters.characters | breaks) if breaks else characters

    def classes(self, state: PoemState) -> Classes:
        """The characters that lead to the same state: in a line, those of the same tones."""
        lines = self._lines(state.plan.pattern)
        own: frozenset[str] = frozenset()
        if state.at >= len(lines[state.line]):
            own, ends_line = self._breaks(state)
            if not ends_line or state.line + 1 == len(lines):
                return tuple(map(frozenset, sorted(own)))
            state = self._next_line(state)
        line = lines[state.line]
        rhymes = bool(line.rhyme) and state.at + 1 == len(line)
        if rhymes or line.repeats or self._keeps_text(state):
            own |= self._characters(state, self._variants(state)).characters
            return tuple(map(frozenset, sorted(own)))
        return (*map(frozenset, sorted(own)), *self._tone_classes)

    def advance(self, state: PoemState, character: str) -> PoemState:
        """The state after a character that is allowed."""
        line = self._lines(state.plan.pattern)[state.line]
        if state.at < len(line):
            return self._write(state, character)
        if character in self._breaks(state)[0]:
            written = state.at - len(line)
            layouts = (
                n
                for n in state.layouts
                if self._break(n, state.line)[written : written + 1] == character
            )
            return state._replace(at=state.at + 1, layouts=frozenset(layouts))
        return self._write(self._next_line(state), character)

    def may_end(self, state: PoemState) -> bool:
        """Whether the poem is complete."""
        lines = self._lines(state.plan.pattern)
        is_last = state.line + 1 == len(lines) and state.at >= len(lines[-1])
        return is_last and self._breaks(state)[1]

    def remaining(self, state: PoemState) -> tuple[int, float]:
        """The least and the most characters until the poem is complete."""
        lengths = self.patterns[state.plan.pattern].lengths
        characters = sum(lengths[state.line :])
        breaks = [
            sum(len(self._break(n, line)) for line in range(state.line, len(lengths)))
            for n in state.layouts
        ]
        least, most = (characters + count - state.at for count in (min(breaks), max(breaks)))
        return least, most

    def _lines(self, pattern: int) -> tuple[Line, ...]:
        return self.patterns[pattern].lines

    # -- lines -------------------------------------------------------------------------------------

    def _variants(self, state: PoemState) -> Collection[Variant]:
        """The variants of the line that fit what is written of it."""
        if state.at:
            return state.variants
        return self._fitting[state.plan.pattern][state.line][state.mends]

    def _characters(self, state: PoemState, variants: Collection[Variant]) -> CharacterSet:
        """The characters that may stand at a place in a line."""
        line = self._lines(state.plan.pattern)[state.line]
        given = self.fixed.get((state.line, state.at))
        if given is None and line.repeats:
            given = state.text[state.at]
        if given is not None:
            return CharacterSet(frozenset(given))
        if self._no_shared:
            tones = {variant.tones[state.at] for variant in variants}
            characters = self._by_tone[tones.pop() if len(tones) == 1 else EITHER].characters
            return CharacterSet(characters.difference(state.text, self.fixed.values()))
        if line.rhyme and state.at + 1 == len(line):
            group = dict(state.plan.groups)[line.rhyme]
            used = {character for letter, character in state.rhymes if letter == line.rhyme}
            used |= set(self._fixed_rhymes(line.rhyme, state.plan.pattern))
            return CharacterSet(self._by_group[line.last_tone, group] - used)
        tones = {variant.tones[state.at] for variant in variants}
        return self._by_tone[tones.pop() if len(tones) == 1 else EITHER]

    def _write(self, state: PoemState, character: str) -> PoemState:
        """The state after one more character of a line."""
        lines = self._lines(state.plan.pattern)
        line = lines[state.line]
        is_given = (state.line, state.at) in self.fixed
        tones = (self.book.tones if is_given else self.book.written_tones)(character)
        variants = frozenset(
            each
            for each in self._variants(state)
            if each.tones[state.at] == EITHER or each.tones[state.at] in tones
        )
        index, text = state.at + 1, state.text
        if self._keeps_text(state):
            text += character
        if index < len(line):
            return state._replace(at=index, variants=variants, text=text)
        rhymes = state.rhymes | ({(line.rhyme, character)} if line.rhyme else set())
        return state._replace(
            at=index,
            variants=frozenset(),
            mends=all(each.mark == BREAKS for each in variants),
            rhymes=rhymes,
            text=text,
        )

    def _next_line(self, state: PoemState) -> PoemState:
        """The state at the beginning of the next line."""
        is_done = frozenset(
            n
            for n in state.layouts
            if len(self._break(n, state.line)) == state.at - self._length(state)
        )
        repeats = self._lines(state.plan.pattern)[state.line + 1].repeats
        text = state.text if repeats or self._no_shared else ""
        return state._replace(line=state.line + 1, at=0, layouts=is_done, text=text)

    def _keeps_text(self, state: PoemState) -> bool:
        """Whether what is written matters later: the next line repeats it, or must not."""
        lines = self._lines(state.plan.pattern)
        return self._no_shared or (state.line + 1 < len(lines) and lines[state.line + 1].repeats)

    def _length(self, state: PoemState) -> int:
        return self.patterns[state.plan.pattern].lengths[state.line]

    def _break(self, layout: int, line: int) -> str:
        return self.layouts[layout][line]

    def _breaks(self, state: PoemState) -> tuple[frozenset[str], bool]:
        """What may follow between two lines, and whether it may be the next line."""
        written = state.at - self._length(state)
        rest = [self._break(n, state.line)[written:] for n in state.layouts]
        return frozenset(each[0] for each in rest if each), not all(rest)

    # -- what is possible --------------------------------------------------------------------------

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

    def _check_beginning(self) -> None:
        """Check that the beginning is one of a poem in a known layout."""
        state = self._draw(0)
        for index, character in enumerate(self._beginning):
            if not self.allowed(state).admits(character):
                raise WenmoError(
                    f"{self.name}: a poem cannot begin with {self._beginning[: index + 1]!r}; an "
                    "empty line in the prompt ends what is before the poem"
                )
            state = self.advance(state, character)

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
            for character in self._by_tone[tone].characters:
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
            if given is None and not self._by_tone[tone].characters:
                return False
            if given is not None and tone != EITHER and tone not in self.book.tones(given):
                return False
        return True

    def _fixed_rhymes(self, letter: str, pattern: int) -> list[str]:
        """The fixed characters that rhyme, without those of repeated lines."""
        lines = enumerate(self._lines(pattern))
        own = [(n, len(each) - 1) for n, each in lines if each.rhyme == letter and not each.repeats]
        return [self.fixed[at] for at in own if at in self.fixed]

    def _possible_plans(self) -> Iterator[dict[str, dict[str, float]] | None]:
        """For each pattern the weight of the groups of each rhyme; None: it is not possible."""
        for number, pattern in enumerate(self.patterns):
            letters = dict.fromkeys(line.rhyme for line in pattern.lines if line.rhyme)
            rhymes = {letter: self._weights(letter, number) for letter in letters}
            is_possible = self._fitting[number][0][0] and all(rhymes.values())
            yield rhymes if is_possible else None

    def _weights(self, letter: str, pattern: int) -> dict[str, float]:
        """The weight of each group that a rhyme can have."""
        lines = [each for each in self._lines(pattern) if each.rhyme == letter]
        tones = dict.fromkeys(line.last_tone for line in lines)
        count = sum(not line.repeats for line in lines)
        given = self._fixed_rhymes(letter, pattern)
        if len(set(given)) < len(given):
            return {}
        weights = {}
        plenty = {}
        for group in sorted({group for tone, group in self._by_group if tone in tones}):
            sizes = [len(self._by_group.get((tone, group), ())) for tone in tones]
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

    def _impossible(self) -> WenmoError:
        """Why no poem can be written."""
        if not self._by_tone[LEVEL].characters or not self._by_tone[OBLIQUE].characters:
            return WenmoError(
                f"{self.name}: the model writes no Chinese characters of both tones: train it on "
                "Chinese text"
            )
        number = min(
            range(len(self.patterns)),
            key=lambda n: (not self._fitting[n][0][0], sum(bool(x.rhyme) for x in self._lines(n))),
        )
        if not self._fitting[number][0][0]:
            given = "".join(self.fixed.values())
            return WenmoError(
                f"{self.name}: no tone pattern of the form has the given characters {given} at "
                "their places: change one of them"
            )
        lines = [each for each in self._lines(number) if each.rhyme and not each.repeats]
        for letter in dict.fromkeys(line.rhyme for line in lines):
            fixed = "".join(self._fixed_rhymes(letter, number))
            count = sum(line.rhyme == letter for line in lines)
            if not self._weights(letter, number) and fixed:
                return WenmoError(
                    f"{self.name}: no rhyme group of {self.book.name} has {count} characters that "
                    f"the model writes and the given {fixed}: change one of them"
                )
        largest = max(self._by_group, key=lambda each: len(self._by_group[each]))
        return WenmoError(
            f"{self.name}: needs {count} rhymes of one group, and no group of {self.book.name} has "
            f"so many characters that the model writes (the largest is {largest[1]}, "
            f"{len(self._by_group[largest])})"
        )
