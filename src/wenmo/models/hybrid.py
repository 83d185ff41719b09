"""A mixture of a neural network and the orders of an n-gram model.

The probability of the next token y after a context h is

    p(y | h) = Σₖ gₖ(h) pₖ(y | h) + g(h) p_network(y | h),

where pₖ is interpolated Kneser–Ney of order k. The weights g are a softmax of a linear layer on the
network's hidden state and on features of the context (Neubig & Dyer 2016, "Generalizing and
hybridizing count-based and neural language models", section 3). The network receives gradients
where the counts predict badly.

The tokens that end a line or a text, the breaks B, have mixture weights a of their own, a softmax
of a second linear layer. The network can see the position in a line, and the counts cannot: with
one weight for all tokens the counts would break verse anywhere.
With cₖ(h) = 1 - Σ_{b ∈ B} pₖ(b | h),

    p(b | h) = Σₖ aₖ(h) pₖ(b | h)                                for b in B,
    p(y | h) = [Σₖ aₖ(h) cₖ(h)] Σₖ gₖ(h) pₖ(y | h) / cₖ(h)       for any other y,

where k runs over the orders and the network.

The counts have seen the training text. If they scored it, the mixture weights would learn to trust
them too much, so that `cross_fit` scores each fold of the text by the counts of all other folds.
Leaving out single tokens is not enough, because text repeats itself nearby.
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
from wenmo.models.counts import Grams, Ids, allocate
from wenmo.models.hybrid_config import HybridConfig
from wenmo.models.network import Network, label_smoothed, log_prob_of_none, select_targets
from wenmo.models.ngram import Ngram
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.posterior import Posterior, bounded
from wenmo.types import IGNORE, Batch, Logits, Loss, Score, State, Tokens

# The weight of the network's own cross-entropy in the loss. Without it the gates give the untrained
# network no weight, so that it receives no gradients and never learns.
NETWORK_LOSS_WEIGHT = 0.5
DELEGATED = (HasLatents, EncodesSource, ChangesInTraining)  # capabilities that the network has
CHUNK = 1 << 17  # ids cross-fitted at once
MAX_PROBS = 1 << 24  # mixed at once: about 200 MB of temporary memory


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
    """A network and an n-gram model, mixed with weights that depend on the context.

    It encodes sources, has latents and changes in training if its network does. It cannot fill
    gaps, because n-gram counts see only the text to the left.
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
        self.gate = _uniform_gate(network.hidden_size + counts.context_feature_count, order + 1)
        self.breaks, self.break_gate = config.breaks, None
        if config.breaks:
            self.break_gate = _uniform_gate(
                network.hidden_size + counts.context_feature_count, order + 1
            )

    def lacks(self, kind: type) -> bool:
        """It has a delegated capability only if its network has it."""
        return kind in DELEGATED and capability(self.network, kind) is None

    def fit_prior(
        self, ids: Ids, progress: Callable[[float], None] | None = None
    ) -> NDArray[np.float16] | None:
        """Count the training text, and cross-fit it.

        Counts that are kept unchanged and have not seen the text need no cross-fitting: then None
        is returned, and the counts are looked up in training.
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
            folds_used=self.folds_used,
            breaks=self.breaks,
            before=self.counts.previous_counts,
            progress=progress and (lambda done: progress(share + (1 - share) * done)),
        )

    def keep_counts(self, *, extend: bool, seen: bool) -> None:
        self.counts.keep_counts(extend=extend, seen=seen)
        self.refits, self.cross_fits = extend, extend or seen

    def trainable_length(self, length: int) -> int:
        if not self.cross_fits:
            return length
        return 1 + _fold_edges(length, self.folds)[self.folds_used]

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
        """As `LanguageModel.forward`; the logits are log-probabilities."""
        logits, _, after = self.forward_hidden(tokens, state)
        return logits, after

    def forward_hidden(
        self, tokens: Tokens, state: State | None = None
    ) -> tuple[Logits, Tensor, State]:
        """As ``forward``, with the hidden states of the network."""
        network_state, ngram_state = self._split_state(state)
        reading, after = self.network.encode_tokens(tokens, network_state)
        contexts, read = self.counts.contexts(tokens, ngram_state)
        features = torch.cat(
            [reading[0].float(), self.counts.context_features(contexts)], -1
        ).flatten(0, 1)
        logp = self.network.lm_head(reading).log_softmax(-1).flatten(0, 1)
        weights, at_breaks = self._weights(features), None
        if self.break_gate is not None:
            each = [
                self.counts.word_log_probs(contexts, tokens, b).flatten(0, 1) for b in self.breaks
            ]
            log_probs = torch.cat([torch.stack(each, -1), logp[:, None, list(self.breaks)]], 1)
            break_weights = self._break_weights(features)
            at_breaks = (break_weights[..., None] + log_probs).logsumexp(1)
            weights = _log_weights_outside_breaks(
                weights, break_weights, log_prob_of_none(log_probs)
            )
        mixed = self._mixed([context.flatten() for context in contexts], weights, logp)
        if at_breaks is not None:
            mixed[:, list(self.breaks)] = at_breaks
        return mixed.view(*tokens.shape, self.vocab_size), reading[0], after | read

    def _mixed(self, contexts: list[Tensor], weights: Tensor, logp: Tensor) -> Tensor:
        """Log-probabilities of the mixture without breaks, float32 (positions, vocabulary)."""
        step, mixed = max(1, MAX_PROBS // self.vocab_size), []
        for start in range(0, len(logp), step):
            chunk = slice(start, start + step)
            counted = self.counts.mix_orders(
                [context[chunk] for context in contexts], weights[chunk, :-1].exp()
            )
            mixed.append(torch.logaddexp(logp[chunk] + weights[chunk, -1:], counted.log()))
        return torch.cat(mixed)

    def loss(
        self, batch: Batch, state: State | None = None, *, label_smoothing: float = 0.0
    ) -> Loss:
        """The mixture's cross-entropy and, in training, a part of the network's own.

        Label smoothing applies to the network only. With ``prior_probs`` in the batch, the counts
        are not looked up and their state does not change.
        """
        before = self.batch_state(batch, state)
        output = self._mixture(batch, before, with_uniform=label_smoothing > 0)
        total = label_smoothed(output.nats, output.uniform_nats, label_smoothing)
        network_nats = -output.log_probs[:, -1]
        if self.training:
            total = total + NETWORK_LOSS_WEIGHT * network_nats.mean()
        regularizer, metrics = self.network.regularizer(
            self._split_state(before)[0], len(network_nats)
        )
        weight = output.weights[:, -1].detach().exp().mean()
        parts = {"nats": output.nats.detach().mean(), "network_share": weight, **metrics}
        return Loss(total + regularizer, parts, output.state)

    def mixture_components(self) -> Mapping[str, LanguageModel]:
        return {"network": self.network, "counts": self.counts}

    def explain_tokens(
        self, tokens: Tokens, state: State | None = None
    ) -> tuple[list[str], Tensor, Tensor]:
        """The counts of each order, from 1 up, and the network."""
        output = self._mixture(Batch(tokens[:, :-1], tokens[:, 1:]), state)
        names = [f"counts of {n}" for n in range(1, self.counts.config.order + 1)]
        return [*names, "network"], output.weights.exp(), output.log_probs.exp()

    def hidden_states(
        self, batch: Batch, state: State | None = None
    ) -> tuple[Tensor, Tensor, State]:
        output = self._mixture(batch, self.batch_state(batch, state))
        return output.hidden.float(), output.nats, output.state

    def _mixture(
        self, batch: Batch, state: State | None, *, with_uniform: bool = False
    ) -> _MixtureOutput:
        """The prediction of each target by each component. Only targets are looked up in the
        counts, and with ``prior_probs`` in the batch none.
        """
        network_state, ngram_state = self._split_state(state)
        reading, after = self.network.encode_tokens(batch.tokens, network_state)
        order = self.counts.config.order
        if batch.prior_probs is None:
            columns, ngram_state = self._prior_probs(batch, ngram_state)
        else:
            columns, ngram_state = (
                batch.prior_probs,
                ngram_state or self.counts.initial_state(len(batch.tokens)),
            )
        (*flat, columns), targets = select_targets((*reading, columns), batch.targets)
        log_probs, context_features = (
            columns[:, :order],
            columns[:, order : order + self.counts.context_feature_count],
        )
        breaks = torch.tensor(self.breaks, device=targets.device) if self.breaks else None
        nats, uniform_nats, others = self.network.target_losses(
            tuple(flat), targets, with_uniform=with_uniform, breaks=breaks
        )
        log_probs = torch.cat([log_probs, -nats[:, None]], 1)
        features = torch.cat([flat[0].float(), context_features], -1)
        weights = self._weights(features)
        if breaks is not None:
            break_weights = self._break_weights(features)
            apart = torch.cat([columns[:, -order:], others[:, None]], 1)
            weights = torch.where(
                torch.isin(targets, breaks)[:, None],
                break_weights,
                _log_weights_outside_breaks(weights, break_weights, apart),
            )
        mixed = -(weights + log_probs).logsumexp(1)
        return _MixtureOutput(flat[0], weights, log_probs, mixed, uniform_nats, after | ngram_state)

    def batch_state(self, batch: Batch, state: State | None) -> State | None:
        own = self.network.batch_state(batch, self._split_state(state)[0])
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
        output = self._mixture(batch, before)
        mask = batch.targets != IGNORE
        each = torch.zeros(mask.shape, dtype=torch.float64, device=mask.device)
        each[mask] = output.nats.double()
        return bounded(Score(each.sum(1), mask.sum(1), state=output.state), before)

    def parameter_count(self) -> int:
        """The weights of the network and the gates, without the counts."""
        gates = [self.gate] if self.break_gate is None else [self.gate, self.break_gate]
        return parameter_count(self.network) + sum(p.numel() for g in gates for p in g.parameters())

    def _split_state(self, state: State | None) -> tuple[State | None, State | None]:
        """The parts of a state that belong to the network and to the counts."""
        if not state:
            return None, None
        ngram_state = self.counts.state_schema.declared(state)
        own = {name: tensor for name, tensor in state.items() if name not in ngram_state}
        return own or None, ngram_state

    def _prior_probs(self, batch: Batch, ngram_state: State | None) -> tuple[Tensor, State]:
        """The columns of `cross_fit` for each target, looked up in the model's own counts."""
        words = batch.targets.where(batch.targets != IGNORE, 0)
        return ngram_columns(self.counts, batch.tokens, words, self.breaks, ngram_state)

    def _weights(self, features: Tensor) -> Tensor:
        """Log-weights of the components, float32 (..., order + 1), the network last."""
        return self.gate(features).float().log_softmax(-1)

    def _break_weights(self, features: Tensor) -> Tensor:
        """The same for breaks."""
        assert self.break_gate is not None
        return self.break_gate(features).float().log_softmax(-1)


