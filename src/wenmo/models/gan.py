"""The adversarial model: a generator, any recurrent or Transformer language model, that is trained
to be taken for the training text by a critic (Goodfellow et al. 2014).

It first learns by likelihood; that generator is kept, so that what the critic taught can be set
beside what likelihood alone had reached (Caccia et al. 2020). Tokens are not differentiable: either
the critic's verdict is a reward that the generator's policy is raised by (SeqGAN: Yu et al. 2017),
or drawn tokens are relaxed into mixtures that gradients pass through (RelGAN: Nie et al. 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor

from wenmo.models.base import LanguageModel
from wenmo.models.critic import ConvolutionalCritic, Critic, RecurrentCritic
from wenmo.models.recurrent import Recurrent
from wenmo.models.transformer.model import Transformer
from wenmo.types import Batch, Logits, Loss, SpecialTokens, State, Tokens

Phase = Literal["likelihood", "critic", "adversarial"]


class Gan(LanguageModel):
    """A generator and a critic. All that writes and scores is the generator."""

    learner: ClassVar[Literal["adversarial"]] = "adversarial"
    has_hidden_states = True
    record_level = True
    conditioning = "none"

    @dataclass(frozen=True)
    class Config:
        """Settings of an adversarial model.

        Attributes:
            generator: writes: rnn, lstm, gru or transformer.
            embedding_size: the width of a recurrent generator's token embeddings.
            hidden_size: of the generator's layers.
            layers: the generator's depth.
            heads: of a Transformer's attention.
            context_length: the most tokens of a text.
            tie_embeddings: the softmax uses the generator's embedding (Press & Wolf 2017).
            dropout: on what enters each of the generator's layers, while it learns by likelihood.
            critic: convolutional or recurrent.
            critic_embedding_size: the width of the critic's token embeddings.
            critic_hidden_size: filters of each span, or the width of the recurrent layer.
            critic_dropout: on what the verdict rests on.
            critic_heads: into how many parts the critic's embedding is cut, each judged by itself;
                for a convolutional critic.
            method: what the generator learns from the critic by: policy gradients, or relaxed
                tokens.
            rollouts: with policy, how often each beginning of a text is finished to see what it is
                worth.
            baseline: with policy, what a text is worth counts as far as it is above the others.
            inverse_temperature: with relaxed, the inverse temperature that the mixtures end with;
                they begin with 1.
            mle_ratio: the share of the budget in which the generator learns by likelihood.
            critic_pretrain_ratio: the share after that in which the critic learns alone.
            critic_steps: of the critic, for each of the generator.
            adversarial_learning_rate: the generator's peak learning rate, when it learns from the
                critic.
            critic_learning_rate: the critic's.
        """

        generator: Literal["rnn", "lstm", "gru", "transformer"] = "lstm"
        embedding_size: int = 128
        hidden_size: int = 256
        layers: int = 1
        heads: int = 4
        context_length: int = 64
        tie_embeddings: bool = False
        dropout: float = 0.2
        critic: Literal["convolutional", "recurrent"] = "convolutional"
        critic_embedding_size: int = 64
        critic_hidden_size: int = 64
        critic_dropout: float = 0.25
        critic_heads: int = 1
        method: Literal["policy", "relaxed"] = "policy"
        rollouts: int = 4
        baseline: bool = True
        inverse_temperature: float = 100.0
        mle_ratio: float = 0.6
        critic_pretrain_ratio: float = 0.05
        critic_steps: int = 3
        adversarial_learning_rate: float = 1e-3
        critic_learning_rate: float = 1e-3

        def __post_init__(self) -> None:
            sizes = (
                "embedding_size",
                "hidden_size",
                "layers",
                "heads",
                "critic_embedding_size",
                "critic_hidden_size",
            )
            for name in (*sizes, "critic_heads", "rollouts", "critic_steps"):
                if getattr(self, name) < 1:
                    raise ValueError(f"{name} must be at least 1")
            if self.context_length < 2:
                raise ValueError("context_length must be at least 2")
            for name in ("dropout", "critic_dropout"):
                if not 0 <= getattr(self, name) < 1:
                    raise ValueError(f"{name} must be at least 0 and below 1")
            if min(self.mle_ratio, self.critic_pretrain_ratio) < 0:
                raise ValueError("mle_ratio and critic_pretrain_ratio must be at least 0")
            if self.mle_ratio + self.critic_pretrain_ratio > 1:
                raise ValueError("mle_ratio and critic_pretrain_ratio must not be above 1 together")
            if self.critic_embedding_size % self.critic_heads:
                raise ValueError("critic_embedding_size must be a multiple of critic_heads")
            if self.critic_heads > 1 and self.critic == "recurrent":
                raise ValueError(
                    "critic_heads are for critic=convolutional: leave critic_heads out"
                )
            if not self.inverse_temperature >= 1:
                raise ValueError("inverse_temperature must be at least 1")
            if min(self.adversarial_learning_rate, self.critic_learning_rate) <= 0:
                raise ValueError(
                    "adversarial_learning_rate and critic_learning_rate must be above 0"
                )
            if self.generator == "transformer":
                transformer_settings(self)  # tells what heads do not go with the width

        def build(self, vocab_size: int) -> Gan:
            return Gan(self, vocab_size)

    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.context = config, vocab_size, config.context_length
        self.generator = make_generator(config, vocab_size)
        self.critic = make_critic(config, vocab_size)
        # The generator as likelihood left it, from the moment on at which the critic comes in.
        self.pretrained = make_generator(config, vocab_size).requires_grad_(False)
        self.parted: Tensor
        self.register_buffer("parted", torch.tensor(False))
        self.progress = 0.0

    def initial_state(
        self,
        rows: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        rng: torch.Generator | None = None,
    ) -> State:
        """The generator's state."""
        return self.generator.initial_state(rows, capacity=capacity)

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

    def advance(self, progress: float, step: int) -> None:
        self.progress = progress

    def progress_again(self, progress: float) -> float:
        """The last stage goes on."""
        alone = self.config.mle_ratio + self.config.critic_pretrain_ratio
        return alone + (1 - alone) * progress

    @property
    def stage(self) -> Phase:
        """What is learnt at this point of the budget."""
        config = self.config
        if self.progress < config.mle_ratio:
            return "likelihood"
        alone = config.mle_ratio + config.critic_pretrain_ratio
        return "critic" if self.progress < alone else "adversarial"

    def share_of_stage(self, progress: float) -> float:
        """How much of its stage is done at a point of the budget, 0 to 1."""
        first = self.config.mle_ratio
        places = (0.0, first, first + self.config.critic_pretrain_ratio, 1.0)
        begins, ends = next(pair for pair in pairwise(places) if progress < pair[1] or pair[1] >= 1)
        return (progress - begins) / (ends - begins) if ends > begins else 1.0

    @torch.no_grad()
    def part(self) -> None:
        """Keep the generator as it is, if that was not done before."""
        if not self.parted:
            self.pretrained.load_state_dict(self.generator.state_dict())
            self.parted.fill_(True)

    @property
    def writer(self) -> LanguageModel:
        return self.generator

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
        return self.generator.parameter_count()


