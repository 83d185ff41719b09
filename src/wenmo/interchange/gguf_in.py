"""Models opened from GGUF files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer as Library
from torch import Tensor

from wenmo.interchange.external_config import (
    ExternalConfig,
    Schema,
    UnsupportedSettingError,
    names,
)
from wenmo.interchange.generation import checked_sampling
from wenmo.interchange.gguf import Gguf
from wenmo.interchange.gguf_names import (
    CONTROL,
    INTERLEAVED,
    OTHER_ENDS,
    SAMPLING,
    USER_DEFINED,
    WAYS,
    gguf_name,
)
from wenmo.interchange.gguf_rotary import FACTORS, read_scaling
from wenmo.interchange.layouts import Layout
from wenmo.interchange.names import LLAMA, names_of
from wenmo.interchange.opened import LoadedModel, built, check_sizes
from wenmo.models.transformer.config import TransformerConfig
from wenmo.text.pretrained import PretrainedTokenizer, byte_level, with_bos
from wenmo.text.sentencepiece import SentencePieceModel, make_library
from wenmo.types import END, WenmoError

ARCHITECTURES = ("llama", "qwen2", "qwen3")
# The settings of an architecture, without its name: see `Schema`.
SCHEMA = Schema(
    fixed={
        "expert_count": (0,),
        "expert_used_count": (0,),
        "attention.causal": (True,),
        "attention.sliding_window": (0,),
        "attention.scale": (0.0,),
        "attention.max_alibi_bias": (0.0,),
        "rope.scaling.attn_factor": (0.0, 1.0),
        "logit_scale": (0.0, 1.0),
        "embedding_scale": (0.0, 1.0),
        "residual_scale": (0.0, 1.0),
    },
    harmless=names(
        "vocab_size tensor_data_layout rope.scaling.original_context_length rope.scaling.finetuned"
    ),
)


def open_gguf(path: Path) -> LoadedModel:
    """The model, the tokenizer and the chat template of a GGUF file.

    Raises:
        WenmoError: it is damaged, or of an architecture that is not known here.
    """
    file = Gguf(path)
    s = file.settings
    kind = s.get("general.architecture")
    if kind not in ARCHITECTURES:
        raise WenmoError(
            f"{path}: architecture {kind!r} is not known here (known: {', '.join(ARCHITECTURES)})"
        )
    parts = int(s.get("split.count", 0))
    if parts > 1:
        raise WenmoError(
            f"{path}: one of {parts} files of a model: join them with llama-gguf-split"
        )
    try:
        config = _config(file, str(kind))
        tokens, end = s["tokenizer.ggml.tokens"], int(s["tokenizer.ggml.eos_token_id"])
        size, embedding = len(tokens), file.weights.get("token_embd.weight")
        check_sizes(path, config, size, embedding, len(file.weights))
        first, library = s.get("tokenizer.ggml.bos_token_id"), _tokenizer(file, tokens)
        beginning = None if first is None else str(tokens[int(first)])
        tokenizer = PretrainedTokenizer(library, end=end, size=size, bos_token=beginning)
        layout = Layout(names_of(LLAMA, config, size), {}, end)
        theirs = set(layout.names.values())
        tensors = {name: _weight(file, name, config, str(kind)) for name in theirs}
        _check_all_used(file, theirs)
    except KeyError as error:
        raise WenmoError(f"{path}: {error} is missing") from None
    except UnsupportedSettingError as error:
        raise WenmoError(f"{path}: {kind}.{error}") from None
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise WenmoError(f"{path}: damaged: {error}") from None
    model = built(path, config, layout, size, tensors)
    others = tokenizer.external_ids(int(s[key]) for key in OTHER_ENDS if key in s)
    eos = tuple(sorted({id_ for id_ in others if END < id_ < size}))
    model.special_tokens = replace(model.special_tokens, eos=eos)
    template = s.get("tokenizer.chat_template")
    said = {theirs: s[key] for key, theirs in SAMPLING.items() if key in s}
    sampling = checked_sampling(said, str(path))
    return LoadedModel("gpt", config, model, tokenizer, template, sampling=sampling)


def _config(file: Gguf, kind: str) -> TransformerConfig:
    """The settings of the architecture as ours.

    Raises:
        UnsupportedSettingError: one is not known, or its value not supported here.
    """
    prefix = f"{kind}."
    own = {n.removeprefix(prefix): v for n, v in file.settings.items() if n.startswith(prefix)}
    s = ExternalConfig(own, SCHEMA)
    heads = int(s["attention.head_count"])
    config = TransformerConfig(
        hidden_size=int(s["embedding_length"]),
        layers=int(s["block_count"]),
        heads=heads,
        kv_heads=int(s.get("attention.head_count_kv", heads)),
        head_dim=s.get("attention.key_length"),
        ffn_size=int(s["feed_forward_length"]),
        context_length=int(s["context_length"]),
        rope_theta=float(s.get("rope.freq_base", 10_000.0)),
        norm_eps=float(s["attention.layer_norm_rms_epsilon"]),
        qk_norm="blk.0.attn_q_norm.weight" in file.weights,
        qkv_bias=True if "blk.0.attn_q.bias" in file.weights else None,
        tie_embeddings="output.weight" not in file.weights,
        zero_init_residual=False,
    )
    for name in ("attention.value_length", "rope.dimension_count"):
        if s.get(name, config.width_of_head) != config.width_of_head:
            width = f"{config.width_of_head} numbers of a head"
            raise UnsupportedSettingError(f"{name} = {s[name]} is not supported beside {width}")
    config = replace(config, rope_scaling=read_scaling(file, s, config))
    s.check_all_read()
    return config


def _check_all_used(file: Gguf, used: set[str]) -> None:
    """Make sure that no weight is ignored.

    Args:
        used: the names of those that the model has, in Llama's layout.

    Raises:
        WenmoError: there is another.
    """
    spare = file.weights.keys() - {gguf_name(name)[0] for name in used} - {FACTORS}
    if spare:
        raise WenmoError(
            f"{file.path}: the weight {min(spare)!r} is not known in a model of this kind"
        )


def _weight(file: Gguf, name: str, config: TransformerConfig, kind: str) -> Tensor:
    """The weight that has this name in Llama's layout."""
    theirs, pattern = gguf_name(name)
    if theirs not in file.weights:
        raise WenmoError(f"{file.path}: the weight {theirs!r} is missing")
    array = file.read(theirs)
    if kind in INTERLEAVED and pattern.endswith(("q_proj", "k_proj")):
        heads = config.heads if pattern.endswith("q_proj") else config.query_groups
        pairs = array.reshape(heads, -1, 2, *array.shape[1:])
        array = pairs.swapaxes(1, 2).reshape(array.shape)
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _tokenizer(file: Gguf, tokens: list[str]) -> Library:
    s = file.settings
    kind = s["tokenizer.ggml.model"]
    if kind not in ("gpt2", "llama"):
        raise WenmoError(f"{file.path}: tokenizers of the type {kind!r} are not known here")
    types = s["tokenizer.ggml.token_type"].tolist()
    library = _byte_level(file, tokens, types) if kind == "gpt2" else _pieces(s, tokens, types)
    if s.get("tokenizer.ggml.add_bos_token", kind == "llama"):
        with_bos(library, tokens[int(s["tokenizer.ggml.bos_token_id"])])
    return library


