"""Freezing the first blocks of a network, which transfer best (Howard & Ruder 2018)."""

from __future__ import annotations

import re

from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import network_of
from wenmo.types import WenmoError

BLOCK = re.compile(r"^(?:blocks|layers)\.(\d+)\.")
AFTER_BLOCKS = re.compile(r"^(?:norm|head|bias)\b")
UNFREEZE_RATIO = 0.5  # the share of the budget after which everything is trained


def count_blocks(model: LanguageModel) -> int:
    """The number of blocks, or of recurrent layers."""
    names = (name for name, _ in network_of(model).named_parameters())
    numbers = [int(m[1]) for name in names if (m := BLOCK.match(name))]
    return 1 + max(numbers, default=-1)


def train_last(model: LanguageModel, blocks: int | None) -> None:
    """Freeze all but the last ``blocks`` blocks and the layers after them; None: train everything.

    Raises:
        WenmoError: that leaves nothing to train.
    """
    first = 0 if blocks is None else count_blocks(model) - blocks
    network = network_of(model)  # the gates of a mixture are always trained
    for name, weight in network.named_parameters():
        block = BLOCK.match(name)
        is_trained = int(block[1]) >= first if block else bool(AFTER_BLOCKS.match(name))
        weight.requires_grad_(blocks is None or is_trained)
    if not any(weight.requires_grad for weight in network.parameters()):
        raise WenmoError(f"trainable_blocks={blocks}: nothing is left to train")


def gradual_unfreeze(model: LanguageModel, progress: float) -> None:
    """Unfreeze one more block, from the last on, in each equal part of the first half of the
    budget, and everything after that (Howard & Ruder 2018, section 3.2).
    """
    count = count_blocks(model)
    blocks = int(progress / UNFREEZE_RATIO * (count + 1))
    train_last(model, blocks if blocks <= count else None)
