"""The end of a training: what the run is worth, measured within the time that is left."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wenmo.evaluation.results import Originality, Verdict
from wenmo.evaluation.sampling_choice import TOKENS, Choice, choose_sampling, how_many_texts
from wenmo.evaluation.verdict import TEXT, Spent, advise, forecast, originality
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import FitsCounts, SamplesTexts, has_capability
from wenmo.models.ngram import Ngram
from wenmo.pipeline.datasets import SAMPLE, Dataset
from wenmo.text.spread import spread_pieces
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import END

TEXTS = 4  # samples that are looked at
ORDER = 5  # of the counts beside which a run is set
COUNTED = 1_000_000  # tokens of the training text at most
CHEAP = 100_000  # tokens are counted however little time there is
SECONDS_PER_TOKEN = 3e-6  # that is counted
SHARE_OF_COUNTING, SHARE_OF_COPIES = 0.4, 0.4  # of the time
SPACED = 0.08  # of a text's characters are spaces, where words are written apart


def assess(
    dataset: Dataset,
    model: LanguageModel,
    tokenizer: Tokenizer,
    samples: list[str],
    metrics: Path | None,
    *,
    parts: Mapping[str, float],
    knows_more: bool,
    plain: bool,
    countable: bool,
    seconds: float | None,
    spent: Spent | None = None,
    smaller: str | None = None,
) -> Verdict:
    """What a run is worth.

    Args:
        dataset: what it learnt from and is judged by.
        model: the best weights.
        tokenizer: of its text.
        samples: what it wrote.
        metrics: the file with its evaluations; None: they tell nothing of what more steps gain.
        parts: of a run that stands on counts, bits per byte of each part and of their mixture, on
            the text of an evaluation on the way; see `Dataset.evaluate_components`.
        knows_more: it began from a model that knew other text.
        plain: it learnt a running text, not pairs or records.
        countable: its family can be mixed with counts.
        seconds: the time there is; None: all it takes.
        spent: what it was trained for.
        smaller: the name of a smaller model of the family.
    """
    counted = parts.get("counts")
    stands, spaced = counted is not None, False
    stream = dataset.stream(model)
    own = counts = None
    share = 1.0
    counts_text = has_capability(model, FitsCounts)
    if not counts_text:
        own = dataset.bits_per_byte(model)
        counts = counted
        most = COUNTED
        if seconds is not None:
            most = max(CHEAP, int(SHARE_OF_COUNTING * seconds / SECONDS_PER_TOKEN))
        if counts is None:
            part = spread_pieces(stream, min(most, COUNTED))
            share = len(part) / len(stream)
            ngram = Ngram.Config(ORDER).build(model.vocab_size)
            ngram.fit(part)
            counts = dataset.bits_per_byte(ngram)
    found: Originality | None = None
    if samples and not has_capability(model, SamplesTexts):
        text = plain_text(tokenizer, stream[:TEXT].tolist())
        spaced = text.count(" ") > SPACED * len(text)
        left = None if seconds is None else SHARE_OF_COPIES * seconds
        found = originality(samples, text, seconds=left, knows_more=knows_more)
    ahead = None if metrics is None else forecast(curve(metrics))
    advice = advise(
        bits=own,
        counts=counts,
        found=found,
        ahead=ahead,
        stands_on_counts=stands,
        spaced=spaced,
        plain=plain,
        countable=countable,
        has_base=knows_more,
        spent=None if counts_text else spent,
        idle=counted is not None and parts["mixture"] >= counted,
        smaller=smaller,
        size=len(stream),
    )
    return Verdict(own, counts, found, ahead, advice, share)


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
        dataset: what it learnt from and is judged by.
        model: the best weights.
        tokenizer: of its text.
        held_out: held-out text, in the form of `Dataset.stream`.
        seconds: the time there is; None: all it takes.
        progress: told the share that is done.
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
    """Texts from all over a stream, as many and as long as are written to choose by."""
    ends = np.flatnonzero(ids == END).tolist()
    spans = [
        (begin, min(begin + TOKENS, end))
        for start, end in pairwise(ends)
        for begin in range(start + 1, end, TOKENS)
    ]
    count = how_many_texts([end - begin for begin, end in spans])
    spread = np.linspace(0, len(spans) - 1, min(len(spans), count)).astype(int)
    return [tokenizer.decode(ids[slice(*spans[place])]) for place in spread]


def plain_text(tokenizer: Tokenizer, ids: list[int]) -> str:
    """The text of a stream, a line for each record."""
    table = list(tokenizer.table)
    table[END] = b"\n"
    return b"".join([table[id_] for id_ in ids]).decode("utf-8", errors="replace")


def curve(metrics: Path) -> list[tuple[int, float]]:
    """Steps and held-out bits per byte of each evaluation on the way."""
    if not metrics.exists():
        return []
    lines = map(json.loads, metrics.read_text(encoding="utf-8").splitlines())
    name = "heldout_bits_per_byte"
    return [(int(line["step"]), float(line[name])) for line in lines if name in line]
