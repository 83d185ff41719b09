"""A network that stands on counts: the mixture of an n-gram model's orders and a neural network.

Of the next token y after a context h, the model says

    p(y | h) = Σₖ gₖ(h) pₖ(y | h) + g(h) p_network(y | h),

where pₖ is interpolated Kneser–Ney of order k, and the weights g are a softmax of a linear layer on
the network's hidden state and on what is known of the context alone (Neubig & Dyer 2016,
"Generalizing and hybridizing count-based and neural language models", section 3). What the counts
know the network need not learn: it is given gradients where they fail.

The tokens that end a line or a text, the breaks B, have weights a of their own, a softmax of a
second linear layer. The network sees where in a line it is and the counts do not: with one weight
for all tokens the counts would break verse anywhere. With cₖ(h) = 1 - Σ_{b ∈ B} pₖ(b | h),

    p(b | h) = Σₖ aₖ(h) pₖ(b | h)                                for b in B,
    p(y | h) = [Σₖ aₖ(h) cₖ(h)] Σₖ gₖ(h) pₖ(y | h) / cₖ(h)       for any other y,

where k runs over the orders and the network.

The counts have seen the training text, so that they must not be asked of it: the weights would
learn to trust them too much. `cross_fit` scores each part of the text by the counts of all others.
To leave out each token alone is not enough, for text repeats itself nearby.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import (
    ChangesInTraining,
    ContinuesCounts,
    CountsParameters,
    EncodesSource,
    ExplainsTokens,
    FitsPrior,
    HasHiddenStates,
    HasLatents,
    HasMixture,
    capability,
    parameter_count,
    require,
)
from wenmo.models.counts import Grams, Ids, room
from wenmo.models.hybrid_config import HybridConfig
from wenmo.models.network import Network, label_smoothed, log_of_others, select_targets
from wenmo.models.ngram import Ngram
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.posterior import Posterior, bounded
from wenmo.types import IGNORE, Batch, Logits, Loss, Score, State, Tokens

# The share of the network's own cross-entropy in the loss. Without it the gates learn at once that
# the network knows nothing yet, and what has no weight is given no gradients: it never learns.
ALONE = 0.5
PASSED_ON = (HasLatents, EncodesSource, ChangesInTraining)  # capabilities of the network
PIECE = 1 << 17  # ids cross-fitted at once
PROBABILITIES_AT_ONCE = 1 << 24  # of whole vocabularies: about 200 MB of scratch


class Hybrid(
    LanguageModel,
    HasMixture,
    HasHiddenStates,
    ExplainsTokens,
    CountsParameters,
    FitsPrior,
    ContinuesCounts,
    HasLatents,
    EncodesSource,
    ChangesInTraining,
):
    """A network and an n-gram model, mixed by weights that depend on the context.

    It encodes sources, has latents and changes in training as its network does; it can fill no
    gaps, whatever its network is, since counts see one side of a text alone.
    """

    prior_prefix = "counts."

    def __init__(self, config: HybridConfig, vocab_size: int) -> None:
        super().__init__()
        network, counts = config.network.build(vocab_size), Ngram(config.counts, vocab_size)
        if not isinstance(network, Network):
            raise TypeError(f"{type(network).__name__} has no hidden state to weigh counts by")
        self.config, self.network, self.counts = config, network, counts
        self.state_schema = network.state_schema | counts.state_schema
        self.folds = config.folds
        self.folds_used = config.folds if config.folds_used is None else config.folds_used
        self.refits, self.cross_fits = True, True
        self.vocab_size, self.context = vocab_size, network.context
        self.conditioning = network.conditioning
        self.record_level = network.record_level
        latents = capability(network, HasLatents)
        self.latent_size = 0 if latents is None else latents.latent_size
        order = counts.config.order
        self.gate = _even_gate(network.hidden_width + counts.sign_count, order + 1)
        self.breaks, self.break_gate = config.breaks, None
        if config.breaks:
            self.break_gate = _even_gate(network.hidden_width + counts.sign_count, order + 1)

    def lacks(self, kind: type) -> bool:
        """What it only passes on it has as far as its network has it."""
        return kind in PASSED_ON and capability(self.network, kind) is None

    def fit_prior(
        self, ids: Ids, progress: Callable[[float], None] | None = None
    ) -> NDArray[np.float16] | None:
        """Count the text that will be trained on, and cross-fit it.

        Counts that are kept as they were, and have not seen the text, need no cross-fitting: then
        nothing is returned, and training asks the counts themselves.
        """
        share = 1 / (1 + self.folds_used)
        if self.refits:
            self.counts.fit(ids, progress=progress and (lambda done: progress(share * done)))
        if not self.cross_fits:
            return None
        return cross_fit(
            ids,
            self.counts.config,
            self.vocab_size,
            folds=self.folds,
            parts=self.folds_used,
            breaks=self.breaks,
            before=self.counts.counted_before,
            progress=progress and (lambda done: progress(share + (1 - share) * done)),
        )

    def keep_counts(self, *, extend: bool, seen: bool) -> None:
        self.counts.keep_counts(extend=extend, seen=seen)
        self.refits, self.cross_fits = extend, extend or seen

    def trainable_length(self, length: int) -> int:
        if not self.cross_fits:
            return length
        return 1 + _edges(length, self.folds)[self.folds_used]

    def initial_state(
        self,
        batch_size: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        """The network's state and the counts'."""
        state = self.network.initial_state(
            batch_size, source=source, capacity=capacity, generator=generator
        )
        return state | self.counts.initial_state(batch_size)

    def encode(self, source: Tokens) -> State:
        encoded = require(self.network, EncodesSource).encode(source)
        return encoded | self.counts.initial_state(len(source))

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        """As any model; the logits are log-probabilities."""
        own, history = self._parts(state)
        reading, after = self.network.encode_tokens(tokens, own)
        contexts, read = self.counts.contexts(tokens, history)
        features = torch.cat(
            [reading[0].float(), self.counts.context_features(contexts)], -1
        ).flatten(0, 1)
        logp = self.network.lm_head(reading).log_softmax(-1).flatten(0, 1)
        weights, at_breaks = self._weights(features), None
        if self.break_gate is not None:
            each = [self.counts.each_order(contexts, tokens, b).flatten(0, 1) for b in self.breaks]
            said = torch.cat([torch.stack(each, -1), logp[:, None, list(self.breaks)]], 1)
            break_weights = self._break_weights(features)
            at_breaks = (break_weights[..., None] + said).logsumexp(1)
            weights = _of_others(weights, break_weights, log_of_others(said))
        mixed = self._mixed([context.flatten() for context in contexts], weights, logp)
        if at_breaks is not None:
            mixed[:, list(self.breaks)] = at_breaks
        return mixed.view(*tokens.shape, self.vocab_size), after | read

    def _mixed(self, contexts: list[Tensor], weights: Tensor, logp: Tensor) -> Tensor:
        """The log of the weighted sum of all voices, of every word (positions, vocabulary)."""
        step, mixed = max(1, PROBABILITIES_AT_ONCE // self.vocab_size), []
        for at in range(0, len(logp), step):
            piece = slice(at, at + step)
            counted = self.counts.mixture(
                [context[piece] for context in contexts], weights[piece, :-1].exp()
            )
            mixed.append(torch.logaddexp(logp[piece] + weights[piece, -1:], counted.log()))
        return torch.cat(mixed)

    def loss(
        self, batch: Batch, state: State | None = None, *, label_smoothing: float = 0.0
    ) -> Loss:
        """The mixture's cross-entropy and, in training, a share of the network's own.

        Smoothing moves the network alone. Of a batch with ``prior_probs`` the counts are not asked,
        and what they remember stays as it is.
        """
        before = self.batch_state(batch, state)
        voices = self._voices(batch, before, smoothed=label_smoothing > 0)
        total = label_smoothed(voices.nats, voices.evenly, label_smoothing)
        own = -voices.said[:, -1]
        if self.training:
            total = total + ALONE * own.mean()
        extra, watched = self.network.penalty(self._parts(before)[0], len(own))
        share = voices.weights[:, -1].detach().exp().mean()
        parts = {"nats": voices.nats.detach().mean(), "network_share": share, **watched}
        return Loss(total + extra, parts, voices.after)

    def mixture_components(self) -> Mapping[str, LanguageModel]:
        return {"network": self.network, "counts": self.counts}

    def explain_tokens(
        self, tokens: Tokens, state: State | None = None
    ) -> tuple[list[str], Tensor, Tensor]:
        """The counts of each order, from 1 up, and the network."""
        voices = self._voices(Batch(tokens[:, :-1], tokens[:, 1:]), state)
        names = [f"counts of {n}" for n in range(1, self.counts.config.order + 1)]
        return [*names, "network"], voices.weights.exp(), voices.said.exp()

    def hidden_states(
        self, batch: Batch, state: State | None = None
    ) -> tuple[Tensor, Tensor, State]:
        voices = self._voices(batch, self.batch_state(batch, state))
        return voices.hidden.float(), voices.nats, voices.after

    def _voices(self, batch: Batch, state: State | None, *, smoothed: bool = False) -> _Voices:
        """What each voice says of each target. Only the targets are looked up, and in a batch with
        ``prior_probs`` not even these.
        """
        own, history = self._parts(state)
        reading, after = self.network.encode_tokens(batch.tokens, own)
        order = self.counts.config.order
        if batch.prior_probs is None:
            columns, history = self._ask(batch, history)
        else:
            columns, history = (
                batch.prior_probs,
                history or self.counts.initial_state(len(batch.tokens)),
            )
        (*flat, columns), targets = select_targets((*reading, columns), batch.targets)
        said, context_features = (
            columns[:, :order],
            columns[:, order : order + self.counts.sign_count],
        )
        breaks = torch.tensor(self.breaks, device=targets.device) if self.breaks else None
        nats, evenly, others = self.network.costs(
            tuple(flat), targets, smoothed=smoothed, breaks=breaks
        )
        said = torch.cat([said, -nats[:, None]], 1)
        features = torch.cat([flat[0].float(), context_features], -1)
        weights = self._weights(features)
        if breaks is not None:
            break_weights = self._break_weights(features)
            apart = torch.cat([columns[:, -order:], others[:, None]], 1)
            weights = torch.where(
                torch.isin(targets, breaks)[:, None],
                break_weights,
                _of_others(weights, break_weights, apart),
            )
        mixed = -(weights + said).logsumexp(1)
        return _Voices(flat[0], weights, said, mixed, evenly, after | history)

    def batch_state(self, batch: Batch, state: State | None) -> State | None:
        own = self.network.batch_state(batch, self._parts(state)[0])
        if own is None or (state and batch.source is None):
            return state
        return own | self.counts.initial_state(len(batch.tokens))

    def infer(self, batch: Batch) -> Posterior:
        return require(self.network, HasLatents).infer(batch)

    def state_at(self, latents: Tensor, *, capacity: int = 0) -> State:
        state = require(self.network, HasLatents).state_at(latents, capacity=capacity)
        return state | self.counts.initial_state(len(latents))

    def set_progress(self, progress: float, step: int) -> None:
        require(self.network, ChangesInTraining).set_progress(progress, step)

    def further_progress(self, progress: float) -> float:
        return require(self.network, ChangesInTraining).further_progress(progress)

    def score(self, batch: Batch, state: State | None = None) -> Score:
        before = self.batch_state(batch, state)
        voices = self._voices(batch, before)
        mask = batch.targets != IGNORE
        each = torch.zeros(mask.shape, dtype=torch.float64, device=mask.device)
        each[mask] = voices.nats.double()
        return bounded(Score(each.sum(1), mask.sum(1), state=voices.after), before)

    def parameter_count(self) -> int:
        """The network's weights and the gates'; what is counted is not among them."""
        gates = [self.gate] if self.break_gate is None else [self.gate, self.break_gate]
        return parameter_count(self.network) + sum(p.numel() for g in gates for p in g.parameters())

    def _parts(self, state: State | None) -> tuple[State | None, State | None]:
        """The network's part of a state, and the counts'."""
        if not state:
            return None, None
        history = self.counts.state_schema.declared(state)
        own = {name: tensor for name, tensor in state.items() if name not in history}
        return own or None, history

    def _ask(self, batch: Batch, history: State | None) -> tuple[Tensor, State]:
        """What `cross_fit` tells of each target, of the counts themselves."""
        words = batch.targets.where(batch.targets != IGNORE, 0)
        return ask(self.counts, batch.tokens, words, self.breaks, history)

    def _weights(self, features: Tensor) -> Tensor:
        """The log-weights (..., order + 1), the network's last."""
        return self.gate(features).float().log_softmax(-1)

    def _break_weights(self, features: Tensor) -> Tensor:
        """The same for breaks."""
        assert self.break_gate is not None
        return self.break_gate(features).float().log_softmax(-1)


