"""Chinese texts as lines of characters, whatever their punctuation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wenmo.verse.patterns import Line


class Chunk(NamedTuple):
    """Characters between two breaks, and what breaks them from the next: a newline, a mark."""

    characters: str
    mark: str


def is_character(character: str) -> bool:
    """Whether a character is part of a line, and no mark or space."""
    return character.isalnum() or character in "□〇"


def chunks_of(text: str) -> list[Chunk]:
    """Split a text at everything that is not a letter or a character: ``春眠不觉晓，处处…``."""
    chunks: list[Chunk] = []
    current = ""
    for character in text:
        if is_character(character):
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


def has_shape(text: str, lengths: Sequence[int]) -> bool:
    """Whether a text has as many lines, or as many characters."""
    chunks = chunks_of(text)
    count = sum(len(chunk.characters) for chunk in chunks)
    return len(chunks) == len(lengths) or count == sum(lengths)


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


def layouts_of(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    """What stands after each line in the layouts that poems have: one line of verse a line,
    with or without punctuation; one sentence a line; one stanza a line; all in one line.
    """
    last = len(lines) - 1
    pauses = [line.pause for line in lines]
    newlines = ["\n"] * last + [""]
    sentences = ["\n" if each != "，" else "" for each in pauses[:-1]] + [""]
    stanzas = ["\n" if line.ends_stanza else "" for line in lines[:-1]] + [""]
    paragraphs = ["\n" + each for each in stanzas[:-1]] + [""]
    layouts = [
        newlines,
        paragraphs,
        pauses,
        *(
            [pause + end for pause, end in zip(pauses, ends, strict=True)]
            for ends in (newlines, paragraphs, sentences, stanzas)
        ),
    ]
    return list(dict.fromkeys(map(tuple, layouts)))
