"""Models opened from GGUF files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer as Library
from torch import Tensor

from wenmo.interchange.gguf import Gguf
from wenmo.interchange.gguf_names import (
    CONTROL,
    INTERLEAVED,
    OTHER_ENDS,
    USER_DEFINED,
    WAYS,
    gguf_name,
)
from wenmo.interchange.gguf_rotary import read_scaling
from wenmo.interchange.layouts import Layout
from wenmo.interchange.names import LLAMA, names_of
from wenmo.interchange.opened import Opened, built, check_sizes
from wenmo.models.transformer import Transformer
from wenmo.text.pretrained import Pretrained, byte_level, opened_by
from wenmo.types import END, WenmoError

ARCHITECTURES = ("llama", "qwen2", "qwen3")


def open_gguf(path: Path) -> Opened:
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
    try:
        config = _config(file, str(kind))
        config = replace(config, rotary_scaling=read_scaling(file, str(kind), config))
        tokens, end = s["tokenizer.ggml.tokens"], int(s["tokenizer.ggml.eos_token_id"])
        size, embedding = len(tokens), file.weights.get("token_embd.weight")
        check_sizes(path, config, size, embedding, len(file.weights))
        first, library = s.get("tokenizer.ggml.bos_token_id"), _tokenizer(file, tokens)
        beginning = None if first is None else str(tokens[int(first)])
        tokenizer = Pretrained(library, end=end, size=size, beginning=beginning)
        layout = Layout(names_of(LLAMA, config, size), {}, end)
        names = layout.names.values()
        tensors = {name: _weight(file, name, config, str(kind)) for name in names}
    except KeyError as error:
        raise WenmoError(f"{path}: {error} is missing") from None
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise WenmoError(f"{path}: damaged: {error}") from None
    model = built(path, config, layout, size, tensors)
    others = tokenizer.theirs(int(s[key]) for key in OTHER_ENDS if key in s)
    model.ends = tuple(sorted({id_ for id_ in others if END < id_ < size}))
    return Opened("gpt", config, model, tokenizer, s.get("tokenizer.chat_template"))


def _config(file: Gguf, kind: str) -> Transformer.Config:
    s = file.settings
    heads = int(s[f"{kind}.attention.head_count"])
    return Transformer.Config(
        width=int(s[f"{kind}.embedding_length"]),
        layers=int(s[f"{kind}.block_count"]),
        heads=heads,
        kv_heads=int(s.get(f"{kind}.attention.head_count_kv", heads)),
        head_width=s.get(f"{kind}.attention.key_length"),
        feed_forward=int(s[f"{kind}.feed_forward_length"]),
        context=int(s[f"{kind}.context_length"]),
        rotary_base=float(s.get(f"{kind}.rope.freq_base", 10_000.0)),
        epsilon=float(s[f"{kind}.attention.layer_norm_rms_epsilon"]),
        qk_norm="blk.0.attn_q_norm.weight" in file.weights,
        qkv_bias=True if "blk.0.attn_q.bias" in file.weights else None,
        tied="output.weight" not in file.weights,
        zero_outputs=False,
    )


def _weight(file: Gguf, name: str, config: Transformer.Config, kind: str) -> Tensor:
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
    kind, cut = s["tokenizer.ggml.model"], s.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2":
        raise WenmoError(f"{file.path}: tokenizers of the type {kind!r} are not known here")
    types = s["tokenizer.ggml.token_type"].tolist()
    if cut not in WAYS:
        raise WenmoError(f"{file.path}: how the tokenizer {cut!r} cuts text is not known here")
    way = WAYS[cut]
    library = byte_level(
        {token: id_ for id_, token in enumerate(tokens)},
        [tuple(merge.split(" ", 1)) for merge in s.get("tokenizer.ggml.merges", [])],
        special=[t for t, type_ in zip(tokens, types, strict=True) if type_ == CONTROL],
        added=[t for t, type_ in zip(tokens, types, strict=True) if type_ == USER_DEFINED],
        pattern=way.pattern,
        digits=way.digits,
        compose=way.compose,
        whole_words=cut == "llama-bpe",
    )
    if s.get("tokenizer.ggml.add_bos_token"):
        opened_by(library, tokens[int(s["tokenizer.ggml.bos_token_id"])])
    return library
