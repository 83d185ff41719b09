"""The key–value cache: what self-attention keeps of the tokens before."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from wenmo.models.state import StateField, StateSchema
from wenmo.types import State

CACHE_GROWTH = 64  # tokens that a full cache grows by at least, or else by half


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


def kv_cache_schema(layers: int) -> StateSchema:
    """What the caches of so many layers hold."""
    shape = ("rows", "capacity", "kv_heads", "head_dim")
    return StateSchema(
        (
            StateField("length", ("rows",), "tokens read", torch.long, truncation="length"),
            StateField("keys", shape, "of self-attention", layers=layers, truncation="keep"),
            StateField("values", shape, "of self-attention", layers=layers, truncation="keep"),
        )
    )


def empty_kv_cache(rows: int, capacity: int, shapes: list[tuple[int, int]], like: Tensor) -> State:
    """Empty caches: ``length`` (rows,), and keys and values of each layer's (heads, head width)."""
    state: State = {"length": torch.zeros(rows, dtype=torch.long, device=like.device)}
    for depth, (heads, head_dim) in enumerate(shapes):
        for name in ("keys", "values"):
            state[f"{name}.{depth}"] = like.new_zeros(rows, capacity, heads, head_dim)
    return state


def extend_kv_cache(state: State, time: int) -> tuple[State, list[KVCache]]:
    """Make room for ``time`` more tokens in every row.

    Returns:
        The state after those tokens, and one ``KVCache`` a layer to write them through. What the
        given state can see is left as it is, and what else it holds is kept. While a graph is
        recorded, caches are taken to be as long as the longest row; while one is compiled, they are
        taken to have room, and attention covers all of it, so that no shape depends on a length.
    """
    length = state["length"]
    after = {**state, "length": length + time}
    capacity = state["keys.0"].shape[1]
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        longest = new_capacity = (
            capacity + time
        )  # a graph looks into no tensor: its caches have no room
    elif torch.compiler.is_compiling():
        longest = new_capacity = capacity
    else:
        longest = int(length.max()) + time if len(length) else time
        growth = max(CACHE_GROWTH, capacity // 2)
        new_capacity = max(longest, capacity + growth) if longest > capacity else capacity
    positions = length[:, None] + torch.arange(time, device=length.device)
    places = torch.arange(longest, device=length.device)
    mask = places <= positions[:, None, :, None]
    caches = []
    for depth in range(sum(name.startswith("keys.") for name in state)):
        pair = [_grow(state[f"{name}.{depth}"], new_capacity) for name in ("keys", "values")]
        after[f"keys.{depth}"], after[f"values.{depth}"] = pair
        caches.append(KVCache(pair[0], pair[1], positions, mask))
    return after, caches


def _grow(cache: Tensor, capacity: int) -> Tensor:
    missing = capacity - cache.shape[1]
    if missing > 0:
        return F.pad(cache, (0, 0, 0, 0, 0, missing))
    return cache.clone() if cache.requires_grad else cache  # gradients want it as it was
