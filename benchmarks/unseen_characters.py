"""How many of the characters that runs write stand nowhere in their training text.

    python benchmarks/unseen_characters.py --data DIR
    python benchmarks/unseen_characters.py --data DIR --characters 20000 --minutes 0.1 ngram gpt

Each family is trained on all the poems and on the first 280 of them, and writes a million
characters at temperature 1 as a run does by default, and a tenth of it with ``unseen_characters``.
The characters are compared with those of the training file itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import wenmo
from common import arguments, report
from wenmo.api import read_texts

FAMILIES: dict[str, dict[str, Any]] = {
    "ngram": {"order": 5},
    "lstm": {"embedding_size": 64, "hidden_size": 256, "layers": 1},
    "gpt": {"hidden_size": 128, "layers": 2, "heads": 4, "context_length": 64},
    "masked": {"hidden_size": 128, "layers": 2, "heads": 4, "context_length": 64},
}
FEW = 280  # poems of the small file
AT_ONCE = 512  # texts
FREE = 0.1  # of the characters are written with ``unseen_characters``, beside which they are set


def unseen(run: wenmo.Run, known: set[str], characters: int, **sampling: Any) -> tuple[int, int]:
    """How many characters were written, and how many of them are not known."""
    written = new = seed = 0
    while written < characters:
        asked = {"max_tokens": 200, "temperature": 1.0, "seed": seed, **sampling}
        text = "".join(run.generate("", AT_ONCE, **asked))
        written, seed = written + len(text), seed + 1
        new += sum(character not in known for character in text)
    return written, new


def first_poems(path: Path, poems: list[str]) -> Path:
    """A file of the first poems."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (json.dumps({"lines": poem.split("\n")}, ensure_ascii=False) for poem in poems[:FEW])
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("families", nargs="*", default=list(FAMILIES), help="; ".join(FAMILIES))
    parser.add_argument("--characters", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=0.5, help="of each training")
    options = parser.parse_args()
    full, valid = (options.data / "zh" / f"poems_{p}" for p in ("train.jsonl.gz", "valid.jsonl"))
    rows: list[dict[str, Any]] = []
    for name in ("all", "few"):
        for family in options.families:
            folder = options.out / "unseen" / f"{family}-{name}"
            few = options.out / "unseen" / "few.jsonl"
            run = wenmo.fit(
                few if name == "few" else full,
                valid=valid,
                model=family,
                out=folder,
                settings={"text_field": "lines", "minutes": options.minutes, **FAMILIES[family]},
            )
            poems = read_texts(few if name == "few" else full, run)
            if name == "all":
                first_poems(few, poems)
            known = set("".join(poems))
            written, new = unseen(run, known, options.characters)
            freely, free = unseen(
                run, known, int(FREE * options.characters), unseen_characters=True
            )
            rows.append(
                {
                    "family": family,
                    "poems": len(poems),
                    "characters written": written,
                    "not in the training text": new,
                    "with unseen_characters": f"{free} of {freely:,}",
                }
            )
    report("Characters that the training text does not contain", rows, options.json)


if __name__ == "__main__":
    main()
