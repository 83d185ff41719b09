"""Options of ``wenmo generate`` that tell and steer how tokens are chosen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RULES = {"origin": ["the #animal#.", "the #animal# and #origin#"], "animal": ["cat", "dog", "狗"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a grammar, which needs no training."""
    (tmp_path / "rules.json").write_text(json.dumps(RULES), encoding="utf-8")
    return tmp_path


def test_the_chain_of_the_output_gives_it_again(folder: Path, wenmo: Callable[..., Any]) -> None:
    options = ("--prompt", "the ", "-n", "3", "--json")
    first = json.loads(
        wenmo(
            *("generate", "rules.json", *options, "--seed", "7", "--temperature", "1.3"),
            *("--top-p", "0.9", "--dry-multiplier", "0.5", "--max-tokens", "30"),
            cwd=folder,
        ).stdout
    )
    assert first["chain"] == "dry_multiplier=0.5,temperature=1.3,top_p=0.9,max_tokens=30,seed=7"
    again = wenmo("generate", "rules.json", *options, "--chain", first["chain"], cwd=folder)
    assert json.loads(again.stdout) == first


def test_decoding_is_explained_in_the_order_of_application(
    folder: Path, wenmo: Callable[..., Any]
) -> None:
    options = ("--chain", "top_p=0.9,temperature=1.3", "--seed", "7", "--explain-decoding")
    done = wenmo("generate", "rules.json", "--prompt", "the ", *options, cwd=folder)
    lines = [
        "constraint: UTF-8, no token that breaks a character",
        "processor: top_p=0.9",
        "processor: temperature=1.3",
        "strategy: sample, draw a token (Gumbel-max; noise by seed, position and token)",
        "end: max_tokens=100000",
        "seed: 7",
        "chain: top_p=0.9,temperature=1.3,max_tokens=100000,seed=7",
    ]
    assert done.stderr.splitlines() == lines
    assert done.stdout.startswith("the ")
    printed = wenmo("generate", "rules.json", "--prompt", "the ", *options, "--json", cwd=folder)
    assert json.loads(printed.stdout)["decoding"] == lines


def test_alternatives_are_shown_and_printed(folder: Path, wenmo: Callable[..., Any]) -> None:
    options = ("--prompt", "the ", "--seed", "3", "--max-tokens", "9", "--alternatives", "2")
    table = wenmo("generate", "rules.json", *options, cwd=folder).stdout
    assert "likeliest: model (processed)" in table
    assert "33.3% (33.3%)" in table
    printed = json.loads(wenmo("generate", "rules.json", *options, "--json", cwd=folder).stdout)
    [output] = printed["outputs"]
    assert [each["written"]["token"] for each in output["positions"]] == [*output["text"]]
    assert output["positions"][0]["written"].keys() == {"id", "token", "probability", "processed"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--chain", "top_p"], "chain: 'top_p' has no value: write NAME=VALUE,NAME=VALUE"),
        (["--chain", "top_p=2"], "chain: top_p must be above 0 and at most 1"),
        (["--chain", "topp=1"], "chain: no setting 'topp'; did you mean 'top_p'?"),
        (["--chain", "top_p=0.9", "--min-p", "0.1"], "min_p beside a chain: write it in the"),
        (["--mirostat", "2", "--method", "beam-sample"], "mirostat=2: must be 0 with method="),
    ],
)
def test_what_makes_no_sense_is_refused(
    folder: Path, wenmo: Callable[..., Any], options: list[str], told: str
) -> None:
    done = wenmo("generate", "rules.json", *options, cwd=folder, code=2)
    assert told in done.stderr
    assert done.stdout == ""
