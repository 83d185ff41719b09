"""The variational autoencoder from end to end, in Chinese and English."""

from __future__ import annotations

import json
from itertools import product

import pytest

import wenmo as program

SMALL = [
    "embedding_size=16",
    "hidden_size=48",
    "latent_size=4",
    "dropout=0",
    "learning_rate=0.02",
    "tokens_per_batch=512",
]
VERSES = ["春眠不觉晓", "夜来风雨声", "床前明月光", "疑是地上霜"]
DOGS = [f"The {how} dog {what}." for how, what in product(["old", "quick"], ["barks", "runs"])]


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    path = tmp_path_factory.mktemp("vae") / "lines.txt"
    path.write_text("".join(f"{line}\n" for line in (VERSES + DOGS) * 12), encoding="utf-8")
    (path.parent / "old.txt").write_text("The old dog barks.\nThe old dog runs.\n")
    (path.parent / "quick.txt").write_text("The quick dog barks.\nThe quick dog runs.\n")
    return path


@pytest.fixture(scope="module")
def run(train_until, lines):
    options = ("--model", "vae", *SMALL, "free_bits=6")
    done = train_until(lines, "run", *options, steps=150, bits_per_byte=0.7, cwd=lines.parent)
    assert "mutual information" in done.stderr
    assert "of 4 latents active" in done.stdout
    assert "counts" not in done.stderr  # a VAE does not use them by default
    return lines.parent / "run"


def outputs(wenmo, run, *arguments):
    done = wenmo(*arguments, "--json", cwd=run.parent)
    return json.loads(done.stdout)["outputs"]


def test_a_line_of_plain_text_is_a_record(run):
    card = json.loads((run / "wenmo.json").read_text(encoding="utf-8"))
    assert card["read"]["unit"] == "line"
    assert card["data"]["train"]["records"] + card["data"]["valid"]["records"] == 96
    heldout = card["results"]["heldout"]
    assert heldout["bound"] is True
    assert heldout["latents"] == 4
    assert heldout["kl"] >= heldout["mutual_information"] > 1
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {"kl", "kl_weight", "heldout_mutual_information"} <= {name for s in steps for name in s}


def test_generation_from_the_prior(wenmo, run):
    command = ("generate", run, "-n", 8, "--seed", 0)
    texts = [out["text"] for out in outputs(wenmo, run, *command)]
    assert len(set(texts)) > 3
    again = [out["text"] for out in outputs(wenmo, run, *command)]
    assert again == texts
    continued = outputs(wenmo, run, "generate", run, "--prompt", "床前", "--method", "beam")
    assert continued[0]["text"]


def test_reconstruction_walk_and_edit(wenmo, run):
    ends = ["春眠不觉晓", "The old dog barks."]
    options = [argument for text in ends for argument in ("--reconstruct", text)]
    again = outputs(wenmo, run, "latent", run, *options)
    assert [out["source"] for out in again] == ends
    assert again[0]["text"] in VERSES
    assert again[1]["text"] in DOGS
    walk = outputs(wenmo, run, "latent", run, "--walk", *ends, "--steps", 5)
    assert [out["share"] for out in walk] == [0, 0.25, 0.5, 0.75, 1]
    assert [walk[0]["text"], walk[-1]["text"]] == [out["text"] for out in again]
    files = ("--toward", "old.txt", "--from", "quick.txt")
    [edited] = outputs(wenmo, run, "latent", run, "--edit", "The quick dog runs.", *files)
    assert edited["source"] == "The quick dog runs."
    drawn = outputs(wenmo, run, "latent", run, *options, "--draw", 3, "--method", "sample")
    assert len(drawn) == 2
    shown = wenmo("latent", run, "--walk", *ends, "--steps", 2, cwd=run.parent).stdout
    assert shown.splitlines() == ["0%", again[0]["text"], "100%", again[1]["text"]]


