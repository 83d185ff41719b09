"""Reference-based metrics of generated texts: BLEU, chrF, TER, ROUGE, exact match.

BLEU, chrF and TER are computed by sacrebleu, comparable with published values. ROUGE is implemented
here, so that it supports Chinese.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from wenmo.config import did_you_mean
from wenmo.evaluation.diversity import (
    HAN,
    MIN_RESAMPLED,
    bootstrap_indices,
    distinct,
    ngrams,
    units,
)
from wenmo.evaluation.results import Metric
from wenmo.types import WenmoError

References = Sequence[Sequence[str]]

_HAN = re.compile(f"[{HAN}]")
_LETTER = re.compile(r"[^\W\d_]")
_UNITS = "unit:word+marks|spaceless:grapheme|norm:nfc"


def measure(
    names: Sequence[str],
    outputs: Sequence[str],
    references: References,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Metric]:
    """Compute metrics of texts. All texts are normalized to Unicode NFC.

    Args:
        names: names of metrics, of ``METRICS``.
        outputs: the generated texts.
        references: one or more references for each output; possibly none for ``distinct1`` and
            ``distinct2``, which do not use references.
        resamples: number of bootstrap samples (default 1000); 0, or fewer than five texts: no
            intervals.
        seed: seed of the bootstrap. The samples are the same for all metrics.

    Raises:
        WenmoError: an unknown name.
        ValueError: no outputs; another number of references; an output without reference;
            ``resamples`` of 1.
    """
    for name in names:
        if name not in METRICS:
            known = ", ".join(METRICS)
            raise WenmoError(
                f"unknown metric {name!r}{did_you_mean(name, METRICS)} (valid: {known})"
            )
    if not outputs or len(outputs) != len(references):
        raise ValueError(f"{len(outputs)} outputs and {len(references)} sets of references")
    if set(names) - REFERENCE_FREE and not all(references):
        raise ValueError("a text has no reference")
    if resamples < 0 or resamples == 1:
        raise ValueError("resamples must be 0 or at least 2")
    if len(outputs) < MIN_RESAMPLED:
        resamples = 0
    outputs = [normalize("NFC", output) for output in outputs]
    references = [
        [normalize("NFC", text) for text in text_references] for text_references in references
    ]
    return {name: METRICS[name](outputs, references, resamples, seed) for name in names}


# -- sacrebleu -------------------------------------------------------------------------------------


def _bleu(
    outputs: Sequence[str], references: References, resamples: int, seed: int, lowercase: bool
) -> Metric:
    """BLEU (Papineni et al. 2002), as sacrebleu computes it (Post 2018)."""
    from sacrebleu import BLEU  # slow to import

    tokenize = "zh" if is_mostly_han(references) else "13a"
    metric = BLEU(lowercase=lowercase, tokenize=tokenize, force=True)  # force: no warnings
    return _by_sacrebleu(metric, outputs, references, resamples, seed, maximum=100.0)


def _chrf(outputs: Sequence[str], references: References, resamples: int, seed: int) -> Metric:
    """chrF2 (Popović 2015), which uses character n-grams and needs no tokenization."""
    from sacrebleu import CHRF

    return _by_sacrebleu(CHRF(), outputs, references, resamples, seed, maximum=100.0)


def _ter(outputs: Sequence[str], references: References, resamples: int, seed: int) -> Metric:
    """Translation edit rate (Snover et al. 2006).

    sacrebleu splits Han characters only with ``normalized``; otherwise a Chinese sentence is one
    word.
    """
    from sacrebleu import TER

    han = is_mostly_han(references)
    metric = TER(normalized=han, asian_support=han)
    return _by_sacrebleu(metric, outputs, references, resamples, seed, maximum=math.inf)


def is_mostly_han(references: References) -> bool:
    """Whether most letters of the references are Han characters."""
    texts = [text for text_references in references for text in text_references]
    han = sum(len(_HAN.findall(text)) for text in texts)
    return 2 * han > sum(len(_LETTER.findall(text)) for text in texts)


def _by_sacrebleu(
    metric: Any,
    outputs: Sequence[str],
    references: References,
    resamples: int,
    seed: int,
    maximum: float,
) -> Metric:
    """The corpus score of a sacrebleu metric, with a bootstrap interval.

    sacrebleu's own bootstrap is not used: it fails if a sample has no match (it mixes types that
    ``statistics.mean`` refuses), and keeps all samples in memory.
    """
    # One stream for the first references of all texts, one for the second; None if one is missing.
    streams = list(zip_longest(*references))
    statistics = np.array(metric._extract_corpus_statistics(outputs, streams), float)

    def score(samples: NDArray[np.float64]) -> float:
        return min(float(metric._compute_score_from_stats(samples.sum(0).tolist()).score), maximum)

    scores = [
        score(statistics[texts]) for texts in bootstrap_indices(len(outputs), resamples, seed)
    ]
    if resamples:
        metric.n_bootstrap, metric.seed = resamples, seed  # for the signature
    return _with_interval(score(statistics), scores, len(outputs), str(metric.get_signature()))


# -- ROUGE and exact matches -----------------------------------------------------------------------


def rouge_n(output: Sequence[str], reference: Sequence[str], order: int) -> float:
    """F1 of shared n-grams, 0 to 1 (Lin 2004, section 2), of two texts given as ``units``."""
    output_ngrams, reference_ngrams = ngrams(output, order), ngrams(reference, order)
    return _f1(
        (Counter(output_ngrams) & Counter(reference_ngrams)).total(),
        len(output_ngrams),
        len(reference_ngrams),
    )


def rouge_l(output: Sequence[str], reference: Sequence[str]) -> float:
    """F1 of the longest common subsequence, 0 to 1 (Lin 2004, section 3.1, with beta 1)."""
    return _f1(common_subsequence(output, reference), len(output), len(reference))


def common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence, by bit-parallel dynamic programming.

    Neighbouring values in a row of the table differ by 0 or 1, so that a row is stored as the bits
    of an integer, 0 for an increase (Hyyrö 2004, "Bit-parallel LCS-length computation revisited").
    """
    positions: dict[str, int] = {}
    for index, unit in enumerate(first):
        positions[unit] = positions.get(unit, 0) | 1 << index
    all_ones = (1 << len(first)) - 1
    row = all_ones
    for unit in second:
        matches = row & positions.get(unit, 0)
        row = (row + matches | row - matches) & all_ones
    return len(first) - row.bit_count()


