"""Attention: scaled dot products over many heads, positions, and the key–value cache."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.types import State

CACHE_GROWTH = 64  # a full cache grows by at least this many tokens


class Attention(nn.Module):
    """What both kinds of multi-head attention (Vaswani et al. 2017, section 3.2.2) are made of.

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
        qkv_bias: bool,
        qk_norm: bool,
        epsilon: float,
        scale: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = heads, kv_heads, head_width
        self.scale, self.dropout = scale, dropout
        self.query = nn.Linear(width, heads * head_width, bias=qkv_bias)
        self.key = nn.Linear(width, kv_heads * head_width, bias=qkv_bias)
        self.value = nn.Linear(width, kv_heads * head_width, bias=qkv_bias)
        self.output = nn.Linear(heads * head_width, width, bias=bias)
        self.query_norm = RMSNorm(head_width, epsilon) if qk_norm else nn.Identity()
        self.key_norm = RMSNorm(head_width, epsilon) if qk_norm else nn.Identity()

    def queries(self, x: Tensor) -> Tensor:
        """(rows, time, heads, head width)."""
        return self.query_norm(self.query(x).unflatten(2, (self.heads, -1)))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both (rows, time, key–value heads, head width)."""
        key, value = (
            layer(x).unflatten(2, (self.kv_heads, -1)) for layer in (self.key, self.value)
        )
        return self.key_norm(key), value

    def mix(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Softmax(scale · QKᵀ)V: (rows, time, heads, d).

        Args:
            mask: broadcast to (rows, heads, time, keys); bool, true where a query may look, or
                float, what is added to the scores. None: causal.
        """
        query, key, value = (t.transpose(1, 2) for t in (query, *self._for_all_heads(key, value)))
        mixed = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=mask is None,
            scale=self.scale,
        )
        return mixed.transpose(1, 2)

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
        """Attend over (rows, time, width), after what the cache holds.

        The new keys and values are written into the cache, behind what it held before.

        Args:
            mask: as ``mix`` takes it; None: each token looks at itself and what is before it.
        """
        query, key, value = self.queries(x), *self.keys_values(x)
        if rotation is not None:
            query, key = rotation.apply(query), rotation.apply(key)
        if cache is not None:
            key, value = cache.append(key, value)
        return self.output(self.mix(query, key, value, mask).flatten(2))


class CrossAttention(Attention):
    """Attention of the text being written over an encoded source."""

    def forward(self, x: Tensor, source: Source) -> tuple[Tensor, Tensor | None]:
        """Attend from (rows, time, width).

        Returns:
            The mixture (rows, time, width) and, where it is asked for, the weights, averaged over
            the heads: (rows, time, source time).
        """
        query, weights = self.queries(x), None
        if source.watched:
            [key] = self._for_all_heads(source.keys)
            scores = torch.einsum("rthd,rshd->rhts", query, key) * self.scale
            weights = scores.masked_fill(~source.mask, -math.inf).softmax(-1).mean(1)
        mixed = self.mix(query, source.keys, source.values, source.mask)
        return self.output(mixed.flatten(2)), weights


