"""The base class of models with hidden states that are trained by gradients, and its losses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import EncodesSource, HasHiddenStates, require
from wenmo.models.state import StateField
from wenmo.types import IGNORE, Batch, Logits, Loss, Score, State, Tokens

Hidden: TypeAlias = "tuple[Tensor, ...]"
"""The input of the output layer: tensors (rows, time, width). The first is the hidden state."""

STEERING = StateField(
    "steering",
    ("rows", "embedding_size"),
    "added to the embedding of each token",
    optional=True,
    truncation="keep",
)

MAX_LOGITS = 1 << 26  # of a loss at once, 256 MB in float32; more are computed in chunks
MIN_PROB = 1e-6  # of the event that a token is none of a set


class Network(LanguageModel, HasHiddenStates):
    """A model that computes hidden states and predicts tokens from them; gradients train it.

    If its state holds `STEERING`, that vector is added to the embedding of each token.

    Attributes:
        hidden_size: the width of the hidden state.
    """

    hidden_size: int

    @abstractmethod
    def encode_tokens(self, tokens: Tokens, state: State | None = None) -> tuple[Hidden, State]:
        """Compute the hidden states of tokens; arguments and state are those of ``forward``."""

    @abstractmethod
    def lm_head(self, hidden: Hidden) -> Logits:
        """Logits, float32 (..., vocabulary), from hidden states, (..., width) each."""

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        hidden, after = self.encode_tokens(tokens, state)
        return self.lm_head(hidden), after

    def forward_hidden(
        self, tokens: Tokens, state: State | None = None
    ) -> tuple[Logits, Tensor, State]:
        hidden, after = self.encode_tokens(tokens, state)
        return self.lm_head(hidden), hidden[0], after

    def batch_state(self, batch: Batch, state: State | None) -> State | None:
        """The initial state of a batch: ``state``, or the encoded source of a batch that has one.

        Raises:
            TypeError: the batch has a source, and the model no encoder.
        """
        return state if batch.source is None else require(self, EncodesSource).encode(batch.source)

    def regularizer(self, before: State | None, targets: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The regularizer that training adds to the cross-entropy.

        Args:
            before: the initial state of the batch.
            targets: the number of targets in the batch.

        Returns:
            A scalar in nats per target, and metrics by name.
        """
        return torch.zeros((), device=self.device), {}

    def loss(
        self, batch: Batch, state: State | None = None, *, label_smoothing: float = 0.0
    ) -> Loss:
        before = self.batch_state(batch, state)
        hidden, after = self.encode_tokens(batch.tokens, before)
        with_uniform = label_smoothing > 0
        nats, uniform_nats, _ = self.target_losses(
            *select_targets(hidden, batch.targets), with_uniform=with_uniform
        )
        extra, metrics = self.regularizer(before, len(nats))
        total = label_smoothed(nats, uniform_nats, label_smoothing) + extra
        return Loss(total, {"nats": nats.detach().mean(), **metrics}, after)

    def score(self, batch: Batch, state: State | None = None) -> Score:
        return super().score(replace(batch, source=None), self.batch_state(batch, state))

    def hidden_states(
        self, batch: Batch, state: State | None = None
    ) -> tuple[Tensor, Tensor, State]:
        hidden, after = self.encode_tokens(batch.tokens, self.batch_state(batch, state))
        flat, targets = select_targets(hidden, batch.targets)
        return flat[0].float(), self.target_losses(flat, targets)[0], after

    def target_losses(
        self,
        hidden: Hidden,
        targets: Tokens,
        *,
        with_uniform: bool = False,
        breaks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The losses of targets, float32 (targets,) each.

        If there are more logits than `MAX_LOGITS`, they are computed in chunks, and once more in
        the backward pass.

        Args:
            hidden: the hidden states that predict the targets, (targets, width) each.
            targets: int64 (targets,).
            with_uniform: compute the loss under a uniform target, too.
            breaks: ids of tokens, int64 (breaks,).

        Returns:
            The nats of each target; with ``with_uniform`` the mean nats over the vocabulary, else
            the nats again; with ``breaks`` the log-probability of all other tokens together, else
            the nats again.
        """
        return target_losses(
            self.lm_head, hidden, targets, self.vocab_size, with_uniform=with_uniform, breaks=breaks
        )


def target_losses(
    lm_head: Callable[[Hidden], Logits],
    hidden: Hidden,
    targets: Tokens,
    vocab_size: int,
    *,
    with_uniform: bool = False,
    breaks: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """`Network.target_losses` for any output layer ``lm_head``."""

    def losses_of_chunk(targets: Tokens, *hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logp = lm_head(hidden).log_softmax(-1)
        nats = F.nll_loss(logp, targets, reduction="none")
        none_of_breaks = nats if breaks is None else log_prob_of_none(logp[:, breaks])
        return nats, -logp.mean(-1) if with_uniform else nats, none_of_breaks

    chunks = -(-len(targets) * vocab_size // MAX_LOGITS)
    if chunks < 2:
        return losses_of_chunk(targets, *hidden)
    parts = zip(*(tensor.chunk(chunks) for tensor in (targets, *hidden)), strict=True)
    each = [checkpoint(losses_of_chunk, *part, use_reentrant=False) for part in parts]
    nats, uniform_nats, none_of_breaks = (torch.cat(all_) for all_ in zip(*each, strict=True))
    return nats, uniform_nats, none_of_breaks


def log_prob_of_none(logp: Tensor) -> Tensor:
    """The log-probability (...,) that a token is none of a set, given the log-probabilities of the
    tokens in the set, (..., tokens).
    """
    return torch.log1p(-logp.exp().sum(-1).clamp(max=1 - MIN_PROB))


def add_steering(x: Tensor, state: State) -> Tensor:
    """Add the ``steering`` (rows, width) of a state, if it holds any, to token embeddings (rows,
    time, width).
    """
    return x + state["steering"][:, None] if "steering" in state else x


def label_smoothed(nats: Tensor, uniform_nats: Tensor, label_smoothing: float) -> Tensor:
    """The mean loss with label smoothing (Szegedy et al. 2016, section 7): a scalar in nats."""
    return (1 - label_smoothing) * nats.mean() + label_smoothing * uniform_nats.mean()


def select_targets(hidden: Hidden, targets: Tokens) -> tuple[Hidden, Tokens]:
    """The positions whose target is not IGNORE: hidden states (targets, width) each, and targets
    (targets,).
    """
    mask = targets != IGNORE
    if mask.all():
        return tuple(tensor.flatten(0, 1) for tensor in hidden), targets.flatten()
    return tuple(tensor[mask] for tensor in hidden), targets[mask]
