"""The catalogue of model families that can be trained."""

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
        name: the value of ``--model``.
        good_for: its uses, in a few words.
        settings: its settings with their defaults.
        sizes: the names of its sizes.
        size_settings: for each size, the settings that differ from the defaults.
    """

    name: str
    good_for: str
    settings: dict[str, Any]
    sizes: list[str]
    size_settings: dict[str, dict[str, Any]]


def catalogue(family: str | None = None) -> list[Family]:
    """All families, or one.

    Raises:
        WenmoError: the family is unknown.
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
                size: _differences(to_dict(entry.config), to_dict(config))
                for size, config in entry.sizes.items()
            },
        )
        for name, entry in MODELS.items()
        if family in (None, name)
    ]


def _differences(default: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if default[key] != value}