class Source(NamedTuple):
    """What a layer sees of an encoded source.

    Attributes:
        keys, values: (rows, source time, key–value heads, head width).
        mask: bool (rows, 1, 1, source time), true where there is a token.
        watched: the attention weights are asked for.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor
    watched: bool


class RelativeBias(nn.Module):
    """A learned score for each distance and head (Raffel et al. 2020, section 2.1): exact for short
    distances, then in buckets that grow logarithmically, and one for all that is farther.

    Args:
        both_ways: a query may look to either side, so that half of the buckets are for each.
    """

    def __init__(self, heads: int, *, both_ways: bool, buckets: int = 32, far: int = 128) -> None:
        super().__init__()
        self.both_ways, self.buckets, self.far = both_ways, buckets, far
        self.scores = nn.Embedding(buckets, heads)

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """What to add to the scores, float (rows, heads, time, keys): −inf where ``mask`` forbids.

        Args:
            queries: their positions (rows or 1, time).
            keys: their positions (keys,).
            mask: bool, broadcast to (rows, 1, time, keys).
        """
        bias = self.scores(self.bucket(keys - queries[..., None])).permute(0, 3, 1, 2)
        return bias.masked_fill(~mask, -math.inf)

    def bucket(self, distance: Tensor) -> Tensor:
        """The bucket of each distance, key's position minus query's."""
        count, first = self.buckets, torch.zeros_like(distance)
        if self.both_ways:
            count //= 2
            first = (distance > 0) * count
            distance = distance.abs()
        else:
            distance = (-distance).clamp_min(0)
        exact = count // 2
        scale = (count - exact) / math.log(self.far / exact)
        farther = exact + (distance.clamp_min(1) / exact).log().mul(scale).long()
        return first + torch.where(distance < exact, distance, farther.clamp_max(count - 1))


def sinusoid(positions: Tensor, width: int, *, by_turns: bool = True) -> Tensor:
    """Sines and cosines (Vaswani et al. 2017, section 3.5): (rows or 1, time, width).

    Args:
        by_turns: sine, cosine, sine, ... as in the paper; otherwise all sines first.
    """
    exponent = torch.arange(0, width, 2, device=positions.device) / width
    angles = positions[..., None].float() * 10_000.0**-exponent
    if not by_turns:
        return torch.cat([angles.sin(), angles[..., : width // 2].cos()], dim=-1)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)[..., :width]


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
    def at(
        cls, positions: Tensor, head_width: int, base: float, scaling: tuple[float, ...] = ()
    ) -> Rotation:
        """The rotation at integer ``positions`` (rows or 1, time).

        Args:
            scaling: how the turns are slowed for longer texts: ``(factor,)`` all of them; or
                ``(factor, low, high, context)`` as in Llama 3.1: not those that turn more than
                ``high`` times within ``context``, and wholly those that turn less than ``low``.
        """
        speeds = rotary_speeds(head_width, base, scaling, positions.device)
        angles = positions[..., None, None].float() * speeds
        angles = torch.cat([angles, angles], dim=-1)
        return cls(angles.cos(), angles.sin())

    def apply(self, x: Tensor) -> Tensor:
        """Turn every pair (x_i, x_{i+d/2}) of (rows, time, heads, d) by its angle."""
        first, second = x.chunk(2, dim=-1)
        turned = x * self.cos + torch.cat([-second, first], dim=-1) * self.sin
        return turned.to(x.dtype)


def rotary_speeds(
    head_width: int,
    base: float,
    scaling: tuple[float, ...] = (),
    device: torch.device | None = None,
) -> Tensor:
    """The radians by which each pair turns from a position to the next, float32 (head width / 2,).

    Args:
        scaling: as of `Rotation.at`.
    """
    speeds = base ** -(torch.arange(0, head_width, 2, device=device) / head_width)
    if len(scaling) == 1:
        return speeds / scaling[0]
    if not scaling:
        return speeds
    factor, low, high, context = scaling
    turns = context * speeds / (2 * math.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return speeds * (kept + (1 - kept) / factor)


class KVCache(NamedTuple):
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
        row = torch.arange(self.positions.shape[0], device=key.device)[:, None]
        self.keys[row, self.positions] = key.to(self.keys.dtype)
        self.values[row, self.positions] = value.to(self.values.dtype)
        longest = self.mask.shape[-1]
        return self.keys[:, :longest].to(key.dtype), self.values[:, :longest].to(key.dtype)


def empty_kv_cache(rows: int, capacity: int, shapes: list[tuple[int, int]], like: Tensor) -> State:
    """Empty caches: ``length`` (rows,), and keys and values of each layer's (heads, head width)."""
    state: State = {"length": torch.zeros(rows, dtype=torch.long, device=like.device)}
    for depth, (heads, head_width) in enumerate(shapes):
        for name in ("keys", "values"):
            state[f"{name}.{depth}"] = like.new_zeros(rows, capacity, heads, head_width)
    return state


def extend_kv_cache(state: State, time: int) -> tuple[State, list[KVCache]]:
    """Make room for ``time`` more tokens in every row.

    Returns:
        The state after those tokens, and one ``KVCache`` a layer to write them through. What the
        given state can see is left as it is, and what else it holds is kept. While a graph is
        recorded, caches are taken to be as long as the longest row.
    """
    length = state["length"]
    after = {**state, "length": length + time}
    capacity = state["keys.0"].shape[1]
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        longest = grown = capacity + time  # a graph looks into no tensor: its caches have no room
    else:
        longest = int(length.max()) + time if len(length) else time
        grown = max(longest, capacity + CACHE_GROWTH) if longest > capacity else capacity
    positions = length[:, None] + torch.arange(time, device=length.device)
    places = torch.arange(longest, device=length.device)
    mask = places <= positions[:, None, :, None]
    caches = []
    for depth in range(sum(name.startswith("keys.") for name in state)):
        pair = [_grow(state[f"{name}.{depth}"], grown) for name in ("keys", "values")]
        after[f"keys.{depth}"], after[f"values.{depth}"] = pair
        caches.append(KVCache(pair[0], pair[1], positions, mask))
    return after, caches


def _grow(cache: Tensor, capacity: int) -> Tensor:
    missing = capacity - cache.shape[1]
    if missing > 0:
        return F.pad(cache, (0, 0, 0, 0, 0, missing))
    return cache.clone() if cache.requires_grad else cache  # gradients want it as it was
