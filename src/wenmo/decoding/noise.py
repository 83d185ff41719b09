"""Noise as a pure function of a seed, a position and a token.

It has no hidden state, so a request gets the same text alone, in any batch, and when it is resumed.
"""

from __future__ import annotations

import hashlib
import secrets

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # 2⁶⁴ / φ as a signed number: int64 arithmetic wraps around


def hash_bits(x: Tensor) -> Tensor:
    """Scatter int64 values over all of int64, one to one.

    The finaliser of SplitMix64: Steele, Lea & Flood (2014), *Fast Splittable Pseudorandom Number
    Generators*, with the constants of Stafford's variant 13.
    """
    x = (x ^ _shift(x, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
    x = (x ^ _shift(x, 27)) * (0x94D049BB133111EB - 2**64)
    return x ^ _shift(x, 31)


def fold_in(seeds: Tensor, numbers: Tensor) -> Tensor:
    """A key for each (seed, number), int64: a row and a position, or a request and a sample."""
    return hash_bits(hash_bits(seeds + _GOLDEN) + (numbers + 1) * _GOLDEN)


def prefix_key(seed: int, prefix: bytes) -> int:
    """A key for each (seed, text so far), an int64.

    Args:
        prefix: the ids that were written, as the bytes of int64 numbers.
    """
    digest = hashlib.blake2b(seed.to_bytes(8, "little") + prefix, digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def draw_seed() -> int:
    """A random seed for requests that name none, below 10⁹ so that it is easily copied."""
    return secrets.randbelow(10**9)


def uniform(keys: Tensor, size: int) -> Tensor:
    """Uniform noise in the open interval (0, 1), float32 (rows, size); a row depends on its key.

    Row by row it is the output of SplitMix64 seeded with the key.
    """
    numbers = torch.arange(1, size + 1, device=keys.device)
    bits = _shift(hash_bits(keys[:, None] + numbers * _GOLDEN), 11)  # the 53 best bits
    # Near 0 a float32 resolves all of them, but near 1 it would round to 1, which is outside.
    return ((bits.float() + 0.5) * 2.0**-53).clamp_max(1 - 2.0**-24)


def gumbel(keys: Tensor, size: int) -> Tensor:
    """Standard Gumbel noise, float32 (rows, size); a row depends on its key alone."""
    # −log(−log(1 − u)): the large values, which win, come from u near 0, where float32 is finest.
    return -torch.log(-torch.log1p(-uniform(keys, size)))


def gumbel_of(seed: int, position: int, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """The Gumbel noise of some tokens: what `gumbel` gives them for the key of seed and position.

    Args:
        tokens: int64 (tokens,).
    """
    golden = np.uint64(_GOLDEN + 2**64)
    key = np.array([seed], np.uint64) + golden
    key = _hash_bits(_hash_bits(key) + np.array([position + 1], np.uint64) * golden)
    bits = _hash_bits(key + (tokens.astype(np.uint64) + np.uint64(1)) * golden) >> np.uint64(11)
    noise = (bits.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-53)
    noise = np.minimum(noise, np.float32(1 - 2.0**-24))
    return -np.log(-np.log1p(-noise))


def _hash_bits(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """As `hash_bits`, of unsigned numbers, which wrap around as well."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _shift(x: Tensor, places: int) -> Tensor:
    """Shift to the right and fill with zeros; ``>>`` on int64 would fill with the sign."""
    return (x >> places) & ((1 << (64 - places)) - 1)
