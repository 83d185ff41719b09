"""Other programs' settings of a Transformer: what their ``config.json`` says in our settings
(``read_``), and ours in theirs (``write_``), as far as they can be said there.

A reader raises `KeyError` for what is missing and `UnsupportedSettingError` for what has no
counterpart here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wenmo.interchange.external_config import ExternalConfig, Schema, UnsupportedSettingError
from wenmo.models.transformer.config import MaskedConfig, TransformerConfig
from wenmo.types import END

Config = TransformerConfig
Settings = Mapping[str, Any]

POSITIONS_BEGIN = 2  # BART's and RoBERTa's: the two rows before stand for nothing that is used

THEIR_ACTIVATION = {"gelu": "gelu_new", "gelu-exact": "gelu", "relu": "relu", "silu": "silu"}


def read_gpt2(c: Settings) -> Config:
    """GPT-2's settings as ours."""
    return Config(
        hidden_size=c["n_embd"],
        layers=c["n_layer"],
        heads=c["n_head"],
        ffn_size=c["n_inner"] or 4 * c["n_embd"],
        context_length=c["n_positions"],
        positions="learned",
        norm="layer",
        norm_eps=c["layer_norm_epsilon"],
        qk_norm=False,
        activation=_activation(c["activation_function"]),
        bias=True,
        tie_embeddings=c["tie_word_embeddings"],
        zero_init_residual=False,
        dropout=c["resid_pdrop"],
    )


def write_gpt2(config: TransformerConfig) -> dict[str, Any]:
    """Ours as GPT-2's."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_positions": config.context_length,
        "n_embd": config.hidden_size,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.inner_width,
        "activation_function": THEIR_ACTIVATION.get(config.activation, "none"),
        "layer_norm_epsilon": config.norm_eps,
        "embd_pdrop": config.dropout,
        "resid_pdrop": config.dropout,
        "attn_pdrop": config.dropout_of_attention,
        "tie_word_embeddings": config.tie_embeddings,
    }


def read_llama(c: Settings) -> Config:
    """Llama's, Mistral's, Qwen2's and Qwen3's settings as ours."""
    kind = c["model_type"]
    if c["hidden_act"] not in ("silu", "swish"):
        raise UnsupportedSettingError(f"hidden_act = {c['hidden_act']!r} is not supported here")
    biased = kind == "llama" and bool(c.get("mlp_bias"))
    if kind == "llama" and bool(c.get("attention_bias")) != biased:
        name = "mlp_bias" if biased else "attention_bias"
        raise UnsupportedSettingError(f"{name} = true alone is not supported here")
    base, scaling = _rotary(c)
    return Config(
        hidden_size=c["hidden_size"],
        layers=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        kv_heads=c["num_key_value_heads"],
        head_dim=c["head_dim"],
        ffn_size=c["intermediate_size"],
        context_length=c["max_position_embeddings"],
        sliding_window=_window(c),
        rope_theta=base,
        rope_scaling=scaling,
        norm_eps=c["rms_norm_eps"],
        qk_norm=kind == "qwen3",
        bias=biased,
        qkv_bias=True if kind == "qwen2" else None,  # which is not among its settings
        tie_embeddings=c["tie_word_embeddings"],
        zero_init_residual=False,
    )


def _window(c: Settings) -> int | None:
    """The sliding window of all layers; None: they see the whole text."""
    if c["model_type"] == "llama":
        return None
    window, layers = c["sliding_window"], c["num_hidden_layers"]
    if c["model_type"] == "mistral":
        return window
    used, first = c["use_sliding_window"] and window is not None, c["max_window_layers"]
    first = first if used else layers
    derived = ["full_attention" if n < first else "sliding_attention" for n in range(layers)]
    listed = c.get("layer_types")
    kinds = set(listed or derived)
    if len(kinds) > 1:
        name = "layer_types" if listed else "max_window_layers"
        raise UnsupportedSettingError(
            f"{name}: layers with a sliding window among others without are not supported here"
        )
    return window if kinds == {"sliding_attention"} else None


def _rotary(c: Settings) -> tuple[float, tuple[float, ...]]:
    """The base of rotary positions, and how they are scaled: as of `Rotation.at`."""
    older, modern, base = (c.get(n) for n in ("rope_scaling", "rope_parameters", "rope_theta"))
    given = older or modern or {}
    kind = str(given.get("rope_type", given.get("type", "default")))
    base = given.get("rope_theta") or base or (modern or {}).get("rope_theta") or 10_000.0
    known = {"type", "rope_type", "rope_theta"}
    rotary = ExternalConfig(
        {name: value for name, value in given.items() if name not in known},
        Schema({"original_max_position_embeddings": c["max_position_embeddings"]}),
    )
    scaling = _scaling(rotary, kind)
    try:
        rotary.check_all_read()
    except UnsupportedSettingError as error:
        raise UnsupportedSettingError(f"rope_scaling: {error}") from None
    return float(base), scaling


def _scaling(rotary: Settings, kind: str) -> tuple[float, ...]:
    if kind == "default":
        return ()
    if kind == "linear":
        return (float(rotary["factor"]),)
    if kind == "llama3":
        names = ("factor", "low_freq_factor", "high_freq_factor")
        context = rotary["original_max_position_embeddings"]
        return (*(float(rotary[name]) for name in names), float(context))
    raise UnsupportedSettingError(f"rotary positions of type {kind!r} are not supported here")


def write_llama(kind: str, architecture: str, config: TransformerConfig) -> dict[str, Any]:
    """Ours as Llama's or of its kin: ``model_type`` and the class of that name."""
    rotary: dict[str, Any] = {"rope_type": "default"}
    if len(config.rope_scaling) == 1:
        rotary = {"rope_type": "linear", "factor": config.rope_scaling[0]}
    elif config.rope_scaling:
        factor, low, high, context = config.rope_scaling
        rotary = {"rope_type": "llama3", "factor": factor, "low_freq_factor": low}
        rotary |= {"high_freq_factor": high, "original_max_position_embeddings": int(context)}
    biased = config.bias if config.qkv_bias is None else config.qkv_bias
    return {
        "architectures": [architecture],
        "model_type": kind,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.inner_width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.query_groups,
        "head_dim": config.width_of_head,
        "hidden_act": "silu",
        "max_position_embeddings": config.context_length,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_parameters": {**rotary, "rope_theta": config.rope_theta},
        "attention_bias": biased,
        "mlp_bias": config.bias,
        "sliding_window": config.sliding_window,
        "tie_word_embeddings": config.tie_embeddings,
    }


