"""Models written as GGUF files, which llama.cpp and its kin run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wenmo.files import atomic
from wenmo.interchange.gguf import package
from wenmo.interchange.gguf_names import (
    CONTROL,
    INTERLEAVED,
    NORMAL,
    OTHER_ENDS,
    SAMPLING,
    USER_DEFINED,
    WAYS,
    TensorRule,
    gguf_name,
)
from wenmo.interchange.gguf_rotary import write_scaling
from wenmo.interchange.huggingface import layout_of
from wenmo.interchange.layouts import Layout
from wenmo.models.base import LanguageModel
from wenmo.models.transformer.config import TransformerConfig
from wenmo.text.pretrained import PretrainedTokenizer
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError

Precision = Literal["float32", "float16", "q8_0"]
# Their architecture for each of the arrangements that our models are written in.
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}


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
    """Write a model and its tokenizer, whole or not at all.

    Args:
        config: the model's settings.
        precision: of the matrices; what is no matrix stays in float32.
        template: of its conversations.
        sampling: how it writes where nothing is asked for: settings of `Sampling` by name.

    Raises:
        WenmoError: llama.cpp has no such model, or no such tokenizer; or the `gguf` package is not
            there.
    """
    layout, kind = check_gguf(config, model.vocab_size, tokenizer)
    assert isinstance(tokenizer, PretrainedTokenizer)
    vocabulary = _vocabulary(tokenizer)
    gguf = package()
    with atomic(path) as temporary:
        writer = gguf.GGUFWriter(temporary, kind)
        _settings(writer, config, model.vocab_size)
        write_scaling(writer, kind, config)
        _tokens(writer, tokenizer, vocabulary, template)
        _sampling(writer, sampling or {})
        for key, id_ in zip(
            OTHER_ENDS, tokenizer.external_ids(model.special_tokens.eos), strict=False
        ):
            writer.add_uint32(key, id_)
        for theirs, tensor in layout.to_external(dict(model.state_dict())).items():
            name, pattern = gguf_name(theirs)
            _add(writer, gguf, name, _turned(tensor, pattern, config, kind), precision)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def check_gguf(config: Any, vocab_size: int, tokenizer: Tokenizer) -> tuple[Layout, str]:
    """How a model is arranged there, and what llama.cpp calls that.

    Raises:
        WenmoError: llama.cpp has no such model, or no such tokenizer.
    """
    layout = layout_of(config, vocab_size, tokenizer.end)
    kind = None if layout is None else ARCHITECTURES.get(layout.config["model_type"])
    if layout is None or kind is None or not isinstance(config, TransformerConfig):
        raise WenmoError("a GGUF file holds models arranged as Llama, Mistral, Qwen2 or Qwen3 are")
    if config.sliding_window is not None:
        raise WenmoError("GGUF files with a window are not written here")
    if not isinstance(tokenizer, PretrainedTokenizer):
        raise WenmoError(
            "a GGUF file cannot hold how this tokenizer cuts text: only tokenizers of models that "
            "others trained (--from) can be written"
        )
    return layout, kind


def _settings(writer: Any, config: TransformerConfig, vocab_size: int) -> None:
    writer.add_vocab_size(vocab_size)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.inner_width)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.query_groups)
    writer.add_key_length(config.width_of_head)
    writer.add_value_length(config.width_of_head)
    writer.add_rope_dimension_count(config.width_of_head)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)


def _sampling(writer: Any, sampling: Mapping[str, Any]) -> None:
    """Write how texts are drawn; the likeliest tokens are those at temperature 0."""
    given = {**sampling, "temperature": 0.0} if sampling.get("method") == "greedy" else sampling
    for key, name in SAMPLING.items():
        if name in given:
            add = writer.add_int32 if name == "top_k" else writer.add_float32
            add(key, given[name])


def _tokens(
    writer: Any, tokenizer: PretrainedTokenizer, found: dict[str, Any], template: str | None
) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(found["way"])
    writer.add_token_list(found["tokens"])
    writer.add_token_types(found["types"])
    writer.add_token_merges(found["merges"])
    writer.add_eos_token_id(tokenizer.end)
    writer.add_add_bos_token(bool(tokenizer.prefix))
    begin = tokenizer.id_of(tokenizer.bos_token)
    if begin is not None:
        writer.add_bos_token_id(begin)
    if template is not None:
        writer.add_chat_template(template)


def _vocabulary(tokenizer: PretrainedTokenizer) -> dict[str, Any]:
    """The tokens of a byte-level BPE, by the other program's ids, and how it cuts text."""
    whole = json.loads(tokenizer.to_json())
    model = whole["model"]
    way = _way(whole)
    if model["type"] != "BPE" or way is None:
        raise WenmoError(
            "a GGUF file cannot hold how this tokenizer cuts text: only byte-level BPE as in "
            "GPT-2, Llama 3, Qwen2 and SmolLM can be written"
        )
    tokens = [f"[PAD{id_}]" for id_ in range(tokenizer.vocab_size)]
    types = [CONTROL] * len(tokens)
    for token, id_ in model["vocab"].items():
        if id_ < len(tokens):  # the tokenizer may have tokens that the model lacks
            tokens[id_], types[id_] = token, NORMAL
    for added in whole["added_tokens"]:
        if added["id"] < len(tokens):
            tokens[added["id"]] = added["content"]
            types[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return {"tokens": tokens, "types": types, "merges": merges, "way": way}


def _way(whole: dict[str, Any]) -> str | None:
    """The name there of how a tokenizer cuts text."""
    step = whole.get("pre_tokenizer") or {}
    steps = step.get("pretokenizers", [step])
    kinds = [s.get("type") for s in steps]
    pattern = next((s["pattern"].get("Regex") for s in steps if s.get("type") == "Split"), None)
    found = TensorRule(pattern, "Digits" in kinds, whole.get("normalizer") is not None)
    if "ByteLevel" not in kinds:
        return None
    return next((name for name, way in WAYS.items() if way == found), None)


def _turned(
    tensor: Tensor, pattern: str, config: TransformerConfig, kind: str
) -> NDArray[np.float32]:
    """With rotary pairs side by side, where the program has them so."""
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    if kind in INTERLEAVED and pattern.endswith(("q_proj", "k_proj")):
        heads = config.heads if pattern.endswith("q_proj") else config.query_groups
        halves = array.reshape(heads, 2, -1, *array.shape[1:])
        array = halves.swapaxes(1, 2).reshape(array.shape)
    return np.ascontiguousarray(array)


def _add(
    writer: Any, gguf: Any, name: str, array: NDArray[np.float32], precision: Precision
) -> None:
    if array.ndim < 2 or precision == "float32":
        writer.add_tensor(name, array)
    elif precision == "float16":
        writer.add_tensor(name, array.astype(np.float16))
    elif array.shape[-1] % 32:
        writer.add_tensor(name, array.astype(np.float16))  # no whole blocks of 32
    else:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quantize(array, kind), raw_dtype=kind)
