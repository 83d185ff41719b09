"""Modifiers: what may be done to the text that a rule wrote, ``#animal.a.capitalize#``.

Each says how far it looks, so that it can be done to a grammar in place of a text: `expansion`
hands it on to the first or the last of what a rule is made of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from wenmo.grammar.articles import LONGEST_BEGINNING, takes_an

VOWELS = "aeiou"
APOSTROPHES = "'’"


class Kind(NamedTuple):
    """A modifier's function and what of a text it looks at.

    Attributes:
        function: of the text and the arguments.
        acts: on ``each`` character alone; on the ``first`` or the ``last`` ones, leaving the rest
            as it is; ``around`` the text, whatever it is; or on the ``whole``.
        reach: how many characters it looks at, at most, for ``first`` and ``last``.
        arguments: how many it takes.
        once: to do it again changes nothing.
    """

    function: Callable[..., str]
    acts: Literal["each", "first", "last", "around", "whole"]
    reach: int = 0
    arguments: int = 0
    once: bool = False


class Modifier(NamedTuple):
    """A modifier as it is asked for."""

    name: str
    arguments: tuple[str, ...] = ()

    def __call__(self, text: str) -> str:
        return MODIFIERS[self.name].function(text, *self.arguments)

    @property
    def kind(self) -> Kind:
        return MODIFIERS[self.name]


def article(text: str) -> str:
    """With *a* or *an* before it, by the sound that it begins with."""
    return ("an " if takes_an(text) else "a ") + text


def plural(text: str) -> str:
    """The regular plural of the last word."""
    end = text[-2:].lower()
    if not text:
        return text
    if end[-1] in "sxz" or end in ("ch", "sh"):
        return text + "es"
    return text[:-1] + "ies" if _consonant_y(end) else text + "s"


def past(text: str) -> str:
    """The regular past of the last word."""
    end = text[-2:].lower()
    if not text:
        return text
    if end[-1] == "e":
        return text + "d"
    return text[:-1] + "ied" if _consonant_y(end) else text + "ed"


def first_plural(text: str) -> str:
    """The regular plural of the first word."""
    first, space, rest = text.partition(" ")
    return plural(first) + space + rest


def capitalize(text: str) -> str:
    """The first character as a capital."""
    return text[:1].upper() + text[1:]


def capitalize_all(text: str) -> str:
    """The first character of every word as a capital; an apostrophe does not end a word."""
    written, inside = [], False
    for character in text:
        written.append(character if inside else character.upper())
        inside = character.isalnum() or (inside and character in APOSTROPHES)
    return "".join(written)


def comma(text: str) -> str:
    """With a comma behind it, unless it ends in a mark already."""
    return text if text[-1:] in (*",.?!;:，。？！；：",) else text + ","


MODIFIERS: dict[str, Kind] = {
    "a": Kind(article, "first", LONGEST_BEGINNING),
    "an": Kind(article, "first", LONGEST_BEGINNING),
    "s": Kind(plural, "last", 2),
    "es": Kind(plural, "last", 2),
    "ed": Kind(past, "last", 2),
    "firstS": Kind(first_plural, "whole"),
    "capitalize": Kind(capitalize, "first", 1, once=True),
    "capitalizeAll": Kind(capitalize_all, "whole", once=True),
    "uppercase": Kind(lambda text: "".join(map(str.upper, text)), "each", once=True),
    "lowercase": Kind(lambda text: "".join(map(str.lower, text)), "each", once=True),
    "comma": Kind(comma, "last", 1, once=True),
    "inQuotes": Kind(lambda text: f'"{text}"', "around"),
    "replace": Kind(lambda text, old, new: text.replace(old, new), "whole", arguments=2),
}


def _consonant_y(end: str) -> bool:
    return end[-1] == "y" and len(end) == 2 and end[0] not in VOWELS
