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

from wenmo.models.state import StateSchema, select
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
    """A prefix of a prompt that was read before.

    Attributes:
        length: in tokens.
        state: of one row, after these tokens, or more where it can be truncated.
    """

    length: int
    state: State


class PrefixCache:
    """The states after prefixes, least recently used first out.

    Args:
        schema: of the model's states.
        max_bytes: that the stored tensors take at most.
    """

    def __init__(self, schema: StateSchema, max_bytes: int = MAX_BYTES) -> None:
        self.schema, self.max_bytes = schema, max_bytes
        self._entries: OrderedDict[tuple[bytes, bytes], _Entry] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, source: Sequence[int] | None, ids: Sequence[int]) -> Prefix | None:
        """The longest prefix of a prompt that is known, which may be all of it.

        Args:
            source: what an encoder has read; None: nothing.
            ids: of the prompt.
        """
        key, prompt = _key(source), np.asarray(ids, np.int64)
        best: tuple[bytes, bytes] | None = None
        length = -1
        for name, entry in self._entries.items():
            if name[0] == key:
                common = _common_length(entry.ids, prompt)
                whole = common == len(entry.ids)
                if common > length and (whole or self.schema.can_truncate(entry.state)):
                    best, length = name, common
        if best is None or (source is None and length < MIN_LENGTH):
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
        state = self.schema.trimmed(state, len(ids))
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


def _common_length(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    """How many first ids two prompts have in common."""
    size = min(len(one), len(other))
    different = np.flatnonzero(one[:size] != other[:size])
    return int(different[0]) if len(different) else size
