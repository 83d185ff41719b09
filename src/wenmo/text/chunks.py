"""Encoding by looking up: what the library makes of a chunk of text is kept for the next time."""

from __future__ import annotations

import re
from itertools import chain
from threading import Lock
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Library

from wenmo.types import END

Ids: TypeAlias = NDArray[np.int32]

# A word with the space before it, or a newline; where spaces are of other kinds, more. A chunk
# begins and ends where matches of every pattern in `vocabularies.PATTERNS` do, whatever stands
# around it.
CHUNK = re.compile(r" ?\S+(?=\n| \S|\Z)|\n| ?(?:(?! \S)[^\n])+")
NEW = 0.5  # the share of a text's characters that is new, above which nothing is looked up
MOST_CHUNKS, MOST_CHARACTERS = 1 << 20, 1 << 24  # are kept


class Chunks:
    """The ids of every chunk met so far. Where words stand between spaces, most of a text is such;
    where they do not, as in Chinese, hardly any is, and the library is asked as ever.

    Args:
        library: of one of the forms in `vocabularies.PATTERNS`, without a normalizer.
    """

    _numbers: dict[str, int]
    _characters: NDArray[np.int64]
    _lengths: NDArray[np.int64]
    _begins: NDArray[np.int64]
    _ids: Ids

    def __init__(self, library: Library) -> None:
        self._library, self._lock = library, Lock()
        self._clear()

    def encode(self, texts: list[str], ends: list[bool]) -> Ids:
        """The ids of texts that follow each other, with ``END`` after those that end a record."""
        # A newline ends what is matched as the end of a text does: it stands in for END at first.
        joined = "".join([text + "\n" * end for text, end in zip(texts, ends, strict=True)])
        chunks = CHUNK.findall(joined)
        places = np.cumsum([len(text) + end for text, end in zip(texts, ends, strict=True)])
        with self._lock:
            if len(self._characters) > MOST_CHUNKS or self._characters.sum() > MOST_CHARACTERS:
                self._clear()
            new = [chunk for chunk in dict.fromkeys(chunks) if chunk not in self._numbers]
            if sum(map(len, new)) > NEW * len(joined):
                return self._encode_whole(texts, ends)
            self._learn(new)
            return self._look_up(chunks, places[np.array(ends, bool)])

    def _encode_whole(self, texts: list[str], ends: list[bool]) -> Ids:
        """The ids of texts in which little is met again, as the library makes them."""
        encodings = self._library.encode_batch_fast(texts)
        closed = zip(encodings, ends, strict=True)
        parts = [encoding.ids + [END] * end for encoding, end in closed]
        return np.fromiter(chain.from_iterable(parts), np.int32, sum(map(len, parts)))

    def _look_up(self, chunks: list[str], ends: NDArray[np.int64]) -> Ids:
        """The ids of known chunks; those that end at one of the places (in characters) are END."""
        numbers = np.array([self._numbers[chunk] for chunk in chunks], np.int64)
        stops = np.cumsum(self._characters[numbers])
        numbers[np.searchsorted(stops, ends)] = 0
        lengths = self._lengths[numbers]
        begins = np.repeat(self._begins[numbers] - np.cumsum(lengths) + lengths, lengths)
        return self._ids[begins + np.arange(len(begins))]

    def _learn(self, chunks: list[str]) -> None:
        if not chunks:
            return
        known = len(self._numbers)
        self._numbers |= {chunk: 1 + known + number for number, chunk in enumerate(chunks)}
        spelled = [encoding.ids for encoding in self._library.encode_batch_fast(chunks)]
        lengths = np.array([len(ids) for ids in spelled], np.int64)
        begins = len(self._ids) + np.cumsum(lengths) - lengths
        self._characters = np.append(self._characters, [len(chunk) for chunk in chunks])
        self._lengths = np.append(self._lengths, lengths)
        self._begins = np.append(self._begins, begins)
        flat = np.fromiter(chain.from_iterable(spelled), np.int32, int(lengths.sum()))
        self._ids = np.append(self._ids, flat)

    def _clear(self) -> None:
        """Only END is known, as number 0."""
        self._numbers = {}
        self._characters, self._lengths = np.ones(1, np.int64), np.ones(1, np.int64)
        self._begins, self._ids = np.zeros(1, np.int64), np.array([END], np.int32)
