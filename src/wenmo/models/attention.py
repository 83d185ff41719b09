"""Attention: scaled dot products over many heads, rotary positions, and the key–value cache."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.types import State

CACHE_GROWTH = 64  # a full cache grows by at least this many tokens


class Attention(nn.Module):
    """Causal multi-head attention (Vaswani et al. 2017, section 3.2.2).

    Several query heads may share one key–value head (grouped queries, Ainslie et al. 2023), and
    queries and keys may be normalised before they meet (Henry et al. 2020), as Qwen3 does.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        kv_heads: int,
        head_width: int,
        bias: bool,
        qk_norm: bool,
        epsilon: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = heads, kv_heads, head_width
        self.dropout = dropout
        self.query = nn.Linear(width, heads * head_width, bias=bias)
        self.key = nn.Linear(width, kv_heads * head_width, bias=bias)
        self.value = nn.Linear(width, kv_heads * head_width, bias=bias)
        self.output = nn.Linear(heads * head_width, width, bias=bias)
        self.query_norm = RMSNorm(head_width, epsilon) if qk_norm else nn.Identity()
        self.key_norm = RMSNorm(head_width, epsilon) if qk_norm else nn.Identity()

    def forward(self, x: Tensor, rotation: Rotation | None, cache: Cache | None) -> Tensor:
        """Attend over (rows, time, width), after what the cache holds.

        The new keys and values are written into the cache, behind what it held before.
        """
        rows, time, _ = x.shape
        query = self.query_norm(self.query(x).view(rows, time, self.heads, -1))
        key = self.key_norm(self.key(x).view(rows, time, self.kv_heads, -1))
        value = self.value(x).view(rows, time, self.kv_heads, -1)
        if rotation is not None:
            query, key = rotation.apply(query), rotation.apply(key)
        mask = None
        if cache is not None:
            key, value = cache.append(key, value)
            mask = cache.mask
        mixed = self._mix(query, key, value, mask)
        return self.output(mixed.transpose(1, 2).reshape(rows, time, -1))

    def _mix(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Softmax(QKᵀ/√d)V, from (rows, time, heads, d) to (rows, heads, time, d)."""
        query, key, value = (t.transpose(1, 2) for t in (query, key, value))
        if self.kv_heads != self.heads:
            group = self.heads // self.kv_heads
            key, value = (t.repeat_interleave(group, dim=1) for t in (key, value))
        return F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=mask is None,
        )


class RMSNorm(nn.RMSNorm):
    """Root mean square normalisation (Zhang & Sennrich 2019).

    The weight takes the input's type: under autocast the framework's own has no fused kernel.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class Rotation(NamedTuple):
    """Rotary positions (Su et al. 2021), in the arrangement of halves that Llama and Qwen use.

    Attributes:
        cos, sin: (rows or 1, time, 1, head width), of the angles position × base^(−2i/d).
    """

    cos: Tensor
    sin: Tensor

    @classmethod
    def at(cls, positions: Tensor, head_width: int, base: float) -> Rotation:
        """The rotation at integer ``positions`` (rows or 1, time)."""
        exponent = torch.arange(0, head_width, 2, device=positions.device) / head_width
        angles = positions[..., None, None].float() * base**-exponent
        angles = torch.cat([angles, angles], dim=-1)
        return cls(angles.cos(), angles.sin())

    def apply(self, x: Tensor) -> Tensor:
        """Turn every pair (x_i, x_{i+d/2}) of (rows, time, heads, d) by its angle."""
        first, second = x.chunk(2, dim=-1)
        turned = x * self.cos + torch.cat([-second, first], dim=-1) * self.sin
        return turned.to(x.dtype)


class Cache(NamedTuple):
    """One layer's keys and values, and where in them the next tokens of each row go.

    Attributes:
        keys, values: (rows, capacity, heads, head width), written in place.
        positions: (rows, time), where the tokens that are being read stand.
        mask: (rows, 1, time, longest), true where a token may look.
    """

    keys: Tensor
    values: Tensor
    positions: Tensor
    mask: Tensor

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write (rows, time, heads, d) at each row's own place; return all there is to look at."""
        row = torch.arange(len(key), device=key.device)[:, None]
        self.keys[row, self.positions] = key.to(self.keys.dtype)
        self.values[row, self.positions] = value.to(self.values.dtype)
        longest = self.mask.shape[-1]
        return self.keys[:, :longest].to(key.dtype), self.values[:, :longest].to(key.dtype)


def begin_caches(rows: int, capacity: int, shapes: list[tuple[int, int]], like: Tensor) -> State:
    """Empty caches: ``length`` (rows,), and keys and values of each layer's (heads, head width)."""
    state: State = {"length": torch.zeros(rows, dtype=torch.long, device=like.device)}
    for depth, (heads, head_width) in enumerate(shapes):
        for name in ("keys", "values"):
            state[f"{name}.{depth}"] = like.new_zeros(rows, capacity, heads, head_width)
    return state


def extend_caches(state: State, time: int) -> tuple[State, list[Cache]]:
    """Make room for ``time`` more tokens in every row.

    Returns:
        The state after those tokens, and one ``Cache`` a layer to write them through. What the
        given state can see is left as it is.
    """
    length = state["length"]
    longest = int(length.max()) + time if len(length) else time
    after = {"length": length + time}
    capacity = state["keys.0"].shape[1]
    grown = max(longest, capacity + CACHE_GROWTH) if longest > capacity else capacity
    positions = length[:, None] + torch.arange(time, device=length.device)
    places = torch.arange(longest, device=length.device)
    mask = places <= positions[:, None, :, None]
    caches = []
    for depth in range(sum(name.startswith("keys.") for name in state)):
        pair = [_grow(state[f"{name}.{depth}"], grown) for name in ("keys", "values")]
        after[f"keys.{depth}"], after[f"values.{depth}"] = pair
        caches.append(Cache(pair[0], pair[1], positions, mask))
    return after, caches


def _grow(cache: Tensor, capacity: int) -> Tensor:
    missing = capacity - cache.shape[1]
    return F.pad(cache, (0, 0, 0, 0, 0, missing)) if missing > 0 else cache
