"""What becomes of every file of a model that others trained: the model, once it is opened."""

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
    """A model as others left it.

    Attributes:
        family: the catalogue's, of which it is.
        config: its settings as ours.
        model: with its weights.
        tokenizer: with the end mark at id 0.
        template: of its conversations, in Jinja's language, if it has one.
        note: what its user should know.
        sampling: how it writes where nothing is asked for: settings of `Sampling` by name.
        sampling_reason: where these come from, in one line.
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
    path: Path, config: TransformerConfig, size: int, embedding: Any, weights: int
) -> None:
    """Hold what the settings say of sizes against the weights, before anything is made of it.

    Args:
        size: of the vocabulary.
        embedding: what has the embedding's ``shape``; None: the file has none.
        weights: how many the file has.

    Raises:
        WenmoError: they contradict each other.
    """
    if embedding is None:
        raise WenmoError(f"{path}: the weights of the token embedding are missing")
    if embedding.shape[0] != size:
        raise WenmoError(
            f"{path}: the vocabulary has {size:,} tokens, but the embedding {embedding.shape[0]:,}"
        )
    if config.layers + config.encoder_layers > weights:
        raise WenmoError(f"{path}: {config.layers:,} layers, but only {weights:,} weights")


def built(
    path: Path, config: TransformerConfig, layout: Layout, size: int, tensors: dict[str, Tensor]
) -> LanguageModel:
    """The model with these weights, each of which is held in memory once.

    Args:
        size: of the vocabulary.
        tensors: by the names of the layout.

    Raises:
        WenmoError: they do not fit the settings.
    """
    with shapes_only():
        model: LanguageModel = config.build(size)
    try:
        model.load_state_dict(layout.from_external(tensors), assign=True)
    except (RuntimeError, WenmoError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WenmoError(f"{path}: the weights do not fit the settings: {reason}") from None
    if not config.encoder_layers:
        model.special_tokens = replace(model.special_tokens, bos=())
    return model.eval()
