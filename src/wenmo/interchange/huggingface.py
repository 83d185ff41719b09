"""Run folders that the ``transformers`` package opens as they are: which of its arrangements a
model of ours fits, and the files beside the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wenmo.interchange.generation import generation_of
from wenmo.interchange.layouts import KINDS, Layout
from wenmo.interchange.names import names_of
from wenmo.models.base import LanguageModel
from wenmo.models.config import ModelConfig
from wenmo.models.transformer.config import TransformerConfig
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import END, WenmoError

# Their classes that read the files of their own.
READERS = {"ctrl": "CTRLTokenizer", "marian": "MarianTokenizer"}
BEGINNINGS = ("bos_token_id", "decoder_start_token_id", "pad_token_id")


def layout_of(
    config: ModelConfig, vocab_size: int, end: int = END, begin: int | None = None
) -> Layout | None:
    """The layout under which other programs know a model of these settings, if there is one: the
    first whose settings, written and read again, mean the same model.

    Args:
        end: their id of the mark that ends a text.
        begin: and of the one that begins it; None: the same.
    """
    if not isinstance(config, TransformerConfig):
        return None
    for kind in KINDS.values():
        if kind.write is None:
            continue
        theirs = {**kind.write(config), "vocab_size": vocab_size}
        try:
            same = _meant(kind.config_of(theirs)) == _meant(config)
        except (ValueError, WenmoError):
            continue
        if same:
            marks = {"bos_token_id": end if begin is None else begin, "eos_token_id": end}
            content = {**theirs, **marks, "torch_dtype": "float32"}
            return Layout(names_of(kind.names, config, vocab_size), content, end)
    return None


def generation_config(
    config: Mapping[str, Any],
    model: LanguageModel,
    tokenizer: Tokenizer,
    sampling: Mapping[str, Any],
) -> dict[str, Any] | None:
    """The ``generation_config.json`` with which other programs write as the model does here, where
    they would not without.

    Args:
        config: the ``config.json``, which they do not look into then.
        sampling: how the model writes where nothing is asked for: settings of `Sampling` by name.
    """
    if not (model.special_tokens.eos or model.special_tokens.suppressed or sampling):
        return None
    suppressed = tokenizer.external_ids(model.special_tokens.suppressed)
    marks = {name: config[name] for name in BEGINNINGS if name in config} | {
        "eos_token_id": tokenizer.external_ids([END, *model.special_tokens.eos]),
        "bad_words_ids": [[id_] for id_ in suppressed] or None,
    }
    return marks | (generation_of(sampling) if sampling else {})


def tokenizer_config(
    context: int | None,
    mark: str,
    beginning: str = "",
    template: str | None = None,
    origin: str = "",
) -> dict[str, Any]:
    """The ``tokenizer_config.json`` that makes other programs read what a tokenizer saved.

    Args:
        mark: the token that ends a text.
        beginning: the token that begins one; empty: the same.
        template: of conversations.
        origin: whose own files it saved, if not ``tokenizer.json``.
    """
    config: dict[str, Any] = {
        "tokenizer_class": READERS.get(origin, "PreTrainedTokenizerFast"),
        "bos_token": beginning or mark,
        "eos_token": mark,
        "clean_up_tokenization_spaces": False,
    }
    more = {"model_max_length": context, "chat_template": template}
    return config | {name: value for name, value in more.items() if value is not None}


def _meant(config: TransformerConfig) -> TransformerConfig:
    """The settings without what matters to training alone, and with what is left open filled in."""
    return replace(
        config,
        kv_heads=config.query_groups,
        head_dim=config.width_of_head,
        ffn_size=config.inner_width,
        qkv_bias=config.bias if config.qkv_bias is None else config.qkv_bias,
        attention_scale=config.scale_of_scores,
        dropout=0.0,
        attention_dropout=0.0,
        init_std=None,
        zero_init_residual=False,
    )
