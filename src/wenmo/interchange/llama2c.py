"""Load Llama models in the first format of llama2.c: a header of seven integers, then the weights.
The tokenizer is a separate file in the same folder.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer as Library
from torch import Tensor

from wenmo.interchange.layouts import Layout
from wenmo.interchange.loaded_model import LoadedModel, build_model
from wenmo.interchange.weight_names import LLAMA, weight_names
from wenmo.models.transformer.config import TransformerConfig
from wenmo.text.pretrained import PretrainedTokenizer, with_bos
from wenmo.text.sentencepiece import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    SentencePieceModel,
    make_library,
)
from wenmo.types import WenmoError

HEADER = struct.Struct("<7i")
MAX_SIZE = 1 << 24  # a larger number in the header is not a valid size
END_ID = 2


def open_llama2c(path: Path) -> LoadedModel:
    """Load a model, with the tokenizer ``tok*.bin`` of the same folder.

    Raises:
        WenmoError: a file is damaged, or there is not exactly one such tokenizer.
    """
    tokenizers = sorted(path.parent.glob("tok*.bin"))
    if len(tokenizers) != 1 or path in tokenizers:
        raise WenmoError(f"{path}: no tokenizer tok*.bin in the folder of the llama2.c file")
    config, size, tensors = _read(path)
    library = with_bos(_read_tokenizer(tokenizers[0], size), "<s>")
    tokenizer = PretrainedTokenizer(library, end=END_ID, size=size)
    layout = Layout(weight_names(LLAMA, config, size), {}, END_ID)
    model = build_model(path, config, layout, size, tensors)
    return LoadedModel("gpt", config, model, tokenizer, None)


def _read(path: Path) -> tuple[TransformerConfig, int, dict[str, Tensor]]:
    """The settings, the vocabulary size, and the weights by Llama's names.

    Raises:
        WenmoError: the file is damaged, or of another format.
    """
    data = path.read_bytes()
    if len(data) < HEADER.size:
        raise WenmoError(f"{path}: damaged, too short for a llama2.c file")
    hidden_size, ffn_size, layers, heads, kv_heads, vocab_size, context_length = HEADER.unpack_from(
        data
    )
    has_lm_head, vocab_size = vocab_size < 0, abs(vocab_size)
    if not all(
        0 < n < MAX_SIZE
        for n in (hidden_size, ffn_size, layers, heads, kv_heads, vocab_size, context_length)
    ):
        raise WenmoError(f"{path}: damaged, or not a llama2.c file: its sizes make no sense")
    try:
        config = TransformerConfig(
            hidden_size=hidden_size,
            layers=layers,
            heads=heads,
            kv_heads=kv_heads,
            ffn_size=ffn_size,
            context_length=context_length,
            norm_eps=1e-5,
            qk_norm=False,
            tie_embeddings=not has_lm_head,
            zero_init_residual=False,
        )
    except ValueError as error:
        raise WenmoError(f"{path}: damaged, or not a llama2.c file: {error}") from None
    kv_size = kv_heads * config.resolved_head_dim
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens": (vocab_size, hidden_size),
        "input_layernorm": (layers, hidden_size),
        "self_attn.q_proj": (layers, hidden_size, hidden_size),
        "self_attn.k_proj": (layers, kv_size, hidden_size),
        "self_attn.v_proj": (layers, kv_size, hidden_size),
        "self_attn.o_proj": (layers, hidden_size, hidden_size),
        "post_attention_layernorm": (layers, hidden_size),
        "mlp.gate_proj": (layers, ffn_size, hidden_size),
        "mlp.down_proj": (layers, hidden_size, ffn_size),
        "mlp.up_proj": (layers, ffn_size, hidden_size),
        "model.norm": (hidden_size,),
    }
    values = np.frombuffer(data, "<f4", offset=HEADER.size)
    rope_values = context_length * config.resolved_head_dim  # not read: computed here
    needed = sum(int(np.prod(shape)) for shape in shapes.values()) + rope_values
    if len(values) != needed + has_lm_head * vocab_size * hidden_size:
        raise WenmoError(f"{path}: damaged: {len(values):,} weights, where {needed:,} are due")
    tensors, offset = {}, 0
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        array = values[offset : offset + count].reshape(shape).copy()
        offset += count
        for index, layer in enumerate(array if len(shape) > 1 and shape[0] == layers else [array]):
            full_name = name if name.startswith("model.") else f"model.layers.{index}.{name}"
            tensors[f"{full_name}.weight"] = torch.from_numpy(
                _deinterleave_rope(layer, name, config)
            )
    if has_lm_head:
        tensors["lm_head.weight"] = torch.from_numpy(
            values[offset + rope_values :].reshape(vocab_size, hidden_size).copy()
        )
    return config, vocab_size, tensors


def _read_tokenizer(path: Path, size: int) -> Library:
    """Read a llama2.c tokenizer: score, length and bytes of each piece.

    Raises:
        WenmoError: the file is damaged.
    """
    data, offset = path.read_bytes(), 4
    pieces = SentencePieceModel(bpe=True, squeeze=False)
    try:
        for id_ in range(size):
            score, length = struct.unpack_from("<fi", data, offset)
            text = data[offset + 8 : offset + 8 + length].decode()
            offset += 8 + length
            if offset > len(data):
                raise ValueError
            type_ = {0: UNKNOWN, 1: CONTROL, 2: CONTROL}.get(id_, BYTE if id_ < 259 else NORMAL)
            pieces.pieces.append(
                (text.strip("\n") if id_ < 3 else text.replace(" ", "▁"), score, type_)
            )
    except (struct.error, ValueError):
        raise WenmoError(f"{path}: damaged, not a complete llama2.c tokenizer") from None
    return make_library(pieces)


def _deinterleave_rope(array: np.ndarray, name: str, config: TransformerConfig) -> np.ndarray:
    """Move adjacent rotary pairs half a head apart."""
    if not name.endswith(("q_proj", "k_proj")):
        return array
    heads = config.heads if name.endswith("q_proj") else config.query_groups
    pairs = array.reshape(heads, -1, 2, array.shape[1])
    return pairs.swapaxes(1, 2).reshape(array.shape).copy()
