"""Other programs' arrangements of a Transformer: how its weights are turned into theirs and back,
and which kinds there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from wenmo.interchange.external_config import SCHEMAS, ExternalConfig
from wenmo.interchange.names import BART, BERT, CTRL, GPT2, LLAMA, ROBERTA, T5
from wenmo.interchange.settings import (
    POSITIONS_BEGIN,
    Settings,
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
from wenmo.models.transformer.config import TransformerConfig
from wenmo.types import END, WenmoError

TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


@dataclass(frozen=True, slots=True)
class Layout:
    """How another program arranges a model of ours.

    Attributes:
        names: their name of each weight of ours.
        config: the content of their ``config.json``.
        end: their id of the mark that ends a text, which is our 0: the two rows change places.
    """

    names: dict[str, str]
    config: dict[str, Any]
    end: int = END

    def to_external(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Our weights under their names, in their shapes."""
        theirs: dict[str, list[Tensor]] = {}
        for ours, tensor in tensors.items():
            name, tensor = self.names[ours], self._exchanged(ours, tensor)
            if name.endswith("embed_positions.weight"):
                tensor = torch.cat([tensor.new_zeros(POSITIONS_BEGIN, tensor.shape[1]), tensor])
            theirs.setdefault(name, []).append(tensor)
        joined = {name: torch.cat(parts) for name, parts in theirs.items()}
        if "final_logits_bias" in joined:
            joined["final_logits_bias"] = joined["final_logits_bias"][None]
        return {n: t.mT if n.endswith(TRANSPOSED) else t for n, t in joined.items()}

    def from_external(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Their weights under our names, in our shapes, in float32.

        Raises:
            WenmoError: a weight is missing, or holds whole numbers, whose scale is not known.
        """
        ours: dict[str, Tensor] = {}
        for name in dict.fromkeys(self.names.values()):
            if name not in tensors:
                raise WenmoError(f"the weight {name!r} is missing")
            if not tensors[name].is_floating_point():
                kind = str(tensors[name].dtype).removeprefix("torch.")
                raise WenmoError(f"the weight {name!r} is stored as {kind}: not supported here")
            targets = [our for our, their in self.names.items() if their == name]
            tensor = tensors[name].float()
            if name.endswith(TRANSPOSED):
                tensor = tensor.mT
            elif name.endswith("embed_positions.weight"):
                tensor = tensor[POSITIONS_BEGIN:]
            elif name == "final_logits_bias":
                tensor = tensor.flatten()
            for our, part in zip(targets, tensor.tensor_split(len(targets)), strict=True):
                ours[our] = self._exchanged(our, part.contiguous())
        return ours

    def _exchanged(self, ours: str, tensor: Tensor) -> Tensor:
        """With the rows of END and of their end mark in each other's place."""
        if self.end == END or ours not in OF_TOKENS:
            return tensor
        exchanged = tensor.clone()
        exchanged[[END, self.end]] = tensor[[self.end, END]]
        return exchanged


OF_TOKENS = ("embedding.weight", "encoder.embedding.weight", "head.weight", "bias")


@dataclass(frozen=True, slots=True)
class Kind:
    """One arrangement.

    Attributes:
        names: our names and theirs.
        read: their settings as ours.
        write: ours as theirs, as far as they can be said there; None: nothing of ours is written
            so.
        family: the catalogue's, of which it is.
        prefix: of the names of all weights but those of the softmax; without it, they are those of
            a model that was saved without its softmax.
    """

    names: dict[str, str]
    read: Callable[[Settings], TransformerConfig]
    write: Callable[[TransformerConfig], dict[str, Any]] | None = None
    family: str = "gpt"
    prefix: str = ""

    def config_of(self, content: Settings) -> TransformerConfig:
        """The content of a ``config.json`` as our settings.

        Raises:
            KeyError: a setting without a default is missing.
            UnsupportedSettingError: a setting is not known, or its value not supported here.
        """
        settings = ExternalConfig(content, SCHEMAS[content["model_type"]])
        config = self.read(settings)
        settings.check_all_read()
        return config


# By the ``model_type`` of their config.json.
KINDS: dict[str, Kind] = {
    "gpt2": Kind(GPT2, read_gpt2, write_gpt2, prefix="transformer."),
    **{
        kind: Kind(LLAMA, read_llama, partial(write_llama, kind, architecture), prefix="model.")
        for kind, architecture in (
            ("qwen3", "Qwen3ForCausalLM"),
            ("llama", "LlamaForCausalLM"),
            ("qwen2", "Qwen2ForCausalLM"),
            ("mistral", "MistralForCausalLM"),
        )
    },
    "ctrl": Kind(CTRL, read_ctrl, prefix="transformer."),
    "t5": Kind(T5, read_t5, partial(write_t5, "t5", "T5ForConditionalGeneration"), "transformer"),
    "mt5": Kind(T5, read_t5, family="transformer"),
    "bart": Kind(BART, read_bart, family="transformer", prefix="model."),
    "mbart": Kind(BART, read_bart, family="transformer", prefix="model."),
    "marian": Kind(
        BART, read_bart, partial(write_bart, "marian", "MarianMTModel"), "transformer", "model."
    ),
    "bert": Kind(BERT, read_bert, family="masked", prefix="bert."),
    "roberta": Kind(ROBERTA, read_bert, family="masked", prefix="roberta."),
}


def in_one_embedding(tensors: Mapping[str, Tensor], kind: Kind, mask: int) -> dict[str, Tensor]:
    """A masked model's weights as ours has them: the mask's row of the embedding once more, behind
    the last; and, in the positions, the type of token that a text without a second one has.

    Args:
        mask: their id of the mask.
    """
    # The first of them named the weights of norms otherwise.
    modern = {
        name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
            "LayerNorm.beta", "LayerNorm.bias"
        ): tensor
        for name, tensor in tensors.items()
    }
    embedding, position = kind.names["embedding.weight"], kind.names["position.weight"]
    types = modern.get(position.replace("position", "token_type"))
    if embedding in modern and position in modern and types is not None:
        before = POSITIONS_BEGIN if kind.names is ROBERTA else 0
        modern[position] = modern[position][before:] + types[0]
        modern[embedding] = torch.cat([modern[embedding], modern[embedding][mask, None]])
    return modern
