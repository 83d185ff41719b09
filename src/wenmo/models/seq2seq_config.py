"""The settings of recurrent encoder–decoders, and their sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from wenmo.models.config import ModelConfig
from wenmo.models.recurrent_config import Cell, RecurrentConfig
from wenmo.options import option

AttentionType = Literal["none", "additive", "dot", "general", "concat"]


@dataclass(frozen=True)
class Seq2seqConfig(ModelConfig):
    """Settings of a recurrent encoder–decoder."""

    class_path: ClassVar[str] = "wenmo.models.seq2seq:Seq2seq"

    cell: Cell = option(
        "gru",
        "kind of recurrent cell: `rnn`, `lstm` or `gru`",
        "循环单元的种类：`rnn`、`lstm` 或 `gru`",
    )
    embedding_size: int = option(256, "size of the token embeddings", "词元嵌入的维数", minimum=1)
    hidden_size: int = option(
        256,
        "size of the recurrent layers, in each direction",
        "循环层的维数（每个方向）",
        minimum=1,
    )
    layers: int = option(
        1,
        "number of layers of the encoder and of the decoder",
        "编码器与解码器各自的层数",
        minimum=1,
    )
    bidirectional: bool = option(
        True,
        "the encoder also reads from the end (Schuster & Paliwal 1997)",
        "编码器也从末尾反向读（Schuster & Paliwal 1997）",
    )
    attention: AttentionType = option(
        "additive",
        "`additive`, before each step (Bahdanau et al. 2015); `dot`, `general` or "
        "`concat`, after it (Luong et al. 2015); `none`: the decoder only starts with the "
        "last state of the encoder",
        "`additive`：每步之前（Bahdanau et al. 2015）；`dot`、`general`、`concat`："
        "每步之后（Luong et al. 2015）；`none`：解码器只以编码器的最后状态开始",
    )
    input_feeding: bool = option(
        True,
        "`dot`, `general` and `concat` also read the attention result of the step before "
        "(Luong et al. 2015); `additive` always does",
        "`dot`、`general`、`concat` 还读入上一步的注意力结果（Luong et al. 2015）；"
        "`additive` 总是如此",
    )
    copy: bool = option(
        False,
        "a learned switch between generating a token and copying one from the source (See "
        "et al. 2017)",
        "学习在生成词元与从源文复制词元之间切换（See et al. 2017）",
    )
    coverage: float = option(
        0.0,
        "weight of the coverage loss (See et al. 2017); above 0, the attention also sees "
        "where it looked before: only with `additive` and `concat`",
        "覆盖损失的权重（See et al. 2017）；大于 0 时注意力还能看到以前看过的位置：只用于 "
        "`additive` 与 `concat`",
        minimum=0,
        below=math.inf,
    )
    scheduled_sampling: float = option(
        0.0,
        "how often training replaces a token by the model's own prediction (Bengio et al. 2015)",
        "训练时以模型自己的预测代替词元的概率（Bengio et al. 2015）",
        minimum=0,
        maximum=1,
    )
    tie_embeddings: bool = option(
        True,
        "source, text and softmax share one embedding (Press & Wolf 2017)",
        "源文、文本与 softmax 共用一个嵌入（Press & Wolf 2017）",
    )
    dropout: float = option(
        0.2,
        "dropout on the input of each layer and of the softmax (Zaremba et al. 2014)",
        "每层输入和 softmax 输入的 dropout（Zaremba et al. 2014）",
        minimum=0,
        below=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.copy and self.attention == "none":
            raise ValueError("copy=true needs attention to copy by: choose attention=additive")
        if self.coverage and self.attention not in ("additive", "concat"):
            raise ValueError(
                f"attention={self.attention} cannot see coverage: choose additive or concat"
            )

    @property
    def feeds_readout(self) -> bool:
        """Whether the readout of a step enters the next one."""
        return self.input_feeding and self.attention in ("dot", "general", "concat")

    @property
    def memory_size(self) -> int:
        """The width of the encoded source."""
        return self.hidden_size * (1 + (self.bidirectional and self.attention != "dot"))


def match_side(config: Any, side: Literal["encoder", "decoder"]) -> dict[str, Any]:
    """The settings of a model of which a side begins with the weights of another; none if that is
    not recurrent.
    """
    if not isinstance(config, RecurrentConfig | Seq2seqConfig):
        return {}
    names = ("cell", "embedding_size", "hidden_size", "layers", "tie_embeddings")
    settings = {name: getattr(config, name) for name in names}
    if isinstance(config, Seq2seqConfig):
        return {**settings, "bidirectional": config.bidirectional}
    narrow = (
        config.tie_embeddings and config.layers == 1
    )  # whose one layer is as wide as the embedding
    return {**settings, "hidden_size": config.embedding_size} if narrow else settings


SIZES: dict[str, Seq2seqConfig] = {
    "tiny": Seq2seqConfig(embedding_size=64, hidden_size=128, dropout=0.0),
    "small": Seq2seqConfig(embedding_size=256, hidden_size=512),
    "medium": Seq2seqConfig(embedding_size=512, hidden_size=512, layers=2, dropout=0.3),
}
