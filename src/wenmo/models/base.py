"""The one interface that everything stands on: tokens in, logits out, a state between calls."""

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

    One method, ``forward``, serves training (a whole batch, no state), prefill (many tokens),
    decoding (one token) and the verification of a draft (a few). A state is a value: an older one
    may be continued again. Two states that both go on must first be parted by ``select``, because a
    key–value cache is written in place behind what an older state can see.

    Attributes:
        vocab_size: the number of distinct ids.
        context: the largest number of tokens that a state can hold; ``None`` if unbounded, in which
            case text may be streamed through the model for as long as one likes.
        conditioning: how it is given a text to answer to. ``prefix``: before its own text, as in
            bos, source, separator, text, END. ``encoder``: in ``initial_state``, or as
            ``source`` of a batch; then its state may hold ``coverage``, the attention that each
            position of the source has been given so far, float32 (rows, source time). ``none``: not
            at all.
        special_tokens: the ids around its texts.
        record_level: it learns whole records, each from its beginning to its end, and is scored by
            them; others go on from one record to the next.
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
            batch_size: how many texts are written side by side.
            source: for models with an encoder, what to condition on, as in ``Batch.source``; where
                there is none, the source is empty.
            capacity: how many tokens the state should have room for. It is a hint: a state grows.
            generator: the source of randomness for models that draw something before they write.
        """

    @abstractmethod
    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        """Read ``tokens`` (rows, time) after what ``state`` holds.

        Returns:
            The logits of the token after each one read, float32 (rows, time, vocabulary), and the
            state after the last. The state that was passed in stays valid and unchanged. Without a
            state the text is taken to begin here, and a bounded model may return an empty state.
        """

    def loss(
        self, batch: Batch, state: State | None = None, *, label_smoothing: float = 0.0
    ) -> Loss:
        """Cross-entropy in nats per target token: what training minimises.

        Args:
            state: what the rows go on from; a batch with a source begins with that.
            label_smoothing: the share of the target's probability that is spread evenly over the
                vocabulary (Szegedy et al. 2016, section 7), by models that gradients train.
        """
        score = self.score(batch, state)
        nats = (score.nats.sum() / score.tokens.sum()).float()
        return Loss(total=nats, metrics={"nats": nats.detach()}, state=score.state)

    def score(self, batch: Batch, state: State | None = None) -> Score:
        """The negative log-likelihood of each row's targets, or a bound on it.

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
        """Where the weights live; the CPU for a model without any."""
        tensor = next(self.parameters(), None)
        return tensor.device if tensor is not None else torch.device("cpu")


def device() -> torch.device:
    """Where models are trained and run: the GPU that PyTorch finds, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
