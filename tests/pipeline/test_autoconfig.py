"""What a user leaves open follows from the text, the time and the machine; what is given, stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from wenmo.models import recurrent_config
from wenmo.models.config import Budget
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.models.transformer import presets
from wenmo.models.transformer.config import TransformerConfig
from wenmo.pipeline import autoconfig
from wenmo.runs.recipe import make_recipe
from wenmo.text import corpus

LAPTOP = 5e10  # multiplications and additions a second, of one core
CHIP = 5e13


@pytest.fixture
def on_a_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoconfig, "speed", lambda: LAPTOP)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> corpus.Corpus:
    path: Path = tmp_path_factory.mktemp("autoconfig") / "text.txt"
    path.write_text("To be, or not to be: that is the question.\n" * 500)
    recipe = make_recipe("lstm")
    return corpus.build(path, read=recipe.read, tokenizer=recipe.tokenizer, split=recipe.split)


def test_more_time_and_text_make_wider_networks() -> None:
    def hidden(tokens: int, seconds: float) -> int:
        return recurrent_config.suggest_config(RecurrentConfig(), Budget(tokens, seconds, LAPTOP))[
            "hidden_size"
        ]

    assert hidden(1_000_000, 10) == 256
    assert hidden(1_000_000, 180) == 512
    assert hidden(50_000, 180) == 256  # would be learnt by heart

    def width(tokens: int, seconds: float, speed: float = LAPTOP) -> int:
        return presets.suggest_config(TransformerConfig(), Budget(tokens, seconds, speed))[
            "hidden_size"
        ]

    assert width(1_000_000, 180) == 128
    assert width(1_000_000, 600, CHIP) == 256
    assert width(100_000_000, 3600, CHIP) >= 384


def test_many_passes_ask_for_dropout() -> None:
    few, many = Budget(10_000_000, 60, LAPTOP), Budget(20_000, 600, LAPTOP)
    for suggest_config, config in (
        (recurrent_config.suggest_config, RecurrentConfig()),
        (presets.suggest_config, TransformerConfig()),
    ):
        assert suggest_config(config, few)["dropout"] < suggest_config(config, many)["dropout"]


@pytest.mark.usefixtures("on_a_laptop")
def test_what_is_given_stays(plain: corpus.Corpus) -> None:
    chosen, told = autoconfig.autoconfigure(
        make_recipe("lstm", ["minutes=3", "dropout=0.3"]), plain
    )
    assert chosen.model.hidden_size == 256
    assert chosen.model.dropout == 0.3
    assert "hidden_size=256" in told[0]
    assert "dropout" not in told[0]
    for name, settings in (
        ("lstm", ["minutes=3", "hidden_size=512", "model.dropout=0.1"]),
        ("lstm:tiny", ["minutes=3"]),
        ("lstm", ["steps=3"]),  # the same model on any machine
        ("ngram", []),
        ("gpt", ["minutes=3", "head_dim=7", "positions=learned", "heads=3", "kv_heads=1"]),
    ):
        asked = make_recipe(name, settings)
        chosen, _ = autoconfig.autoconfigure(asked, plain)
        for setting in (name.removeprefix("model.") for name in asked.given if "model." in name):
            assert getattr(chosen.model, setting) == getattr(asked.model, setting)
        if name != "gpt":
            assert chosen.model == asked.model


@pytest.mark.usefixtures("on_a_laptop")
def test_what_does_not_go_together_is_left_alone(plain: corpus.Corpus) -> None:
    asked = make_recipe("gpt", ["minutes=3", "heads=128"])  # a narrower one would have odd heads
    chosen, told = autoconfig.autoconfigure(asked, plain)
    assert chosen.model == asked.model
    assert not any("for this text" in line for line in told)


def test_the_machine_is_measured() -> None:
    assert autoconfig.speed() > 1e8


def test_short_records_are_learnt_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "verses.txt"
    path.write_text("".join(f"verse {n},\nand its answer.\n\n" for n in range(400)))
    for model, settings, expected in (
        ("gpt:tiny", [], True),
        ("gpt:tiny", ["per_record=false"], False),
        ("gpt:tiny", ["context_length=16"], None),  # some are longer
        ("lstm", [], None),
        ("masked:tiny", [], None),
    ):
        recipe = make_recipe(model, ["unit=paragraph", "steps=1", *settings])
        read = corpus.build(path, read=recipe.read, tokenizer=recipe.tokenizer, split=recipe.split)
        derived, _ = autoconfig.autoconfigure(recipe, read)
        assert derived.train.per_record is expected
        assert derived.build(9).record_level == bool(expected)


def test_pairs_stand_on_counts_of_their_targets(tmp_path: Path, on_a_laptop: None) -> None:
    path = tmp_path / "pairs.tsv"
    rows = (f"Where is door {n}?\tDoor {n} is to the left of door {n + 1}.\n" for n in range(400))
    path.write_text("source\ttarget\n" + "".join(rows))
    for given, counts in (("minutes=1", True), ("steps=9", True), ("minutes=0.001", False)):
        fields = ["text_field=target", "source_field=source"]
        recipe = make_recipe("seq2seq:tiny", ["task.name=translation", *fields, given])
        made = {"tokenizer": recipe.tokenizer, "split": recipe.split, "task": recipe.task}
        pairs = corpus.build(path, read=recipe.read, **made)
        chosen, told = autoconfig.autoconfigure(recipe, pairs)
        assert chosen.ngram_prior.enabled == counts, told
        assert not counts or chosen.ngram_prior.folds_used == chosen.ngram_prior.folds
    assert "counting would take" in told[0]
