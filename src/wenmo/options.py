"""Declarations of options: each is a field of a settings class, with its range and help text.

The command line, its help, value checks and the tables in ``docs/`` use these declarations.
`wenmo.config` parses values from dicts, TOML and ``key=value``.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class Range:
    """The valid range of a number. NaN is in no range that has a bound."""

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, number: float) -> bool:
        return (
            (self.minimum is None or number >= self.minimum)
            and (self.maximum is None or number <= self.maximum)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def __str__(self) -> str:
        if self.minimum is not None and self.maximum is not None:
            return f"from {self.minimum} to {self.maximum}"
        if self.above == 0 and self.below == math.inf:
            return "a positive number"
        bounds = {
            "at least": self.minimum,
            "above": self.above,
            "at most": self.maximum,
            "below": self.below,
        }
        given = {word: bound for word, bound in bounds.items() if bound not in (None, math.inf)}
        return " and ".join(f"{word} {bound}" for word, bound in given.items())


@dataclass(frozen=True)
class Option:
    """The declaration of an option.

    Attributes:
        name: name of its field.
        type: type of its field.
        default: default value.
        help, help_zh: one line of help in English and Chinese, with values in backticks.
        range: valid range of a number, or of each number in a list.
        unset, unset_zh: description of the value if none is given, if that is not the default.
        flag: option of ``wenmo train`` and ``wenmo inspect`` that sets it, without dashes; "": only
            ``key=value`` sets it.
        metavar: placeholder of its value in the help of the command line.
    """

    name: str
    type: Any
    default: Any
    help: str
    help_zh: str
    range: Range = Range()
    unset: str = ""
    unset_zh: str = ""
    flag: str = ""
    metavar: str | None = None

    @property
    def members(self) -> tuple[Any, ...]:
        """The types of its value: the members of a union, or the type itself."""
        arguments = typing.get_args(self.type)
        return arguments if type(None) in arguments else (self.type,)

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values of a ``Literal``; empty for other types."""
        literals = [each for each in self.members if typing.get_origin(each) is typing.Literal]
        return tuple(choice for each in literals for choice in typing.get_args(each))

    @property
    def wanted(self) -> str:
        """A description of valid values."""
        if not self.choices:
            return str(self.range)
        *others, last = map(str, self.choices)
        return f"{', '.join(others)} or {last}" if others else last

    def admits(self, value: Any) -> bool:
        """Whether a value is one of the choices, or in the range."""
        if value is None:
            return True
        if self.choices:
            return value in self.choices
        numbers = value if isinstance(value, tuple) else (value,)
        return all(each in self.range for each in numbers if isinstance(each, int | float))


def option(
    default: Any,
    help: str,  # noqa: A002 - the word of argparse and typer
    help_zh: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    **more: Any,
) -> Any:
    """Declare an option as a dataclass field.

    Args:
        default: default value.
        help, help_zh: one line of help in English and Chinese.
        minimum, maximum: inclusive bounds.
        above, below: exclusive bounds.
        more: other attributes of `Option`.
    """
    bounds = Range(minimum, maximum, above, below)
    metadata = {"help": help, "help_zh": help_zh, "range": bounds, **more}
    return dataclasses.field(default=default, metadata={"option": metadata})


def options_of(settings: type) -> dict[str, Option]:
    """The options of a settings class by name, in the order of its fields."""
    hashable: Any = settings  # mypy takes a class's hash for that of its instances
    return _options_of(hashable)


@cache
def _options_of(settings: Any) -> dict[str, Option]:
    hints = typing.get_type_hints(settings)
    return {
        field.name: Option(field.name, hints[field.name], field.default, **declared)
        for field in dataclasses.fields(settings)
        if (declared := field.metadata.get("option")) is not None
    }


def invalid_options(settings: Any) -> Iterator[Option]:
    """The options with invalid values in ``settings``."""
    for name, declared in options_of(type(settings)).items():
        if not declared.admits(getattr(settings, name)):
            yield declared


@dataclass(frozen=True)
class Settings:
    """Base class of settings, which checks its values.

    Raises:
        ValueError: a value is not one of the choices, or out of range; the message names the
            option.
    """

    def __post_init__(self) -> None:
        for wrong in invalid_options(self):
            raise ValueError(f"{wrong.name} must be {wrong.wanted}")
