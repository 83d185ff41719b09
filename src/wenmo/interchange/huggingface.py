"""Run folders that the ``transformers`` package can load: the layout of the weights, and the config
files next to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wenmo.interchange.generation import to_generation_config
from wenmo.interchange.layouts import ARCHITECTURES, Layout
from wenmo.interchange.weight_names import weight_names
from wenmo.models.base import LanguageModel
from wenmo.models.config import ModelConfig
from wenmo.models.transformer.config import TransformerConfig
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import END, WenmoError

# Tokenizer classes of transformers for tokenizers that are saved in their original files.
TOKENIZER_CLASSES = {"ctrl": "CTRLTokenizer", "marian": "MarianTokenizer"}
COPIED_TOKEN_IDS = ("bos_token_id", "decoder_start_token_id", "pad_token_id")


def layout_of(
    config: ModelConfig, vocab_size: int, end_id: int = END, begin_id: int | None = None
) -> Layout | None:
    """The layout of a model with these settings in ``transformers``; None if there is none.

    It is that of the first architecture whose ``config.json`` reads back as an equivalent model.

    Args:
        end_id: external id of the end-of-text token.
        begin_id: external id of the begin-of-text token; None: the same as ``end_id``.
    """
    if not isinstance(config, TransformerConfig):
        return None
    for architecture in ARCHITECTURES.values():
        if architecture.write_config is None:
            continue
        settings = {**architecture.write_config(config), "vocab_size": vocab_size}
        try:
            is_equivalent = _normalized(architecture.config_of(settings)) == _normalized(config)
        except (ValueError, WenmoError):
            continue
        if is_equivalent:
            token_ids = {
                "bos_token_id": end_id if begin_id is None else begin_id,
                "eos_token_id": end_id,
            }
            content = {**settings, **token_ids, "torch_dtype": "float32"}
            return Layout(
                weight_names(architecture.weight_names, config, vocab_size), content, end_id
            )
    return None


def generation_config(
    config: Mapping[str, Any],
    model: LanguageModel,
    tokenizer: Tokenizer,
    sampling: Mapping[str, Any],
) -> dict[str, Any] | None:
    """The content of ``generation_config.json``; None if the model needs none.

    Args:
        config: the content of ``config.json``, from which token ids are copied.
        sampling: default sampling settings, by their names in `Sampling`.
    """
    if not (model.special_tokens.eos or model.special_tokens.suppressed or sampling):
        return None
    suppressed = tokenizer.external_ids(model.special_tokens.suppressed)
    token_ids = {name: config[name] for name in COPIED_TOKEN_IDS if name in config} | {
        "eos_token_id": tokenizer.external_ids([END, *model.special_tokens.eos]),
        "bad_words_ids": [[id_] for id_ in suppressed] or None,
    }
    return token_ids | (to_generation_config(sampling) if sampling else {})


def tokenizer_config(
    context: int | None,
    end_token: str,
    begin_token: str = "",
    template: str | None = None,
    origin: str = "",
) -> dict[str, Any]:
    """The content of ``tokenizer_config.json``.

    Args:
        context: maximal number of tokens; None: not limited.
        end_token: the end-of-text token.
        begin_token: the begin-of-text token; empty: the same as ``end_token``.
        template: chat template.
        origin: ``model_type`` whose original tokenizer files were saved; empty: ``tokenizer.json``.
    """
    config: dict[str, Any] = {
        "tokenizer_class": TOKENIZER_CLASSES.get(origin, "PreTrainedTokenizerFast"),
        "bos_token": begin_token or end_token,
        "eos_token": end_token,
        "clean_up_tokenization_spaces": False,
    }
    optional = {"model_max_length": context, "chat_template": template}
    return config | {name: value for name, value in optional.items() if value is not None}


def _normalized(config: TransformerConfig) -> TransformerConfig:
    """The settings with training settings reset and defaults resolved, for comparison."""
    return replace(
        config,
        kv_heads=config.query_groups,
        head_dim=config.resolved_head_dim,
        ffn_size=config.resolved_ffn_size,
        qkv_bias=config.bias if config.qkv_bias is None else config.qkv_bias,
        attention_scale=config.resolved_attention_scale,
        dropout=0.0,
        attention_dropout=0.0,
        init_std=None,
        zero_init_residual=False,
    )
