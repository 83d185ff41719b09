"""The n-grams of a model, looked up one context at a time: what has followed it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from wenmo.types import END

MISSING = -1


class Followers(NamedTuple):
    """The tokens that have followed a context.

    Attributes:
        tokens: ascending, int64 (tokens,).
        logprobs: of each after the longest context that was seen, float32 (tokens,).
        order: the length of the longest n-grams that were found; 0: there are none.
    """

    tokens: NDArray[np.int64]
    logprobs: NDArray[np.float32]
    order: int


class NgramTables:
    """The tables of an n-gram model as NumPy arrays, which share its memory on a CPU.

    Args:
        tables: a module with the buffers of `wenmo.models.ngram.Ngram`.
        order: the length of its longest n-grams.
    """

    def __init__(self, tables: nn.Module, order: int, vocab_size: int) -> None:
        self.order, self.vocab_size = order, vocab_size
        self._buffers: dict[str, NDArray[Any]] = {
            name: buffer.cpu().numpy() for name, buffer in tables.named_buffers()
        }

    def followers(self, text: Sequence[int], limit: int) -> Followers:
        """What has followed the last tokens of a text.

        Args:
            text: ids, of which the last ``order - 1`` are read.
            limit: the largest number of tokens; those of the longest contexts come first, and all
                that followed a context, or none.
        """
        contexts = self._contexts(text)
        found, weights, weight = [], [], 0.0
        for n in range(self.order, 1, -1):  # what is shorter is weighed by what is longer
            context = contexts[n - 1]
            if n < self.order and contexts[n] != MISSING:
                weight += float(self._buffers[f"backoff_{n}"][contexts[n]])
            if context == MISSING:
                continue
            keys = self._buffers[f"keys_{n}"]
            first, last = keys.searchsorted(
                np.array([context * self.vocab_size, (context + 1) * self.vocab_size])
            )
            if last - first > limit:
                break
            if last > first:
                found.append((n, first, last))
                weights.append(weight)
        if not found:
            return Followers(np.empty(0, np.int64), np.empty(0, np.float32), 0)
        return self._merge(found, weights)

    def _merge(self, found: list[tuple[int, int, int]], weights: list[float]) -> Followers:
        """The followers of several contexts, each with the probability by the longest."""
        each = [
            (
                self._buffers[f"keys_{n}"][first:last] % self.vocab_size,
                self._buffers[f"prob_{n}"][first:last] + np.float32(weight),
            )
            for (n, first, last), weight in zip(found, weights, strict=True)
        ]
        tokens, index = np.unique(np.concatenate([ids for ids, _ in each]), return_index=True)
        logprobs = np.concatenate([logp for _, logp in each])[index]  # the first is the longest's
        return Followers(tokens, logprobs, found[0][0])

    def _contexts(self, text: Sequence[int]) -> list[int]:
        """The index of the context of each length from 1 up that a text ends with, at [length]."""
        contexts = [MISSING] * self.order
        for token in text[1 - self.order :] if self.order > 1 else ():
            before = [MISSING] * self.order if token == END else contexts
            contexts = [MISSING, int(token)]
            for n in range(2, self.order):
                contexts.append(self._find(n, before[n - 1], int(token)))
        return contexts

    def _find(self, n: int, context: int, token: int) -> int:
        keys = self._buffers[f"keys_{n}"]
        if context == MISSING or not len(keys):
            return MISSING
        key = context * self.vocab_size + token
        place = int(keys.searchsorted(key))
        return place if place < len(keys) and keys[place] == key else MISSING
