"""Prompt look-up: what followed the last tokens when they stood in the text before."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from wenmo.decoding.drafts.base import Proposal
from wenmo.decoding.engines.row import Row
from wenmo.types import END

LENGTHS = (16, 12, 8, 6, 5, 4, 3, 2)  # of the suffix that is searched for, in tokens
WIDTH = array("q").itemsize


class PromptDraft:
    """Proposes what followed the longest suffix that occurs before, in the source, the prompt or
    the output; of several places the last one.

    Saxena (2023), *Prompt lookup decoding*, github.com/apoorvumang/prompt-lookup-decoding; Yang et
    al. (2023), *Inference with Reference*, section 3.
    """

    name = "prompt"

    def propose(self, rows: Sequence[Row], count: int) -> list[Proposal]:
        """See `Draft.propose`; ``evidence`` is the length of the suffix."""
        return [look_up(_text(row), count) for row in rows]


def look_up(text: array[int], count: int) -> Proposal:
    """What followed the longest suffix of a text that occurs in it before.

    Args:
        text: ids.
        count: the largest number of tokens.
    """
    data = text.tobytes()
    for length in LENGTHS:
        if length < len(text):
            place = _last_place(data, data[-length * WIDTH :])
            if place is not None:
                start = place + length
                tokens = text[start : start + count].tolist()
                # Where the text repeats itself, what follows the end of it is proposed, too.
                period = len(text) - start
                while len(tokens) < count:
                    tokens.append(tokens[-period])
                return Proposal(tokens[: _end(tokens)], length)
    return Proposal([])


def _last_place(data: bytes, suffix: bytes) -> int | None:
    """Where ids stand last before the end; the search may find bytes between two ids."""
    end = len(data) - 1
    while (found := data.rfind(suffix, 0, end)) >= 0:
        if found % WIDTH == 0:
            return found // WIDTH
        end = found + len(suffix) - 1
    return None


def _end(tokens: list[int]) -> int:
    return tokens.index(END) if END in tokens else len(tokens)


def _text(row: Row) -> array[int]:
    """The source, where an encoder reads it, and the text so far."""
    source = row.task.encoded_source
    return row.ids if source is None else array("q", [*source, END]) + row.ids
