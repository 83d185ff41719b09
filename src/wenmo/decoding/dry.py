"""DRY: a penalty on tokens that would continue a sequence which the text already has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wenmo.decoding.history import History
from wenmo.types import END

LONGEST_REPEAT = 256  # tokens: a longer repeated sequence counts as so long
MAX_PENALTY = 1e6  # a probability of 0 in float32, and still a number after further arithmetic


class SequenceBreakers:
    """Where the tokens of a vocabulary spell certain strings.

    Args:
        table: the bytes of each token.
        strings: the strings, none of them empty.

    Attributes:
        tokens: the tokens in which a whole string is spelled, and END, bool (vocab_size,).
    """

    def __init__(self, table: Sequence[bytes], strings: Sequence[str]) -> None:
        self._table = table
        self._strings = [string.encode() for string in strings]
        self._reach = LONGEST_REPEAT + max(map(len, self._strings), default=0)
        within = [any(string in spelled for string in self._strings) for spelled in table]
        self.tokens = np.array(within)
        self.tokens[END] = True

    def distance(self, ids: Sequence[int]) -> int:
        """The number of tokens after the last string in a text, at most `LONGEST_REPEAT`."""
        spelled = [self._table[token] for token in ids[-self._reach :]]
        text = b"".join(spelled)
        found = [text.rfind(string) + len(string) for string in self._strings if string in text]
        rest = len(text) - max(found, default=0)
        count = 0
        for each in reversed(spelled[-LONGEST_REPEAT:]):
            rest -= len(each)
            if rest < 0:  # the string ends within this token, or at its end
                break
            count += 1
        return count


def dry(
    logits: Tensor,
    history: History,
    multiplier: float,
    base: float,
    allowed_length: int,
    breakers: SequenceBreakers | None,
) -> Tensor:
    """Penalise each token that would continue a repeated sequence.

    Let n be the length of the longest sequence that ends the text and is followed by the token
    somewhere earlier in the text. If n ≥ ``allowed_length``, the logit of the token is lowered by
    ``multiplier`` · ``base``^(n − ``allowed_length``). Only tokens after the last sequence breaker
    count for n, and a token that contains a breaker is not penalised. p-e-w (2024), *DRY: A modern
    repetition penalty that reliably prevents looping*; there is no paper.

    Args:
        breakers: the sequence breakers; None: there are none.
    """
    penalties = np.zeros(logits.shape, np.float32)
    texts = history.text.cpu().numpy()
    for row, length in enumerate(history.length.tolist()):
        ids = texts[row, :length]
        limit = LONGEST_REPEAT if breakers is None else breakers.distance(ids.tolist())
        longest = np.zeros(logits.shape[1], np.int64)
        np.maximum.at(longest, ids[1:], repeat_lengths(ids, limit)[1:])
        with np.errstate(over="ignore"):
            penalty = multiplier * np.float64(base) ** (longest - allowed_length)
        penalty[longest < allowed_length] = 0
        if breakers is not None:
            penalty[breakers.tokens] = 0
        penalties[row] = penalty.clip(max=MAX_PENALTY)
    return logits - torch.from_numpy(penalties).to(logits.device)


def repeat_lengths(ids: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """For each token of a text, how many of the tokens before it are equal to as many at the end of
    the text, at most ``limit``.
    """
    lengths = np.zeros(len(ids), np.int64)
    alive = np.arange(1, len(ids))
    for count in range(min(limit, len(ids) - 1)):
        alive = alive[alive > count]
        alive = alive[ids[alive - 1 - count] == ids[-1 - count]]
        if not len(alive):
            break
        lengths[alive] += 1
    return lengths
