"""Rows in, records out. The rules are told in ``wenmo.text.readers``."""

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
from wenmo.text.formats import HINT, Part, ReadCounts, Record, by_number, listed, spread, top
from wenmo.text.json_values import is_text
from wenmo.text.sniffing import looks_like_text
from wenmo.types import WenmoError

TEXT_PARTS = ("text", "input_text", "output_text")
"""Types of the parts of a message that hold text."""

ODD = re.compile("[\0\r\ud800-\udfff]")
"""Characters that a text does not keep as they are. Most texts have none of them."""


class Fields:
    """Finds the text, and what belongs to it, in the rows of one file.

    Attributes:
        control: the fields whose values are control codes.
        turns: the text is a conversation: a list of turns.
    """

    def __init__(
        self,
        config: ReadConfig,
        place: str,
        counts: ReadCounts,
        kind: str,
        control: tuple[str, ...] = (),
        turns: bool = False,
    ) -> None:
        self.config, self.place, self.counts = config, place, counts
        self.control, self.turns = control, turns
        self.chosen = [*config.fields, *control]
        self.columns = kind in (".csv", ".tsv", ".parquet")  # every row has the same fields
        tabular = kind in (".csv", ".tsv")
        by_name = tabular and not by_number(self.chosen)
        self.absent = frozenset(config.missing_values if tabular else ())
        self.hint = f"; {HINT}" if by_name else ""
        self.text = config.text_field
        self.first: tuple[str, Mapping[str, object]] | None = None  # to name its fields in errors
        self.met: set[str] = set()

    def pick(self, row: object, place: str) -> Record | None:
        """The record of a row; ``None`` where something is missing."""
        source = self.config.source_field
        if isinstance(row, str) and not self.only_objects:
            text = self.clean(row, place)
            return Record(text) if text.strip() else None
        row = self.look(row, place)
        if not row:
            return None
        self.text = self.text or self.guess(row)
        parts = self.parts(row, self.text, place)
        if self.turns:
            text = "\n".join(part.text for part in parts)
        else:
            text = self.read(row, self.text, place, chosen=bool(self.config.text_field))
        said = source and self.read(row, source, place, chosen=True)
        values = [(name, self.read(row, name, place, chosen=True)) for name in self.control]
        attributes = tuple((name, value) for name, value in values if value.strip())
        if not text.strip() or (said is not None and not said.strip()):
            return None
        return Record(text, said, parts, attributes, place)

    @property
    def only_objects(self) -> bool:
        """Whether a row that is a string will not do."""
        return bool(self.chosen or self.turns)

    def look(self, row: object, place: str) -> Mapping[str, object]:
        """A row, made sure to be an object; the first of a table must have the chosen columns.

        Raises:
            WenmoError: it is no object, or lacks them.
        """
        if not isinstance(row, Mapping):
            expected = "an object" if self.only_objects else "an object or a string"
            raise WenmoError(f"{place}: {_is(row)} where {expected} is expected; mend or remove it")
        if self.first is None and row:
            self.first = (self.place if self.columns else place), row
            if self.columns:
                chosen = [each for field in self.chosen for each in spread(field, row)]
                self.check({name for name in chosen if name in row or top(name) in row})
        return row

    def guess(self, row: Mapping[str, object]) -> str:
        """The field that holds the text, told by there being only one, its name, or its type.

        Raises:
            WenmoError: several fields may hold it, or those that do are of another task.
        """
        source = self.config.source_field
        others = {*(spread(source, row) if source else ()), *map(top, self.control)}
        names = [name for name in row if name not in others]
        known = [name for name in names if name in TEXT_NAMES]
        turns = [name for name in names if _holds_turns(name, row[name])]
        if turns and not known:
            raise WenmoError(
                f"{self.place}: field {turns[0]!r} holds conversations: pass --task dialogue, or "
                f"--text-field NAME with another field{self.hint}"
            )
        texts = [name for name in names if is_text(row[name])]
        doubtful = any(isinstance(row[n], list) and row[n] and n not in texts for n in names)
        if doubtful or any(name.lower() in IDENTIFIERS for name in texts):
            texts = []
        for candidates in (names, known, texts):
            if len(candidates) == 1:
                return candidates[0]
        if self.hint and not self.chosen and looks_like_text(list(row)):
            raise WenmoError(f"{self.place}: {_headerless(len(row))}")
        choice = f"one of: {listed(names)}" if names else "another than the source"
        advice = f"pass --text-field NAME, {choice}{self.hint}"
        pair = None if source or self.turns else find_pair(list(names_of(row)))
        if pair is not None:
            source = pair[0].replace(",", " and ")
            advice += f"; or pass {task_of_pair(*pair)} to learn {pair[1]} from {source}"
        raise WenmoError(f"{self.place}: which field holds the text? {advice}")

    def read(self, row: Mapping[str, object], field: str, place: str, chosen: bool) -> str:
        """The text of a field, or of several with commas between; empty where it is missing."""
        plain = row.get(field)
        if type(plain) is str and plain.strip() not in self.absent:  # nearly always
            self.met.add(field)
            return self.clean(plain, place)
        names = spread(field, row)
        if len(names) > 1:
            texts = [self.read(row, name, place, chosen) for name in names]
            return "\n".join(text for text in texts if text.strip())
        value = self.value(row, field)
        if isinstance(value, str) and value.strip() in self.absent:
            self.counts.missing_values[value.strip()] += 1
            return ""
        if chosen and isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if value is None:
            return ""
        if not is_text(value) and value != []:
            advice = f"pass {self.option(field)} NAME with another, or mend the row"
            if _holds_turns(field, value):
                advice = f"pass --task dialogue to learn from conversations, or {advice}"
            elif isinstance(value, Mapping) and value:
                inside = listed(f"{field}.{key}" for key in value)
                advice = f"pass {self.option(field)} NAME, one of: {inside}"
            raise WenmoError(
                f"{place}: field {field!r} holds {_is(value)} where text is expected; {advice}"
            )
        return self.clean(value if isinstance(value, str) else "\n".join(value), place)

    def missing_word(self, row: Mapping[str, object], field: str) -> str:
        """The word that a cell without a text holds, or ``empty``."""
        value = self.value(row, field)
        return value.strip() or "empty" if isinstance(value, str) else "empty"

    def value(self, row: Mapping[str, object], field: str) -> Any:
        """What a field holds, ``None`` where it is missing."""
        value: Any = row
        for key in [field] if field in row else field.split("."):
            if not isinstance(value, Mapping) or key not in value:
                return None
            value = value[key]
        self.met.add(field)
        return value

    def option(self, field: str) -> str:
        """The option by which the user chose a field, or may choose another."""
        source = self.config.source_field
        if source and field in (source, *spread(source, ())):
            return "--source-field"
        return "--control" if field in self.control else "--text-field"

    def parts(self, row: Mapping[str, object], field: str, place: str) -> tuple[Part, ...]:
        """The turns of a conversation, or the items of any other text that is a list."""
        value = self.value(row, field)
        if self.turns and not isinstance(value, list | None):
            raise WenmoError(
                f"{place}: field {field!r} holds {_is(value)} where a list of turns is expected; "
                "pass --text-field NAME with another, or mend the row"
            )
        if self.turns:
            return tuple(self.turn(item, place) for item in value or ())
        if not isinstance(value, list):
            return ()
        if not is_text(value):
            return ()
        odd = ODD.search("".join(value))
        return tuple(map(Part, map(_normal, value) if odd else value))

    def turn(self, item: object, place: str) -> Part:
        """A turn, from a string or an object; what is null is a turn without words."""
        said, role = item, None
        if isinstance(item, Mapping):
            self.refuse_tools(item, place)
            known = [key for key in SPOKEN if key in item]
            said = item[known[0]] if known else item
            said = self.text_parts(said, place) if isinstance(said, list) else said
            role = next((str(item[key]) for key in SPEAKERS if item.get(key) is not None), None)
        if not isinstance(said, str | None):
            raise WenmoError(
                f"{place}: {_is(said)} where a turn is expected: text, or an object with the keys "
                f"{SPEAKERS[0]!r} and {SPOKEN[0]!r}; mend the row"
            )
        return Part(self.clean(said or "", place), role)

    def refuse_tools(self, message: Mapping[str, object], place: str) -> None:
        """Refuse messages of a conversation that call tools, or hold what these answer.

        Raises:
            WenmoError: this is one.
        """
        called = next((key for key in TOOL_CALLS if message.get(key)), None)
        role = message.get("role")
        if called or role in TOOL_ROLES:
            holds = f"calls tools ({called})" if called else f"has the role {role!r}"
            raise WenmoError(
                f"{place}: a message {holds}: only what people and the assistant say can be "
                "learnt; remove the message, or the row"
            )

    def text_parts(self, parts: Sequence[object], place: str) -> str:
        """The text of a message whose content is a list of parts.

        Raises:
            WenmoError: a part is no text.
        """
        texts = []
        for part in parts:
            kind = part.get("type", "text") if isinstance(part, Mapping) else _is(part)
            text = part.get("text") if isinstance(part, Mapping) else part
            if not isinstance(text, str) or kind not in TEXT_PARTS:
                raise WenmoError(
                    f"{place}: a message holds a part of type {kind!r}: only text can be learnt; "
                    "remove the part, or the row"
                )
            texts.append(text)
        return "\n".join(texts)

    def clean(self, text: str, place: str) -> str:
        """What a decoder does to a file, done to a value: escapes hide the same characters."""
        if not ODD.search(text):
            return text
        self.counts.nuls += text.count("\0")
        if re.search("[\ud800-\udfff]", text):
            raise WenmoError(f"{place}: half a surrogate pair (\\ud800 to \\udfff); mend the row")
        return _normal(text)

    def check(self, met: set[str]) -> None:
        """A field that no row has is a slip of the user's, not a missing value."""
        place, row = self.first or ("", {})
        for field in (each for chosen in self.chosen for each in spread(chosen, row)):
            if self.first and field not in met:
                names = list(names_of(row))
                found = f"{did_you_mean(field, names)} (found: {listed(names)}){self.hint}"
                raise WenmoError(f"{place}: no field {field!r}{found}")


def _holds_turns(name: str, value: object) -> bool:
    turns = isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
    return turns and name.rpartition(".")[2].lower() in TURN_NAMES


def names_of(row: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """The fields of a row, those of nested objects with dots."""
    for name, value in row.items():
        if isinstance(value, Mapping) and value:
            yield from names_of(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def _headerless(columns: int) -> str:
    """What to do with a table whose first row is no header."""
    if columns == 2:
        return (
            "two columns of text: pass --task translation (or another of pairs), or --text-field 1"
        )
    return f"{columns} columns without a header line: choose one by number, --text-field 1"


def _normal(text: str) -> str:
    return text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")


def _is(value: object) -> str:
    kinds: dict[type, str] = {dict: "an object", list: "a list", bool: "true or false", str: "text"}
    kinds |= {int: "a number", float: "a number", bytes: "bytes", type(None): "null"}
    kind = kinds.get(type(value), f"a {type(value).__name__}")
    return "a list of not only strings" if kind == "a list" and value else kind
