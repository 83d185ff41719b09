"""What each family comes to after 50 steps at a fixed seed, to be compared between two versions.

    python benchmarks/losses.py --data DIR --json before.json
    python benchmarks/losses.py --data DIR --against before.json

Each run is trained, scored and written with by the command line, in processes of one thread. It
tells the largest relative difference of all losses from those of the other version, and whether the
texts are the same. The final loss is that of the last step; held-out figures are of the final
weights.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

from common import arguments, report

RECORDS = 2000  # of each training text
SAMPLED = ["-n", "4", "--temperature", "1", "--seed", "5", "--max-tokens", "40"]
POEMS = ["poems.jsonl", "--valid", "poems_valid.jsonl", "--text-field", "lines"]
COUPLETS = ["couplets.tsv", "--valid", "couplets_valid.tsv", "--task", "paraphrase"]
RUNS: dict[str, list[str]] = {
    "grammar": ["letters.txt", "--unit", "line", "--model", "grammar", "grammar=letters.json"],
    "ngram": [*POEMS, "--model", "ngram"],
    "rnn": [*POEMS, "--model", "rnn:tiny"],
    "lstm": [*POEMS, "--model", "lstm:tiny"],
    "gru": [*POEMS, "--model", "gru:tiny"],
    "gpt": [*POEMS, "--model", "gpt:tiny"],
    "gpt, no counts": [*POEMS, "--model", "gpt:tiny", "--prior", "none"],
    "gpt, control": [*POEMS, "--model", "gpt:tiny", "--control", "form"],
    "seq2seq": [*COUPLETS, "--model", "seq2seq:tiny"],
    "transformer": [*COUPLETS, "--model", "transformer:tiny"],
    "masked": [*POEMS, "--model", "masked:tiny"],
    "vae": [*POEMS, "--model", "vae:tiny"],
    "gan": [*POEMS, "--model", "gan:tiny"],
}
PROMPTS = {"seq2seq": "绿水", "transformer": "绿水"}


def write_data(data: Path, folder: Path) -> None:
    """Small files of real text."""
    folder.mkdir(parents=True, exist_ok=True)
    zh = data / "zh"
    with gzip.open(zh / "poems_train.jsonl.gz", "rt", encoding="utf-8") as lines:
        (folder / "poems.jsonl").write_text("".join(islice(lines, RECORDS)), "utf-8")
    for name, source, count in (
        ("poems_valid.jsonl", "poems_valid.jsonl", 200),
        ("couplets.tsv", "couplets_train.tsv", RECORDS),
        ("couplets_valid.tsv", "couplets_test.tsv", 200),
    ):
        with (zh / source).open(encoding="utf-8") as lines:
            (folder / name).write_text("".join(islice(lines, count)), "utf-8")
    letters = {"origin": ["#letter#", "#letter# #origin#"], "letter": ["a", "b", "c"]}
    (folder / "letters.json").write_text(json.dumps(letters))
    (folder / "letters.txt").write_text("a\na b\nc\nb b a\n" * 20)


def wenmo(*arguments: str, folder: Path) -> Any:
    """What a command prints as JSON."""
    threads = {"OMP_NUM_THREADS": "1", "WENMO_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "wenmo", *arguments, "--json"]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | threads, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def measure(name: str, asked: list[str], folder: Path) -> dict[str, Any]:
    """The losses of one run, and what it writes."""
    out = folder / "runs" / name.replace(", ", "-")
    by_steps = [] if name in ("grammar", "ngram") else ["--steps", "50"]
    trained = wenmo("train", *asked, "--out", str(out), *by_steps, "--seed", "0", folder=folder)
    steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    written = wenmo(
        "generate", str(out), "--prompt", PROMPTS.get(name, ""), *SAMPLED, folder=folder
    )
    scored = wenmo("evaluate", str(out), asked[0], folder=folder)
    return {
        "losses": [step["loss"] for step in steps if "loss" in step],
        "heldout": trained["heldout"]["bits_per_byte"],
        "training text": scored["bits_per_byte"],
        "texts": _texts(written),
    }


def _texts(written: Any) -> list[str]:
    """All texts of a command's JSON."""
    if isinstance(written, dict):
        own = [written["text"]] if isinstance(written.get("text"), str) else []
        return own + [text for value in written.values() for text in _texts(value)]
    return (
        [text for value in written for text in _texts(value)] if isinstance(written, list) else []
    )


def compared(now: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The largest relative difference of two versions' figures, and whether the texts are equal."""
    pairs = [
        *zip(now["losses"], before["losses"], strict=True),
        *((now[key], before[key]) for key in ("heldout", "training text")),
    ]
    return {
        "relative difference": f"{max(abs(a - b) / abs(b) for a, b in pairs):.1e}",
        "same texts": now["texts"] == before["texts"],
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("runs", nargs="*", default=list(RUNS), help="; ".join(RUNS))
    parser.add_argument("--against", type=Path, help="the JSON file of another version")
    options = parser.parse_args()
    folder = (options.out / "losses").resolve()
    write_data(options.data, folder)
    before = json.loads(options.against.read_text("utf-8"))["runs"] if options.against else {}
    figures = {name: measure(name, RUNS[name], folder) for name in options.runs}
    rows = [
        {
            "run": name,
            "last loss": f"{found['losses'][-1]:.6f}" if found["losses"] else "",
            "held-out bits/byte": f"{found['heldout']:.6f}",
            "training text": f"{found['training text']:.6f}",
            **(compared(found, before[name]) if name in before else {}),
        }
        for name, found in figures.items()
    ]
    report("Losses after 50 steps", rows, options.json, runs=figures)


if __name__ == "__main__":
    main()
