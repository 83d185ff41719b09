"""Training only the end of a network: what is near the words changes least between texts."""

from __future__ import annotations

import re

from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import network_of
from wenmo.types import WenmoError

BLOCK = re.compile(r"^(?:blocks|layers)\.(\d+)\.")
AFTER = re.compile(r"^(?:norm|head|bias)\b")
THAWED = 0.5  # the share of the budget by which everything is trained


def count_blocks(model: LanguageModel) -> int:
    """How many blocks stand above each other."""
    names = (name for name, _ in network_of(model).named_parameters())
    numbers = [int(m[1]) for name in names if (m := BLOCK.match(name))]
    return 1 + max(numbers, default=-1)


def train_last(model: LanguageModel, blocks: int | None) -> None:
    """Let only so many of the last blocks be trained, and what follows them; None: everything.

    Raises:
        WenmoError: that leaves nothing to train.
    """
    first = 0 if blocks is None else count_blocks(model) - blocks
    network = network_of(model)  # what weighs its counts is always trained
    for name, weight in network.named_parameters():
        block = BLOCK.match(name)
        late = int(block[1]) >= first if block else bool(AFTER.match(name))
        weight.requires_grad_(blocks is None or late)
    if not any(weight.requires_grad for weight in network.parameters()):
        raise WenmoError(f"trainable_blocks={blocks}: nothing is left to train")


def gradual_unfreeze(model: LanguageModel, progress: float) -> None:
    """Let one block more be trained in each equal part of the first half of the budget, from the
    last block on, and everything from then on (Howard & Ruder 2018, section 3.2).
    """
    count = count_blocks(model)
    blocks = int(progress / THAWED * (count + 1))
    train_last(model, blocks if blocks <= count else None)
