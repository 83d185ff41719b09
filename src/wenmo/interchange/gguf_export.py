"""Write models as GGUF files, which llama.cpp and programs based on it run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wenmo.files import atomic
from wenmo.interchange.gguf import gguf_package
from wenmo.interchange.gguf_names import (
    CONTROL,
    EXTRA_END_KEYS,
    INTERLEAVED_ROPE,
    NORMAL,
    PRE_TOKENIZERS,
    SAMPLING_KEYS,
    USER_DEFINED,
    PreTokenizer,
    gguf_name,
)
from wenmo.interchange.gguf_rope import write_rope_scaling
from wenmo.interchange.huggingface import layout_of
from wenmo.interchange.layouts import Layout
from wenmo.models.base import LanguageModel
from wenmo.models.transformer.config import TransformerConfig
from wenmo.text.pretrained import PretrainedTokenizer
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError

Precision = Literal["float32", "float16", "q8_0"]
# The GGUF architecture for each ``model_type``.
GGUF_ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}


def write_gguf(
    path: Path,
    model: LanguageModel,
    config: Any,
    tokenizer: Tokenizer,
    *,
    precision: Precision = "float16",
    template: str | None = None,
    sampling: Mapping[str, Any] | None = None,
) -> None:
    """Write a model and its tokenizer atomically.

    Args:
        config: the model's settings.
        precision: data type of matrices; other tensors are float32.
        template: chat template.
        sampling: default sampling settings, by their names in `Sampling`.

    Raises:
        WenmoError: llama.cpp does not support the model or the tokenizer, or the `gguf` package is
            not installed.
    """
    layout, architecture = check_gguf(config, model.vocab_size, tokenizer)
    assert isinstance(tokenizer, PretrainedTokenizer)
    vocabulary = _vocabulary(tokenizer)
    gguf = gguf_package()
    with atomic(path) as temporary:
        writer = gguf.GGUFWriter(temporary, architecture)
        _write_config(writer, config, model.vocab_size)
        write_rope_scaling(writer, architecture, config)
        _write_tokenizer(writer, tokenizer, vocabulary, template)
        _write_sampling(writer, sampling or {})
        for key, id_ in zip(
            EXTRA_END_KEYS, tokenizer.external_ids(model.special_tokens.eos), strict=False
        ):
            writer.add_uint32(key, id_)
        for external_name, tensor in layout.to_external(dict(model.state_dict())).items():
            name, pattern = gguf_name(external_name)
            _write_tensor(
                writer,
                gguf,
                name,
                _interleave_rope(tensor, pattern, config, architecture),
                precision,
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def check_gguf(config: Any, vocab_size: int, tokenizer: Tokenizer) -> tuple[Layout, str]:
    """The layout of a model in the file, and the name of its GGUF architecture.

    Raises:
        WenmoError: llama.cpp does not support the model or the tokenizer.
    """
    layout = layout_of(config, vocab_size, tokenizer.end)
    architecture = None if layout is None else GGUF_ARCHITECTURES.get(layout.config["model_type"])
    if layout is None or architecture is None or not isinstance(config, TransformerConfig):
        raise WenmoError(
            "GGUF files support only the architectures of Llama, Mistral, Qwen2 and Qwen3"
        )
    if config.sliding_window is not None:
        raise WenmoError("GGUF export does not support a sliding window")
    if not isinstance(tokenizer, PretrainedTokenizer):
        raise WenmoError(
            "GGUF files do not support this tokenizer: only tokenizers of pretrained models "
            "(--from) can be written"
        )
    return layout, architecture


def _write_config(writer: Any, config: TransformerConfig, vocab_size: int) -> None:
    writer.add_vocab_size(vocab_size)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.resolved_ffn_size)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.query_groups)
    writer.add_key_length(config.resolved_head_dim)
    writer.add_value_length(config.resolved_head_dim)
    writer.add_rope_dimension_count(config.resolved_head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)


def _write_sampling(writer: Any, sampling: Mapping[str, Any]) -> None:
    """Write the sampling settings; the greedy method is temperature 0."""
    given = {**sampling, "temperature": 0.0} if sampling.get("method") == "greedy" else sampling
    for key, name in SAMPLING_KEYS.items():
        if name in given:
            add = writer.add_int32 if name == "top_k" else writer.add_float32
            add(key, given[name])


def _write_tokenizer(
    writer: Any, tokenizer: PretrainedTokenizer, vocabulary: dict[str, Any], template: str | None
) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary["way"])
    writer.add_token_list(vocabulary["tokens"])
    writer.add_token_types(vocabulary["types"])
    writer.add_token_merges(vocabulary["merges"])
    writer.add_eos_token_id(tokenizer.end)
    writer.add_add_bos_token(bool(tokenizer.prefix))
    begin_id = tokenizer.id_of(tokenizer.bos_token)
    if begin_id is not None:
        writer.add_bos_token_id(begin_id)
    if template is not None:
        writer.add_chat_template(template)


def _vocabulary(tokenizer: PretrainedTokenizer) -> dict[str, Any]:
    """Tokens, types and merges of a byte-level BPE by external id, and its pre-tokenizer."""
    serialized = json.loads(tokenizer.to_json())
    model = serialized["model"]
    pre_tokenizer = _pre_tokenizer_name(serialized)
    if model["type"] != "BPE" or pre_tokenizer is None:
        raise WenmoError(
            "GGUF files do not support this tokenizer: only byte-level BPE as in GPT-2, Llama 3, "
            "Qwen2 and SmolLM can be written"
        )
    tokens = [f"[PAD{id_}]" for id_ in range(tokenizer.vocab_size)]
    types = [CONTROL] * len(tokens)
    for token, id_ in model["vocab"].items():
        if id_ < len(tokens):  # the tokenizer may have more tokens than the model
            tokens[id_], types[id_] = token, NORMAL
    for added in serialized["added_tokens"]:
        if added["id"] < len(tokens):
            tokens[added["id"]] = added["content"]
            types[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return {"tokens": tokens, "types": types, "merges": merges, "way": pre_tokenizer}


def _pre_tokenizer_name(serialized: dict[str, Any]) -> str | None:
    """The GGUF name of a pre-tokenizer; None if there is none."""
    step = serialized.get("pre_tokenizer") or {}
    steps = step.get("pretokenizers", [step])
    types = [s.get("type") for s in steps]
    pattern = next((s["pattern"].get("Regex") for s in steps if s.get("type") == "Split"), None)
    pre_tokenizer = PreTokenizer(
        pattern, "Digits" in types, serialized.get("normalizer") is not None
    )
    if "ByteLevel" not in types:
        return None
    return next((name for name, known in PRE_TOKENIZERS.items() if known == pre_tokenizer), None)


def _interleave_rope(
    tensor: Tensor, pattern: str, config: TransformerConfig, architecture: str
) -> NDArray[np.float32]:
    """The tensor with rotary pairs adjacent, for architectures that store them so."""
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    if architecture in INTERLEAVED_ROPE and pattern.endswith(("q_proj", "k_proj")):
        heads = config.heads if pattern.endswith("q_proj") else config.query_groups
        halves = array.reshape(heads, 2, -1, *array.shape[1:])
        array = halves.swapaxes(1, 2).reshape(array.shape)
    return np.ascontiguousarray(array)


def _write_tensor(
    writer: Any, gguf: Any, name: str, array: NDArray[np.float32], precision: Precision
) -> None:
    if array.ndim < 2 or precision == "float32":
        writer.add_tensor(name, array)
    elif precision == "float16":
        writer.add_tensor(name, array.astype(np.float16))
    elif array.shape[-1] % 32:
        writer.add_tensor(name, array.astype(np.float16))  # not a multiple of the block size
    else:
        q8_0 = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quantize(array, q8_0), raw_dtype=q8_0)
