"""The settings of variational autoencoders, and their sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from wenmo.models.config import ModelConfig
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.models.transformer.config import TransformerConfig
from wenmo.options import option

Backbone = Literal["lstm", "transformer"]


@dataclass(frozen=True)
class VaeConfig(ModelConfig):
    """Settings of a variational autoencoder."""

    class_path: ClassVar[str] = "wenmo.models.vae:Vae"

    encoder: Backbone = option(
        "lstm",
        "reads the text in both directions: `lstm` or `transformer`",
        "双向读取文本：`lstm` 或 `transformer`",
    )
    decoder: Backbone = option(
        "lstm", "writes the text: `lstm` or `transformer`", "写出文本：`lstm` 或 `transformer`"
    )
    latent_size: int = option(32, "number of latent dimensions", "隐变量的维数", minimum=1)
    embedding_size: int = option(
        256, "size of an LSTM's token embeddings", "LSTM 词元嵌入的维数", minimum=1
    )
    hidden_size: int = option(256, "size of the layers", "各层的维数", minimum=1)
    layers: int = option(1, "number of layers of the decoder", "解码器的层数", minimum=1)
    encoder_layers: int = option(1, "number of layers of the encoder", "编码器的层数", minimum=1)
    heads: int = option(
        4, "attention heads of a Transformer", "Transformer 的注意力头数", minimum=1
    )
    context_length: int = option(
        256,
        "the most tokens of a text, its end included",
        "文本最多的词元数，含结束符",
        minimum=2,
    )
    tie_embeddings: bool = option(
        False,
        "the softmax uses the decoder's embedding (Press & Wolf 2017); the last layer of "
        "an LSTM is then as wide as that",
        "softmax 与解码器的嵌入共用权重（Press & Wolf 2017）；LSTM 的最后一层则与其同宽",
    )
    dropout: float = option(
        0.2,
        "dropout on the input of each layer and the output of the last",
        "每层输入和最后一层输出的 dropout",
        minimum=0,
        below=1,
    )
    word_dropout: float = option(
        0.0,
        "how often training hides a token from the decoder, which reads the end mark in "
        "its place (Bowman et al. 2016)",
        "训练时对解码器隐藏词元的概率，以结束符代替（Bowman et al. 2016）",
        minimum=0,
        below=1,
    )
    free_bits: float = option(
        8.0,
        "nats of divergence per text that cost nothing (Kingma et al. 2016)",
        "每个文本不计代价的散度（纳特，Kingma et al. 2016）",
        minimum=0,
        below=math.inf,
    )
    free_bits_per_dim: bool = option(
        True,
        "every latent dimension has an equal share of the free bits; else they are shared by all",
        "免费额度平均分给每一维；否则各维共用",
    )
    annealing: Literal["linear", "cyclical", "none"] = option(
        "linear",
        "weight of the divergence: rises once (`linear`), again and again (`cyclical`, Fu "
        "et al. 2019), or is constant (`none`)",
        "散度权重的退火：上升一次（`linear`）、反复上升（`cyclical`，Fu et al. 2019）"
        "或不变（`none`）",
    )
    cycles: int = option(
        4, "with `cyclical`: how often it rises", "用于 `cyclical`：上升的次数", minimum=1
    )
    annealing_ratio: float = option(
        0.2,
        "share of the budget, or of each cycle, in which it rises",
        "上升阶段占总预算（或每个周期）的比例",
        minimum=0,
        maximum=1,
    )
    kl_floor: float = option(
        0.0, "the weight that it rises from", "权重的起点", minimum=0, below=math.inf
    )
    kl_peak: float = option(
        1.0,
        "the weight that it rises to; 1: the evidence lower bound",
        "权重的终点；1：证据下界",
        minimum=0,
        below=math.inf,
    )
    aggressive_ratio: float = option(
        0.0,
        "share of the budget, from its beginning, in which the encoder is trained more "
        "than the decoder (He et al. 2019, with fixed numbers in place of their two "
        "stopping rules)",
        "预算开头多训练编码器的阶段所占比例（He et al. 2019，以固定数目代替其两条停止规则）",
        minimum=0,
        maximum=1,
    )
    encoder_steps: int = option(
        9,
        "steps of the encoder alone in that phase, before each step of both",
        "该阶段中每次共同更新之前，只更新编码器的步数",
        minimum=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if "transformer" in (self.encoder, self.decoder):
            self.transformer(layers=1)  # it raises what is wrong with the heads

    def recurrent(self) -> RecurrentConfig:
        """The settings of a decoder that is an LSTM."""
        return RecurrentConfig(
            "lstm",
            embedding_size=self.embedding_size,
            hidden_size=self.hidden_size,
            layers=self.layers,
            tie_embeddings=self.tie_embeddings,
            dropout=self.dropout,
        )

    def transformer(self, layers: int, encoder_layers: int = 0) -> TransformerConfig:
        """The settings of a decoder, or of an encoder, of Transformer blocks."""
        return TransformerConfig(
            hidden_size=self.hidden_size,
            layers=layers,
            encoder_layers=encoder_layers,
            heads=self.heads,
            context_length=self.context_length,
            tie_embeddings=self.tie_embeddings,
            share_embeddings=False,
            dropout=self.dropout,
            attention_dropout=0.0,
            zero_init_residual=False,
        )


SIZES: dict[str, VaeConfig] = {
    "tiny": VaeConfig(latent_size=16, embedding_size=64, hidden_size=128, dropout=0.0),
    "transformer": VaeConfig(
        "transformer", "transformer", layers=3, encoder_layers=2, tie_embeddings=True
    ),
}
