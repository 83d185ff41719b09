"""The automata of length, phrases and acrostics, and what cannot be met."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import combinations
from typing import NamedTuple

from wenmo.decoding.constraints.acrostic import AcrosticAutomaton, parse_acrostic
from wenmo.decoding.constraints.lengths import (
    CharacterLength,
    LineLength,
    ShortSpaces,
    SyllableLength,
    WordLength,
    chinese_characters,
)
from wenmo.decoding.constraints.phrases import ForbiddenPhrases, RequiredPhrases
from wenmo.decoding.constraints.product import Product, State
from wenmo.decoding.constraints.settings import ConstraintSettings, alternatives, parse_lengths
from wenmo.text.automaton import TextAutomaton
from wenmo.types import WenmoError

TEXT_CONSTRAINTS = ("length", "require", "forbid", "acrostic")
"""The settings that automata over characters meet together."""

GAP_CONSTRAINTS = ("length", "require", "forbid")
"""Those that a gap can be held to."""

LENGTHS: dict[str, Callable[[int, float], TextAutomaton]] = {
    "c": CharacterLength,
    "w": WordLength,
    "l": LineLength,
    "s": SyllableLength,
}


class Part(NamedTuple):
    """A setting, as messages show it, and its automaton."""

    shown: str
    automaton: TextAutomaton


def parts_of(settings: ConstraintSettings, following: str = "") -> list[Part]:
    """The automata of a text's settings; none where it is free.

    Args:
        following: the text behind it, where it fills a gap.

    Raises:
        WenmoError: one that cannot be met.
    """
    parts = []
    for length in parse_lengths(settings.length) if settings.length else ():
        automaton = LENGTHS[length.unit](length.least, length.most)
        parts.append(Part(f"length={length}", automaton))
    if settings.length:
        parts.append(Part(f"length={settings.length}", ShortSpaces()))
    if settings.require:
        groups = [alternatives(each) for each in settings.require]
        shown = _shown("require", settings.require)
        parts.append(Part(shown, RequiredPhrases(groups)))
    if settings.forbid:
        shown = _shown("forbid", settings.forbid)
        parts.append(Part(shown, ForbiddenPhrases(settings.forbid, following)))
    if settings.acrostic is not None:
        acrostic = parse_acrostic(settings.acrostic)
        if not acrostic.characters:
            raise WenmoError(f"acrostic={settings.acrostic}: has no characters: give some")
        parts.append(Part(f"acrostic={settings.acrostic}", AcrosticAutomaton(acrostic)))
    return parts


def text_settings(settings: ConstraintSettings) -> ConstraintSettings:
    """Only those settings that automata over characters meet."""
    return ConstraintSettings(**{name: getattr(settings, name) for name in TEXT_CONSTRAINTS})


def start_of(
    settings: ConstraintSettings, product: Product, prompt: str = "", following: str = ""
) -> State:
    """The state at the beginning of a text.

    Args:
        settings: all of the product's.
        prompt: that the text continues.
        following: the text behind it, where it fills a gap.

    Raises:
        WenmoError: no text meets them all; the message names those that contradict each other.
    """
    state = product.start_after(prompt)
    if product.is_possible(state):
        return state
    parts = parts_of(settings, following)
    for size in range(1, len(parts)):
        for some in combinations(parts, size):
            smaller = Product([part.automaton for part in some], product.alphabet)
            if not smaller.is_possible(smaller.start_after(prompt)):
                raise _impossible(some)
    raise _impossible(parts)


def check_possible(settings: ConstraintSettings) -> None:
    """Check that some text meets the settings, whatever the vocabulary.

    Raises:
        WenmoError: none does.
    """
    parts = parts_of(settings)
    if parts:
        start_of(settings, Product([part.automaton for part in parts]))


def check_characters(settings: ConstraintSettings, alphabet: Collection[str]) -> None:
    """Check that the characters of the settings can be written.

    Raises:
        WenmoError: one cannot; the message names it.
    """
    for missing in _missing(settings, alphabet):
        raise WenmoError(
            f"{missing} is not in the characters that the model writes, those of its training "
            "text and the prompt: change it, or try unseen_characters=true"
        )


def _missing(settings: ConstraintSettings, alphabet: Collection[str]) -> Iterator[str]:
    """Each setting that needs other characters, with those."""
    for required in settings.require:
        lacking = [set(each) - set(alphabet) for each in alternatives(required)]
        if all(lacking):
            yield f"{_shown('require', [required])}: {_listed(min(lacking, key=len))}"
    if settings.acrostic is not None:
        unknown = set(parse_acrostic(settings.acrostic).characters) - set(alphabet)
        if unknown:
            yield f"acrostic={settings.acrostic}: {_listed(unknown)}"
        elif "\n" not in alphabet:
            yield f"acrostic={settings.acrostic}: the line end"
    for length in parse_lengths(settings.length) if settings.length else ():
        if length.unit == "s" and chinese_characters().isdisjoint(alphabet):
            raise WenmoError(
                f"length={length}: syllables are counted in Chinese, which the model does not "
                "write: ask for a form of English verse, or for words"
            )
        if length.unit == "l" and length.least > 1 and "\n" not in alphabet:
            yield f"length={length}: the line end"


def _shown(name: str, phrases: Collection[str]) -> str:
    return " and ".join(f"{name}={each}".replace("\n", "\\n") for each in phrases)


def _listed(characters: Collection[str]) -> str:
    return ", ".join(map(repr, sorted(characters)))


def _impossible(parts: Collection[Part]) -> WenmoError:
    if len(parts) == 1:
        [part] = parts
        return WenmoError(f"{part.shown}: no text that the model can write has it: change it")
    together = " and ".join(dict.fromkeys(part.shown for part in parts))
    return WenmoError(f"{together}: no text has all of it: change one of them")