def _byte_level(file: Gguf, tokens: list[str], types: list[int]) -> Library:
    """GPT-2's kind of tokenizer."""
    s, cut = file.settings, file.settings.get("tokenizer.ggml.pre", "default")
    if cut not in WAYS:
        raise WenmoError(f"{file.path}: how the tokenizer {cut!r} cuts text is not known here")
    way = WAYS[cut]
    return byte_level(
        {token: id_ for id_, token in enumerate(tokens)},
        [tuple(merge.split(" ", 1)) for merge in s.get("tokenizer.ggml.merges", [])],
        special=[t for t, type_ in zip(tokens, types, strict=True) if type_ == CONTROL],
        added=[t for t, type_ in zip(tokens, types, strict=True) if type_ == USER_DEFINED],
        pattern=way.pattern,
        digits=way.digits,
        compose=way.compose,
        whole_words=cut == "llama-bpe",
    )


def _pieces(s: Mapping[str, Any], tokens: list[str], types: list[int]) -> Library:
    """SentencePiece's BPE, of which the scores and types of pieces are there as it has them."""
    scores = s["tokenizer.ggml.scores"].tolist()
    return make_library(
        SentencePieceModel(
            list(zip(tokens, scores, types, strict=True)),
            bpe=True,
            prefix=bool(s.get("tokenizer.ggml.add_space_prefix", True)),
            squeeze=bool(s.get("tokenizer.ggml.remove_extra_whitespaces", False)),
            charsmap=bytes(s.get("tokenizer.ggml.precompiled_charsmap", ())),
        )
    )
