"""Every run has one set of defaults of writing, the same in every shell."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wenmo.api import load
from wenmo.types import WenmoError


@pytest.fixture
def run_with(runs: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """Makes a copy of the n-gram run whose card holds the given defaults."""

    def make(**sampling: Any) -> Path:
        folder = tmp_path / "run"
        shutil.copytree(runs["ngram"], folder, dirs_exist_ok=True)
        card = json.loads((folder / "wenmo.json").read_text(encoding="utf-8"))
        card |= {"sampling": sampling, "sampling_reason": "a test"}
        (folder / "wenmo.json").write_text(json.dumps(card), encoding="utf-8")
        return folder

    return make


def test_the_command_and_python_write_the_same(
    wenmo: Callable[..., Any], run_with: Callable[..., Path], tmp_path: Path
) -> None:
    folder = run_with(temperature=0.3, top_p=0.7, max_tokens=30)
    printed = wenmo("generate", folder, "-p", "春", "--seed", 5, cwd=tmp_path).stdout
    assert printed == "春" + load(folder).generate("春", seed=5)[0] + "\n"


def test_what_the_card_says_is_the_default(run_with: Callable[..., Path]) -> None:
    run = load(run_with(temperature=0.3, top_p=0.7))
    asked = run.generate("春", seed=5, temperature=0.3, top_p=0.7)
    assert run.generate("春", seed=5) == asked
    assert (run.sampling.temperature, run.sampling.top_p) == (0.3, 0.7)
    assert run.card.sampling_reason == "a test"


def test_what_is_asked_for_goes_before_the_card(run_with: Callable[..., Path]) -> None:
    plain = load(run_with()).generate("春", seed=5, temperature=2.0)
    assert load(run_with(temperature=0.1)).generate("春", seed=5, temperature=2.0) == plain


def test_a_temperature_asks_for_drawing(run_with: Callable[..., Path]) -> None:
    run = load(run_with(method="greedy"))
    assert run.generate("春", seed=1) == run.generate("春", method="greedy")
    assert run.generate("春", seed=1, temperature=2.0) != run.generate("春", method="greedy")


@pytest.mark.parametrize("sampling", [{"temprature": 0.3}, {"top_p": 2.0}])
def test_a_damaged_card_is_refused(
    run_with: Callable[..., Path], sampling: dict[str, float]
) -> None:
    with pytest.raises(WenmoError, match="damaged"):
        load(run_with(**sampling))
