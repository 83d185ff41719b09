"""Finished runs that train for more steps, and refusals with advice."""

from __future__ import annotations

import json

import pytest

SMALL = [
    "--model",
    "lstm",
    "embedding_size=8",
    "hidden_size=8",
    "layers=1",
    "batch_size=4",
    "ngram_prior.enabled=false",
]


@pytest.fixture(scope="module")
def finished(wenmo, text, tmp_path_factory):
    """A folder with a finished run of twelve steps."""
    folder = tmp_path_factory.mktemp("further")
    wenmo("train", text, *SMALL, "--out", "run", "--steps", 12, "eval_count=2", cwd=folder)
    return folder


def card_of(folder):
    return json.loads((folder / "run" / "wenmo.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", 7], "run: was trained with --steps 12, and 7 is less: give more --steps"),
        (["--minutes", 5], "run: was trained with --steps 12: give more --steps to go on"),
        (
            ["--steps", 30, "learning_rate=0.5"],
            "run: holds a run with other settings: train.learning_rate (0.5 here",
        ),
    ],
)
def test_a_smaller_budget_and_different_settings_are_refused(
    wenmo, text, finished, arguments, message
):
    command = ["train", text, *SMALL, "--out", "run", "eval_count=2", *arguments]
    stderr = wenmo(*command, cwd=finished, code=2).stderr
    assert message in stderr
    assert "wenmo train DATA --from run --out run-2" in stderr
    assert len(stderr.splitlines()) == 1


def test_more_steps_resume_with_a_new_warmup(wenmo, text, finished):
    before = card_of(finished)["results"]
    command = ["train", text, *SMALL, "--out", "run", "eval_count=2"]
    stderr = wenmo(*command, "--steps", 40, cwd=finished).stderr
    assert "going on from step 12" in stderr
    after = card_of(finished)
    assert (after["results"]["steps"], after["finished"]) == (40, True)
    [ended] = after["results"]["history"]
    assert (ended["steps"], ended["heldout"]) == (12, before["heldout"])
    assert after["requested"]["train"]["steps"] == after["train"]["steps"] == 40
    lines = (finished / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rates = {
        each["step"]: each["learning_rate"] for each in map(json.loads, lines) if "loss" in each
    }
    assert rates[12] < 0.1  # the end of the first schedule
    assert 0.3 < rates[20] <= 0.5  # half the peak, and falling
    assert rates[40] < 0.05
    assert after["results"]["verdict"]["originality"]["words"] > 0
    assert after["results"]["verdict"]["counts_bits_per_byte"] > 0
    assert "trained already" in wenmo(*command, "--steps", 40, cwd=finished).stderr


def test_an_overfitted_run_does_not_train_on(wenmo, text, finished):
    command = ["train", text, *SMALL, "--out", "heart", "eval_count=2", "patience=2"]
    wenmo(*command, "--steps", 12, cwd=finished)
    path = finished / "heart" / "wenmo.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    overfits = {"gain": 0.0, "low": 0.0, "high": 0.0, "best_at": 0.5, "overfits": True}
    card["results"]["best_step"] = 6
    card["results"]["verdict"] |= {"forecast": overfits, "advice": "more text"}
    path.write_text(json.dumps(card), encoding="utf-8")
    stderr = wenmo(*command, "--steps", 40, cwd=finished).stderr
    assert "more time gains nothing: held-out text was likeliest at step 6 of 12" in stderr
    assert "to try: more text (patience=0 trains on all the same)" in stderr
    assert json.loads(path.read_text(encoding="utf-8")) == card
    without_patience = [word for word in command if word != "patience=2"]
    assert (
        "going on from step 12"
        in wenmo(*without_patience, "patience=0", "--steps", 40, cwd=finished).stderr
    )
