"""How near written texts come to references: BLEU, chrF, TER, ROUGE, exact matches.

BLEU, chrF and TER are sacrebleu's, so that the figures compare with published ones. ROUGE is ours:
it counts Chinese as it counts English.
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

from wenmo.config import nearest
from wenmo.evaluation.diversity import FEWEST_RESAMPLED, HAN, distinct, draws, ngrams, units
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
    """Measure texts by the named ``METRICS``, in Unicode's composed form (NFC), so that a letter
    and its accent count alike whether they are one character or two.

    Args:
        names: of metrics.
        outputs: the texts that were written; one may be empty.
        references: of each of them, one or more texts; none will do for ``distinct1`` and
            ``distinct2``, which look at the outputs alone.
        resamples: how many sets of texts the intervals rest on; 0 gives none, and so do fewer than
            five texts, which tell nothing of the spread.
        seed: of the resampling. Every metric sees the same draws as if it were measured alone.

    Raises:
        WenmoError: a name that is not known.
        ValueError: no outputs; not as many references; a text without one; one resample.
    """
    for name in names:
        if name not in METRICS:
            known = ", ".join(METRICS)
            raise WenmoError(f"unknown metric {name!r}{nearest(name, METRICS)} (valid: {known})")
    if not outputs or len(outputs) != len(references):
        raise ValueError(f"{len(outputs)} outputs and {len(references)} sets of references")
    if set(names) - ALONE and not all(references):
        raise ValueError("a text has no reference")
    if resamples < 0 or resamples == 1:
        raise ValueError("resamples must be 0 or at least 2")
    if len(outputs) < FEWEST_RESAMPLED:
        resamples = 0
    outputs = [normalize("NFC", output) for output in outputs]
    references = [[normalize("NFC", text) for text in several] for several in references]
    return {name: METRICS[name](outputs, references, resamples, seed) for name in names}


# -- sacrebleu -------------------------------------------------------------------------------------


def _bleu(
    outputs: Sequence[str], references: References, resamples: int, seed: int, lowercase: bool
) -> Metric:
    """BLEU (Papineni et al. 2002), as sacrebleu computes it (Post 2018)."""
    from sacrebleu import BLEU  # takes a while to load

    tokenize = "zh" if _mostly_han(references) else "13a"
    metric = BLEU(lowercase=lowercase, tokenize=tokenize, force=True)  # force: without its advice
    return _by_sacrebleu(metric, outputs, references, resamples, seed, most=100.0)


def _chrf(outputs: Sequence[str], references: References, resamples: int, seed: int) -> Metric:
    """chrF2 (Popović 2015): characters, so that it needs no words of any language."""
    from sacrebleu import CHRF

    return _by_sacrebleu(CHRF(), outputs, references, resamples, seed, most=100.0)


def _ter(outputs: Sequence[str], references: References, resamples: int, seed: int) -> Metric:
    """Translation edit rate (Snover et al. 2006).

    Only normalised does sacrebleu part Han characters; otherwise a Chinese sentence is one word.
    """
    from sacrebleu import TER

    han = _mostly_han(references)
    metric = TER(normalized=han, asian_support=han)
    return _by_sacrebleu(metric, outputs, references, resamples, seed, most=math.inf)


def _mostly_han(references: References) -> bool:
    """Whether most letters of the references are Han characters."""
    texts = [text for several in references for text in several]
    han = sum(len(_HAN.findall(text)) for text in texts)
    return 2 * han > sum(len(_LETTER.findall(text)) for text in texts)


def _by_sacrebleu(
    metric: Any,
    outputs: Sequence[str],
    references: References,
    resamples: int,
    seed: int,
    most: float,
) -> Metric:
    """The corpus score of a sacrebleu metric, and those of texts drawn with replacement.

    The drawing is not left to sacrebleu, whose own fails where some draws hold no match (it mixes
    types that ``statistics.mean`` refuses), and takes memory for all of them at once.
    """
    # The first references of all the texts, the second ones, and so on; None where one is missing.
    streams = list(zip_longest(*references))
    counts = np.array(metric._extract_corpus_statistics(outputs, streams), float)

    def score(drawn: NDArray[np.float64]) -> float:
        return min(float(metric._compute_score_from_stats(drawn.sum(0).tolist()).score), most)

    scores = [score(counts[texts]) for texts in draws(len(outputs), resamples, seed)]
    if resamples:
        metric.n_bootstrap, metric.seed = resamples, seed  # which the signature tells
    return _with_interval(score(counts), scores, len(outputs), str(metric.get_signature()))


# -- ROUGE and exact matches -----------------------------------------------------------------------


def rouge_n(output: Sequence[str], reference: Sequence[str], order: int) -> float:
    """F1 of shared n-grams, 0 to 1 (Lin 2004, section 2), of two texts given as ``units``."""
    written, wanted = ngrams(output, order), ngrams(reference, order)
    return _f1((Counter(written) & Counter(wanted)).total(), len(written), len(wanted))


def rouge_l(output: Sequence[str], reference: Sequence[str]) -> float:
    """F1 of the longest common subsequence, 0 to 1 (Lin 2004, section 3.1, with beta 1)."""
    return _f1(common_subsequence(output, reference), len(output), len(reference))


def common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence, a row of the table at a time.

    A row rises by 0 or 1 at each place, so it is kept as the bits of one integer, 0 where it rises
    (Hyyrö 2004, "Bit-parallel LCS-length computation revisited").
    """
    places: dict[str, int] = {}
    for place, unit in enumerate(first):
        places[unit] = places.get(unit, 0) | 1 << place
    everywhere = (1 << len(first)) - 1
    row = everywhere
    for unit in second:
        matches = row & places.get(unit, 0)
        row = (row + matches | row - matches) & everywhere
    return len(first) - row.bit_count()


