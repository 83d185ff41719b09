"""A text of a given number of characters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wenmo.types import END


class LengthTable:
    """How many characters begin in each token of a vocabulary.

    Args:
        table: the bytes of each token.
    """

    def __init__(self, table: Sequence[bytes]) -> None:
        self.characters = np.array([_count_characters(spelled) for spelled in table], np.int64)
        self._masks: dict[int, Tensor] = {}

    def start(self, characters: int) -> LengthConstraint:
        """The constraint of a text with so many characters."""
        return LengthConstraint(self, characters)

    def mask(self, remaining: int) -> Tensor:
        """The tokens that fit into so many characters, bool (vocab_size,); END only into none."""
        if remaining not in self._masks:
            mask = torch.from_numpy(self.characters <= remaining)
            mask[END] = remaining == 0
            self._masks[remaining] = mask
        return self._masks[remaining]


class LengthConstraint:
    """A text that ends after exactly ``remaining`` more characters.

    Bytes that continue a character do not count, so that its last bytes are always allowed.
    """

    def __init__(self, table: LengthTable, remaining: int) -> None:
        self._table, self._remaining = table, max(0, remaining)

    def allowed(self) -> Tensor:
        """The tokens that fit into what remains."""
        return self._table.mask(self._remaining)

    def forced(self) -> None:
        """Nothing is forced before END."""
        return

    def advance(self, token: int) -> None:
        """Subtract the characters of a token."""
        self._remaining = max(0, self._remaining - int(self._table.characters[token]))

    def fork(self) -> LengthConstraint:
        """An independent copy."""
        return LengthConstraint(self._table, self._remaining)


def _count_characters(spelled: bytes) -> int:
    return sum(not 0x80 <= byte < 0xC0 for byte in spelled)