@dataclass(frozen=True, slots=True)
class _MixtureOutput:
    """Predictions of the targets of a batch by the components: each order, and the network.

    Attributes:
        hidden: the network's hidden states, (targets, width).
        weights: log-weights of the components, (targets, order + 1).
        log_probs: log-probabilities of the target by each component, (targets, order + 1).
        nats: of the target under the mixture, (targets,).
        uniform_nats: the network's mean nats over the vocabulary, if requested, (targets,).
        state: the state after the last token.
    """

    hidden: Tensor
    weights: Tensor
    log_probs: Tensor
    nats: Tensor
    uniform_nats: Tensor
    state: State


def _uniform_gate(features: int, output: int) -> nn.Linear:
    """A linear layer that gives all components the same weight initially."""
    gate = nn.Linear(features, output)
    nn.init.zeros_(gate.weight)
    nn.init.zeros_(gate.bias)
    return gate


def _log_weights_outside_breaks(weights: Tensor, break_weights: Tensor, others: Tensor) -> Tensor:
    """Log-weights of the components for a token that is not a break (see the module's docstring).

    Args:
        weights, break_weights: log-weights of the two gates, (positions, components).
        others: each component's log-probability of all tokens but breaks, (positions, components).
    """
    return weights + (break_weights + others).logsumexp(-1, keepdim=True) - others


