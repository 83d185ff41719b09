"""A small text, and small runs that are trained on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from wenmo.text.pretrained import byte_level
from wenmo.text.vocabularies import byte_alphabet

POEM = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。\n"
PROSE = "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.\n"


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small text in two languages."""
    path = tmp_path_factory.mktemp("text") / "my.txt"
    path.write_text((POEM + PROSE) * 60, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def make_llama() -> Callable[..., Path]:
    """Makes a small Llama with random weights in the format of `transformers`, with byte tokens."""

    def make(folder: Path, special_tokens: Sequence[str], **settings: Any) -> Path:
        from transformers import LlamaConfig, LlamaForCausalLM

        sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
        config = LlamaConfig(vocab_size=256 + len(special_tokens), **sizes, **heads, **settings)
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
        vocabulary = {name: id_ for id_, name in enumerate([*byte_alphabet(), *special_tokens])}
        byte_level(vocabulary, [], special=special_tokens).save(str(folder / "tokenizer.json"))
        return folder

    return make


@pytest.fixture(scope="session")
def runs(
    train_until: Callable[..., Any], text: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Small trained runs: an n-gram, an LSTM, and a GPT with n-gram counts."""
    folder = tmp_path_factory.mktemp("runs")
    small = {
        "ngram": ["order=6"],
        "lstm": [
            "embedding_size=16",
            "hidden_size=64",
            "layers=1",
            "dropout=0",
            "learning_rate=0.02",
            "sequence_length=32",
            "ngram_prior.enabled=false",
        ],
        "gpt": ["hidden_size=32", "layers=1", "heads=2", "context_length=32", "learning_rate=0.02"],
    }
    for model, settings in small.items():
        options = ("--model", model, "batch_size=8", *settings)
        train_until(text, model, *options, steps=150, bits_per_byte=0.4, cwd=folder)
    return {model: folder / model for model in small}
