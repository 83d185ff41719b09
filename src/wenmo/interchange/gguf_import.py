"""Load models from GGUF files."""

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
    ConfigReader,
    Schema,
    UnsupportedSettingError,
    name_set,
)
from wenmo.interchange.generation import parse_sampling
from wenmo.interchange.gguf import GgufFile
from wenmo.interchange.gguf_names import (
    CONTROL,
    EXTRA_END_KEYS,
    INTERLEAVED_ROPE,
    PRE_TOKENIZERS,
    SAMPLING_KEYS,
    USER_DEFINED,
    gguf_name,
)
from wenmo.interchange.gguf_rope import FREQUENCY_FACTORS, read_rope_scaling
from wenmo.interchange.layouts import Layout
from wenmo.interchange.loaded_model import LoadedModel, build_model, check_sizes
from wenmo.interchange.weight_names import LLAMA, weight_names
from wenmo.models.transformer.config import TransformerConfig
from wenmo.text.pretrained import PretrainedTokenizer, byte_level, with_bos
from wenmo.text.sentencepiece import SentencePieceModel, make_library
from wenmo.types import END, WenmoError

ARCHITECTURES = ("llama", "qwen2", "qwen3")
# The metadata keys of an architecture, without its name as a prefix.
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
    ignored=name_set(
        "vocab_size tensor_data_layout rope.scaling.original_context_length rope.scaling.finetuned"
    ),
)


def open_gguf(path: Path) -> LoadedModel:
    """Load the model, the tokenizer and the chat template of a GGUF file.

    Raises:
        WenmoError: the file is damaged, or its architecture is not supported.
    """
    file = GgufFile(path)
    metadata = file.metadata
    architecture = metadata.get("general.architecture")
    if architecture not in ARCHITECTURES:
        raise WenmoError(
            f"{path}: architecture {architecture!r} is not supported "
            f"(supported: {', '.join(ARCHITECTURES)})"
        )
    split_count = int(metadata.get("split.count", 0))
    if split_count > 1:
        raise WenmoError(
            f"{path}: one of {split_count} files of a model: join them with llama-gguf-split"
        )
    try:
        config = _config(file, str(architecture))
        tokens = metadata["tokenizer.ggml.tokens"]
        end_id = int(metadata["tokenizer.ggml.eos_token_id"])
        size, embedding = len(tokens), file.tensors.get("token_embd.weight")
        check_sizes(path, config, size, embedding, len(file.tensors))
        begin_id, library = metadata.get("tokenizer.ggml.bos_token_id"), _tokenizer(file, tokens)
        begin_token = None if begin_id is None else str(tokens[int(begin_id)])
        tokenizer = PretrainedTokenizer(library, end=end_id, size=size, bos_token=begin_token)
        layout = Layout(weight_names(LLAMA, config, size), {}, end_id)
        names = set(layout.names.values())
        tensors = {name: _read_tensor(file, name, config, str(architecture)) for name in names}
        _check_all_used(file, names)
    except KeyError as error:
        raise WenmoError(f"{path}: {error} is missing") from None
    except UnsupportedSettingError as error:
        raise WenmoError(f"{path}: {architecture}.{error}") from None
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise WenmoError(f"{path}: damaged: {error}") from None
    model = build_model(path, config, layout, size, tensors)
    others = tokenizer.external_ids(int(metadata[key]) for key in EXTRA_END_KEYS if key in metadata)
    eos = tuple(sorted({id_ for id_ in others if END < id_ < size}))
    model.special_tokens = replace(model.special_tokens, eos=eos)
    template = metadata.get("tokenizer.chat_template")
    generation = {name: metadata[key] for key, name in SAMPLING_KEYS.items() if key in metadata}
    sampling = parse_sampling(generation, str(path))
    return LoadedModel("gpt", config, model, tokenizer, template, sampling=sampling)


