"""Counting n-grams of any order over integer ids, in memory or, when they outgrow it, on disk.

The n-grams of all orders form a trie. One of order n is named by its context (its first n - 1
ids, an n-gram of order n - 1) and its last id: the integer ``context * vocabulary + word``. Sorting
these keys sorts the n-grams as sequences of ids, so the successors of a context lie side by side,
and the rank of a key names the n-gram in the keys of the next order. Nothing here depends on how
many ids would fit in a machine word: only the number of *distinct* contexts enters the key.

A stream too long for memory is counted piece by piece. The pieces' tries are merged from order 1
upwards: once the contexts of a piece have their final names, its keys are rewritten, and remain
sorted, because the final names stand in the same order as the piece's own.
"""

from __future__ import annotations

import math
import mmap
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wenmo.types import END, WenmoError

DEFAULT_MEMORY = 1 << 29  # bytes that counting may use beyond its result, where nothing is said
MAX_ARRAY_BYTES = 1 << 29  # bytes of an array; larger ones lie in a file
BYTES_PER_ID = 96  # what _count_piece needs for each id of a piece at its widest moment, measured

Ints: TypeAlias = NDArray[np.int64]
Ids: TypeAlias = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Grams:
    """The distinct n-grams of one order, sorted. Every array is int64, one entry for each n-gram.

    Attributes:
        keys: ``context * vocabulary + word``, strictly increasing. The context is the index of the
            n-gram without its last id in the order below; at order 1 it is 0.
        counts: how often it was seen as a word and its context, hence 0 for an id never seen.
        suffix: the index of the n-gram without its first id in the order below; at order 1 it is 0.
    """

    keys: Ints
    counts: Ints
    suffix: Ints

    def __len__(self) -> int:
        return len(self.keys)


