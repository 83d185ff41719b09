"""What is measured at the end of a training, within the time that is left: whether the run is any
good, and with which temperature and top-p it writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wenmo.evaluation.results import Verdict
from wenmo.evaluation.sampling_choice import MAX_TOKENS, Choice, choose_sampling, text_count
from wenmo.evaluation.verdict import (
    MAX_TEXT_CHARACTERS,
    TrainingCost,
    advise,
    forecast_gain,
    measure_originality,
)
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import FitsCounts, SamplesTexts, has_capability
from wenmo.models.ngram import Ngram
from wenmo.models.ngram_config import NgramConfig
from wenmo.pipeline.datasets import SAMPLE, Dataset
from wenmo.text.spread import spread_pieces
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import END

TEXTS = 4  # final samples
ORDER = 5  # of the n-gram counts with which a run is compared
COUNTED = 1_000_000  # tokens of the training text that are counted at most
CHEAP = 100_000  # tokens are counted however little time there is
SECONDS_PER_TOKEN = 3e-6  # that is counted
SHARE_OF_COUNTING, SHARE_OF_COPIES = 0.4, 0.4  # of the time
SPACED = 0.08  # share of spaces in a text from which its words are separated by spaces


def assess(
    dataset: Dataset,
    model: LanguageModel,
    tokenizer: Tokenizer,
    samples: list[str],
    metrics: Path | None,
    *,
    components: Mapping[str, float],
    has_base: bool,
    is_stream: bool,
    can_use_counts: bool,
    seconds: float | None,
    spent: TrainingCost | None = None,
    smaller: str | None = None,
) -> Verdict:
    """Whether a run is any good, and what to try next.

    Args:
        dataset: the text of the run.
        model: the best weights.
        tokenizer: of the text.
        samples: texts that the run wrote.
        metrics: the file with the evaluations of training; None: they forecast nothing.
        components: of a mixture, bits per byte of each component and of the ``mixture``; see
            `Dataset.evaluate_components`.
        has_base: the run started from a model that was trained on other text.
        is_stream: the run was trained on running text, not on pairs or records.
        can_use_counts: models of the family can be mixed with n-gram counts.
        seconds: the time there is; None: no bound.
        spent: the steps and the time of training.
        smaller: name of a smaller model of the family.
    """
    stream = dataset.stream(model)
    is_counted = has_capability(model, FitsCounts)
    bits, counts = None, PlainCounts(None)
    if not is_counted:
        bits = dataset.bits_per_byte(model)
        counts = _plain_counts(dataset, model, stream, components.get("counts"), seconds)
    found, has_spaces = None, False
    if samples and not has_capability(model, SamplesTexts):
        text = plain_text(tokenizer, stream[:MAX_TEXT_CHARACTERS].tolist())
        has_spaces = text.count(" ") > SPACED * len(text)
        left = None if seconds is None else SHARE_OF_COPIES * seconds
        found = measure_originality(samples, text, seconds=left, has_base=has_base)
    ahead = None if metrics is None else forecast_gain(curve(metrics))
    advice = advise(
        bits_per_byte=bits,
        ngram_bits_per_byte=counts.bits_per_byte,
        originality=found,
        forecast=ahead,
        has_ngram_prior="counts" in components,
        has_spaces=has_spaces,
        is_text=is_stream,
        supports_ngram_prior=can_use_counts,
        has_base=has_base,
        cost=None if is_counted else spent,
        network_is_unused="counts" in components and components["mixture"] >= components["counts"],
        smaller_model=smaller,
        text_tokens=len(stream),
    )
    return Verdict(bits, counts.bits_per_byte, found, ahead, advice, counts.share)


@dataclass(frozen=True)
class PlainCounts:
    """N-gram counts of the training text, for comparison with a run.

    Attributes:
        bits_per_byte: on the text of an evaluation during training; None: there are none.
        share: of the training text that was counted.
    """

    bits_per_byte: float | None
    share: float = 1.0


def _plain_counts(
    dataset: Dataset,
    model: LanguageModel,
    stream: NDArray[np.unsignedinteger],
    bits_per_byte: float | None,
    seconds: float | None,
) -> PlainCounts:
    """The counts of a mixture, whose bits per byte are known, or counts of as much of the stream as
    there is time for.
    """
    if bits_per_byte is not None:
        return PlainCounts(bits_per_byte)
    most = COUNTED
    if seconds is not None:
        most = min(most, max(CHEAP, int(SHARE_OF_COUNTING * seconds / SECONDS_PER_TOKEN)))
    counted = spread_pieces(stream, most)
    ngram = Ngram(NgramConfig(ORDER), model.vocab_size)
    ngram.fit(counted)
    return PlainCounts(dataset.bits_per_byte(ngram), len(counted) / len(stream))


def choose_settings(
    dataset: Dataset,
    model: LanguageModel,
    tokenizer: Tokenizer,
    held_out: NDArray[np.unsignedinteger],
    *,
    seconds: float | None,
    progress: Callable[[float], None] | None,
) -> Choice:
    """Temperature and top-p of a run that writes without a source; see `choose_sampling`.

    Args:
        dataset: the text of the run.
        model: the best weights.
        tokenizer: of the text.
        held_out: held-out text, in the form of `Dataset.stream`.
        seconds: the time there is; None: no bound.
        progress: receives the share that is done.
    """

    def write(setting: tuple[float, float], tokens: int, texts: int) -> list[str]:
        temperature, top_p = setting
        sampling = replace(SAMPLE, temperature=temperature, top_p=top_p, seed=0)
        _, outputs = dataset.sample(model, tokens, texts, sampling)
        return [output.text for output in outputs]

    def training(characters: int) -> str:
        return plain_text(tokenizer, dataset.stream(model)[:characters].tolist())[:characters]

    some = pieces(tokenizer, held_out)
    return choose_sampling(write, training, some, seconds=seconds, progress=progress)


def pieces(tokenizer: Tokenizer, ids: NDArray[np.unsignedinteger]) -> list[str]:
    """Texts from all over a stream, as many and as long as those written for comparison."""
    ends = np.flatnonzero(ids == END).tolist()
    spans = [
        (begin, min(begin + MAX_TOKENS, end))
        for start, end in pairwise(ends)
        for begin in range(start + 1, end, MAX_TOKENS)
    ]
    count = text_count([end - begin for begin, end in spans])
    chosen = np.linspace(0, len(spans) - 1, min(len(spans), count)).astype(int)
    return [tokenizer.decode(ids[slice(*spans[index])]) for index in chosen]


def plain_text(tokenizer: Tokenizer, ids: list[int]) -> str:
    """The text of a stream, a line for each record."""
    table = list(tokenizer.table)
    table[END] = b"\n"
    return b"".join([table[id_] for id_ in ids]).decode("utf-8", errors="replace")


def curve(metrics: Path) -> list[tuple[int, float]]:
    """Step and held-out bits per byte of each evaluation during training."""
    if not metrics.exists():
        return []
    lines = map(json.loads, metrics.read_text(encoding="utf-8").splitlines())
    name = "heldout_bits_per_byte"
    return [(int(line["step"]), float(line[name])) for line in lines if name in line]
