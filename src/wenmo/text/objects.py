"""Texts that stand in memory: lists, pandas Series and DataFrames, read as a file of records is."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wenmo.text.inputs import Copy, Source, rereadable
from wenmo.types import WenmoError

NAME = "data.jsonl"


class Texts(Copy):
    """Plain texts in memory: no fields are chosen among them."""


def as_source(data: Any) -> Source:
    """Data as something that a reader takes: paths as they are, what can be read once as a copy,
    and records in memory as a temporary JSONL file.

    Args:
        data: a path; or records: strings, pairs of source and target, or dicts, in a list, a tuple,
            a pandas Series or anything else to go through; or a pandas DataFrame, whose columns are
            the fields.

    Raises:
        WenmoError: there is no record, or one is of another kind.
    """
    if isinstance(data, str | Path | Copy):
        return rereadable(data)
    if hasattr(data, "to_dict") and hasattr(data, "columns"):
        data = data.to_dict("records")
    if isinstance(data, Mapping | bytes | bytearray) or not isinstance(data, Iterable):
        raise WenmoError(
            f"data: a {type(data).__name__}: give a path, or a list of texts, pairs or dicts"
        )
    rows = [_record(row, number) for number, row in enumerate(data, 1)]
    if not rows:
        raise WenmoError("data: no texts in it: give some")
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    plain = all(row.keys() == {"text"} for row in rows)
    return (Texts if plain else Copy)(io.BytesIO(lines.encode()), NAME)


def _record(row: Any, number: int) -> dict[str, Any]:
    if isinstance(row, str) or _is_missing(row):
        return {"text": None if _is_missing(row) else row}
    if isinstance(row, Mapping):
        return {str(name): _plain(value) for name, value in row.items()}
    if isinstance(row, list | tuple) and len(row) == 2:
        return {"source": _plain(row[0]), "target": _plain(row[1])}
    raise WenmoError(
        f"data: record {number} is a {type(row).__name__}: give strings, pairs of two strings, or "
        "dicts"
    )


def _plain(value: Any) -> Any:
    """A value as JSON knows it: numpy's numbers as Python's, missing ones as null."""
    if _is_missing(value):
        return None
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return value.item() if hasattr(value, "item") else value


def _is_missing(value: Any) -> bool:
    """Whether a value is None, or one of those that are not themselves, as NaN and NaT."""
    return value is None or (not isinstance(value, str | list | tuple | Mapping) and value != value)
