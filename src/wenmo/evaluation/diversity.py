"""What texts are counted in, how they are resampled, and how varied they are."""

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
UNIT = rf"(?={SPACELESS})\X|(?:(?!{SPACELESS})[\p{{L}}\p{{N}}][\p{{M}}\u200c\u200d]*)+"
FEWEST_RESAMPLED = 5  # fewer texts, blocks or records tell nothing of the spread
_UNIT = regex.compile(UNIT)
_GRAPHEME = regex.compile(r"\X")


def units(text: str) -> list[str]:
    """The words of a text, lower-cased and in Unicode's composed form (NFC).

    A word is a run of letters and digits with their combining marks. Scripts that put no spaces
    between words (Han, kana, Thai, Lao, Khmer, Burmese) give one unit for each grapheme, a letter
    with its marks. Punctuation and white space only divide. For English these are the words of
    ROUGE.
    """
    return _UNIT.findall(normalize("NFC", text.lower()))


def graphemes(text: str) -> list[str]:
    """What a reader calls characters: each with its marks (Unicode's UAX #29)."""
    return _GRAPHEME.findall(normalize("NFC", text))


def ngrams(sequence: Sequence[str], order: int) -> list[tuple[str, ...]]:
    """All runs of ``order`` units, as often as they occur."""
    return list(zip(*(sequence[start:] for start in range(order)), strict=False))


def draws(count: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """As many texts as there are, drawn with replacement, ``resamples`` times (Efron 1979).

    Each is int64 (count,): which texts. The same for every metric, so that metrics and models can
    be compared draw by draw.
    """
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield rng.integers(count, size=count)


def distinct(
    outputs: Sequence[str], order: int, *, resamples: int = 0, seed: int = 0
) -> tuple[float, list[float]]:
    """The share of n-grams that are distinct, in percent (Li et al. 2016, section 5).

    As is common since, n-grams are set against n-grams and not against words, so that the highest
    share is 100 for every order. The share falls with the amount of text: compare equal amounts.

    Args:
        outputs: the texts; n-grams do not reach from one into the next.
        order: n.
        resamples: how often as many texts are drawn with replacement.
        seed: of the draws.

    Returns:
        The share over all texts, 0 where they hold no n-gram; and the shares of the resamples, at
        most 100. A text drawn twice brings nothing new, so these are all too small: they are moved
        to lie about the share, and tell of its spread alone.
    """
    numbers: dict[tuple[str, ...], int] = {}
    texts = [
        np.array([numbers.setdefault(g, len(numbers)) for g in ngrams(units(text), order)], int)
        for text in outputs
    ]
    if not numbers:
        return 0.0, [0.0] * resamples
    flat, sizes = np.concatenate(texts), np.array([len(text) for text in texts])
    share = 100 * len(numbers) / len(flat)
    shares = []
    for drawn in draws(len(texts), resamples, seed):
        times = np.bincount(drawn, minlength=len(texts))
        seen = np.zeros(len(numbers), bool)
        seen[flat[np.repeat(times > 0, sizes)]] = True
        shares.append(100 * int(seen.sum()) / max(int(times @ sizes), 1))
    centre = sum(shares) / max(resamples, 1)
    return share, [min(max(s - centre + share, 0.0), 100.0) for s in shares]
