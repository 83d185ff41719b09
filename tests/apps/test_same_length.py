"""Answers are as long as their sources if this holds for all training pairs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wenmo.api import fit, load

SETTINGS = {"tokenizer.kind": "characters", "tokenizer.min_count": 3, "tokens_per_batch": 64}


def pairs(folder: Path, answer: Callable[[str], str]) -> Path:
    path = folder / "pairs.tsv"
    firsts = ["春" * (n % 7 + 1) + "谸袔风月"[n % 4] for n in range(60)]
    lines = "".join(f"{first}\t{answer(first)}\n" for first in firsts)
    path.write_text(f"source\ttarget\n{lines}", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def couplets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("couplets")
    data = pairs(folder, lambda first: first.translate(str.maketrans("春月", "夜雨")))
    fit(data, model="gru:tiny", task="translation", out=folder / "run", steps=1)
    return folder / "run"


def test_answers_are_as_long_as_their_sources(couplets: Path) -> None:
    run, sources = load(couplets), ["春", "春风谸", "鼾" * 9]
    for method in ("beam", "sample", "greedy"):
        [*answers] = run.write(sources, method=method, seed=1, max_tokens=99)
        assert [len(group[0].text) for group in answers] == [1, 3, 9]
        assert {group[0].stopped_by for group in answers} == {"constraint"}
    continued = run.generate("春春春春春", prefix="夜", max_tokens=99)
    assert len(continued[0]) == 4


def test_the_constraint_can_be_turned_off(
    couplets: Path, wenmo: Callable[..., Any], tmp_path: Path
) -> None:
    run = load(couplets)
    assert run.sampling.same_length
    free = run.texts(["春春"], 20, method="sample", seed=1, same_length=False)
    assert {len(text) for text in free[0]} != {2}
    command = ["generate", couplets, "-p", "春春", "--seed", 1, "--json"]
    [output] = json.loads(wenmo(*command, cwd=tmp_path).stdout)["outputs"]
    assert len(output["text"]) == 2
    assert wenmo(*command, "--no-same-length", cwd=tmp_path).stdout


def test_other_pairs_are_not_constrained(tmp_path: Path) -> None:
    data = pairs(tmp_path, lambda first: first + "。" * (first[0] == first[1]))
    run = fit(data, model="gru:tiny", task="translation", out=tmp_path / "run", steps=1)
    assert not run.sampling.same_length
