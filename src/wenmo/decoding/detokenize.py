"""From the bytes of tokens to text, as they come."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

ESCAPES = re.compile(r"(?:[^\\]|\\[^u]|\\u[0-9a-fA-F]{4})*", re.DOTALL)
"""A text of JSON that does not end within an escape."""


class Detokenizer:
    """Decodes bytes into whole characters, up to a stop string.

    Text that may be the beginning of a stop string is held back. Bytes that are not UTF-8 become
    U+FFFD; the bytes of an incomplete last character are dropped.

    Args:
        stop: the stop strings.
        strip_space: the text begins with a space that is not part of it.
        pending_space: of tokenizers that put a space after each word: the space after the word
            before the text, which is shown once another word follows; None: the tokenizer does not.
        escapes: the text is JSON, and an escape that begins at its end is held back, too. It is
            dropped where the text ends within it.

    Attributes:
        stopped: a stop string was found.
    """

    def __init__(
        self,
        stop: Sequence[str] = (),
        *,
        strip_space: bool = False,
        pending_space: str | None = None,
        escapes: bool = False,
    ) -> None:
        self.stopped = False
        self._stop = stop
        self._strip_space = strip_space
        self._pending_space = pending_space
        self._escapes = escapes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held_back = ""

    def feed(self, data: bytes) -> str:
        """The text that is certain after these bytes, without what was returned before."""
        new = self._decoder.decode(data)
        if self._strip_space and new:
            new = new.removeprefix(" ")
            self._strip_space = False
        if self._pending_space is not None and new:
            rest = new.removesuffix(" ")
            new, self._pending_space = self._pending_space + rest, new[len(rest) :]
        text, self._held_back = self._held_back + new, ""
        found = [index for index in map(text.find, self._stop) if index >= 0]
        if found:
            self.stopped = True
            return text[: min(found)]
        certain = len(text) - self._possible_stop(text)
        if self._escapes:
            certain = min(certain, _whole_escapes(text))
        self._held_back = text[certain:]
        return text[:certain]

    def rest(self) -> str:
        """The text that was held back, at the end of the bytes."""
        rest, self._held_back = self._held_back, ""
        return rest[: _whole_escapes(rest)] if self._escapes else rest

    def _possible_stop(self, text: str) -> int:
        """The length of the longest end of ``text`` that a stop string begins with."""
        lengths = range(min(len(text), max(map(len, self._stop), default=0)), 0, -1)
        return next((n for n in lengths if any(s.startswith(text[-n:]) for s in self._stop)), 0)


def _whole_escapes(text: str) -> int:
    """The length of the longest beginning of JSON that does not end within an escape."""
    found = ESCAPES.match(text)
    return found.end() if found else 0
