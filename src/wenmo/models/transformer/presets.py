"""Settings with names: published models, sizes, and which of them suits a text and a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Literal

from wenmo.models.config import Budget
from wenmo.models.transformer.config import MaskedConfig, TransformerConfig

GPT2 = TransformerConfig(
    hidden_size=768,
    layers=12,
    heads=12,
    context_length=1024,
    positions="learned",
    norm="layer",
    norm_eps=1e-5,
    qk_norm=False,
    activation="gelu",
    bias=True,
    zero_init_residual=False,
    dropout=0.1,
)
VASWANI = TransformerConfig(
    hidden_size=512,
    layers=6,
    encoder_layers=6,
    heads=8,
    positions="sinusoidal",
    norm="layer",
    prenorm=False,
    norm_eps=1e-6,
    qk_norm=False,
    activation="relu",
    bias=True,
    scale_embeddings=True,
    init_std=None,
    zero_init_residual=False,
    dropout=0.1,
    attention_dropout=0.0,
)
# As `transformers` has them, so that runs open there.
MARIAN = replace(VASWANI, positions="sinusoidal-split", norm_eps=1e-5, lm_head_bias=True)
T5 = TransformerConfig(
    hidden_size=512,
    layers=6,
    encoder_layers=6,
    heads=8,
    head_dim=64,
    ffn_size=1024,
    positions="relative",
    qk_norm=False,
    attention_scale=1.0,
    activation="geglu",
    scale_logits=True,
    zero_init_residual=False,
    dropout=0.1,
)
GPT3 = replace(GPT2, context_length=2048, dropout=0.0)

# GPT-2's sizes are those of its release. GPT-3's are table 2.1 of Brown et al. (2020); its XL row
# gives 24 heads of 128, which its own 1.3 B parameters rule out: 16 heads of 128 make them.
SIZES: dict[str, TransformerConfig] = {
    "tiny": TransformerConfig(hidden_size=128, layers=4, heads=4, context_length=128),
    "small": TransformerConfig(hidden_size=256, layers=6, heads=4, context_length=256),
    "medium": TransformerConfig(hidden_size=384, layers=6, heads=6, context_length=256),
    "large": TransformerConfig(
        hidden_size=768, layers=12, heads=12, kv_heads=4, context_length=1024
    ),
    "nanogpt-cpu": replace(
        GPT2, hidden_size=128, layers=4, heads=4, context_length=64, dropout=0.0
    ),
    "gpt2": GPT2,
    "gpt2-medium": replace(GPT2, hidden_size=1024, layers=24, heads=16),
    "gpt2-large": replace(GPT2, hidden_size=1280, layers=36, heads=20),
    "gpt2-xl": replace(GPT2, hidden_size=1600, layers=48, heads=25),
    "gpt3-small": replace(GPT3, hidden_size=768, layers=12, heads=12),
    "gpt3-medium": replace(GPT3, hidden_size=1024, layers=24, heads=16),
    "gpt3-large": replace(GPT3, hidden_size=1536, layers=24, heads=16),
    "gpt3-xl": replace(GPT3, hidden_size=2048, layers=24, heads=16),
    "gpt3-2.7b": replace(GPT3, hidden_size=2560, layers=32, heads=32),
    "gpt3-6.7b": replace(GPT3, hidden_size=4096, layers=32, heads=32),
    "gpt3-13b": replace(GPT3, hidden_size=5120, layers=40, heads=40),
    "gpt3-175b": replace(GPT3, hidden_size=12288, layers=96, heads=96),
}

MODERN = TransformerConfig(
    layers=3, encoder_layers=3, zero_init_residual=False, dropout=0.1, attention_dropout=0.0
)

# With an encoder; the first two are those of Vaswani et al. (2017), table 3.
ENCODER_SIZES: dict[str, TransformerConfig] = {
    "base": VASWANI,
    "marian": MARIAN,
    "t5": T5,
    "big": replace(VASWANI, hidden_size=1024, heads=16, dropout=0.3),
    "tiny": replace(MODERN, hidden_size=128, layers=4, encoder_layers=4, ffn_size=256),
    "small": replace(MODERN, hidden_size=256, layers=4, encoder_layers=4, ffn_size=512),
}

MASKED_SIZES: dict[str, MaskedConfig] = {
    **{name: MaskedConfig(**asdict(SIZES[name])) for name in ("tiny", "small", "medium", "large")},
    # That of Devlin et al. (2019), table 1, which they call base.
    "bert": MaskedConfig(
        **{
            **asdict(GPT2),
            "context_length": 512,
            "prenorm": False,
            "norm_eps": 1e-12,
            "activation": "gelu-exact",
            "lm_head_bias": True,
            "embedding_norm": True,
            "lm_head_transform": True,
        }
    ),
}


# Measured with the estimate of `Budget.trainable_tokens` (docs/experiments.md).
MIN_TOKENS_PER_WEIGHT = 5  # less, and a smaller one is better by then
MAX_WEIGHTS_PER_TOKEN = 10  # more, and the text is learnt by heart
MANY_EPOCHS = 6  # over the text: from here on dropout pays


def suggest_config(config: TransformerConfig, budget: Budget) -> dict[str, Any]:
    """The size for a text and a time; see ``largest_trainable_size``."""
    return largest_trainable_size(SIZES, budget)


def suggest_masked_config(config: MaskedConfig, budget: Budget) -> dict[str, Any]:
    """The same for a masked model."""
    return largest_trainable_size(MASKED_SIZES, budget)


def largest_trainable_size(
    sizes: Mapping[str, TransformerConfig], budget: Budget
) -> dict[str, Any]:
    """The largest size that is read enough for, and that does not learn the text by heart; smaller
    ones learn sooner (Hoffmann et al. 2022; here, docs/experiments.md).
    """
    chosen = sizes["tiny"]
    for size in map(sizes.__getitem__, ("small", "medium", "large")):
        weights = _matrix_weights(size)
        enough_time = budget.trainable_tokens(weights) >= MIN_TOKENS_PER_WEIGHT * weights
        if enough_time and weights <= MAX_WEIGHTS_PER_TOKEN * budget.tokens:
            chosen = size
    epochs = budget.trainable_tokens(_matrix_weights(chosen)) / budget.tokens
    dropout = 0.2 if epochs >= MANY_EPOCHS else 0.0
    return asdict(replace(chosen, dropout=dropout))


# What another model's weights do not depend on.
INDEPENDENT_SETTINGS = {
    "layers",
    "encoder_layers",
    "share_embeddings",
    "init_std",
    "zero_init_residual",
    "dropout",
}
INDEPENDENT_SETTINGS |= {"attention_dropout"}


def match_side(config: Any, side: Literal["encoder", "decoder"]) -> dict[str, Any]:
    """The settings of a model of which a side begins with the weights of another; none if that is
    no Transformer.
    """
    if not isinstance(config, TransformerConfig):
        return {}
    settings = {
        name: value for name, value in asdict(config).items() if name not in INDEPENDENT_SETTINGS
    }
    if side == "encoder":
        return {**settings, "encoder_layers": config.encoder_layers or config.layers}
    return {**settings, "layers": config.layers}


def _matrix_weights(config: TransformerConfig) -> int:
    """The weights of the blocks: of attention's four products and the three of the feed-forward."""
    heads = config.resolved_head_dim * (2 * config.heads + 2 * config.query_groups)
    return config.layers * config.hidden_size * (heads + 3 * config.resolved_ffn_size)
