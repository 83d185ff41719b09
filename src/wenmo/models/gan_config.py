"""The settings of adversarial models, and their sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from wenmo.models.config import ModelConfig
from wenmo.models.recurrent_config import Cell, RecurrentConfig
from wenmo.models.transformer.config import TransformerConfig
from wenmo.options import option


@dataclass(frozen=True)
class GanConfig(ModelConfig):
    """Settings of an adversarial model."""

    class_path: ClassVar[str] = "wenmo.models.gan:Gan"

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
    hidden_size: int = option(256, "size of the generator's layers", "生成器各层的维数", minimum=1)
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
        "dropout on the input of each layer of the generator, while it is trained by likelihood",
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
            raise ValueError("critic_heads are for critic=convolutional: leave critic_heads out")
        if self.generator == "transformer":
            self.transformer()  # it raises what is wrong with the heads

    def recurrent(self, cell: Cell) -> RecurrentConfig:
        """The settings of a recurrent generator."""
        return RecurrentConfig(
            cell,
            embedding_size=self.embedding_size,
            hidden_size=self.hidden_size,
            layers=self.layers,
            tie_embeddings=self.tie_embeddings,
            dropout=self.dropout,
        )

    def transformer(self) -> TransformerConfig:
        """The settings of a generator that is a Transformer."""
        return TransformerConfig(
            hidden_size=self.hidden_size,
            layers=self.layers,
            heads=self.heads,
            context_length=self.context_length,
            tie_embeddings=self.tie_embeddings,
            dropout=self.dropout,
            attention_dropout=0.0,
            zero_init_residual=False,
        )


RELAXED = GanConfig(method="relaxed", critic_embedding_size=64, critic_heads=16)
SIZES: dict[str, GanConfig] = {
    "tiny": GanConfig(embedding_size=64, hidden_size=128, dropout=0.0, critic_hidden_size=32),
    "relaxed": RELAXED,
    "transformer": GanConfig("transformer", layers=3, tie_embeddings=True),
}
