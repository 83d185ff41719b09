"""Text to ids by ours and by the `tokenizers` library's own batch call, in turns.

    python benchmarks/encode_speed.py --data DIR

The library is given the lines of a text and asked for their ids, in as many threads as it likes.
Ours is given the text, and gives the same ids as one array. *First* is with nothing known of the
text yet, *again* what a longer text of the kind comes to.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from common import arguments, percentile, report, timed
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer

TEXTS = {
    "tinyshakespeare": "lm/tinyshakespeare.txt",
    "WikiText-2": "lm/wikitext2/test.txt",
    "Tang poems": "zh/poems_train.jsonl.gz",
}
SAMPLE = 2_000_000  # characters that a tokenizer is trained on


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name, path in TEXTS.items():
        text = read(options.data / path)
        for kind in ("bpe", "words", "unigram"):
            tokenizer = Tokenizer.train([text[:SAMPLE]], TokenizerConfig(kind))
            rows.append({"text": name, "kind": kind, **measure(tokenizer, text, options.turns)})
    report("Megabytes a second, text to ids", rows, options.json)


def measure(tokenizer: Tokenizer, text: str, turns: int) -> dict[str, float]:
    lines = text.split("\n")
    library = tokenizer._inner
    first: list[float] = []
    again: list[float] = []
    theirs: list[float] = []
    for _ in range(turns):
        fresh = Tokenizer.from_json(tokenizer.to_json())
        first.append(timed(lambda fresh=fresh: encode(fresh, text))[1])
        again.append(timed(lambda fresh=fresh: encode(fresh, text))[1])
        theirs.append(timed(lambda: [line.ids for line in library.encode_batch_fast(lines)])[1])
    size = len(text.encode()) / 1e6
    return {
        "library": size / percentile(theirs),
        "first": size / percentile(first),
        "again": size / percentile(again),
        "first, ratio": percentile(theirs) / percentile(first),
        "again, ratio": percentile(theirs) / percentile(again),
    }


def encode(tokenizer: Tokenizer, text: str) -> int:
    return sum(len(ids) for ids, _ in tokenizer.encode_pieces([(text, True)]))


def read(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


if __name__ == "__main__":
    main()
