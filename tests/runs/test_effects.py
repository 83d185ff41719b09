"""Settings without effect are reported: the declarations are complete and true."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from wenmo.decoding import effects as writing_effects
from wenmo.decoding.effects import WRITING, Writing
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.effects import Effect, ineffective_settings
from wenmo.models.ngram_config import NgramConfig
from wenmo.runs import effects as recipe_effects
from wenmo.runs.effects import TRAINING_EFFECTS, TrainingSituation
from wenmo.runs.recipe import make_recipe
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer


def named(effects: tuple[Effect[Any], ...], always: str) -> set[str]:
    return {name for effect in effects for name in effect.settings.split()} | set(always.split())


def test_every_setting_is_declared() -> None:
    """So that a new setting cannot be ignored silently."""
    recipe = make_recipe("lstm")
    tables = ("ngram_prior", "init", "task", "tokenizer", "split", "train")
    settings = {f"{t}.{f.name}" for t in tables for f in fields(getattr(recipe, t))}
    assert named(TRAINING_EFFECTS, recipe_effects.ALWAYS_EFFECTIVE) == settings
    assert named(WRITING, writing_effects.ALWAYS) == {f.name for f in fields(Sampling)}


@pytest.fixture(scope="module")
def writer() -> TextGenerator:
    tokenizer = Tokenizer.train(["the cat and the dog"], TokenizerConfig("bytes"))
    model = NgramConfig(3).build(tokenizer.vocab_size)
    texts = [tokenizer.encode(t).tolist() for t in ("the cat and the dog", "a dog and a cat")]
    model.fit(np.array([0, *texts[0], 0, *texts[1], 0], np.uint16))
    return TextGenerator(model, tokenizer)


OTHER: dict[str, Any] = {
    "temperature": 3.0,
    "top_k": 1,
    "top_p": 0.1,
    "min_p": 0.9,
    "typical_p": 0.1,
    "epsilon_cutoff": 0.9,
    "eta_cutoff": 0.9,
    "top_n_sigma": 0.1,
    "tfs_z": 0.01,
    "dynatemp_range": 0.9,
    "dynatemp_exponent": 5.0,
    "xtc_probability": 1.0,
    "xtc_threshold": 0.01,
    "mirostat": 2,
    "mirostat_tau": 0.1,
    "mirostat_eta": 1.0,
    "dry_base": 9.0,
    "dry_allowed_length": 1,
    "dry_sequence_breakers": (" ",),
    "beam_width": 2,
    "length_penalty": 0.0,
    "length_penalty_form": "gnmt",
    "early_stopping": "true",
    "beam_groups": 5,
    "diversity_penalty": 9.0,
    "unmask_order": "confidence",
    "unmask_steps": 3,
    "unmask_schedule": "cosine",
    "remask": True,
    "gap_tokens": 3,
}


@pytest.mark.parametrize("method", ["sample", "greedy", "beam", "beam-sample", "stochastic-beam"])
def test_ineffective_settings_do_not_change_texts(writer: TextGenerator, method: Any) -> None:
    plain = Sampling(method=method, max_tokens=6)
    [[before]] = writer.generate(["the "], plain)
    for name, value in OTHER.items():
        if name == "mirostat" and method in ("beam-sample", "stochastic-beam"):
            continue  # refused
        settings = replace(plain, **{name: value})
        if ineffective_settings([name], WRITING, Writing(settings, writer.model)):
            [[after]] = writer.generate(["the "], settings)
            assert after.ids == before.ids, name


def test_lines_name_settings_and_condition(writer: TextGenerator) -> None:
    def lines_for(**settings: Any) -> list[str]:
        return ineffective_settings(settings, WRITING, Writing(Sampling(**settings), writer.model))

    assert lines_for(method="beam", top_k=3, top_p=0.5) == [
        "top_p has no effect here, only with method=sample, beam-sample or stochastic-beam and a "
        "temperature above 0",
        "top_k has no effect here, only with method=contrastive, or where top_p has one",
    ]
    assert lines_for(method="sample", beam_width=3) == [
        "beam_width has no effect here, only with method=beam, beam-sample or stochastic-beam"
    ]
    assert not lines_for(
        method="beam", beam_width=4, beam_groups=2, diversity_penalty=1.0, max_tokens=3
    )
    assert lines_for(method="beam", diversity_penalty=1.0)


@pytest.mark.parametrize(
    ("model", "given", "idle"),
    [
        ("ngram", ["minutes=1", "batch_size=3"], {"train.minutes", "train.batch_size"}),
        ("lstm", ["gradient_checkpointing=true", "batch_size=3"], {"train.gradient_checkpointing"}),
        ("masked", ["gradient_checkpointing=true"], set()),
        ("vae", ["gradient_checkpointing=true"], {"train.gradient_checkpointing"}),
        ("vae:transformer", ["gradient_checkpointing=true"], set()),
        ("gan:transformer", ["gradient_checkpointing=true"], set()),
        ("gpt", ["gradient_checkpointing=true", "momentum=0.5", "min_lr_ratio=0.1"], set()),
        ("gpt", ["optimizer=adamw", "momentum=0.5"], {"train.momentum"}),
        (
            "gpt",
            ["task.name=translation", "batch_size=3", "tokens_per_batch=9"],
            {"train.batch_size"},
        ),
        ("vae", ["sequence_length=3", "tokens_per_batch=9"], {"train.sequence_length"}),
        ("gan", ["sequence_length=3", "batch_size=9"], {"train.sequence_length"}),
        ("lstm", ["tokens_per_batch=9", "history=2"], {"train.tokens_per_batch", "task.history"}),
        (
            "lstm",
            ["lora_rank=2", "ngram_prior.enabled=false", "folds=3"],
            {"init.lora_rank", "ngram_prior.folds"},
        ),
        ("lstm", ["tokenizer.kind=bytes", "min_count=3"], {"tokenizer.min_count"}),
        ("gpt", ["per_record=true", "batch_size=3"], {"train.batch_size"}),
    ],
)
def test_settings_of_a_training(model: str, given: list[str], idle: set[str]) -> None:
    recipe = make_recipe(model, given)
    found = ineffective_settings(
        recipe.given, TRAINING_EFFECTS, TrainingSituation(recipe, has_valid=False)
    )
    names = {name for line in found for name in line.split(" ha")[0].split(", ")}
    assert names == idle
