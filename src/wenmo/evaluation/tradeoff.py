"""The trade-off between quality and diversity over temperatures (Caccia et al. 2020, "Language GANs
falling short").

Quality is the BLEU of each text against all reference texts (Yu et al. 2017). Diversity is measured
by Self-BLEU, the BLEU of each text against all other generated texts (Zhu et al. 2018, "Texygen"):
lower is more diverse. Both are means over texts, from 0 to 1, as in NLTK with its first smoothing:
an order without a match counts as 0.1 matches.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from unicodedata import normalize

import numpy as np
import regex

from wenmo.charts import chart_svg
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.evaluation.diversity import WORD, ngrams
from wenmo.evaluation.results import Curve, TradeoffPoint, TradeoffVerdict
from wenmo.models.base import LanguageModel
from wenmo.text.tokenizers import Tokenizer

ORDERS = (2, 3, 4, 5)
MAIN_ORDER = 4  # the n-gram order of the chart and of the verdict
TEMPERATURES = (0.7, 0.85, 1.0, 1.15)
SMOOTHING = 0.1
SIGNIFICANT_ERRORS = 2.0  # standard errors of a significant difference
_TOKEN = regex.compile(rf"{WORD}|[^\p{{L}}\p{{N}}\p{{M}}\s]")


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
        models: models with the same tokenizer.
        references: reference texts.
        temperatures: sampling temperatures (default 0.7 to 1.15).
        texts: number of texts per model and temperature; both metrics depend on it.
        sampling: sampling settings apart from the temperature.
        alphabet: characters that may be generated; None: all.
        progress: called with the fraction done.
    """
    reference_matches = NgramMatches([split_tokens(text) for text in references])
    curves: dict[str, Curve] = {name: [] for name in models}
    for index, (name, model) in enumerate(models.items()):
        writer = TextGenerator(model, tokenizer, rows=128, alphabet=alphabet)
        for temperature_index, temperature in enumerate(temperatures):
            settings = replace(sampling or Sampling(), temperature=temperature)
            [generated] = writer.texts([""], settings, texts)
            curves[name].append(tradeoff_point(temperature, generated, reference_matches))
            if progress is not None:
                done = index + (temperature_index + 1) / len(temperatures)
                progress(done / len(models))
    return curves


def tradeoff_point(
    temperature: float, written: Sequence[str], reference_matches: NgramMatches
) -> TradeoffPoint:
    """Quality and diversity of texts: means, and standard errors for independent texts."""
    tokenized = [split_tokens(text) for text in written]
    matches = NgramMatches(tokenized)
    bleu = np.array([reference_matches.bleu(text) for text in tokenized])
    self_bleu = np.array([matches.bleu(text, excluded=i) for i, text in enumerate(tokenized)])
    error_scale = math.sqrt(max(1, len(tokenized) - 1))
    return TradeoffPoint(
        temperature,
        bleu=_by_order(bleu.mean(0)),
        bleu_error=_by_order(bleu.std(0) / error_scale),
        self_bleu=_by_order(self_bleu.mean(0)),
        self_bleu_error=_by_order(self_bleu.std(0) / error_scale),
        sample=written[0],
    )


def _by_order(values: Iterable[float]) -> dict[str, float]:
    return {str(order): float(value) for order, value in zip(ORDERS, values, strict=True)}


def split_tokens(text: str) -> list[str]:
    """The words of `units`, and punctuation marks."""
    return _TOKEN.findall(normalize("NFC", text.lower()))


class NgramMatches:
    """The n-gram counts of many texts, for the BLEU of other texts against all of them."""

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self.lengths = Counter(len(text) for text in texts)
        # Of each n-gram: the largest count in a text, the text, and the largest count in another.
        self._max_counts: dict[tuple[str, ...], tuple[int, int, int]] = {}
        for index, text in enumerate(texts):
            for gram, count in _ngram_counts(text):
                first_count, first_text, second_count = self._max_counts.get(gram, (0, -1, 0))
                if count > first_count:
                    self._max_counts[gram] = (count, index, first_count)
                elif count > second_count:
                    self._max_counts[gram] = (first_count, first_text, count)
        self._lengths = [len(text) for text in texts]

    def bleu(self, text: Sequence[str], excluded: int | None = None) -> list[float]:
        """BLEU of a text for each of ``ORDERS``, 0 to 1 (Papineni et al. 2002).

        Args:
            excluded: index of a text that is not used as a reference, the text itself.
        """
        matched = [0] * max(ORDERS)
        for gram, count in _ngram_counts(text):
            first_count, first_text, second_count = self._max_counts.get(gram, (0, -1, 0))
            matched[len(gram) - 1] += min(
                count, second_count if first_text == excluded else first_count
            )
        if not matched[0]:
            return [0.0] * len(ORDERS)
        logs = [
            math.log((matches or SMOOTHING) / max(1, len(text) - order))
            for order, matches in enumerate(matched)
        ]
        brevity_penalty = min(0.0, 1 - self._closest(len(text), excluded) / len(text))
        return [math.exp(brevity_penalty + sum(logs[:order]) / order) for order in ORDERS]

    def _closest(self, length: int, excluded: int | None) -> int:
        """The closest reference length; of two equally close ones, the shorter."""
        excluded_length = (
            None if excluded is None or self.lengths[length] > 1 else self._lengths[excluded]
        )
        return min(
            (n for n in self.lengths if n != excluded_length), key=lambda n: (abs(n - length), n)
        )


