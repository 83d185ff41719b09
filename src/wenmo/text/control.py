"""Control fields: the values in the training text, and those requested by users."""

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

MAX_VALUES = 10_000
"""A field with more distinct values is treated as text: no values are kept, and any is valid."""

SHOWN = 8

Values: TypeAlias = "dict[str, dict[str, int]]"
"""For each field, the count of each value in the training text; ``""`` if missing."""


def tally(values: Values, record: Record, task: TaskConfig) -> None:
    """Count the values of a record's control fields."""
    attributes = dict(record.attributes)
    for field in task.control:
        value = " ".join(attributes.get(field, "").split())
        of_field = values.setdefault(field, {})
        of_field[value] = of_field.get(value, 0) + 1


def without_long_lists(values: Values) -> Values:
    """The values for the model card: none of fields with too many."""
    return {field: counts for field, counts in values.items() if len(counts) <= MAX_VALUES}


def resolve(
    requested: Mapping[str, str], task: TaskConfig, values: Values
) -> tuple[dict[str, str], list[str]]:
    """The control values for generation, and a line for each field that was not given.

    Case and full-width forms of a value do not matter. A field that is not given has its most
    common value; an empty value means none.

    Raises:
        WenmoError: the training text has no such value.
    """
    for field in requested:
        if field not in task.control and task.control:
            raise unknown_field(field, task)
    resolved, notes = dict(requested), []
    for field in task.control:
        counts = values.get(field)
        if counts is None:
            continue
        if field in requested:
            resolved[field] = _known(field, requested[field], counts)
        elif common := Counter(counts).most_common(1)[0][0]:
            resolved[field] = common
            notes.append(
                f"{field} is not given: {field}={common}, the most common ({_list(counts)})"
            )
    return resolved, notes


def _known(field: str, value: str, counts: Mapping[str, int]) -> str:
    value = " ".join(value.split())
    if value in counts or not value:
        return value
    matching = [known for known in counts if _folded(known) == _folded(value)]
    if len(matching) == 1:
        return matching[0]
    suggestion = did_you_mean(value, counts)
    raise WenmoError(f"no {field}={value} in the training text{suggestion} ({_list(counts)})")


def _list(counts: Mapping[str, int]) -> str:
    """The most common values first."""
    values = [value for value, _ in Counter(counts).most_common() if value]
    more = f" and {len(values) - SHOWN:,} more" if len(values) > SHOWN else ""
    return f"values: {', '.join(values[:SHOWN])}{more}"


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
