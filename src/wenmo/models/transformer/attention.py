"""Attention: scaled dot products over many heads."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.models.transformer.cache import KVCache
from wenmo.models.transformer.config import TransformerConfig
from wenmo.models.transformer.layers import RMSNorm
from wenmo.models.transformer.positions import Rotation


class Attention(nn.Module):
    """What both kinds of multi-head attention (Vaswani et al. 2017, section 3.2.2) are made of.

    Several query heads may share one key–value head (grouped queries, Ainslie et al. 2023), and
    queries and keys may be normalised before they meet (Henry et al. 2020), as Qwen3 does.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.query_groups
        self.scale, self.dropout = (
            config.resolved_attention_scale,
            config.resolved_attention_dropout,
        )
        width, head_dim, eps = config.hidden_size, config.resolved_head_dim, config.norm_eps
        bias = config.bias if config.qkv_bias is None else config.qkv_bias
        self.query = nn.Linear(width, self.heads * head_dim, bias=bias)
        self.key = nn.Linear(width, self.kv_heads * head_dim, bias=bias)
        self.value = nn.Linear(width, self.kv_heads * head_dim, bias=bias)
        self.output = nn.Linear(self.heads * head_dim, width, bias=config.bias)
        self.query_norm = RMSNorm(head_dim, eps) if config.qk_norm else nn.Identity()
        self.key_norm = RMSNorm(head_dim, eps) if config.qk_norm else nn.Identity()

    def queries(self, x: Tensor) -> Tensor:
        """(rows, time, heads, head_dim)."""
        return self.query_norm(self.query(x).unflatten(2, (self.heads, -1)))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both (rows, time, key–value heads, head_dim)."""
        key, value = (
            layer(x).unflatten(2, (self.kv_heads, -1)) for layer in (self.key, self.value)
        )
        return self.key_norm(key), value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Softmax(scale · QKᵀ)V: (rows, time, heads, head_dim).

        Args:
            mask: broadcast to (rows, heads, time, keys); bool, true where a query may look, or
                float, what is added to the scores. None: causal.
        """
        query, key, value = (t.transpose(1, 2) for t in (query, *self._for_all_heads(key, value)))
        attended = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=mask is None,
            scale=self.scale,
        )
        return attended.transpose(1, 2)

    def _for_all_heads(self, *tensors: Tensor) -> list[Tensor]:
        """Keys and values repeated for every query head that shares them."""
        group = self.heads // self.kv_heads
        return [t if group == 1 else t.repeat_interleave(group, dim=2) for t in tensors]


class SelfAttention(Attention):
    """Attention of a text over itself."""

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None = None,
        mask: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Attend over (rows, time, hidden_size), after what the cache holds.

        The new keys and values are written into the cache, behind what it held before.

        Args:
            mask: as ``attend`` takes it; None: each token looks at itself and what is before it.
        """
        query, key, value = self.queries(x), *self.keys_values(x)
        if rotation is not None:
            query, key = rotation.apply(query), rotation.apply(key)
        if cache is not None:
            key, value = cache.append(key, value)
        return self.output(self.attend(query, key, value, mask).flatten(2))


class CrossAttention(Attention):
    """Attention of the text being written over an encoded source."""

    def forward(self, x: Tensor, source: Source) -> tuple[Tensor, Tensor | None]:
        """Attend from (rows, time, hidden_size).

        Returns:
            The mixture (rows, time, hidden_size) and, where they are asked for, the weights,
            averaged over the heads: (rows, time, source time).
        """
        query, weights = self.queries(x), None
        if source.needs_weights:
            [key] = self._for_all_heads(source.keys)
            scores = torch.einsum("rthd,rshd->rhts", query, key) * self.scale
            weights = scores.masked_fill(~source.mask, -math.inf).softmax(-1).mean(1)
        attended = self.attend(query, source.keys, source.values, source.mask)
        return self.output(attended.flatten(2)), weights


class Source(NamedTuple):
    """What a layer sees of an encoded source.

    Attributes:
        keys, values: (rows, source time, key–value heads, head_dim).
        mask: bool (rows, 1, 1, source time), true where there is a token.
        watched: the attention weights are asked for.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor
    needs_weights: bool


def sliding_window(mask: Tensor | None, positions: Tensor, window: int) -> Tensor | None:
    """A causal mask that also hides what is ``window`` tokens or more before (Beltagy et al. 2020).

    Args:
        mask: causal, bool (rows, 1, time, keys); None: as ``Attention.attend`` takes it.
        positions: of the queries, int64 (rows or 1, time); keys stand at 0, 1, and so on.

    Returns:
        bool (rows or 1, 1, time, keys); None where no key is that far.
    """
    count = positions.shape[1] if mask is None else mask.shape[-1]
    if mask is None and count <= window:
        return None
    keys, queries = torch.arange(count, device=positions.device), positions[:, None, :, None]
    in_window = (keys > queries - window) & (keys <= queries)
    return in_window if mask is None else mask & in_window
