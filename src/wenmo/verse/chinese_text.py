"""Chinese texts as lines of characters, whatever their punctuation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Chunk(NamedTuple):
    """Characters between two breaks, and what breaks them from the next: a newline, a mark."""

    characters: str
    mark: str


def chunks_of(text: str) -> list[Chunk]:
    """Split a text at everything that is not a letter or a character: ``春眠不觉晓，处处…``."""
    chunks: list[Chunk] = []
    current = ""
    for character in text:
        if character.isalnum() or character in "□〇":
            current += character
        elif current:
            chunks.append(Chunk(current, character))
            current = ""
    return [*chunks, Chunk(current, "")] if current else chunks


def fit_lines(text: str, lengths: Sequence[int]) -> list[str] | None:
    """The lines of a text whose lines have these lengths; None: they have others.

    A break in the text ends a line, except 、 and except where a line goes on; the text need not
    have a break after every line.
    """
    chunks = chunks_of(text)
    joined = "".join(chunk.characters for chunk in chunks)
    if len(joined) != sum(lengths):
        return None
    ends = {sum(lengths[: n + 1]) for n in range(len(lengths))}
    size = 0
    for chunk in chunks:
        size += len(chunk.characters)
        if size not in ends and chunk.mark != "、":
            return None
    starts = [sum(lengths[:n]) for n in range(len(lengths))]
    return [joined[start : start + n] for start, n in zip(starts, lengths, strict=True)]


def length_faults(text: str, lengths: Sequence[int]) -> list[str]:
    """Why the lines of a text do not have these lengths."""
    chunks = chunks_of(text)
    if len(chunks) != len(lengths):
        count = sum(len(chunk.characters) for chunk in chunks)
        return [
            f"{len(chunks)} lines with {count} characters, not {len(lengths)} lines with "
            f"{sum(lengths)}"
        ]
    return [
        f"line {number}: {len(chunk.characters)} characters, not {length}"
        for number, (chunk, length) in enumerate(zip(chunks, lengths, strict=True), start=1)
        if len(chunk.characters) != length
    ]
