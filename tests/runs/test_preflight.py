"""What can be checked of a training's settings before PyTorch is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wenmo.runs import preflight
from wenmo.types import WenmoError


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "my.txt"
    path.write_text("some text\n", encoding="utf-8")
    return path


def check(text: Path, *settings: str, **given: Any) -> None:
    """What ``wenmo train`` checks."""
    nothing = {"model": None, "base": None, "recipe": None, "out": None}
    preflight.check_training(text, (), settings=settings, **{**nothing, **given})


@pytest.mark.parametrize(
    ("model", "setting", "message"),
    [
        ("gpt", "hidden_size=0", "hidden_size must be at least 1"),
        ("gpt", "heads=7", "hidden_size 256 is not a multiple of heads 7"),
        ("masked", "encoder_layers=1", "encoder_layers must be 0"),
        ("seq2seq:tiny", "dropout=1", "dropout must be at least 0 and below 1"),
        ("seq2seq", "attention=dott", "did you mean 'dot'"),
        ("vae:transformer", "heads=7", "not a multiple of heads 7"),
        ("gan", "mle_ratio=1", "must not be above 1 together"),
        ("grammar", "rounds=0", "rounds must be at least 1"),
        ("ngram", "prune=[2,1]", "prune must not be negative, nor fall"),
        ("lstm", "cell=lsmt", "did you mean 'lstm'"),
        ("lstm", "heads=2", "lstm has no setting 'heads': it belongs to gpt"),
        ("lstm", "model.heads=2", "lstm has no setting 'heads': it belongs to gpt"),
        ("lstm", "heads", "has no '='"),
        ("lstm", "seed=1", "split.seed or train.seed"),
        ("lstm", "train.stps=1", "did you mean 'train.steps'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    text: Path, model: str, setting: str, message: str
) -> None:
    with pytest.raises(WenmoError, match=message):
        check(text, setting, model=model)


def test_the_settings_of_a_recipe_file_are_checked_with_the_commands(
    text: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('family = "gpt"\n[model]\nhidden_size = 384\n', encoding="utf-8")
    check(text, "heads=6", recipe=recipe)  # 6 heads do not go with the default of 256
    with pytest.raises(WenmoError, match="hidden_size 384 is not a multiple of heads 7"):
        check(text, "heads=7", recipe=recipe)


def test_a_run_to_begin_from_has_its_own_model(text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    card = {"format": 2, "family": "lstm", "data": {}, "finished": True, "results": {}}
    (run / preflight.CARD).write_text(json.dumps(card), encoding="utf-8")
    check(text, "heads=0", "model.heads=0", "train.steps=3", base=run)
    for setting, message in [
        ("train.steps=0", "steps must be at least 1"),
        ("tokenizer.kind=char", "did you mean 'chars'"),
        ("trian.steps=3", "unknown setting"),
        ("steps", "has no '='"),
    ]:
        with pytest.raises(WenmoError, match=message):
            check(text, setting, base=run)
