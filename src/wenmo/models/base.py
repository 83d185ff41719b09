"""The interface of all models: tokens in, logits out, a state between calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from wenmo.models.state import StateSchema
from wenmo.types import IGNORE, Batch, Logits, Loss, Score, SpecialTokens, State, Tokens


class LanguageModel(nn.Module, ABC):
    """A distribution over the next token, given the tokens before it.

    ``forward`` serves training (a batch, no state), prefill (many tokens), decoding (one token) and
    the verification of a draft (a few tokens). A state is a value: an older one may be continued
    again. If two copies of a state are to be continued, copy one with ``select`` first, because a
    key–value cache is written in place behind the tokens that an older state can see.

    Attributes:
        vocab_size: the number of distinct ids.
        context: the largest number of tokens that a state can hold; ``None``: unbounded.
        conditioning: how it reads a source. ``prefix``: before the text, as bos, source, separator,
            text, END. ``encoder``: in ``initial_state``, or as ``source`` of a batch; its state may
            then hold ``coverage``, the sum of the attention on each position of the source so far,
            float32 (rows, source time). ``none``: it reads no source.
        special_tokens: the ids around its texts.
        record_level: it is trained and scored on complete records, each from its beginning to its
            end; other models continue from one record to the next.
        state_schema: what its states hold.
    """

    vocab_size: int
    context: int | None
    conditioning: Literal["none", "prefix", "encoder"] = "prefix"
    record_level: bool = False
    special_tokens: SpecialTokens = SpecialTokens()
    state_schema: StateSchema = StateSchema()

    @abstractmethod
    def initial_state(
        self,
        batch_size: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        """Make the state of ``batch_size`` empty texts.

        Args:
            batch_size: the number of texts.
            source: for models with an encoder, the ids to condition on, as in ``Batch.source``;
                None: an empty source.
            capacity: the number of tokens to allocate caches for. It is a hint: a state grows.
            generator: for models that draw latents, the source of randomness.
        """

    @abstractmethod
    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        """Compute the next-token logits of ``tokens``, int64 (rows, time).

        Args:
            state: of the tokens before them; None: a text begins here, and a model with a bounded
                context may return an empty state.

        Returns:
            The logits of the token after each of ``tokens``, float32 (rows, time, vocabulary), and
            the state after the last. The state that was passed in stays valid and unchanged.
        """

    def loss(
        self, batch: Batch, state: State | None = None, *, label_smoothing: float = 0.0
    ) -> Loss:
        """The training loss: cross-entropy in nats per target token.

        Args:
            state: of the tokens before the batch; a batch with a source has its own initial state.
            label_smoothing: the probability that is spread uniformly over the vocabulary (Szegedy
                et al. 2016, section 7), by models that are trained by gradients.
        """
        score = self.score(batch, state)
        nats = (score.nats.sum() / score.tokens.sum()).float()
        return Loss(total=nats, metrics={"nats": nats.detach()}, state=score.state)

    def score(self, batch: Batch, state: State | None = None) -> Score:
        """The negative log-likelihood of each row's targets in nats, or an upper bound on it.

        Args:
            state: as for ``loss``.
        """
        before = state
        if batch.source is not None:
            before = self.initial_state(len(batch.tokens), source=batch.source)
        logits, after = self(batch.tokens, before)
        nats = F.cross_entropy(
            logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORE, reduction="none"
        ).view(batch.targets.shape)
        exact = nats.sum(1, dtype=torch.float64)
        return Score(exact, (batch.targets != IGNORE).sum(1), state=after)

    @property
    def device(self) -> torch.device:
        """The device of the weights; the CPU for a model without any."""
        tensor = next(self.parameters(), None)
        return tensor.device if tensor is not None else torch.device("cpu")


def device() -> torch.device:
    """The device that models are trained and run on: the GPU if PyTorch finds one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
