"""Names in GGUF files: tensors, token types and pre-tokenizers."""

from __future__ import annotations

from typing import NamedTuple

# Llama's weight names, and the corresponding names in GGUF files.
GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.layers.{}.input_layernorm": "blk.{}.attn_norm",
    "model.layers.{}.self_attn.q_proj": "blk.{}.attn_q",
    "model.layers.{}.self_attn.k_proj": "blk.{}.attn_k",
    "model.layers.{}.self_attn.v_proj": "blk.{}.attn_v",
    "model.layers.{}.self_attn.o_proj": "blk.{}.attn_output",
    "model.layers.{}.self_attn.q_norm": "blk.{}.attn_q_norm",
    "model.layers.{}.self_attn.k_norm": "blk.{}.attn_k_norm",
    "model.layers.{}.post_attention_layernorm": "blk.{}.ffn_norm",
    "model.layers.{}.mlp.gate_proj": "blk.{}.ffn_gate",
    "model.layers.{}.mlp.up_proj": "blk.{}.ffn_up",
    "model.layers.{}.mlp.down_proj": "blk.{}.ffn_down",
    "model.norm": "output_norm",
    "lm_head": "output",
}

INTERLEAVED_ROPE = ("llama",)  # rotary pairs are adjacent there, and half a head apart here
EXTRA_END_KEYS = ("tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")
# Metadata keys of sampling settings, and their names in a generation_config.json.
SAMPLING_KEYS = {
    "general.sampling.temp": "temperature",
    "general.sampling.top_k": "top_k",
    "general.sampling.top_p": "top_p",
    "general.sampling.min_p": "min_p",
    "general.sampling.penalty_repeat": "repetition_penalty",
}
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # token types
LLAMA_3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class PreTokenizer(NamedTuple):
    """How a byte-level BPE tokenizer splits and normalizes text before merging; see `byte_level`.

    Attributes:
        pattern: a regular expression that splits text; None: GPT-2's.
        digits: split numbers into digits.
        nfc: normalize text to Unicode NFC.
    """

    pattern: str | None = None
    digits: bool = False
    nfc: bool = False


# By their names in GGUF files (``tokenizer.ggml.pre``).
PRE_TOKENIZERS = {
    "gpt-2": PreTokenizer(),
    "default": PreTokenizer(),
    "smollm": PreTokenizer(digits=True),
    "llama-bpe": PreTokenizer(LLAMA_3_PATTERN % "{1,3}"),
    "qwen2": PreTokenizer(LLAMA_3_PATTERN % "", nfc=True),
}


def gguf_name(name: str) -> tuple[str, str]:
    """The GGUF name of a weight of Llama's layout, and the pattern of its name in that layout."""
    stem, _, suffix = name.rpartition(".")
    number = next((piece for piece in stem.split(".") if piece.isdigit()), "")
    pattern = ".".join("{}" if piece.isdigit() else piece for piece in stem.split("."))
    return f"{GGUF_NAMES[pattern].format(number)}.{suffix}", pattern
