"""JSON values out of a stream, one at a time: a file of any size is read in bounded memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from wenmo.text.field_names import SOURCE_NAMES, TARGET_NAMES, TEXT_NAMES, TURN_NAMES
from wenmo.types import WenmoError

LONGEST = 1 << 24
"""The most characters of one line, field or JSON value, so that memory stays bounded."""

FEWEST_ENTRIES = 10
"""An object of at least so many texts, none of them under a known name, is a dictionary."""

LONGEST_HEAD = 1 << 20
"""What an object holds is known after so many characters of it."""

RECORD_KEYS = (
    *("data", "records", "items", "rows", "examples", "entries", "results", "instances"),
    *("train", "数据", "记录"),
)
"""The usual names of a list of records inside an object."""

FIELD_NAMES = frozenset((*TEXT_NAMES, *SOURCE_NAMES, *TARGET_NAMES, *TURN_NAMES))


class _Place(NamedTuple):
    """Where a list of records stands: behind how many characters, under which key, how deep."""

    offset: int
    key: str
    depth: int


class Json:
    """The values of a file: the items of one list, several values one after another, the records
    that stand under a key of one object, or the entries of a dictionary.

    Args:
        texts: the file's characters.
        place: what the user calls the file.
        note: is told what was found out about the file.
        records_key: the key, with dots for nested objects, under which the records stand; ``None``:
            the only list of objects.
        dictionary: whether an object maps words to definitions; ``None``: that is found out.
        wanted: keys that the user chose: an object that has one of them is a record.
    """

    _blank = re.compile(r"[ \t\n]*")

    def __init__(
        self,
        texts: Iterator[str],
        place: str,
        note: Callable[[str], None] = lambda text: None,
        *,
        records_key: str | None = None,
        dictionary: bool | None = None,
        wanted: Collection[str] = frozenset(),
    ) -> None:
        self.texts, self.place, self.note = texts, place, note
        self.records_key, self.dictionary = records_key, dictionary
        self.wanted = frozenset(wanted)
        self.decoder = json.JSONDecoder()
        self.buffer, self.at, self.line = "", 0, 1

    def values(self) -> Iterator[tuple[str, object]]:
        """Where each value stands, and the value.

        Raises:
            WenmoError: not valid JSON, no list under the chosen key, or several lists of records.
        """
        first = self.peek()
        if first == "[":
            yield from self.items()
            self.end("the list")
            return
        if first == "{":
            found, is_dictionary = self.explore()
            if found is not None:
                yield from self.records(found)
                return
            if is_dictionary:
                yield from self.entries()
                return
        while self.peek():
            place = f"{self.place}:{self.line}"
            yield place, self.value(place)

    # -- lists, records under a key, dictionaries ------------------------------------------------

    def items(self) -> Iterator[tuple[str, object]]:
        """The items of the list that begins here."""
        self.skip(self.at + 1)
        while (sign := self.peek()) and sign != "]":
            place = f"{self.place}:{self.line}"
            yield place, self.value(place)
            if self.peek() == ",":
                self.skip(self.at + 1)
                if self.peek() in ("", "]"):
                    raise self.broken("a value is expected after the comma")
            elif self.peek() != "]":
                raise self.broken("a comma or the end of the list is expected")
        if not self.peek():
            raise self.broken("the list has no end")
        self.skip(self.at + 1)

    def records(self, found: _Place) -> Iterator[tuple[str, object]]:
        """The records under a key, and what follows them to the end of the file."""
        self.note(f"records under {found.key!r}")
        self.skip(self.at + found.offset)
        yield from self.items()
        for _ in range(found.depth):
            while self.peek() == ",":
                self.skip(self.at + 1)
                key = self.key()
                if self.records_key is None and self.lists_objects(0, key):
                    raise WenmoError(
                        f"{self.place}:{self.line}: records stand under {found.key!r} and under "
                        f"{key!r}; choose one list: records_key={found.key}"
                    )
                self.value(f"{self.place}:{self.line}")
            if self.peek() != "}":
                raise self.broken("a comma or the end of the object is expected")
            self.skip(self.at + 1)
        self.end("the object that holds the records")

    def entries(self) -> Iterator[tuple[str, object]]:
        """The entries of a dictionary, as objects with ``word`` and ``definition``."""
        self.note("a dictionary: word, definition")
        self.skip(self.at + 1)
        while self.peek() == '"':
            place = f"{self.place}:{self.line}"
            yield place, {"word": self.key(), "definition": self.value(place)}
            if self.peek() == ",":
                self.skip(self.at + 1)
        if self.peek() != "}":
            raise self.broken("a comma or the end of the object is expected")
        self.skip(self.at + 1)
        self.end("the dictionary")

    # -- what an object is -----------------------------------------------------------------------

    def explore(self) -> tuple[_Place | None, bool]:
        """What the object that begins here holds: records under a key, or a dictionary's entries.

        Raises:
            WenmoError: there is no list under the chosen key.
        """
        if self.dictionary:
            return None, True
        keys: list[str] = []
        texts: list[str] = []
        try:
            _, found = self.search(0, (), keys, texts)
        except (ValueError, RecursionError):  # told where the value is read
            return None, False
        if found is None and self.records_key is not None:
            listed = ", ".join(keys[:20])
            raise WenmoError(
                f"{self.place}: no list of records under {self.records_key!r} (found: {listed}); "
                "pass another records_key=KEY, or leave it out"
            )
        known = FIELD_NAMES.intersection(map(str.lower, texts)) or self.wanted.intersection(keys)
        if found is not None:
            usual = self.records_key is not None or found.key.lower() in RECORD_KEYS
            return (None if self.is_followed() or (known and not usual) else found), False
        allowed = self.dictionary is None and not known
        return None, allowed and FEWEST_ENTRIES <= len(texts) == len(keys)

    def search(
        self, at: int, path: tuple[str, ...], keys: list[str], texts: list[str]
    ) -> tuple[int, _Place | None]:
        """Look for a list of records in the object at an offset.

        Args:
            at: the offset.
            path: the keys that lead to the object.
            keys: is given the keys of the outermost object, as far as they are read.
            texts: is given those of them whose values are texts.

        Returns:
            The offset behind the object, and where the list stands.
        """
        at = self.blank(at + 1)
        while self.sign(at) == '"':
            key, at = self.decode(at)
            if not path:
                keys.append(key)
            at = self.blank(at)
            if self.sign(at) != ":":
                raise ValueError
            at = self.blank(at + 1)
            name = ".".join([*path, key])
            if self.lists_objects(at, name):
                return at, _Place(at, name, len(path) + 1)
            if self.sign(at) == "{" and len(path) < 5:
                at, found = self.search(at, (*path, key), keys, texts)
                if found is not None:
                    return at, found
            else:
                value, at = self.decode(at)
                if not path and is_text(value):
                    texts.append(key)
            at = self.blank(at)
            if at > LONGEST_HEAD and not path and len(texts) == len(keys):
                break
            if at > LONGEST:
                raise ValueError
            if self.sign(at) == ",":
                at = self.blank(at + 1)
        return at + 1, None

    def is_followed(self) -> bool:
        """Whether another value follows the object that begins here: then each is a record."""
        try:
            _, end = self.decoder.raw_decode(self.buffer, self.at)
        except (ValueError, RecursionError):  # it is not whole yet: it holds much
            return False
        return bool(self.sign(self.blank(end - self.at)))

    def lists_objects(self, at: int, key: str) -> bool:
        """Whether the value at an offset is the list of records."""
        if self.sign(at) != "[":
            return False
        if self.records_key is not None:
            return key == self.records_key
        turns = key.rpartition(".")[2].lower() in TURN_NAMES
        return not turns and self.sign(self.blank(at + 1)) == "{"

    # -- a cursor over the file; offsets count from where it stands ------------------------------

    def key(self) -> str:
        """The key that begins here; the cursor moves to its value."""
        key = self.value(f"{self.place}:{self.line}") if self.peek() == '"' else None
        if not isinstance(key, str) or self.peek() != ":":
            raise self.broken("a key in quotation marks and a colon are expected")
        self.skip(self.at + 1)
        self.peek()
        return key

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        offset = self.blank(0)  # which may move what the cursor counts from
        self.skip(self.at + offset)
        return self.buffer[self.at : self.at + 1]

    def blank(self, offset: int) -> int:
        """The offset of the first character from there on that is not white space."""
        while True:
            match = self._blank.match(self.buffer, self.at + offset)
            assert match is not None
            offset = match.end() - self.at
            if match.end() < len(self.buffer) or not self.more():
                return offset

    def sign(self, offset: int) -> str:
        """The character at an offset; empty at the end."""
        while self.at + offset >= len(self.buffer) and self.more():
            pass
        return self.buffer[self.at + offset : self.at + offset + 1]

    def value(self, place: str) -> object:
        """The value that begins here; the cursor moves behind it."""
        try:
            value, end = self.decode(0)
        except (ValueError, RecursionError) as error:
            raise not_json(place, error, "value that begins here") from None
        self.skip(self.at + end)
        return value

    def decode(self, offset: int) -> tuple[Any, int]:
        """The value at an offset and the offset behind it, reading on until it is whole."""
        while True:
            try:
                value, end = self.decoder.raw_decode(self.buffer, self.at + offset)
            except (ValueError, RecursionError):
                if len(self.buffer) - self.at - offset > LONGEST:
                    raise ValueError(f"no end within {LONGEST} characters") from None
                if not self.more():
                    raise
                continue
            if end < len(self.buffer) or not self.more():  # a number may go on in the next piece
                return value, end - self.at

    def skip(self, end: int) -> None:
        self.line += self.buffer.count("\n", self.at, end)
        self.at = end

    def more(self) -> bool:
        piece = next(self.texts, "")
        if piece:
            self.buffer, self.at = self.buffer[self.at :] + piece, 0
        return bool(piece)

    def end(self, what: str) -> None:
        if self.peek():
            raise self.broken(f"something follows the end of {what}")

    def broken(self, reason: str) -> WenmoError:
        return not_json(f"{self.place}:{self.line}", ValueError(reason), "list")


def not_json(place: str, error: Exception, what: str) -> WenmoError:
    """The error of what is not valid JSON, in a line."""
    reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    return WenmoError(f"{place}: not valid JSON: {reason}; mend or remove the {what}")


def is_text(value: object) -> bool:
    """Whether a value is a text, or a list of texts."""
    if isinstance(value, list):
        types = set(map(type, value))
        return types == {str} or (bool(types) and all(issubclass(each, str) for each in types))
    return isinstance(value, str)