def _f1(shared: int, written: int, wanted: int) -> float:
    if not shared:
        return 0.0
    precision, recall = shared / written, shared / wanted
    return 2 * precision * recall / (precision + recall)


def _rouge(
    outputs: Sequence[str],
    references: References,
    resamples: int,
    seed: int,
    score: Callable[[Sequence[str], Sequence[str]], float],
) -> Metric:
    """For each text its best over its references, and the mean over texts."""
    scores = [
        max(score(written, units(reference)) for reference in several)
        for written, several in zip(map(units, outputs), references, strict=True)
    ]
    how = f"case:lc|{_UNITS}|stem:no|score:f1"
    return _mean_of(scores, references, resamples, seed, how)


def _exact(outputs: Sequence[str], references: References, resamples: int, seed: int) -> Metric:
    """The share of texts that equal a reference but for outer white space."""
    scores = [
        float(output.strip() in {reference.strip() for reference in several})
        for output, several in zip(outputs, references, strict=True)
    ]
    return _mean_of(scores, references, resamples, seed, "case:mixed|space:stripped")


def _distinct(
    outputs: Sequence[str], references: References, resamples: int, seed: int, order: int
) -> Metric:
    share, shares = distinct(outputs, order, resamples=resamples, seed=seed)
    return _with_interval(
        share, shares, len(outputs), _signature(f"case:lc|{_UNITS}", resamples, seed)
    )


# -- intervals -------------------------------------------------------------------------------------


def _mean_of(
    scores: Sequence[float], references: References, resamples: int, seed: int, how: str
) -> Metric:
    """The mean over texts of scores from 0 to 1, and the means of texts drawn with replacement."""
    each = 100 * np.array(scores)
    means = [each[texts].mean() for texts in draws(len(each), resamples, seed)]
    counts = {len(several) for several in references}
    nrefs = counts.pop() if len(counts) == 1 else "var"
    signature = f"nrefs:{nrefs}|{_signature(how, resamples, seed)}"
    return _with_interval(math.fsum(each) / len(each), means, len(scores), signature)


def _with_interval(value: float, drawn: Sequence[float], texts: int, signature: str) -> Metric:
    """The percentile interval of resampled values (Efron and Tibshirani 1993, chapter 13).

    It is stretched to hold the value itself, which it might miss where texts are few.
    """
    if not len(drawn):
        return Metric(value, None, None, texts, signature)
    low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
    return Metric(value, min(low, value), max(high, value), texts, signature)


def _signature(how: str, resamples: int, seed: int) -> str:
    return f"bs:{resamples}|seed:{seed}|{how}" if resamples else how


ALONE = frozenset({"distinct1", "distinct2"})
"""The metrics that look at outputs alone."""

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
"""Every metric by its name: of outputs, references, resamples and seed."""
