"""Llamas in the first format of llama2.c: seven numbers, then the weights one after another, and
the tokenizer in a file of its own beside them.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer as Library
from torch import Tensor

from wenmo.interchange.layouts import Layout
from wenmo.interchange.names import LLAMA, names_of
from wenmo.interchange.opened import LoadedModel, built
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
MOST = 1 << 24  # a larger number in the header is no size
END_MARK = 2


def open_llama2c(path: Path) -> LoadedModel:
    """The model, with the tokenizer in the one file beside it whose name begins with ``tok``.

    Raises:
        WenmoError: either is damaged, or there is no such tokenizer.
    """
    beside = sorted(path.parent.glob("tok*.bin"))
    if len(beside) != 1 or path in beside:
        raise WenmoError(f"{path}: the tokenizer of a llama2.c file must lie beside it: tok*.bin")
    config, size, tensors = _read(path)
    library = with_bos(_read_tokenizer(beside[0], size), "<s>")
    tokenizer = PretrainedTokenizer(library, end=END_MARK, size=size)
    layout = Layout(names_of(LLAMA, config, size), {}, END_MARK)
    model = built(path, config, layout, size, tensors)
    return LoadedModel("gpt", config, model, tokenizer, None)


def _read(path: Path) -> tuple[TransformerConfig, int, dict[str, Tensor]]:
    """Settings, the number of tokens, and the weights by Llama's names.

    Raises:
        WenmoError: not such a file, or not a whole one.
    """
    data = path.read_bytes()
    if len(data) < HEADER.size:
        raise WenmoError(f"{path}: damaged, too short for a llama2.c file")
    width, inner, layers, heads, kv_heads, size, context = HEADER.unpack_from(data)
    untied, size = size < 0, abs(size)
    if not all(0 < n < MOST for n in (width, inner, layers, heads, kv_heads, size, context)):
        raise WenmoError(f"{path}: damaged, or not a llama2.c file: its sizes make no sense")
    try:
        config = TransformerConfig(
            hidden_size=width,
            layers=layers,
            heads=heads,
            kv_heads=kv_heads,
            ffn_size=inner,
            context_length=context,
            norm_eps=1e-5,
            qk_norm=False,
            tie_embeddings=not untied,
            zero_init_residual=False,
        )
    except ValueError as error:
        raise WenmoError(f"{path}: damaged, or not a llama2.c file: {error}") from None
    narrow = kv_heads * config.width_of_head
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens": (size, width),
        "input_layernorm": (layers, width),
        "self_attn.q_proj": (layers, width, width),
        "self_attn.k_proj": (layers, narrow, width),
        "self_attn.v_proj": (layers, narrow, width),
        "self_attn.o_proj": (layers, width, width),
        "post_attention_layernorm": (layers, width),
        "mlp.gate_proj": (layers, inner, width),
        "mlp.down_proj": (layers, width, inner),
        "mlp.up_proj": (layers, inner, width),
        "model.norm": (width,),
    }
    numbers = np.frombuffer(data, "<f4", offset=HEADER.size)
    angles = context * config.width_of_head  # of rotary positions, which are computed here
    needed = sum(int(np.prod(shape)) for shape in shapes.values()) + angles
    if len(numbers) != needed + untied * size * width:
        raise WenmoError(f"{path}: damaged: {len(numbers):,} weights, where {needed:,} are due")
    tensors, at = {}, 0
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        array = numbers[at : at + count].reshape(shape).copy()
        at += count
        for number, part in enumerate(array if len(shape) > 1 and shape[0] == layers else [array]):
            own = name if name.startswith("model.") else f"model.layers.{number}.{name}"
            tensors[f"{own}.weight"] = torch.from_numpy(_in_halves(part, name, config))
    if untied:
        tensors["lm_head.weight"] = torch.from_numpy(
            numbers[at + angles :].reshape(size, width).copy()
        )
    return config, size, tensors


def _read_tokenizer(path: Path, size: int) -> Library:
    """The tokenizer of a llama2.c file: a score, a length and the bytes of every piece.

    Raises:
        WenmoError: not a whole one.
    """
    data, at = path.read_bytes(), 4
    found = SentencePieceModel(bpe=True, squeeze=False)
    try:
        for id_ in range(size):
            score, length = struct.unpack_from("<fi", data, at)
            text = data[at + 8 : at + 8 + length].decode()
            at += 8 + length
            if at > len(data):
                raise ValueError
            kind = {0: UNKNOWN, 1: CONTROL, 2: CONTROL}.get(id_, BYTE if id_ < 259 else NORMAL)
            found.pieces.append(
                (text.strip("\n") if id_ < 3 else text.replace(" ", "▁"), score, kind)
            )
    except (struct.error, ValueError):
        raise WenmoError(f"{path}: damaged, not a whole llama2.c tokenizer") from None
    return make_library(found)


def _in_halves(array: np.ndarray, name: str, config: TransformerConfig) -> np.ndarray:
    """With rotary pairs half a head apart, which stand side by side there."""
    if not name.endswith(("q_proj", "k_proj")):
        return array
    heads = config.heads if name.endswith("q_proj") else config.query_groups
    pairs = array.reshape(heads, -1, 2, array.shape[1])
    return pairs.swapaxes(1, 2).reshape(array.shape).copy()
