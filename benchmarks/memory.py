"""Peak memory of training on a 1 GB text file, and the time of ``wenmo --help``.

python benchmarks/memory.py --data DIR
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from common import arguments, percentile, report

GIGABYTE = 1 << 30
MODELS = {
    "lstm": ["--steps", "50", "--tokenizer", "characters"],
    "gpt": ["--steps", "50", "--tokenizer", "bpe", "context_length=128"],
    "ngram": ["--tokenizer", "characters", "order=5"],
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--bytes", type=int, default=GIGABYTE)
    parser.add_argument("--only", nargs="*", help="models, by name")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    text = options.out / "large.txt"
    write_large(options.data, text, options.bytes)
    rows = []
    for model in options.only or MODELS:
        out = options.out / f"large-{model}"
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, "-m", "wenmo", "train", str(text), "--model", model]
        seconds, peak = measured([*command, "--out", str(out), *MODELS[model]])
        rows.append({"model": model, "seconds": seconds, "peak memory MB": peak})
        print(rows[-1], flush=True)
    text.unlink()
    helps = [measured([sys.executable, "-m", "wenmo", "--help"])[0] for _ in range(10)]
    rows.append({"model": "--help", "seconds": percentile(helps, 0.5), "peak memory MB": 0.0})
    report(f"Training on {options.bytes / GIGABYTE:.2g} GB", rows, options.json)


def write_large(data: Path, text: Path, size: int) -> None:
    """A file of ``size`` bytes that does not repeat itself line by line: words drawn anew."""
    import random

    rng = random.Random(0)
    words = (data / "lm" / "tinyshakespeare.txt").read_text("utf-8").split()
    with gzip.open(data / "zh" / "poems_train.jsonl.gz", "rt", encoding="utf-8") as file:
        words += [line[-60:-40] for line in file]
    with text.open("w", encoding="utf-8") as file:
        written = 0
        while written < size:
            block = "\n".join(" ".join(rng.choices(words, k=12)) for _ in range(2000)) + "\n"
            written += len(block.encode())
            file.write(block)


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds and peak resident megabytes of a command."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    return time.perf_counter() - begun, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
