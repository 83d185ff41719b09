"""A run that is killed at any step and resumed ends with the same weights, bit for bit."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

SETTINGS = {
    "lstm": ["embedding_size=16", "hidden_size=24", "layers=2", "dropout=0.2"],
    "gpt": [
        "hidden_size=16",
        "layers=1",
        "heads=2",
        "context_length=16",
        "dropout=0.1",
        "optimizer=muon",
    ],
    "masked": ["hidden_size=16", "layers=1", "heads=2", "context_length=17", "dropout=0.1"],
}


ADAPTERS = ["lora_rank=2", "sequence_length=16"]


def command(text, model, out):
    start = ["--from", str(out.parent / "base")] if model == "adapters" else ["--model", model]
    settings = ADAPTERS if model == "adapters" else SETTINGS[model]
    train = [sys.executable, "-m", "wenmo", "train", str(text), *start, "--out", str(out)]
    return [
        *train,
        "--steps",
        "60",
        "batch_size=4",
        "checkpoint_seconds=0",
        "eval_count=2",
        *settings,
    ]


def final_weights(run):
    newest = max((run / "checkpoints").glob("*.safetensors"))
    assert int(newest.stem) == 60
    return hashlib.sha256(newest.read_bytes()).hexdigest()


@pytest.mark.parametrize("model", [*SETTINGS, "adapters"])
def test_sigkill_at_random_times(wenmo, text, tmp_path, model):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    if model == "adapters":
        small = [*SETTINGS["gpt"], "ngram_prior.enabled=false", "--steps", 3]
        wenmo("train", text, "--model", "gpt", "--out", "base", *small, cwd=tmp_path)
    wenmo(*command(text, model, tmp_path / "uninterrupted")[3:], cwd=tmp_path)
    rng = random.Random(model)
    run = tmp_path / "killed"
    for _ in range(2):
        process = subprocess.Popen(command(text, model, run), env=env, stderr=subprocess.DEVNULL)
        checkpoints = run / "checkpoints"
        before = len(list(checkpoints.glob("*.json"))) and max(checkpoints.glob("*.json"))
        while process.poll() is None:
            found = sorted(checkpoints.glob("*.json"))
            if found and found[-1] != before and int(found[-1].stem) >= 5:
                break
            time.sleep(0.01)
        time.sleep(rng.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
    wenmo(*command(text, model, run)[3:], cwd=tmp_path)
    assert final_weights(run) == final_weights(tmp_path / "uninterrupted")


def test_ctrl_c_saves_and_says_how_to_resume(text, tmp_path):
    run = tmp_path / "run"
    arguments = [*command(text, "lstm", run), "steps=100000"]
    arguments[arguments.index("60")] = "100000"
    process = subprocess.Popen(arguments[:-1], stderr=subprocess.PIPE, encoding="utf-8")
    while not list((run / "checkpoints").glob("*[1-9].json")):
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "saved at step" in stderr
    assert "same command" in stderr
    assert not json.loads((run / "wenmo.json").read_text(encoding="utf-8"))["finished"]