def _f1(overlap: int, output_count: int, reference_count: int) -> float:
    if not overlap:
        return 0.0
    precision, recall = overlap / output_count, overlap / reference_count
    return 2 * precision * recall / (precision + recall)


def _rouge(
    outputs: Sequence[str],
    references: References,
    resamples: int,
    seed: int,
    score: Callable[[Sequence[str], Sequence[str]], float],
) -> Metric:
    """The mean over texts of the best score over references."""
    scores = [
        max(score(output, units(reference)) for reference in text_references)
        for output, text_references in zip(map(units, outputs), references, strict=True)
    ]
    settings = f"case:lc|{_UNITS}|stem:no|score:f1"
    return _mean_of(scores, references, resamples, seed, settings)


def _exact(outputs: Sequence[str], references: References, resamples: int, seed: int) -> Metric:
    """The ratio of texts that equal a reference, ignoring outer white space."""
    scores = [
        float(output.strip() in {reference.strip() for reference in text_references})
        for output, text_references in zip(outputs, references, strict=True)
    ]
    return _mean_of(scores, references, resamples, seed, "case:mixed|space:stripped")


def _distinct(
    outputs: Sequence[str], references: References, resamples: int, seed: int, order: int
) -> Metric:
    ratio, ratios = distinct(outputs, order, resamples=resamples, seed=seed)
    return _with_interval(
        ratio, ratios, len(outputs), _signature(f"case:lc|{_UNITS}", resamples, seed)
    )


# -- intervals -------------------------------------------------------------------------------------


def _mean_of(
    scores: Sequence[float], references: References, resamples: int, seed: int, settings: str
) -> Metric:
    """The mean over texts of scores from 0 to 1, in percent, with a bootstrap interval."""
    values = 100 * np.array(scores)
    means = [values[texts].mean() for texts in bootstrap_indices(len(values), resamples, seed)]
    counts = {len(text_references) for text_references in references}
    nrefs = counts.pop() if len(counts) == 1 else "var"
    signature = f"nrefs:{nrefs}|{_signature(settings, resamples, seed)}"
    return _with_interval(math.fsum(values) / len(values), means, len(scores), signature)


def _with_interval(value: float, samples: Sequence[float], texts: int, signature: str) -> Metric:
    """The percentile interval of bootstrap values (Efron and Tibshirani 1993, chapter 13).

    It is extended to contain the value itself, which it may miss for few texts.
    """
    if not len(samples):
        return Metric(value, None, None, texts, signature)
    low, high = np.quantile(samples, (0.025, 0.975)).tolist()
    return Metric(value, min(low, value), max(high, value), texts, signature)


def _signature(settings: str, resamples: int, seed: int) -> str:
    return f"bs:{resamples}|seed:{seed}|{settings}" if resamples else settings


REFERENCE_FREE = frozenset({"distinct1", "distinct2"})
"""Metrics that do not use references."""

METRICS: Mapping[str, Callable[[Sequence[str], References, int, int], Metric]] = {
    "bleu": partial(_bleu, lowercase=False),
    "bleu_lowercase": partial(_bleu, lowercase=True),
    "chrf": _chrf,
    "ter": _ter,
    "rouge1": partial(_rouge, score=partial(rouge_n, order=1)),
    "rouge2": partial(_rouge, score=partial(rouge_n, order=2)),
    "rougeL": partial(_rouge, score=rouge_l),
    "exact": _exact,
    "distinct1": partial(_distinct, order=1),
    "distinct2": partial(_distinct, order=2),
}
"""All metrics by name; arguments are outputs, references, resamples and seed."""
