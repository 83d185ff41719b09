"""Every recipe is short, and trains."""

from __future__ import annotations

from pathlib import Path

import pytest

import wenmo
from wenmo.runs.recipe import make_recipe, read_recipe

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_short_and_trains(path, tmp_path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 20
    data = tmp_path / ("pairs.tsv" if make_recipe(*read_recipe(path)).task.paired else "my.txt")
    (tmp_path / "my.txt").write_text("The quick brown fox jumps over the lazy dog.\n" * 200)
    pairs = (f"The {n} dogs are lazy.\tDie {n} Hunde sind faul.\n" for n in range(200))
    (tmp_path / "pairs.tsv").write_text("".join(pairs))
    small = {"steps": 2, "eval_count": 1}
    run = wenmo.fit(data, recipe=path, out=tmp_path / "run", **small)
    assert run.card.results["steps"] == 2
    assert run.card.recipe.train.optimizer in path.read_text(encoding="utf-8")


def test_a_recipe_that_is_wrong_is_told_in_one_line(wenmo, tmp_path):
    (tmp_path / "my.txt").write_text("The quick brown fox.\n" * 200)
    (tmp_path / "broken.toml").write_text("family = ")
    (tmp_path / "unknown.toml").write_text("[train]\nstep = 3\n")
    train = ("train", "my.txt", "--recipe")
    assert "not valid TOML" in wenmo(*train, "broken.toml", cwd=tmp_path, code=2).stderr
    assert "did you mean" in wenmo(*train, "unknown.toml", cwd=tmp_path, code=2).stderr
    assert "no such file" in wenmo(*train, "none.toml", cwd=tmp_path, code=2).stderr
