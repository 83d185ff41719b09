"""A network that stands on counts: the mixture of an n-gram model's orders and a neural network.

Of the next token y after a context h, the model says

    p(y | h) = Σₖ gₖ(h) pₖ(y | h) + g(h) p_network(y | h),

where pₖ is interpolated Kneser–Ney of order k, and the weights g are a softmax of a linear layer on
the network's hidden state and on what is known of the context alone (Neubig & Dyer 2016,
"Generalizing and hybridizing count-based and neural language models", section 3). What the counts
know the network need not learn: it is given gradients where they fail.

The counts have seen the training text, so that they must not be asked of it: the weights would
learn to trust them too much. `cross_fit` scores each part of the text by the counts of all others.
To leave out each token alone is not enough, for text repeats itself nearby.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wenmo.models.base import LanguageModel, Network, asked, bounded, smooth
from wenmo.models.counts import Grams, Ids, room
from wenmo.models.ngram import Ngram
from wenmo.models.posterior import Posterior
from wenmo.types import IGNORE, Batch, Logits, Loss, Score, State, Tokens

HISTORY = "counted"  # the part of a state that belongs to the counts
# The share of the network's own cross-entropy in the loss. Without it the gates learn at once that
# the network knows nothing yet, and what has no weight is given no gradients: it never learns.
ALONE = 0.5
PIECE = 1 << 17  # ids cross-fitted at once
PROBABILITIES_AT_ONCE = 1 << 24  # of whole vocabularies: about 200 MB of scratch


class NetworkConfig(Protocol):
    """Settings that make a network."""

    def build(self, vocab_size: int) -> LanguageModel: ...


class Hybrid(LanguageModel):
    """A network and an n-gram model, mixed by weights that depend on the context."""

    notices = True
    fixed = ("counts.",)
    counts_text = True

    @dataclass(frozen=True)
    class Config:
        """Settings of a hybrid.

        Attributes:
            network: of the network.
            counts: of the n-gram model; its order must be above 1.
            folds: into how many parts a text is cut to be cross-fitted.
            parts: how many of them, from the first on, the network will read; null: all.
        """

        network: NetworkConfig
        counts: Ngram.Config
        folds: int = 5
        parts: int | None = None

        def build(self, vocab_size: int) -> Hybrid:
            network = self.network.build(vocab_size)
            if not isinstance(network, Network):
                raise TypeError(f"{type(network).__name__} has no hidden state to weigh counts by")
            parts = self.folds if self.parts is None else self.parts
            return Hybrid(network, self.counts.build(vocab_size), self.folds, parts)

    def __init__(self, network: Network, counts: Ngram, folds: int = 5, parts: int = 5) -> None:
        super().__init__()
        self.network, self.counts = network, counts
        self.folds, self.parts_read = folds, parts
        self.refits, self.cross_fits = True, True
        self.vocab_size, self.context = network.vocab_size, network.context
        self.conditioning = network.conditioning
        self.wholes, self.latents = network.wholes, network.latents
        order = counts.config.order
        self.gate = nn.Linear(network.hidden_width + counts.sign_count, order + 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def prepare(
        self, ids: Ids, progress: Callable[[float], None] | None = None
    ) -> NDArray[np.float16] | None:
        """Count the text that will be trained on, and cross-fit it.

        Counts that are kept as they were, and have not seen the text, need no cross-fitting: then
        nothing is returned, and training asks the counts themselves.
        """
        share = 1 / (1 + self.parts_read)
        if self.refits:
            self.counts.fit(ids, progress=progress and (lambda done: progress(share * done)))
        if not self.cross_fits:
            return None
        return cross_fit(
            ids,
            self.counts.config,
            self.vocab_size,
            folds=self.folds,
            parts=self.parts_read,
            before=self.counts.counted_before,
            progress=progress and (lambda done: progress(share + (1 - share) * done)),
        )

    def keep_counts(self, *, extend: bool, seen: bool) -> None:
        self.counts.keep_counts(extend=extend, seen=seen)
        self.refits, self.cross_fits = extend, extend or seen

    def reach(self, length: int) -> int:
        if not self.cross_fits:
            return length
        return 1 + _edges(length, self.folds)[self.parts_read]

    def begin(
        self,
        rows: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        rng: torch.Generator | None = None,
    ) -> State:
        """The network's state, and ``counted``, the last tokens, int64 (rows, order - 1)."""
        state = self.network.begin(rows, source=source, capacity=capacity, rng=rng)
        return state | {HISTORY: self.counts.begin(rows)["history"]}

    def encode(self, source: Tokens) -> State:
        history = self.counts.begin(len(source))["history"]
        return self.network.encode(source) | {HISTORY: history}

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        """As any model; the logits are log-probabilities."""
        own, history = _parts(state)
        reading, after = self.network.read(tokens, own)
        contexts, read = self.counts.contexts(tokens, history)
        weights = self._weights(reading[0], self.counts.signs(contexts)).flatten(0, 1)
        logp = self.network.predict(reading).log_softmax(-1).flatten(0, 1)
        flat = [context.flatten() for context in contexts]
        step, mixed = max(1, PROBABILITIES_AT_ONCE // self.vocab_size), []
        for at in range(0, len(logp), step):
            piece = slice(at, at + step)
            shares = weights[piece, :-1].exp()
            counted = self.counts.mixture([context[piece] for context in flat], shares)
            mixed.append(torch.logaddexp(logp[piece] + weights[piece, -1:], counted.log()))
        logits = torch.cat(mixed).view(*tokens.shape, self.vocab_size)
        return logits, after | {HISTORY: read["history"]}

    def loss(
        self, batch: Batch, state: State | None = None, *, label_smoothing: float = 0.0
    ) -> Loss:
        """The mixture's cross-entropy and, in training, a share of the network's own.

        Smoothing moves the network alone. Of a batch with ``counted`` the counts are not asked, and
        what they remember stays as it is.
        """
        own, history = _parts(self.first(batch, state))
        reading, after = self.network.read(batch.tokens, own)
        if batch.counted is None:
            said, signs, history = self._ask(batch, history)
        else:
            order = self.counts.config.order
            said, signs = batch.counted[..., :order], batch.counted[..., order:]
            history = history or self.counts.begin(len(batch.tokens))
        (*flat, said, signs), targets = asked((*reading, said, signs), batch.targets)
        nats, evenly = self.network.costs(tuple(flat), targets, smoothed=label_smoothing > 0)
        weights = self._weights(flat[0], signs)
        mixed = -(weights + torch.cat([said, -nats[:, None]], 1)).logsumexp(1)
        total = smooth(mixed, evenly, label_smoothing)
        if self.training:
            total = total + ALONE * nats.mean()
        extra, watched = self.network.penalty(own, len(targets))
        share = weights[:, -1].detach().exp().mean()
        parts = {"nats": mixed.detach().mean(), "network_share": share, **watched}
        return Loss(total + extra, parts, after | {HISTORY: history["history"]})

    def parts(self) -> Mapping[str, LanguageModel]:
        return {"network": self.network, "counts": self.counts}

    def voices(
        self, tokens: Tokens, state: State | None = None
    ) -> tuple[list[str], Tensor, Tensor]:
        """The counts of each order, from 1 up, and the network."""
        batch = Batch(tokens[:, :-1], tokens[:, 1:])
        _, weights, said, _ = self._voices(batch, state)
        names = [f"counts of {n}" for n in range(1, self.counts.config.order + 1)]
        return [*names, "network"], weights.exp(), said.exp()

    def notice(self, batch: Batch, state: State | None = None) -> tuple[Tensor, Tensor, State]:
        hidden, weights, said, after = self._voices(batch, self.first(batch, state))
        return hidden.float(), -(weights + said).logsumexp(1), after

    def _voices(self, batch: Batch, state: State | None) -> tuple[Tensor, Tensor, Tensor, State]:
        """For each target the hidden state, and the log-weight and the log-probability of each
        order and of the network, (targets, order + 1). Only the targets are looked up.
        """
        own, history = _parts(state)
        reading, after = self.network.read(batch.tokens, own)
        said, signs, read = self._ask(batch, history)
        (*flat, said, signs), targets = asked((*reading, said, signs), batch.targets)
        nats, _ = self.network.costs(tuple(flat), targets)
        weights = self._weights(flat[0], signs)
        after = after | {HISTORY: read["history"]}
        return flat[0], weights, torch.cat([said, -nats[:, None]], 1), after

    def first(self, batch: Batch, state: State | None) -> State | None:
        own = self.network.first(batch, _parts(state)[0])
        if own is None or (state and batch.source is None):
            return state
        return own | {HISTORY: self.counts.begin(len(batch.tokens))["history"]}

    def infer(self, batch: Batch) -> Posterior:
        return self.network.infer(batch)

    def begin_at(self, latents: Tensor, *, capacity: int = 0) -> State:
        history = self.counts.begin(len(latents))["history"]
        return self.network.begin_at(latents, capacity=capacity) | {HISTORY: history}

    def advance(self, progress: float, step: int) -> None:
        self.network.advance(progress, step)

    def progress_again(self, progress: float) -> float:
        return self.network.progress_again(progress)

    def score(self, batch: Batch, state: State | None = None) -> Score:
        before = self.first(batch, state)
        _, weights, said, after = self._voices(batch, before)
        nats = -(weights + said).logsumexp(1)
        mask = batch.targets != IGNORE
        each = torch.zeros(mask.shape, dtype=torch.float64, device=mask.device)
        each[mask] = nats.double()
        return bounded(Score(each.sum(1), mask.sum(1), state=after), before)

    def parameter_count(self) -> int:
        """The network's weights and the gates'; what is counted is not among them."""
        return self.network.parameter_count() + sum(p.numel() for p in self.gate.parameters())

    def _ask(self, batch: Batch, history: State | None) -> tuple[Tensor, Tensor, State]:
        words = batch.targets.where(batch.targets != IGNORE, 0)
        return self.counts.experts(batch.tokens, words, history)

    def _weights(self, hidden: Tensor, signs: Tensor) -> Tensor:
        """The log-weights (..., order + 1), the network's last."""
        return self.gate(torch.cat([hidden.float(), signs], -1)).float().log_softmax(-1)


def _parts(state: State | None) -> tuple[State | None, State | None]:
    """The network's part of a state, and the counts'."""
    if not state:
        return None, None
    own = {name: tensor for name, tensor in state.items() if name != HISTORY}
    return own or None, {"history": state[HISTORY]}


def cross_fit(
    ids: Ids,
    config: Ngram.Config,
    vocab_size: int,
    *,
    folds: int,
    parts: int | None = None,
    before: list[Grams] | None = None,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float16]:
    """What the counts of other parts of a text say of each of its ids after the first.

    The text is cut into ``folds`` pieces, and the first ``parts`` of them (by default all) are
    scored by the counts of all the others.

    Args:
        ids: as for `Ngram.fit`.
        config: of the n-gram model; its order must be above 1.
        folds: at least 2.
        before: counts of other text, which are added to those of each piece's others.
        progress: told the fraction done, between 0 and 1.

    Returns:
        float16 (ids, columns): for each id after the first, as far as the parts reach, its
        log-probability by each order, and the signs of its context, as `Ngram.experts` gives them.
    """
    columns = config.order + config.build(vocab_size).sign_count
    edges = _edges(len(ids), folds)[: 1 + (folds if parts is None else parts)]
    table = room((edges[-1], columns), np.float16)
    threads = torch.get_num_threads()

    def part(edge: tuple[int, int]) -> None:
        torch.set_num_threads(1)  # in this thread: the parts are side by side already
        _score(ids, config, vocab_size, *edge, table, before)

    with ThreadPoolExecutor(threads) as pool:
        for done, _ in enumerate(pool.map(part, pairwise(edges)), 1):
            if progress is not None:
                progress(done / (len(edges) - 1))
    return table


def _edges(length: int, folds: int) -> list[int]:
    """Where the folds of a text begin and end, by the places of their ids' contexts."""
    edges: list[int] = np.linspace(0, length - 1, folds + 1).astype(int).tolist()
    return edges


def _score(
    ids: Ids,
    config: Ngram.Config,
    vocab_size: int,
    begin: int,
    stop: int,
    table: NDArray[Any],
    counted_before: list[Grams] | None,
) -> None:
    """Fill the rows of one part by the counts of all that is outside it."""
    model = config.build(vocab_size)
    model.counted_before = counted_before
    model.fit(np.concatenate([ids[: begin + 1], ids[stop + 1 :]]))
    before, state = max(0, begin - config.order + 2), model.begin(1)
    if before < begin:
        _, state = model.contexts(_tensor(ids[before:begin]), state)
    for at in range(begin, stop, PIECE):
        piece = _tensor(ids[at : min(at + PIECE, stop) + 1])
        said, signs, state = model.experts(piece[:, :-1], piece[:, 1:], state)
        table[at : at + said.shape[1]] = torch.cat([said, signs], 2)[0].half().numpy()


def _tensor(ids: Ids) -> Tensor:
    return torch.from_numpy(ids.astype(np.int64))[None]
