"""A streaming JSON reader: values one at a time, in bounded memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from wenmo.text.field_names import SOURCE_NAMES, TARGET_NAMES, TEXT_NAMES, TURN_NAMES
from wenmo.types import WenmoError

MAX_CHARACTERS = 1 << 24
"""Maximum number of characters of a line, field or JSON value, to bound memory."""

MIN_ENTRIES = 10
"""An object with at least this many texts, none under a known field name, is a dictionary."""

MAX_HEAD = 1 << 20
"""Number of characters of an object after which its type is decided."""

RECORD_KEYS = (
    *("data", "records", "items", "rows", "examples", "entries", "results", "instances"),
    *("train", "数据", "记录"),
)
"""The usual names of a list of records inside an object."""

FIELD_NAMES = frozenset((*TEXT_NAMES, *SOURCE_NAMES, *TARGET_NAMES, *TURN_NAMES))


class _ListLocation(NamedTuple):
    """The location of a list of records: offset, key, and nesting depth."""

    offset: int
    key: str
    depth: int


class Json:
    """The values of a file: the items of one list, concatenated values, the records under a key of
    an object, or the entries of a dictionary.

    Args:
        texts: the characters of the file.
        location: name of the file in messages.
        note: called with remarks on the file.
        records_key: key of the records, with dots for nested objects; ``None``: the only list of
            objects.
        dictionary: whether an object maps words to definitions; ``None``: detected.
        chosen_fields: fields chosen by the user: an object with one of them is a record.
    """

    _blank = re.compile(r"[ \t\n]*")

    def __init__(
        self,
        texts: Iterator[str],
        location: str,
        note: Callable[[str], None] = lambda text: None,
        *,
        records_key: str | None = None,
        dictionary: bool | None = None,
        chosen_fields: Collection[str] = frozenset(),
    ) -> None:
        self.texts, self.location, self.note = texts, location, note
        self.records_key, self.dictionary = records_key, dictionary
        self.chosen_fields = frozenset(chosen_fields)
        self.decoder = json.JSONDecoder()
        self.buffer, self.at, self.line = "", 0, 1

    def values(self) -> Iterator[tuple[str, object]]:
        """Location and content of each value.

        Raises:
            WenmoError: not valid JSON, no list under the chosen key, or several lists of records.
        """
        first = self.peek()
        if first == "[":
            yield from self.items()
            self.end("the list")
            return
        if first == "{":
            found, is_dictionary = self.inspect_object()
            if found is not None:
                yield from self.records(found)
                return
            if is_dictionary:
                yield from self.entries()
                return
        while self.peek():
            location = f"{self.location}:{self.line}"
            yield location, self.value(location)

    # -- lists, records under a key, dictionaries ------------------------------------------------

    def items(self) -> Iterator[tuple[str, object]]:
        """The items of the list at the cursor."""
        self.skip(self.at + 1)
        while (char := self.peek()) and char != "]":
            location = f"{self.location}:{self.line}"
            yield location, self.value(location)
            if self.peek() == ",":
                self.skip(self.at + 1)
                if self.peek() in ("", "]"):
                    raise self.error_at("a value is expected after the comma")
            elif self.peek() != "]":
                raise self.error_at("a comma or the end of the list is expected")
        if not self.peek():
            raise self.error_at("the list has no end")
        self.skip(self.at + 1)

    def records(self, found: _ListLocation) -> Iterator[tuple[str, object]]:
        """The records under a key; consumes the rest of the file."""
        self.note(f"records under {found.key!r}")
        self.skip(self.at + found.offset)
        yield from self.items()
        for _ in range(found.depth):
            while self.peek() == ",":
                self.skip(self.at + 1)
                key = self.key()
                if self.records_key is None and self.lists_objects(0, key):
                    raise WenmoError(
                        f"{self.location}:{self.line}: records stand under {found.key!r} and under "
                        f"{key!r}; choose one list: records_key={found.key}"
                    )
                self.value(f"{self.location}:{self.line}")
            if self.peek() != "}":
                raise self.error_at("a comma or the end of the object is expected")
            self.skip(self.at + 1)
        self.end("the object that holds the records")

    def entries(self) -> Iterator[tuple[str, object]]:
        """The entries of a dictionary, as objects with ``word`` and ``definition``."""
        self.note("a dictionary: word, definition")
        self.skip(self.at + 1)
        while self.peek() == '"':
            location = f"{self.location}:{self.line}"
            yield location, {"word": self.key(), "definition": self.value(location)}
            if self.peek() == ",":
                self.skip(self.at + 1)
        if self.peek() != "}":
            raise self.error_at("a comma or the end of the object is expected")
        self.skip(self.at + 1)
        self.end("the dictionary")

    # -- what an object is -----------------------------------------------------------------------

    def inspect_object(self) -> tuple[_ListLocation | None, bool]:
        """What the object at the cursor contains: the location of records, and whether it is a
        dictionary.

        Raises:
            WenmoError: there is no list under the chosen key.
        """
        if self.dictionary:
            return None, True
        keys: list[str] = []
        texts: list[str] = []
        try:
            _, found = self.find_records(0, (), keys, texts)
        except (ValueError, RecursionError):  # reported when the value is read
            return None, False
        if found is None and self.records_key is not None:
            listed = ", ".join(keys[:20])
            raise WenmoError(
                f"{self.location}: no list of records under {self.records_key!r} (found: "
                f"{listed}); pass another records_key=KEY, or leave it out"
            )
        known = FIELD_NAMES.intersection(map(str.lower, texts)) or self.chosen_fields.intersection(
            keys
        )
        if found is not None:
            usual = self.records_key is not None or found.key.lower() in RECORD_KEYS
            return (None if self.is_followed() or (known and not usual) else found), False
        allowed = self.dictionary is None and not known
        return None, allowed and MIN_ENTRIES <= len(texts) == len(keys)

    def find_records(
        self, at: int, path: tuple[str, ...], keys: list[str], texts: list[str]
    ) -> tuple[int, _ListLocation | None]:
        """Find a list of records in the object at an offset.

        Args:
            at: the offset.
            path: keys that lead to the object.
            keys: filled with the keys of the outermost object, as far as they are read.
            texts: filled with those of them whose values are texts.

        Returns:
            The offset after the object, and the location of the list.
        """
        at = self.skip_blanks(at + 1)
        while self.char_at(at) == '"':
            key, at = self.decode(at)
            if not path:
                keys.append(key)
            at = self.skip_blanks(at)
            if self.char_at(at) != ":":
                raise ValueError
            at = self.skip_blanks(at + 1)
            name = ".".join([*path, key])
            if self.lists_objects(at, name):
                return at, _ListLocation(at, name, len(path) + 1)
            if self.char_at(at) == "{" and len(path) < 5:
                at, found = self.find_records(at, (*path, key), keys, texts)
                if found is not None:
                    return at, found
            else:
                value, at = self.decode(at)
                if not path and is_text(value):
                    texts.append(key)
            at = self.skip_blanks(at)
            if at > MAX_HEAD and not path and len(texts) == len(keys):
                break
            if at > MAX_CHARACTERS:
                raise ValueError
            if self.char_at(at) == ",":
                at = self.skip_blanks(at + 1)
        return at + 1, None

    def is_followed(self) -> bool:
        """Whether another value follows the object at the cursor, so that each is a record."""
        try:
            _, end = self.decoder.raw_decode(self.buffer, self.at)
        except (ValueError, RecursionError):  # it is incomplete, so it is large
            return False
        return bool(self.char_at(self.skip_blanks(end - self.at)))

    def lists_objects(self, at: int, key: str) -> bool:
        """Whether the value at an offset is the list of records."""
        if self.char_at(at) != "[":
            return False
        if self.records_key is not None:
            return key == self.records_key
        turns = key.rpartition(".")[2].lower() in TURN_NAMES
        return not turns and self.char_at(self.skip_blanks(at + 1)) == "{"

    # -- a cursor over the file; offsets are relative to it ---------------------------------------

    def key(self) -> str:
        """Consume a key and its colon."""
        key = self.value(f"{self.location}:{self.line}") if self.peek() == '"' else None
        if not isinstance(key, str) or self.peek() != ":":
            raise self.error_at("a key in quotation marks and a colon are expected")
        self.skip(self.at + 1)
        self.peek()
        return key

    def peek(self) -> str:
        """The next non-blank character; empty at the end."""
        offset = self.skip_blanks(0)  # may read more text and move the buffer
        self.skip(self.at + offset)
        return self.buffer[self.at : self.at + 1]

    def skip_blanks(self, offset: int) -> int:
        """The offset of the first non-blank character from an offset on."""
        while True:
            match = self._blank.match(self.buffer, self.at + offset)
            assert match is not None
            offset = match.end() - self.at
            if match.end() < len(self.buffer) or not self.more():
                return offset

    def char_at(self, offset: int) -> str:
        """The character at an offset; empty at the end."""
        while self.at + offset >= len(self.buffer) and self.more():
            pass
        return self.buffer[self.at + offset : self.at + offset + 1]

    def value(self, location: str) -> object:
        """Consume the value at the cursor."""
        try:
            value, end = self.decode(0)
        except (ValueError, RecursionError) as error:
            raise not_json(location, error, "value that begins here") from None
        self.skip(self.at + end)
        return value

    def decode(self, offset: int) -> tuple[Any, int]:
        """The value at an offset and the offset after it; reads more text until it is complete."""
        while True:
            try:
                value, end = self.decoder.raw_decode(self.buffer, self.at + offset)
            except (ValueError, RecursionError):
                if len(self.buffer) - self.at - offset > MAX_CHARACTERS:
                    raise ValueError(f"no end within {MAX_CHARACTERS} characters") from None
                if not self.more():
                    raise
                continue
            if end < len(self.buffer) or not self.more():  # a number may continue in the next piece
                return value, end - self.at

    def skip(self, end: int) -> None:
        self.line += self.buffer.count("\n", self.at, end)
        self.at = end

    def more(self) -> bool:
        piece = next(self.texts, "")
        if piece:
            self.buffer, self.at = self.buffer[self.at :] + piece, 0
        return bool(piece)

    def end(self, subject: str) -> None:
        if self.peek():
            raise self.error_at(f"something follows the end of {subject}")

    def error_at(self, reason: str) -> WenmoError:
        return not_json(f"{self.location}:{self.line}", ValueError(reason), "list")


def not_json(location: str, error: Exception, subject: str) -> WenmoError:
    """The error for invalid JSON, in one line."""
    reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    return WenmoError(f"{location}: not valid JSON: {reason}; fix or remove the {subject}")


def is_text(value: object) -> bool:
    """Whether a value is a text, or a list of texts."""
    if isinstance(value, list):
        types = set(map(type, value))
        return types == {str} or (bool(types) and all(issubclass(each, str) for each in types))
    return isinstance(value, str)
