"""Which temperature and top-p runs choose, and what they write beside other settings.

    python benchmarks/sampling_choice.py --data DIR
    python benchmarks/sampling_choice.py --data DIR --steps 100 "tinyshakespeare ngram"

Each run is trained, and chooses. Then it writes 64 texts of up to 128 tokens with its choice and
with two settings without top-p, and each is set beside as much held-out text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import wenmo
from common import arguments, report
from wenmo.api import read_texts
from wenmo.evaluation.sampling_choice import (
    MAX_TOKENS,
    STATISTICS,
    TEXTS_PER_TRIAL,
    Reference,
    inner_words,
)

CASES: dict[str, dict[str, Any]] = {
    "tinyshakespeare ngram": {},
    "tinyshakespeare lstm": {"embedding_size": 64, "hidden_size": 256, "layers": 1},
    "Tang poems ngram": {"text_field": "lines"},
}


def files(name: str, data: Path, out: Path) -> tuple[Path, Path]:
    """The training text and the held-out text."""
    if name.startswith("Tang"):
        return data / "zh" / "poems_train.jsonl.gz", data / "zh" / "poems_valid.jsonl"
    text = (data / "lm" / "tinyshakespeare.txt").read_text(encoding="utf-8")
    out.mkdir(parents=True, exist_ok=True)
    train, valid = out / "train.txt", out / "valid.txt"
    cut = text.rindex("\n\n", 0, int(0.9 * len(text)))
    train.write_text(text[:cut], encoding="utf-8")
    valid.write_text(text[cut:].lstrip(), encoding="utf-8")
    return train, valid


def pieces(texts: list[str]) -> list[list[str]]:
    """The words of held-out texts from all over, as long as those that are written."""
    cut = [text[n : n + MAX_TOKENS] for text in texts for n in range(0, len(text), MAX_TOKENS)]
    return [
        inner_words(text) for text in cut[:: max(1, len(cut) // TEXTS_PER_TRIAL)][:TEXTS_PER_TRIAL]
    ]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), help="; ".join(CASES))
    parser.add_argument("--steps", type=int, default=200, help="of each training by gradients")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in options.cases:
        out = options.out / "sampling" / name.replace(" ", "-")
        train, valid = files(name, options.data, out)
        family = name.split()[-1]
        settings = {**CASES[name], "train.seed": options.seed}
        settings |= {} if family == "ngram" else {"steps": options.steps}
        run = wenmo.fit(train, valid=valid, model=family, out=out / "run", settings=settings)
        reference = Reference("\n".join(read_texts(train, run)))
        human, chosen = pieces(read_texts(valid, run)), run.sampling
        beside = {(0.8, 1.0): "", (1.0, 1.0): "", (chosen.temperature, chosen.top_p): "chosen"}
        for (temperature, top_p), why in beside.items():
            asked = {"temperature": temperature, "top_p": top_p, "max_tokens": MAX_TOKENS}
            texts = run.generate("", TEXTS_PER_TRIAL, seed=options.seed, **asked)
            found = reference.compare([inner_words(text) for text in texts], human)
            shares = zip(STATISTICS, found.written, found.held_out, strict=True)
            told = {statistic: f"{own:.1%} ({other:.1%})" for statistic, own, other in shares}
            setting = f"{temperature:g}, top-p {top_p:g}"
            rows.append({"run": name, "temperature": setting, "": why, **told})
    report("What is written, and (held-out text)", rows, options.json)


if __name__ == "__main__":
    main()
