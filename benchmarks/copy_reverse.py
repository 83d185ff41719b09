"""Copy and reverse strings of 10 to 20 letters: what only attention can do well.

    python benchmarks/copy_reverse.py

No string of the test is trained on. The figure is the share of strings without any mistake.
"""

from __future__ import annotations

import random
import string
from pathlib import Path

import wenmo
from common import arguments, report

MODELS = {
    "seq2seq": {
        "cell": "gru",
        "embedding_size": 64,
        "hidden_size": 256,
        "dropout": 0.0,
        "learning_rate": 0.003,
    },
    "transformer": {
        "hidden_size": 128,
        "layers": 2,
        "encoder_layers": 2,
        "heads": 4,
        "dropout": 0.0,
    },
}
STEPS = {"seq2seq": 1200, "transformer": 1500}
TRAINED, TESTED = 30_000, 1000


def main() -> None:
    options = arguments(__doc__).parse_args()
    rows = []
    for work in ("copy", "reverse"):
        folder = options.out / f"{work}-{options.seed}"
        write_pairs(folder, work, options.seed)
        for model, settings in MODELS.items():
            run = wenmo.fit(
                folder / "train.tsv",
                model=model,
                task="translation",
                out=folder / model,
                valid=folder / "test.tsv",
                settings={
                    "steps": STEPS[model],
                    "tokens_per_batch": 2048,
                    "label_smoothing": 0.0,
                    "train.seed": options.seed,
                    **settings,
                },
            )
            results = run.card.results
            exact = results["heldout"]["metrics"]["exact"]
            rows.append(
                {
                    "work": work,
                    "model": model,
                    "weights": results["parameters"],
                    "exact %": exact["value"],
                    "interval": f"{exact['low']:.1f} to {exact['high']:.1f}",
                    "seconds": results["seconds"],
                }
            )
    report(f"Strings of 10 to 20 letters, seed {options.seed}", rows, options.json)


def write_pairs(folder: Path, work: str, seed: int) -> None:
    """``train.tsv`` and ``test.tsv``, without a header."""
    drawn = random.Random(seed)
    strings: dict[str, None] = {}
    while len(strings) < TRAINED + TESTED:
        strings["".join(drawn.choices(string.ascii_lowercase, k=drawn.randint(10, 20)))] = None
    lines = [f"{s}\t{s if work == 'copy' else s[::-1]}\n" for s in strings]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.tsv").write_text("".join(lines[:TRAINED]), encoding="utf-8")
    (folder / "test.tsv").write_text("".join(lines[TRAINED:]), encoding="utf-8")


if __name__ == "__main__":
    main()
