"""How likely a model finds a text: nats per token, perplexity, and bits per byte of the raw text.

Bits per byte compare models with different tokenizers; perplexities do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wenmo.evaluation.diversity import FEWEST_RESAMPLED
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import SamplesTexts, has_capability
from wenmo.models.state import join
from wenmo.text.pairs import Buckets, Examples
from wenmo.types import END, IGNORE, Batch, Score

LOGITS_AT_ONCE = 1 << 25  # so that scoring takes a few hundred megabytes, whatever the vocabulary
STREAM_TIME = 256  # tokens read at once by a model that can be streamed
WHOLE_TOKENS = 8192  # of pairs or records scored at once
RESAMPLES = 400  # for an interval
WARM_UP = 128  # tokens read unscored before a stream's share of the text begins


@dataclass(frozen=True, slots=True)
class Likelihood:
    """A text's likelihood.

    Attributes:
        nats: minus the natural log-probability of all the tokens.
        tokens: how many, the end of each record included.
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
            **self._ends(),
        }

    def _ends(self) -> dict[str, float]:
        """``low`` and ``high``, the interval in bits per byte."""
        if self.interval is None:
            return {}
        low, high = (n * self.tokens / self.bytes / math.log(2) for n in self.interval)
        return {"low": low, "high": high}


def interval(nats: Sequence[float], tokens: Sequence[int]) -> tuple[float, float] | None:
    """The 95% interval of nats per token: blocks or records are resampled, never tokens, which
    depend on each other (Efron 1979).

    Args:
        nats, tokens: of each block or record.

    Returns:
        None: there are too few to tell.
    """
    if len(nats) < FEWEST_RESAMPLED:
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
    """Score every token of a flat stream after its first.

    A model without bounds reads the stream with its state carried along. One with a bounded
    context reads it in windows.

    Args:
        model: it is put into evaluation mode.
        ids: the stream, beginning with the end symbol.
        bytes_: the UTF-8 bytes of the text that the stream spells.
        window: the tokens of a window, in which text begins with an empty state; at most the
            model's context, and ``None``: as many. A model without bounds reads in windows only if
            they are asked for.
        stride: how far windows move. ``None``: by a whole one, so that they do not overlap. A
            smaller stride gives every token more context, and takes longer.
        progress: called with the share that is done.
    """
    model.eval()
    sizes = [size for size in (window, model.context) if size is not None]
    scores = _in_windows(ids, model, min(sizes), stride) if sizes else _streams(ids, model)
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
    wholes: Examples,
    bytes_: int,
    *,
    progress: Callable[[float], None] | None = None,
) -> Likelihood:
    """Score records, each as a whole, or the targets of pairs, each given its source.

    Args:
        model: it is put into evaluation mode.
        bytes_: the UTF-8 bytes of what is scored, and one for the end of each text.
        progress: called with the share that is done.
    """
    model.eval()
    room = LOGITS_AT_ONCE // model.vocab_size
    batches = Buckets(wholes, min(room, WHOLE_TOKENS))
    nats, tokens, bound = 0.0, 0, False
    each: tuple[list[float], list[int]] = [], []
    with torch.inference_mode():
        for number, batch in enumerate(batches.once(), 1):
            score = model.score(batch.to(model.device))
            nats += float(score.nats.sum())
            tokens += int(score.tokens.sum())
            bound = bound or score.bound
            each[0].extend(score.nats.tolist())
            each[1].extend(score.tokens.tolist())
            if progress is not None:
                progress(number / batches.per_epoch)
    return Likelihood(nats, tokens, bytes_, bound, interval(*each))


def _streams(ids: NDArray[np.unsignedinteger], model: LanguageModel) -> Iterator[Score]:
    """Equal shares of the stream side by side; all but the first are warmed up on what is before.

    With one row this is exact; with more, a share's first tokens know less of the text before them
    than the state could hold. Texts that can only be read from their beginning are not parted.
    """
    count = len(ids) - 1
    room = LOGITS_AT_ONCE // (STREAM_TIME * model.vocab_size)
    rows = max(1, min(16, count // (8 * WARM_UP), room))
    if has_capability(model, SamplesTexts):
        rows = 1
    share = -(-count // rows)
    begins = np.arange(rows)[:, None] * share
    state = model.initial_state(1)
    if rows > 1:
        before = gather(ids, begins[1:] + np.arange(-WARM_UP, 0))
        before.tokens[:, 0] = END  # as every text begins
        state = join(
            [state, model.score(before.to(model.device), model.initial_state(rows - 1)).state]
        )
    for start in range(0, share, STREAM_TIME):
        offsets = np.arange(start, min(start + STREAM_TIME, share))
        score = model.score(gather(ids, begins + offsets).to(model.device), state)
        state = score.state
        yield score


def _in_windows(
    ids: NDArray[np.unsignedinteger], model: LanguageModel, window: int, stride: int | None
) -> Iterator[Score]:
    for batch in windows(ids, model.vocab_size, window, stride):
        yield model.score(batch.to(model.device))


def windows(
    ids: NDArray[np.unsignedinteger], vocab_size: int, window: int, stride: int | None
) -> Iterator[Batch]:
    """Windows of the text; where they overlap, only what is new in each is scored."""
    count = len(ids) - 1
    window = min(window, max(1, count))  # of a short text nothing is padded to a long context
    stride = window if stride is None else max(1, min(stride, window))
    starts = np.arange(0, max(count - window + stride, 1), stride)
    rows = max(1, LOGITS_AT_ONCE // (window * vocab_size))
    for first in range(0, len(starts), rows):
        begins = starts[first : first + rows, None]
        batch = gather(ids, begins + np.arange(window))
        seen = (np.arange(window) < window - stride) & (begins > 0)
        batch.targets[torch.from_numpy(seen)] = IGNORE
        yield batch


def gather(ids: NDArray[np.unsignedinteger], places: NDArray[np.int64]) -> Batch:
    """Tokens at ``places``, and their successors; what lies outside the text is not scored."""
    inside = (places >= 0) & (places < len(ids) - 1)
    safe = np.where(inside, places, 0)
    tokens = torch.from_numpy(ids[safe].astype(np.int64))
    targets = torch.from_numpy(np.where(inside, ids[safe + 1].astype(np.int64), IGNORE))
    return Batch(tokens, targets)
