"""The settings of all models that are made of Transformer blocks, and their checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from wenmo.models.config import ModelConfig
from wenmo.options import option

GATED = ("swiglu", "geglu")  # the activations of feed-forward layers with three matrices


@dataclass(frozen=True)
class TransformerConfig(ModelConfig):
    """Settings of a Transformer, and of every model that is made of its blocks."""

    class_path: ClassVar[str] = "wenmo.models.transformer.model:Transformer"

    hidden_size: int = option(256, "size of the residual stream", "残差流的维数", minimum=1)
    layers: int = option(4, "number of blocks that write the text", "写出文本的块数", minimum=1)
    encoder_layers: int = option(
        0,
        "number of blocks that read a source; 0: no encoder",
        "读取源文的块数；0：没有编码器",
        minimum=0,
    )
    heads: int = option(4, "attention heads, for queries", "注意力头数（查询）", minimum=1)
    kv_heads: int | None = option(
        None,
        "attention heads for keys and values; null: as many as for queries",
        "键和值的头数；null：与查询相同",
        minimum=1,
    )
    head_dim: int | None = option(
        None,
        "size of each head; null: hidden_size / heads",
        "每个头的维数；null：hidden_size / heads",
        minimum=1,
    )
    ffn_size: int | None = option(
        None,
        "inner size of the feed-forward layers; null: 4 × hidden_size, or for SwiGLU and "
        "GEGLU 8/3 × hidden_size rounded up to a multiple of 32",
        "前馈层的内部维数；null：4 × hidden_size，SwiGLU 和 GEGLU 为 8/3 × hidden_size "
        "并向上取 32 的倍数",
        minimum=1,
    )
    context_length: int = option(
        256,
        "the most tokens that it can attend to, of a text and of a source",
        "上下文长度：文本和源文各自最多的词元数",
        minimum=2,
    )
    sliding_window: int | None = option(
        None,
        "each token attends to this many of the last tokens (Beltagy et al. 2020); null: all",
        "滑动窗口：每个词元只关注最近的多少个词元（Beltagy et al. 2020）；null：全部",
        minimum=1,
    )
    positions: Literal["rotary", "learned", "sinusoidal", "sinusoidal-split", "relative"] = option(
        "rotary",
        "`rotary` (Su et al. 2021), `learned`, `sinusoidal` (Vaswani et al. 2017), "
        "`sinusoidal-split` with all sines first, or `relative` (Raffel et al. 2020)",
        "位置编码：`rotary`（Su et al. 2021）、`learned`、`sinusoidal`（Vaswani et al. 2017）"
        "、`sinusoidal-split`（正弦在前）或 `relative`（Raffel et al. 2020）",
    )
    rope_theta: float = option(10_000.0, "base of the rotary angles", "旋转位置编码的基数", above=0)
    rope_scaling: tuple[float, ...] = option(
        (),
        "how rotary angles are slowed for longer texts: a factor, or Llama 3.1's factor, low, "
        "high and context",
        "为更长文本放慢旋转角度：一个因子，或 Llama 3.1 的 factor、low、high 与 context",
        above=0,
    )
    norm: Literal["rms", "layer"] = option(
        "rms",
        "`rms` (Zhang & Sennrich 2019) or `layer` normalisation (Ba et al. 2016)",
        "归一化：`rms`（Zhang & Sennrich 2019）或 `layer`（Ba et al. 2016）",
    )
    prenorm: bool = option(
        True,
        "normalise the input of each layer (Xiong et al. 2020); false: the sum of its input "
        "and output (Vaswani et al. 2017)",
        "归一化每层的输入（Xiong et al. 2020）；false：归一化输入与输出之和（Vaswani et al. 2017）",
    )
    norm_eps: float = option(
        1e-6, "added to the variance in every norm", "归一化中加到方差上的小数", above=0
    )
    qk_norm: bool = option(True, "normalise queries and keys, head by head", "逐头归一化查询和键")
    attention_scale: float | None = option(
        None,
        "factor on the products of queries and keys; null: 1/√head_dim",
        "查询与键之积的系数；null：1/√head_dim",
    )
    activation: Literal["swiglu", "geglu", "gelu", "gelu-exact", "silu", "relu"] = option(
        "swiglu",
        "of the feed-forward layers: `swiglu` or `geglu` (Shazeer 2020), `gelu` in its tanh "
        "form, `gelu-exact`, `silu` or `relu`",
        "前馈层的激活函数：`swiglu` 或 `geglu`（Shazeer 2020）、tanh 形式的 `gelu`、"
        "`gelu-exact`、`silu` 或 `relu`",
    )
    bias: bool = option(False, "biases in linear layers", "线性层带偏置")
    qkv_bias: bool | None = option(
        None,
        "biases of queries, keys and values; null: as `bias`",
        "查询、键、值带偏置；null：同 `bias`",
    )
    lm_head_bias: bool = option(
        False, "the softmax has a bias for every token", "softmax 对每个词元有偏置"
    )
    embedding_norm: bool = option(
        False, "embeddings are normalised before the first block", "第一个块之前归一化嵌入"
    )
    tie_embeddings: bool = option(
        True,
        "the softmax uses the weights of the embedding (Press & Wolf 2017)",
        "softmax 与嵌入共用权重（Press & Wolf 2017）",
    )
    share_embeddings: bool = option(
        True, "the encoder uses the weights of the embedding, too", "编码器也共用嵌入的权重"
    )
    scale_embeddings: bool = option(
        False,
        "embeddings are multiplied by √hidden_size (Vaswani et al. 2017, section 3.4)",
        "嵌入乘以 √hidden_size（Vaswani et al. 2017，3.4 节）",
    )
    scale_logits: bool = option(
        False,
        "the input of the softmax is divided by √hidden_size (Raffel et al. 2020)",
        "softmax 的输入除以 √hidden_size（Raffel et al. 2020）",
    )
    init_std: float | None = option(
        0.02,
        "standard deviation of the initial weights; null: √(2 / (inputs + outputs)) (Glorot & "
        "Bengio 2010)",
        "初始权重的标准差；null：√(2 / (输入 + 输出))（Glorot & Bengio 2010）",
        minimum=0,
    )
    zero_init_residual: bool = option(
        True, "the output layers of residual branches start at zero", "残差分支的输出层从零开始"
    )
    dropout: float = option(
        0.0,
        "dropout on embeddings and residual branches",
        "嵌入和残差分支的 dropout",
        minimum=0,
        below=1,
    )
    attention_dropout: float | None = option(
        None,
        "dropout on attention weights, which makes attention slower; null: as `dropout`",
        "注意力权重的 dropout，会使注意力变慢；null：同 `dropout`",
        minimum=0,
        below=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head_dim is None and self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}"
            )
        if self.heads % self.query_groups:
            groups = f"kv_heads {self.kv_heads}"
            raise ValueError(f"heads {self.heads} is not a multiple of {groups}")
        if self.positions == "rotary" and self.resolved_head_dim % 2:
            width = self.resolved_head_dim
            raise ValueError(f"rotary positions need an even head_dim, not {width}")
        if len(self.rope_scaling) not in (0, 1, 4):
            raise ValueError("rope_scaling is a factor, or four figures, all above 0")

    @property
    def query_groups(self) -> int:
        """The number of key–value heads."""
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def resolved_head_dim(self) -> int:
        return self.hidden_size // self.heads if self.head_dim is None else self.head_dim

    @property
    def resolved_attention_dropout(self) -> float:
        return self.dropout if self.attention_dropout is None else self.attention_dropout

    @property
    def resolved_attention_scale(self) -> float:
        """What products of queries and keys are multiplied by."""
        return (
            self.resolved_head_dim**-0.5 if self.attention_scale is None else self.attention_scale
        )

    @property
    def resolved_ffn_size(self) -> int:
        """The feed-forward layer's inner width."""
        if self.ffn_size is not None:
            return self.ffn_size
        if self.activation in GATED:
            return -(-8 * self.hidden_size // 3 // 32) * 32
        return 4 * self.hidden_size


@dataclass(frozen=True)
class MaskedConfig(TransformerConfig):
    """The settings of a Transformer without an encoder, and what BERT has beside."""

    class_path: ClassVar[str] = "wenmo.models.transformer.masked:Masked"

    lm_head_transform: bool = option(
        False,
        "BERT's layer, activated and normalised, between the blocks and the softmax",
        "块与 softmax 之间 BERT 的一层，带激活和归一化",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder_layers:
            raise ValueError("encoder_layers must be 0: a masked model has one stack alone")
        if self.sliding_window is not None:
            raise ValueError("sliding_window must be null: a masked model looks to both sides")
        if self.activation in GATED and self.lm_head_transform:
            raise ValueError("lm_head_transform needs an activation without a gate: gelu-exact")
