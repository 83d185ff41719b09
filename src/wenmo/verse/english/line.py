"""A line of a form of English verse."""

from __future__ import annotations

from typing import NamedTuple

BEAT, OFF_BEAT, ANY = "/", "x", "?"


class Line(NamedTuple):
    """A line of a form.

    Attributes:
        patterns: alternative metres, of ``x``, ``/`` and ``?`` (either).
        rhyme: letter; lines with the same one rhyme; "": the line rhymes with no other.
    """

    patterns: tuple[str, ...]
    rhyme: str = ""