def cross_fit(
    ids: Ids,
    config: NgramConfig,
    vocab_size: int,
    *,
    folds: int,
    folds_used: int | None = None,
    breaks: tuple[int, ...] = (),
    before: list[Grams] | None = None,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float16]:
    """Score each id of a text after the first by the n-gram counts of the other folds.

    The text is divided into ``folds``. The first ``folds_used`` of them (default all) are scored,
    each by the counts of all other folds.

    Args:
        ids: as for `Ngram.fit`.
        config: of the n-gram model; its order must be above 1.
        folds: at least 2.
        breaks: ids of tokens that have weights of their own.
        before: counts of another text, which are added to those of the other folds.
        progress: told the fraction done, between 0 and 1.

    Returns:
        float16 (ids, columns), for each id after the first in the folds that are used: its
        log-probability by each order and the features of its context, as
        `Ngram.order_log_probs` returns them, and with ``breaks`` each order's log-probability of
        all tokens but breaks.
    """
    columns = config.order * (1 + bool(breaks)) + Ngram(config, vocab_size).context_feature_count
    edges = _fold_edges(len(ids), folds)[: 1 + (folds if folds_used is None else folds_used)]
    table = allocate((edges[-1], columns), np.float16)
    threads = torch.get_num_threads()

    def fill(fold: tuple[int, int]) -> None:
        torch.set_num_threads(1)  # in this thread: the folds are computed in parallel already
        _fill_fold(ids, config, vocab_size, *fold, table, breaks, before)

    with ThreadPoolExecutor(threads) as pool:
        for done, _ in enumerate(pool.map(fill, pairwise(edges)), 1):
            if progress is not None:
                progress(done / (len(edges) - 1))
    return table


