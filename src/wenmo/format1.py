"""Convert run cards and recipes of format 1, which have older names of settings.

Formats 1 and 2 differ only in these names. A card is converted when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TABLES = {"prior": "ngram_prior", "start": "init"}
COUNTS = {"ngram": True, "none": False, "auto": None}  # the values of ngram_prior.enabled
TRANSFORMER = {
    "width": "hidden_size",
    "head_width": "head_dim",
    "feed_forward": "ffn_size",
    "context": "context_length",
    "window": "sliding_window",
    "rotary_base": "rope_theta",
    "rotary_scaling": "rope_scaling",
    "epsilon": "norm_eps",
    "score_scale": "attention_scale",
    "tied": "tie_embeddings",
    "shared": "share_embeddings",
    "scaled": "scale_embeddings",
    "scaled_output": "scale_logits",
    "spread": "init_std",
    "zero_outputs": "zero_init_residual",
    "final_bias": "lm_head_bias",
    "output_layer": "lm_head_transform",
}
RECURRENT = {
    "embedding": "embedding_size",
    "hidden": "hidden_size",
    "tied": "tie_embeddings",
}
COMBINED = {  # of a vae and a gan
    "embedding": "embedding_size",
    "width": "hidden_size",
    "context": "context_length",
    "tied": "tie_embeddings",
    "latent": "latent_size",
    "free_each": "free_bits_per_dim",
    "rise": "annealing_ratio",
    "aggressive": "aggressive_ratio",
    "ahead": "encoder_steps",
    "critic_embedding": "critic_embedding_size",
    "critic_width": "critic_hidden_size",
    "views": "critic_heads",
    "sharpness": "inverse_temperature",
    "likelihood": "mle_ratio",
    "critic_alone": "critic_pretrain_ratio",
    "adversarial_rate": "adversarial_learning_rate",
    "critic_rate": "critic_learning_rate",
}
SPECIAL_TOKENS = {
    "opening": "bos",
    "between": "separator",
    "closing": "source_suffix",
    "ends": "eos",
    "barred": "suppressed",
}
SETTINGS: dict[str, dict[str, str]] = {
    "model": TRANSFORMER | RECURRENT | COMBINED,
    "prior": {"counts": "enabled", "orders": "order", "parts": "folds_used"},
    "start": {
        "lora": "lora_rank",
        "alpha": "lora_alpha",
        "targets": "lora_targets",
        "blocks": "trainable_blocks",
        "thaw": "gradual_unfreezing",
        "vectors": "word_vectors",
    },
    "train": {
        "rows": "batch_size",
        "time": "sequence_length",
        "batch_tokens": "tokens_per_batch",
        "accumulate": "gradient_accumulation",
        "rate": "learning_rate",
        "warmup": "warmup_ratio",
        "decay": "decay_ratio",
        "floor": "min_lr_ratio",
        "average": "weight_averaging",
        "clip": "max_grad_norm",
        "recompute": "gradient_checkpointing",
        "evaluations": "eval_count",
        "evaluation_tokens": "eval_tokens",
    },
    "sampling": {
        "gap": "gap_tokens",
        "depth": "max_depth",
        "diversity": "diversity_penalty",
        "length_form": "length_penalty_form",
    },
}


def convert_card(card: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the content of a card from format 1 to format 2."""
    content = convert_tables(card)
    if "marks" in content:
        marks = content.pop("marks")
        content["special_tokens"] = {SPECIAL_TOKENS.get(name, name): marks[name] for name in marks}
    if "foreign" in content:
        content["external"] = content.pop("foreign")
    if "asked" in content:
        content["requested"] = convert_tables(content.pop("asked"))
    if "given" in content:
        content["given"] = sorted(map(convert_key, content["given"]))
    return content | {"format": 2}


def convert_tables(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the settings in tables; other values are not changed."""
    return {
        TABLES.get(name, name): _convert_table(name, value) if name in SETTINGS else value
        for name, value in tables.items()
    }


def convert_key(setting: str) -> str:
    """The current name of a setting ``table.key``."""
    table, _, key = setting.partition(".")
    return f"{TABLES.get(table, table)}.{SETTINGS.get(table, {}).get(key, key)}"


def convert_setting(setting: str) -> str:
    """The current form of a setting with its value, ``table.key=value``."""
    key, equals, value = setting.partition("=")
    if key.strip() == "prior.counts" and value in COUNTS:
        value = {True: "true", False: "false", None: "null"}[COUNTS[value]]
    return f"{convert_key(key.strip())}{equals}{value}" if "." in key else setting


def new_name(key: str) -> str | None:
    """The current name of an old setting ``table.key`` or ``key``; None if it is not known."""
    table, dot, last = key.rpartition(".")
    tables = [table] if dot else list(SETTINGS)
    found = {SETTINGS[name][last] for name in tables if last in SETTINGS.get(name, {})}
    return " or ".join(sorted(found)) or None


def _convert_table(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    renamed = {SETTINGS[name].get(key, key): value for key, value in table.items()}
    if name == "prior" and renamed.get("enabled") in COUNTS:
        renamed["enabled"] = COUNTS[renamed["enabled"]]
    return renamed
