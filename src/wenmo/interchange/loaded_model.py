"""A model loaded from files of another program, and what all loaders share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from wenmo.interchange.layouts import Layout
from wenmo.models.base import LanguageModel
from wenmo.models.external import ExternalConfig
from wenmo.models.shapes import shapes_only
from wenmo.models.transformer.config import TransformerConfig
from wenmo.text.pretrained import PretrainedTokenizer
from wenmo.types import WenmoError


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A pretrained model with its tokenizer and defaults.

    Attributes:
        family: model family in the catalogue.
        config: the model's settings.
        model: the model with its weights.
        tokenizer: its tokenizer, with the end-of-text token at id 0.
        template: chat template (Jinja), if it has one.
        note: a line for the user, if there is something to know.
        sampling: default sampling settings, by their names in `Sampling`.
        sampling_reason: where these settings come from, in one line.
    """

    family: str
    config: TransformerConfig | ExternalConfig
    model: LanguageModel
    tokenizer: PretrainedTokenizer
    template: str | None
    note: str | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    sampling_reason: str = "the generation settings of its makers"


def check_sizes(
    path: Path, config: TransformerConfig, vocab_size: int, embedding: Any, weight_count: int
) -> None:
    """Check sizes in the settings against the weights before memory is allocated.

    Args:
        vocab_size: number of tokens in the vocabulary.
        embedding: an object with the ``shape`` of the embedding; None: the file has no embedding.
        weight_count: number of weights in the file.

    Raises:
        WenmoError: the sizes contradict each other.
    """
    if embedding is None:
        raise WenmoError(f"{path}: the weights of the token embedding are missing")
    if embedding.shape[0] != vocab_size:
        raise WenmoError(
            f"{path}: the vocabulary has {vocab_size:,} tokens, "
            f"but the embedding {embedding.shape[0]:,}"
        )
    if config.layers + config.encoder_layers > weight_count:
        raise WenmoError(f"{path}: {config.layers:,} layers, but only {weight_count:,} weights")


def build_model(
    path: Path,
    config: TransformerConfig,
    layout: Layout,
    vocab_size: int,
    tensors: dict[str, Tensor],
) -> LanguageModel:
    """Build a model from external weights, without a second copy of them in memory.

    Args:
        vocab_size: number of tokens in the vocabulary.
        tensors: weights by their external names.

    Raises:
        WenmoError: the weights do not fit the settings.
    """
    with shapes_only():
        model: LanguageModel = config.build(vocab_size)
    try:
        model.load_state_dict(layout.from_external(tensors), assign=True)
    except (RuntimeError, WenmoError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WenmoError(f"{path}: the weights do not fit the settings: {reason}") from None
    if not config.encoder_layers:
        model.special_tokens = replace(model.special_tokens, bos=())
    return model.eval()
