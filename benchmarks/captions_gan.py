"""Captions of COCO: quality and diversity of likelihood, SeqGAN and RelGAN over temperatures. The
published baseline of likelihood, under its own tokenization, has BLEU-4 .305 and Self-BLEU-4 .583.

    python benchmarks/captions_gan.py --data DIR --minutes 5 --seeds 0 1 2

Each run learns by likelihood for half of its time, and from its critic for the rest; what
likelihood alone had reached is swept beside it. Texts are set beside captions that were not trained
on.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import wenmo
from common import arguments, report
from wenmo.api import tradeoff
from wenmo.evaluation.tradeoff import tradeoff_svg

TEMPERATURES = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1)
TEXTS = 500
METHODS: dict[str, dict[str, Any]] = {
    "SeqGAN": {"method": "policy", "rollouts": 2, "adversarial_learning_rate": 1e-3},
    "RelGAN": {"method": "relaxed", "critic_heads": 16, "adversarial_learning_rate": 3e-4},
}
SHARED: dict[str, Any] = {
    "hidden_size": 256,
    "embedding_size": 128,
    "dropout": 0.3,
    "context_length": 32,
    "mle_ratio": 0.5,
    "critic_pretrain_ratio": 0.05,
    "tokenizer.kind": "words",
    "tokenizer.split": "spaces",
    "tokenizer.min_count": 1,
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    folder, rows = options.data / "captions", []
    verdicts: dict[str, list[float | None]] = defaultdict(list)
    for seed in options.seeds:
        curves: dict[str, Any] = {}
        for name, settings in METHODS.items():
            run = train(folder, name, settings, seed, options.minutes, options.out)
            found = tradeoff(
                [run], folder / "coco_test.txt", temperatures=TEMPERATURES, texts=TEXTS
            )
            own, rival = found.curves.values()
            curves |= {name: own, f"likelihood before {name}": rival}
            [told] = found.verdicts.values()
            print(f"seed {seed}, {name}: {told.text}", flush=True)
            verdicts[name].append(told.gain)
        rows += [
            {"seed": seed, "generator": name, "temperature": point.temperature}
            | {f"BLEU-{n}": value for n, value in point.bleu.items()}
            | {f"Self-{n}": value for n, value in point.self_bleu.items()}
            for name, curve in curves.items()
            for point in curve
        ]
        picture = options.out / f"captions-{seed}.svg"
        picture.write_text(tradeoff_svg(curves), encoding="utf-8")
        report(f"COCO captions, {TEXTS} texts", rows, options.json, gains=verdicts)


def train(
    folder: Path, name: str, settings: dict[str, Any], seed: int, minutes: float, out: Path
) -> wenmo.Run:
    seeds = {"train.seed": seed, "split.seed": seed}
    return wenmo.fit(
        folder / "coco_train.txt",
        model="gan",
        out=out / f"captions-{name}-{minutes:g}-{seed}",
        settings={**SHARED, **settings, **seeds, "eval_count": 5},
        minutes=minutes,
        on_progress=lambda what, share: print(what, flush=True) if share is None else None,
    )


if __name__ == "__main__":
    main()
