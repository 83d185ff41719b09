"""n-grams on Penn Treebank: wenmo, KenLM's reading of wenmo's ARPA file, and nltk.

    python benchmarks/ngram_ptb.py --data DIR [--json PATH]

DIR holds ``lm/ptb/train.txt.gz`` and ``lm/ptb/test.txt``. Perplexity is over the words and the end
of each line. nltk is too slow for the whole: it and wenmo also meet on the first 5,000 sentences,
where nltk's unmodified Kneser–Ney of order 3 scores a few hundred tokens.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import kenlm
import numpy as np
import torch
from nltk.lm import KneserNeyInterpolated
from nltk.lm.preprocessing import padded_everygram_pipeline

from wenmo.interchange.arpa import escape, write_arpa
from wenmo.models.ngram import Ngram
from wenmo.models.ngram_config import NgramConfig

Texts = list[list[str]]
ORDER = 5
SUBSET, SUBSET_ORDER, SCORED = 5_000, 3, 20  # sentences counted, order, sentences scored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train, test = (
        read(arguments.data / "lm/ptb/train.txt.gz"),
        read(arguments.data / "lm/ptb/test.txt"),
    )
    rows = [*penn_treebank(train, test), *subset(train[:SUBSET], test[:SCORED])]
    print(f"{'program':<34}{'build s':>9}{'tokens/s':>12}{'perplexity':>12}{'n-grams':>11}")
    for row in rows:
        build = f"{row['build_s']:.2f}" if row["build_s"] is not None else "-"
        grams = f"{row['ngrams']:,}" if row["ngrams"] is not None else "-"
        figures = f"{build:>9}{row['tokens_per_s']:>12,.0f}{row['perplexity']:>12.2f}{grams:>11}"
        print(f"{row['program']:<34}{figures}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def read(path: Path) -> Texts:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [line.split() for line in raw.decode().splitlines()]


def penn_treebank(train: Texts, test: Texts) -> list[dict[str, Any]]:
    """All of the training text at order 5; KenLM scores the same model."""
    ids = vocabulary(train)
    model, ours = wenmo(f"wenmo, order {ORDER}", train, test, ids, ORDER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.arpa"
        write_arpa(model, path, list(ids))
        reference = kenlm.Model(str(path))
    lines = [" ".join(map(escape, text)) for text in test]
    began = time.perf_counter()
    nats = -sum(map(reference.score, lines)) * math.log(10)
    return [ours, row("kenlm, the same model as ARPA", began, nats, test)]


def subset(train: Texts, test: Texts) -> list[dict[str, Any]]:
    """A few sentences with nltk, where words that were not in the training text are ``<unk>``."""
    ids = vocabulary([*train, ["<unk>"]])
    test = [[word if word in ids else "<unk>" for word in text] for text in test]
    label = f"order {SUBSET_ORDER}, {SUBSET:,} sentences"
    _, ours = wenmo(f"wenmo, {label}", train, test, ids, SUBSET_ORDER)
    began = time.perf_counter()
    model = KneserNeyInterpolated(SUBSET_ORDER)
    model.fit(*padded_everygram_pipeline(SUBSET_ORDER, train))
    build = time.perf_counter() - began
    began, nats = time.perf_counter(), 0.0
    for text in test:
        padded = ["<s>"] * (SUBSET_ORDER - 1) + [*text, "</s>"]
        for i in range(SUBSET_ORDER - 1, len(padded)):
            context = padded[i - SUBSET_ORDER + 1 : i]
            nats -= model.logscore(padded[i], context) * math.log(2)
    theirs = row(f"nltk, {label}", began, nats, test)
    return [ours, theirs | {"build_s": build}]


def vocabulary(texts: Texts) -> dict[str, int]:
    """An id for each word; 0 is the end of a line."""
    words = dict.fromkeys(word for text in texts for word in text)
    return {word: i for i, word in enumerate(["</s>", *words])}


def wenmo(
    program: str, train: Texts, test: Texts, ids: dict[str, int], order: int
) -> tuple[Ngram, dict[str, Any]]:
    streams = [encode(texts, ids) for texts in (train, test)]
    model = NgramConfig(order=order).build(len(ids))
    began = time.perf_counter()
    model.fit(streams[0])
    build = time.perf_counter() - began
    began = time.perf_counter()
    nats = -float(model.log_prob(streams[1]).sum())
    figures = row(program, began, nats, test)
    return model, figures | {"build_s": build, "ngrams": model.parameter_count()}


def encode(texts: Texts, ids: dict[str, int]) -> np.ndarray:
    return np.array(
        [0] + [i for text in texts for i in (*(ids[word] for word in text), 0)], np.uint32
    )


def row(program: str, began: float, nats: float, test: Texts) -> dict[str, Any]:
    tokens = sum(len(text) + 1 for text in test)
    return {
        "program": program,
        "build_s": None,
        "tokens_per_s": tokens / (time.perf_counter() - began),
        "perplexity": math.exp(nats / tokens),
        "ngrams": None,
    }


if __name__ == "__main__":
    main()
