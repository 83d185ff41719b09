"""Other programs' arrangements of a Transformer: their names of the weights, and their settings.

One table and two functions each: what their ``config.json`` says in our settings, and ours in
theirs, where a run of ours is written in that arrangement.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from wenmo.models.transformer import Transformer
from wenmo.types import END, WenmoError

Config = Transformer.Config
Settings = Mapping[str, Any]

# Our name, their name. "{}" is a block's number.
LLAMA = {
    "embedding.weight": "model.embed_tokens.weight",
    "blocks.{}.attention_norm.weight": "model.layers.{}.input_layernorm.weight",
    "blocks.{}.attention.query.weight": "model.layers.{}.self_attn.q_proj.weight",
    "blocks.{}.attention.query.bias": "model.layers.{}.self_attn.q_proj.bias",
    "blocks.{}.attention.key.weight": "model.layers.{}.self_attn.k_proj.weight",
    "blocks.{}.attention.key.bias": "model.layers.{}.self_attn.k_proj.bias",
    "blocks.{}.attention.value.weight": "model.layers.{}.self_attn.v_proj.weight",
    "blocks.{}.attention.value.bias": "model.layers.{}.self_attn.v_proj.bias",
    "blocks.{}.attention.output.weight": "model.layers.{}.self_attn.o_proj.weight",
    "blocks.{}.attention.output.bias": "model.layers.{}.self_attn.o_proj.bias",
    "blocks.{}.attention.query_norm.weight": "model.layers.{}.self_attn.q_norm.weight",
    "blocks.{}.attention.key_norm.weight": "model.layers.{}.self_attn.k_norm.weight",
    "blocks.{}.feed_forward_norm.weight": "model.layers.{}.post_attention_layernorm.weight",
    "blocks.{}.feed_forward.gate.weight": "model.layers.{}.mlp.gate_proj.weight",
    "blocks.{}.feed_forward.gate.bias": "model.layers.{}.mlp.gate_proj.bias",
    "blocks.{}.feed_forward.up.weight": "model.layers.{}.mlp.up_proj.weight",
    "blocks.{}.feed_forward.up.bias": "model.layers.{}.mlp.up_proj.bias",
    "blocks.{}.feed_forward.down.weight": "model.layers.{}.mlp.down_proj.weight",
    "blocks.{}.feed_forward.down.bias": "model.layers.{}.mlp.down_proj.bias",
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
CTRL = {
    "embedding.weight": "transformer.w.weight",
    **{
        f"blocks.{{}}.{ours}.{kind}": f"transformer.h.{{}}.{theirs}.{kind}"
        for ours, theirs in (
            ("attention_norm", "layernorm1"),
            ("attention.query", "multi_head_attention.Wq"),
            ("attention.key", "multi_head_attention.Wk"),
            ("attention.value", "multi_head_attention.Wv"),
            ("attention.output", "multi_head_attention.dense"),
            ("feed_forward_norm", "layernorm2"),
            ("feed_forward.up", "ffn.0"),
            ("feed_forward.down", "ffn.2"),
        )
        for kind in ("weight", "bias")
    },
    "norm.weight": "transformer.layernorm.weight",
    "norm.bias": "transformer.layernorm.bias",
    "head.weight": "lm_head.weight",
    "bias": "lm_head.bias",
}


def _t5_stack(ours: str, theirs: str, *, cross: bool) -> dict[str, str]:
    block = f"{theirs}.block.{{}}.layer"
    feed = f"{block}.{1 + cross}"
    crossing = {
        f"{ours}blocks.{{}}.cross_norm.weight": f"{theirs}.block.{{}}.layer.1.layer_norm.weight",
        **{
            f"{ours}blocks.{{}}.cross.{name}.weight": (
                f"{theirs}.block.{{}}.layer.1.EncDecAttention.{letter}.weight"
            )
            for name, letter in QKVO.items()
        },
    }
    return {
        f"{ours}relative.scores.weight": (
            f"{theirs}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        ),
        f"{ours}blocks.{{}}.attention_norm.weight": f"{block}.0.layer_norm.weight",
        **{
            f"{ours}blocks.{{}}.attention.{name}.weight": (
                f"{theirs}.block.{{}}.layer.0.SelfAttention.{letter}.weight"
            )
            for name, letter in QKVO.items()
        },
        **(crossing if cross else {}),
        f"{ours}blocks.{{}}.feed_forward_norm.weight": f"{feed}.layer_norm.weight",
        f"{ours}blocks.{{}}.feed_forward.gate.weight": f"{feed}.DenseReluDense.wi_0.weight",
        f"{ours}blocks.{{}}.feed_forward.up.weight": f"{feed}.DenseReluDense.wi_1.weight",
        f"{ours}blocks.{{}}.feed_forward.down.weight": f"{feed}.DenseReluDense.wo.weight",
        f"{ours}norm.weight": f"{theirs}.final_layer_norm.weight",
    }


QKVO = {"query": "q", "key": "k", "value": "v", "output": "o"}
T5 = {
    "embedding.weight": "shared.weight",
    **_t5_stack("encoder.", "encoder", cross=False),
    **_t5_stack("", "decoder", cross=True),
    "head.weight": "lm_head.weight",
}
# The first T5 has a plain feed-forward layer, of which the first matrix is named otherwise.
T5_PLAIN = {ours: theirs.replace("wi_1", "wi") for ours, theirs in T5.items()}


def _bart_stack(ours: str, theirs: str, *, cross: bool) -> dict[str, str]:
    layers = {
        "attention_norm": "self_attn_layer_norm",
        "attention.query": "self_attn.q_proj",
        "attention.key": "self_attn.k_proj",
        "attention.value": "self_attn.v_proj",
        "attention.output": "self_attn.out_proj",
        "feed_forward_norm": "final_layer_norm",
        "feed_forward.up": "fc1",
        "feed_forward.down": "fc2",
    }
    if cross:
        layers |= {
            "cross_norm": "encoder_attn_layer_norm",
            "cross.query": "encoder_attn.q_proj",
            "cross.key": "encoder_attn.k_proj",
            "cross.value": "encoder_attn.v_proj",
            "cross.output": "encoder_attn.out_proj",
        }
    kinds = ("weight", "bias")
    return {
        f"{ours}position.weight": f"model.{theirs}.embed_positions.weight",
        **{
            f"{ours}{name}.{kind}": f"model.{theirs}.{their}.{kind}"
            for name, their in (("embedding_norm", "layernorm_embedding"), ("norm", "layer_norm"))
            for kind in kinds
        },
        **{
            f"{ours}blocks.{{}}.{name}.{kind}": f"model.{theirs}.layers.{{}}.{their}.{kind}"
            for name, their in layers.items()
            for kind in kinds
        },
    }


BART = {
    "embedding.weight": "model.shared.weight",
    **_bart_stack("encoder.", "encoder", cross=False),
    **_bart_stack("", "decoder", cross=True),
    "head.weight": "lm_head.weight",
    "bias": "final_logits_bias",
}

TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
POSITIONS_BEGIN = 2  # BART's positions: the two rows before stand for nothing that is used


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

    def outward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
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

    def inward(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Their weights under our names, in our shapes, in float32.

        Raises:
            WenmoError: a weight is missing, named.
        """
        ours: dict[str, Tensor] = {}
        for name in dict.fromkeys(self.names.values()):
            if name not in tensors:
                raise WenmoError(f"the weight {name!r} is missing")
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
    """

    names: dict[str, str]
    read: Callable[[Settings], Config]
    write: Callable[[Config], dict[str, Any]] | None = None


def _gpt2(c: Settings) -> Config:
    return Config(
        width=c["n_embd"],
        layers=c["n_layer"],
        heads=c["n_head"],
        feed_forward=c.get("n_inner") or 4 * c["n_embd"],
        context=c["n_positions"],
        positions="learned",
        norm="layer",
        epsilon=c.get("layer_norm_epsilon", 1e-5),
        qk_norm=False,
        activation=_activation(c.get("activation_function", "gelu_new")),
        bias=True,
        tied=c.get("tie_word_embeddings", True),
        zero_outputs=False,
        dropout=c.get("resid_pdrop", 0.0),
    )


def _llama(c: Settings) -> Config:
    rotary = c.get("rope_parameters") or {}
    scaling = c.get("rope_scaling") or rotary
    if c.get("hidden_act", "silu") not in ("silu", "swish"):
        raise WenmoError(f"hidden_act {c['hidden_act']!r} is not known here")
    kind = c["model_type"]
    windowed = c.get("use_sliding_window", kind == "mistral")
    biased = bool(c.get("mlp_bias"))
    if bool(c.get("attention_bias")) != biased and kind != "qwen2":
        raise WenmoError("biases in attention alone are not known here")
    if biased and kind != "llama":
        raise WenmoError(f"biases in a {kind} are not known here")
    return Config(
        width=c["hidden_size"],
        layers=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        kv_heads=c.get("num_key_value_heads"),
        head_width=c.get("head_dim"),
        feed_forward=c["intermediate_size"],
        context=c["max_position_embeddings"],
        window=c.get("sliding_window") if windowed else None,
        rotary_base=float(c.get("rope_theta") or rotary.get("rope_theta", 10_000.0)),
        rotary_scaling=_scaling(scaling),
        epsilon=c["rms_norm_eps"],
        qk_norm=kind == "qwen3",
        bias=biased,
        qkv_bias=True if kind == "qwen2" else None,  # which is not among its settings
        tied=c.get("tie_word_embeddings", False),
        zero_outputs=False,
    )


def _scaling(scaling: Settings) -> tuple[float, ...]:
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "default":
        return ()
    if kind == "linear":
        return (float(scaling["factor"]),)
    if kind == "llama3":
        names = ("factor", "low_freq_factor", "high_freq_factor")
        context = scaling["original_max_position_embeddings"]
        return (*(float(scaling[name]) for name in names), float(context))
    raise WenmoError(f"rotary positions of the type {kind!r} are not known here")


def _ctrl(c: Settings) -> Config:
    return Config(
        width=c["n_embd"],
        layers=c["n_layer"],
        heads=c["n_head"],
        feed_forward=c["dff"],
        context=c["n_positions"],
        positions="sinusoidal-split",
        norm="layer",
        epsilon=c.get("layer_norm_epsilon", 1e-6),
        qk_norm=False,
        activation="relu",
        bias=True,
        final_bias=True,
        tied=c.get("tie_word_embeddings", True),
        scaled=True,
        zero_outputs=False,
        dropout=c.get("resid_pdrop", 0.0),
    )


def _t5(c: Settings) -> Config:
    activation = c.get("feed_forward_proj", "relu")
    known = {"relu": "relu", "gated-gelu": "geglu", "gated-silu": "swiglu"}
    if activation not in known:
        raise WenmoError(f"feed_forward_proj {activation!r} is not known here")
    tied = c.get("tie_word_embeddings", True)
    if (
        c.get("relative_attention_num_buckets", 32),
        c.get("relative_attention_max_distance", 128),
    ) != (
        32,
        128,
    ):
        raise WenmoError("relative positions in other than 32 buckets up to 128 are not known here")
    return Config(
        width=c["d_model"],
        layers=c.get("num_decoder_layers") or c["num_layers"],
        encoder_layers=c["num_layers"],
        heads=c["num_heads"],
        head_width=c["d_kv"],
        feed_forward=c["d_ff"],
        context=c.get("n_positions", 512),
        positions="relative",
        norm="rms",
        epsilon=c.get("layer_norm_epsilon", 1e-6),
        qk_norm=False,
        score_scale=1.0,
        activation=known[activation],  # type: ignore[arg-type]
        tied=tied,
        scaled_output=c.get("scale_decoder_outputs", tied and c["model_type"] == "t5"),
        zero_outputs=False,
        dropout=c.get("dropout_rate", 0.1),
    )


def _bart(c: Settings) -> Config:
    kind = c["model_type"]
    for name in ("attention_heads", "ffn_dim"):
        if c[f"encoder_{name}"] != c[f"decoder_{name}"]:
            raise WenmoError(f"encoder_{name} and decoder_{name} differ: not known here")
    return Config(
        width=c["d_model"],
        layers=c["decoder_layers"],
        encoder_layers=c["encoder_layers"],
        heads=c["decoder_attention_heads"],
        feed_forward=c["decoder_ffn_dim"],
        context=c["max_position_embeddings"],
        positions="sinusoidal-split" if kind == "marian" else "learned",
        norm="layer",
        prenorm=kind == "mbart",
        epsilon=1e-5,
        qk_norm=False,
        activation=_activation(c["activation_function"]),
        bias=True,
        final_bias=True,
        embedding_norm=kind != "marian",
        tied=c.get("tie_word_embeddings", True),
        scaled=c.get("scale_embedding", False),
        zero_outputs=False,
        dropout=c.get("dropout", 0.1),
    )


def _activation(name: str) -> Any:
    known = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu": "gelu-exact"}
    known |= {"relu": "relu", "silu": "silu", "swish": "silu"}
    if name not in known:
        raise WenmoError(f"the activation {name!r} is not known here")
    return known[name]


def _to_gpt2(config: Config) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_positions": config.context,
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.inner_width,
        "activation_function": THEIR_ACTIVATION.get(config.activation, "none"),
        "layer_norm_epsilon": config.epsilon,
        "embd_pdrop": config.dropout,
        "resid_pdrop": config.dropout,
        "attn_pdrop": config.dropout_of_attention,
        "tie_word_embeddings": config.tied,
    }


def _to_llama(kind: str, architecture: str, config: Config) -> dict[str, Any]:
    rotary: dict[str, Any] = {"rope_type": "default"}
    if len(config.rotary_scaling) == 1:
        rotary = {"rope_type": "linear", "factor": config.rotary_scaling[0]}
    elif config.rotary_scaling:
        factor, low, high, context = config.rotary_scaling
        rotary = {"rope_type": "llama3", "factor": factor, "low_freq_factor": low}
        rotary |= {"high_freq_factor": high, "original_max_position_embeddings": int(context)}
    biased = config.bias if config.qkv_bias is None else config.qkv_bias
    return {
        "architectures": [architecture],
        "model_type": kind,
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
        "rope_parameters": {**rotary, "rope_theta": config.rotary_base},
        "attention_bias": biased,
        "mlp_bias": config.bias,
        "sliding_window": config.window,
        "tie_word_embeddings": config.tied,
    }


def _to_t5(kind: str, architecture: str, config: Config) -> dict[str, Any]:
    gates = {"geglu": "gated-gelu", "swiglu": "gated-silu", "relu": "relu"}
    return {
        "architectures": [architecture],
        "model_type": kind,
        "d_model": config.width,
        "d_kv": config.width_of_head,
        "d_ff": config.inner_width,
        "num_layers": config.encoder_layers,
        "num_decoder_layers": config.layers,
        "num_heads": config.heads,
        "n_positions": config.context,
        "feed_forward_proj": gates.get(config.activation, "none"),
        "layer_norm_epsilon": config.epsilon,
        "dropout_rate": config.dropout,
        "tie_word_embeddings": config.tied,
        "scale_decoder_outputs": config.scaled_output,
        "decoder_start_token_id": END,
        "pad_token_id": END,
    }


def _to_bart(kind: str, architecture: str, config: Config) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": kind,
        "d_model": config.width,
        "encoder_layers": config.encoder_layers,
        "decoder_layers": config.layers,
        "encoder_attention_heads": config.heads,
        "decoder_attention_heads": config.heads,
        "encoder_ffn_dim": config.inner_width,
        "decoder_ffn_dim": config.inner_width,
        "max_position_embeddings": config.context,
        "activation_function": THEIR_ACTIVATION.get(config.activation, "none"),
        "scale_embedding": config.scaled,
        "dropout": config.dropout,
        "attention_dropout": config.dropout_of_attention,
        "tie_word_embeddings": config.tied,
        "share_encoder_decoder_embeddings": config.shared,
        "decoder_start_token_id": END,
        "pad_token_id": END,
        "forced_eos_token_id": None,
    }


THEIR_ACTIVATION = {"gelu": "gelu_new", "gelu-exact": "gelu", "relu": "relu", "silu": "silu"}

# By the ``model_type`` of their config.json.
KINDS: dict[str, Kind] = {
    "gpt2": Kind(GPT2, _gpt2, _to_gpt2),
    "qwen3": Kind(LLAMA, _llama, partial(_to_llama, "qwen3", "Qwen3ForCausalLM")),
    "llama": Kind(LLAMA, _llama, partial(_to_llama, "llama", "LlamaForCausalLM")),
    "qwen2": Kind(LLAMA, _llama, partial(_to_llama, "qwen2", "Qwen2ForCausalLM")),
    "mistral": Kind(LLAMA, _llama, partial(_to_llama, "mistral", "MistralForCausalLM")),
    "ctrl": Kind(CTRL, _ctrl),
    "t5": Kind(T5, _t5, partial(_to_t5, "t5", "T5ForConditionalGeneration")),
    "mt5": Kind(T5, _t5),
    "bart": Kind(BART, _bart),
    "mbart": Kind(BART, _bart),
    "marian": Kind(BART, _bart, partial(_to_bart, "marian", "MarianMTModel")),
}


def names_of(table: Mapping[str, str], config: Config, vocab_size: int) -> dict[str, str]:
    """Their name of each weight of a model with these settings.

    Raises:
        KeyError: the table has no place for one.
    """
    if table is T5 and config.activation not in ("geglu", "swiglu"):
        table = T5_PLAIN
    with torch.device("meta"):
        keys = config.build(vocab_size).state_dict().keys()
    names = {}
    for key in keys:
        number = re.search(r"\.(\d+)\.", key)
        pattern = re.sub(r"\.\d+\.", ".{}.", key)
        names[key] = table[pattern].format(number and number[1])
    return names
