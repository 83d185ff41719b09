"""The likelihood of a text under a model: nats per token, perplexity, and bits per byte.

Bits per byte are comparable between models with different tokenizers; perplexities are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wenmo.evaluation.diversity import MIN_RESAMPLED
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import SamplesTexts, has_capability
from wenmo.models.state import join
from wenmo.text.pairs import Buckets, Examples
from wenmo.types import END, IGNORE, Batch, Score

MAX_LOGITS = 1 << 25  # of a batch: limits memory to a few hundred megabytes
STREAM_CHUNK = 256  # tokens of a stream in a batch
BATCH_TOKENS = 8192  # of pairs or records
RESAMPLES = 400  # bootstrap samples of an interval
WARM_UP = 128  # tokens that are read unscored before a row of a stream


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The likelihood of a text.

    Attributes:
        nats: negative natural log-likelihood of all tokens.
        tokens: number of tokens, including the end of each record.
        bytes: UTF-8 bytes of the raw text, and one for the end of each record.
        bound: the figures are upper bounds.
        interval: the ends of the 95% interval of ``nats_per_token``, where blocks or records were
            resampled for it.
    """

    nats: float
    tokens: int
    bytes: int
    bound: bool = False
    interval: tuple[float, float] | None = None

    @property
    def nats_per_token(self) -> float:
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        nats = self.nats_per_token
        return math.exp(min(nats, 700.0)) if math.isfinite(nats) else nats

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.bytes

    def figures(self) -> dict[str, Any]:
        """The fields of `Evaluation`, by name."""
        return {
            "bits_per_byte": self.bits_per_byte,
            "nats_per_token": self.nats_per_token,
            "perplexity": self.perplexity,
            "tokens": self.tokens,
            "bytes": self.bytes,
            "bound": self.bound,
            **self._interval_bounds(),
        }

    def _interval_bounds(self) -> dict[str, float]:
        """``low`` and ``high``, the interval in bits per byte."""
        if self.interval is None:
            return {}
        low, high = (n * self.tokens / self.bytes / math.log(2) for n in self.interval)
        return {"low": low, "high": high}


