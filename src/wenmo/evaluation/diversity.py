"""Word units, bootstrap resampling, and diversity of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from unicodedata import normalize

import numpy as np
import regex
from numpy.typing import NDArray

HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
KANA = "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
# Letters of scripts that put no spaces between words: each is a unit by itself.
SPACELESS = rf"(?:[{HAN}{KANA}]|(?=\p{{L}})[\p{{Thai}}\p{{Lao}}\p{{Khmer}}\p{{Myanmar}}])"
# A letter or digit keeps its combining marks, and the invisible joiners within a word.
WORD = rf"(?={SPACELESS})\X|(?:(?!{SPACELESS})[\p{{L}}\p{{N}}][\p{{M}}\u200c\u200d]*)+"
MIN_RESAMPLED = 5  # a bootstrap interval needs at least as many texts, blocks or records
_WORD = regex.compile(WORD)
_GRAPHEME = regex.compile(r"\X")


def units(text: str) -> list[str]:
    """The words of a text, lower-cased and in Unicode's composed form (NFC).

    A word is a run of letters and digits with their combining marks. In scripts without spaces
    between words (Han, kana, Thai, Lao, Khmer, Burmese) each grapheme, a letter with its marks, is
    a unit. Punctuation and white space are separators. For English the result equals ROUGE's words.
    """
    return _WORD.findall(normalize("NFC", text.lower()))


def graphemes(text: str) -> list[str]:
    """User-perceived characters, each with its combining marks (UAX #29)."""
    return _GRAPHEME.findall(normalize("NFC", text))


def ngrams(sequence: Sequence[str], order: int) -> list[tuple[str, ...]]:
    """All n-grams of length ``order``, with repetitions."""
    return list(zip(*(sequence[start:] for start in range(order)), strict=False))


def bootstrap_indices(count: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Indices of ``resamples`` bootstrap samples of ``count`` texts (Efron 1979).

    Each sample is int64 (count,). It is the same for every metric and model, so that they can be
    compared sample by sample.
    """
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield rng.integers(count, size=count)


def distinct(
    outputs: Sequence[str], order: int, *, resamples: int = 0, seed: int = 0
) -> tuple[float, list[float]]:
    """Distinct-n: the percentage of n-grams that are distinct (Li et al. 2016, section 5).

    As is now common, the denominator is the number of n-grams, not of words, so that the maximum is
    100 for every order. The value falls with the amount of text: compare equal amounts.

    Args:
        outputs: the texts; n-grams do not cross their boundaries.
        order: n.
        resamples: number of bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        The percentage over all texts, 0 if there is no n-gram; and the percentages of the bootstrap
        samples, at most 100. A repeated text adds no new n-gram, which biases these downwards; they
        are shifted to the mean of the first value, and describe only its spread.
    """
    ids: dict[tuple[str, ...], int] = {}
    texts = [
        np.array([ids.setdefault(ngram, len(ids)) for ngram in ngrams(units(text), order)], int)
        for text in outputs
    ]
    if not ids:
        return 0.0, [0.0] * resamples
    flat, sizes = np.concatenate(texts), np.array([len(text) for text in texts])
    ratio = 100 * len(ids) / len(flat)
    ratios = []
    for indices in bootstrap_indices(len(texts), resamples, seed):
        occurrences = np.bincount(indices, minlength=len(texts))
        seen = np.zeros(len(ids), bool)
        seen[flat[np.repeat(occurrences > 0, sizes)]] = True
        ratios.append(100 * int(seen.sum()) / max(int(occurrences @ sizes), 1))
    centre = sum(ratios) / max(resamples, 1)
    return ratio, [min(max(value - centre + ratio, 0.0), 100.0) for value in ratios]
