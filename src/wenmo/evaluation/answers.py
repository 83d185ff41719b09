"""What a model answers to the sources of pairs, beside the references."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.text.pairs import Pairs
from wenmo.text.spread import spread_order
from wenmo.text.tokenizers import Tokenizer

BATCHES_AT_ONCE = 4  # of questions, before it is told how far it is
FEW = 4  # questions that are answered in any case
# What the texts of each task are measured by; the first is watched in training.
TASK_METRICS: dict[str, tuple[str, ...]] = {
    "completion": ("distinct1", "distinct2"),
    "translation": ("bleu", "chrf", "ter", "exact"),
    "summarization": ("rouge1", "rouge2", "rougeL"),
    "paraphrase": ("bleu", "chrf", "rougeL", "exact"),
    "data-to-text": ("bleu", "chrf", "rougeL"),
    "dialogue": ("distinct1", "distinct2", "bleu"),
    "infilling": ("exact", "chrf"),
}


@dataclass(frozen=True, slots=True)
class Question:
    """A source, as its ids, and every text that answers it."""

    source: tuple[int, ...]
    references: tuple[str, ...]


def questions(pairs: Pairs, tokenizer: Tokenizer, most: int | None = None) -> list[Question]:
    """The distinct sources, each with the targets of all its pairs, in an order of which the first
    few are spread evenly over all.

    Tokenizers lose nothing, so the texts are those that were read.

    Args:
        most: the most questions.
    """
    asked: dict[tuple[int, ...], list[int]] = {}
    for number in range(len(pairs)):
        asked.setdefault(tuple(pairs.source(number).tolist()), []).append(number)
    sources = list(asked)
    return [
        Question(
            sources[place],
            tuple(tokenizer.decode(pairs.target(n).tolist()) for n in asked[sources[place]]),
        )
        for place in spread_order(len(sources))[:most].tolist()
    ]


def answer(
    writer: TextGenerator,
    asked: Sequence[Question],
    sampling: Sampling,
    *,
    seconds: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[str]:
    """One text for each question; a beam's best.

    Args:
        seconds: wall-clock time after which no more questions are taken up, so that there may be
            fewer texts than questions; a few are answered in any case.
        progress: told the share that is done.
    """
    texts: list[str] = []
    begun, most = time.perf_counter(), BATCHES_AT_ONCE * writer.rows
    count = most if seconds is None else FEW
    while len(texts) < len(asked):
        some = asked[len(texts) : len(texts) + count]
        sources = [question.source for question in some]
        written = writer.generate([""] * len(some), sampling, sources=sources)
        texts += [outputs[0].text for outputs in written]
        if progress is not None:
            progress(len(texts) / len(asked))
        if seconds is not None:
            used = time.perf_counter() - begun
            fit = int((seconds - used) * len(texts) / used)
            if fit < 1:
                break
            count = max(1, min(most, 2 * count, fit))
    return texts
