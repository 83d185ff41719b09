"""The model's state as slots: rows that come and go copy nothing of the others."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wenmo.decoding.engines.row import Row
from wenmo.models.base import LanguageModel
from wenmo.models.state import select, truncate, write
from wenmo.types import State


class Slots:
    """The states of the rows that write, under one another.

    Args:
        rows: how many there will be at most, beams left out.

    Attributes:
        state: of every slot.
        height: the number of slots.
    """

    def __init__(self, model: LanguageModel, rows: int) -> None:
        self._model, self._rows = model, rows
        self.state: State = {}
        self.height = 0
        self._free: list[int] = []
        self._buffers: State = {}  # tensors with room for more rows, of which the state is a view

    def keep(self, rows: list[Row], arriving: int) -> None:
        """Free the slots of all other rows, and close gaps beyond the number that will arrive.

        Rows that share a slot, as texts of a beam that branch, get copies.
        """
        if not rows:
            self.state, self.height, self._free, self._buffers = {}, 0, [], {}
            return
        taken = [row.slot for row in rows]
        free = sorted(set(range(self.height)) - set(taken))
        surplus = len(free) - arriving
        if len(set(taken)) < len(taken) or surplus > len(rows):
            self._compact(rows)
        else:
            self._free = free
            if surplus > 0:
                self._shrink(rows, surplus)

    def put(self, rows: list[Row], state: State) -> None:
        """Give a slot to each row of a state of their own."""
        own, self._free = self._free[: len(rows)], self._free[len(rows) :]
        if own:
            first = state if len(own) == len(rows) else select(state, range(len(own)))
            self.state = write(self.state, own, first)
        if len(own) < len(rows):
            others = select(state, range(len(own), len(rows))) if own else state
            self._add(others)
        added = range(self.height, self.height + len(rows) - len(own))
        self.height += len(added)
        for slot, row in zip([*own, *added], rows, strict=True):
            row.slot = slot

    def read(self, rows: list[Row], tokens: Sequence[Sequence[int]]) -> Tensor:
        """Let some rows read tokens, as many each; the others stay as they are.

        Returns:
            Logits (rows, time, vocab_size).
        """
        logits, after = self.read_ahead(rows, tokens)
        self.keep_rows(rows, after, range(len(rows)))
        for row in rows:
            row.cached_length += len(tokens[0])
        return logits

    def read_newest(self, rows: list[Row]) -> Tensor:
        """Let every row read its last token; the logits after it, by slot, (height, vocab_size).

        A slot without a row reads END, and is overwritten before it is used.
        """
        newest = [0] * self.height
        for row in rows:
            newest[row.slot] = row.ids[-1]
            row.cached_length += 1
        tokens = torch.tensor(newest, device=self._model.device)[:, None]
        logits, self.state = self._model(tokens, self.state)
        return logits[:, -1]

    # -- reading ahead ---------------------------------------------------------------------------

    @property
    def can_take_back(self) -> bool:
        """Whether tokens that were read can be taken back. What the model does not need to predict
        tokens, such as coverage, is left as it is then.
        """
        return self._model.state_schema.can_truncate(self._needed(self.state))

    def read_ahead(self, rows: list[Row], tokens: Sequence[Sequence[int]]) -> tuple[Tensor, State]:
        """Let some rows read tokens, as many each, without keeping any of it.

        Returns:
            Logits (rows, time, vocab_size), and the state of these rows after all tokens.
        """
        ids = torch.tensor(tokens, device=self._model.device)
        own = self.state if self._are_all(rows) else select(self.state, [r.slot for r in rows])
        logits, after = self._model(ids, own)
        return logits, after

    def keep_ahead(self, rows: list[Row], state: State, texts: Sequence[array[int]]) -> None:
        """Keep the first tokens that rows have read ahead, as many as their ``cached_length`` says.

        Args:
            state: of `read_ahead`, which can be truncated.
            texts: the ids of each row up to the last that is kept.
        """
        device = self._model.device
        lengths = [row.cached_length for row in rows]
        kept = np.zeros((len(rows), max(lengths)), np.int64)
        for line, text, length in zip(kept, texts, lengths, strict=True):
            line[:length] = text[-length:]
        tokens = torch.from_numpy(kept).to(device)
        needed = self._needed(state)
        cut = truncate(self._model, needed, torch.tensor(lengths, device=device), tokens)
        self.keep_rows(rows, {**state, **cut}, range(len(rows)))

    def keep_rows(self, rows: list[Row], state: State, kept: Sequence[int]) -> None:
        """Keep all that some of the rows have read ahead.

        Args:
            state: of `read_ahead`.
            kept: which of the rows, by their index.
        """
        if len(kept) == len(rows) and self._are_all(rows):
            self.state = state
        elif kept:
            own = state if len(kept) == len(rows) else select(state, kept)
            self.state = write(self.state, [rows[index].slot for index in kept], own)

    def _are_all(self, rows: list[Row]) -> bool:
        return [row.slot for row in rows] == list(range(self.height))

    def _needed(self, state: State) -> State:
        fields = self._model.state_schema.by_tensor
        return {
            name: tensor
            for name, tensor in state.items()
            if name not in fields or not fields[name].optional or fields[name].can_truncate
        }

    # -- places ----------------------------------------------------------------------------------

    def _add(self, others: State) -> None:
        """Add rows behind the others, in a buffer's room if there is some: nothing is copied."""
        self.state = {
            name: self._behind(name, self.state.get(name), rows) for name, rows in others.items()
        }

    def _behind(self, name: str, tensor: Tensor | None, rows: Tensor) -> Tensor:
        """A view of a buffer with the rows of one tensor, and those added."""
        height, shape = self.height + len(rows), list(rows.shape[1:])
        if tensor is not None and tensor.dim() > 1:
            shape[0] = max(shape[0], tensor.shape[1])
        buffer = self._buffers.get(name)
        fits = (
            buffer is not None
            and tensor is not None
            and buffer.data_ptr() == tensor.data_ptr()
            and list(buffer.shape[1:]) == shape
            and len(buffer) >= height
        )
        if buffer is None or not fits:
            # Zeroed memory of a CPU takes room where it is written only.
            height = max(height, self._rows) if rows.device.type == "cpu" else 2 * height
            buffer = self._buffers[name] = rows.new_zeros(height, *shape)
            if tensor is not None:
                buffer[: self.height][_within(tensor)] = tensor
        added = buffer[self.height : self.height + len(rows)]
        if fits:
            added.zero_()
        added[_within(rows)] = rows
        return buffer[: self.height + len(rows)]

    def _compact(self, rows: list[Row]) -> None:
        self.state, self._free = select(self.state, [row.slot for row in rows]), []
        self.height = len(rows)
        for slot, row in enumerate(rows):
            row.slot = slot

    def _shrink(self, rows: list[Row], surplus: int) -> None:
        """Move the last rows into free slots, and drop the slots behind."""
        height = self.height - surplus
        moved = [row for row in rows if row.slot >= height]
        targets = self._free[: len(moved)]
        if moved:
            own = select(self.state, [row.slot for row in moved])
            self.state = write(self.state, targets, own)
        for slot, row in zip(targets, moved, strict=True):
            row.slot = slot
        self.state = {name: tensor[:height] for name, tensor in self.state.items()}
        self._free = [slot for slot in self._free[len(moved) :] if slot < height]
        self.height = height


def _within(tensor: Tensor) -> tuple[slice, ...]:
    """Where a tensor stands in one with more room on dim 1."""
    return tuple(slice(size) for size in tensor.shape[:2])
