"""Metrics of one text against one other, as utilities of minimum Bayes risk decoding.

Each is a function of a candidate and a reference; larger is better. The names are those of
`wenmo.evaluation.overlap.METRICS` where that has the same metric of a corpus.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any
from unicodedata import normalize

from wenmo.evaluation.diversity import graphemes, units
from wenmo.evaluation.overlap import is_mostly_han, rouge_l, rouge_n

CACHED = 4096  # texts whose words or graphemes are kept


def edit_distance(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """The least number of insertions, deletions and substitutions between two sequences.

    A column of the table is stored as the bits of two integers, for its increases and decreases
    (Myers 1999, *A Fast Bit-Vector Algorithm*; in the form of Hyyrö 2003).
    """
    if not first:
        return len(second)
    positions: dict[str, int] = {}
    for index, unit in enumerate(first):
        positions[unit] = positions.get(unit, 0) | 1 << index
    ones, last = (1 << len(first)) - 1, 1 << (len(first) - 1)
    up, down, distance = ones, 0, len(first)
    for unit in second:
        matches = positions.get(unit, 0)
        diagonal = (((matches & up) + up) ^ up) | matches | down
        right, left = down | ~(diagonal | up), up & diagonal
        distance += bool(right & last) - bool(left & last)
        right, left = (right << 1) | 1, left << 1
        up, down = (left | ~(diagonal | right)) & ones, right & diagonal & ones
    return distance


def _edit_similarity(candidate: str, reference: str) -> float:
    """One less the edit distance over the length of the longer text, in graphemes."""
    first, second = _graphemes(candidate), _graphemes(reference)
    return 1 - edit_distance(first, second) / max(len(first), len(second), 1)


def _rouge(candidate: str, reference: str, score: Callable[[Any, Any], float]) -> float:
    return score(_units(candidate), _units(reference))


def _exact(candidate: str, reference: str) -> float:
    return float(candidate.strip() == reference.strip())


def _bleu(candidate: str, reference: str) -> float:
    """Sentence BLEU with effective order and exponential smoothing, as sacrebleu computes it."""
    return float(
        _sacrebleu("bleu", _is_han(reference)).sentence_score(candidate, [reference]).score
    )


def _chrf(candidate: str, reference: str) -> float:
    return float(_sacrebleu("chrf", han=False).sentence_score(candidate, [reference]).score)


def _negative_ter(candidate: str, reference: str) -> float:
    """Fewer edits are better, so that the rate counts negatively."""
    if not reference.strip():
        return 0.0 if not candidate.strip() else -math.inf
    return -float(
        _sacrebleu("ter", _is_han(reference)).sentence_score(candidate, [reference]).score
    )


@lru_cache
def _sacrebleu(name: str, han: bool) -> Any:
    from sacrebleu import BLEU, CHRF, TER  # slow to import

    if name == "bleu":
        return BLEU(effective_order=True, tokenize="zh" if han else "13a")
    return CHRF() if name == "chrf" else TER(normalized=han, asian_support=han)


@lru_cache(CACHED)
def _is_han(text: str) -> bool:
    return is_mostly_han([[text]])


@lru_cache(CACHED)
def _units(text: str) -> tuple[str, ...]:
    return tuple(units(text))


@lru_cache(CACHED)
def _graphemes(text: str) -> tuple[str, ...]:
    return tuple(graphemes(text))


def _composed(utility: Callable[[str, str], float]) -> Callable[[str, str], float]:
    return lambda candidate, reference: utility(
        normalize("NFC", candidate), normalize("NFC", reference)
    )


UTILITIES: Mapping[str, Callable[[str, str], float]] = {
    "bleu": _composed(_bleu),
    "chrf": _composed(_chrf),
    "ter": _composed(_negative_ter),
    "rouge1": partial(_rouge, score=partial(rouge_n, order=1)),
    "rouge2": partial(_rouge, score=partial(rouge_n, order=2)),
    "rougeL": partial(_rouge, score=rouge_l),
    "exact": _composed(_exact),
    "edit-distance": _edit_similarity,
}
"""All utilities by the name that ``Sampling.mbr`` gives them. Texts are normalised to NFC."""
