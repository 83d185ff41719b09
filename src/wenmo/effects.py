"""Settings that have no effect for what was asked: where each has one is declared, and told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Effect(Generic[T]):
    """Where some settings have an effect.

    Attributes:
        settings: their names, with spaces between.
        where: in words, for the user: "with method=beam".
        holds: whether they have an effect in a situation.
    """

    settings: str
    where: str
    holds: Callable[[T], bool]


def without_effect(given: Collection[str], effects: Sequence[Effect[T]], situation: T) -> list[str]:
    """A line for the user for the given settings that change nothing in the situation.

    Settings that no entry names always have an effect.
    """
    lines = []
    for effect in effects:
        idle = [name for name in effect.settings.split() if name in given]
        if idle and not effect.holds(situation):
            verb = "has" if len(idle) == 1 else "have"
            lines.append(f"{', '.join(idle)} {verb} no effect here, only {effect.where}")
    return lines
