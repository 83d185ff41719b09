"""Declares when settings have an effect, to warn about settings that have none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Effect(Generic[T]):
    """The condition under which some settings have an effect.

    Attributes:
        settings: names of the settings, separated by spaces.
        condition: description for the user, such as "with method=beam".
        applies: whether the settings have an effect in a situation.
    """

    settings: str
    condition: str
    applies: Callable[[T], bool]


def ineffective_settings(
    given: Collection[str], effects: Sequence[Effect[T]], situation: T
) -> list[str]:
    """One line for each effect whose condition is not met, naming the given settings.

    Settings without an entry always have an effect.
    """
    lines = []
    for effect in effects:
        unused = [name for name in effect.settings.split() if name in given]
        if unused and not effect.applies(situation):
            verb = "has" if len(unused) == 1 else "have"
            lines.append(f"{', '.join(unused)} {verb} no effect here, only {effect.condition}")
    return lines
