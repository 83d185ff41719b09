"""Networks combined with n-gram counts, from end to end."""

from __future__ import annotations

import json

import pytest

STEPS = ["--steps", 12]
SMALL = ["embedding_size=16", "hidden_size=32", "dropout=0", "batch_size=4", "sequence_length=16"]


@pytest.fixture(scope="module")
def on_counts(wenmo, text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("counts")
    done = wenmo(
        "train", text, "--model", "lstm", "--out", "run", "--steps", 12, *SMALL, cwd=folder
    )
    assert "standing on counts of up to 7 tokens" in done.stderr
    return folder / "run"


def test_the_card_has_derived_and_requested_settings(on_counts):
    card = json.loads((on_counts / "wenmo.json").read_text(encoding="utf-8"))
    chosen = {"enabled": True, "order": 7, "folds": 5, "folds_used": 5, "extensible": True}
    breaks = card["ngram_prior"].pop("breaks")
    assert card["ngram_prior"] == chosen
    assert breaks[0] == 0  # END
    assert len(breaks) == 2  # and the line break
    options = {
        "enabled": None,
        "order": None,
        "folds": 5,
        "folds_used": None,
        "extensible": None,
    }
    options |= {"breaks": None}
    assert card["requested"]["ngram_prior"] == options


@pytest.mark.parametrize("breaks", ["[99999]", "[-1]", "[3,3]"])
def test_breaks_that_are_not_distinct_tokens_are_refused(wenmo, text, tmp_path, breaks):
    command = ("train", text, "--model", "lstm", "--out", tmp_path / "run", *STEPS, *SMALL)
    refused = wenmo(*command, f"ngram_prior.breaks={breaks}", cwd=tmp_path, code=2)
    assert "breaks" in refused.stderr
    assert not (tmp_path / "run" / "wenmo.json").exists()


def test_the_same_command_does_not_train_again(wenmo, on_counts, text):
    command = ("train", text, "--model", "lstm", "--out", "run", *STEPS, *SMALL)
    assert "nothing is left to do" in wenmo(*command, cwd=on_counts.parent).stderr
    refused = wenmo(*command, "--prior", "none", cwd=on_counts.parent, code=2)
    assert "ngram_prior.enabled" in refused.stderr


def test_generation_evaluation_and_dynamic_evaluation(wenmo, on_counts, text):
    options = ("--prompt", "The quick brown ", "--max-tokens", 9, "--method")
    for method in ("greedy", "beam"):
        assert "fox jumps" in wenmo("generate", on_counts, *options, method, cwd=text.parent).stdout
    command = ("evaluate", on_counts, text, "--json")
    figures = json.loads(wenmo(*command, cwd=text.parent).stdout)
    assert figures["bits_per_byte"] < 1  # twelve steps without counts do not reach it
    followed = json.loads(wenmo(*command, "--dynamic", 0, cwd=text.parent).stdout)
    assert followed["bits_per_byte"] == pytest.approx(figures["bits_per_byte"], rel=0.05)


def test_dynamic_evaluation_needs_a_recurrent_network(wenmo, runs, text):
    refused = wenmo("evaluate", runs["gpt"], text, "--dynamic", 0.1, cwd=text.parent, code=2)
    assert "recurrent networks" in refused.stderr


def test_the_cache_is_for_networks(wenmo, runs, on_counts, text):
    command = ("evaluate", runs["gpt"], text, "--json")
    figures = json.loads(wenmo(*command, cwd=text.parent).stdout)
    kept = json.loads(wenmo(*command, "--cache", 100, cwd=text.parent).stdout)
    assert kept["nats_per_token"] != figures["nats_per_token"]
    assert kept["nats_per_token"] < figures["nats_per_token"] + 3.3 / figures["tokens"]
    refused = wenmo("evaluate", runs["ngram"], text, "--cache", 9, cwd=text.parent, code=2)
    assert "a cache is for networks" in refused.stderr
    both = ("--cache", 9, "--dynamic", 0.1)
    refused = wenmo("evaluate", on_counts, text, *both, cwd=text.parent, code=2)
    assert "exclude each other" in refused.stderr


def test_explanation(wenmo, on_counts, text):
    done = wenmo("explain", on_counts, "The quick brown fox", "--json", cwd=text.parent)
    rows = json.loads(done.stdout)["tokens"]
    assert "".join(row["token"] for row in rows) == "The quick brown fox"
    assert rows[-1]["mixture_components"][-1]["name"] == "network"
    shown = wenmo("explain", on_counts, "The 狐", cwd=text.parent).stdout
    assert "counts of" in shown
    assert "␣" in shown
    assert "no text" in wenmo("explain", on_counts, "", cwd=text.parent, code=2).stderr


def test_network_and_counts_are_evaluated_apart(wenmo, on_counts):
    components = json.loads((on_counts / "wenmo.json").read_text())["results"]["parts"]
    assert set(components) == {"network", "counts", "mixture"}
    assert components["mixture"] < components["network"]


def test_a_note_about_too_little_text(wenmo, tmp_path):
    (tmp_path / "short.txt").write_text("春眠不觉晓，处处闻啼鸟。\n" * 40, encoding="utf-8")
    command = ("train", "short.txt", "--out", "run", "--steps", 2, *SMALL)
    assert "too few to divide" in wenmo(*command, cwd=tmp_path).stderr


def test_pairs_combine_with_counts_of_their_targets(wenmo, tmp_path):
    lines = [f"{n} and {n + 1}\t{n} und {n + 1}\n" for n in range(200)]
    (tmp_path / "pairs.tsv").write_text("".join(lines), encoding="utf-8")
    command = (
        "train",
        "pairs.tsv",
        "--task",
        "translation",
        "--model",
        "seq2seq:tiny",
        "--steps",
        5,
    )
    wenmo(*command, "--out", "run", "--prior", "ngram", "tokens_per_batch=200", cwd=tmp_path)
    done = wenmo("generate", "run", "--prompt", "7 and 8", "-n", 2, "--json", cwd=tmp_path)
    refused = wenmo("evaluate", "run", "pairs.tsv", "--dynamic", 0.1, cwd=tmp_path, code=2)
    assert "trained on plain text" in refused.stderr
    outputs = json.loads(done.stdout)["outputs"]
    assert len(outputs) == 2
    assert outputs[0]["logprob"] < 0


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    path = tmp_path_factory.mktemp("other") / "new.txt"
    lines = [
        f"The quick red fox number {n} jumps over {n * n} lazy cats today.\n" for n in range(99)
    ]
    path.write_text("".join(lines), encoding="utf-8")
    return path


FURTHER = ("--steps", 3, "eval_count=1", "sequence_length=16")


def test_further_training_extends_the_counts(wenmo, on_counts, other, text, tmp_path):
    command = ("train", other, "--from", on_counts, "--out", "run", *FURTHER)
    assert "are kept, and those of this text added" in wenmo(*command, cwd=tmp_path).stderr
    card = json.loads((tmp_path / "run" / "wenmo.json").read_text(encoding="utf-8"))
    assert card["ngram_prior"]["enabled"] is True
    components = card["results"]["parts"]
    assert components["mixture"] < components["network"]
    figures = wenmo("evaluate", "run", text, "--json", cwd=tmp_path).stdout
    assert json.loads(figures)["bits_per_byte"] < 1  # the earlier counts are kept
    assert "nothing is left to do" in wenmo(*command, cwd=tmp_path).stderr


def test_counts_of_the_same_text_are_not_inherited(wenmo, on_counts, other, text, tmp_path):
    again = wenmo("train", text, "--from", on_counts, "--out", "same", *FURTHER, cwd=tmp_path)
    assert "its counts are made anew" in again.stderr
    mixed = tmp_path / "mixed.txt"
    half = "".join(text.read_text("utf-8").splitlines(True)[:1]) * 40
    mixed.write_text(half + other.read_text("utf-8")[:200], encoding="utf-8")
    command = ("train", mixed, "--from", on_counts, "--out", "mixed", *FURTHER)
    refused = wenmo(*command, cwd=tmp_path, code=2).stderr
    assert "of this text is in the counts of" in refused
    assert not (tmp_path / "mixed").exists()
    wenmo(*command, "--prior", "none", cwd=tmp_path)


def test_an_ngram_model_is_extended(wenmo, runs, other, text, tmp_path):
    command = ("train", other, "--from", runs["ngram"], "--out", "run")
    assert "are kept, and those of this text added" in wenmo(*command, cwd=tmp_path).stderr
    for data in (text, other):
        figures = [
            json.loads(wenmo("evaluate", run, data, "--json", cwd=tmp_path).stdout)["bits_per_byte"]
            for run in ("run", runs["ngram"])
        ]
        assert figures[0] < 1
    assert figures[0] < figures[1]
