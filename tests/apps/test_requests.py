"""Seeds and prompts: equal requests give equal texts; invalid prompts are refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wenmo.api import load
from wenmo.types import WenmoError, strings

DRAWN = {"temperature": 5.0, "max_tokens": 12}
PROMPTS = ["春", "夜", "The", "dog", ""]


def test_prompts_of_one_call_draw_different_noise(runs: dict[str, Path]) -> None:
    texts = load(runs["ngram"]).texts(PROMPTS, seed=1, **DRAWN)
    endings = {text[-4:] for [text] in texts}
    assert len(endings) == len(PROMPTS)


@pytest.mark.parametrize("model", ["ngram", "lstm"])
def test_batch_and_order_do_not_change_texts(runs: dict[str, Path], model: str) -> None:
    run = load(runs[model])
    batch = run.texts(PROMPTS, 2, seed=1, **DRAWN)
    assert run.texts(PROMPTS[::-1], 2, seed=1, **DRAWN) == batch[::-1]
    for prompt, both in zip(PROMPTS, batch, strict=True):
        assert run.generate(prompt, 2, seed=1, **DRAWN) == both
        assert "".join(run.stream(prompt, seed=1, **DRAWN)) == both[0]
    assert run.texts(["春", "春"], seed=1, **DRAWN)[0] == batch[0][:1]


def test_without_a_seed_each_call_draws_one(
    runs: dict[str, Path], wenmo: Callable[..., Any], tmp_path: Path
) -> None:
    run = load(runs["ngram"])
    [[first]], [[second]] = run.write("春", **DRAWN), run.write("春", **DRAWN)
    assert first.seed != second.seed
    assert run.write("春", seed=first.seed, **DRAWN) == [[first]]
    command = ["generate", runs["ngram"], "-p", "春", "--max-tokens", 12, "--temperature", 5]
    done = wenmo(*command, cwd=tmp_path)
    [seed] = re.findall(r"^seed (\d+)$", done.stderr, re.MULTILINE)
    assert wenmo(*command, "--seed", seed, cwd=tmp_path).stdout == done.stdout
    found = json.loads(wenmo(*command, "--seed", seed, "--json", cwd=tmp_path).stdout)
    assert found["seed"] == int(seed)
    assert "春" + found["outputs"][0]["text"] + "\n" == done.stdout


def test_a_seed_without_effect_is_not_printed(
    runs: dict[str, Path], wenmo: Callable[..., Any], tmp_path: Path
) -> None:
    command = ["generate", runs["ngram"], "-p", "春", "--max-tokens", 3, "--method", "greedy"]
    assert "seed" not in wenmo(*command, cwd=tmp_path).stderr
    assert isinstance(json.loads(wenmo(*command, "--json", cwd=tmp_path).stdout)["seed"], int)


def test_a_string_is_one_prompt(runs: dict[str, Path]) -> None:
    run = load(runs["ngram"])
    options = {"seed": 1, "max_tokens": 5}
    expected = run.write(["The"], **options)
    assert len(expected) == 1
    for prompts in ("The", ("The",), np.array(["The"]), iter(["The"])):
        assert run.write(prompts, **options) == expected
    assert run.texts("The", **options) == [[expected[0][0].text]]
    series = pytest.importorskip("pandas").Series(["The"])
    assert run.write(series, **options) == expected


class Frame:
    """An object with columns, as a DataFrame."""

    columns = ("text",)

    def __iter__(self) -> Any:
        return iter(self.columns)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (b"The", "give a string or a list of strings, not bytes"),
        (7, "not int"),
        (None, "not NoneType"),
        ({"The": 1}, "not dict"),
        ({"The"}, "not set"),
        (Frame(), "not Frame"),
        (["The", b"dog"], "item 2 is bytes"),
        (["The", float("nan")], r"item 2 is float \(nan\)"),
    ],
)
def test_invalid_prompts_are_refused(runs: dict[str, Path], prompts: Any, message: str) -> None:
    run = load(runs["ngram"])
    for write in (run.write, run.texts):
        with pytest.raises(WenmoError, match=rf"^prompts: .*{message}"):
            write(prompts)
    with pytest.raises(WenmoError, match=r"^prompt: give one string, not "):
        run.generate(prompts)
    with pytest.raises(WenmoError, match=r"^prompt: give one string, not "):
        next(run.stream(prompts))


def test_strings() -> None:
    assert strings("a", "x") == ["a"]
    assert strings([], "x") == []


def test_same_length_needs_a_source(runs: dict[str, Path]) -> None:
    with pytest.raises(WenmoError, match="same_length is for answers to a source"):
        load(runs["ngram"]).generate("春", same_length=True)


def test_notes_about_requests(wenmo, runs):
    run, at = runs["ngram"], runs["ngram"].parent
    stderr = wenmo("generate", run, "--prompt", "手机春😀", "--max-tokens", 4, cwd=at).stderr
    assert "characters that are not in the training text: 手机😀" in stderr
    stderr = wenmo("generate", run, "--prompt", "春 ____ fox", "--max-tokens", 4, cwd=at).stderr
    assert "not in the training text" not in stderr
    greedy = ("generate", run, "--temperature", 0, "--max-tokens", 4)
    assert "-n 2 repeats it" in wenmo(*greedy, "-n", 2, cwd=at).stderr
    for several in ((*greedy,), (*greedy[:2], "--method", "beam", "-n", 2, "--max-tokens", 4)):
        assert "repeats it" not in wenmo(*several, cwd=at).stderr


def test_control_needs_control_fields(wenmo, runs):
    run, at = runs["ngram"], runs["ngram"].parent
    stderr = wenmo("generate", run, "--control", "form=五言绝句", cwd=at, code=2).stderr
    assert "train with --control FIELD" in stderr
