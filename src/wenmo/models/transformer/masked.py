"""Masked-token models: a Transformer in which every token looks to both sides, and which tells what
stands where a token is hidden (Devlin et al. 2019). Trained with any share of the text hidden, from
one token to all of it, it is a diffusion model of text, whose noise hides tokens (Austin et al.
2021; Sahoo et al. 2024), and writes by letting them appear.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import Infills
from wenmo.models.network import MAX_LOGITS, label_smoothed, target_losses
from wenmo.models.state import READ_STATE, empty_read_state, extend_read_state
from wenmo.models.transformer.config import MaskedConfig
from wenmo.models.transformer.layers import ACTIVATIONS, make_norm
from wenmo.models.transformer.stack import Stack, init_weights
from wenmo.types import IGNORE, Batch, Logits, Loss, Score, State, Tokens

MIN_SAMPLES = 32  # of hidden places, at least so many for the rows that are scored together


class Masked(Stack, LanguageModel, Infills):
    """A stack that looks to both sides, and a softmax at every place.

    Attributes:
        context: one less than the places that the blocks look at, since the last is for the token
            to come.
    """

    config: MaskedConfig
    embedding: nn.Embedding
    conditioning = "none"

    def __init__(self, config: MaskedConfig, vocab_size: int) -> None:
        # The last id of the embedding stands for a hidden token.
        super().__init__(config, vocab_size + 1, config.layers, causal=False)
        self.vocab_size, self.context = vocab_size, config.context_length - 1
        self.state_schema = READ_STATE
        self.output = OutputLayer(config) if config.lm_head_transform else nn.Identity()
        self.head = (
            None if config.tie_embeddings else nn.Linear(config.hidden_size, vocab_size, bias=False)
        )
        self.bias = nn.Parameter(torch.zeros(vocab_size)) if config.lm_head_bias else None
        init_weights(self, config)

    def initial_state(
        self,
        batch_size: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        return empty_read_state(batch_size, self.device)

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        """As it is for every model: what comes next, while all that follows is hidden. Each token
        takes a look at the whole context, so that this is the slow way.
        """
        after, places = extend_read_state(state or self.initial_state(len(tokens)), tokens)
        room = self.config.context_length
        ids = after["read_ids"]
        ids = F.pad(ids, (0, max(0, room - ids.shape[1])))[:, :room]
        texts = ids.repeat_interleave(tokens.shape[1], 0)
        last_known = places.flatten()  # the place of the last token that is seen
        hidden = torch.arange(room, device=tokens.device) > last_known[:, None]
        chunks = -(-hidden.numel() * self.vocab_size // MAX_LOGITS)
        parts = zip(*(t.chunk(chunks) for t in (texts, hidden, last_known)), strict=True)
        logits = [self._logits_at(text, unknown, at + 1) for text, unknown, at in parts]
        return torch.cat(logits).view(*tokens.shape, -1), after

    def fill(self, tokens: Tokens, hidden: Tensor, positions: Tensor) -> Logits:
        return self._output_logits(self._encode(tokens, hidden)[positions])

    def loss(
        self, batch: Batch, state: State | None = None, *, label_smoothing: float = 0.0
    ) -> Loss:
        """The mean cost of the targets that are hidden, as many of each row as are drawn; in
        expectation it is the bound of ``score``, in nats per target token.
        """
        tokens, is_target = _texts_and_targets(batch)
        counts = is_target.sum(1)
        hidden = _draw_masked(
            is_target, (_stratified_rates(len(counts)).to(counts.device) * counts).ceil()
        )
        nats, uniform_nats, _ = self._losses(tokens, hidden, with_uniform=label_smoothing > 0)
        rows = hidden.nonzero()[:, 0]
        weight = (counts / hidden.sum(1).clamp_min(1))[
            rows
        ] / counts.sum()  # of each row, its share
        nats_per_target = (weight * nats).sum()
        total = label_smoothed(nats * weight, uniform_nats * weight, label_smoothing) * len(nats)
        return Loss(total=total, metrics={"nats": nats_per_target.detach()})

    def score(self, batch: Batch, state: State | None = None) -> Score:
        """An upper bound on each row's nats, estimated without bias by hiding what chance picks.

        The tokens appear in an order drawn at random. Where k of n are hidden, each of the k is as
        likely to be the next as any other, so that n times their mean cost, averaged over all k, is
        what a text costs on average over the orders (Uria et al. 2014, equation 6), and at least
        what it costs. It equals the bound of Sahoo et al. (2024, equation 11), whose noise hides a
        share t of the tokens, with t drawn evenly.
        """
        tokens, is_target = _texts_and_targets(batch)
        counts = is_target.sum(1)
        generator = torch.Generator().manual_seed(0)  # so that a figure can be had again
        nats = torch.zeros(len(tokens), dtype=torch.float64, device=tokens.device)
        samples = -(-MIN_SAMPLES // len(tokens))
        rates = (
            _stratified_rates(samples * len(tokens), generator).view(samples, -1).to(tokens.device)
        )
        for rate in rates:
            hidden = _draw_masked(is_target, (rate * counts).ceil(), generator)
            weight = counts / hidden.sum(1).clamp_min(1) / samples
            rows, (nats_of_hidden, *_) = hidden.nonzero()[:, 0], self._losses(tokens, hidden)
            nats.index_add_(0, rows, nats_of_hidden.double() * weight[rows])
        return Score(nats=nats, tokens=counts, bound=True)

    def _losses(
        self, tokens: Tokens, hidden: Tensor, *, with_uniform: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What each hidden token costs, row by row; see ``Network.target_losses``."""
        reading, targets = (self._encode(tokens, hidden)[hidden],), tokens[hidden]
        return target_losses(
            lambda r: self._output_logits(*r),
            reading,
            targets,
            self.vocab_size,
            with_uniform=with_uniform,
        )

    def _logits_at(self, tokens: Tokens, hidden: Tensor, places: Tensor) -> Logits:
        """The logits at one place of each row, (rows, vocabulary)."""
        rows = torch.arange(len(tokens), device=tokens.device)
        return self._output_logits(self._encode(tokens, hidden)[rows, places])

    def _encode(self, tokens: Tokens, hidden: Tensor) -> Tensor:
        """The hidden states, (rows, time, width), with all in view but what is ``hidden``."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        seen = tokens.masked_fill(hidden, self.vocab_size)
        everywhere = torch.ones(1, 1, 1, tokens.shape[1], dtype=torch.bool, device=tokens.device)
        found, _ = self.run_blocks(self.embed(seen, positions), positions, everywhere)
        return found

    def _output_logits(self, x: Tensor) -> Logits:
        weight = self.embedding.weight[:-1] if self.head is None else self.head.weight
        if self.config.scale_logits:
            x = x * self.config.hidden_size**-0.5
        return F.linear(self.output(x), weight, self.bias).float()


class OutputLayer(nn.Module):
    """BERT's layer before the softmax (Devlin et al. 2019): norm(activation(layer(x)))."""

    def __init__(self, config: MaskedConfig) -> None:
        super().__init__()
        self.layer = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.activation]
        self.norm = make_norm(config)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.norm(self.activation(self.layer(x))))


def _texts_and_targets(batch: Batch) -> tuple[Tokens, Tensor]:
    """The text of each row, (rows, time + 1), and what of it is asked for, bool of that shape.

    A batch has it twice, the second time a place further: as what is read, and as what follows.
    """
    following = torch.cat([batch.tokens[:, 1:], batch.targets[:, -1:].clamp_min(0)], 1)
    is_target = batch.targets != IGNORE
    tokens = torch.cat([batch.tokens[:, :1], torch.where(is_target, batch.targets, following)], 1)
    return tokens, F.pad(is_target, (1, 0))


def _stratified_rates(count: int, generator: torch.Generator | None = None) -> Tensor:
    """Shares between 0 and 1, float32 (count,), each drawn evenly and all together spread evenly,
    in an order drawn at random.
    """
    offset = torch.rand((), generator=generator)
    return (offset + torch.randperm(count, generator=generator)) / count


def _draw_masked(
    is_target: Tensor, counts: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Draw so many places of each row from those that are asked for, bool (rows, time)."""
    keys = torch.rand(is_target.shape, generator=generator).to(is_target.device)
    keys = keys.masked_fill(~is_target, math.inf)
    return (keys.argsort(1).argsort(1) < counts.clamp_min(1)[:, None]) & is_target
