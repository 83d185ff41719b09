"""The decoder-only Transformer. One set of settings spans GPT-2 exactly (Radford et al. 2019) and
the modern arrangement of Llama and Qwen3 (Yang et al. 2025), which is the default.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.models.attention import Attention, Cache, RMSNorm, Rotation, begin_caches, extend_caches
from wenmo.models.base import LanguageModel
from wenmo.types import Logits, State, Tokens


class Transformer(LanguageModel):
    """Token embeddings, a stack of attention and feed-forward blocks, and a softmax."""

    @dataclass(frozen=True)
    class Config:
        """Settings of a decoder-only Transformer.

        Attributes:
            width: of the residual stream.
            layers: how many blocks.
            heads: of attention, for queries.
            kv_heads: for keys and values; null: as many as for queries.
            head_width: of each head; null: width / heads.
            feed_forward: inner width of the feed-forward layer; null: 4 × width, or 8/3 × width
                rounded up to a multiple of 32 for SwiGLU, which has three matrices instead of two.
            context: the most tokens it can look at.
            positions: rotary (Su et al. 2021) or learned.
            rotary_base: the base of the rotary angles.
            norm: RMS (Zhang & Sennrich 2019) or layer normalisation (Ba et al. 2016).
            epsilon: added to the variance in every norm.
            qk_norm: normalise queries and keys, head by head.
            activation: swiglu (Shazeer 2020), or gelu in its tanh form as in GPT-2.
            bias: biases in linear layers.
            tied: the softmax uses the embedding's weights (Press & Wolf 2017).
            dropout: on embeddings, attention weights and residual branches.
        """

        width: int = 256
        layers: int = 4
        heads: int = 4
        kv_heads: int | None = None
        head_width: int | None = None
        feed_forward: int | None = None
        context: int = 256
        positions: Literal["rotary", "learned"] = "rotary"
        rotary_base: float = 10_000.0
        norm: Literal["rms", "layer"] = "rms"
        epsilon: float = 1e-6
        qk_norm: bool = True
        activation: Literal["swiglu", "gelu"] = "swiglu"
        bias: bool = False
        tied: bool = True
        dropout: float = 0.0

        def __post_init__(self) -> None:
            if min(self.width, self.layers, self.heads, self.query_groups) < 1 or self.context < 2:
                raise ValueError("width, layers and heads must be at least 1, context at least 2")
            if self.head_width is None and self.width % self.heads:
                raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
            if self.heads % self.query_groups:
                groups = f"kv_heads {self.kv_heads}"
                raise ValueError(f"heads {self.heads} is not a multiple of {groups}")
            if min(self.width_of_head, self.inner_width) < 1:
                raise ValueError("head_width and feed_forward must be at least 1")
            if not (self.rotary_base > 0 and self.epsilon > 0):
                raise ValueError("rotary_base and epsilon must be above 0")
            if self.positions == "rotary" and self.width_of_head % 2:
                width = self.width_of_head
                raise ValueError(f"rotary positions need an even head width, not {width}")
            if not 0 <= self.dropout < 1:
                raise ValueError("dropout must be at least 0 and below 1")

        @property
        def query_groups(self) -> int:
            """The number of key–value heads."""
            return self.heads if self.kv_heads is None else self.kv_heads

        @property
        def width_of_head(self) -> int:
            return self.width // self.heads if self.head_width is None else self.head_width

        @property
        def inner_width(self) -> int:
            """The feed-forward layer's inner width."""
            if self.feed_forward is not None:
                return self.feed_forward
            if self.activation == "swiglu":
                return -(-8 * self.width // 3 // 32) * 32
            return 4 * self.width

        def build(self, vocab_size: int) -> Transformer:
            return Transformer(self, vocab_size)

    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.context = config, vocab_size, config.context
        self.embedding = nn.Embedding(vocab_size, config.width)
        learned = config.positions == "learned"
        self.position = nn.Embedding(config.context, config.width) if learned else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = make_norm(config)
        self.head = None if config.tied else nn.Linear(config.width, vocab_size, bias=False)
        self._initialise()

    def begin(
        self,
        rows: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        rng: torch.Generator | None = None,
    ) -> State:
        """An empty key–value cache with room for ``capacity`` tokens a row."""
        shape = (self.config.query_groups, self.config.width_of_head)
        like = self.embedding.weight.detach()
        return begin_caches(rows, capacity, [shape] * self.config.layers, like)

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        after: State = {}
        caches: list[Cache] | list[None] = [None] * self.config.layers
        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        if state:
            after, caches = extend_caches(state, tokens.shape[1])
            positions = caches[0].positions
        x = self.embedding(tokens)
        rotation = None
        if self.position is not None:
            x = x + self.position(positions)
        else:
            config = self.config
            rotation = Rotation.at(positions, config.width_of_head, config.rotary_base)
        x = F.dropout(x, self.config.dropout, self.training)
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, rotation, cache)
        weight = self.embedding.weight if self.head is None else self.head.weight
        return F.linear(self.norm(x), weight).float(), after

    def _initialise(self) -> None:
        """Normal(0, 0.02); what is added to the residual stream is scaled down with its depth."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        std = 0.02 / (2 * self.config.layers) ** 0.5
        for block in self.blocks:
            for output in cast(Block, block).outputs():
                nn.init.normal_(output.weight, std=std)


class Block(nn.Module):
    """Attention, then a feed-forward layer, each on a normalised copy of the residual stream."""

    def __init__(self, config: Transformer.Config) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.attention_norm = make_norm(config)
        self.attention = Attention(
            config.width,
            heads=config.heads,
            kv_heads=config.query_groups,
            head_width=config.width_of_head,
            bias=config.bias,
            qk_norm=config.qk_norm,
            epsilon=config.epsilon,
            dropout=config.dropout,
        )
        self.feed_forward_norm = make_norm(config)
        gated = config.activation == "swiglu"
        self.feed_forward: SwiGLU | GELU = SwiGLU(config) if gated else GELU(config)

    def forward(self, x: Tensor, rotation: Rotation | None, cache: Cache | None) -> Tensor:
        """Both residual branches over (rows, time, width)."""
        mixed = self.attention(self.attention_norm(x), rotation, cache)
        x = x + F.dropout(mixed, self.dropout, self.training)
        changed = self.feed_forward(self.feed_forward_norm(x))
        return x + F.dropout(changed, self.dropout, self.training)

    def outputs(self) -> tuple[nn.Linear, nn.Linear]:
        """The two layers that write into the residual stream."""
        return self.attention.output, self.feed_forward.down


class SwiGLU(nn.Module):
    """down(silu(gate(x)) · up(x)) (Shazeer 2020)."""

    def __init__(self, config: Transformer.Config) -> None:
        super().__init__()
        self.gate = nn.Linear(config.width, config.inner_width, bias=config.bias)
        self.up = nn.Linear(config.width, config.inner_width, bias=config.bias)
        self.down = nn.Linear(config.inner_width, config.width, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class GELU(nn.Module):
    """down(gelu(up(x))), with the tanh form of the GELU (Hendrycks & Gimpel 2016)."""

    def __init__(self, config: Transformer.Config) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.inner_width, bias=config.bias)
        self.down = nn.Linear(config.inner_width, config.width, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x), approximate="tanh"))


def make_norm(config: Transformer.Config) -> nn.Module:
    if config.norm == "rms":
        return RMSNorm(config.width, config.epsilon)
    return nn.LayerNorm(config.width, config.epsilon)


GPT2 = Transformer.Config(
    width=768,
    layers=12,
    heads=12,
    context=1024,
    positions="learned",
    norm="layer",
    epsilon=1e-5,
    qk_norm=False,
    activation="gelu",
    bias=True,
    dropout=0.1,
)
GPT3 = replace(GPT2, context=2048, dropout=0.0)

# GPT-2's sizes are those of its release. GPT-3's are table 2.1 of Brown et al. (2020); its XL row
# gives 24 heads of 128, which its own 1.3 B parameters rule out: 16 heads of 128 make them.
SIZES: dict[str, Transformer.Config] = {
    "tiny": Transformer.Config(width=128, layers=4, heads=4, context=128),
    "small": Transformer.Config(width=256, layers=6, heads=4, context=256),
    "medium": Transformer.Config(width=384, layers=6, heads=6, context=256),
    "large": Transformer.Config(width=768, layers=12, heads=12, kv_heads=4, context=1024),
    "nanogpt-cpu": replace(GPT2, width=128, layers=4, heads=4, context=64, dropout=0.0),
    "gpt2": GPT2,
    "gpt2-medium": replace(GPT2, width=1024, layers=24, heads=16),
    "gpt2-large": replace(GPT2, width=1280, layers=36, heads=20),
    "gpt2-xl": replace(GPT2, width=1600, layers=48, heads=25),
    "gpt3-small": replace(GPT3, width=768, layers=12, heads=12),
    "gpt3-medium": replace(GPT3, width=1024, layers=24, heads=16),
    "gpt3-large": replace(GPT3, width=1536, layers=24, heads=16),
    "gpt3-xl": replace(GPT3, width=2048, layers=24, heads=16),
    "gpt3-2.7b": replace(GPT3, width=2560, layers=32, heads=32),
    "gpt3-6.7b": replace(GPT3, width=4096, layers=32, heads=32),
    "gpt3-13b": replace(GPT3, width=5120, layers=40, heads=40),
    "gpt3-175b": replace(GPT3, width=12288, layers=96, heads=96),
}