def _config(file: GgufFile, architecture: str) -> TransformerConfig:
    """Convert the settings of the architecture.

    Raises:
        UnsupportedSettingError: a setting, or its value, is not supported.
    """
    prefix = f"{architecture}."
    values = {n.removeprefix(prefix): v for n, v in file.metadata.items() if n.startswith(prefix)}
    settings = ConfigReader(values, SCHEMA)
    heads = int(settings["attention.head_count"])
    config = TransformerConfig(
        hidden_size=int(settings["embedding_length"]),
        layers=int(settings["block_count"]),
        heads=heads,
        kv_heads=int(settings.get("attention.head_count_kv", heads)),
        head_dim=settings.get("attention.key_length"),
        ffn_size=int(settings["feed_forward_length"]),
        context_length=int(settings["context_length"]),
        rope_theta=float(settings.get("rope.freq_base", 10_000.0)),
        norm_eps=float(settings["attention.layer_norm_rms_epsilon"]),
        qk_norm="blk.0.attn_q_norm.weight" in file.tensors,
        qkv_bias=True if "blk.0.attn_q.bias" in file.tensors else None,
        tie_embeddings="output.weight" not in file.tensors,
        zero_init_residual=False,
    )
    for name in ("attention.value_length", "rope.dimension_count"):
        if settings.get(name, config.resolved_head_dim) != config.resolved_head_dim:
            key_length = f"attention.key_length = {config.resolved_head_dim}"
            raise UnsupportedSettingError(
                f"{name} = {settings[name]} is not supported with {key_length}"
            )
    config = replace(config, rope_scaling=read_rope_scaling(file, settings, config))
    settings.check_all_read()
    return config


def _check_all_used(file: GgufFile, used: set[str]) -> None:
    """Check that the model uses every tensor of the file.

    Args:
        used: the names of the model's weights in Llama's layout.

    Raises:
        WenmoError: the file has another tensor.
    """
    spare = file.tensors.keys() - {gguf_name(name)[0] for name in used} - {FREQUENCY_FACTORS}
    if spare:
        raise WenmoError(
            f"{file.path}: the weight {min(spare)!r} is not known in a model of this kind"
        )


def _read_tensor(file: GgufFile, name: str, config: TransformerConfig, architecture: str) -> Tensor:
    """Read the weight with this name in Llama's layout."""
    tensor_name, pattern = gguf_name(name)
    if tensor_name not in file.tensors:
        raise WenmoError(f"{file.path}: the weight {tensor_name!r} is missing")
    array = file.read(tensor_name)
    if architecture in INTERLEAVED_ROPE and pattern.endswith(("q_proj", "k_proj")):
        heads = config.heads if pattern.endswith("q_proj") else config.query_groups
        pairs = array.reshape(heads, -1, 2, *array.shape[1:])
        array = pairs.swapaxes(1, 2).reshape(array.shape)
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _tokenizer(file: GgufFile, tokens: list[str]) -> Library:
    metadata = file.metadata
    model = metadata["tokenizer.ggml.model"]
    if model not in ("gpt2", "llama"):
        raise WenmoError(f"{file.path}: tokenizers of type {model!r} are not supported")
    types = metadata["tokenizer.ggml.token_type"].tolist()
    library = (
        _byte_level(file, tokens, types)
        if model == "gpt2"
        else _sentencepiece(metadata, tokens, types)
    )
    if metadata.get("tokenizer.ggml.add_bos_token", model == "llama"):
        with_bos(library, tokens[int(metadata["tokenizer.ggml.bos_token_id"])])
    return library


def _byte_level(file: GgufFile, tokens: list[str], types: list[int]) -> Library:
    """A byte-level BPE tokenizer, as in GPT-2."""
    metadata, pre = file.metadata, file.metadata.get("tokenizer.ggml.pre", "default")
    if pre not in PRE_TOKENIZERS:
        raise WenmoError(f"{file.path}: the pre-tokenizer {pre!r} is not supported")
    pre_tokenizer = PRE_TOKENIZERS[pre]
    return byte_level(
        {token: id_ for id_, token in enumerate(tokens)},
        [tuple(merge.split(" ", 1)) for merge in metadata.get("tokenizer.ggml.merges", [])],
        special=[t for t, type_ in zip(tokens, types, strict=True) if type_ == CONTROL],
        added=[t for t, type_ in zip(tokens, types, strict=True) if type_ == USER_DEFINED],
        pattern=pre_tokenizer.pattern,
        digits=pre_tokenizer.digits,
        compose=pre_tokenizer.nfc,
        whole_words=pre == "llama-bpe",
    )


def _sentencepiece(metadata: Mapping[str, Any], tokens: list[str], types: list[int]) -> Library:
    """A SentencePiece BPE tokenizer; the file has the pieces with their scores and types."""
    scores = metadata["tokenizer.ggml.scores"].tolist()
    return make_library(
        SentencePieceModel(
            list(zip(tokens, scores, types, strict=True)),
            bpe=True,
            prefix=bool(metadata.get("tokenizer.ggml.add_space_prefix", True)),
            squeeze=bool(metadata.get("tokenizer.ggml.remove_extra_whitespaces", False)),
            charsmap=bytes(metadata.get("tokenizer.ggml.precompiled_charsmap", ())),
        )
    )
