"""From the bytes of tokens to text, as they come."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Detokenizer:
    """Bytes in, text out: never half a character, and nothing from a stop string on.

    What may yet turn out to be the beginning of a stop string is held back. Bytes that are no UTF-8
    become U+FFFD; those of a character that the text breaks off in are dropped.

    Args:
        stop: the stop strings.
        strip_space: the text begins with a space that is no part of it.
        lag: words have a space after them, which is a part of the text where another follows; this
            is the one that the word before the text has. None: they have none.

    Attributes:
        stopped: a stop string was met.
    """

    def __init__(
        self, stop: Sequence[str] = (), *, strip_space: bool = False, lag: str | None = None
    ) -> None:
        self.stopped = False
        self._stop = stop
        self._strip_space = strip_space
        self._lag = lag
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""

    def feed(self, data: bytes) -> str:
        """The text that is certain after these bytes, beyond what was returned before."""
        new = self._decoder.decode(data)
        if self._strip_space and new:
            new = new.removeprefix(" ")
            self._strip_space = False
        if self._lag is not None and new:
            rest = new.removesuffix(" ")
            new, self._lag = self._lag + rest, new[len(rest) :]
        text, self._held = self._held + new, ""
        met = [place for place in map(text.find, self._stop) if place >= 0]
        if met:
            self.stopped = True
            return text[: min(met)]
        certain = len(text) - self._doubtful(text)
        self._held = text[certain:]
        return text[:certain]

    def rest(self) -> str:
        """What was held back, when nothing more will come."""
        held, self._held = self._held, ""
        return held

    def _doubtful(self, text: str) -> int:
        """The length of the longest end of ``text`` that a stop string begins with."""
        lengths = range(min(len(text), max(map(len, self._stop), default=0)), 0, -1)
        return next((n for n in lengths if any(s.startswith(text[-n:]) for s in self._stop)), 0)
