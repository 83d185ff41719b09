"""The stack of blocks that every Transformer is made of: embeddings, positions, blocks, a norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from wenmo.models.transformer.attention import CrossAttention, SelfAttention, Source
from wenmo.models.transformer.cache import KVCache
from wenmo.models.transformer.config import TransformerConfig
from wenmo.models.transformer.layers import make_feed_forward, make_norm
from wenmo.models.transformer.positions import RelativeBias, Rotation, sinusoid
from wenmo.types import Tokens


class Block(nn.Module):
    """Self-attention, attention on a source if there is one, then a feed-forward layer: each with a
    norm before it, or after the sum with its input.

    Attributes:
        recompute: in training, keep only the input of the block, and compute the rest once more in
            the backward pass (Chen et al. 2016): less memory for more time.
    """

    recompute = False

    def __init__(self, config: TransformerConfig, *, cross: bool) -> None:
        super().__init__()
        self.dropout, self.prenorm = config.dropout, config.prenorm
        self.attention_norm = make_norm(config)
        self.attention = SelfAttention(config)
        self.cross_norm = make_norm(config) if cross else nn.Identity()
        self.cross = CrossAttention(config) if cross else None
        self.feed_forward_norm = make_norm(config)
        self.feed_forward = make_feed_forward(config)

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None,
        mask: Tensor | None,
        cache: KVCache | None = None,
        source: Source | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Add all residual branches to (rows, time, hidden_size).

        Args:
            mask: as ``Attention.mix`` takes it.

        Returns:
            The sum, and the attention on the source as ``CrossAttention`` returns it.
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
        mixed = self.attention(self._before(self.attention_norm, x), rotation, mask, cache)
        x, weights = self._after(self.attention_norm, x, mixed), None
        if self.cross is not None and source is not None:
            mixed, weights = self.cross(self._before(self.cross_norm, x), source)
            x = self._after(self.cross_norm, x, mixed)
        changed = self.feed_forward(self._before(self.feed_forward_norm, x))
        return self._after(self.feed_forward_norm, x, changed), weights

    def outputs(self) -> list[nn.Linear]:
        """The layers that write into the residual stream."""
        cross = [] if self.cross is None else [self.cross.output]
        return [self.attention.output, *cross, self.feed_forward.down]

    def _before(self, norm: nn.Module, x: Tensor) -> Tensor:
        """The input of a branch."""
        return norm(x) if self.prenorm else x

    def _after(self, norm: nn.Module, x: Tensor, change: Tensor) -> Tensor:
        """The sum of a branch's input and its output."""
        x = x + F.dropout(change, self.dropout, self.training)
        return x if self.prenorm else norm(x)


class Stack(nn.Module):
    """Token embeddings with their positions, blocks, and a final norm.

    It is a base class and not a part of a model, so that a model's weights are called ``embedding``
    and ``blocks``, without a prefix.

    Args:
        ids: how many ids the embedding has; None: the stack has none of its own.
        layers: the number of blocks.
        causal: a token looks at itself and at what is before it; otherwise to both sides.
        cross: the blocks attend on a source, too.

    Attributes:
        position: the table of learned positions, where they are learned.
        relative: the scores of relative positions, where there are: one table for all blocks.
    """

    embedding: nn.Embedding | None

    def __init__(
        self,
        config: TransformerConfig,
        ids: int | None,
        layers: int,
        *,
        causal: bool,
        cross: bool = False,
    ) -> None:
        super().__init__()
        self.config, width = config, config.hidden_size
        has_position_table, relative = config.positions == "learned", config.positions == "relative"
        self.embedding = None if ids is None else nn.Embedding(ids, width)
        self.position = nn.Embedding(config.context_length, width) if has_position_table else None
        self.embedding_norm = make_norm(config) if config.embedding_norm else nn.Identity()
        self.relative = RelativeBias(config.heads, bidirectional=not causal) if relative else None
        self.blocks = nn.ModuleList(Block(config, cross=cross) for _ in range(layers))
        self.norm = make_norm(config) if config.prenorm else nn.Identity()

    def embed(
        self, tokens: Tokens, positions: Tensor, embedding: nn.Embedding | None = None
    ) -> Tensor:
        """The input of the first block, (rows, time, hidden_size).

        Args:
            tokens: (rows, time).
            positions: int64 (rows or 1, time).
            embedding: of another stack, for one without its own.
        """
        embedding = cast(nn.Embedding, self.embedding or embedding)
        config, x = self.config, embedding(tokens)
        if config.scale_embeddings:
            x = x * config.hidden_size**0.5
        if self.position is not None:
            x = x + self.position(positions)
        elif config.positions.startswith("sinusoidal"):
            interleaved = config.positions == "sinusoidal"
            x = x + sinusoid(positions, config.hidden_size, interleaved=interleaved)
        return F.dropout(self.embedding_norm(x), config.dropout, self.training)

    def run_blocks(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None,
        caches: Sequence[KVCache] | None = None,
        sources: Sequence[Source] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The hidden states of (rows, time, hidden_size), normed.

        Args:
            positions: of the tokens, int64 (rows or 1, time).
            mask: bool, broadcast to (rows, 1, time, keys), true where a token may look; keys stand
                at 0, 1, and so on. None: causal.
            caches: of each block, for tokens that come after others.
            sources: of each block, where the blocks attend on a source.

        Returns:
            The hidden states (rows, time, hidden_size), and the last block's attention on the
            source as ``CrossAttention`` returns it.
        """
        config, rotation, weights = self.config, None, None
        if config.positions == "rotary":
            base, scaling = config.rope_theta, config.rope_scaling
            rotation = Rotation.at(positions, config.resolved_head_dim, base, scaling)
        if self.relative is not None:
            count = x.shape[1] if mask is None else mask.shape[-1]
            keys = torch.arange(count, device=x.device)
            if mask is None:
                mask = (keys <= positions[..., None])[:, None]
            mask = self.relative(positions, keys, mask)
        for depth, block in enumerate(self.blocks):
            cache = None if caches is None else caches[depth]
            source = None if sources is None else sources[depth]
            x, weights = block(x, rotation, mask, cache, source)
        return self.norm(x), weights


class Encoder(Stack):
    """A stack that reads a whole text, every token of which looks at all others."""

    def __init__(self, config: TransformerConfig, vocab_size: int) -> None:
        ids = None if config.share_embeddings else vocab_size
        super().__init__(config, ids, config.encoder_layers, causal=False)

    def forward(
        self, source: Tokens, mask: Tensor, embedding: nn.Embedding | None = None
    ) -> Tensor:
        """Encode (rows, source time) to (rows, source time, hidden_size).

        Args:
            mask: bool (rows, source time), true where there is a token.
            embedding: that of the text to be written, where it is shared.
        """
        positions = torch.arange(source.shape[1], device=source.device)[None]
        x = self.embed(source, positions, embedding)
        hidden, _ = self.run_blocks(x, positions, mask[:, None, None])
        return hidden


def blocks_of(model: nn.Module) -> list[Block]:
    """All blocks of a model, wherever they are in it."""
    return [module for module in model.modules() if isinstance(module, Block)]


def init_weights(model: nn.Module, config: TransformerConfig) -> None:
    """Draw all weights of a model from normal distributions; those of layers that write into the
    residual stream of a stack are smaller the more of them there are.
    """
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
    for stack in (module for module in model.modules() if isinstance(module, Stack)):
        writers = [layer for block in stack.blocks for layer in cast(Block, block).outputs()]
        for layer in writers:
            std = 0.0 if config.zero_init_residual else spread / len(writers) ** 0.5
            nn.init.normal_(layer.weight, std=std)
