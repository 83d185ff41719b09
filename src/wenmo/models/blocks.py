"""What both stacks of a Transformer are built of: blocks, feed-forward layers, norms, positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from wenmo.models.attention import (
    CrossAttention,
    KVCache,
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

# By the settings' names: the GELU (Hendrycks & Gimpel 2016) is meant in its tanh form, as in GPT-2.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "silu": F.silu,
    "gelu": partial(F.gelu, approximate="tanh"),
    "gelu-exact": F.gelu,
    "swiglu": F.silu,
    "geglu": partial(F.gelu, approximate="tanh"),
}
GATED = ("swiglu", "geglu")


class Block(nn.Module):
    """Self-attention, attention on a source if there is one, then a feed-forward layer: each with a
    norm before it, or after what it is added to.

    Attributes:
        recompute: in training, keep only what enters the block, and compute the rest once more in
            the backward pass (Chen et al. 2016): less memory for more time.
    """

    recompute = False

    def __init__(self, config: Transformer.Config, *, cross: bool) -> None:
        super().__init__()
        self.dropout, self.prenorm = config.dropout, config.prenorm
        self.attention_norm = make_norm(config)
        self.attention = SelfAttention(**attention_settings(config))
        self.cross_norm = make_norm(config) if cross else nn.Identity()
        self.cross = CrossAttention(**attention_settings(config)) if cross else None
        self.feed_forward_norm = make_norm(config)
        gated = config.activation in GATED
        self.feed_forward: Gated | FeedForward = Gated(config) if gated else FeedForward(config)

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None,
        mask: Tensor | None,
        cache: KVCache | None = None,
        source: Source | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """All residual branches over (rows, time, width), and how the source was attended to, where
        that is asked for.
        """
        if self.recompute and self.training:
            given = (x, rotation, mask, cache, source)
            found: tuple[Tensor, Tensor | None] = checkpoint(
                self._branches, *given, use_reentrant=False
            )
            return found
        return self._branches(x, rotation, mask, cache, source)

    def _branches(
        self,
        x: Tensor,
        rotation: Rotation | None,
        mask: Tensor | None,
        cache: KVCache | None,
        source: Source | None,
    ) -> tuple[Tensor, Tensor | None]:
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


def blocks_of(model: nn.Module) -> list[Block]:
    """All blocks of a model, wherever they are in it."""
    return [module for module in model.modules() if isinstance(module, Block)]


class Gated(nn.Module):
    """down(activation(gate(x)) · up(x)) (Shazeer 2020): SwiGLU with silu, GEGLU with the GELU."""

    def __init__(self, config: Transformer.Config) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        self.gate = nn.Linear(config.hidden_size, config.inner_width, bias=config.bias)
        self.up = nn.Linear(config.hidden_size, config.inner_width, bias=config.bias)
        self.down = nn.Linear(config.inner_width, config.hidden_size, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.gate(x)) * self.up(x))


class FeedForward(nn.Module):
    """down(activation(up(x))) (Vaswani et al. 2017, section 3.3)."""

    def __init__(self, config: Transformer.Config) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        self.up = nn.Linear(config.hidden_size, config.inner_width, bias=config.bias)
        self.down = nn.Linear(config.inner_width, config.hidden_size, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))


def attention_settings(config: Transformer.Config) -> dict[str, Any]:
    return {
        "width": config.hidden_size,
        "heads": config.heads,
        "kv_heads": config.query_groups,
        "head_width": config.width_of_head,
        "bias": config.bias,
        "qkv_bias": config.bias if config.qkv_bias is None else config.qkv_bias,
        "qk_norm": config.qk_norm,
        "epsilon": config.norm_eps,
        "scale": config.scale_of_scores,
        "dropout": config.dropout_of_attention,
    }


def make_norm(config: Transformer.Config) -> nn.Module:
    if config.norm == "rms":
        return RMSNorm(config.hidden_size, config.norm_eps)
    return nn.LayerNorm(config.hidden_size, config.norm_eps)


def make_embedding_norm(config: Transformer.Config) -> nn.Module:
    return make_norm(config) if config.embedding_norm else nn.Identity()


def make_positions(config: Transformer.Config) -> nn.Embedding | None:
    """The table of learned positions, where they are learned."""
    return (
        nn.Embedding(config.context_length, config.hidden_size)
        if config.positions == "learned"
        else None
    )


def make_relative(config: Transformer.Config, *, both_ways: bool) -> RelativeBias | None:
    """The scores of relative positions, where those are chosen: one table for all blocks."""
    relative = config.positions == "relative"
    return RelativeBias(config.heads, both_ways=both_ways) if relative else None


def make_rotation(config: Transformer.Config, positions: Tensor) -> Rotation | None:
    if config.positions != "rotary":
        return None
    base, scaling = config.rope_theta, config.rope_scaling
    return Rotation.at(positions, config.width_of_head, base, scaling)


def embed(
    config: Transformer.Config,
    tokens: Tokens,
    positions: Tensor,
    embedding: nn.Embedding,
    learned: nn.Embedding | None,
    norm: nn.Module,
) -> Tensor:
    """Embeddings (rows, time, width) with what is added to them for their ``positions``, normed."""
    x = embedding(tokens)
    if config.scale_embeddings:
        x = x * config.hidden_size**0.5
    if learned is not None:
        x = x + learned(positions)
    elif config.positions.startswith("sinusoidal"):
        by_turns = config.positions == "sinusoidal"
        x = x + sinusoid(positions, config.hidden_size, by_turns=by_turns)
    return norm(x)


def initialise(
    model: nn.Module, stacks: Sequence[nn.ModuleList], config: Transformer.Config
) -> None:
    """Normal weights; what is added to the residual stream is scaled down with its depth."""
    spread = config.init_std
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            std = config.hidden_size**-0.5 if spread is None or config.scale_embeddings else spread
            nn.init.normal_(module.weight, std=std)
        elif isinstance(module, nn.Linear):
            if spread is None:
                nn.init.xavier_normal_(module.weight)
            else:
                nn.init.normal_(module.weight, std=spread)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if spread is None:
        return
    for stack in stacks:
        writers = [layer for block in stack for layer in cast(Block, block).outputs()]
        for layer in writers:
            std = 0.0 if config.zero_init_residual else spread / len(writers) ** 0.5
            nn.init.normal_(layer.weight, std=std)


def pool(memory: Tensor, mask: Tensor) -> Tensor:
    """The largest of each number along (rows, time, width), where ``mask`` is true (Long et al.
    2020, "Preventing posterior collapse in sequence VAEs with pooling").
    """
    return memory.masked_fill(~mask[..., None], -torch.inf).amax(1)