def _ngram_counts(text: Sequence[str]) -> Iterable[tuple[tuple[str, ...], int]]:
    return Counter(g for n in range(1, max(ORDERS) + 1) for g in ngrams(text, n)).items()


def verdict(own: Curve, baseline: Curve, names: tuple[str, str]) -> TradeoffVerdict:
    """Compare a generator with its baseline at equal diversity.

    The baseline's curve is interpolated linearly.

    Args:
        names: names of the generator and of the baseline, for the message.
    """
    baseline_points = sorted(map(_coordinates, baseline))
    baseline_x, baseline_y, baseline_errors = (
        np.array(column) for column in zip(*baseline_points, strict=True)
    )
    gains, variances = [], []
    for x, y, own_errors in map(_coordinates, own):
        if not baseline_x[0] <= x <= baseline_x[-1]:
            continue
        gains.append(y - float(np.interp(x, baseline_x, baseline_y)))
        # Errors of Self-BLEU contribute in proportion to the baseline's slope.
        slope = _slope(x, baseline_x, baseline_y)
        interpolated_errors = [
            np.interp(x, baseline_x, baseline_errors[:, axis]) for axis in (0, 1)
        ]
        x_variance = own_errors[0] ** 2 + interpolated_errors[0] ** 2
        y_variance = own_errors[1] ** 2 + interpolated_errors[1] ** 2
        variances.append(float(y_variance + slope**2 * x_variance))
    if not gains:
        text = "no equal diversity to compare at: sweep more temperatures"
        return TradeoffVerdict(None, None, 0, text)
    gain, error = sum(gains) / len(gains), math.sqrt(sum(variances)) / len(gains)
    context = (
        f"at equal Self-BLEU-{MAIN_ORDER}, the mean over {len(gains)} of {len(own)} temperatures"
    )
    if abs(gain) <= SIGNIFICANT_ERRORS * error:
        difference = f"BLEU-{MAIN_ORDER} differs by {gain:+.3f} ± {error:.3f}"
        text = f"no significant difference: {difference} {context}; more texts reduce the error"
    else:
        winner = names[0] if gain > 0 else names[1]
        difference = f"BLEU-{MAIN_ORDER} higher by {abs(gain):.3f} ± {error:.3f}"
        text = f"{winner} is better: {difference} {context}"
    return TradeoffVerdict(gain, error, len(gains), text)


def _coordinates(point: TradeoffPoint) -> tuple[float, float, tuple[float, float]]:
    """Self-BLEU and BLEU of a point, and the standard errors of both."""
    order = str(MAIN_ORDER)
    errors = point.self_bleu_error[order], point.bleu_error[order]
    return point.self_bleu[order], point.bleu[order], errors


def _slope(x: float, xs: np.ndarray, ys: np.ndarray) -> float:
    """The slope of a piecewise linear curve."""
    if len(xs) < 2:
        return 0.0
    right = min(max(int(np.searchsorted(xs, x)), 1), len(xs) - 1)
    run = float(xs[right] - xs[right - 1])
    return float(ys[right] - ys[right - 1]) / run if run else 0.0


# -- chart -----------------------------------------------------------------------------------------


def tradeoff_svg(curves: Mapping[str, Curve]) -> str:
    """A chart of curves: diversity on the x axis, quality on the y axis."""
    order = str(MAIN_ORDER)
    lines = {
        name: [(1 - point.self_bleu[order], point.bleu[order]) for point in curve]
        for name, curve in curves.items()
    }
    labels = {name: [f"{p.temperature:g}" for p in curve] for name, curve in curves.items()}
    x_label, y_label = f"diversity: 1 − Self-BLEU-{order}", f"quality: BLEU-{order}"
    return chart_svg(lines, x_label, y_label, labels)