def _fold_edges(length: int, folds: int) -> list[int]:
    """The boundaries of the folds of a text: indices of ids."""
    edges: list[int] = np.linspace(0, length - 1, folds + 1).astype(int).tolist()
    return edges


def _fill_fold(
    ids: Ids,
    config: NgramConfig,
    vocab_size: int,
    begin: int,
    stop: int,
    table: NDArray[Any],
    breaks: tuple[int, ...],
    previous_counts: list[Grams] | None,
) -> None:
    """Fill the rows of one fold by the counts of all ids outside it."""
    model = Ngram(config, vocab_size)
    model.previous_counts = previous_counts
    model.fit(np.concatenate([ids[: begin + 1], ids[stop + 1 :]]))
    before, state = max(0, begin - config.order + 2), model.initial_state(1)
    if before < begin:
        _, state = model.contexts(_tensor(ids[before:begin]), state)
    for at in range(begin, stop, CHUNK):
        piece = _tensor(ids[at : min(at + CHUNK, stop) + 1])
        columns, state = ngram_columns(model, piece[:, :-1], piece[:, 1:], breaks, state)
        table[at : at + columns.shape[1]] = columns[0].half().numpy()


def ngram_columns(
    counts: Ngram, tokens: Tokens, words: Tokens, breaks: tuple[int, ...], state: State | None
) -> tuple[Tensor, State]:
    """The columns of `cross_fit` for the word after each token, float32 (rows, time, columns), and
    the state after the last token.
    """
    log_probs, context_features, after = counts.order_log_probs(tokens, words, state)
    if not breaks:
        return torch.cat([log_probs, context_features], 2), after
    contexts, _ = counts.contexts(tokens, state)
    each = [counts.word_log_probs(contexts, tokens, word) for word in breaks]
    return torch.cat(
        [log_probs, context_features, log_prob_of_none(torch.stack(each, -1))], 2
    ), after


def _tensor(ids: Ids) -> Tensor:
    return torch.from_numpy(ids.astype(np.int64))[None]
