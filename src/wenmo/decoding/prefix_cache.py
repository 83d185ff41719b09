"""States of prompts that were read before, so that what prompts have in common is read once.

A state is a value, so this works for every family, with a key–value cache and with a recurrent
state. A prompt that begins like an earlier one continues from the longest prefix that is stored.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wenmo.models.state import select
from wenmo.types import State

MAX_BYTES = 256 << 20
MAX_ENTRIES = 128
MIN_LENGTH = 8  # tokens; shorter prompts are read again


@dataclass(frozen=True, slots=True)
class _Entry:
    ids: NDArray[np.int64]
    state: State
    size: int  # bytes


class Prefix(NamedTuple):
    """The longest stored prefix of a prompt: its length in tokens, and the state after it."""

    length: int
    state: State


class PrefixCache:
    """The states after prefixes, least recently used first out.

    Args:
        max_bytes: that the stored tensors take at most.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._entries: OrderedDict[tuple[bytes, bytes], _Entry] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, source: Sequence[int] | None, ids: Sequence[int]) -> Prefix | None:
        """The longest stored prefix of a prompt, shorter or as long as it.

        Args:
            source: what an encoder has read; None: nothing.
            ids: of the prompt.
        """
        key, prompt = _key(source), np.asarray(ids, np.int64)
        best: tuple[bytes, bytes] | None = None
        length = -1
        for name, entry in self._entries.items():
            size = len(entry.ids)
            fits = name[0] == key and length < size <= len(prompt)
            if fits and np.array_equal(entry.ids, prompt[:size]):
                best, length = name, size
        if best is None:
            return None
        self._entries.move_to_end(best)
        return Prefix(length, self._entries[best].state)

    def store(
        self,
        source: Sequence[int] | None,
        ids: Sequence[int],
        state: State,
        row: int,
        max_bytes: int | None = None,
    ) -> None:
        """Keep a copy of the state of one row, after ``ids``.

        Args:
            max_bytes: a larger state is not kept; None: a quarter of the cache's own.
        """
        if len(ids) < MIN_LENGTH and source is None:
            return
        stored = np.array(ids, np.int64)
        name = _key(source), stored.tobytes()
        size = sum(tensor[:1].numel() * tensor.element_size() for tensor in state.values())
        limit = self.max_bytes // 4 if max_bytes is None else max_bytes
        if name in self._entries or size > limit:
            return
        self._entries[name] = _Entry(stored, select(state, [row]), size)
        self._bytes += size
        while self._bytes > self.max_bytes or len(self._entries) > MAX_ENTRIES:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= oldest.size

    def clear(self) -> None:
        """Forget everything, as must be done when the model's weights change."""
        self._entries.clear()
        self._bytes = 0


def _key(source: Sequence[int] | None) -> bytes:
    return b"" if source is None else b"s" + np.asarray(source, np.int64).tobytes()
