"""What is known of settings without PyTorch is what there is."""

from __future__ import annotations

import dataclasses

import pytest

from wenmo.config import shown
from wenmo.models import MODELS
from wenmo.runs import outline
from wenmo.runs.recipe import make_recipe
from wenmo.types import WenmoError


def test_families_are_those_of_the_catalogue() -> None:
    assert outline.families() == list(MODELS)


@pytest.mark.parametrize("family", MODELS)
def test_names_of_settings_are_those_of_the_recipe(family: str) -> None:
    recipe = make_recipe(family)
    tables = {
        field.name: [f.name for f in dataclasses.fields(getattr(recipe, field.name))]
        for field in dataclasses.fields(recipe)
        if field.name not in ("family", "given")
    }
    assert {name: sorted(own) for name, own in outline.tables_of(family).items()} == {
        name: sorted(own) for name, own in tables.items()
    }


@pytest.mark.parametrize("family", MODELS)
def test_every_size_is_let_through(family: str) -> None:
    for size in MODELS[family].sizes:
        assert outline.check_model(f"{family}:{size}".upper()) == family


@pytest.mark.parametrize(
    ("model", "setting"),
    [
        ("gpt", "optimizer=adan"),
        ("gpt", "schedule=cosin"),
        ("gpt", "hiden=3"),
        ("gpt", "layers=many"),
        ("gpt", "layers"),
        ("gpt", "seed=1"),
        ("gpt", "activation=relo"),
        ("lstm", "tokenizer.kind=char"),
        ("masked", "hidden_size=wide"),
        ("lstm", "task.name=translate"),
        ("vae", "train.minutes=soon"),
        ("gpt", "batch_size=0"),
        ("gpt", "train.decay_ratio=0"),
        ("ngram", "reply_speakers=Agent"),
        ("lstm", "ngram_prior.folds_used=9"),
    ],
)
def test_a_fault_is_told_in_the_same_words_as_later(model: str, setting: str) -> None:
    with pytest.raises(WenmoError) as early:
        outline.check_settings(outline.check_model(model), [setting])
    with pytest.raises(WenmoError) as late:
        make_recipe(model, [setting])
    assert str(early.value) == str(late.value)


def test_every_default_is_let_through() -> None:
    """Types that are read from the source admit the values that stand there."""
    for family in MODELS:
        recipe = make_recipe(family)
        for table, values in recipe.tables().items():
            if table == "family":
                continue
            for key, value in values.items():
                text = value if isinstance(value, str) else shown(value)
                outline.check_settings(family, [f"{table}.{key}={text}"])