def interval(nats: Sequence[float], tokens: Sequence[int]) -> tuple[float, float] | None:
    """The 95% bootstrap interval of nats per token (Efron 1979).

    Blocks or records are resampled, because tokens are not independent.

    Args:
        nats, tokens: nats and number of tokens of each block or record.

    Returns:
        None: there are too few blocks or records.
    """
    if len(nats) < MIN_RESAMPLED:
        return None
    rng, each = np.random.default_rng(0), np.array([nats, tokens], np.float64)
    means = []
    for _ in range(RESAMPLES):
        total, count = each[:, rng.integers(len(nats), size=len(nats))].sum(1)
        means.append(total / count)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def likelihood(
    model: LanguageModel,
    ids: NDArray[np.unsignedinteger],
    bytes_: int,
    *,
    window: int | None = None,
    stride: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Likelihood:
    """Score every token of a stream after the first.

    A model with unbounded context carries its state through the stream. A model with bounded
    context reads the stream in windows.

    Args:
        model: the model; it is set to evaluation mode.
        ids: the stream, starting with END.
        bytes_: UTF-8 bytes of the text.
        window: tokens of a window, which starts with an empty state; at most the model's context
            (default: the context; no windows for a model with unbounded context).
        stride: distance between windows (default: ``window``, no overlap). A smaller stride gives
            every token more context, and takes longer.
        progress: called with the fraction done.
    """
    model.eval()
    sizes = [size for size in (window, model.context) if size is not None]
    scores = _score_windows(ids, model, min(sizes), stride) if sizes else _score_streams(ids, model)
    nats, tokens, bound = 0.0, 0, False
    with torch.inference_mode():
        for score in scores:
            nats += float(score.nats.sum())
            tokens += int(score.tokens.sum())
            bound = bound or score.bound
            if progress is not None:
                progress(tokens / (len(ids) - 1))
    return Likelihood(nats, tokens, bytes_, bound)


def likelihood_of_examples(
    model: LanguageModel,
    examples: Examples,
    bytes_: int,
    *,
    progress: Callable[[float], None] | None = None,
) -> Likelihood:
    """Score records, or the targets of pairs given their sources.

    Args:
        model: the model; it is set to evaluation mode.
        bytes_: UTF-8 bytes of the scored texts, plus one for the end of each text.
        progress: called with the fraction done.
    """
    model.eval()
    max_tokens = MAX_LOGITS // model.vocab_size
    batches = Buckets(examples, min(max_tokens, BATCH_TOKENS))
    nats, tokens, bound = 0.0, 0, False
    per_example: tuple[list[float], list[int]] = [], []
    with torch.inference_mode():
        for batch_index, batch in enumerate(batches.once(), 1):
            score = model.score(batch.to(model.device))
            nats += float(score.nats.sum())
            tokens += int(score.tokens.sum())
            bound = bound or score.bound
            per_example[0].extend(score.nats.tolist())
            per_example[1].extend(score.tokens.tolist())
            if progress is not None:
                progress(batch_index / batches.per_epoch)
    return Likelihood(nats, tokens, bytes_, bound, interval(*per_example))


def _score_streams(ids: NDArray[np.unsignedinteger], model: LanguageModel) -> Iterator[Score]:
    """Score a stream as several rows of equal length in parallel.

    All rows but the first are warmed up with the tokens before them. With one row the result is
    exact; with more, the first tokens of a row have less context than the state could carry. Models
    that can only read a text from its beginning use one row.
    """
    count = len(ids) - 1
    max_rows = MAX_LOGITS // (STREAM_CHUNK * model.vocab_size)
    rows = max(1, min(16, count // (8 * WARM_UP), max_rows))
    if has_capability(model, SamplesTexts):
        rows = 1
    row_length = -(-count // rows)
    row_starts = np.arange(rows)[:, None] * row_length
    state = model.initial_state(1)
    if rows > 1:
        warm_up = gather(ids, row_starts[1:] + np.arange(-WARM_UP, 0))
        warm_up.tokens[:, 0] = END  # as every text begins
        state = join(
            [state, model.score(warm_up.to(model.device), model.initial_state(rows - 1)).state]
        )
    for start in range(0, row_length, STREAM_CHUNK):
        offsets = np.arange(start, min(start + STREAM_CHUNK, row_length))
        score = model.score(gather(ids, row_starts + offsets).to(model.device), state)
        state = score.state
        yield score


def _score_windows(
    ids: NDArray[np.unsignedinteger], model: LanguageModel, window: int, stride: int | None
) -> Iterator[Score]:
    for batch in windows(ids, model.vocab_size, window, stride):
        yield model.score(batch.to(model.device))


def windows(
    ids: NDArray[np.unsignedinteger], vocab_size: int, window: int, stride: int | None
) -> Iterator[Batch]:
    """Windows of the text; in overlapping windows only new tokens are scored."""
    count = len(ids) - 1
    window = min(window, max(1, count))  # a short text is not padded to a long context
    stride = window if stride is None else max(1, min(stride, window))
    starts = np.arange(0, max(count - window + stride, 1), stride)
    rows = max(1, MAX_LOGITS // (window * vocab_size))
    for row in range(0, len(starts), rows):
        window_starts = starts[row : row + rows, None]
        batch = gather(ids, window_starts + np.arange(window))
        is_context = (np.arange(window) < window - stride) & (window_starts > 0)
        batch.targets[torch.from_numpy(is_context)] = IGNORE
        yield batch


def gather(ids: NDArray[np.unsignedinteger], positions: NDArray[np.int64]) -> Batch:
    """The tokens at ``positions`` and their successors; positions outside the text are ignored."""
    inside = (positions >= 0) & (positions < len(ids) - 1)
    safe = np.where(inside, positions, 0)
    tokens = torch.from_numpy(ids[safe].astype(np.int64))
    targets = torch.from_numpy(np.where(inside, ids[safe + 1].astype(np.int64), IGNORE))
    return Batch(tokens, targets)
