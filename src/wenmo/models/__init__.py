"""The catalogue: every family by name, its default settings, its named sizes, what it is good for.

Adding a family is adding its file and one entry here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from wenmo.config import from_dict, match, nearest
from wenmo.models import gan, recurrent, seq2seq, vae
from wenmo.models.base import Budget, LanguageModel
from wenmo.models.gan import Gan
from wenmo.models.grammar import GrammarModel
from wenmo.models.network import Network
from wenmo.models.ngram import Ngram
from wenmo.models.recurrent import Recurrent
from wenmo.models.seq2seq import Seq2seq
from wenmo.models.transformer import presets
from wenmo.models.transformer.masked import Masked
from wenmo.models.transformer.model import Transformer
from wenmo.models.vae import Vae
from wenmo.types import WenmoError

__all__ = [
    "MODELS",
    "Family",
    "LanguageModel",
    "ModelConfig",
    "can_stand_on_counts",
    "conditional",
    "configure",
    "find",
]


class ModelConfig(Protocol):
    """What every family's settings can do: build the model for a vocabulary."""

    def build(self, vocab_size: int) -> LanguageModel: ...


@dataclass(frozen=True, slots=True)
class Family:
    """One entry of the catalogue.

    Attributes:
        kind: the model's class.
        config: the default settings.
        good_for: one line for a person who chooses.
        sizes: other settings by name, asked for as ``family:size``.
        training: where its training does well to differ from the defaults.
        suit: the settings that suit a text and the time for it, those that are not as in the
            settings given.
        like: for models with an encoder, the settings of one of which a side, ``encoder`` or
            ``decoder``, begins with the weights of a model of the settings given.
    """

    kind: type[LanguageModel]
    config: ModelConfig
    good_for: str
    sizes: Mapping[str, ModelConfig] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    suggest_config: Callable[[Any, Budget], dict[str, Any]] | None = None
    like: Callable[[Any, Literal["encoder", "decoder"]], dict[str, Any]] | None = None


MODELS: dict[str, Family] = {
    "grammar": Family(
        GrammarModel,
        GrammarModel.Config(),
        "rules of your own: writes only what they allow, from no text at all",
    ),
    "ngram": Family(
        Ngram,
        Ngram.Config(counts=True),
        "counts (modified Kneser–Ney): trained in seconds, hard to beat on little text",
    ),
    "rnn": Family(
        Recurrent,
        Recurrent.Config("rnn"),
        "the simple recurrent network: the baseline that LSTM and GRU improve on",
        recurrent.SIZES["rnn"],
        {"learning_rate": 0.001},
        recurrent.suggest_config,
    ),
    "lstm": Family(
        Recurrent,
        Recurrent.Config("lstm"),
        "long short-term memory: reads without end in constant memory, strong on little text",
        recurrent.SIZES["lstm"],
        {"learning_rate": 0.005},
        recurrent.suggest_config,
    ),
    "gru": Family(
        Recurrent,
        Recurrent.Config("gru"),
        "gated recurrent unit: close to the LSTM with a quarter fewer weights",
        recurrent.SIZES["gru"],
        {"learning_rate": 0.005},
        recurrent.suggest_config,
    ),
    "seq2seq": Family(
        Seq2seq,
        Seq2seq.Config(),
        "recurrent encoder and decoder with attention: turns one text into another, from few pairs",
        seq2seq.SIZES,
        {"learning_rate": 0.003},
        like=seq2seq.like,
    ),
    "gpt": Family(
        Transformer,
        Transformer.Config(),
        "decoder-only Transformer: the strongest with enough text and time",
        presets.SIZES,
        {"optimizer": "muon"},
        presets.suggest_config,
    ),
    "transformer": Family(
        Transformer,
        presets.MODERN,
        "Transformer with an encoder: turns one text into another, the strongest with many pairs",
        presets.ENCODER_SIZES,
        {"optimizer": "muon"},
        like=presets.like,
    ),
    "masked": Family(
        Masked,
        Masked.Config(),
        "masked diffusion: looks to both sides, fills gaps, and writes in any order",
        presets.MASKED_SIZES,
        {"optimizer": "muon"},
        presets.suggest_masked_config,
    ),
    "vae": Family(
        Vae,
        Vae.Config(),
        "variational autoencoder: writes from a space of texts in which one can walk, and edit",
        vae.SIZES,
        {"learning_rate": 0.003},
    ),
    "gan": Family(
        Gan,
        Gan.Config(),
        "adversarial (SeqGAN, RelGAN): learns from a critic, and tells whether that was worth it",
        gan.SIZES,
        {"learning_rate": 0.003, "batch_size": 64},
    ),
}


def find(name: str) -> tuple[str, ModelConfig]:
    """The family and settings that ``lstm`` or ``gpt:tiny`` stand for; case is ignored.

    Raises:
        WenmoError: no such family or size; the nearest valid name is offered.
    """
    named, colon, size = name.partition(":")
    family = match(named, MODELS)
    if family is None:
        raise WenmoError(
            f"unknown model {named!r}{nearest(named, MODELS)} (valid: {', '.join(MODELS)})"
        )
    if not colon:
        return family, MODELS[family].config
    sizes = MODELS[family].sizes
    known = match(size, sizes)
    if known is None:
        valid = ", ".join(sizes) or "none"
        offer = nearest(size, sizes)
        raise WenmoError(f"unknown size {name!r}{offer} (sizes of {family}: {valid})")
    return family, sizes[known]


def conditional(family: str) -> bool:
    """Whether models of this family can answer to a source."""
    return MODELS[family].kind.conditioning != "none"


def can_stand_on_counts(family: str) -> bool:
    """Whether models of this family have hidden states, by which counts can be weighed."""
    return issubclass(MODELS[family].kind, Network)


def configure(family: str, settings: Mapping[str, Any]) -> ModelConfig:
    """A family's settings from a plain dict, as a run folder keeps them."""
    _, default = find(family)
    return from_dict(type(default), settings)
