"""What the settings of all families of models have in common. Nothing here loads PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, cast

from wenmo.options import Settings

if TYPE_CHECKING:
    from wenmo.models.base import LanguageModel

SHARE_OF_SPEED = 0.5  # about what training reaches of the speed of matrix products alone


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
    """What there is to train a model with.

    Attributes:
        tokens: of the text.
        seconds: of the machine's time.
        speed: multiplications and additions a second, in products of float32 matrices.
    """

    tokens: int
    seconds: float
    speed: float

    def trainable_tokens(self, weights: int) -> float:
        """About how many tokens a model with so many weights in matrices is trained on: each takes
        one product forward and two backward.
        """
        return SHARE_OF_SPEED * self.seconds * self.speed / (3 * weights)
