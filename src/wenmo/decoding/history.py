"""What the processors of logits read beside the logits: the rows' texts, and their noise keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class History:
    """The tokens of each row's text so far.

    Attributes:
        text: the prompt and the output, int64 (rows, longest), padded with -1, without the END
            before the text.
        start: the index of the first output token, int64 (rows,).
        keys: the key of each row's noise at this position, int64 (rows,); None where no processor
            draws.
        mu: the largest surprise that mirostat allows in each row, in bits, float32 (rows,); None
            without mirostat.
    """

    text: Tensor
    start: Tensor
    keys: Tensor | None = None
    mu: Tensor | None = None

    @staticmethod
    def of(
        texts: Sequence[Sequence[int]],
        starts: Sequence[int],
        device: torch.device | str = "cpu",
        *,
        keys: Tensor | None = None,
        mu: Tensor | None = None,
    ) -> History:
        """Pad lists of ids, one a row."""
        padded = np.full((len(texts), max(map(len, texts), default=0)), -1, dtype=np.int64)
        for row, text in zip(padded, texts, strict=True):
            row[: len(text)] = text
        start = torch.tensor(starts, dtype=torch.long, device=device)
        return History(torch.from_numpy(padded).to(device), start, keys, mu)

    @property
    def length(self) -> Tensor:
        """The number of tokens in each row, int64 (rows,)."""
        return (self.text >= 0).sum(1)

    @property
    def output(self) -> Tensor:
        """The output: the text with its prompt replaced by -1."""
        positions = torch.arange(self.text.shape[1], device=self.text.device)
        return self.text.masked_fill(positions < self.start[:, None], -1)
