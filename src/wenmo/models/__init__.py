"""The catalogue: every family by name, its default settings, its named sizes, what it is good for.

It loads without PyTorch: the class of a model is imported when it is asked for. Adding a family is
adding its settings, its model, and one entry here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from wenmo.config import did_you_mean, from_dict, match_name
from wenmo.models import gan_config, recurrent_config, seq2seq_config, vae_config
from wenmo.models.config import Budget, ModelConfig
from wenmo.models.gan_config import GanConfig
from wenmo.models.grammar_config import GrammarConfig
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.models.seq2seq_config import Seq2seqConfig
from wenmo.models.transformer import presets
from wenmo.models.transformer.config import MaskedConfig, TransformerConfig
from wenmo.models.vae_config import VaeConfig
from wenmo.types import WenmoError

if TYPE_CHECKING:
    from wenmo.models.base import LanguageModel

__all__ = ["MODELS", "Family", "configure", "find"]


@dataclass(frozen=True, slots=True)
class Family:
    """One entry of the catalogue.

    Attributes:
        config: the default settings.
        good_for: one line for a person who chooses.
        sizes: other settings by name, asked for as ``family:size``.
        training: where its training does well to differ from the defaults.
        suit: the settings that suit a text and the time for it, those that are not as in the
            settings given.
        like: for models with an encoder, the settings of one of which a side, ``encoder`` or
            ``decoder``, begins with the weights of a model of the settings given.
    """

    config: ModelConfig
    good_for: str
    sizes: Mapping[str, ModelConfig] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    suggest_config: Callable[[Any, Budget], dict[str, Any]] | None = None
    match_side: Callable[[Any, Literal["encoder", "decoder"]], dict[str, Any]] | None = None

    @property
    def model_class(self) -> type[LanguageModel]:
        """The class of its models; to ask for it, or what follows from it, loads PyTorch."""
        return self.config.model_class()

    @property
    def is_conditional(self) -> bool:
        """Whether its models can write a text for a source."""
        return self.model_class.conditioning != "none"

    @property
    def supports_ngram_prior(self) -> bool:
        """Whether its models have hidden states, from which the weights of n-gram counts follow."""
        from wenmo.models.network import Network

        return issubclass(self.model_class, Network)


MODELS: dict[str, Family] = {
    "grammar": Family(
        GrammarConfig(),
        "rules of your own: writes only what they allow, from no text at all",
    ),
    "ngram": Family(
        NgramConfig(counts=True),
        "counts (modified Kneser–Ney): trained in seconds, hard to beat on little text",
    ),
    "rnn": Family(
        RecurrentConfig("rnn"),
        "the simple recurrent network: the baseline that LSTM and GRU improve on",
        recurrent_config.SIZES["rnn"],
        {"learning_rate": 0.001},
        recurrent_config.suggest_config,
    ),
    "lstm": Family(
        RecurrentConfig("lstm"),
        "long short-term memory: reads without end in constant memory, strong on little text",
        recurrent_config.SIZES["lstm"],
        {"learning_rate": 0.005},
        recurrent_config.suggest_config,
    ),
    "gru": Family(
        RecurrentConfig("gru"),
        "gated recurrent unit: close to the LSTM with a quarter fewer weights",
        recurrent_config.SIZES["gru"],
        {"learning_rate": 0.005},
        recurrent_config.suggest_config,
    ),
    "seq2seq": Family(
        Seq2seqConfig(),
        "recurrent encoder and decoder with attention: turns one text into another, from few pairs",
        seq2seq_config.SIZES,
        {"learning_rate": 0.003},
        match_side=seq2seq_config.match_side,
    ),
    "gpt": Family(
        TransformerConfig(),
        "decoder-only Transformer: the strongest with enough text and time",
        presets.SIZES,
        {"optimizer": "muon"},
        presets.suggest_config,
    ),
    "transformer": Family(
        presets.MODERN,
        "Transformer with an encoder: turns one text into another, the strongest with many pairs",
        presets.ENCODER_SIZES,
        {"optimizer": "muon"},
        match_side=presets.match_side,
    ),
    "masked": Family(
        MaskedConfig(),
        "masked diffusion: looks to both sides, fills gaps, and writes in any order",
        presets.MASKED_SIZES,
        {"optimizer": "muon"},
        presets.suggest_masked_config,
    ),
    "vae": Family(
        VaeConfig(),
        "variational autoencoder: writes from a space of texts in which one can walk, and edit",
        vae_config.SIZES,
        {"learning_rate": 0.003},
    ),
    "gan": Family(
        GanConfig(),
        "adversarial (SeqGAN, RelGAN): learns from a critic, and tells whether that was worth it",
        gan_config.SIZES,
        {"learning_rate": 0.003, "batch_size": 64},
    ),
}


def find(name: str) -> tuple[str, ModelConfig]:
    """The family and settings that ``lstm`` or ``gpt:tiny`` stand for; case is ignored.

    Raises:
        WenmoError: no such family or size; the nearest valid name is offered.
    """
    named, colon, size = name.partition(":")
    family = match_name(named, MODELS)
    if family is None:
        raise WenmoError(
            f"unknown model {named!r}{did_you_mean(named, MODELS)} (valid: {', '.join(MODELS)})"
        )
    if not colon:
        return family, MODELS[family].config
    sizes = MODELS[family].sizes
    known = match_name(size, sizes)
    if known is None:
        valid = ", ".join(sizes) or "none"
        offer = did_you_mean(size, sizes)
        raise WenmoError(f"unknown size {name!r}{offer} (sizes of {family}: {valid})")
    return family, sizes[known]


def configure(family: str, settings: Mapping[str, Any]) -> ModelConfig:
    """A family's settings from a plain dict, as a run folder keeps them."""
    _, default = find(family)
    return from_dict(type(default), settings)
