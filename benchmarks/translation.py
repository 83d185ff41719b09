"""Multi30k: BLEU on test2016 against minutes of training, greedy and by beam.

    python benchmarks/translation.py --data DIR --model transformer --source en --target de
    python benchmarks/translation.py --data DIR --model gru --source de --target en --minutes 10

Settings are those of recipes/multi30k-MODEL.toml; the best weights on the validation split are
kept. BLEU is sacrebleu's on raw text; its signature is printed. Published, lower-cased and
tokenized: GRU with attention 28.30, Transformer 36.52 (German to English).
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import sacrebleu

import wenmo
from common import arguments, report, timed

RECIPES = Path(__file__).parents[1] / "recipes"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--model", choices=["transformer", "gru"], default="transformer")
    parser.add_argument("--source", default="en")
    parser.add_argument("--target", default="de")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("settings", nargs="*", help="any setting: hidden_size=256")
    options = parser.parse_args()
    folder, source, target = options.data / "mt" / "multi30k", options.source, options.target
    name = f"multi30k-{options.model}-{source}-{target}-{options.minutes:g}-{options.seed}"
    settings = [f"minutes={options.minutes}", f"train.seed={options.seed}", *options.settings]
    run = wenmo.fit(
        folder / f"train.{source}.gz",
        target=folder / f"train.{target}.gz",
        valid=folder / f"valid.{source}",
        valid_target=folder / f"valid.{target}",
        recipe=RECIPES / f"multi30k-{options.model}.toml",
        out=options.out / "-".join([name, *(s.replace("=", "") for s in options.settings)]),
        settings=settings,
    )
    sources, references = lines(folder / f"test2016.{source}"), lines(folder / f"test2016.{target}")
    rows = []
    for method in ("greedy", "beam"):
        outputs, seconds = timed(lambda m=method: run.write(sources, method=m))
        texts = [" ".join(group[0].text.split()) for group in outputs]
        rows.append({"method": method, **scores(texts, references), "seconds": seconds})
    curve = points(run.folder / "metrics.jsonl")
    report(
        f"{source} to {target}, {options.model}, {run.card.results['parameters']:,} weights, "
        f"{options.minutes:g} minutes, seed {options.seed}",
        rows,
        options.json,
        curve=curve,
        settings=options.settings,
    )
    report("on the way, 100 sentences of the validation split, greedy", curve, None)


def scores(texts: list[str], references: list[str]) -> dict[str, Any]:
    """BLEU and chrF as sacrebleu gives them."""
    cased, lower = (
        sacrebleu.BLEU(lowercase=lowercase).corpus_score(texts, [references])
        for lowercase in (False, True)
    )
    metric = sacrebleu.BLEU()
    metric.corpus_score(texts, [references])
    return {
        "BLEU": cased.score,
        "BLEU lower-cased": lower.score,
        "chrF": sacrebleu.CHRF().corpus_score(texts, [references]).score,
        "signature": str(metric.get_signature()),
    }


def points(metrics: Path) -> list[dict[str, float]]:
    """Minutes and figures of every evaluation."""
    events = map(json.loads, metrics.read_text("utf-8").splitlines())
    return [
        {
            "minutes": event["seconds"] / 60,
            "step": event["step"],
            "nats/token": event["heldout_nats_per_token"],
            "BLEU": event["heldout_bleu"],
        }
        for event in events
        if "heldout_bleu" in event
    ]


def lines(path: Path) -> list[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file]


if __name__ == "__main__":
    main()
