"""A run chooses temperature and top-p at the end of its training, and writes by them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from wenmo.api import load
from wenmo.evaluation import sampling_choice

DOGS = ["old", "quick", "small", "brown", "quiet", "clever", "hungry", "friendly"]
VERBS = ["barks", "runs", "sleeps", "waits", "listens", "growls", "dreams", "returns"]
BIGRAMS = ("--model", "ngram", "order=2")
PLACES = ["here", "there", "outside", "in the garden", "by the river", "under the old bridge"]


@pytest.fixture(scope="module", autouse=True)
def _fewer_texts() -> Iterator[None]:
    """A choice is made by fewer texts than elsewhere, to be quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling_choice, "TEXTS_PER_TRIAL", 24)
        yield


@pytest.fixture(scope="module")
def prose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prose") / "dogs.txt"
    told = [f"The {a} dog {b} {c}." for a, b, c in product(DOGS, VERBS, PLACES)]
    # Steps that have no common divisor with the number of sentences mix them.
    mixed = [told[n * 125 % len(told)] for n in range(2 * len(told))]
    path.write_text("\n".join(mixed), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(wenmo: Callable[..., Any], prose: Path) -> Path:
    """An n-gram model that sees one letter back, and so invents words at any temperature."""
    done = wenmo("train", prose, *BIGRAMS, "--out", "run", cwd=prose.parent)
    [row] = [line for line in done.stdout.splitlines() if "writes at" in line]
    assert re.search(
        r"temperature 0\.\d, top-p 0\.95: new (words|pairs) [\d.]+% \(held-out text", row
    )
    assert all(cell_len(line.rstrip()) <= 80 for line in done.stdout.splitlines())
    return prose.parent / "run"


def test_the_choice_is_kept_with_its_figures(run: Path) -> None:
    card = json.loads((run / "wenmo.json").read_text(encoding="utf-8"))
    told = card["results"]["sampling"]
    assert card["sampling"] == {"temperature": told["temperature"], "top_p": told["top_p"]}
    assert card["sampling_reason"] == told["reason"]
    assert told["written"]["new_words"] > 0.05 > told["heldout"]["new_words"]
    assert len(told["tried"]) == 3
    assert told["temperature"] < 1


def test_the_run_writes_by_its_choice(run: Path) -> None:
    opened = load(run)
    asked = opened.generate("The", seed=5, **opened.card.sampling)
    assert opened.generate("The", seed=5) == asked
    assert opened.sampling.temperature == opened.card.sampling["temperature"]


def test_the_same_training_chooses_the_same(
    wenmo: Callable[..., Any], run: Path, prose: Path
) -> None:
    wenmo("train", prose, *BIGRAMS, "--out", "again", cwd=prose.parent)
    first, again = (load(folder).card.results for folder in (run, run.parent / "again"))
    assert first["sampling"] == again["sampling"]


def test_a_full_evaluation_chooses_where_there_was_no_time(
    wenmo: Callable[..., Any], run: Path, prose: Path
) -> None:
    path = run / "wenmo.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    del card["sampling"]
    path.write_text(json.dumps(card | {"sampling_reason": sampling_choice.NO_TIME}), "utf-8")
    command = ("train", prose, *BIGRAMS, "--out", "run", "full_evaluation=true")
    wenmo(*command, cwd=prose.parent)
    assert load(run).card.sampling == load(run.parent / "again").card.sampling != {}
    assert "trained already" in wenmo(*command, cwd=prose.parent).stderr


def test_a_small_text_keeps_the_default_and_says_why(
    wenmo: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "small.txt").write_text("春眠不觉晓，处处闻啼鸟。\n" * 30, encoding="utf-8")
    done = wenmo("train", "small.txt", "--model", "ngram", "--out", "run", cwd=tmp_path)
    assert "temperature 0.8 (default: too little held-out text to choose by)" in done.stdout
    opened = load(tmp_path / "run")
    assert (opened.card.sampling, opened.sampling.temperature) == ({}, 0.8)
    assert opened.card.sampling_reason == "default: too little held-out text to choose by"
