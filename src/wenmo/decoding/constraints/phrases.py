"""Phrases that a text contains, or does not contain, as automata over characters.

Both search the text for all phrases at once with the automaton of Aho & Corasick (1975), *Efficient
String Matching*: a node is the longest end of the text with which a phrase begins. Phrases are
found as written, upper and lower case different; they may overlap, and share their characters.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import NamedTuple

from wenmo.decoding.constraints.lengths import ALL
from wenmo.text.automaton import CharacterSet, Classes

MAX_EXACT = 20_000  # phrases times sets of groups whose shortest completions are computed


class PhraseMatcher:
    """Finds phrases in a text, character by character.

    Args:
        phrases: none of them empty.

    Attributes:
        beginnings: what each node stands for; node 0 is empty.
        characters: of all phrases.
        classes: the same, one in each set.
        found: for each node the phrases that end there, by index.
    """

    def __init__(self, phrases: Sequence[str]) -> None:
        self._phrases = phrases
        self.beginnings = [""]
        for phrase in phrases:
            known = set(self.beginnings)
            starts = (phrase[:length] for length in range(1, len(phrase) + 1))
            self.beginnings += [each for each in starts if each not in known]
        self._numbers = {text: node for node, text in enumerate(self.beginnings)}
        self.characters = frozenset("".join(phrases))
        self.classes = tuple(frozenset(each) for each in sorted(self.characters))
        self.found = [
            tuple(index for index, phrase in enumerate(phrases) if text.endswith(phrase))
            for text in self.beginnings
        ]
        self._after: dict[tuple[int, str], int] = {}

    def length(self, phrase: int) -> int:
        """The number of characters of a phrase."""
        return len(self._phrases[phrase])

    def node(self, beginning: str) -> int:
        """The node that stands for the beginning of a phrase."""
        return self._numbers[beginning]

    def after(self, node: int, character: str) -> int:
        """The node after one more character."""
        if character not in self.characters:
            return 0
        key = node, character
        if key not in self._after:
            text = self.beginnings[node] + character
            ends = (text[start:] for start in range(len(text) + 1))
            self._after[key] = next(self._numbers[each] for each in ends if each in self._numbers)
        return self._after[key]


class ForbiddenPhrases:
    """A text without certain phrases. Its states are nodes of the matcher.

    Args:
        phrases: none of them empty.
        following: the text behind it, where it fills a gap.
    """

    start = 0

    def __init__(self, phrases: Sequence[str], following: str = "") -> None:
        self._matcher = PhraseMatcher(phrases)
        self._allowed: dict[int, CharacterSet] = {}
        self._longest = max(map(len, phrases))
        self._following = following[: self._longest - 1]

    def start_after(self, prompt: str) -> int:
        """The state after a prompt: no phrase begins there and ends in the text."""
        state = self.start
        for character in prompt[-self._longest :]:
            state = self._matcher.after(state, character)
        return state

    def allowed(self, state: int) -> CharacterSet:
        """The characters that complete no phrase."""
        if state not in self._allowed:
            matcher = self._matcher
            ends = (c for c in matcher.characters if matcher.found[matcher.after(state, c)])
            self._allowed[state] = CharacterSet(frozenset(ends), negated=True)
        return self._allowed[state]

    def advance(self, state: int, character: str) -> int:
        """The state after a character."""
        return self._matcher.after(state, character)

    def may_end(self, state: int) -> bool:
        """Whether no phrase begins in the text and ends in what follows."""
        for index, character in enumerate(self._following, 1):
            state = self._matcher.after(state, character)
            if any(self._matcher.length(each) > index for each in self._matcher.found[state]):
                return False
        return True

    def remaining(self, state: int) -> tuple[int, float]:
        """The text may end here, or never."""
        return 0, math.inf

    def classes(self, state: int) -> Classes:
        """Each character of the phrases, and the rest."""
        return self._matcher.classes


class RequiredState(NamedTuple):
    """The node of the matcher, and the groups that were found, as bits."""

    node: int
    met: int = 0


class RequiredPhrases:
    """A text that contains at least one phrase of each group, in any order.

    Args:
        groups: of phrases that are alternatives.
    """

    start = RequiredState(0)

    def __init__(self, groups: Sequence[Sequence[str]]) -> None:
        phrases = list(dict.fromkeys(phrase for group in groups for phrase in group))
        self._matcher = PhraseMatcher(phrases)
        self._groups = [[phrases.index(phrase) for phrase in group] for group in groups]
        self._phrases = phrases
        self._own = [  # the groups of each phrase, as bits
            sum(1 << bit for bit, group in enumerate(groups) if phrase in group)
            for phrase in phrases
        ]
        self._contained = [  # and those of the phrases within it
            _union(own for own, other in zip(self._own, phrases, strict=True) if other in phrase)
            for phrase in phrases
        ]
        self._bits = [_union(self._own[each] for each in found) for found in self._matcher.found]
        self._all = (1 << len(groups)) - 1
        self._is_exact = len(phrases) << len(groups) <= MAX_EXACT
        self._least: dict[tuple[int, int], int] = {}

    def allowed(self, state: RequiredState) -> CharacterSet:
        """Any: what is missing can follow."""
        return ALL

    def advance(self, state: RequiredState, character: str) -> RequiredState:
        """The state after a character."""
        if state.met == self._all:
            return RequiredState(0, self._all)
        node = self._matcher.after(state.node, character)
        met = state.met | self._bits[node]
        return RequiredState(0 if met == self._all else node, met)

    def may_end(self, state: RequiredState) -> bool:
        """Whether every group was found."""
        return state.met == self._all

    def remaining(self, state: RequiredState) -> tuple[int, float]:
        """The length of the shortest text that has all that is missing, and no bound.

        It is exact for a few phrases; for many, no phrases share characters.
        """
        return self._shortest(state.node, state.met), math.inf

    def classes(self, state: RequiredState) -> Classes:
        """Each character of the phrases, and the rest."""
        return () if state.met == self._all else self._matcher.classes

    def missing(self, state: RequiredState) -> int:
        """As the least number of ``remaining``."""
        return self._shortest(state.node, state.met)

    def advancing(self, state: RequiredState) -> frozenset[str]:
        """The characters after which fewer are missing."""
        if state.met == self._all:
            return frozenset()
        missing = self.missing(state)
        return frozenset(
            each
            for each in self._matcher.characters
            if self.missing(self.advance(state, each)) < missing
        )

    def _shortest(self, node: int, met: int) -> int:
        """The least number of characters that complete all groups: the shortest common superstring,
        phrase by phrase; the least that a plan without overlaps needs where that is too much work.
        """
        if met == self._all:
            return 0
        if (node, met) not in self._least:
            missing = [
                (number, phrase)
                for number, phrase in enumerate(self._phrases)
                if self._own[number] & ~met
            ]
            self._least[node, met] = min(
                len(phrase) - self._overlap(node, phrase) + self._behind(number, met)
                for number, phrase in missing
            )
        return self._least[node, met]

    def _behind(self, number: int, met: int) -> int:
        """The characters that are needed after a phrase."""
        met |= self._contained[number]
        if self._is_exact:
            return self._shortest(self._matcher.node(self._phrases[number]), met)
        return sum(
            min(len(self._phrases[each]) for each in group)
            for bit, group in enumerate(self._groups)
            if not met >> bit & 1
        )

    def _overlap(self, node: int, phrase: str) -> int:
        """The length of the longest end of a node's text with which a phrase begins."""
        text = self._matcher.beginnings[node]
        return next(
            n for n in range(min(len(text), len(phrase)), -1, -1) if text.endswith(phrase[:n])
        )


def _union(bits: Iterable[int]) -> int:
    return reduce(operator.or_, bits, 0)