def make_generator(config: Gan.Config, vocab_size: int) -> Recurrent | Transformer:
    """The network that writes."""
    if config.generator == "transformer":
        return transformer_settings(config).build(vocab_size)
    return Recurrent.Config(
        config.generator,
        embedding_size=config.embedding_size,
        hidden_size=config.hidden_size,
        layers=config.layers,
        tie_embeddings=config.tie_embeddings,
        dropout=config.dropout,
    ).build(vocab_size)


def transformer_settings(config: Gan.Config) -> Transformer.Config:
    return Transformer.Config(
        hidden_size=config.hidden_size,
        layers=config.layers,
        heads=config.heads,
        context_length=config.context_length,
        tie_embeddings=config.tie_embeddings,
        dropout=config.dropout,
        attention_dropout=0.0,
        zero_init_residual=False,
    )


def make_critic(config: Gan.Config, vocab_size: int) -> Critic:
    """The network that judges."""
    embedding, width, dropout = (
        config.critic_embedding_size,
        config.critic_hidden_size,
        config.critic_dropout,
    )
    if config.critic == "recurrent":
        return RecurrentCritic(vocab_size, embedding=embedding, width=width, dropout=dropout)
    return ConvolutionalCritic(
        vocab_size, embedding=embedding, width=width, views=config.critic_heads, dropout=dropout
    )


RELAXED = Gan.Config(method="relaxed", critic_embedding_size=64, critic_heads=16)
SIZES: dict[str, Gan.Config] = {
    "tiny": Gan.Config(embedding_size=64, hidden_size=128, dropout=0.0, critic_hidden_size=32),
    "relaxed": RELAXED,
    "transformer": Gan.Config("transformer", layers=3, tie_embeddings=True),
}
