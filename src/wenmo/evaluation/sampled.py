"""Held-out likelihood within a time limit: a random sample of the text, with an interval.

Blocks of a text, or whole records, are drawn without replacement and resampled for the interval;
tokens are not independent, and are never resampled by themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from wenmo.evaluation.likelihood import LOGITS_AT_ONCE, WARM_UP, Likelihood, gather, interval
from wenmo.models.base import LanguageModel
from wenmo.training.budget import how_many
from wenmo.types import END, IGNORE

BLOCK = 512  # tokens of a block at most, those that are only read included
FEW = 4  # pairs or records of the first trial
SAFE = 0.8  # of the time left is planned with


class Texts(Protocol):
    """Pairs or records."""

    def __len__(self) -> int: ...

    def chosen(self: T, numbers: NDArray[np.int64]) -> T:
        """The named ones alone."""
        ...


T = TypeVar("T", bound=Texts)


def sampled_likelihood(
    model: LanguageModel,
    ids: NDArray[np.unsignedinteger],
    count_bytes: Callable[[NDArray[Any]], int],
    seconds: float,
    *,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any] | None:
    """Score random blocks of a text for about so many seconds; at least one block.

    Where the model's context allows, each block is read after 128 unscored tokens before it.

    Args:
        model: it is put into evaluation mode.
        ids: the stream, beginning with the end symbol.
        count_bytes: the UTF-8 bytes of a stream that begins with a token that is not counted.
        seconds: wall-clock time.
        progress: called with the share of the time that is used.

    Returns:
        The figures of `Likelihood`, and ``sample``, with the ``share`` of the tokens that were
        scored. None: all of the text can be scored in the time, and should be.
    """
    model.eval()
    seconds = max(seconds, 1e-3)
    bounded = model.context is not None and model.context <= BLOCK
    size = min(model.context or BLOCK, BLOCK)
    warm_up = 0 if bounded else WARM_UP
    new = size - warm_up
    count = len(ids) - 1
    starts = np.arange(0, count, new)
    order = np.random.default_rng(0).permutation(starts)
    most = max(1, LOGITS_AT_ONCE // (size * model.vocab_size))
    started, done, rows = time.perf_counter(), 0, 1
    nats: list[float] = []
    tokens: list[int] = []
    bytes_, bound = 0, False
    with torch.inference_mode():
        while done < len(order):
            begins = order[done : done + rows, None]
            batch = gather(ids, begins - warm_up + np.arange(warm_up + new))
            if warm_up:
                batch.targets[:, :warm_up] = IGNORE
                batch.tokens[:, 0] = END  # as every text begins
            score = model.score(batch.to(model.device))
            nats += score.nats.tolist()
            tokens += score.tokens.tolist()
            bytes_ += sum(count_bytes(ids[b : b + new + 1]) for b in begins[:, 0].tolist())
            bound = bound or score.bound
            done += len(begins)
            used = time.perf_counter() - started
            if progress is not None:
                progress(min(1.0, used / seconds))
            fit = int((SAFE * seconds - used) * done / used)
            if done <= 4 and fit >= len(order):
                return None
            if fit < 1:
                break
            rows = max(1, min(most, 2 * rows, fit))
    found = Likelihood(sum(nats), sum(tokens), bytes_, bound, interval(nats, tokens))
    return {**found.figures(), "sample": {"share": sum(tokens) / count}}


def sampled_wholes(
    texts: T, judge: Callable[[T], dict[str, Any]], seconds: float | None
) -> dict[str, Any]:
    """Judge as many pairs or records, drawn at random, as can be judged in so many seconds.

    Args:
        texts: the pairs or records.
        judge: gives their figures.
        seconds: wall-clock time; None: all are judged, however long it takes.

    Returns:
        The figures, and where not all were judged ``sample``, with their ``share``.
    """
    if seconds is None:
        return judge(texts)
    order = np.random.default_rng(0).permutation(len(texts))
    count = how_many(lambda n: judge(texts.chosen(order[:n])), FEW, len(texts), seconds)
    if count == len(texts):
        return judge(texts)
    some = texts.chosen(np.sort(order[:count]))
    return {**judge(some), "sample": {"share": count / len(texts)}}
