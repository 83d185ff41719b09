"""The small files of a model folder: chat templates, generation settings, and tokens beyond the
model's vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import wenmo as package
from wenmo.config import from_dict, to_dict
from wenmo.decoding.params import Sampling
from wenmo.interchange.generation import from_generation_config, to_generation_config
from wenmo.interchange.pretrained import open_pretrained
from wenmo.models.transformer.config import TransformerConfig
from wenmo.runs.config import NgramPriorConfig
from wenmo.runs.recipe import Recipe
from wenmo.runs.store import TOKENIZER, save_model
from wenmo.text.pretrained import PretrainedTokenizer, byte_level
from wenmo.text.vocabularies import byte_alphabet
from wenmo.types import WenmoError

CONFIG = TransformerConfig(hidden_size=16, layers=1, heads=2, context_length=64, qk_norm=False)
MARKS = {"<|im_start|>": 256, "<|im_end|>": 257}
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small Llama whose tokenizer has one more token than the model."""
    letters = {letter: id_ for id_, letter in enumerate(byte_alphabet())}
    library = byte_level({**letters, **MARKS}, [], special=MARKS)
    tokenizer = PretrainedTokenizer(library, end=257)
    torch.manual_seed(0)
    path = tmp_path / "llama"
    path.mkdir()
    recipe = Recipe("gpt", CONFIG, ngram_prior=NgramPriorConfig(enabled=False))
    save_model(path, recipe, CONFIG.build(tokenizer.vocab_size), tokenizer)
    library.add_special_tokens(["[PAD]"])
    tokenizer.save(path / TOKENIZER)
    return path


def edit(folder: Path, name: str, **changes: Any) -> None:
    path = folder / name
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**content, **changes}))


def test_token_beyond_the_vocabulary_is_refused(folder: Path, wenmo: Any, tmp_path: Path) -> None:
    run = package.load(folder)
    assert run.model.vocab_size == 258 == len(run.tokenizer.table)
    assert run.generate("The fox", max_tokens=3)
    (tmp_path / "my.txt").write_text("The fox, 春眠不觉晓.\n" * 30, "utf-8")
    (tmp_path / "pad.txt").write_text("The fox.\n" * 30 + "The [PAD].\n", "utf-8")
    expected = ("the text contains '[PAD]'", "The [PAD]", "which is token 258 of the tokenizer")
    train = ("--from", "llama", "--out", "run", "--steps", 1, "batch_size=2", "sequence_length=24")
    for command in (
        ("generate", "llama", "--prompt", "The [PAD]"),
        ("evaluate", "llama", "pad.txt"),
        ("train", "pad.txt", *train),
    ):
        refused = wenmo(*command, cwd=tmp_path, code=2)
        assert all(part in refused.stderr for part in expected)
    assert not list((tmp_path / "run").glob("*.safetensors"))
    wenmo("train", "my.txt", *train[:3], "further", *train[4:], cwd=tmp_path)
    assert package.load(tmp_path / "further").generate("The fox", max_tokens=3)


@pytest.mark.parametrize("form", [list, dict])
def test_default_chat_template_is_used(form: type, folder: Path) -> None:
    named = {"tool_use": "no", "default": CHATML}
    listed = [{"name": name, "template": text} for name, text in named.items()]
    edit(folder, "tokenizer_config.json", chat_template=listed if form is list else named)
    assert open_pretrained(folder).template == CHATML
    assert "".join(package.load(folder).reply(["你好"], max_tokens=2)) is not None
    edit(folder, "tokenizer_config.json", chat_template=listed[:1])
    opened = open_pretrained(folder)
    assert opened.template is None
    assert "none of tool_use is called default" in str(opened.note)


