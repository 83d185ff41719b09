"""The poems of a Chinese form as an automaton over characters.

A seed draws the pattern and the rhyme groups (`PoemPlans`). Below that, what follows is free: at
each character all variants of the line that still fit are kept. No state is a dead end: a variant
is kept only if the fixed characters of its line fit it and, where it is 拗, a variant with 救 fits
the next line; and a rhyme group is drawn only if it has more characters than the form has rhymes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import NamedTuple

from wenmo.text.automaton import CharacterSet, Classes
from wenmo.types import WenmoError
from wenmo.verse.chinese_check import Rules
from wenmo.verse.chinese_plans import Plan, PoemPlans
from wenmo.verse.chinese_text import layouts_of
from wenmo.verse.patterns import BREAKS, EITHER, Line, Variant
from wenmo.verse.rhyme_books import LEVEL, OBLIQUE


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
        self._plans = PoemPlans(name, rules, alphabet, fixed, beginning)
        self.patterns, self.book = rules.patterns, rules.book
        self._no_shared = rules.no_shared_characters
        by_tone = self._plans.by_tone
        level, oblique = by_tone[LEVEL].characters, by_tone[OBLIQUE].characters
        self._tone_classes = (level - oblique, oblique - level, level & oblique)
        lines = self.patterns[0].lines
        self.layouts = [
            layout
            for layout in layouts_of(lines)
            if self._plans.alphabet.issuperset("".join(layout)) and any(layout)
        ] or [("",) * len(lines)]
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
        return PoemState(self._plans.draw(seed), frozenset(range(len(self.layouts))))

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
        return self._plans.fitting[state.plan.pattern][state.line][state.mends]

    def _characters(self, state: PoemState, variants: Collection[Variant]) -> CharacterSet:
        """The characters that may stand at a place in a line."""
        line = self._lines(state.plan.pattern)[state.line]
        given = self._plans.fixed.get((state.line, state.at))
        if given is None and line.repeats:
            given = state.text[state.at]
        if given is not None:
            return CharacterSet(frozenset(given))
        if self._no_shared:
            tones = {variant.tones[state.at] for variant in variants}
            characters = self._plans.by_tone[tones.pop() if len(tones) == 1 else EITHER].characters
            return CharacterSet(characters.difference(state.text, self._plans.fixed.values()))
        if line.rhyme and state.at + 1 == len(line):
            group = dict(state.plan.groups)[line.rhyme]
            used = {character for letter, character in state.rhymes if letter == line.rhyme}
            used |= set(self._plans.fixed_rhymes(line.rhyme, state.plan.pattern))
            return CharacterSet(self._plans.by_group[line.last_tone, group] - used)
        tones = {variant.tones[state.at] for variant in variants}
        return self._plans.by_tone[tones.pop() if len(tones) == 1 else EITHER]

    def _write(self, state: PoemState, character: str) -> PoemState:
        """The state after one more character of a line."""
        lines = self._lines(state.plan.pattern)
        line = lines[state.line]
        is_given = (state.line, state.at) in self._plans.fixed
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

    def _check_beginning(self) -> None:
        """Check that the beginning is one of a poem in a known layout."""
        state = self._draw(0)
        for index, character in enumerate(self._beginning):
            if not self.allowed(state).admits(character):
                begun = self._beginning[: index + 1]
                raise WenmoError(
                    f"{self._plans.name}: a poem cannot begin with {begun!r}; an empty line in the "
                    "prompt ends what is before the poem"
                )
            state = self.advance(state, character)
