"""Operations on states. A state is a dict of tensors whose rows are on dim 0. It is a value: an
older one may be continued again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from wenmo.types import State, Tokens


def select(state: State, rows: Tensor | Sequence[int]) -> State:
    """Copy the named rows of a state, in that order; a row may be named twice (beam search)."""
    if not state:
        return {}
    device = next(iter(state.values())).device
    index = torch.as_tensor(rows, dtype=torch.long, device=device)
    return {name: tensor.index_select(0, index) for name, tensor in state.items()}


def join(states: Sequence[State]) -> State:
    """Put the rows of several states under one another.

    Where two states differ in room (dim 1 of a cache, preallocated to different capacities), the
    smaller is filled up with zeros, which no model may look at.
    """
    first = states[0]
    return {name: _stack([state[name] for state in states]) for name in first}


def write(state: State, slots: Sequence[int], rows: State) -> State:
    """Put the rows of another state into these rows of a state, in place where they fit.

    Args:
        state: not to be used afterwards, since what it holds is overwritten.
        slots: a row of ``state`` for each of ``rows``, all different.
        rows: of the same model; as for ``join``, its room may be smaller or larger.
    """
    return {name: _put(tensor, slots, rows[name]) for name, tensor in state.items()}


def where(rows: Tensor, state: State, other: State) -> State:
    """The rows of ``state`` where the mask ``rows``, bool (rows,), says so, else of ``other``."""
    return {
        name: torch.where(rows.view(-1, *[1] * (tensor.dim() - 1)), tensor, other[name])
        for name, tensor in state.items()
    }


def detach(state: State) -> State:
    """Cut a state from the graph that made it: the truncation in truncated back-propagation."""
    return {name: tensor.detach() for name, tensor in state.items()}


def empty_read_state(rows: int, device: torch.device) -> State:
    """The state of empty texts, for models that keep nothing of a text but its tokens:
    ``read_ids``, int64 (rows, longest), and ``read_length``, how many of them are each row's.
    """
    ids = torch.zeros(rows, 0, dtype=torch.long, device=device)
    return {"read_ids": ids, "read_length": torch.zeros(rows, dtype=torch.long, device=device)}


def extend_read_state(state: State, tokens: Tokens) -> tuple[State, Tensor]:
    """The state after ``tokens`` (rows, time), and where in ``read_ids`` they stand, int64 (rows,
    time). No model may look at what stands behind a row's length.
    """
    length, time = state["read_length"], tokens.shape[1]
    longest = int(length.max()) + time if len(length) else time
    ids = tokens.new_zeros(len(tokens), longest)
    kept = min(longest, state["read_ids"].shape[1])
    ids[:, :kept] = state["read_ids"][:, :kept]
    places = length[:, None] + torch.arange(time, device=tokens.device)
    ids.scatter_(1, places, tokens)
    return {"read_ids": ids, "read_length": length + time}, places


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    if tensors[0].dim() < 2 or all(t.shape[1] == tensors[0].shape[1] for t in tensors):
        return torch.cat(list(tensors))
    room = max(t.shape[1] for t in tensors)
    return torch.cat([_fill_up(t, room) for t in tensors])


def _put(tensor: Tensor, slots: Sequence[int], rows: Tensor) -> Tensor:
    if tensor.dim() > 1:
        room = max(tensor.shape[1], rows.shape[1])
        tensor, rows = _fill_up(tensor, room), _fill_up(rows, room)
    index = torch.tensor(slots, dtype=torch.long, device=tensor.device)
    # The rows of an expanded tensor share their numbers: it is copied first.
    return tensor.contiguous().index_copy_(0, index, rows.to(tensor.dtype))


def _fill_up(tensor: Tensor, room: int) -> Tensor:
    """Zeros behind dim 1, up to ``room``."""
    if (missing := room - tensor.shape[1]) == 0:
        return tensor
    return F.pad(tensor, (*[0, 0] * (tensor.dim() - 2), 0, missing))
