"""Values of control fields: those that a text has, and what a user asks for beside them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import TypeAlias

from wenmo.config import did_you_mean
from wenmo.text.config import TaskConfig
from wenmo.text.formats import Record
from wenmo.text.tasks import unknown_field
from wenmo.types import WenmoError

MOST_VALUES = 10_000
"""Of a field with more distinct values none are kept: it is text, and any value is taken."""

SHOWN = 8

Values: TypeAlias = "dict[str, dict[str, int]]"
"""Of each field how often each value stands in the training text; ``""`` where it is missing."""


def tally(values: Values, record: Record, task: TaskConfig) -> None:
    """Count the values that a record has of a task's control fields."""
    attributes = dict(record.attributes)
    for field in task.control:
        value = " ".join(attributes.get(field, "").split())
        of_field = values.setdefault(field, {})
        of_field[value] = of_field.get(value, 0) + 1


def kept(values: Values) -> Values:
    """What a model card keeps: no values of fields that have too many of them."""
    return {field: seen for field, seen in values.items() if len(seen) <= MOST_VALUES}


def resolve(
    asked: Mapping[str, str], task: TaskConfig, values: Values
) -> tuple[dict[str, str], list[str]]:
    """The values to write with, and a line for each field that was not given.

    A value may differ from a known one in case and in full-width forms. A field that is not given
    has its most common value; an empty value asks for none.

    Raises:
        WenmoError: the training text has no such value.
    """
    for field in asked:
        if field not in task.control and task.control:
            raise unknown_field(field, task)
    resolved, notes = dict(asked), []
    for field in task.control:
        seen = values.get(field)
        if seen is None:
            continue
        if field in asked:
            resolved[field] = _known(field, asked[field], seen)
        elif common := Counter(seen).most_common(1)[0][0]:
            resolved[field] = common
            notes.append(f"{field} is not given: {field}={common}, the most common ({_list(seen)})")
    return resolved, notes


def _known(field: str, value: str, seen: Mapping[str, int]) -> str:
    value = " ".join(value.split())
    if value in seen or not value:
        return value
    alike = [known for known in seen if _folded(known) == _folded(value)]
    if len(alike) == 1:
        return alike[0]
    offer = did_you_mean(value, seen)
    raise WenmoError(f"no {field}={value} in the training text{offer} ({_list(seen)})")


def _list(seen: Mapping[str, int]) -> str:
    """The most common values first."""
    values = [value for value, _ in Counter(seen).most_common() if value]
    more = f" and {len(values) - SHOWN:,} more" if len(values) > SHOWN else ""
    return f"values: {', '.join(values[:SHOWN])}{more}"


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
