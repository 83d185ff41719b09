"""Acrostics as automata over characters: how lines begin, or how they end, is given."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from wenmo.decoding.constraints.lengths import LINE_END, OTHER_LINE_ENDS
from wenmo.text.automaton import CharacterSet, Classes, Redirection
from wenmo.types import WenmoError

LAST = re.compile(r"(?:尾|end)[:：]\s*", re.IGNORECASE)
FIRST = re.compile(r"(?:头|start)[:：]\s*", re.IGNORECASE)
PUNCTUATION = frozenset("，。！？；：、…—”’』」》）,.!?;:-\"')")
"""Characters that may follow the last character of a line."""

LAST_LINE_ENDS = CharacterSet(PUNCTUATION)
LINE_ENDS = CharacterSet(PUNCTUATION | {LINE_END})
ANY_IN_LINES = CharacterSet(OTHER_LINE_ENDS, negated=True)
NO_LINE_END = CharacterSet(OTHER_LINE_ENDS | {LINE_END}, negated=True)


class Acrostic(NamedTuple):
    """What the lines of a text spell.

    Attributes:
        characters: one for each line.
        last: they end the lines, and do not begin them.
    """

    characters: str
    last: bool


def parse_acrostic(text: str) -> Acrostic:
    """The acrostic of a setting: the characters, after ``尾:`` or ``end:`` those that end lines.

    White space is left out.
    """
    found = LAST.match(text) or FIRST.match(text)
    rest = text[found.end() :] if found else text
    return Acrostic("".join(rest.split()), LAST.match(text) is not None)


class AcrosticState(NamedTuple):
    """Where a text is.

    Attributes:
        line: the number of the line, from 0.
        begins: nothing of it was written.
        spelled: it has its character.
    """

    line: int = 0
    begins: bool = True
    spelled: bool = False


class AcrosticAutomaton:
    """A text with as many lines as characters are given, one for each. A character that ends a line
    is nowhere else in it; only punctuation may follow.

    Args:
        acrostic: at least one character.
    """

    start = AcrosticState()

    def __init__(self, acrostic: Acrostic) -> None:
        self.characters, self._last = acrostic

    def start_after(self, prompt: str) -> AcrosticState:
        """The state after a prompt, whose last line is how the first line begins.

        Raises:
            WenmoError: the line begins with another character.
        """
        state = self.start
        for character in prompt.rpartition(LINE_END)[2]:
            if not self.allowed(state).admits(character):
                raise WenmoError(
                    f"acrostic: the first line begins with {character!r} of the prompt, and not "
                    f"with {self.characters[0]!r}: change one of the two, or end the prompt's line"
                )
            state = self.advance(state, character)
        return state

    def allowed(self, state: AcrosticState) -> CharacterSet:
        """The characters after which the text can still be completed."""
        if not self._last and state.begins:
            return CharacterSet(frozenset(self.characters[state.line]))
        if self._last and state.spelled:
            return LAST_LINE_ENDS if self._is_last(state) else LINE_ENDS
        return NO_LINE_END if not state.spelled or self._is_last(state) else ANY_IN_LINES

    def advance(self, state: AcrosticState, character: str) -> AcrosticState:
        """The state after a character."""
        if character == LINE_END:
            return AcrosticState(state.line + 1)
        spelled = state.spelled or character == self.characters[state.line]
        return AcrosticState(state.line, False, spelled)

    def may_end(self, state: AcrosticState) -> bool:
        """Whether every line has its character."""
        return state.spelled and self._is_last(state)

    def remaining(self, state: AcrosticState) -> tuple[int, float]:
        """The least number of characters until the text may end, and no bound."""
        return 2 * (len(self.characters) - 1 - state.line) + (not state.spelled), math.inf

    def classes(self, state: AcrosticState) -> Classes:
        """The line end, the character of the line, the punctuation behind it, and the rest."""
        own = frozenset(self.characters[state.line])
        rest = (PUNCTUATION - own,) if self._last else ()
        return (frozenset(LINE_END), own, *rest)

    def redirected(self, state: AcrosticState) -> Redirection | None:
        """The text ends where its last line would, and a line has its last character where it would
        end.
        """
        if self.may_end(state):
            return Redirection(frozenset(LINE_END))
        if self._last and not state.spelled:
            return Redirection(frozenset(LINE_END), self.characters[state.line])
        return None

    def _is_last(self, state: AcrosticState) -> bool:
        return state.line == len(self.characters) - 1
