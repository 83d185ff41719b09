"""Sets of the words of a lexicon, for which is known whether they have any in a range."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray


class Span:
    """A set of words, for which is known whether it has any in a range."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self._sums = np.concatenate([[0], np.cumsum(mask, dtype=np.int32)])

    def any(self, low: int, high: int) -> bool:
        """Whether it has one of the words [low, high)."""
        return bool(self._sums[high] > self._sums[low])

    def mask(self, low: int, high: int) -> NDArray[np.bool_]:
        """Which of the words [low, high) it has, bool (high - low,)."""
        return np.diff(self._sums[low : high + 1]) > 0


class SparseSpan(Span):
    """A small set of words."""

    def __init__(self, words: NDArray[np.int64]) -> None:
        self._words: list[int] = words.tolist()

    def any(self, low: int, high: int) -> bool:
        """Whether it has one of the words [low, high)."""
        found = bisect_left(self._words, low)
        return found < len(self._words) and self._words[found] < high

    def mask(self, low: int, high: int) -> NDArray[np.bool_]:
        """Which of the words [low, high) it has, bool (high - low,)."""
        mask = np.zeros(high - low, np.bool_)
        within = self._words[bisect_left(self._words, low) : bisect_left(self._words, high)]
        mask[np.array(within, np.int64) - low] = True
        return mask
