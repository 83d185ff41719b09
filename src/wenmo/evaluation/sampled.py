"""Held-out likelihood of a part of the text, and an interval.

The part is blocks of a text, or whole records, spread evenly over all of it. Parts of two sizes are
nested, so that the figures on the way and the final one are of the same text as far as they go.
Tokens are not independent: blocks or records are resampled for the interval, never tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from wenmo.budget import how_many
from wenmo.evaluation.likelihood import LOGITS_AT_ONCE, WARM_UP, Likelihood, gather, interval
from wenmo.evaluation.results import Evaluation, Sample
from wenmo.models.base import LanguageModel
from wenmo.text.spread import spread_order
from wenmo.types import END, IGNORE

BLOCK = 512  # tokens of a block at most, those that are only read included
FEW = 4  # pairs or records of the first trial
SAFE = 0.8  # of the time left is planned with


class Texts(Protocol):
    """Pairs or records."""

    def __len__(self) -> int: ...

    def select(self: T, numbers: NDArray[np.int64]) -> T:
        """The named ones alone."""
        ...


T = TypeVar("T", bound=Texts)
E = TypeVar("E", bound=Evaluation)


@dataclass
class Blocks:
    """Blocks of a text, in an order of which the first few are spread evenly over it.

    Where the model's context allows, each block is read after 128 unscored tokens before it.

    Attributes:
        model: it is put into evaluation mode.
        ids: the stream, beginning with the end symbol.
        count_bytes: the UTF-8 bytes of a stream that begins with a token that is not counted.
        size: tokens of a block that are scored.
        done: blocks that were scored.
        most: blocks that are scored side by side.
    """

    model: LanguageModel
    ids: NDArray[np.unsignedinteger]
    count_bytes: Callable[[NDArray[Any]], int]
    size: int = field(init=False)
    most: int = field(init=False)
    done: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.model.eval()
        context = self.model.context
        length = min(context or BLOCK, BLOCK)
        self._warm_up = 0 if context is not None and context <= BLOCK else WARM_UP
        self.size = length - self._warm_up
        starts = np.arange(0, len(self.ids) - 1, self.size)
        self._order = starts[spread_order(len(starts))]
        self.most = max(1, LOGITS_AT_ONCE // (length * self.model.vocab_size))
        self._nats: list[float] = []
        self._tokens: list[int] = []
        self._bytes, self._bound = 0, False

    def __len__(self) -> int:
        return len(self._order)

    def score(self, count: int) -> None:
        """Score the next blocks, side by side."""
        begins = self._order[self.done : self.done + count, None]
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
        self.done += len(begins)

    def evaluation(self) -> Evaluation:
        """Of the blocks that were scored."""
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
    """An evaluation of so many blocks of a text; see `Blocks`."""
    blocks = Blocks(model, ids, count_bytes)
    count = min(count, len(blocks))
    while blocks.done < count:
        blocks.score(min(blocks.most, count - blocks.done))
    return blocks.evaluation()


def sampled_likelihood(
    model: LanguageModel,
    ids: NDArray[np.unsignedinteger],
    count_bytes: Callable[[NDArray[Any]], int],
    seconds: float,
    *,
    least: int = 1,
    most: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Evaluation | None:
    """Score blocks from all over a text for about so many seconds; see `Blocks`.

    Args:
        seconds: wall-clock time.
        least: blocks that are scored however long they take.
        most: blocks that are enough.
        progress: called with the share of the time that is used.

    Returns:
        Where not all blocks were scored, its ``sample`` says how many were. None: all of the text
        can be scored in the time, and should be.
    """
    seconds = max(seconds, 1e-3)
    blocks = Blocks(model, ids, count_bytes)
    enough = len(blocks) if most is None else min(most, len(blocks))
    least = min(least, enough)
    started, rows = time.perf_counter(), 1
    while blocks.done < enough:
        blocks.score(min(rows, enough - blocks.done))
        used = time.perf_counter() - started
        if progress is not None:
            progress(min(1.0, max(used / seconds, blocks.done / enough)))
        fit = int((SAFE * seconds - used) * blocks.done / used)
        if blocks.done <= 4 and fit >= enough == len(blocks):
            return None
        fit = max(fit, least - blocks.done)
        if fit < 1:
            break
        rows = min(blocks.most, 2 * rows, fit)
    found = blocks.evaluation()
    if blocks.done == len(blocks):
        return found
    return replace(found, sample=Sample(found.tokens / (len(ids) - 1), blocks.done))


def sampled_wholes(
    texts: T,
    evaluate: Callable[[T], E],
    seconds: float | None,
    *,
    least: int = FEW,
    most: int | None = None,
) -> E:
    """Score as many pairs or records from all over the text as can be scored in so many seconds.

    Args:
        texts: the pairs or records.
        evaluate: scores them.
        seconds: wall-clock time; None: all are scored, however long it takes.
        least: those that are scored however long they take.
        most: those that are enough.

    Returns:
        The evaluation; where not all were scored, its ``sample`` says how many were.
    """
    if seconds is None:
        return evaluate(texts)
    order, enough = spread_order(len(texts)), min(most or len(texts), len(texts))
    count = enough
    if least < enough:
        count = how_many(lambda n: evaluate(texts.select(order[:n])), least, enough, seconds)
    if count == len(texts):
        return evaluate(texts)
    some = texts.select(np.sort(order[:count]))
    return replace(evaluate(some), sample=Sample(count / len(texts), count))