def test_generation_config_sets_sampling_defaults(folder: Path) -> None:
    assert open_pretrained(folder).sampling == {}
    edit(folder, "config.json", do_sample=True, temperature=0.7)
    found = {"method": "sample", "temperature": 0.7, "top_k": 50}
    assert open_pretrained(folder).sampling == found
    edit(folder, "generation_config.json", temperature=0.2, top_p=0.9, penalty_alpha=0.6)
    opened = open_pretrained(folder)
    assert opened.sampling == {"method": "sample", "temperature": 0.2, "top_p": 0.9}
    assert opened.note == "generation_config.json: penalty_alpha: not supported here, and not used"
    run = package.load(folder)
    assert (run.sampling.temperature, run.sampling.top_p) == (0.2, 0.9)
    assert run.card.sampling_reason == "the generation settings of its makers"
    edit(folder, "generation_config.json", do_sample=False)
    run = package.load(folder)
    assert run.sampling.method == "greedy"
    assert run.generate("a", max_tokens=5) == run.generate("a", max_tokens=5, seed=5)
    edit(folder, "generation_config.json", do_sample=True, top_p=2.0)
    with pytest.raises(WenmoError, match=r"generation_config.json: top_p=2.0: must be"):
        open_pretrained(folder)


def test_chat_model_without_generation_config_samples_cautiously(folder: Path) -> None:
    assert package.load(folder).sampling.temperature == 0.8
    edit(folder, "tokenizer_config.json", chat_template=CHATML)
    careful = {"method": "sample", "temperature": 0.2, "top_p": 0.9}
    assert open_pretrained(folder).sampling == careful
    edit(folder, "generation_config.json", repetition_penalty=1.1)
    assert open_pretrained(folder).sampling == careful | {"repetition_penalty": 1.1}
    edit(folder, "generation_config.json", do_sample=True)
    assert open_pretrained(folder).sampling["temperature"] == 1.0


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.7, top_p=0.9),
        Sampling(min_p=0.1, repetition_penalty=1.2),
        Sampling(method="greedy", no_repeat_ngram=3),
        Sampling(method="beam", beam_width=3, length_penalty=0.5),
        Sampling(method="beam-sample", beam_width=3, temperature=0.7),
    ],
)
def test_generation_config_round_trip(sampling: Sampling) -> None:
    assert (
        from_dict(Sampling, from_generation_config(to_generation_config(to_dict(sampling))))
        == sampling
    )


@pytest.mark.parametrize("to", ["huggingface", "gguf"])
def test_export_keeps_sampling_defaults(to: str, folder: Path, tmp_path: Path) -> None:
    edit(folder, "generation_config.json", do_sample=True, temperature=0.3, top_p=0.5)
    run = package.load(folder)
    run.export(to, tmp_path / "out.gguf")
    again = package.load(tmp_path / "out.gguf")
    assert again.sampling.temperature == pytest.approx(0.3)
    assert again.sampling.top_p == pytest.approx(0.5)
    assert again.sampling.top_k == run.sampling.top_k == 50


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({}, {}),
        ({"eos_token_id": 2, "temperature": None}, {}),
        ({"do_sample": True}, {"method": "sample", "temperature": 1.0, "top_k": 50}),
        ({"top_k": 20}, {"method": "sample", "top_k": 20}),
        ({"do_sample": False, "temperature": 0.5}, {"method": "greedy"}),
        (
            {"num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram_size": 3},
            {"method": "beam", "beam_width": 4, "length_penalty": 2.0, "no_repeat_ngram": 3},
        ),
        (
            {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.3},
            {
                "method": "beam",
                "beam_width": 4,
                "length_penalty": 1.0,
                "beam_groups": 2,
                "diversity_penalty": 0.3,
            },
        ),
        (
            {"num_beams": 3, "do_sample": True, "top_k": 9},
            {
                "method": "beam-sample",
                "beam_width": 3,
                "length_penalty": 1.0,
                "temperature": 1.0,
                "top_k": 9,
            },
        ),
        (
            {"penalty_alpha": 0.6, "top_k": 4},
            {"method": "contrastive", "penalty_alpha": 0.6, "top_k": 4},
        ),
        ({"num_beams": 4}, {"method": "beam", "beam_width": 4, "length_penalty": 1.0}),
        (
            {"repetition_penalty": 1.1, "max_new_tokens": 9},
            {"repetition_penalty": 1.1, "max_tokens": 9},
        ),
    ],
)
def test_from_generation_config(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    assert from_generation_config(theirs) == ours
