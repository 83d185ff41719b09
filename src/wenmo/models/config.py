"""The base class of the settings of all families. Nothing here loads PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, cast

from wenmo.options import Settings

if TYPE_CHECKING:
    from wenmo.models.base import LanguageModel

MODEL_FLOPS_UTILIZATION = 0.5  # about: training's speed, as a share of that of matrix products


@dataclass(frozen=True)
class ModelConfig(Settings):
    """Settings of a family of models.

    They are made and checked without PyTorch, which takes seconds to load: the class of the model
    is imported when a model is built.

    Attributes:
        class_path: the model's class, ``module:Class``. It is called with the settings and the size
            of the vocabulary.
    """

    class_path: ClassVar[str]

    @classmethod
    def model_class(cls) -> type[LanguageModel]:
        """The class of the models that these settings build."""
        module, _, name = cls.class_path.partition(":")
        return cast("type[LanguageModel]", getattr(import_module(module), name))

    def build(self, vocab_size: int) -> LanguageModel:
        """Make a model for a vocabulary, with weights drawn at random."""
        return self.model_class()(self, vocab_size)


@dataclass(frozen=True, slots=True)
class Budget:
    """The data and compute of a training.

    Attributes:
        tokens: number of tokens in the training text.
        seconds: training time.
        speed: multiply–adds per second in products of float32 matrices.
    """

    tokens: int
    seconds: float
    speed: float

    def trainable_tokens(self, weights: int) -> float:
        """About how many tokens a model with so many weights in matrices can be trained on: each
        token takes one product in the forward pass and two in the backward pass.
        """
        return MODEL_FLOPS_UTILIZATION * self.seconds * self.speed / (3 * weights)
