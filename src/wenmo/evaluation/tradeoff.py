"""Quality against diversity, over temperatures: what one generator gains it may have paid for with
the other (Caccia et al. 2020, "Language GANs falling short").

Quality is the BLEU of each text beside all reference texts (Yu et al. 2017), diversity is told by
Self-BLEU, the BLEU of each beside all others that were written (Zhu et al. 2018, "Texygen"): the
lower, the more diverse. Both are means over texts, from 0 to 1, as NLTK computes them with its
first smoothing: an order without a match counts as a tenth of one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from unicodedata import normalize

import numpy as np
import regex

from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.evaluation.diversity import UNIT, ngrams
from wenmo.evaluation.results import Curve, TradeoffPoint, TradeoffVerdict
from wenmo.figures import chart_svg
from wenmo.models.base import LanguageModel
from wenmo.text.tokenizers import Tokenizer

ORDERS = (2, 3, 4, 5)
LEADING = 4  # the order that is plotted, and by which it is told who wins
TEMPERATURES = (0.7, 0.85, 1.0, 1.15)
UNMATCHED = 0.1
CERTAIN = 2.0  # standard errors, from which on one is said to win
_PIECE = regex.compile(rf"{UNIT}|[^\p{{L}}\p{{N}}\p{{M}}\s]")


def sweep(
    models: Mapping[str, LanguageModel],
    tokenizer: Tokenizer,
    references: Sequence[str],
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    texts: int = 200,
    sampling: Sampling | None = None,
    alphabet: Iterable[str] | None = None,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Curve]:
    """The curve of each model, by name.

    Args:
        models: all of one tokenizer.
        references: what texts should be like.
        texts: how many each writes at each temperature; both figures depend on it.
        sampling: how they are written, but for the temperature.
        alphabet: the characters that they may have; None: all.
        progress: told the share that is done.
    """
    known = Matches([pieces(text) for text in references])
    curves: dict[str, Curve] = {name: [] for name in models}
    for number, (name, model) in enumerate(models.items()):
        writer = TextGenerator(model, tokenizer, rows=128, alphabet=alphabet)
        for place, temperature in enumerate(temperatures):
            settings = replace(sampling or Sampling(), temperature=temperature)
            [written] = writer.texts([""], settings, texts)
            curves[name].append(tradeoff_point(temperature, written, known))
            if progress is not None:
                done = number + (place + 1) / len(temperatures)
                progress(done / len(models))
    return curves


def tradeoff_point(temperature: float, written: Sequence[str], known: Matches) -> TradeoffPoint:
    """Quality and diversity of texts: means over them, and their standard errors, which take the
    texts to be independent.
    """
    cut = [pieces(text) for text in written]
    others = Matches(cut)
    quality = np.array([known.bleu(text) for text in cut])
    alike = np.array([others.bleu(text, without=i) for i, text in enumerate(cut)])
    root = math.sqrt(max(1, len(cut) - 1))
    return TradeoffPoint(
        temperature,
        bleu=_by_order(quality.mean(0)),
        bleu_error=_by_order(quality.std(0) / root),
        self_bleu=_by_order(alike.mean(0)),
        self_bleu_error=_by_order(alike.std(0) / root),
        sample=written[0],
    )


def _by_order(values: Iterable[float]) -> dict[str, float]:
    return {str(order): float(value) for order, value in zip(ORDERS, values, strict=True)}


def pieces(text: str) -> list[str]:
    """What `units` gives, and marks of punctuation."""
    return _PIECE.findall(normalize("NFC", text.lower()))


class Matches:
    """The n-grams of many texts, to set others beside all of them."""

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self.lengths = Counter(len(text) for text in texts)
        # How often each n-gram stands in one text at most: which text, and how often in any other.
        self._most: dict[tuple[str, ...], tuple[int, int, int]] = {}
        for number, text in enumerate(texts):
            for gram, count in _counts(text):
                first, holder, second = self._most.get(gram, (0, -1, 0))
                if count > first:
                    self._most[gram] = (count, number, first)
                elif count > second:
                    self._most[gram] = (first, holder, count)
        self._sizes = [len(text) for text in texts]

    def bleu(self, text: Sequence[str], without: int | None = None) -> list[float]:
        """BLEU of a text by each of ``ORDERS``, 0 to 1 (Papineni et al. 2002).

        Args:
            without: the number of one of the texts, which is the text itself.
        """
        matched = [0] * max(ORDERS)
        for gram, count in _counts(text):
            first, holder, second = self._most.get(gram, (0, -1, 0))
            matched[len(gram) - 1] += min(count, second if holder == without else first)
        if not matched[0]:
            return [0.0] * len(ORDERS)
        logs = [
            math.log((right or UNMATCHED) / max(1, len(text) - order))
            for order, right in enumerate(matched)
        ]
        brief = min(0.0, 1 - self._closest(len(text), without) / len(text))
        return [math.exp(brief + sum(logs[:order]) / order) for order in ORDERS]

    def _closest(self, length: int, without: int | None) -> int:
        """The length nearest to that of a text; of two, the shorter."""
        own = None if without is None or self.lengths[length] > 1 else self._sizes[without]
        return min((n for n in self.lengths if n != own), key=lambda n: (abs(n - length), n))


def _counts(text: Sequence[str]) -> Iterable[tuple[tuple[str, ...], int]]:
    return Counter(g for n in range(1, max(ORDERS) + 1) for g in ngrams(text, n)).items()


def verdict(own: Curve, baseline: Curve, names: tuple[str, str]) -> TradeoffVerdict:
    """Whether a generator writes better texts than its baseline at equal diversity, where the
    baseline's curve is straight between its points.

    Args:
        names: of the generator and of the baseline, for the text.
    """
    line = sorted(map(_place, baseline))
    alike, quality, spread = (np.array(column) for column in zip(*line, strict=True))
    gains, variances = [], []
    for place, value, own_spread in map(_place, own):
        if not alike[0] <= place <= alike[-1]:
            continue
        gains.append(value - float(np.interp(place, alike, quality)))
        # What either curve may be off by sideways counts as far as the baseline's rises there.
        slope = _slope(place, alike, quality)
        baseline_spread = [np.interp(place, alike, spread[:, axis]) for axis in (0, 1)]
        along = own_spread[0] ** 2 + baseline_spread[0] ** 2
        across = own_spread[1] ** 2 + baseline_spread[1] ** 2
        variances.append(float(across + slope**2 * along))
    if not gains:
        text = "no equal diversity to compare at: sweep more temperatures"
        return TradeoffVerdict(None, None, 0, text)
    gain, error = sum(gains) / len(gains), math.sqrt(sum(variances)) / len(gains)
    where = f"at equal Self-BLEU-{LEADING}, the mean over {len(gains)} of {len(own)} temperatures"
    if abs(gain) <= CERTAIN * error:
        told = f"BLEU-{LEADING} differs by {gain:+.3f} ± {error:.3f}"
        text = f"neither wins for certain: {told} {where}; more texts tell finer"
    else:
        winner = names[0] if gain > 0 else names[1]
        told = f"BLEU-{LEADING} higher by {abs(gain):.3f} ± {error:.3f}"
        text = f"{winner} wins: {told} {where}"
    return TradeoffVerdict(gain, error, len(gains), text)


def _place(point: TradeoffPoint) -> tuple[float, float, tuple[float, float]]:
    """Self-BLEU and BLEU of a point, and the standard errors of both."""
    order = str(LEADING)
    errors = point.self_bleu_error[order], point.bleu_error[order]
    return point.self_bleu[order], point.bleu[order], errors


def _slope(place: float, x: np.ndarray, y: np.ndarray) -> float:
    """How steep a line of straight pieces is."""
    if len(x) < 2:
        return 0.0
    right = min(max(int(np.searchsorted(x, place)), 1), len(x) - 1)
    run = float(x[right] - x[right - 1])
    return float(y[right] - y[right - 1]) / run if run else 0.0


# -- the picture -----------------------------------------------------------------------------------


def tradeoff_svg(curves: Mapping[str, Curve]) -> str:
    """A picture of curves: diversity to the right, quality upward, a point for each temperature."""
    order = str(LEADING)
    lines = {
        name: [(1 - point.self_bleu[order], point.bleu[order]) for point in curve]
        for name, curve in curves.items()
    }
    labels = {name: [f"{p.temperature:g}" for p in curve] for name, curve in curves.items()}
    across, up = f"diversity: 1 − Self-BLEU-{order}", f"quality: BLEU-{order}"
    return chart_svg(lines, across, up, labels)
