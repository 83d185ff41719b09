"""What a model answers to the sources of pairs, beside the references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wenmo.decoding.warp import Sampling
from wenmo.decoding.writer import Writer
from wenmo.text.pairs import Pairs
from wenmo.text.tokenizers import Tokenizer

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


def questions(pairs: Pairs, tokenizer: Tokenizer) -> list[Question]:
    """The distinct sources in the order in which they come, each with the targets of all its pairs.

    Tokenizers lose nothing, so the texts are those that were read.
    """
    references: dict[tuple[int, ...], list[str]] = {}
    for number in range(len(pairs)):
        source = tuple(pairs.source(number).tolist())
        references.setdefault(source, []).append(tokenizer.decode(pairs.target(number).tolist()))
    return [Question(source, tuple(texts)) for source, texts in references.items()]


def answer(writer: Writer, asked: Sequence[Question], sampling: Sampling) -> list[str]:
    """One text for each question; a beam's best."""
    sources = [question.source for question in asked]
    written = writer.generate([""] * len(asked), sampling, sources=sources)
    return [outputs[0].text for outputs in written]
