"""Convert the settings in ``config.json`` to ours (``read_*``) and back (``write_*``).

Readers raise `KeyError` for a missing setting and `UnsupportedSettingError` for one without a
counterpart here. Writers convert what the external format can express; `layout_of` compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wenmo.interchange.external_config import ConfigReader, Schema, UnsupportedSettingError
from wenmo.models.transformer.config import MaskedConfig, TransformerConfig
from wenmo.types import END

Config = TransformerConfig
ExternalSettings = Mapping[str, Any]

POSITION_OFFSET = 2  # the first two rows of BART's and RoBERTa's position embeddings are not used

ACTIVATION_NAMES = {"gelu": "gelu_new", "gelu-exact": "gelu", "relu": "relu", "silu": "silu"}


def read_gpt2(c: ExternalSettings) -> Config:
    """Convert GPT-2's settings."""
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
    """Convert to GPT-2's settings."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_positions": config.context_length,
        "n_embd": config.hidden_size,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.resolved_ffn_size,
        "activation_function": ACTIVATION_NAMES.get(config.activation, "none"),
        "layer_norm_epsilon": config.norm_eps,
        "embd_pdrop": config.dropout,
        "resid_pdrop": config.dropout,
        "attn_pdrop": config.resolved_attention_dropout,
        "tie_word_embeddings": config.tie_embeddings,
    }


def read_llama(c: ExternalSettings) -> Config:
    """Convert the settings of Llama, Mistral, Qwen2 and Qwen3."""
    model_type = c["model_type"]
    if c["hidden_act"] not in ("silu", "swish"):
        raise UnsupportedSettingError(f"hidden_act = {c['hidden_act']!r} is not supported here")
    biased = model_type == "llama" and bool(c.get("mlp_bias"))
    if model_type == "llama" and bool(c.get("attention_bias")) != biased:
        name = "mlp_bias" if biased else "attention_bias"
        raise UnsupportedSettingError(f"{name} = true alone is not supported here")
    rope_theta, rope_scaling = _rope_settings(c)
    return Config(
        hidden_size=c["hidden_size"],
        layers=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        kv_heads=c["num_key_value_heads"],
        head_dim=c["head_dim"],
        ffn_size=c["intermediate_size"],
        context_length=c["max_position_embeddings"],
        sliding_window=_sliding_window(c),
        rope_theta=rope_theta,
        rope_scaling=rope_scaling,
        norm_eps=c["rms_norm_eps"],
        qk_norm=model_type == "qwen3",
        bias=biased,
        qkv_bias=True if model_type == "qwen2" else None,  # not a setting of Qwen2
        tie_embeddings=c["tie_word_embeddings"],
        zero_init_residual=False,
    )


def _sliding_window(c: ExternalSettings) -> int | None:
    """The sliding window of all layers; None: full attention.

    Raises:
        UnsupportedSettingError: only some layers have a sliding window.
    """
    if c["model_type"] == "llama":
        return None
    window, layers = c["sliding_window"], c["num_hidden_layers"]
    if c["model_type"] == "mistral":
        return window
    enabled, first_windowed_layer = (
        c["use_sliding_window"] and window is not None,
        c["max_window_layers"],
    )
    first_windowed_layer = first_windowed_layer if enabled else layers
    derived = [
        "full_attention" if n < first_windowed_layer else "sliding_attention" for n in range(layers)
    ]
    given = c.get("layer_types")
    layer_types = set(given or derived)
    if len(layer_types) > 1:
        name = "layer_types" if given else "max_window_layers"
        raise UnsupportedSettingError(
            f"{name}: a sliding window in only some of the layers is not supported here"
        )
    return window if layer_types == {"sliding_attention"} else None


def _rope_settings(c: ExternalSettings) -> tuple[float, tuple[float, ...]]:
    """RoPE's base, and its scaling in the form of `TransformerConfig.rope_scaling`."""
    rope_scaling, rope_parameters, rope_theta = (
        c.get(n) for n in ("rope_scaling", "rope_parameters", "rope_theta")
    )
    given = rope_scaling or rope_parameters or {}
    rope_type = str(given.get("rope_type", given.get("type", "default")))
    rope_theta = (
        given.get("rope_theta")
        or rope_theta
        or (rope_parameters or {}).get("rope_theta")
        or 10_000.0
    )
    common_keys = {"type", "rope_type", "rope_theta"}
    config = ConfigReader(
        {name: value for name, value in given.items() if name not in common_keys},
        Schema({"original_max_position_embeddings": c["max_position_embeddings"]}),
    )
    scaling = _rope_scaling(config, rope_type)
    try:
        config.check_all_read()
    except UnsupportedSettingError as error:
        raise UnsupportedSettingError(f"rope_scaling: {error}") from None
    return float(rope_theta), scaling


def _rope_scaling(config: ExternalSettings, rope_type: str) -> tuple[float, ...]:
    if rope_type == "default":
        return ()
    if rope_type == "linear":
        return (float(config["factor"]),)
    if rope_type == "llama3":
        names = ("factor", "low_freq_factor", "high_freq_factor")
        context = config["original_max_position_embeddings"]
        return (*(float(config[name]) for name in names), float(context))
    raise UnsupportedSettingError(f"RoPE scaling of type {rope_type!r} is not supported here")