@dataclass(frozen=True, slots=True)
class _Voices:
    """What the orders and the network, the voices, say of the targets of a batch.

    Attributes:
        hidden: the network's hidden states, (targets, width).
        weights: the log-weight of each voice at this target, (targets, order + 1).
        said: the log-probability that each gives to it, (targets, order + 1).
        nats: what the mixture says, (targets,).
        evenly: the network's mean nats of all the vocabulary, where they are asked for.
        after: the state after the last token.
    """

    hidden: Tensor
    weights: Tensor
    said: Tensor
    nats: Tensor
    evenly: Tensor
    after: State


def _even_gate(features: int, voices: int) -> nn.Linear:
    """A layer whose softmax gives each voice the same weight at first."""
    gate = nn.Linear(features, voices)
    nn.init.zeros_(gate.weight)
    nn.init.zeros_(gate.bias)
    return gate


def _of_others(weights: Tensor, break_weights: Tensor, others: Tensor) -> Tensor:
    """The log-weight of each voice at a token that is no break.

    Args:
        weights, break_weights: the gates' log-weights, (places, voices).
        others: of each voice, the log-probability that no break stands there, (places, voices).
    """
    return weights + (break_weights + others).logsumexp(-1, keepdim=True) - others


def cross_fit(
    ids: Ids,
    config: NgramConfig,
    vocab_size: int,
    *,
    folds: int,
    parts: int | None = None,
    breaks: tuple[int, ...] = (),
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
        breaks: ids of tokens that have weights of their own.
        before: counts of other text, which are added to those of each piece's others.
        progress: told the fraction done, between 0 and 1.

    Returns:
        float16 (ids, columns): for each id after the first, as far as the parts reach, its
        log-probability by each order, and the signs of its context, as `Ngram.experts` gives them,
        and, where there are breaks, by each order the log-probability that none stands there.
    """
    columns = config.order * (1 + bool(breaks)) + Ngram(config, vocab_size).sign_count
    edges = _edges(len(ids), folds)[: 1 + (folds if parts is None else parts)]
    table = room((edges[-1], columns), np.float16)
    threads = torch.get_num_threads()

    def part(edge: tuple[int, int]) -> None:
        torch.set_num_threads(1)  # in this thread: the parts are side by side already
        _score(ids, config, vocab_size, *edge, table, breaks, before)

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
    config: NgramConfig,
    vocab_size: int,
    begin: int,
    stop: int,
    table: NDArray[Any],
    breaks: tuple[int, ...],
    counted_before: list[Grams] | None,
) -> None:
    """Fill the rows of one part by the counts of all that is outside it."""
    model = Ngram(config, vocab_size)
    model.counted_before = counted_before
    model.fit(np.concatenate([ids[: begin + 1], ids[stop + 1 :]]))
    before, state = max(0, begin - config.order + 2), model.initial_state(1)
    if before < begin:
        _, state = model.contexts(_tensor(ids[before:begin]), state)
    for at in range(begin, stop, PIECE):
        piece = _tensor(ids[at : min(at + PIECE, stop) + 1])
        columns, state = ask(model, piece[:, :-1], piece[:, 1:], breaks, state)
        table[at : at + columns.shape[1]] = columns[0].half().numpy()


def ask(
    counts: Ngram, tokens: Tokens, words: Tokens, breaks: tuple[int, ...], state: State | None
) -> tuple[Tensor, State]:
    """What counts tell of the word after each token, float32 (rows, time, columns) as `cross_fit`
    orders them, and the state after the last token.
    """
    said, context_features, after = counts.experts(tokens, words, state)
    if not breaks:
        return torch.cat([said, context_features], 2), after
    contexts, _ = counts.contexts(tokens, state)
    each = [counts.each_order(contexts, tokens, word) for word in breaks]
    return torch.cat([said, context_features, log_of_others(torch.stack(each, -1))], 2), after


def _tensor(ids: Ids) -> Tensor:
    return torch.from_numpy(ids.astype(np.int64))[None]
