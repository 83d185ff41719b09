"""Held-out likelihood of a sample of the text, with a bootstrap interval.

The sample consists of blocks of a text, or of records, spread evenly over all of it. A smaller
sample is a subset of a larger one, so that evaluations during training and the final one are
comparable. Tokens are not independent: the bootstrap resamples blocks or records, never tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from wenmo.budget import fit_count
from wenmo.evaluation.likelihood import MAX_LOGITS, WARM_UP, Likelihood, gather, interval
from wenmo.evaluation.results import Evaluation, Sample
from wenmo.models.base import LanguageModel
from wenmo.text.spread import spread_order
from wenmo.types import END, IGNORE

BLOCK = 512  # maximal tokens of a block, context included
MIN_SAMPLED = 4  # minimal number of pairs or records
SAFETY_FACTOR = 0.8  # fraction of the remaining time that is planned


class Texts(Protocol):
    """Pairs or records."""

    def __len__(self) -> int: ...

    def select(self: T, numbers: NDArray[np.int64]) -> T:
        """The items with these indices."""
        ...


T = TypeVar("T", bound=Texts)
E = TypeVar("E", bound=Evaluation)


@dataclass
class Blocks:
    """Blocks of a text, in an order in which any number of first blocks is spread evenly over it.

    If the model's context allows, the 128 tokens before each block are read unscored.

    Attributes:
        model: the model; it is set to evaluation mode.
        ids: the stream, starting with END.
        count_bytes: gives the UTF-8 bytes of a stream without its first token.
        size: number of scored tokens in a block.
        scored: number of blocks scored so far.
        max_batch: maximal number of blocks in a batch.
    """

    model: LanguageModel
    ids: NDArray[np.unsignedinteger]
    count_bytes: Callable[[NDArray[Any]], int]
    size: int = field(init=False)
    max_batch: int = field(init=False)
    scored: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.model.eval()
        context = self.model.context
        length = min(context or BLOCK, BLOCK)
        self._warm_up = 0 if context is not None and context <= BLOCK else WARM_UP
        self.size = length - self._warm_up
        starts = np.arange(0, len(self.ids) - 1, self.size)
        self._order = starts[spread_order(len(starts))]
        self.max_batch = max(1, MAX_LOGITS // (length * self.model.vocab_size))
        self._nats: list[float] = []
        self._tokens: list[int] = []
        self._bytes, self._bound = 0, False

    def __len__(self) -> int:
        return len(self._order)

    def score(self, count: int) -> None:
        """Score the next blocks in one batch."""
        begins = self._order[self.scored : self.scored + count, None]
        batch = gather(self.ids, begins + np.arange(-self._warm_up, self.size))
        if self._warm_up:
            batch.targets[:, : self._warm_up] = IGNORE
            batch.tokens[:, 0] = END  # as every text begins
        with torch.inference_mode():
            score = self.model.score(batch.to(self.model.device))
        self._nats += score.nats.tolist()
        self._tokens += score.tokens.tolist()
        ends = ((begin, begin + self.size + 1) for begin in begins[:, 0].tolist())
        self._bytes += sum(self.count_bytes(self.ids[begin:end]) for begin, end in ends)
        self._bound = self._bound or score.bound
        self.scored += len(begins)

    def evaluation(self) -> Evaluation:
        """The evaluation of the blocks scored so far."""
        ends = interval(self._nats, self._tokens)
        tokens = sum(self._tokens)
        found = Likelihood(sum(self._nats), tokens, self._bytes, self._bound, ends)
        return Evaluation(**found.figures())


def block_likelihood(
    model: LanguageModel,
    ids: NDArray[np.unsignedinteger],
    count_bytes: Callable[[NDArray[Any]], int],
    count: int,
) -> Evaluation:
    """An evaluation of ``count`` blocks of a text; see `Blocks`."""
    blocks = Blocks(model, ids, count_bytes)
    count = min(count, len(blocks))
    while blocks.scored < count:
        blocks.score(min(blocks.max_batch, count - blocks.scored))
    return blocks.evaluation()


def sampled_likelihood(
    model: LanguageModel,
    ids: NDArray[np.unsignedinteger],
    count_bytes: Callable[[NDArray[Any]], int],
    seconds: float,
    *,
    min_count: int = 1,
    max_count: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Evaluation | None:
    """Score blocks of a text for about ``seconds`` seconds; see `Blocks`.

    Args:
        seconds: wall-clock limit.
        min_count: minimal number of blocks, even beyond the limit.
        max_count: maximal number of blocks; None: all.
        progress: called with the fraction of the time used.

    Returns:
        The evaluation; if not all blocks were scored, ``sample`` says how many. None: the limit is
        enough for the complete text, which should be scored instead.
    """
    seconds = max(seconds, 1e-3)
    blocks = Blocks(model, ids, count_bytes)
    enough = len(blocks) if max_count is None else min(max_count, len(blocks))
    min_count = min(min_count, enough)
    started, rows = time.perf_counter(), 1
    while blocks.scored < enough:
        blocks.score(min(rows, enough - blocks.scored))
        used = time.perf_counter() - started
        if progress is not None:
            progress(min(1.0, max(used / seconds, blocks.scored / enough)))
        fit = int((SAFETY_FACTOR * seconds - used) * blocks.scored / used)
        if blocks.scored <= 4 and fit >= enough == len(blocks):
            return None
        fit = max(fit, min_count - blocks.scored)
        if fit < 1:
            break
        rows = min(blocks.max_batch, 2 * rows, fit)
    found = blocks.evaluation()
    if blocks.scored == len(blocks):
        return found
    return replace(found, sample=Sample(found.tokens / (len(ids) - 1), blocks.scored))


def sampled_evaluation(
    texts: T,
    evaluate: Callable[[T], E],
    seconds: float | None,
    *,
    min_count: int = MIN_SAMPLED,
    max_count: int | None = None,
) -> E:
    """Evaluate as many pairs or records as fit into ``seconds`` seconds, spread over the data.

    Args:
        texts: pairs or records.
        evaluate: evaluates them.
        seconds: wall-clock limit; None: no limit, all are evaluated.
        min_count: minimal number of texts, even beyond the limit.
        max_count: maximal number of texts; None: all.

    Returns:
        The evaluation; if not all texts were evaluated, ``sample`` says how many.
    """
    if seconds is None:
        return evaluate(texts)
    order, enough = spread_order(len(texts)), min(max_count or len(texts), len(texts))
    count = enough
    if min_count < enough:
        count = fit_count(lambda n: evaluate(texts.select(order[:n])), min_count, enough, seconds)
    if count == len(texts):
        return evaluate(texts)
    some = texts.select(np.sort(order[:count]))
    return replace(evaluate(some), sample=Sample(count / len(texts), count))
