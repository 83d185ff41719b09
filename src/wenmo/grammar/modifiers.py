"""Modifiers: functions applied to the text of a rule, as in ``#animal.a.capitalize#``.

Each declares which characters it depends on, so that `expansion` can apply it to productions
instead of texts, by passing it on to the first or the last symbol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from wenmo.grammar.articles import MAX_LOOKAHEAD, takes_an

VOWELS = "aeiou"
APOSTROPHES = "'’"


class ModifierType(NamedTuple):
    """A modifier's function, and the characters that it depends on.

    Attributes:
        function: function of the text and the arguments.
        scope: what it changes: each character independently ("characters"); the beginning or the
            end, leaving the rest as it is ("prefix", "suffix"); nothing, but it adds text around
            ("around"); or anything ("text").
        lookahead: for "prefix" and "suffix", the most characters it depends on.
        arity: number of arguments.
        idempotent: applying it twice equals applying it once.
    """

    function: Callable[..., str]
    scope: Literal["characters", "prefix", "suffix", "around", "text"]
    lookahead: int = 0
    arity: int = 0
    idempotent: bool = False


class Modifier(NamedTuple):
    """A modifier with its arguments."""

    name: str
    args: tuple[str, ...] = ()

    def __call__(self, text: str) -> str:
        return MODIFIERS[self.name].function(text, *self.args)

    @property
    def type(self) -> ModifierType:
        return MODIFIERS[self.name]


def article(text: str) -> str:
    """The text after *a* or *an*, chosen by its first sound."""
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
    """The regular past tense of the last word."""
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
    """The text with its first character in upper case."""
    return text[:1].upper() + text[1:]


def capitalize_all(text: str) -> str:
    """The text with the first character of each word in upper case; an apostrophe does not end a
    word.
    """
    characters, in_word = [], False
    for character in text:
        characters.append(character if in_word else character.upper())
        in_word = character.isalnum() or (in_word and character in APOSTROPHES)
    return "".join(characters)


def comma(text: str) -> str:
    """The text with a comma after it, unless it ends in a punctuation mark."""
    return text if text[-1:] in (*",.?!;:，。？！；：",) else text + ","


MODIFIERS: dict[str, ModifierType] = {
    "a": ModifierType(article, "prefix", MAX_LOOKAHEAD),
    "an": ModifierType(article, "prefix", MAX_LOOKAHEAD),
    "s": ModifierType(plural, "suffix", 2),
    "es": ModifierType(plural, "suffix", 2),
    "ed": ModifierType(past, "suffix", 2),
    "firstS": ModifierType(first_plural, "text"),
    "capitalize": ModifierType(capitalize, "prefix", 1, idempotent=True),
    "capitalizeAll": ModifierType(capitalize_all, "text", idempotent=True),
    "uppercase": ModifierType(
        lambda text: "".join(map(str.upper, text)), "characters", idempotent=True
    ),
    "lowercase": ModifierType(
        lambda text: "".join(map(str.lower, text)), "characters", idempotent=True
    ),
    "comma": ModifierType(comma, "suffix", 1, idempotent=True),
    "inQuotes": ModifierType(lambda text: f'"{text}"', "around"),
    "replace": ModifierType(lambda text, old, new: text.replace(old, new), "text", arity=2),
}


def _consonant_y(end: str) -> bool:
    return end[-1] == "y" and len(end) == 2 and end[0] not in VOWELS
