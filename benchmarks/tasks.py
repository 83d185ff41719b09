"""Every other task on real pairs: translation into Chinese, couplets, summaries, dialogue.

    python benchmarks/tasks.py --data DIR --minutes 5
    python benchmarks/tasks.py --data DIR --minutes 5 couplets dialogue

Trained on the training file; the best weights on the validation file (or on a held-out part of the
training file where there is none) are scored on the test file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wenmo
from common import arguments, report

PAIRS = {"tokens_per_batch": 2048, "label_smoothing": 0.1, "dropout": 0.2}


@dataclass(frozen=True)
class Work:
    """Files, task and settings."""

    train: str
    test: str
    task: str
    model: str = "transformer:tiny"
    valid: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


WORKS = {
    "tatoeba": Work(
        "mt/tatoeba_en_zh/train.tsv",
        "mt/tatoeba_en_zh/test.tsv",
        "translation",
        valid="mt/tatoeba_en_zh/valid.tsv",
        settings={"tokenizer.kind": "bpe", "vocab_size": 8000},
    ),
    "couplets": Work("zh/couplets_train.tsv", "zh/couplets_test.tsv", "paraphrase"),
    "csl": Work(
        "summarization/zh_csl_train.jsonl",
        "summarization/zh_csl_test.jsonl",
        "summarization",
        "seq2seq",
        valid="summarization/zh_csl_valid.jsonl",
        settings={"copy": True, "tokens_per_batch": 4096, "dropout": 0.3},
    ),
    "scitldr": Work(
        "summarization/en_scitldr_train.jsonl.gz",
        "summarization/en_scitldr_dev.jsonl",
        "summarization",
        "seq2seq",
        settings={
            "copy": True,
            "tokens_per_batch": 4096,
            "dropout": 0.3,
            "tokenizer.kind": "bpe",
            "vocab_size": 4000,
        },
    ),
    "dialogue": Work(
        "dialogue/en_selfdialogue_train.jsonl.gz",
        "dialogue/en_selfdialogue_test.jsonl",
        "dialogue",
        valid="dialogue/en_selfdialogue_valid.jsonl",
        settings={"tokenizer.kind": "bpe", "vocab_size": 4000, "history": 2, "dropout": 0.1},
    ),
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("works", nargs="*", choices=[*WORKS, []], help="which [default: all]")
    options = parser.parse_args()
    rows = []
    for name in options.works or WORKS:
        work = WORKS[name]
        settings = {**PAIRS, **work.settings}
        run = wenmo.fit(
            options.data / work.train,
            model=work.model,
            task=work.task,
            valid=options.data / work.valid if work.valid else None,
            out=options.out / f"{name}-{options.minutes:g}-{options.seed}",
            settings={**settings, "minutes": options.minutes, "train.seed": options.seed},
        )
        figures = run.evaluate(options.data / work.test)
        metrics = {metric: m.value for metric, m in figures.metrics.items()}
        if name == "couplets":
            metrics["equal length %"] = equal_lengths(run, options.data / work.test)
        rows.append(
            {
                "work": name,
                "model": work.model,
                "weights": run.card.results["parameters"],
                "bits/byte": figures.bits_per_byte,
                "perplexity": figures.perplexity,
                "test": ", ".join(f"{metric} {value:.2f}" for metric, value in metrics.items()),
            }
        )
        report(f"{options.minutes:g} minutes each, seed {options.seed}", rows, options.json)


def equal_lengths(run: wenmo.Run, test: Path) -> float:
    """The share of second lines that are as long as the first."""
    firsts = [line.split("\t")[0] for line in test.read_text("utf-8").splitlines()]
    seconds = [group[0].text for group in run.write(firsts)]
    equal = sum(len(a) == len(b) for a, b in zip(firsts, seconds, strict=True))
    return 100 * equal / len(firsts)


if __name__ == "__main__":
    main()
