"""Every family on English and Chinese, in bits per byte, with a few minutes of training each.

python benchmarks/families.py --data DIR --minutes 5
"""

from __future__ import annotations

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
}
MODELS: dict[str, dict[str, Any]] = {
    "ngram": {"order": 6},
    "lstm": {"embedding": 256, "hidden": 512},
    "gpt": {"width": 192, "context": 128, "rows": 8},
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--only", nargs="*", help="texts, by name")
    options = parser.parse_args()
    rows = []
    for name, text in TEXTS.items():
        if options.only and name not in options.only:
            continue
        for model, settings in MODELS.items():
            reading = {key: value for key, value in text.items() if "." in key}
            run = wenmo.fit(
                options.data / text["train"],
                valid=options.data / text["valid"] if "valid" in text else None,
                model=model,
                out=options.out / "families" / name.replace(" ", "-") / model,
                settings={
                    **settings,
                    **reading,
                    "minutes": options.minutes,
                    "train.seed": options.seed,
                },
                tell=lambda what, share: print(what) if share is None else None,
            )
            results = run.card.results
            heldout = results["heldout"]
            test = run.evaluate(options.data / text["test"]) if "test" in text else heldout
            rows.append(
                {
                    "text": name,
                    "model": model,
                    "parameters": results["parameters"],
                    "held-out bits/byte": heldout["bits_per_byte"],
                    "test bits/byte": test["bits_per_byte"],
                    "perplexity/char": test["perplexity"],
                    "training s": results["seconds"],
                    "writing chars/s": results["characters_per_second"],
                }
            )
            print(rows[-1], flush=True)
    report(f"Each at most {options.minutes:g} minutes of training", rows, options.json)


if __name__ == "__main__":
    main()
