"""What both stacks of a Transformer are built of: blocks, feed-forward layers, norms, positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.models.attention import (
    Cache,
    CrossAttention,
    RelativeBias,
    RMSNorm,
    Rotation,
    SelfAttention,
    Source,
    sinusoid,
)
from wenmo.types import Tokens

if TYPE_CHECKING:
    from wenmo.models.transformer import Transformer


class Block(nn.Module):
    """Self-attention, attention on a source if there is one, then a feed-forward layer: each with a
    norm before it, or after what it is added to.
    """

    def __init__(self, config: Transformer.Config, *, cross: bool) -> None:
        super().__init__()
        self.dropout, self.prenorm = config.dropout, config.prenorm
        self.attention_norm = make_norm(config)
        self.attention = SelfAttention(**attention_settings(config))
        self.cross_norm = make_norm(config) if cross else nn.Identity()
        self.cross = CrossAttention(**attention_settings(config)) if cross else None
        self.feed_forward_norm = make_norm(config)
        gated = config.activation == "swiglu"
        self.feed_forward: SwiGLU | FeedForward = SwiGLU(config) if gated else FeedForward(config)

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None,
        mask: Tensor | None,
        cache: Cache | None = None,
        source: Source | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """All residual branches over (rows, time, width), and how the source was attended to, where
        that is asked for.
        """
        mixed = self.attention(self._into(self.attention_norm, x), rotation, mask, cache)
        x, weights = self._onto(self.attention_norm, x, mixed), None
        if self.cross is not None and source is not None:
            mixed, weights = self.cross(self._into(self.cross_norm, x), source)
            x = self._onto(self.cross_norm, x, mixed)
        changed = self.feed_forward(self._into(self.feed_forward_norm, x))
        return self._onto(self.feed_forward_norm, x, changed), weights

    def outputs(self) -> list[nn.Linear]:
        """The layers that write into the residual stream."""
        crossing = [] if self.cross is None else [self.cross.output]
        return [self.attention.output, *crossing, self.feed_forward.down]

    def _into(self, norm: nn.Module, x: Tensor) -> Tensor:
        return norm(x) if self.prenorm else x

    def _onto(self, norm: nn.Module, x: Tensor, change: Tensor) -> Tensor:
        x = x + F.dropout(change, self.dropout, self.training)
        return x if self.prenorm else norm(x)


class SwiGLU(nn.Module):
    """down(silu(gate(x)) · up(x)) (Shazeer 2020)."""

    def __init__(self, config: Transformer.Config) -> None:
        super().__init__()
        self.gate = nn.Linear(config.width, config.inner_width, bias=config.bias)
        self.up = nn.Linear(config.width, config.inner_width, bias=config.bias)
        self.down = nn.Linear(config.inner_width, config.width, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class FeedForward(nn.Module):
    """down(activation(up(x))): the ReLU (Vaswani et al. 2017, section 3.3), or the tanh form of the
    GELU (Hendrycks & Gimpel 2016).
    """

    def __init__(self, config: Transformer.Config) -> None:
        super().__init__()
        self.activation = config.activation
        self.up = nn.Linear(config.width, config.inner_width, bias=config.bias)
        self.down = nn.Linear(config.inner_width, config.width, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.up(x)
        if self.activation == "relu":
            return self.down(inner.relu())
        return self.down(F.gelu(inner, approximate="tanh"))


def attention_settings(config: Transformer.Config) -> dict[str, Any]:
    return {
        "width": config.width,
        "heads": config.heads,
        "kv_heads": config.query_groups,
        "head_width": config.width_of_head,
        "bias": config.bias,
        "qk_norm": config.qk_norm,
        "epsilon": config.epsilon,
        "dropout": config.dropout_of_attention,
    }


def make_norm(config: Transformer.Config) -> nn.Module:
    if config.norm == "rms":
        return RMSNorm(config.width, config.epsilon)
    return nn.LayerNorm(config.width, config.epsilon)


def make_positions(config: Transformer.Config) -> nn.Embedding | None:
    """The table of learned positions, where they are learned."""
    return nn.Embedding(config.context, config.width) if config.positions == "learned" else None


def make_relative(config: Transformer.Config, *, both_ways: bool) -> RelativeBias | None:
    """The scores of relative positions, where those are chosen: one table for all blocks."""
    relative = config.positions == "relative"
    return RelativeBias(config.heads, both_ways=both_ways) if relative else None


def make_rotation(config: Transformer.Config, positions: Tensor) -> Rotation | None:
    rotary = config.positions == "rotary"
    return Rotation.at(positions, config.width_of_head, config.rotary_base) if rotary else None


def embed(
    config: Transformer.Config,
    tokens: Tokens,
    positions: Tensor,
    embedding: nn.Embedding,
    learned: nn.Embedding | None,
) -> Tensor:
    """Embeddings (rows, time, width) with what is added to them for their ``positions``."""
    x = embedding(tokens)
    if config.scaled:
        x = x * config.width**0.5
    if learned is not None:
        x = x + learned(positions)
    elif config.positions == "sinusoidal":
        x = x + sinusoid(positions, config.width)
    return x
