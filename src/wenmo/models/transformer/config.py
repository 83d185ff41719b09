"""The settings that all models made of Transformer blocks share, and their checks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from wenmo.models.base import LanguageModel

GATED = ("swiglu", "geglu")  # the activations of feed-forward layers with three matrices


@dataclass(frozen=True)
class TransformerConfig(ABC):
    """Settings of a Transformer, and of every model that is made of its blocks.

    Attributes:
        hidden_size: of the residual stream.
        layers: how many blocks write the text.
        encoder_layers: how many blocks read a source, on which every block of the others then
            attends; 0: there is no encoder.
        heads: of attention, for queries.
        kv_heads: for keys and values; null: as many as for queries.
        head_dim: of each head; null: width / heads.
        ffn_size: inner width of the feed-forward layer; null: 4 × width, or 8/3 × width
            rounded up to a multiple of 32 for SwiGLU, which has three matrices instead of two.
        context_length: the most tokens it can look at, of a text and of a source.
        sliding_window: how many of the last tokens each looks at (Beltagy et al. 2020); null:
            all.
        positions: rotary (Su et al. 2021), learned, sinusoidal (Vaswani et al. 2017, section
            3.5), sinusoidal-split with all sines first, or relative (Raffel et al. 2020,
            section 2.1).
        rope_theta: the base of the rotary angles.
        rope_scaling: how the angles are slowed for longer texts; see `Rotation.at`.
        norm: RMS (Zhang & Sennrich 2019) or layer normalisation (Ba et al. 2016).
        prenorm: normalise what enters each layer (Xiong et al. 2020), and not, as Vaswani et
            al. (2017), the sum that leaves it.
        norm_eps: added to the variance in every norm.
        qk_norm: normalise queries and keys, head by head.
        attention_scale: what products of queries and keys are multiplied by; null: 1/√head
            width.
        activation: of the feed-forward layer: swiglu or geglu (Shazeer 2020), gelu in its tanh
            form as in GPT-2, gelu-exact, silu or relu.
        bias: biases in linear layers.
        qkv_bias: biases of queries, keys and values; null: as ``bias``.
        lm_head_bias: the softmax has a bias for every token.
        embedding_norm: embeddings are normed before the first block.
        tie_embeddings: the softmax uses the embedding's weights (Press & Wolf 2017).
        share_embeddings: the encoder uses the embedding's weights, too.
        scale_embeddings: embeddings are multiplied by √width (Vaswani et al. 2017, section
            3.4).
        scale_logits: what enters the softmax is divided by √width (Raffel et al. 2020).
        init_std: standard deviation of the linear layers' first weights; null: √(2 / (inputs +
            outputs)) (Glorot & Bengio 2010).
        zero_init_residual: what is added to the residual stream begins as nothing, and not
            small.
        dropout: on embeddings and residual branches.
        attention_dropout: on attention weights, which it makes slower; null: as ``dropout``.
    """

    hidden_size: int = 256
    layers: int = 4
    encoder_layers: int = 0
    heads: int = 4
    kv_heads: int | None = None
    head_dim: int | None = None
    ffn_size: int | None = None
    context_length: int = 256
    sliding_window: int | None = None
    positions: Literal["rotary", "learned", "sinusoidal", "sinusoidal-split", "relative"] = "rotary"
    rope_theta: float = 10_000.0
    rope_scaling: tuple[float, ...] = ()
    norm: Literal["rms", "layer"] = "rms"
    prenorm: bool = True
    norm_eps: float = 1e-6
    qk_norm: bool = True
    attention_scale: float | None = None
    activation: Literal["swiglu", "geglu", "gelu", "gelu-exact", "silu", "relu"] = "swiglu"
    bias: bool = False
    qkv_bias: bool | None = None
    lm_head_bias: bool = False
    embedding_norm: bool = False
    tie_embeddings: bool = True
    share_embeddings: bool = True
    scale_embeddings: bool = False
    scale_logits: bool = False
    init_std: float | None = 0.02
    zero_init_residual: bool = True
    dropout: float = 0.0
    attention_dropout: float | None = None

    def __post_init__(self) -> None:
        if (
            min(self.hidden_size, self.layers, self.heads, self.query_groups) < 1
            or self.context_length < 2
        ):
            raise ValueError(
                "hidden_size, layers and heads must be at least 1, context_length at least 2"
            )
        if self.head_dim is None and self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}"
            )
        if self.heads % self.query_groups:
            groups = f"kv_heads {self.kv_heads}"
            raise ValueError(f"heads {self.heads} is not a multiple of {groups}")
        if min(self.width_of_head, self.inner_width) < 1:
            raise ValueError("head_dim and ffn_size must be at least 1")
        if self.encoder_layers < 0:
            raise ValueError("encoder_layers must be at least 0")
        if not (self.rope_theta > 0 and self.norm_eps > 0 and (self.init_std or 1) > 0):
            raise ValueError("rope_theta, norm_eps and init_std must be above 0")
        if self.positions == "rotary" and self.width_of_head % 2:
            width = self.width_of_head
            raise ValueError(f"rotary positions need an even head_dim, not {width}")
        if self.sliding_window is not None and self.sliding_window < 1:
            raise ValueError("sliding_window must be at least 1")
        if len(self.rope_scaling) not in (0, 1, 4) or min(self.rope_scaling, default=1) <= 0:
            raise ValueError("rope_scaling is a factor, or four figures, all above 0")
        if not (0 <= self.dropout < 1 and 0 <= self.dropout_of_attention < 1):
            raise ValueError("dropout and attention_dropout must be at least 0 and below 1")

    @property
    def query_groups(self) -> int:
        """The number of key–value heads."""
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def width_of_head(self) -> int:
        return self.hidden_size // self.heads if self.head_dim is None else self.head_dim

    @property
    def dropout_of_attention(self) -> float:
        return self.dropout if self.attention_dropout is None else self.attention_dropout

    @property
    def scale_of_scores(self) -> float:
        """What products of queries and keys are multiplied by."""
        return self.width_of_head**-0.5 if self.attention_scale is None else self.attention_scale

    @property
    def inner_width(self) -> int:
        """The feed-forward layer's inner width."""
        if self.ffn_size is not None:
            return self.ffn_size
        if self.activation in GATED:
            return -(-8 * self.hidden_size // 3 // 32) * 32
        return 4 * self.hidden_size

    @abstractmethod
    def build(self, vocab_size: int) -> LanguageModel:
        """Make the model, with weights drawn at random."""
