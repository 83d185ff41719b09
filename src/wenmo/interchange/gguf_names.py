"""What GGUF files call things: weights, the types of tokens, and how tokenizers cut text."""

from __future__ import annotations

from typing import NamedTuple

# The names in a GGUF file of the weights that Llama's table names.
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

INTERLEAVED = ("llama",)  # whose rotary pairs stand side by side there, and half a head apart here
OTHER_ENDS = ("tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")
# Settings of drawing, and their names in a generation_config.json.
SAMPLING = {
    "general.sampling.temp": "temperature",
    "general.sampling.top_k": "top_k",
    "general.sampling.top_p": "top_p",
    "general.sampling.min_p": "min_p",
    "general.sampling.penalty_repeat": "repetition_penalty",
}
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # types of tokens
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class TensorRule(NamedTuple):
    """How a byte-level tokenizer cuts text before it merges: see `byte_level`."""

    pattern: str | None = None
    digits: bool = False
    compose: bool = False


# By the names that GGUF files have for them.
WAYS = {
    "gpt-2": TensorRule(),
    "default": TensorRule(),
    "smollm": TensorRule(digits=True),
    "llama-bpe": TensorRule(LLAMA_3 % "{1,3}"),
    "qwen2": TensorRule(LLAMA_3 % "", compose=True),
}


def gguf_name(name: str) -> tuple[str, str]:
    """The name in a GGUF file of a weight of Llama's layout, and the pattern of the latter."""
    stem, _, end = name.rpartition(".")
    number = next((part for part in stem.split(".") if part.isdigit()), "")
    pattern = ".".join("{}" if part.isdigit() else part for part in stem.split("."))
    return f"{GGUF_NAMES[pattern].format(number)}.{end}", pattern
