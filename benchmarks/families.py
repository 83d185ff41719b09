"""Every family on English and Chinese, in bits per byte, with a few minutes of training each.

python benchmarks/families.py --data DIR --minutes 5
python benchmarks/families.py --data DIR --minutes 1 3 --models lstm --prior none ngram
"""

from __future__ import annotations

import argparse
from itertools import product
from typing import Any

import wenmo
from common import arguments, report

TEXTS: dict[str, dict[str, Any]] = {
    "tinyshakespeare": {"train": "lm/tinyshakespeare.txt"},
    "Tang poems": {
        "train": "zh/poems_train.jsonl.gz",
        "valid": "zh/poems_valid.jsonl",
        "test": "zh/poems_test.jsonl",
        "read.text_field": "lines",
    },
    "self-dialogues": {
        "train": "dialogue/en_selfdialogue_train.jsonl.gz",
        "valid": "dialogue/en_selfdialogue_valid.jsonl",
        "test": "dialogue/en_selfdialogue_test.jsonl",
        "read.text_field": "turns",
    },
}
MODELS: dict[str, dict[str, Any]] = {
    "ngram": {"order": 6},
    "lstm": {"embedding_size": 256, "hidden_size": 512},
    "gpt": {"hidden_size": 192, "context_length": 128, "batch_size": 8},
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0])
    parser.add_argument("--only", nargs="*", default=list(TEXTS), help="texts, by name")
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--prior", nargs="*", default=["none"], help="none, ngram")
    options = parser.parse_args()
    rows = []
    for text, model in product(options.only, options.models):
        counted = model == "ngram"  # once, whatever the minutes, and on nothing but itself
        priors, budgets = (["none"], [0.0]) if counted else (options.prior, options.minutes)
        for prior, minutes in product(priors, budgets):
            rows.append(measure(text, model, prior, minutes, options))
            report("Every family", rows, options.json)


def measure(
    text: str, model: str, prior: str, minutes: float, options: argparse.Namespace
) -> dict[str, Any]:
    """Train once, and score the test file, or what was held out where there is none."""
    files = TEXTS[text]
    settings = {key: value for key, value in files.items() if "." in key}
    settings |= {**MODELS[model], "ngram_prior.enabled": prior, "train.seed": options.seed}
    name = "-".join([text.replace(" ", "-"), model, prior, f"{minutes:g}"])
    run = wenmo.fit(
        options.data / files["train"],
        valid=options.data / files["valid"] if "valid" in files else None,
        model=model,
        out=options.out / "families" / name,
        settings=settings | ({"minutes": minutes} if minutes else {}),
        on_progress=lambda what, share: print(what) if share is None else None,
    )
    results = run.card.results
    heldout = results["heldout"]
    test = heldout
    if "test" in files:
        test = run.evaluate(options.data / files["test"]).to_dict()
    return {
        "text": text,
        "model": model,
        "on counts": "yes" if prior == "ngram" else "no",
        "parameters": results["parameters"],
        "held-out bits/byte": heldout["bits_per_byte"],
        "test bits/byte": test["bits_per_byte"],
        "perplexity/token": test["perplexity"],
        "training s": results["seconds"],
        "writing chars/s": results["characters_per_second"],
    }


if __name__ == "__main__":
    main()
