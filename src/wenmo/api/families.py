"""The families of models that can be trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wenmo.config import to_dict
from wenmo.models import MODELS, find
from wenmo.results import Result


@dataclass(frozen=True)
class Family(Result):
    """A family of models.

    Attributes:
        name: as ``--model`` takes it.
        good_for: in a few words.
        settings: with their defaults.
        sizes: their names.
        size_settings: by size, the settings that differ from the defaults.
    """

    name: str
    good_for: str
    settings: dict[str, Any]
    sizes: list[str]
    size_settings: dict[str, dict[str, Any]]


def catalogue(family: str | None = None) -> list[Family]:
    """Every family, or one: what it is good for, its settings with their defaults, its sizes.

    Raises:
        WenmoError: no such family.
    """
    if family is not None:
        family, _ = find(family)
    return [
        Family(
            name,
            entry.good_for,
            to_dict(entry.config),
            list(entry.sizes),
            {
                size: _changes(to_dict(entry.config), to_dict(config))
                for size, config in entry.sizes.items()
            },
        )
        for name, entry in MODELS.items()
        if family in (None, name)
    ]


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in after.items() if before[key] != value}
