"""Pooling of hidden states over time."""

from __future__ import annotations

import torch
from torch import Tensor


def max_pool(memory: Tensor, mask: Tensor) -> Tensor:
    """The maximum over time of (rows, time, width) where ``mask``, bool (rows, time), is true (Long
    et al. 2020, "Preventing posterior collapse in sequence VAEs with pooling"): (rows, width).
    """
    return memory.masked_fill(~mask[..., None], -torch.inf).amax(1)