def test_records_are_scored_by_the_bound_and_by_importance_weighting(wenmo, run, lines):
    command = ("evaluate", run, lines, "--samples", 8)
    figures = json.loads(wenmo(*command, "--json", cwd=run.parent).stdout)
    assert figures["bound"] is True
    assert figures["records"] == 96
    weighted = figures["importance_weighted"]
    assert weighted["samples"] == 8
    assert weighted["nats_per_record"] < figures["nats_per_record"]
    shown = wenmo(*command, cwd=run.parent).stdout
    assert "96 records" in shown
    assert "8 importance-weighted draws" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["latent", "RUN"], "give one of --reconstruct"),
        (["latent", "RUN", "--walk", "春", "夜", "--edit", "春"], "give one of"),
        (["latent", "RUN", "--edit", "春"], "--toward FILE and --from FILE"),
        (["latent", "RUN", "--walk", "春", "夜", "--steps", "1"], "at least 2 steps"),
        (["latent", "RUN", "--reconstruct", " "], "give a text"),
        (["latent", "RUN", "--reconstruct", "春" * 300], "shorten it"),
        (["evaluate", "RUN", "lines.txt", "--cache", "9"], "leave --cache out"),
        (["evaluate", "RUN", "lines.txt", "--dynamic", "0.1"], "leave --dynamic out"),
        (["train", "lines.txt", "--model", "vae", "context_length=4"], "raise context="),
        (["train", "lines.txt", "--model", "vae", "--unit", "document"], "context"),
        (
            ["train", "lines.txt", "--model", "vae", "annealing_ratio=2"],
            "annealing_ratio must be from 0 to 1",
        ),
        (
            [*("train", "lines.txt", "--target", "lines.txt"), "--task=paraphrase", "--model=vae"],
            "cannot answer to a source",
        ),
    ],
)
def test_unsupported_options_are_refused_in_one_line(wenmo, run, arguments, message):
    command = [run if argument == "RUN" else argument for argument in arguments]
    before = sorted(run.parent.iterdir())
    done = wenmo(*command, cwd=run.parent, code=2)
    assert message in done.stderr.splitlines()[-1]
    assert sorted(run.parent.iterdir()) == before


def test_families_without_latents_refuse_latent_options(wenmo, lines, tmp_path):
    wenmo("train", lines, "--model", "ngram", "--out", "run", cwd=tmp_path)
    refused = wenmo("latent", "run", "--reconstruct", "春", cwd=tmp_path, code=2)
    assert "no latents" in refused.stderr
    refused = wenmo("evaluate", "run", lines, "--samples", 3, cwd=tmp_path, code=2)
    assert "leave --samples out" in refused.stderr


def test_posterior_collapse_is_reported_once(wenmo, lines, tmp_path):
    command = ("train", lines, "--model", "vae", "--out", "run", "--steps", 40, *SMALL)
    done = wenmo(*command, "free_bits=0", "annealing=none", "kl_peak=3", cwd=tmp_path)
    assert done.stderr.count("the posterior has collapsed") == 0  # too few held-out records
    command = (*command[:4], "--out", "more", *command[6:], "--valid", lines)
    done = wenmo(*command, "free_bits=0", "annealing=none", "kl_peak=3", cwd=tmp_path)
    assert done.stderr.count("the posterior has collapsed") == 1
    assert "raise free_bits=" in done.stderr.lower()
    notes = (tmp_path / "more" / "metrics.jsonl").read_text(encoding="utf-8")
    assert "collapsed" in notes


def test_resuming_is_exact(lines, tmp_path):
    """With cyclical annealing, extra encoder steps and word dropout."""
    settings = {
        "steps": 9,
        "hidden_size": 16,
        "embedding_size": 8,
        "latent_size": 4,
        "tokens_per_batch": 256,
        "checkpoint_seconds": 0,
        "eval_count": 1,
        "word_dropout": 0.3,
        "annealing": "cyclical",
        "aggressive_ratio": 0.6,
        "encoder_steps": 2,
        "free_bits": 1,
    }

    def fit(name, on_event=None):
        program.fit(lines, model="vae", out=tmp_path / name, settings=settings, on_event=on_event)
        [newest] = (tmp_path / name / "checkpoints").glob("000000009.safetensors")
        return newest.read_bytes()

    def stop(event):
        if event.kind == "step" and event.state.step == 5:
            raise RuntimeError("a power cut")

    with pytest.raises(RuntimeError, match="power"):
        fit("stopped", stop)
    assert fit("stopped") == fit("uninterrupted")


def test_a_vae_combines_with_ngram_counts(wenmo, lines, tmp_path):
    command = ("train", lines, "--model", "vae", "--prior", "ngram", "--out", "run", "--steps", 30)
    done = wenmo(*command, *SMALL, cwd=tmp_path)
    assert "standing on counts" in done.stderr
    reconstruct = ("latent", "run", "--reconstruct", "疑是地上霜", "--json")
    [out] = json.loads(wenmo(*reconstruct, cwd=tmp_path).stdout)["outputs"]
    assert out["logprob"] < 0
    figures = json.loads(wenmo("evaluate", "run", lines, "--json", cwd=tmp_path).stdout)
    assert figures["bound"] is True
    explained = wenmo("explain", "run", "疑是地上霜", "--json", cwd=tmp_path).stdout
    assert len(json.loads(explained)["tokens"]) == 5
