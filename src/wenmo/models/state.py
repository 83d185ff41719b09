"""What a model's state holds, and operations on states. A state is a dict of tensors whose rows are
on dim 0. It is a value: an older one may be continued again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from wenmo.types import State, Tokens

Truncation = Literal["length", "keep", "history", "impossible"]
NO_TOKEN = -1  # in a history, before the first token


@dataclass(frozen=True, slots=True)
class StateField:
    """One tensor of a state, or one for each layer.

    Attributes:
        name: of the tensor; of those of layers it is ``name.0``, ``name.1`` and so on.
        shape: the dimensions in words; the first is ``rows``.
        meaning: in one line.
        dtype: None: that of the weights.
        layers: how many tensors there are; None: one, whose name has no number.
        optional: a state may lack it.
        truncation: what `truncate` does. ``length``: it is the number of tokens, and is set;
            ``keep``: it does not depend on the tokens, or nobody looks behind the length;
            ``history``: it holds the last tokens, and is made again from those that are kept;
            ``impossible``: it sums up all tokens, so that none can be taken back.
    """

    name: str
    shape: tuple[str, ...]
    meaning: str
    dtype: torch.dtype | None = None
    layers: int | None = None
    optional: bool = False
    truncation: Truncation = "impossible"

    @property
    def tensors(self) -> list[str]:
        """The names of its tensors."""
        if self.layers is None:
            return [self.name]
        return [f"{self.name}.{depth}" for depth in range(self.layers)]

    @property
    def can_truncate(self) -> bool:
        """Whether tokens can be taken back."""
        return self.truncation != "impossible"


@dataclass(frozen=True)
class StateSchema:
    """All that a model's states hold. The schema of a model of several parts is their union.

    Raises:
        ValueError: two fields have a name in common.
    """

    fields: tuple[StateField, ...] = ()

    def __post_init__(self) -> None:
        names = [name for field in self.fields for name in field.tensors]
        shared = sorted({name for name in names if names.count(name) > 1})
        if shared:
            raise ValueError(f"two parts of a model call a tensor of its state {shared[0]!r}")

    def __or__(self, other: StateSchema) -> StateSchema:
        return StateSchema(self.fields + other.fields)

    @cached_property
    def by_tensor(self) -> dict[str, StateField]:
        """The field of each tensor, by the tensor's name."""
        return {name: field for field in self.fields for name in field.tensors}

    def declared(self, state: State) -> State:
        """The tensors of a state that this schema declares."""
        return {name: tensor for name, tensor in state.items() if name in self.by_tensor}

    def can_truncate(self, names: Collection[str]) -> bool:
        """Whether a state that holds these tensors can be truncated."""
        fields = [self.by_tensor.get(name) for name in names]
        return all(field is not None and field.can_truncate for field in fields)

    def trimmed(self, state: State, length: int) -> State:
        """The state of rows that have read at most ``length`` tokens, without room for more."""
        trims = self.can_truncate(state)
        return {
            name: tensor[:, :length]
            if trims and "capacity" in self.by_tensor[name].shape
            else tensor
            for name, tensor in state.items()
        }


class HasStateSchema(Protocol):
    """A model whose states are declared."""

    @property
    def state_schema(self) -> StateSchema: ...


def truncate(model: HasStateSchema, state: State, lengths: Tensor, tokens: Tokens) -> State:
    """Take back the last tokens of each row, in constant time.

    Args:
        state: not to be used afterwards, since what comes after the result may overwrite its
            tokens. What `select` has copied, and the states before it, stay valid.
        lengths: how many tokens of each row are kept, int64 (rows,), at most as many as it holds.
        tokens: at least those that are kept, from the first on, int64 (rows, time).

    Raises:
        TypeError: the state sums up its tokens, as that of a recurrent network; read again from an
            older state. ``model.state_schema.can_truncate(state)`` tells before.
    """
    fields = {name: model.state_schema.by_tensor[name] for name in state}
    for name, field in fields.items():
        if field.truncation == "impossible":
            raise TypeError(f"a state with {name!r} cannot be truncated: read again from an older")
    truncated = dict(state)
    for name, tensor in state.items():
        if fields[name].truncation == "length":
            truncated[name] = torch.minimum(tensor, lengths.to(tensor.device))
        elif fields[name].truncation == "history":
            truncated[name] = last_tokens(tokens, lengths, tensor.shape[1])
    return truncated


def last_tokens(tokens: Tokens, lengths: Tensor, count: int) -> Tokens:
    """The last ``count`` of each row's first tokens, NO_TOKEN where there are not so many.

    Args:
        tokens: int64 (rows, time).
        lengths: how many first tokens of each row, int64 (rows,).
    """
    positions = lengths[:, None] - count + torch.arange(count, device=tokens.device)
    if not tokens.shape[1]:
        return torch.full_like(positions, NO_TOKEN)
    found = tokens.gather(1, positions.clamp(0, tokens.shape[1] - 1))
    return found.masked_fill(positions < 0, NO_TOKEN)


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


READ_STATE = StateSchema(
    (
        StateField("read_ids", ("rows", "longest"), "tokens read", torch.long, truncation="keep"),
        StateField("read_length", ("rows",), "how many", torch.long, truncation="length"),
    )
)
"""Of models that keep nothing of a text but its tokens."""


def empty_read_state(rows: int, device: torch.device) -> State:
    """The state of empty texts, as `READ_STATE` declares it."""
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
