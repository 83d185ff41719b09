"""The adversarial model: a generator, any recurrent or Transformer language model, that is trained
to be taken for the training text by a critic (Goodfellow et al. 2014).

It first learns by likelihood; that generator is kept, so that what the critic taught can be set
beside what likelihood alone had reached (Caccia et al. 2020). Tokens are not differentiable: either
the critic's verdict is a reward that the generator's policy is raised by (SeqGAN: Yu et al. 2017),
or drawn tokens are relaxed into mixtures that gradients pass through (RelGAN: Nie et al. 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import (
    ChangesInTraining,
    CountsParameters,
    HasBaselines,
    HasGenerator,
    HasHiddenStates,
    parameter_count,
)
from wenmo.models.critic import ConvolutionalCritic, Critic, RecurrentCritic
from wenmo.models.gan_config import GanConfig
from wenmo.models.network import STEERING
from wenmo.models.recurrent import Recurrent
from wenmo.models.state import StateSchema
from wenmo.models.transformer.model import Transformer
from wenmo.types import Batch, Logits, Loss, SpecialTokens, State, Tokens

Phase = Literal["likelihood", "critic", "adversarial"]


class Gan(
    LanguageModel,
    HasGenerator,
    HasHiddenStates,
    HasBaselines,
    CountsParameters,
    ChangesInTraining,
):
    """A generator and a critic. All that writes and scores is the generator."""

    record_level = True
    conditioning = "none"

    def __init__(self, config: GanConfig, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.context = config, vocab_size, config.context_length
        self.generator = make_generator(config, vocab_size)
        self.state_schema = self.generator.state_schema | StateSchema((STEERING,))
        self.critic = make_critic(config, vocab_size)
        # The generator as likelihood left it, from the moment on at which the critic comes in.
        self.pretrained = make_generator(config, vocab_size).requires_grad_(False)
        self.parted: Tensor
        self.register_buffer("parted", torch.tensor(False))
        self.progress = 0.0

    def initial_state(
        self,
        batch_size: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        """The generator's state."""
        return self.generator.initial_state(batch_size, capacity=capacity)

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        return self.generator(tokens, state)

    def loss(
        self, batch: Batch, state: State | None = None, *, label_smoothing: float = 0.0
    ) -> Loss:
        """The generator's cross-entropy."""
        return self.generator.loss(batch, state, label_smoothing=label_smoothing)

    def hidden_states(
        self, batch: Batch, state: State | None = None
    ) -> tuple[Tensor, Tensor, State]:
        return self.generator.hidden_states(batch, state)

    def forward_hidden(
        self, tokens: Tokens, state: State | None = None
    ) -> tuple[Logits, Tensor, State]:
        return self.generator.forward_hidden(tokens, state)

    def set_progress(self, progress: float, step: int) -> None:
        self.progress = progress

    def further_progress(self, progress: float) -> float:
        """The last stage goes on."""
        pretraining_ratio = self.config.mle_ratio + self.config.critic_pretrain_ratio
        return pretraining_ratio + (1 - pretraining_ratio) * progress

    @property
    def phase(self) -> Phase:
        """What is learnt at this point of the budget."""
        config = self.config
        if self.progress < config.mle_ratio:
            return "likelihood"
        pretraining_ratio = config.mle_ratio + config.critic_pretrain_ratio
        return "critic" if self.progress < pretraining_ratio else "adversarial"

    def phase_progress(self, progress: float) -> float:
        """How much of its stage is done at a point of the budget, 0 to 1."""
        first = self.config.mle_ratio
        boundaries = (0.0, first, first + self.config.critic_pretrain_ratio, 1.0)
        begins, ends = next(
            pair for pair in pairwise(boundaries) if progress < pair[1] or pair[1] >= 1
        )
        return (progress - begins) / (ends - begins) if ends > begins else 1.0

    @torch.no_grad()
    def keep_pretrained(self) -> None:
        """Keep the generator as it is, if that was not done before."""
        if not self.parted:
            self.pretrained.load_state_dict(self.generator.state_dict())
            self.parted.fill_(True)

    @property
    def special_tokens(self) -> SpecialTokens:
        """The generator's: what the whole model never writes it never writes alone."""
        return self.generator.special_tokens

    @special_tokens.setter
    def special_tokens(self, tokens: SpecialTokens) -> None:
        for generator in (self.generator, self.pretrained):
            generator.special_tokens = tokens

    def baselines(self) -> Mapping[str, LanguageModel]:
        return {"likelihood alone": self.pretrained} if self.parted else {}

    def parameter_count(self) -> int:
        """The generator's weights: the critic does not write."""
        return parameter_count(self.generator)


def make_generator(config: GanConfig, vocab_size: int) -> Recurrent | Transformer:
    """The network that writes."""
    if config.generator == "transformer":
        return Transformer(config.transformer(), vocab_size)
    return Recurrent(config.recurrent(config.generator), vocab_size)


def make_critic(config: GanConfig, vocab_size: int) -> Critic:
    """The network that judges."""
    sizes = {
        "embedding_size": config.critic_embedding_size,
        "hidden_size": config.critic_hidden_size,
    }
    dropout = config.critic_dropout
    if config.critic == "recurrent":
        return RecurrentCritic(vocab_size, **sizes, dropout=dropout)
    return ConvolutionalCritic(vocab_size, **sizes, heads=config.critic_heads, dropout=dropout)
