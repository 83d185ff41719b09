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
from wenmo.models.network import STEERING
from wenmo.models.recurrent import Recurrent
from wenmo.models.state import StateSchema
from wenmo.models.transformer.model import Transformer
from wenmo.options import Settings, option
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

    @dataclass(frozen=True)
    class Config(Settings):
        """Settings of an adversarial model."""

        generator: Literal["rnn", "lstm", "gru", "transformer"] = option(
            "lstm",
            "writes the text: `rnn`, `lstm`, `gru` or `transformer`",
            "生成器：`rnn`、`lstm`、`gru` 或 `transformer`",
        )
        embedding_size: int = option(
            128,
            "size of a recurrent generator's token embeddings",
            "循环生成器的词元嵌入维数",
            minimum=1,
        )
        hidden_size: int = option(
            256, "size of the generator's layers", "生成器各层的维数", minimum=1
        )
        layers: int = option(1, "number of layers of the generator", "生成器的层数", minimum=1)
        heads: int = option(
            4, "attention heads of a Transformer", "Transformer 的注意力头数", minimum=1
        )
        context_length: int = option(
            64,
            "the most tokens of a text, its end included",
            "文本最多的词元数，含结束符",
            minimum=2,
        )
        tie_embeddings: bool = option(
            False,
            "the softmax uses the generator's embedding (Press & Wolf 2017)",
            "softmax 与生成器的嵌入共用权重（Press & Wolf 2017）",
        )
        dropout: float = option(
            0.2,
            "dropout on the input of each layer of the generator, while it is trained by "
            "likelihood",
            "生成器以似然训练时每层输入的 dropout",
            minimum=0,
            below=1,
        )
        critic: Literal["convolutional", "recurrent"] = option(
            "convolutional",
            "`convolutional`, over spans of two to five tokens (Kim 2014) with a highway, or "
            "`recurrent`, in both directions",
            "评判者：`convolutional`，二至五个词元的卷积（Kim 2014）加 highway 层；或 "
            "`recurrent`，双向循环",
        )
        critic_embedding_size: int = option(
            64, "size of the critic's token embeddings", "评判者的词元嵌入维数", minimum=1
        )
        critic_hidden_size: int = option(
            64,
            "filters of each span, or size of the recurrent layer",
            "每种跨度的卷积核数，或循环层的维数",
            minimum=1,
        )
        critic_dropout: float = option(
            0.25,
            "dropout on the features that the critic judges by",
            "评判者所用特征的 dropout",
            minimum=0,
            below=1,
        )
        critic_heads: int = option(
            1,
            "number of parts of the critic's embedding, each judged by itself (Nie et al. "
            "2019, section 2.3); for a convolutional critic",
            "评判者的嵌入分成几份，各自评判（Nie et al. 2019，2.3 节）；用于卷积评判者",
            minimum=1,
        )
        method: Literal["policy", "relaxed"] = option(
            "policy",
            "how the generator learns from the critic: by `policy` gradients, or through "
            "`relaxed` tokens",
            "生成器向评判者学习的方法：策略梯度（`policy`）或松弛词元（`relaxed`）",
        )
        rollouts: int = option(
            4,
            "with `policy`: how often each prefix of a text is completed to estimate its reward",
            "用于 `policy`：为估计回报，每个前缀续写的次数",
            minimum=1,
        )
        baseline: bool = option(
            True,
            "with `policy`: the mean reward is subtracted from each reward; without, likely "
            "texts become likelier whatever the critic says",
            "用于 `policy`：回报减去平均值；否则无论评判如何，高概率文本都会更可能",
        )
        inverse_temperature: float = option(
            100.0,
            "with `relaxed`: inverse temperature at the end; it is 1 at the beginning",
            "用于 `relaxed`：结束时的逆温度；开始时为 1",
            minimum=1,
        )
        mle_ratio: float = option(
            0.6,
            "share of the budget in which the generator is trained by likelihood",
            "生成器以似然训练的阶段占总预算的比例",
            minimum=0,
        )
        critic_pretrain_ratio: float = option(
            0.05,
            "share of the budget after that in which only the critic is trained",
            "其后只训练评判者的阶段所占比例",
            minimum=0,
        )
        critic_steps: int = option(
            3,
            "steps of the critic for each of the generator",
            "生成器每走一步，评判者的步数",
            minimum=1,
        )
        adversarial_learning_rate: float = option(
            1e-3,
            "peak learning rate of the generator (Adam) when it learns from the critic",
            "生成器向评判者学习时的学习率峰值（Adam）",
            above=0,
        )
        critic_learning_rate: float = option(
            1e-3, "peak learning rate of the critic", "评判者的学习率峰值", above=0
        )

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.mle_ratio + self.critic_pretrain_ratio > 1:
                raise ValueError("mle_ratio and critic_pretrain_ratio must not be above 1 together")
            if self.critic_embedding_size % self.critic_heads:
                raise ValueError("critic_embedding_size must be a multiple of critic_heads")
            if self.critic_heads > 1 and self.critic == "recurrent":
                raise ValueError(
                    "critic_heads are for critic=convolutional: leave critic_heads out"
                )
            if self.generator == "transformer":
                transformer_settings(self)  # tells what heads do not go with the width

        def build(self, vocab_size: int) -> Gan:
            return Gan(self, vocab_size)

    def __init__(self, config: Config, vocab_size: int) -> None:
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

    def set_progress(self, progress: float, step: int) -> None:
        self.progress = progress

    def further_progress(self, progress: float) -> float:
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
