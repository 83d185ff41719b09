"""The variational autoencoder of texts (Bowman et al. 2016): an encoder infers where the latents z
of a text lie, and a decoder writes the text from them.

Training raises the evidence lower bound, log p(x) ≥ E[log p(x | z)] − KL(q(z | x) ‖ p(z)) (Kingma &
Welling 2014). A decoder that is strong by itself may learn to do without z, so that q becomes the
prior: the posterior collapses. Against that help weights of the divergence that rise, free bits,
tokens that are kept from the decoder, and an encoder that is trained ahead of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.models.capabilities import ChangesInTraining, HasLatents
from wenmo.models.network import STEERING, Hidden, Network
from wenmo.models.pooling import max_pool
from wenmo.models.posterior import DIVERGENCE, Posterior, bounded
from wenmo.models.recurrent import Layer, Recurrent
from wenmo.models.seq2seq import RecurrentStack
from wenmo.models.state import StateField, StateSchema
from wenmo.models.transformer.model import Transformer
from wenmo.models.transformer.stack import Encoder, init_weights
from wenmo.models.vae_config import VaeConfig
from wenmo.types import END, IGNORE, Batch, Logits, Score, State, Tokens

LATENT_STATE = StateSchema(
    (
        replace(STEERING, optional=False),
        StateField(
            DIVERGENCE,
            ("rows", "latents"),
            "of inferred latents from the prior, in nats",
            optional=True,
            truncation="keep",
        ),
    )
)
"""Beside the decoder's."""

CARRIED_PREFIXES = ("hidden.", "cell.")  # how the names begin of what a recurrent decoder carries