def write_llama(model_type: str, class_name: str, config: TransformerConfig) -> dict[str, Any]:
    """Convert to the settings of Llama, Mistral, Qwen2 or Qwen3, by ``model_type``."""
    rope: dict[str, Any] = {"rope_type": "default"}
    if len(config.rope_scaling) == 1:
        rope = {"rope_type": "linear", "factor": config.rope_scaling[0]}
    elif config.rope_scaling:
        factor, low, high, context = config.rope_scaling
        rope = {"rope_type": "llama3", "factor": factor, "low_freq_factor": low}
        rope |= {"high_freq_factor": high, "original_max_position_embeddings": int(context)}
    attention_bias = config.bias if config.qkv_bias is None else config.qkv_bias
    return {
        "architectures": [class_name],
        "model_type": model_type,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.resolved_ffn_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.query_groups,
        "head_dim": config.resolved_head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.context_length,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_parameters": {**rope, "rope_theta": config.rope_theta},
        "attention_bias": attention_bias,
        "mlp_bias": config.bias,
        "sliding_window": config.sliding_window,
        "tie_word_embeddings": config.tie_embeddings,
    }


def read_ctrl(c: ExternalSettings) -> Config:
    """Convert CTRL's settings."""
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


def read_t5(c: ExternalSettings) -> Config:
    """Convert the settings of T5 and mT5."""
    activation = c["feed_forward_proj"]
    activations = {"relu": "relu", "gated-gelu": "geglu", "gated-silu": "swiglu"}
    if activation not in activations:
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
        activation=activations[activation],  # type: ignore[arg-type]
        tie_embeddings=tied,
        scale_logits=c.get("scale_decoder_outputs", tied and c["model_type"] == "t5"),
        zero_init_residual=False,
        dropout=c["dropout_rate"],
    )


def write_t5(model_type: str, class_name: str, config: TransformerConfig) -> dict[str, Any]:
    """Convert to T5's settings."""
    activations = {"geglu": "gated-gelu", "swiglu": "gated-silu", "relu": "relu"}
    return {
        "architectures": [class_name],
        "model_type": model_type,
        "d_model": config.hidden_size,
        "d_kv": config.resolved_head_dim,
        "d_ff": config.resolved_ffn_size,
        "num_layers": config.encoder_layers,
        "num_decoder_layers": config.layers,
        "num_heads": config.heads,
        "n_positions": config.context_length,
        "feed_forward_proj": activations.get(config.activation, "none"),
        "layer_norm_epsilon": config.norm_eps,
        "dropout_rate": config.dropout,
        "tie_word_embeddings": config.tie_embeddings,
        "scale_decoder_outputs": config.scale_logits,
        "decoder_start_token_id": END,
        "pad_token_id": END,
    }


def read_bart(c: ExternalSettings) -> Config:
    """Convert the settings of BART, mBART and Marian."""
    model_type = c["model_type"]
    for name in ("attention_heads", "ffn_dim"):
        if c[f"encoder_{name}"] != c[f"decoder_{name}"]:
            raise UnsupportedSettingError(
                f"different encoder_{name} and decoder_{name} are not supported here"
            )
    for name, reference in (
        ("num_hidden_layers", "encoder_layers"),
        ("decoder_vocab_size", "vocab_size"),
    ):
        if c.get(name) not in (None, c.get(reference)):
            raise UnsupportedSettingError(f"{name} other than {reference} is not supported here")
    return Config(
        hidden_size=c["d_model"],
        layers=c["decoder_layers"],
        encoder_layers=c["encoder_layers"],
        heads=c["decoder_attention_heads"],
        ffn_size=c["decoder_ffn_dim"],
        context_length=c["max_position_embeddings"],
        positions="sinusoidal-split" if model_type == "marian" else "learned",
        norm="layer",
        prenorm=model_type == "mbart",
        norm_eps=1e-5,
        qk_norm=False,
        activation=_activation(c["activation_function"]),
        bias=True,
        lm_head_bias=True,
        embedding_norm=model_type != "marian",
        tie_embeddings=c["tie_word_embeddings"],
        scale_embeddings=c["scale_embedding"],
        zero_init_residual=False,
        dropout=c["dropout"],
    )


def write_bart(model_type: str, class_name: str, config: TransformerConfig) -> dict[str, Any]:
    """Convert to Marian's settings."""
    return {
        "architectures": [class_name],
        "model_type": model_type,
        "d_model": config.hidden_size,
        "encoder_layers": config.encoder_layers,
        "decoder_layers": config.layers,
        "encoder_attention_heads": config.heads,
        "decoder_attention_heads": config.heads,
        "encoder_ffn_dim": config.resolved_ffn_size,
        "decoder_ffn_dim": config.resolved_ffn_size,
        "max_position_embeddings": config.context_length,
        "activation_function": ACTIVATION_NAMES.get(config.activation, "none"),
        "scale_embedding": config.scale_embeddings,
        "dropout": config.dropout,
        "attention_dropout": config.resolved_attention_dropout,
        "tie_word_embeddings": config.tie_embeddings,
        "share_encoder_decoder_embeddings": config.share_embeddings,
        "decoder_start_token_id": END,
        "pad_token_id": END,
        "forced_eos_token_id": None,
    }


def read_bert(c: ExternalSettings) -> MaskedConfig:
    """Convert the settings of BERT and RoBERTa."""
    if c["position_embedding_type"] != "absolute":
        setting = f"position_embedding_type = {c['position_embedding_type']!r}"
        raise UnsupportedSettingError(f"{setting} is not supported here")
    if c["is_decoder"]:
        raise UnsupportedSettingError("is_decoder = true is not supported here")
    position_offset = POSITION_OFFSET if c["model_type"] == "roberta" else 0
    return MaskedConfig(
        hidden_size=c["hidden_size"],
        layers=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        ffn_size=c["intermediate_size"],
        context_length=c["max_position_embeddings"] - position_offset,
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