def read_ctrl(c: Settings) -> Config:
    """CTRL's settings as ours."""
    return Config(
        hidden_size=c["n_embd"],
        layers=c["n_layer"],
        heads=c["n_head"],
        ffn_size=c["dff"],
        context_length=c["n_positions"],
        positions="sinusoidal-split",
        norm="layer",
        norm_eps=c["layer_norm_epsilon"],
        qk_norm=False,
        activation="relu",
        bias=True,
        lm_head_bias=True,
        tie_embeddings=c["tie_word_embeddings"],
        scale_embeddings=True,
        zero_init_residual=False,
        dropout=c["resid_pdrop"],
    )


def read_t5(c: Settings) -> Config:
    """T5's and mT5's settings as ours."""
    activation = c["feed_forward_proj"]
    known = {"relu": "relu", "gated-gelu": "geglu", "gated-silu": "swiglu"}
    if activation not in known:
        raise UnsupportedSettingError(f"feed_forward_proj = {activation!r} is not supported here")
    tied = c["tie_word_embeddings"]
    buckets = (c["relative_attention_num_buckets"], c["relative_attention_max_distance"])
    if buckets != (32, 128):
        raise UnsupportedSettingError(
            "relative_attention_num_buckets and relative_attention_max_distance: only 32 and 128 "
            "are supported here"
        )
    return Config(
        hidden_size=c["d_model"],
        layers=c["num_decoder_layers"] or c["num_layers"],
        encoder_layers=c["num_layers"],
        heads=c["num_heads"],
        head_dim=c["d_kv"],
        ffn_size=c["d_ff"],
        context_length=c["n_positions"],
        positions="relative",
        norm="rms",
        norm_eps=c["layer_norm_epsilon"],
        qk_norm=False,
        attention_scale=1.0,
        activation=known[activation],  # type: ignore[arg-type]
        tie_embeddings=tied,
        scale_logits=c.get("scale_decoder_outputs", tied and c["model_type"] == "t5"),
        zero_init_residual=False,
        dropout=c["dropout_rate"],
    )


