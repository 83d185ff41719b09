"""The adversarial model from end to end, in Chinese and English."""

from __future__ import annotations

import json
from itertools import product
from xml.etree import ElementTree

import pytest

SMALL = [
    "embedding_size=16",
    "hidden_size=32",
    "dropout=0",
    "learning_rate=0.02",
    "tokens_per_batch=256",
    "batch_size=8",
]
VERSES = ["春眠不觉晓", "夜来风雨声", "床前明月光", "疑是地上霜"]
DOGS = [f"The {how} dog {what}." for how, what in product(["old", "quick"], ["barks", "runs"])]


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    path = tmp_path_factory.mktemp("gan") / "lines.txt"
    path.write_text("".join(f"{line}\n" for line in (VERSES + DOGS) * 12), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(wenmo, lines):
    command = ("train", lines, "--model", "gan", "--out", "run", "--steps", 220, *SMALL)
    done = wenmo(*command, "mle_ratio=0.93", "critic_pretrain_ratio=0.02", cwd=lines.parent)
    assert "critic 0." in done.stderr
    assert "right " in done.stderr
    assert "and likelihood alone" in done.stdout
    assert "Self-BLEU" in done.stdout
    assert "beside likelihood alone: " in done.stdout
    return lines.parent / "run"


def test_the_likelihood_baseline_is_evaluated_too(wenmo, run, lines):
    results = json.loads((run / "wenmo.json").read_text(encoding="utf-8"))["results"]
    curves = results["tradeoff"]["curves"]
    assert list(curves) == ["model", "likelihood alone"]
    assert len(curves["model"]) == 4
    assert curves["model"] != curves["likelihood alone"]
    assert ElementTree.parse(run / "tradeoff.svg")
    assert results["best_step"] == 220  # not what held-out text finds likeliest
    figures = json.loads(wenmo("evaluate", run, lines, "--json", cwd=run.parent).stdout)
    assert figures["likelihood alone"]["tokens"] == figures["tokens"]
    assert figures["likelihood alone"]["bits_per_byte"] != figures["bits_per_byte"]
    assert "likelihood alone: " in wenmo("evaluate", run, lines, cwd=run.parent).stdout


def test_generation(wenmo, run):
    done = wenmo("generate", run, "-n", 6, "--seed", 3, "--json", cwd=run.parent)
    assert len(json.loads(done.stdout)["outputs"]) == 6
    again = wenmo("generate", run, "-n", 6, "--seed", 3, "--json", cwd=run.parent)
    assert again.stdout == done.stdout
    continued = wenmo("generate", run, "--prompt", "床前", "--method", "beam", cwd=run.parent)
    assert continued.stdout.startswith("床前")


def test_tradeoff_of_different_families(wenmo, run, lines):
    wenmo("train", lines, "--model", "ngram", "--unit", "line", "--out", "counts", cwd=run.parent)
    options = ("--temperatures", "0.5,1", "-n", 10, "--max-tokens", 30)
    done = wenmo("tradeoff", lines, run, "counts", *options, "--plot", "a.svg", cwd=run.parent)
    assert "counts" in done.stdout
    assert ElementTree.parse(run.parent / "a.svg")
    result = json.loads(
        wenmo("tradeoff", lines, run, "counts", *options, "--json", cwd=run.parent).stdout
    )
    assert list(result["curves"]) == [str(run), f"{run}, likelihood alone", "counts"]
    assert list(result["verdicts"]) == [f"{run}, likelihood alone"]
    for curve in result["curves"].values():
        assert [point["temperature"] for point in curve] == [0.5, 1]
        assert curve[0]["self_bleu"]["4"] > 0


def test_the_generator_exports_to_onnx(wenmo, run):
    onnxruntime = pytest.importorskip("onnxruntime")
    wenmo("export", run, "--to", "onnx", "--out", "graph", cwd=run.parent)
    session = onnxruntime.InferenceSession(run.parent / "graph" / "model.onnx")
    assert "logits" in {output.name for output in session.get_outputs()}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("latent", "run", "--walk", "a", "b"), "has no latents"),
        (("tradeoff", "lines.txt", "run", "--temperatures", "hot"), "give numbers"),
        (("tradeoff", "lines.txt", "run", "--temperatures", "0"), "above 0"),
        (("tradeoff", "lines.txt", "run", "-n", 1), "at least 2"),
        (("tradeoff", "lines.txt", "nowhere"), "no such run folder"),
        (("train", "lines.txt", "--model", "gan", "--prior", "ngram"), "leave --prior out"),
        (("train", "lines.txt", "--model", "gan", "--task", "dialogue"), "cannot answer"),
        (("train", "lines.txt", "--model", "gan", "critic_heads=5"), "multiple of critic_heads"),
        (("evaluate", "run", "lines.txt", "--dynamic", "0.1"), "leave --dynamic out"),
    ],
)
def test_unsupported_options_are_refused_in_one_line(wenmo, run, command, message):
    done = wenmo(*command, cwd=run.parent, code=2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
