"""Texts of a given length in characters, words, lines or syllables, as automata over characters.

- A character is any code point: letters, punctuation, spaces and line ends alike.
- A word is a run of characters that are no white space.
- A line ends with ``\\n``, the last with the text. Each has a character that is no white space.

A text with a length does not end with white space, nor does it begin with it where it begins a
line, and it has no more than four white-space characters in a row.
"""

from __future__ import annotations

import math
import unicodedata
from functools import cache
from typing import NamedTuple

from wenmo.text.automaton import CharacterSet, Classes, Redirection

SPACES = frozenset(character for character in map(chr, range(0x3001)) if character.isspace())
LINE_END = "\n"
OTHER_LINE_ENDS = frozenset("\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
MAX_SPACES = 4
"""White-space characters in a row: two line ends and an indentation of two ideographic spaces."""

ALL = CharacterSet(frozenset(), negated=True)
NONE = CharacterSet(frozenset())
VISIBLE = CharacterSet(SPACES, negated=True)
WHITE_SPACE = (SPACES,)
LINES = (frozenset(LINE_END), SPACES - {LINE_END})


class LengthState(NamedTuple):
    """How much was written.

    Attributes:
        written: characters, words or lines, the one that is being written included; no more than
            the automaton has to tell apart.
        blank: what was written ends with white space, or nothing was; of lines: the last line has
            nothing but white space.
        begins: nothing was written yet, and the text begins a line.
    """

    written: int
    blank: bool = True
    begins: bool = False


class LengthAutomaton:
    """A text of ``least`` to ``most`` units.

    Args:
        least: at least 1.
        most: inf: there is no bound.
    """

    def __init__(self, least: int, most: float) -> None:
        self.least, self.most = least, most
        self.start = self.start_after("")
        self._cap = least if most == math.inf else most

    def start_after(self, prompt: str) -> LengthState:
        """The state at the beginning of a text that continues a prompt."""
        return LengthState(0, begins=not prompt or prompt.endswith(LINE_END))

    def classes(self, state: LengthState) -> Classes:
        """White space, and the rest."""
        return WHITE_SPACE

    def may_end(self, state: LengthState) -> bool:
        """Whether the text may end here."""
        return state.written >= self.least and not state.blank

    def _counted(self, count: int, blank: bool) -> LengthState:
        return LengthState(int(min(count, self._cap)), blank)


class CharacterLength(LengthAutomaton):
    """A text of so many characters."""

    def allowed(self, state: LengthState) -> CharacterSet:
        """The characters after which the text can still be completed."""
        if state.written == self.most:
            return NONE
        return VISIBLE if state.begins or state.written + 1 == self.most else ALL

    def advance(self, state: LengthState, character: str) -> LengthState:
        """The state after a character."""
        return self._counted(state.written + 1, character in SPACES)

    def remaining(self, state: LengthState) -> tuple[int, float]:
        """The least and the most characters until the text may end."""
        return max(self.least - state.written, int(state.blank)), self.most - state.written


class WordLength(LengthAutomaton):
    """A text of so many words. A text that continues a word of its prompt counts it."""

    def allowed(self, state: LengthState) -> CharacterSet:
        """The characters after which the text can still be completed."""
        ends = state.written == self.most and not state.blank
        return VISIBLE if state.begins or ends else ALL

    def advance(self, state: LengthState, character: str) -> LengthState:
        """The state after a character."""
        if character in SPACES:
            return self._after_space(state)
        return self._counted(state.written + state.blank, False)

    def _after_space(self, state: LengthState) -> LengthState:
        # Beyond the least number without a bound, words are not counted any more.
        return LengthState(state.written, True)

    def remaining(self, state: LengthState) -> tuple[int, float]:
        """The least and the most characters until the text may end."""
        missing = max(self.least - state.written, int(state.blank))
        return max(0, 2 * missing - state.blank), math.inf

    def redirected(self, state: LengthState) -> Redirection | None:
        """The text ends where its last word would."""
        ends = state.written == self.most and not state.blank
        return Redirection(SPACES) if ends else None


class LineLength(LengthAutomaton):
    """A text of so many lines, none of them blank."""

    def classes(self, state: LengthState) -> Classes:
        """The line end, other white space, and the rest."""
        return LINES

    def allowed(self, state: LengthState) -> CharacterSet:
        """The characters after which the text can still be completed."""
        if state.begins:
            return VISIBLE
        ends = state.blank or state.written == self.most
        return CharacterSet(OTHER_LINE_ENDS | {LINE_END} if ends else OTHER_LINE_ENDS, True)

    def advance(self, state: LengthState, character: str) -> LengthState:
        """The state after a character."""
        if character == LINE_END:
            return LengthState(state.written, True)
        if character in SPACES:
            return state
        return self._counted(state.written + state.blank, False)

    def remaining(self, state: LengthState) -> tuple[int, float]:
        """The least and the most characters until the text may end."""
        missing = max(self.least - state.written, int(state.blank))
        return max(0, 2 * missing - state.blank), math.inf

    def redirected(self, state: LengthState) -> Redirection | None:
        """The text ends where its last line would."""
        ends = state.written == self.most and not state.blank
        return Redirection(frozenset(LINE_END)) if ends else None


class ShortSpaces:
    """A text without long runs of white space, with which a model could fill up a length for ever.
    Its states are the numbers of white-space characters that the text ends with.
    """

    start = 0

    def classes(self, state: int) -> Classes:
        """White space, and the rest."""
        return WHITE_SPACE

    def allowed(self, state: int) -> CharacterSet:
        """Any but white space after a run of it."""
        return VISIBLE if state == MAX_SPACES else ALL

    def advance(self, state: int, character: str) -> int:
        """The state after a character."""
        return state + 1 if character in SPACES else 0

    def may_end(self, state: int) -> bool:
        """The text may end anywhere."""
        return True

    def remaining(self, state: int) -> tuple[int, float]:
        """The text may end here, or never."""
        return 0, math.inf


class SyllableLength(LengthAutomaton):
    """A Chinese text of so many syllables: one for each Chinese character, none for what is written
    between them. Letters of other scripts and digits are not written.
    """

    def classes(self, state: LengthState) -> Classes:
        """Chinese characters, white space, and the rest."""
        return (chinese_characters(), SPACES)

    def allowed(self, state: LengthState) -> CharacterSet:
        """The characters after which the text can still be completed."""
        if state.begins or not state.written:
            return CharacterSet(chinese_characters())
        return CharacterSet(separators() if state.written == self.most else chinese_text())

    def advance(self, state: LengthState, character: str) -> LengthState:
        """The state after a character."""
        if character in chinese_characters():
            return self._counted(state.written + 1, False)
        return state

    def remaining(self, state: LengthState) -> tuple[int, float]:
        """The least number of characters until the text may end, and no bound."""
        return max(0, self.least - state.written), math.inf

    def redirected(self, state: LengthState) -> Redirection | None:
        """The text ends where it would go on."""
        return Redirection(chinese_characters()) if state.written == self.most else None


@cache
def chinese_characters() -> frozenset[str]:
    """The ideographs of Unicode's basic plane, and 〇."""
    blocks = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00))
    return frozenset(chr(code) for first, last in blocks for code in range(first, last)) | {"〇"}


@cache
def separators() -> frozenset[str]:
    """Punctuation and white space."""
    others = (chr(code) for code in range(0xD800))
    wide = (chr(code) for code in range(0xFE10, 0xFF66))
    marks = {each for each in (*others, *wide) if unicodedata.category(each)[0] == "P"}
    return frozenset(marks | SPACES)


@cache
def chinese_text() -> frozenset[str]:
    """Chinese characters and what is written between them."""
    return chinese_characters() | separators()
