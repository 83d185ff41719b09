"""Layouts of Transformer weights in the ``transformers`` package: conversion in both directions,
and the table of architectures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from wenmo.interchange.config_conversion import (
    POSITION_OFFSET,
    ExternalSettings,
    read_bart,
    read_bert,
    read_ctrl,
    read_gpt2,
    read_llama,
    read_t5,
    write_bart,
    write_gpt2,
    write_llama,
    write_t5,
)
from wenmo.interchange.external_config import SCHEMAS, ConfigReader
from wenmo.interchange.weight_names import BART, BERT, CTRL, GPT2, LLAMA, ROBERTA, T5
from wenmo.models.transformer.config import TransformerConfig
from wenmo.types import END, WenmoError

TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


@dataclass(frozen=True, slots=True)
class Layout:
    """How the weights of a model are named and arranged in an external format.

    Attributes:
        names: the external name of each weight.
        config: the content of ``config.json``.
        end: external id of the end-of-text token. It is END (0) here: the two rows are swapped.
    """

    names: dict[str, str]
    config: dict[str, Any]
    end: int = END

    def to_external(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Convert a state dict to external names and shapes."""
        external: dict[str, list[Tensor]] = {}
        for name, tensor in tensors.items():
            external_name, tensor = self.names[name], self._swap_end_rows(name, tensor)
            if external_name.endswith("embed_positions.weight"):
                tensor = torch.cat([tensor.new_zeros(POSITION_OFFSET, tensor.shape[1]), tensor])
            external.setdefault(external_name, []).append(tensor)
        joined = {external_name: torch.cat(pieces) for external_name, pieces in external.items()}
        if "final_logits_bias" in joined:
            joined["final_logits_bias"] = joined["final_logits_bias"][None]
        return {n: t.mT if n.endswith(TRANSPOSED) else t for n, t in joined.items()}

    def from_external(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert external weights to a state dict, in float32.

        Raises:
            WenmoError: a weight is missing, or has an integer dtype, whose scale is not known.
        """
        converted: dict[str, Tensor] = {}
        for external_name in dict.fromkeys(self.names.values()):
            if external_name not in tensors:
                raise WenmoError(f"the weight {external_name!r} is missing")
            if not tensors[external_name].is_floating_point():
                dtype = str(tensors[external_name].dtype).removeprefix("torch.")
                raise WenmoError(
                    f"the weight {external_name!r} is stored as {dtype}: not supported here"
                )
            targets = [
                target for target, external in self.names.items() if external == external_name
            ]
            tensor = tensors[external_name].float()
            if external_name.endswith(TRANSPOSED):
                tensor = tensor.mT
            elif external_name.endswith("embed_positions.weight"):
                tensor = tensor[POSITION_OFFSET:]
            elif external_name == "final_logits_bias":
                tensor = tensor.flatten()
            for target, piece in zip(targets, tensor.tensor_split(len(targets)), strict=True):
                converted[target] = self._swap_end_rows(target, piece.contiguous())
        return converted

    def _swap_end_rows(self, name: str, tensor: Tensor) -> Tensor:
        """Swap the rows of END and of the external end-of-text token."""
        if self.end == END or name not in PER_TOKEN_WEIGHTS:
            return tensor
        swapped = tensor.clone()
        swapped[[END, self.end]] = tensor[[self.end, END]]
        return swapped


PER_TOKEN_WEIGHTS = ("embedding.weight", "encoder.embedding.weight", "head.weight", "bias")


@dataclass(frozen=True, slots=True)
class Architecture:
    """An external architecture.

    Attributes:
        weight_names: internal weight names and the corresponding external names.
        read_config: converts external settings.
        write_config: converts to external settings; None: models are not exported to it.
        family: model family in the catalogue.
        prefix: prefix of all weight names except those of the output layer. Models that were saved
            without their output layer lack it.
    """

    weight_names: dict[str, str]
    read_config: Callable[[ExternalSettings], TransformerConfig]
    write_config: Callable[[TransformerConfig], dict[str, Any]] | None = None
    family: str = "gpt"
    prefix: str = ""

    def config_of(self, content: ExternalSettings) -> TransformerConfig:
        """Convert the content of a ``config.json``.

        Raises:
            KeyError: a setting without a default is missing.
            UnsupportedSettingError: a setting, or its value, is not supported.
        """
        settings = ConfigReader(content, SCHEMAS[content["model_type"]])
        config = self.read_config(settings)
        settings.check_all_read()
        return config


# By the ``model_type`` of config.json.
ARCHITECTURES: dict[str, Architecture] = {
    "gpt2": Architecture(GPT2, read_gpt2, write_gpt2, prefix="transformer."),
    **{
        architecture: Architecture(
            LLAMA, read_llama, partial(write_llama, architecture, class_name), prefix="model."
        )
        for architecture, class_name in (
            ("qwen3", "Qwen3ForCausalLM"),
            ("llama", "LlamaForCausalLM"),
            ("qwen2", "Qwen2ForCausalLM"),
            ("mistral", "MistralForCausalLM"),
        )
    },
    "ctrl": Architecture(CTRL, read_ctrl, prefix="transformer."),
    "t5": Architecture(
        T5, read_t5, partial(write_t5, "t5", "T5ForConditionalGeneration"), "transformer"
    ),
    "mt5": Architecture(T5, read_t5, family="transformer"),
    "bart": Architecture(BART, read_bart, family="transformer", prefix="model."),
    "mbart": Architecture(BART, read_bart, family="transformer", prefix="model."),
    "marian": Architecture(
        BART, read_bart, partial(write_bart, "marian", "MarianMTModel"), "transformer", "model."
    ),
    "bert": Architecture(BERT, read_bert, family="masked", prefix="bert."),
    "roberta": Architecture(ROBERTA, read_bert, family="masked", prefix="roberta."),
}


def merge_masked_embeddings(
    tensors: Mapping[str, Tensor], architecture: Architecture, mask: int
) -> dict[str, Tensor]:
    """Adapt the embeddings of a masked model.

    A copy of the mask token's row is appended to the token embedding, and the embedding of token
    type 0 is added to the position embedding.

    Args:
        mask: external id of the mask token.
    """
    # Old checkpoints have other names for the weights of norms.
    renamed = {
        name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
            "LayerNorm.beta", "LayerNorm.bias"
        ): tensor
        for name, tensor in tensors.items()
    }
    embedding, position = (
        architecture.weight_names["embedding.weight"],
        architecture.weight_names["position.weight"],
    )
    token_type = renamed.get(position.replace("position", "token_type"))
    if embedding in renamed and position in renamed and token_type is not None:
        offset = POSITION_OFFSET if architecture.weight_names is ROBERTA else 0
        renamed[position] = renamed[position][offset:] + token_type[0]
        renamed[embedding] = torch.cat([renamed[embedding], renamed[embedding][mask, None]])
    return renamed
