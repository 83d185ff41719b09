"""Generate targets for the sources of pairs, to compare them with references."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.text.pairs import Pairs
from wenmo.text.spread import spread_order
from wenmo.text.tokenizers import Tokenizer

BATCHES_PER_CALL = 4  # between two progress reports
MIN_SOURCES = 4  # sources for which targets are always generated
# The metrics of each task; the first one is reported during training.
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
class SourceWithReferences:
    """A source, as ids, and all its reference targets, as text."""

    source: tuple[int, ...]
    references: tuple[str, ...]


def sources_with_references(
    pairs: Pairs, tokenizer: Tokenizer, limit: int | None = None
) -> list[SourceWithReferences]:
    """The distinct sources with the targets of all their pairs.

    In their order, any number of first sources is spread evenly over the data. The references are
    decoded from ids, which is lossless.

    Args:
        limit: maximal number of sources; None: all.
    """
    pairs_of: dict[tuple[int, ...], list[int]] = {}
    for number in range(len(pairs)):
        pairs_of.setdefault(tuple(pairs.source(number).tolist()), []).append(number)
    sources = list(pairs_of)
    return [
        SourceWithReferences(
            sources[index],
            tuple(tokenizer.decode(pairs.target(n).tolist()) for n in pairs_of[sources[index]]),
        )
        for index in spread_order(len(sources))[:limit].tolist()
    ]


def generate_targets(
    writer: TextGenerator,
    examples: Sequence[SourceWithReferences],
    sampling: Sampling,
    *,
    seconds: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[str]:
    """Generate one target for each source, the best one of a beam search.

    Args:
        seconds: wall-clock limit; the result may then be shorter than ``examples``, but has at
            least `MIN_SOURCES` texts.
        progress: called with the fraction done.
    """
    texts: list[str] = []
    started, max_count = time.perf_counter(), BATCHES_PER_CALL * writer.rows
    count = max_count if seconds is None else MIN_SOURCES
    while len(texts) < len(examples):
        batch = examples[len(texts) : len(texts) + count]
        sources = [example.source for example in batch]
        outputs = writer.generate([""] * len(batch), sampling, sources=sources)
        texts += [candidates[0].text for candidates in outputs]
        if progress is not None:
            progress(len(texts) / len(examples))
        if seconds is not None:
            elapsed = time.perf_counter() - started
            affordable = int((seconds - elapsed) * len(texts) / elapsed)
            if affordable < 1:
                break
            count = max(1, min(max_count, 2 * count, affordable))
    return texts
