"""Defaults of generation: one set for each run, the same on the command line and in Python."""

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
    """Makes a copy of the n-gram run whose card has the given defaults."""

    def make(**sampling: Any) -> Path:
        folder = tmp_path / "run"
        shutil.copytree(runs["ngram"], folder, dirs_exist_ok=True)
        card = json.loads((folder / "wenmo.json").read_text(encoding="utf-8"))
        card |= {"sampling": sampling, "sampling_reason": "a test"}
        (folder / "wenmo.json").write_text(json.dumps(card), encoding="utf-8")
        return folder

    return make


def test_command_line_and_python_generate_the_same_text(
    wenmo: Callable[..., Any], run_with: Callable[..., Path], tmp_path: Path
) -> None:
    folder = run_with(temperature=0.3, top_p=0.7, max_tokens=30)
    printed = wenmo("generate", folder, "-p", "春", "--seed", 5, cwd=tmp_path).stdout
    assert printed == "春" + load(folder).generate("春", seed=5)[0] + "\n"


def test_the_card_sets_the_defaults(run_with: Callable[..., Path]) -> None:
    run = load(run_with(temperature=0.3, top_p=0.7))
    texts = run.generate("春", seed=5, temperature=0.3, top_p=0.7)
    assert run.generate("春", seed=5) == texts
    assert (run.sampling.temperature, run.sampling.top_p) == (0.3, 0.7)
    assert run.card.sampling_reason == "a test"


def test_options_override_the_card(run_with: Callable[..., Path]) -> None:
    plain = load(run_with()).generate("春", seed=5, temperature=2.0)
    assert load(run_with(temperature=0.1)).generate("春", seed=5, temperature=2.0) == plain


def test_a_temperature_selects_sampling(run_with: Callable[..., Path]) -> None:
    run = load(run_with(method="greedy"))
    assert run.generate("春", seed=1) == run.generate("春", method="greedy")
    assert run.generate("春", seed=1, temperature=2.0) != run.generate("春", method="greedy")


@pytest.mark.parametrize("sampling", [{"temprature": 0.3}, {"top_p": 2.0}])
def test_a_damaged_card_is_refused(
    run_with: Callable[..., Path], sampling: dict[str, float]
) -> None:
    with pytest.raises(WenmoError, match="damaged"):
        load(run_with(**sampling))
