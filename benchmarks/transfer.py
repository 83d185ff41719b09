"""Few pairs and much plain text: translation on Multi30k, begun with language models and without.

    python benchmarks/transfer.py --data DIR --pairs 2000 --seed 0

German to English. So many pairs of the training split are learnt from; of the others the texts
alone, by a language model of English, and by one of both languages. Then the same encoder–decoder
is trained with its decoder, or both sides, begun from one, and from nothing: with a tokenizer of
the pairs, and with the language model's (one that has made no step). Every run has the same number
of steps; the best weights on the validation split are kept, and BLEU is a beam's on test2016.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import wenmo
from common import arguments, report
from translation import lines, scores

SHAPE = {"hidden_size": 128, "layers": 3, "heads": 4, "ffn_size": 256, "context_length": 128}
BPE = {"tokenizer.kind": "bpe", "vocab_size": 4000}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=300, help="of translation")
    parser.add_argument("--text-steps", type=int, default=300, help="of a language model")
    options = parser.parse_args()
    folder, out = options.data / "mt" / "multi30k", options.out / f"transfer-{options.seed}"
    out.mkdir(parents=True, exist_ok=True)
    sides = {language: lines(folder / f"train.{language}.gz") for language in ("de", "en")}
    for language, texts in sides.items():
        write(out / f"few.{language}", texts[: options.pairs])
    english = sides["en"][options.pairs :]
    write(out / "english.txt", english)
    write(out / "both.txt", [*english, *sides["de"][options.pairs :]])
    seed = {"train.seed": options.seed}
    learn_text(out / "english.txt", out / "english", {**seed, "steps": options.text_steps})
    learn_text(out / "both.txt", out / "both", {**seed, "steps": options.text_steps})
    learn_text(out / "both.txt", out / "nothing", {**seed, "steps": 1, "learning_rate": 1e-12})
    ways: dict[str, dict[str, Any]] = {
        "nothing; tokenizer of the pairs": {**SHAPE, **BPE},
        "nothing; tokenizer of both languages": {"init.decoder": out / "nothing"},
        "decoder of English": {"init.decoder": out / "english"},
        "decoder of both languages": {"init.decoder": out / "both"},
        "encoder and decoder of both": {
            "init.decoder": out / "both",
            "init.encoder": out / "both",
        },
    }
    rows = []
    for number, (name, way) in enumerate(ways.items()):
        settings = {**seed, **{key: str(value) for key, value in way.items()}}
        settings |= {
            "steps": str(options.steps),
            "encoder_layers": "3",
            "dropout": "0.2",
            "eval_count": "5",
        }
        rows.append({"begun with": name, **translate(folder, out, f"way{number}", settings)})
    title = f"de to en, {options.pairs:,} pairs, {options.steps:,} steps, seed {options.seed}"
    report(title, rows, options.json)


def learn_text(path: Path, out: Path, settings: dict[str, Any]) -> None:
    """Train a language model on lines."""
    fixed = {
        "unit": "line",
        "ngram_prior.enabled": False,
        "dropout": 0.1,
        "batch_size": 32,
        "sequence_length": 64,
        "eval_count": 3,
    }
    wenmo.fit(path, model="gpt", out=out, settings={**SHAPE, **BPE, **fixed, **settings})


def translate(folder: Path, out: Path, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Train on the few pairs; what the result does on the validation split and on test2016."""
    run = wenmo.fit(
        out / "few.de",
        target=out / "few.en",
        valid=folder / "valid.de",
        valid_target=folder / "valid.en",
        model="transformer",
        task="translation",
        out=out / name,
        settings=settings,
    )
    outputs = run.write(lines(folder / "test2016.de"))
    texts = [" ".join(group[0].text.split()) for group in outputs]
    return {
        "bits/byte": run.card.results["heldout"]["bits_per_byte"],
        "best step": run.card.results["best_step"],
        "seconds": run.card.results["seconds"],
        **scores(texts, lines(folder / "test2016.en")),
    }


def write(path: Path, texts: list[str]) -> None:
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
