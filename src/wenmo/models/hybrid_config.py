"""The settings of mixtures of a network and n-gram counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wenmo.models.config import ModelConfig
from wenmo.models.ngram_config import NgramConfig


@dataclass(frozen=True)
class HybridConfig(ModelConfig):
    """Settings of a mixture of a network and n-gram counts.

    Attributes:
        network: of the network.
        counts: of the n-gram model; its order must be above 1.
        folds: the number of parts that a text is divided into to be cross-fitted.
        folds_used: how many of them, from the first on, the network is trained on; None: all.
        breaks: the ids of the tokens that end a line or a text; they have weights of their own.
    """

    class_path: ClassVar[str] = "wenmo.models.hybrid:Hybrid"

    network: ModelConfig
    counts: NgramConfig
    folds: int = 5
    folds_used: int | None = None
    breaks: tuple[int, ...] = ()
