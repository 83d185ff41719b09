"""Temperature and top-p are chosen at the end of the training and become the defaults."""

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
LOCATIONS = ["here", "there", "outside", "in the garden", "by the river", "under the old bridge"]


@pytest.fixture(scope="module", autouse=True)
def _fewer_texts() -> Iterator[None]:
    """Choose from fewer texts than usual, to be fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling_choice, "TEXTS_PER_TRIAL", 24)
        yield


@pytest.fixture(scope="module")
def prose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prose") / "dogs.txt"
    sentences = [f"The {a} dog {b} {c}." for a, b, c in product(DOGS, VERBS, LOCATIONS)]
    # A step that is coprime to the number of sentences shuffles them.
    mixed = [sentences[n * 125 % len(sentences)] for n in range(2 * len(sentences))]
    path.write_text("\n".join(mixed), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(wenmo: Callable[..., Any], prose: Path) -> Path:
    """A bigram model of characters, which invents words at any temperature."""
    done = wenmo("train", prose, *BIGRAMS, "--out", "run", cwd=prose.parent)
    [row] = [line for line in done.stdout.splitlines() if "writes at" in line]
    assert re.search(
        r"temperature 0\.\d, top-p 0\.95: new (words|pairs) [\d.]+% \(held-out text", row
    )
    assert all(cell_len(line.rstrip()) <= 80 for line in done.stdout.splitlines())
    return prose.parent / "run"


def test_the_card_has_the_choice_and_its_figures(run: Path) -> None:
    card = json.loads((run / "wenmo.json").read_text(encoding="utf-8"))
    choice = card["results"]["sampling"]
    assert card["sampling"] == {"temperature": choice["temperature"], "top_p": choice["top_p"]}
    assert card["sampling_reason"] == choice["reason"]
    assert choice["written"]["new_words"] > 0.05 > choice["heldout"]["new_words"]
    assert len(choice["tried"]) == 3
    assert choice["temperature"] < 1


def test_the_choice_is_the_default(run: Path) -> None:
    opened = load(run)
    texts = opened.generate("The", seed=5, **opened.card.sampling)
    assert opened.generate("The", seed=5) == texts
    assert opened.sampling.temperature == opened.card.sampling["temperature"]


def test_the_choice_is_deterministic(wenmo: Callable[..., Any], run: Path, prose: Path) -> None:
    wenmo("train", prose, *BIGRAMS, "--out", "again", cwd=prose.parent)
    first, again = (load(folder).card.results for folder in (run, run.parent / "again"))
    assert first["sampling"] == again["sampling"]


def test_a_full_evaluation_makes_a_skipped_choice(
    wenmo: Callable[..., Any], run: Path, prose: Path
) -> None:
    path = run / "wenmo.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    chosen = card.pop("sampling")
    path.write_text(json.dumps(card | {"sampling_reason": sampling_choice.NO_TIME}), "utf-8")
    command = ("train", prose, *BIGRAMS, "--out", "run", "full_evaluation=true")
    wenmo(*command, cwd=prose.parent)
    assert load(run).card.sampling == chosen != {}
    assert "trained already" in wenmo(*command, cwd=prose.parent).stderr


def test_a_small_text_keeps_the_default(wenmo: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "small.txt").write_text("春眠不觉晓，处处闻啼鸟。\n" * 30, encoding="utf-8")
    done = wenmo("train", "small.txt", "--model", "ngram", "--out", "run", cwd=tmp_path)
    assert "temperature 0.8 (default: too little held-out text to choose by)" in done.stdout
    opened = load(tmp_path / "run")
    assert (opened.card.sampling, opened.sampling.temperature) == ({}, 0.8)
    assert opened.card.sampling_reason == "default: too little held-out text to choose by"
