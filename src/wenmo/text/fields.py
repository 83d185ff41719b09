"""Fields of rows, and records from them. The rules are in ``wenmo.text.readers``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wenmo.config import did_you_mean
from wenmo.text.config import ReadConfig
from wenmo.text.field_names import (
    IDENTIFIERS,
    SPEAKERS,
    SPOKEN,
    TEXT_NAMES,
    TOOL_CALLS,
    TOOL_ROLES,
    TURN_NAMES,
    find_pair,
    task_of_pair,
)
from wenmo.text.formats import (
    HINT,
    ReadCounts,
    Record,
    Segment,
    by_number,
    listed,
    split_fields,
    top,
)
from wenmo.text.json_values import is_text
from wenmo.text.sniffing import looks_like_text
from wenmo.types import WenmoError

TEXT_PARTS = ("text", "input_text", "output_text")
"""Types of content parts that are text."""

ODD = re.compile("[\0\r\ud800-\udfff]")
"""Characters that are normalized or refused; most texts have none."""


class Fields:
    """Extracts records from the rows of a file.

    Attributes:
        control: fields whose values are control codes.
        turns: whether the text is a conversation, a list of turns.
    """

    def __init__(
        self,
        config: ReadConfig,
        location: str,
        counts: ReadCounts,
        suffix: str,
        control: tuple[str, ...] = (),
        turns: bool = False,
    ) -> None:
        self.config, self.location, self.counts = config, location, counts
        self.control, self.turns = control, turns
        self.chosen = [*config.fields, *control]
        self.columns = suffix in (".csv", ".tsv", ".parquet")  # all rows have the same fields
        tabular = suffix in (".csv", ".tsv")
        by_name = tabular and not by_number(self.chosen)
        self.missing_words = frozenset(config.missing_values if tabular else ())
        self.hint = f"; {HINT}" if by_name else ""
        self.text = config.text_field
        self.first: tuple[str, Mapping[str, object]] | None = None  # for its field names in errors
        self.seen_fields: set[str] = set()

    def to_record(self, row: object, location: str) -> Record | None:
        """The record of a row; ``None`` if something is missing."""
        source = self.config.source_field
        if isinstance(row, str) and not self.only_objects:
            text = self.clean(row, location)
            return Record(text) if text.strip() else None
        row = self.check_row(row, location)
        if not row:
            return None
        self.text = self.text or self.guess_text_field(row)
        segments = self.segments(row, self.text, location)
        if self.turns:
            text = "\n".join(segment.text for segment in segments)
        else:
            text = self.read(row, self.text, location, chosen=bool(self.config.text_field))
        source_text = source and self.read(row, source, location, chosen=True)
        values = [(name, self.read(row, name, location, chosen=True)) for name in self.control]
        attributes = tuple((name, value) for name, value in values if value.strip())
        if not text.strip() or (source_text is not None and not source_text.strip()):
            return None
        return Record(text, source_text, segments, attributes, location)

    @property
    def only_objects(self) -> bool:
        """Whether rows must be objects, not strings."""
        return bool(self.chosen or self.turns)

    def check_row(self, row: object, location: str) -> Mapping[str, object]:
        """The row, checked to be an object; the first of a table must have the chosen columns.

        Raises:
            WenmoError: it is not an object, or lacks them.
        """
        if not isinstance(row, Mapping):
            expected = "an object" if self.only_objects else "an object or a string"
            raise WenmoError(
                f"{location}: {_type_name(row)} where {expected} is expected; fix or remove it"
            )
        if self.first is None and row:
            self.first = (self.location if self.columns else location), row
            if self.columns:
                chosen = [each for field in self.chosen for each in split_fields(field, row)]
                self.check_chosen({name for name in chosen if name in row or top(name) in row})
        return row

    def guess_text_field(self, row: Mapping[str, object]) -> str:
        """The text field: the only field, one with a known name, or the only one of type text.

        Raises:
            WenmoError: several fields are possible, or they belong to another task.
        """
        source = self.config.source_field
        others = {*(split_fields(source, row) if source else ()), *map(top, self.control)}
        names = [name for name in row if name not in others]
        known = [name for name in names if name in TEXT_NAMES]
        turns = [name for name in names if _holds_turns(name, row[name])]
        if turns and not known:
            raise WenmoError(
                f"{self.location}: field {turns[0]!r} holds conversations: pass --task dialogue, "
                f"or --text-field NAME with another field{self.hint}"
            )
        texts = [name for name in names if is_text(row[name])]
        doubtful = any(isinstance(row[n], list) and row[n] and n not in texts for n in names)
        if doubtful or any(name.lower() in IDENTIFIERS for name in texts):
            texts = []
        for candidates in (names, known, texts):
            if len(candidates) == 1:
                return candidates[0]
        if self.hint and not self.chosen and looks_like_text(list(row)):
            raise WenmoError(f"{self.location}: {_headerless(len(row))}")
        choice = f"one of: {listed(names)}" if names else "another than the source"
        advice = f"pass --text-field NAME, {choice}{self.hint}"
        pair = None if source or self.turns else find_pair(list(names_of(row)))
        if pair is not None:
            source = pair[0].replace(",", " and ")
            advice += f"; or pass {task_of_pair(*pair)} to learn {pair[1]} from {source}"
        raise WenmoError(f"{self.location}: which field holds the text? {advice}")

    def read(self, row: Mapping[str, object], field: str, location: str, chosen: bool) -> str:
        """The text of a field, or of several separated by commas; empty if missing."""
        direct_value = row.get(field)
        if (
            type(direct_value) is str and direct_value.strip() not in self.missing_words
        ):  # the common case
            self.seen_fields.add(field)
            return self.clean(direct_value, location)
        names = split_fields(field, row)
        if len(names) > 1:
            texts = [self.read(row, name, location, chosen) for name in names]
            return "\n".join(text for text in texts if text.strip())
        value = self.value(row, field)
        if isinstance(value, str) and value.strip() in self.missing_words:
            self.counts.missing_values[value.strip()] += 1
            return ""
        if chosen and isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if value is None:
            return ""
        if not is_text(value) and value != []:
            advice = f"pass {self.option(field)} NAME with another, or fix the row"
            if _holds_turns(field, value):
                advice = f"pass --task dialogue to learn from conversations, or {advice}"
            elif isinstance(value, Mapping) and value:
                nested_names = listed(f"{field}.{key}" for key in value)
                advice = f"pass {self.option(field)} NAME, one of: {nested_names}"
            raise WenmoError(
                f"{location}: field {field!r} holds {_type_name(value)} where text is expected; "
                f"{advice}"
            )
        return self.clean(value if isinstance(value, str) else "\n".join(value), location)

    def missing_word(self, row: Mapping[str, object], field: str) -> str:
        """The word in a cell without a text, or ``empty``."""
        value = self.value(row, field)
        return value.strip() or "empty" if isinstance(value, str) else "empty"

    def value(self, row: Mapping[str, object], field: str) -> Any:
        """The value of a field; ``None`` if missing."""
        value: Any = row
        for key in [field] if field in row else field.split("."):
            if not isinstance(value, Mapping) or key not in value:
                return None
            value = value[key]
        self.seen_fields.add(field)
        return value

    def option(self, field: str) -> str:
        """The option with which the user chooses a field."""
        source = self.config.source_field
        if source and field in (source, *split_fields(source, ())):
            return "--source-field"
        return "--control" if field in self.control else "--text-field"

    def segments(self, row: Mapping[str, object], field: str, location: str) -> tuple[Segment, ...]:
        """The turns of a conversation, or the items of a text that is a list."""
        value = self.value(row, field)
        if self.turns and not isinstance(value, list | None):
            raise WenmoError(
                f"{location}: field {field!r} holds {_type_name(value)} where a list of turns "
                "is expected; pass --text-field NAME with another, or fix the row"
            )
        if self.turns:
            return tuple(self.turn(item, location) for item in value or ())
        if not isinstance(value, list):
            return ()
        if not is_text(value):
            return ()
        needs_cleaning = ODD.search("".join(value))
        return tuple(map(Segment, map(_normal, value) if needs_cleaning else value))

    def turn(self, item: object, location: str) -> Segment:
        """A turn from a string or an object; null is an empty turn."""
        content, role = item, None
        if isinstance(item, Mapping):
            self.refuse_tool_calls(item, location)
            known = [key for key in SPOKEN if key in item]
            content = item[known[0]] if known else item
            content = self.text_parts(content, location) if isinstance(content, list) else content
            role = next((str(item[key]) for key in SPEAKERS if item.get(key) is not None), None)
        if not isinstance(content, str | None):
            raise WenmoError(
                f"{location}: {_type_name(content)} where a turn is expected: text, or an object "
                f"with the keys {SPEAKERS[0]!r} and {SPOKEN[0]!r}; fix the row"
            )
        return Segment(self.clean(content or "", location), role)

    def refuse_tool_calls(self, message: Mapping[str, object], location: str) -> None:
        """Refuse messages with tool calls or tool results.

        Raises:
            WenmoError: this is one.
        """
        called = next((key for key in TOOL_CALLS if message.get(key)), None)
        role = message.get("role")
        if called or role in TOOL_ROLES:
            holds = f"calls tools ({called})" if called else f"has the role {role!r}"
            raise WenmoError(
                f"{location}: a message {holds}: only messages of users and the assistant can be "
                "learned; remove the message, or the row"
            )

    def text_parts(self, parts: Sequence[object], location: str) -> str:
        """The text of a message whose content is a list of parts.

        Raises:
            WenmoError: a part is not text.
        """
        texts = []
        for part in parts:
            type_ = part.get("type", "text") if isinstance(part, Mapping) else _type_name(part)
            text = part.get("text") if isinstance(part, Mapping) else part
            if not isinstance(text, str) or type_ not in TEXT_PARTS:
                raise WenmoError(
                    f"{location}: a message holds a part of type {type_!r}: only text can be "
                    "learned; remove the part, or the row"
                )
            texts.append(text)
        return "\n".join(texts)

    def clean(self, text: str, location: str) -> str:
        """A value, normalized like a file: escapes can contain the same characters."""
        if not ODD.search(text):
            return text
        self.counts.nuls += text.count("\0")
        if re.search("[\ud800-\udfff]", text):
            raise WenmoError(f"{location}: unpaired surrogate (\\ud800 to \\udfff); fix the row")
        return _normal(text)

    def check_chosen(self, met: set[str]) -> None:
        """Raise if no row has a chosen field, which is a typo rather than a missing value."""
        location, row = self.first or ("", {})
        for field in (each for chosen in self.chosen for each in split_fields(chosen, row)):
            if self.first and field not in met:
                names = list(names_of(row))
                found = f"{did_you_mean(field, names)} (found: {listed(names)}){self.hint}"
                raise WenmoError(f"{location}: no field {field!r}{found}")


def _holds_turns(name: str, value: object) -> bool:
    turns = isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
    return turns and name.rpartition(".")[2].lower() in TURN_NAMES


def names_of(row: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """The fields of a row; nested ones with dots."""
    for name, value in row.items():
        if isinstance(value, Mapping) and value:
            yield from names_of(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def _headerless(columns: int) -> str:
    """Advice for a table without a header."""
    if columns == 2:
        return (
            "two columns of text: pass --task translation (or another of pairs), or --text-field 1"
        )
    return f"{columns} columns without a header line: choose one by number, --text-field 1"


def _normal(text: str) -> str:
    return text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")


def _type_name(value: object) -> str:
    names: dict[type, str] = {dict: "an object", list: "a list", bool: "true or false", str: "text"}
    names |= {int: "a number", float: "a number", bytes: "bytes", type(None): "null"}
    name = names.get(type(value), f"a {type(value).__name__}")
    return "a list of not only strings" if name == "a list" and value else name
