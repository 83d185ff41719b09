"""Encoding with a cache of the ids of recurring chunks of text."""

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

# A word with the space before it, or a newline; longer around other white space. Chunk boundaries
# are boundaries of matches of every pattern in `vocabularies.PATTERNS`, whatever the context.
CHUNK = re.compile(r" ?\S+(?=\n| \S|\Z)|\n| ?(?:(?! \S)[^\n])+")
MAX_NEW = 0.5  # fraction of characters in uncached chunks above which the cache is bypassed
MAX_CHUNKS, MAX_CHARACTERS = 1 << 20, 1 << 24  # of the cache


class ChunkCache:
    """A cache of the ids of chunks. Text with spaces between words consists mostly of recurring
    chunks; for text without, as in Chinese, the cache is bypassed.

    Args:
        library: tokenizer of one of the forms in `vocabularies.PATTERNS`, without a normalizer.
    """

    _indices: dict[str, int]
    _characters: NDArray[np.int64]
    _lengths: NDArray[np.int64]
    _begins: NDArray[np.int64]
    _ids: Ids

    def __init__(self, library: Library) -> None:
        self._library, self._lock = library, Lock()
        self._clear()

    def encode(self, texts: list[str], ends: list[bool]) -> Ids:
        """The ids of consecutive texts, with ``END`` after those that end a record."""
        # A newline ends a match as the end of a text does: it is replaced by END later.
        joined = "".join([text + "\n" * end for text, end in zip(texts, ends, strict=True)])
        chunks = CHUNK.findall(joined)
        record_stops = np.cumsum([len(text) + end for text, end in zip(texts, ends, strict=True)])
        with self._lock:
            if len(self._characters) > MAX_CHUNKS or self._characters.sum() > MAX_CHARACTERS:
                self._clear()
            new = [chunk for chunk in dict.fromkeys(chunks) if chunk not in self._indices]
            if sum(map(len, new)) > MAX_NEW * len(joined):
                return self._encode_uncached(texts, ends)
            self._add(new)
            return self._look_up(chunks, record_stops[np.array(ends, bool)])

    def _encode_uncached(self, texts: list[str], ends: list[bool]) -> Ids:
        """The ids of texts with few cached chunks, from the library."""
        encodings = self._library.encode_batch_fast(texts)
        pairs = zip(encodings, ends, strict=True)
        id_lists = [encoding.ids + [END] * end for encoding, end in pairs]
        return np.fromiter(chain.from_iterable(id_lists), np.int32, sum(map(len, id_lists)))

    def _look_up(self, chunks: list[str], ends: NDArray[np.int64]) -> Ids:
        """The ids of cached chunks; chunks that end at ``ends`` (character offsets) become END."""
        indices = np.array([self._indices[chunk] for chunk in chunks], np.int64)
        chunk_stops = np.cumsum(self._characters[indices])
        indices[np.searchsorted(chunk_stops, ends)] = 0
        lengths = self._lengths[indices]
        starts = np.repeat(self._begins[indices] - np.cumsum(lengths) + lengths, lengths)
        return self._ids[starts + np.arange(len(starts))]

    def _add(self, chunks: list[str]) -> None:
        if not chunks:
            return
        known = len(self._indices)
        self._indices |= {chunk: 1 + known + index for index, chunk in enumerate(chunks)}
        encoded = [encoding.ids for encoding in self._library.encode_batch_fast(chunks)]
        lengths = np.array([len(ids) for ids in encoded], np.int64)
        starts = len(self._ids) + np.cumsum(lengths) - lengths
        self._characters = np.append(self._characters, [len(chunk) for chunk in chunks])
        self._lengths = np.append(self._lengths, lengths)
        self._begins = np.append(self._begins, starts)
        flat = np.fromiter(chain.from_iterable(encoded), np.int32, int(lengths.sum()))
        self._ids = np.append(self._ids, flat)

    def _clear(self) -> None:
        """Reset the cache to END, with index 0."""
        self._indices = {}
        self._characters, self._lengths = np.ones(1, np.int64), np.ones(1, np.int64)
        self._begins, self._ids = np.zeros(1, np.int64), np.array([END], np.int32)
