"""Run folders that the ``transformers`` package opens as they are: names and shapes of weights, and
the ``config.json`` beside them, for the layouts of GPT-2 and Qwen3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wenmo.models import ModelConfig
from wenmo.models.transformer import Transformer
from wenmo.types import END, WenmoError

# Our name, their name. "{}" is a block's number.
QWEN3 = {
    "embedding.weight": "model.embed_tokens.weight",
    "blocks.{}.attention_norm.weight": "model.layers.{}.input_layernorm.weight",
    "blocks.{}.attention.query.weight": "model.layers.{}.self_attn.q_proj.weight",
    "blocks.{}.attention.key.weight": "model.layers.{}.self_attn.k_proj.weight",
    "blocks.{}.attention.value.weight": "model.layers.{}.self_attn.v_proj.weight",
    "blocks.{}.attention.output.weight": "model.layers.{}.self_attn.o_proj.weight",
    "blocks.{}.attention.query_norm.weight": "model.layers.{}.self_attn.q_norm.weight",
    "blocks.{}.attention.key_norm.weight": "model.layers.{}.self_attn.k_norm.weight",
    "blocks.{}.feed_forward_norm.weight": "model.layers.{}.post_attention_layernorm.weight",
    "blocks.{}.feed_forward.gate.weight": "model.layers.{}.mlp.gate_proj.weight",
    "blocks.{}.feed_forward.up.weight": "model.layers.{}.mlp.up_proj.weight",
    "blocks.{}.feed_forward.down.weight": "model.layers.{}.mlp.down_proj.weight",
    "norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}
# GPT-2 keeps the linear layers of a block transposed, and query, key and value in one; the three
# are named in the order in which they stand there.
GPT2 = {
    "embedding.weight": "transformer.wte.weight",
    "position.weight": "transformer.wpe.weight",
    "blocks.{}.attention_norm.weight": "transformer.h.{}.ln_1.weight",
    "blocks.{}.attention_norm.bias": "transformer.h.{}.ln_1.bias",
    "blocks.{}.attention.query.weight": "transformer.h.{}.attn.c_attn.weight",
    "blocks.{}.attention.key.weight": "transformer.h.{}.attn.c_attn.weight",
    "blocks.{}.attention.value.weight": "transformer.h.{}.attn.c_attn.weight",
    "blocks.{}.attention.query.bias": "transformer.h.{}.attn.c_attn.bias",
    "blocks.{}.attention.key.bias": "transformer.h.{}.attn.c_attn.bias",
    "blocks.{}.attention.value.bias": "transformer.h.{}.attn.c_attn.bias",
    "blocks.{}.attention.output.weight": "transformer.h.{}.attn.c_proj.weight",
    "blocks.{}.attention.output.bias": "transformer.h.{}.attn.c_proj.bias",
    "blocks.{}.feed_forward_norm.weight": "transformer.h.{}.ln_2.weight",
    "blocks.{}.feed_forward_norm.bias": "transformer.h.{}.ln_2.bias",
    "blocks.{}.feed_forward.up.weight": "transformer.h.{}.mlp.c_fc.weight",
    "blocks.{}.feed_forward.up.bias": "transformer.h.{}.mlp.c_fc.bias",
    "blocks.{}.feed_forward.down.weight": "transformer.h.{}.mlp.c_proj.weight",
    "blocks.{}.feed_forward.down.bias": "transformer.h.{}.mlp.c_proj.bias",
    "norm.weight": "transformer.ln_f.weight",
    "norm.bias": "transformer.ln_f.bias",
    "head.weight": "lm_head.weight",
}
TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


@dataclass(frozen=True, slots=True)
class Layout:
    """How another program arranges a model of ours.

    Attributes:
        names: their name of each weight of ours.
        config: the content of their ``config.json``.
    """

    names: dict[str, str]
    config: dict[str, Any]

    def outward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Our weights under their names, in their shapes."""
        theirs: dict[str, list[Tensor]] = {}
        for ours, tensor in tensors.items():
            theirs.setdefault(self.names[ours], []).append(tensor)
        joined = {name: torch.cat(parts) for name, parts in theirs.items()}
        return {n: t.mT if n.endswith(TRANSPOSED) else t for n, t in joined.items()}

    def inward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Their weights under our names, in our shapes.

        Raises:
            WenmoError: a weight is missing, named.
        """
        ours: dict[str, Tensor] = {}
        for name in dict.fromkeys(self.names.values()):
            if name not in tensors:
                raise WenmoError(f"the weight {name!r} is missing")
            targets = [our for our, their in self.names.items() if their == name]
            tensor = tensors[name].mT if name.endswith(TRANSPOSED) else tensors[name]
            for our, part in zip(targets, tensor.tensor_split(len(targets)), strict=True):
                ours[our] = part.contiguous()
        return ours


def layout_of(config: ModelConfig, vocab_size: int) -> Layout | None:
    """The layout under which other programs know a model of these settings, if there is one."""
    if not isinstance(config, Transformer.Config) or config.encoder_layers:
        return None
    if not config.prenorm or config.scaled:
        return None
    modern = (config.norm, config.positions, config.activation) == ("rms", "rotary", "swiglu")
    if modern and config.qk_norm and not config.bias:
        return Layout(_names(QWEN3, config), _qwen3_config(config, vocab_size))
    classic = (config.norm, config.positions, config.activation) == ("layer", "learned", "gelu")
    plain_heads = config.query_groups == config.heads
    plain_heads = plain_heads and config.width_of_head * config.heads == config.width
    if classic and config.bias and plain_heads and not config.qk_norm:
        return Layout(_names(GPT2, config), _gpt2_config(config, vocab_size))
    return None


def tokenizer_config(context: int | None) -> dict[str, Any]:
    """The ``tokenizer_config.json`` that makes other programs read our ``tokenizer.json``."""
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|end|>",
        "eos_token": "<|end|>",
        "clean_up_tokenization_spaces": False,
    }
    return config if context is None else {**config, "model_max_length": context}


def _names(table: dict[str, str], config: Transformer.Config) -> dict[str, str]:
    names = {}
    for ours, theirs in table.items():
        if ours == "head.weight" and config.tied:
            continue
        for number in range(config.layers) if "{}" in ours else [0]:
            names[ours.format(number)] = theirs.format(number)
    return names


def _qwen3_config(config: Transformer.Config, vocab_size: int) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.inner_width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.query_groups,
        "head_dim": config.width_of_head,
        "hidden_act": "silu",
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.epsilon,
        "rope_theta": config.rotary_base,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rotary_base},
        "attention_bias": False,
        "tie_word_embeddings": config.tied,
        "bos_token_id": END,
        "eos_token_id": END,
        "torch_dtype": "float32",
    }


def _gpt2_config(config: Transformer.Config, vocab_size: int) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": vocab_size,
        "n_positions": config.context,
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.inner_width,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": config.epsilon,
        "embd_pdrop": config.dropout,
        "resid_pdrop": config.dropout,
        "attn_pdrop": config.dropout_of_attention,
        "tie_word_embeddings": config.tied,
        "bos_token_id": END,
        "eos_token_id": END,
        "torch_dtype": "float32",
    }
