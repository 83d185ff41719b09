"""Where a token stands: rotary, relative and sinusoidal positions."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Rotation(NamedTuple):
    """Rotary positions (Su et al. 2021), in the arrangement of halves that Llama and Qwen use.

    Attributes:
        cos, sin: (rows or 1, time, 1, head width), of the angles position × base^(−2i/d).
    """

    cos: Tensor
    sin: Tensor

    @classmethod
    def at(
        cls, positions: Tensor, head_dim: int, base: float, scaling: tuple[float, ...] = ()
    ) -> Rotation:
        """The rotation at integer ``positions`` (rows or 1, time).

        Args:
            scaling: how the turns are slowed for longer texts: ``(factor,)`` all of them; or
                ``(factor, low, high, context)`` as in Llama 3.1: not those that turn more than
                ``high`` times within ``context``, and wholly those that turn less than ``low``.
        """
        frequencies = rotary_frequencies(head_dim, base, scaling, positions.device)
        angles = positions[..., None, None].float() * frequencies
        angles = torch.cat([angles, angles], dim=-1)
        return cls(angles.cos(), angles.sin())

    def apply(self, x: Tensor) -> Tensor:
        """Turn every pair (x_i, x_{i+d/2}) of (rows, time, heads, d) by its angle."""
        first, second = x.chunk(2, dim=-1)
        rotated = x * self.cos + torch.cat([-second, first], dim=-1) * self.sin
        return rotated.to(x.dtype)


def rotary_frequencies(
    head_dim: int,
    base: float,
    scaling: tuple[float, ...] = (),
    device: torch.device | None = None,
) -> Tensor:
    """The radians by which each pair turns from a position to the next, float32 (head width / 2,).

    Args:
        scaling: as of `Rotation.at`.
    """
    frequencies = base ** -(torch.arange(0, head_dim, 2, device=device) / head_dim)
    if len(scaling) == 1:
        return frequencies / scaling[0]
    if not scaling:
        return frequencies
    factor, low, high, context = scaling
    rotations = context * frequencies / (2 * math.pi)
    kept = ((rotations - low) / (high - low)).clamp(0, 1)
    return frequencies * (kept + (1 - kept) / factor)


class RelativeBias(nn.Module):
    """A learned score for each distance and head (Raffel et al. 2020, section 2.1): exact for short
    distances, then in buckets that grow logarithmically, and one for all that is farther.

    Args:
        bidirectional: a query attends to both sides, each of which has half of the buckets.
    """

    def __init__(
        self, heads: int, *, bidirectional: bool, buckets: int = 32, max_distance: int = 128
    ) -> None:
        super().__init__()
        self.bidirectional, self.buckets, self.max_distance = bidirectional, buckets, max_distance
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
        if self.bidirectional:
            count //= 2
            first = (distance > 0) * count
            distance = distance.abs()
        else:
            distance = (-distance).clamp_min(0)
        exact_buckets = count // 2
        scale = (count - exact_buckets) / math.log(self.max_distance / exact_buckets)
        logarithmic = (
            exact_buckets + (distance.clamp_min(1) / exact_buckets).log().mul(scale).long()
        )
        return first + torch.where(
            distance < exact_buckets, distance, logarithmic.clamp_max(count - 1)
        )


def sinusoid(positions: Tensor, width: int, *, interleaved: bool = True) -> Tensor:
    """Sines and cosines (Vaswani et al. 2017, section 3.5): (rows or 1, time, width).

    Args:
        interleaved: sine, cosine, sine, ... as in the paper; otherwise all sines first.
    """
    exponent = torch.arange(0, width, 2, device=positions.device) / width
    angles = positions[..., None].float() * 10_000.0**-exponent
    if not interleaved:
        return torch.cat([angles.sin(), angles[..., : width // 2].cos()], dim=-1)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)[..., :width]
