"""What the models that are trained by gradients have in common: hidden states, and their cost."""

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
"""What a network makes of the tokens it reads, before the softmax: tensors (rows, time, width). The
first is the hidden state."""

STEERING = StateField(
    "steering",
    ("rows", "embedding_size"),
    "added to the embedding of each token",
    optional=True,
    truncation="keep",
)

MAX_LOGITS = 1 << 26  # more in a loss are made and forgotten in pieces: 256 MB in float32
LEAST_OTHERS = 1e-6  # the least probability that a token is none of some


class Network(LanguageModel, HasHiddenStates):
    """A model that is trained by gradients: it reads into hidden states, and predicts from those.

    Where its state holds `STEERING`, that is added to the embedding of each token.

    Attributes:
        hidden_width: the width of the hidden state.
    """

    hidden_width: int

    @abstractmethod
    def encode_tokens(self, tokens: Tokens, state: State | None = None) -> tuple[Hidden, State]:
        """Read tokens as ``forward`` does, up to what the softmax is given."""

    @abstractmethod
    def lm_head(self, reading: Hidden) -> Logits:
        """The logits, float32 (..., vocabulary), of any part of a reading, (..., width) each."""

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        reading, after = self.encode_tokens(tokens, state)
        return self.lm_head(reading), after

    def batch_state(self, batch: Batch, state: State | None) -> State | None:
        """The state that the rows of a batch begin with, where ``state`` is what they go on from.

        Raises:
            TypeError: the batch has a source, and the model no encoder.
        """
        return state if batch.source is None else require(self, EncodesSource).encode(batch.source)

    def penalty(self, before: State | None, targets: int) -> tuple[Tensor, dict[str, Tensor]]:
        """What training adds to the cross-entropy for the state that a batch begins with: nats per
        target, and figures to watch.
        """
        return torch.zeros((), device=self.device), {}

    def loss(
        self, batch: Batch, state: State | None = None, *, label_smoothing: float = 0.0
    ) -> Loss:
        before = self.batch_state(batch, state)
        reading, after = self.encode_tokens(batch.tokens, before)
        smoothed = label_smoothing > 0
        nats, evenly, _ = self.costs(*select_targets(reading, batch.targets), smoothed=smoothed)
        extra, watched = self.penalty(before, len(nats))
        total = label_smoothed(nats, evenly, label_smoothing) + extra
        return Loss(total, {"nats": nats.detach().mean(), **watched}, after)

    def score(self, batch: Batch, state: State | None = None) -> Score:
        return super().score(replace(batch, source=None), self.batch_state(batch, state))

    def hidden_states(
        self, batch: Batch, state: State | None = None
    ) -> tuple[Tensor, Tensor, State]:
        reading, after = self.encode_tokens(batch.tokens, self.batch_state(batch, state))
        flat, targets = select_targets(reading, batch.targets)
        return flat[0].float(), self.costs(flat, targets)[0], after

    def costs(
        self,
        reading: Hidden,
        targets: Tokens,
        *,
        smoothed: bool = False,
        breaks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What each target costs, (targets,): the nats of it; where ``smoothed``, the mean nats of
        all the vocabulary in its place; and where there are ``breaks``, the log-probability that
        none of those tokens stands there.

        Logits that would not fit in memory at once are made in pieces, and a second time for the
        gradient.

        Args:
            reading: of each target, (targets, width).
            targets: int64 (targets,).
            breaks: ids, int64.
        """
        return costs(
            self.lm_head, reading, targets, self.vocab_size, smoothed=smoothed, breaks=breaks
        )


def costs(
    lm_head: Callable[[Hidden], Logits],
    reading: Hidden,
    targets: Tokens,
    vocab_size: int,
    *,
    smoothed: bool = False,
    breaks: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """What ``Network.costs`` tells, of anything that predicts."""

    def priced(targets: Tokens, *reading: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logp = lm_head(reading).log_softmax(-1)
        nats = F.nll_loss(logp, targets, reduction="none")
        others = nats if breaks is None else log_of_others(logp[:, breaks])
        return nats, -logp.mean(-1) if smoothed else nats, others

    pieces = -(-len(targets) * vocab_size // MAX_LOGITS)
    if pieces < 2:
        return priced(targets, *reading)
    parts = zip(*(tensor.chunk(pieces) for tensor in (targets, *reading)), strict=True)
    each = [checkpoint(priced, *part, use_reentrant=False) for part in parts]
    nats, evenly, others = (torch.cat(all_) for all_ in zip(*each, strict=True))
    return nats, evenly, others


def log_of_others(logp: Tensor) -> Tensor:
    """The log-probability (...,) that none of some tokens stands at a place, from the
    log-probability of each of them (..., tokens).
    """
    return torch.log1p(-logp.exp().sum(-1).clamp(max=1 - LEAST_OTHERS))


def steered(x: Tensor, state: State) -> Tensor:
    """Embedded tokens (rows, time, width) and, where a state holds ``steering`` (rows, width), that
    added to each of them.
    """
    return x + state["steering"][:, None] if "steering" in state else x


def label_smoothed(nats: Tensor, evenly: Tensor, label_smoothing: float) -> Tensor:
    """The mean cost of targets, of which a share is spread evenly; see `LanguageModel.loss`."""
    return (1 - label_smoothing) * nats.mean() + label_smoothing * evenly.mean()


def select_targets(reading: Hidden, targets: Tokens) -> tuple[Hidden, Tokens]:
    """The places that a target is asked of, one under another."""
    mask = targets != IGNORE
    if mask.all():
        return tuple(tensor.flatten(0, 1) for tensor in reading), targets.flatten()
    return tuple(tensor[mask] for tensor in reading), targets[mask]