class Vae(Network, HasLatents, ChangesInTraining):
    """An encoder, latents, and a decoder that is told of them at every step."""

    record_level = True
    conditioning = "none"

    def __init__(self, config: VaeConfig, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.latent_size = config, vocab_size, config.latent_size
        self.encoder = make_encoder(config, vocab_size)
        self.decoder = make_decoder(config, vocab_size)
        self.context = config.context_length
        self.state_schema = self.decoder.state_schema | LATENT_STATE
        self.hidden_size = self.decoder.hidden_size
        self.posterior = nn.Linear(self.encoder.width, 2 * config.latent_size)
        self._carried_sizes = {
            name: tensor.shape[1]
            for name, tensor in self.decoder.initial_state(1).items()
            if name.startswith(CARRIED_PREFIXES)
        }
        carried = sum(self._carried_sizes.values())
        self.steering = nn.Linear(
            config.latent_size, self.decoder.embedding.embedding_dim, bias=False
        )
        self.start = nn.Linear(config.latent_size, carried) if carried else None
        # As loud as a token at first: less, and it is overheard; more, and it drowns the tokens.
        nn.init.normal_(self.steering.weight, std=config.latent_size**-0.5)
        with torch.no_grad():
            self.steering.weight *= self.decoder.embedding.weight.std()
        self.weight = kl_weight_at(config, 0.0)

    def initial_state(
        self,
        batch_size: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        """What ``state_at`` makes of a draw from the prior; without ``generator``, of its mean."""
        latents = torch.zeros(batch_size, self.latent_size, device=self.device)
        if generator is not None:
            latents = torch.randn(latents.shape, generator=generator, device=self.device)
        return self.state_at(latents, capacity=capacity)

    def state_at(self, latents: Tensor, *, capacity: int = 0) -> State:
        """The decoder's state, with ``steering`` (rows, width) by the latents, which also make what
        an LSTM begins with.
        """
        return self.decoder.initial_state(latents.shape[0], capacity=capacity) | self._latent_state(
            latents
        )

    def batch_state(self, batch: Batch, state: State | None) -> State | None:
        """From rows that go on from nothing the latents are inferred; the state also holds their
        ``divergence`` from the prior, float32 (rows, latents), in nats. The noise is that of
        training's own randomness; in evaluation it is always the same.
        """
        if state:
            return state
        posterior = self.infer(batch)
        generator = None if self.training else torch.Generator(self.device).manual_seed(0)
        return self._latent_state(posterior.draw(generator)) | {DIVERGENCE: posterior.divergence()}

    def infer(self, batch: Batch) -> Posterior:
        mask = batch.targets != IGNORE
        tokens = batch.targets.where(mask, END)
        mask[:, 0] = True  # what has no token is read as an END
        pooled = self.encoder(tokens, mask)
        mean, log_variance = self.posterior(pooled).float().chunk(2, 1)
        return Posterior(mean, log_variance)

    def encode_tokens(self, tokens: Tokens, state: State | None = None) -> tuple[Hidden, State]:
        before = state or self.initial_state(len(tokens))
        if self.training and self.config.word_dropout:
            kept = torch.rand(tokens.shape, device=tokens.device) >= self.config.word_dropout
            tokens = tokens.where(kept, END)
        own = {name: tensor for name, tensor in before.items() if name != DIVERGENCE}
        return self.decoder.encode_tokens(tokens, own)

    def lm_head(self, reading: Hidden) -> Logits:
        return self.decoder.lm_head(reading)

    def set_progress(self, progress: float, step: int) -> None:
        """Set the divergence's weight, and let only the encoder learn where it is trained ahead."""
        config = self.config
        self.weight = kl_weight_at(config, progress)
        if not config.aggressive_ratio:
            return
        encoder_only = (
            progress < config.aggressive_ratio and (step + 1) % (config.encoder_steps + 1) > 0
        )
        for part in filter(None, (self.decoder, self.steering, self.start)):
            part.requires_grad_(not encoder_only)

    def further_progress(self, progress: float) -> float:
        """As at the end of training: the weight stays at its peak."""
        return 1.0

    def score(self, batch: Batch, state: State | None = None) -> Score:
        """An upper bound on the nats, by the divergence of latents that are inferred."""
        before = self.batch_state(batch, state)
        return bounded(super().score(batch, before), before)

    def regularizer(self, before: State | None, targets: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The weight times what the divergence has above the free bits, which are granted on the
        average of the batch. Watched are ``kl``, in nats a text, and its ``kl_weight``.
        """
        divergence = (before or {}).get(DIVERGENCE)
        if divergence is None:
            return super().regularizer(before, targets)
        rows, each = len(divergence), divergence.mean(0)
        free = self.config.free_bits
        if self.config.free_bits_per_dim:
            excess = (each - free / self.latent_size).clamp_min(0).sum()
        else:
            excess = (each.sum() - free).clamp_min(0)
        metrics = {"kl": each.detach().sum(), "kl_weight": torch.tensor(self.weight)}
        return self.weight * excess * rows / targets, metrics

    def _latent_state(self, latents: Tensor) -> State:
        state = {"steering": self.steering(latents)}
        if self.start is not None:
            begun = torch.tanh(self.start(latents))
            parts = torch.split(begun, list(self._carried_sizes.values()), 1)
            state |= zip(self._carried_sizes, parts, strict=True)
        return state


def kl_weight_at(config: VaeConfig, progress: float) -> float:
    """The weight of the divergence at a share of the budget."""
    if config.annealing == "none":
        return config.kl_peak
    cycles = config.cycles if config.annealing == "cyclical" else 1
    cycle_progress = progress * cycles % 1 if progress < 1 else 1.0
    annealed = min(1.0, cycle_progress / config.annealing_ratio) if config.annealing_ratio else 1.0
    return config.kl_floor + (config.kl_peak - config.kl_floor) * annealed


def make_decoder(config: VaeConfig, vocab_size: int) -> Recurrent | Transformer:
    """The network that writes."""
    if config.decoder == "lstm":
        decoder = Recurrent(config.recurrent(), vocab_size)
        if config.tie_embeddings:  # its embedding begins small: what reads it makes up for that
            heard = cast(Layer, decoder.layers[0]).input_weight
            with torch.no_grad():
                heard.div_(decoder.embedding.weight.std())
        return decoder
    return Transformer(config.transformer(config.layers), vocab_size)


def make_encoder(config: VaeConfig, vocab_size: int) -> RecurrentEncoder | TransformerEncoder:
    """The network that reads."""
    kind = RecurrentEncoder if config.encoder == "lstm" else TransformerEncoder
    return kind(config, vocab_size)


class RecurrentEncoder(RecurrentStack):
    """LSTMs from both ends, pooled."""

    def __init__(self, config: VaeConfig, vocab_size: int) -> None:
        hidden = -(-config.hidden_size // 2)
        sizes = (config.embedding_size, hidden, config.encoder_layers)
        super().__init__("lstm", *sizes, directions=2, dropout=config.dropout)
        self.width = 2 * hidden
        self.embedding = nn.Embedding(vocab_size, config.embedding_size)

    def forward(self, tokens: Tokens, mask: Tensor) -> Tensor:
        """Read (rows, time), where ``mask`` is true, to (rows, width)."""
        x = F.dropout(self.embedding(tokens), self.dropout, self.training)
        *_, (last, _) = self.encode_tokens(x, mask)
        return max_pool(last, mask)


class TransformerEncoder(nn.Module):
    """Blocks that look both ways, pooled."""

    def __init__(self, config: VaeConfig, vocab_size: int) -> None:
        super().__init__()
        self.width = config.hidden_size
        settings = config.transformer(1, config.encoder_layers)
        self.stack = Encoder(settings, vocab_size)
        init_weights(self, settings)

    def forward(self, tokens: Tokens, mask: Tensor) -> Tensor:
        """Read (rows, time), where ``mask`` is true, to (rows, width)."""
        return max_pool(self.stack(tokens, mask), mask)