def count_grams(
    ids: Ids,
    order: int,
    vocab_size: int,
    *,
    memory: int = DEFAULT_MEMORY,
    progress: Callable[[float], None] | None = None,
) -> list[Grams]:
    """Count the n-grams of every order from 1 to ``order`` in a stream of texts.

    Every id but the first is counted as a word after its contexts. ``END`` may begin an n-gram (as
    <s>) or end it (as </s>) but never stands inside. Order 1 has one entry for each id of the
    vocabulary, seen or not.

    Args:
        ids: unsigned integers, shape (length,), maybe memory-mapped: END, a text, END, a text, END.
        order: the length of the longest n-grams.
        vocab_size: the number of distinct ids.
        memory: about how many bytes may be used beyond the result itself; what exceeds it goes
            through files in a temporary folder. The result is the same.
        progress: told the fraction done, between 0 and 1.

    Raises:
        WenmoError: the stream holds no text, does not begin with END, or has an id that is not
            in the vocabulary.
    """
    if len(ids) < 2 or ids[0] != END:
        raise WenmoError("n-gram counts need a text: the ids must begin with END (0) and go on")
    size = max(order, memory // BYTES_PER_ID)
    if len(ids) - 1 <= size:
        return list(_count_piece(ids, 1, order, vocab_size))
    with tempfile.TemporaryDirectory(prefix="wenmo-counts-") as name:
        folder, begins = Path(name), range(1, len(ids), size)
        steps = len(begins) + order
        for piece, begin in enumerate(begins):
            overlap = min(max(1, order - 1), begin)
            part = ids[begin - overlap : begin + size]
            for n, grams in enumerate(_count_piece(part, overlap, order, vocab_size), 1):
                _save(folder / f"{piece}-{n}", grams)
            _release_pages(ids)
            if progress:
                progress((piece + 1) / steps)
        merged = []
        for n in range(1, order + 1):
            merged.append(_merge(folder, n, len(begins), vocab_size, size))
            if progress:
                progress((len(begins) + n) / steps)
        return merged


def add_grams(one: list[Grams], other: list[Grams], vocab_size: int) -> list[Grams]:
    """The n-grams of two texts, counted together, from the n-grams of each.

    The result is that of `count_grams` on both texts, one behind the other.

    Args:
        one, other: from `count_grams`, of the same number of orders.
    """
    merged: list[Grams] = []
    names = [np.zeros(1, np.int64), np.zeros(1, np.int64)]  # of the order below, in the merged one
    for pair in zip(one, other, strict=True):
        keys = []
        for grams, name in zip(pair, names, strict=True):
            context, word = np.divmod(grams.keys, vocab_size)
            keys.append(name[context] * vocab_size + word)
        suffixes = [name[grams.suffix] for grams, name in zip(pair, names, strict=True)]
        together, where = _sort(np.concatenate(keys))
        first = _first(together)
        counts = np.concatenate([grams.counts for grams in pair])[where]
        counts = np.add.reduceat(counts, first) if len(first) else counts
        merged.append(Grams(together[first], counts, np.concatenate(suffixes)[where[first]]))
        names = [np.searchsorted(merged[-1].keys, own) for own in keys]
    return merged


def _count_piece(stream: Ids, overlap: int, order: int, vocab_size: int) -> Iterator[Grams]:
    """Count one piece, order by order. Its first ``overlap`` ids are contexts, not counted."""
    ids = stream.astype(np.int64)
    if ids.max() >= vocab_size:
        raise WenmoError(f"id {ids.max()} is not in the vocabulary of {vocab_size}")
    counts = np.bincount(ids[overlap:], minlength=vocab_size)
    yield Grams(np.arange(vocab_size), counts, np.zeros(vocab_size, np.int64))
    rank = ids  # of the n-gram that ends at each position, -1 where there is none
    for n in range(2, order + 1):
        reachable = rank[:-1] >= 0
        if n > 2:  # END is a context, but not the end of one
            reachable &= ids[:-1] != END
        before = np.flatnonzero(reachable)
        keys, where = _sort(rank[before] * vocab_size + ids[before + 1])
        where = before[where] + 1
        first = _first(keys)
        suffix = rank[where[first]]
        rank = np.full(len(ids), -1)
        rank[where] = np.repeat(np.arange(len(first)), np.diff(first, append=len(keys)))
        counted = rank[overlap:]
        counts = np.bincount(counted[counted >= 0], minlength=len(first))
        yield Grams(keys[first], counts, suffix)


def _merge(folder: Path, n: int, pieces: int, vocab_size: int, size: int) -> Grams:
    """Merge the pieces' n-grams of one order, about ``size`` at a time.

    The range of keys is cut so that each slice holds that many from all pieces together.
    """
    for piece in range(pieces):
        _rename_contexts(folder, piece, n, vocab_size)
    runs = [_load(folder / f"{piece}-{n}") for piece in range(pieces)]
    stride = max(1, size // (8 * pieces))
    sample = np.sort(np.concatenate([run.keys[::stride] for run in runs]))
    cuts = sample[:: max(1, size // stride)][1:]
    edges = np.array([[0, *np.searchsorted(run.keys, cuts), len(run)] for run in runs])
    blocks = []
    for low, high in zip(edges.T[:-1], edges.T[1:], strict=True):
        parts = [slice(a, b) for a, b in zip(low, high, strict=True)]
        keys, where = _sort(_gather([run.keys for run in runs], parts))
        first = _first(keys)
        counts = _gather([run.counts for run in runs], parts)[where]
        suffix = _gather([run.suffix for run in runs], parts)[where[first]]
        counts = np.add.reduceat(counts, first) if len(first) else counts
        blocks.append(Grams(keys[first], counts, suffix))
        for run in runs:
            _release_pages(run.keys, run.counts, run.suffix)
    merged = Grams(
        np.concatenate([block.keys for block in blocks]),
        np.concatenate([block.counts for block in blocks]),
        np.concatenate([block.suffix for block in blocks]),
    )
    for piece, run in enumerate(runs):
        np.save(folder / f"{piece}-{n}-names.npy", np.searchsorted(merged.keys, run.keys))
        _release_pages(run.keys)
    return merged


def _rename_contexts(folder: Path, piece: int, n: int, vocab_size: int) -> None:
    """Let a piece's n-grams refer to the merged n-grams of the order below."""
    if n == 1:
        return
    names = np.load(folder / f"{piece}-{n - 1}-names.npy")
    keys = np.load(folder / f"{piece}-{n}-keys.npy")
    suffix = np.load(folder / f"{piece}-{n}-suffix.npy")
    context, word = np.divmod(keys, vocab_size)
    np.save(folder / f"{piece}-{n}-keys.npy", names[context] * vocab_size + word)
    np.save(folder / f"{piece}-{n}-suffix.npy", names[suffix])


def _sort(keys: Ints) -> tuple[Ints, Ints]:
    """The sorted keys, and where each of them stood."""
    bits = max(1, len(keys)).bit_length()
    if len(keys) and int(keys.max()).bit_length() + bits > 63:
        where = np.argsort(keys, kind="stable")
        return keys[where], where
    # Key and position in one integer: a plain sort is twice as fast as argsort and two gathers.
    packed = np.sort(keys << bits | np.arange(len(keys)))
    return packed >> bits, packed & ((1 << bits) - 1)


def _first(keys: Ints) -> Ints:
    """Where each distinct one of the sorted keys first stands."""
    return np.flatnonzero(np.diff(keys, prepend=-1))


def _gather(arrays: list[Ints], parts: list[slice]) -> Ints:
    return np.concatenate([array[part] for array, part in zip(arrays, parts, strict=True)])


def _release_pages(*arrays: NDArray[Any]) -> None:
    """Give back the memory of mapped files' pages; they are read again when they are needed."""
    for array in arrays:
        if isinstance(array.base, mmap.mmap) and hasattr(array.base, "madvise"):  # not on Windows
            array.base.madvise(mmap.MADV_DONTNEED)


def _save(path: Path, grams: Grams) -> None:
    for name in ("keys", "counts", "suffix"):
        np.save(f"{path}-{name}.npy", getattr(grams, name))


def _load(path: Path) -> Grams:
    arrays = (np.load(f"{path}-{name}.npy", mmap_mode="r") for name in ("keys", "counts", "suffix"))
    return Grams(*arrays)


def allocate(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """An empty array; a large one lies in a file without a name, which goes when it is let go."""
    if math.prod(shape) * np.dtype(dtype).itemsize <= MAX_ARRAY_BYTES:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype, "w+", shape=shape)