def write_t5(kind: str, architecture: str, config: TransformerConfig) -> dict[str, Any]:
    """Ours as T5's."""
    gates = {"geglu": "gated-gelu", "swiglu": "gated-silu", "relu": "relu"}
    return {
        "architectures": [architecture],
        "model_type": kind,
        "d_model": config.hidden_size,
        "d_kv": config.width_of_head,
        "d_ff": config.inner_width,
        "num_layers": config.encoder_layers,
        "num_decoder_layers": config.layers,
        "num_heads": config.heads,
        "n_positions": config.context_length,
        "feed_forward_proj": gates.get(config.activation, "none"),
        "layer_norm_epsilon": config.norm_eps,
        "dropout_rate": config.dropout,
        "tie_word_embeddings": config.tie_embeddings,
        "scale_decoder_outputs": config.scale_logits,
        "decoder_start_token_id": END,
        "pad_token_id": END,
    }


def read_bart(c: Settings) -> Config:
    """BART's, mBART's and Marian's settings as ours."""
    kind = c["model_type"]
    for name in ("attention_heads", "ffn_dim"):
        if c[f"encoder_{name}"] != c[f"decoder_{name}"]:
            raise UnsupportedSettingError(
                f"encoder_{name} and decoder_{name} that differ are not supported here"
            )
    for name, same in (
        ("num_hidden_layers", "encoder_layers"),
        ("decoder_vocab_size", "vocab_size"),
    ):
        if c.get(name) not in (None, c.get(same)):
            raise UnsupportedSettingError(f"{name} other than {same} is not supported here")
    return Config(
        hidden_size=c["d_model"],
        layers=c["decoder_layers"],
        encoder_layers=c["encoder_layers"],
        heads=c["decoder_attention_heads"],
        ffn_size=c["decoder_ffn_dim"],
        context_length=c["max_position_embeddings"],
        positions="sinusoidal-split" if kind == "marian" else "learned",
        norm="layer",
        prenorm=kind == "mbart",
        norm_eps=1e-5,
        qk_norm=False,
        activation=_activation(c["activation_function"]),
        bias=True,
        lm_head_bias=True,
        embedding_norm=kind != "marian",
        tie_embeddings=c["tie_word_embeddings"],
        scale_embeddings=c["scale_embedding"],
        zero_init_residual=False,
        dropout=c["dropout"],
    )


def write_bart(kind: str, architecture: str, config: TransformerConfig) -> dict[str, Any]:
    """Ours as Marian's."""
    return {
        "architectures": [architecture],
        "model_type": kind,
        "d_model": config.hidden_size,
        "encoder_layers": config.encoder_layers,
        "decoder_layers": config.layers,
        "encoder_attention_heads": config.heads,
        "decoder_attention_heads": config.heads,
        "encoder_ffn_dim": config.inner_width,
        "decoder_ffn_dim": config.inner_width,
        "max_position_embeddings": config.context_length,
        "activation_function": THEIR_ACTIVATION.get(config.activation, "none"),
        "scale_embedding": config.scale_embeddings,
        "dropout": config.dropout,
        "attention_dropout": config.dropout_of_attention,
        "tie_word_embeddings": config.tie_embeddings,
        "share_encoder_decoder_embeddings": config.share_embeddings,
        "decoder_start_token_id": END,
        "pad_token_id": END,
        "forced_eos_token_id": None,
    }


def read_bert(c: Settings) -> MaskedConfig:
    """BERT's and RoBERTa's."""
    if c["position_embedding_type"] != "absolute":
        name = f"position_embedding_type = {c['position_embedding_type']!r}"
        raise UnsupportedSettingError(f"{name} is not supported here")
    if c["is_decoder"]:
        raise UnsupportedSettingError("is_decoder = true is not supported here")
    before = POSITIONS_BEGIN if c["model_type"] == "roberta" else 0
    return MaskedConfig(
        hidden_size=c["hidden_size"],
        layers=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        ffn_size=c["intermediate_size"],
        context_length=c["max_position_embeddings"] - before,
        positions="learned",
        norm="layer",
        prenorm=False,
        norm_eps=c["layer_norm_eps"],
        qk_norm=False,
        activation=_activation(c["hidden_act"]),
        bias=True,
        lm_head_bias=True,
        embedding_norm=True,
        lm_head_transform=True,
        tie_embeddings=c["tie_word_embeddings"],
        zero_init_residual=False,
        dropout=c["hidden_dropout_prob"],
        attention_dropout=c["attention_probs_dropout_prob"],
    )


def _activation(name: str) -> Any:
    known = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu": "gelu-exact"}
    known |= {"relu": "relu", "silu": "silu", "swish": "silu"}
    if name not in known:
        raise UnsupportedSettingError(f"the activation {name!r} is not supported here")
    return known[name]
