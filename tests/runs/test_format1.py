"""Runs of format 1 load, continue training, and generate the same texts as before.

The folder was made by that version, on the text beside it:

    wenmo train text.txt --unit line --model gpt --prior ngram --tokenizer bytes --steps 4 --seed 0
        --out run width=8 layers=1 heads=1 context=16 rows=2 time=16 orders=3 rate=0.01
        evaluations=2
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import wenmo
from wenmo.format1 import SETTINGS, TABLES, convert_setting, new_name
from wenmo.runs.folders import read_card
from wenmo.runs.recipe import make_recipe, read_recipe
from wenmo.types import WenmoError

DATA = Path(__file__).parents[1] / "data" / "format1"
BITS = 2.373284012279198
"""Per byte of the text, as scored by the version that wrote the run."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA / "run", tmp_path / "run"))


def test_texts_and_scores_are_unchanged(folder: Path) -> None:
    assert json.loads((folder / "wenmo.json").read_text())["format"] == 1
    run = wenmo.load(folder)
    assert run.card.recipe.model.hidden_size == 8
    assert run.card.recipe.train.learning_rate == 0.01
    assert run.card.recipe.ngram_prior.enabled is True
    assert {"model.hidden_size", "ngram_prior.order"} <= set(read_card(folder)["given"])
    greedy = run.generate("The ", method="greedy", max_tokens=20)
    assert greedy == ["the the the the the "]
    assert run.evaluate(DATA / "text.txt").bits_per_byte == pytest.approx(BITS, rel=1e-6)
    assert all("learning_rate" in row for row in run.history if "loss" in row)


def test_training_continues(folder: Path) -> None:
    """With the current names of settings, and without settings."""
    names = ["hidden_size=8", "layers=1", "heads=1", "context_length=16", "batch_size=2"]
    names += ["sequence_length=16", "ngram_prior.order=3", "learning_rate=0.01", "eval_count=2"]
    names += ["unit=line", "tokenizer.kind=bytes", "ngram_prior.enabled=true"]
    names += ["train.seed=0", "split.seed=0", "steps=6"]
    run = wenmo.fit(DATA / "text.txt", model="gpt", out=folder, settings=names)
    assert run.card.results["steps"] == 6
    content = json.loads((folder / "wenmo.json").read_text())
    assert content["format"] == 2
    assert content["model"]["hidden_size"] == 8
    assert "width" not in content["model"]


def test_old_recipes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text(
        'family = "gpt"\nmodel.width = 64\nprior.counts = "ngram"\nprior.orders = 4\n'
        'train.rate = 0.01\nstart.lora = 2\ntokenizer.kind = "chars"\n'
    )
    family, settings = read_recipe(path)
    recipe = make_recipe(str(family), settings)
    assert recipe.model.hidden_size == 64
    assert recipe.ngram_prior.enabled is True
    assert recipe.ngram_prior.order == 4
    assert recipe.train.learning_rate == 0.01
    assert recipe.init.lora_rank == 2
    assert recipe.tokenizer.kind == "characters"


def test_every_old_name_maps_to_a_current_setting() -> None:
    families = ("gpt", "lstm", "seq2seq", "masked", "vae", "gan", "ngram")
    now = {name: set() for name in ("model", "ngram_prior", "init", "train")}
    for family in families:
        for table, names in make_recipe(family).tables().items():
            now.setdefault(table, set()).update(names)
    for table, renamed in SETTINGS.items():
        if table != "sampling":
            assert set(renamed.values()) <= now[TABLES.get(table, table)]


def test_error_for_an_old_name() -> None:
    assert new_name("train.rate") == "learning_rate"
    assert new_name("hiden") is None
    assert convert_setting("prior.counts=none") == "ngram_prior.enabled=false"
    with pytest.raises(WenmoError, match="'rate': it is called learning_rate now"):
        make_recipe("lstm", ["rate=0.1"])
