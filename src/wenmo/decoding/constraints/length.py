"""A text of so many characters."""

from __future__ import annotations

from collections.abc import Sequence

from wenmo.types import END


class Length:
    """Holds what is written to a number of characters.

    Args:
        table: the bytes that each id stands for.
        characters: how many.
    """

    def __init__(self, table: Sequence[bytes], characters: int) -> None:
        self.characters = characters
        self._begun = [_beginnings(spelled) for spelled in table]
        self._fitting: dict[int, list[int]] = {}

    def allowed(self, written: Sequence[int]) -> list[int]:
        left = max(0, self.characters - sum(self._begun[id_] for id_ in written))
        if left not in self._fitting:
            fitting = [id_ for id_, begun in enumerate(self._begun) if begun <= left]
            self._fitting[left] = [id_ for id_ in fitting if id_ != END or not left]
        return self._fitting[left]


def _beginnings(spelled: bytes) -> int:
    """How many characters begin in these bytes."""
    return sum(not 0x80 <= byte < 0xC0 for byte in spelled)
