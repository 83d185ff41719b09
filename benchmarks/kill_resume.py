"""Kill a training with SIGKILL at random moments, resume it, and compare the last weights with
those of a run that was left alone: they must be equal bit for bit.

    python benchmarks/kill_resume.py --data DIR --kills 20
"""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from common import arguments, report

MODELS = {
    "lstm": [
        "embedding_size=32",
        "hidden_size=128",
        "layers=2",
        "dropout=0.2",
        "batch_size=8",
        "sequence_length=32",
    ],
    "gpt": [
        "hidden_size=64",
        "layers=2",
        "heads=2",
        "context_length=64",
        "dropout=0.1",
        "optimizer=muon",
    ],
}
STEPS = 300


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--kills", type=int, default=20, help="in all, shared by the models")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    rows = []
    for model, settings in MODELS.items():
        folder = options.out / f"kill-{model}"
        shutil.rmtree(folder, ignore_errors=True)
        text = options.data / "lm" / "tinyshakespeare.txt"
        train = [sys.executable, "-m", "wenmo", "train", str(text), "--model", model]
        train += ["--steps", str(STEPS), "checkpoint_seconds=0.2", *settings]
        begun = time.perf_counter()
        subprocess.run([*train, "--out", str(folder / "whole")], check=True, capture_output=True)
        whole = time.perf_counter() - begun
        wanted = weights(folder / "whole")
        equal, moments = 0, []
        for number in range(options.kills // len(MODELS)):
            run = folder / f"killed-{number}"
            moments.append(kill_at(rng.uniform(0.3, 0.98) * whole, [*train, "--out", str(run)]))
            subprocess.run([*train, "--out", str(run)], check=True, capture_output=True)
            equal += weights(run) == wanted
        rows.append(
            {
                "model": model,
                "kills": options.kills // len(MODELS),
                "equal bit for bit": equal,
                "killed after s": " ".join(f"{moment:.1f}" for moment in moments),
            }
        )
    report(f"SIGKILL and resume, {STEPS} steps", rows, options.json)


def kill_at(moment: float, command: list[str]) -> float:
    """Run a command and kill it after so many seconds; return when it was killed."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return time.perf_counter() - begun


def weights(run: Path) -> str:
    """The fingerprint of all that the last checkpoint holds: weights, optimizer, carried state."""
    last = max((run / "checkpoints").glob("*.safetensors"))
    assert int(last.stem) == STEPS, f"{run} stopped at {last.stem}"
    return hashlib.sha256(last.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
