"""Other programs' settings of a Transformer: what their ``config.json`` says in our settings
(``read_``), and ours in theirs (``write_``), as far as they can be said there.

A reader raises `KeyError` for what is missing and `WenmoError` for what has no counterpart here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wenmo.models.masked import Masked
from wenmo.models.transformer import Transformer
from wenmo.types import END, WenmoError

Config = Transformer.Config
Settings = Mapping[str, Any]

POSITIONS_BEGIN = 2  # BART's and RoBERTa's: the two rows before stand for nothing that is used

THEIR_ACTIVATION = {"gelu": "gelu_new", "gelu-exact": "gelu", "relu": "relu", "silu": "silu"}


def read_gpt2(c: Settings) -> Config:
    """GPT-2's settings as ours."""
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


def write_gpt2(config: Config) -> dict[str, Any]:
    """Ours as GPT-2's."""
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


def read_llama(c: Settings) -> Config:
    """Llama's, Mistral's, Qwen2's and Qwen3's settings as ours."""
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


def write_llama(kind: str, architecture: str, config: Config) -> dict[str, Any]:
    """Ours as Llama's or of its kin: ``model_type`` and the class of that name."""
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


def read_ctrl(c: Settings) -> Config:
    """CTRL's settings as ours."""
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


def read_t5(c: Settings) -> Config:
    """T5's and mT5's settings as ours."""
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


def write_t5(kind: str, architecture: str, config: Config) -> dict[str, Any]:
    """Ours as T5's."""
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


def read_bart(c: Settings) -> Config:
    """BART's, mBART's and Marian's settings as ours."""
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


def write_bart(kind: str, architecture: str, config: Config) -> dict[str, Any]:
    """Ours as Marian's."""
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


def read_bert(c: Settings) -> Masked.Config:
    """BERT's and RoBERTa's."""
    if c.get("position_embedding_type", "absolute") != "absolute" or c.get("is_decoder"):
        raise WenmoError("relative positions, or a BERT that writes from the left, are not known")
    before = POSITIONS_BEGIN if c["model_type"] == "roberta" else 0
    return Masked.Config(
        width=c["hidden_size"],
        layers=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        feed_forward=c["intermediate_size"],
        context=c["max_position_embeddings"] - before,
        positions="learned",
        norm="layer",
        prenorm=False,
        epsilon=c.get("layer_norm_eps", 1e-12),
        qk_norm=False,
        activation=_activation(c.get("hidden_act", "gelu")),
        bias=True,
        final_bias=True,
        embedding_norm=True,
        output_layer=True,
        tied=c.get("tie_word_embeddings", True),
        zero_outputs=False,
        dropout=c.get("hidden_dropout_prob", 0.1),
        attention_dropout=c.get("attention_probs_dropout_prob", 0.1),
    )


def _activation(name: str) -> Any:
    known = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu": "gelu-exact"}
    known |= {"relu": "relu", "silu": "silu", "swish": "silu"}
    if name not in known:
        raise WenmoError(f"the activation {name!r} is not known here")
    return known[name]
