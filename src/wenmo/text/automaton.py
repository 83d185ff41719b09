"""Text automata: constraints over the characters of a text, before any vocabulary is known.

`wenmo.decoding.constraints.automaton` lifts an automaton to the tokens of a vocabulary.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable


class CharacterSet(NamedTuple):
    """A set of characters, or with ``negated`` all characters but these."""

    characters: frozenset[str]
    negated: bool = False

    def admits(self, character: str) -> bool:
        """Whether a character is in the set."""
        return (character in self.characters) != self.negated


class Redirection(NamedTuple):
    """Characters whose probability another one has, for they are what a text would go on with if
    its constraint did not ask for that one first.

    Attributes:
        characters: that are not allowed.
        to: the one that follows instead; empty: the end of the text.
    """

    characters: frozenset[str]
    to: str = ""


Classes: TypeAlias = tuple[frozenset[str], ...]
"""Sets of characters without a common one."""


class TextAutomaton(Protocol):
    """A deterministic automaton over characters. Its states are hashable values."""

    @property
    def start(self) -> Hashable:
        """The state of an empty text."""
        ...

    def allowed(self, state: Any) -> CharacterSet:
        """The characters after which the text can still be completed."""
        ...

    def advance(self, state: Any, character: str) -> Hashable:
        """The state after a character that is allowed."""
        ...

    def may_end(self, state: Any) -> bool:
        """Whether the text may end here."""
        ...

    def remaining(self, state: Any) -> tuple[int, float]:
        """The least and the most characters until the text may end; inf: unbounded."""
        ...


@runtime_checkable
class HasClasses(Protocol):
    """An automaton that treats most characters alike. It makes large vocabularies fast, and is what
    a product needs to look far ahead.
    """

    def classes(self, state: Any) -> Classes:
        """The characters that lead to the same state: those of each set, and all that are in none.
        A set may contain characters that are not allowed.
        """
        ...
