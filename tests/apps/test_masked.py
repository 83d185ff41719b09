"""The masked model from end to end: generation, infilling and evaluation."""

from __future__ import annotations

import json

import pytest

SMALL = [
    "hidden_size=32",
    "layers=2",
    "heads=2",
    "context_length=17",
    "batch_size=16",
    "learning_rate=0.02",
]
TEXT = "春眠不觉晓，处处闻啼鸟。\nA quick brown fox.\n"


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A text that the masked model memorizes quickly."""
    path = tmp_path_factory.mktemp("text") / "my.txt"
    path.write_text(TEXT * 120, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def masked(train_until, text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("masked")
    options = ("--model", "masked", *SMALL, "eval_count=1")
    train_until(text, "run", *options, steps=400, bits_per_byte=0.3, cwd=folder)
    return folder / "run"


@pytest.mark.parametrize(
    ("prompt", "missing"),
    [("春眠____，处处", "不觉晓"), ("quick ____ fox", "brown")],
)
def test_a_gap_is_filled_with_the_missing_text(wenmo, masked, prompt, missing):
    command = ("generate", masked, "--prompt", prompt, "--method", "greedy")
    options = ("--unmask-order", "confidence", "--gap-tokens", len(missing))
    assert wenmo(*command, *options, cwd=masked).stdout.strip() == prompt.replace("____", missing)
    [output] = json.loads(wenmo(*command, *options, "--json", cwd=masked).stdout)["outputs"]
    assert output["text"] == missing
    assert output["tokens"] == len(missing)
    assert output["stopped_by"] == "end"
    assert -5 < output["logprob"] < 0


def test_the_model_chooses_the_length_of_a_gap(wenmo, masked):
    command = ("generate", masked, "--prompt", "A ____ brown", "--method", "greedy")
    options = ("--unmask-order", "confidence")
    done = wenmo(*command, *options, cwd=masked)
    assert "A quick brown" in done.stdout
    assert "--gap-tokens N sets it" in done.stderr
    assert "--gap-tokens N" not in wenmo(*command, *options, "--gap-tokens", 5, cwd=masked).stderr


def test_continuation_in_every_unmasking_order(wenmo, masked):
    for options in (
        [],
        ["--unmask-steps", 3, "--unmask-schedule", "cosine", "--remask"],
        ["--unmask-order", "left", "--frequency-penalty", 0.1],
        ["--method", "beam", "--beam-width", 2],
    ):
        command = ["generate", masked, "--prompt", "春", "--max-tokens", 12, "--json", *options]
        [output] = json.loads(wenmo(*command, cwd=masked).stdout)["outputs"]
        assert output["tokens"] == 12 or output["stopped_by"] == "end"
    long = ["generate", masked, "--prompt", "春", "--max-tokens", 70, "--min-tokens", 70, "--json"]
    [output] = json.loads(wenmo(*long, cwd=masked).stdout)["outputs"]
    assert output["tokens"] == 70


def test_the_likelihood_is_a_bound(wenmo, masked, text):
    figures = json.loads(wenmo("evaluate", masked, text, "--json", cwd=masked).stdout)
    assert figures["bound"] is True
    assert 0 < figures["bits_per_byte"] < 1.5
    assert "≤" in wenmo("evaluate", masked, text, cwd=masked).stdout
    rows = json.loads(wenmo("explain", masked, "春眠不觉晓", "--json", cwd=masked).stdout)
    assert [row["token"] for row in rows["tokens"]][:2] == ["春", "眠"]


def test_unsupported_options_are_refused_in_one_line(wenmo, masked, text):
    for arguments, message in (
        (["generate", masked, "--prompt", "春____，____"], "one gap"),
        (["generate", masked, "--prompt", "春", "--no-repeat-ngram", 2], "unmask_order=left"),
        (["generate", masked, "--prompt", "春____，", "--gap-tokens", 40], "leaves no room"),
        (["generate", masked, "--unmask-order", "best"], "random, confidence, left"),
        (["train", text, "--model", "masked", "--prior", "ngram"], "cannot stand on counts"),
        (["train", text, "--model", "masked", "--task", "infilling"], "cannot answer to a source"),
        (["train", text, "--model", "masked:smal"], "did you mean 'small'"),
    ):
        done = wenmo(*arguments, cwd=masked, code=2)
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_texts_end_with_the_end_token(wenmo, train_until, tmp_path):
    names = ("李白", "杜甫", "王维", "孟浩然")
    (tmp_path / "names.txt").write_text("\n".join(names * 200), encoding="utf-8")
    options = ("--unit", "line", "--model", "masked", *SMALL, "eval_count=1")
    train_until("names.txt", "run", *options, steps=150, bits_per_byte=0.75, cwd=tmp_path)
    command = ["generate", "run", "-n", 6, "--temperature", 0.5, "--seed", 0, "--json"]
    outputs = json.loads(wenmo(*command, cwd=tmp_path).stdout)["outputs"]
    assert {output["stopped_by"] for output in outputs} == {"end"}
    assert {*names} & {output["text"] for output in outputs}


def test_a_note_from_runs_that_do_not_fill_gaps(wenmo, text, tmp_path):
    wenmo("train", text, "--model", "ngram", "--out", "run", cwd=tmp_path)
    done = wenmo("generate", "run", "--prompt", "春眠____，", cwd=tmp_path)
    assert done.stdout.startswith("春眠____，")
    assert "this run does not fill gaps" in " ".join(done.stderr.split())
