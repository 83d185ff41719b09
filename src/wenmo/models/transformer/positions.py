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
