"""A draft that is itself a language model over the same vocabulary."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from wenmo.decoding.drafts.base import Proposal
from wenmo.decoding.engines.base import window
from wenmo.decoding.engines.choice import Chooser
from wenmo.decoding.engines.prefill import initial_state
from wenmo.decoding.engines.row import Row
from wenmo.decoding.request import Task
from wenmo.models.base import LanguageModel
from wenmo.types import END, State, WenmoError


@dataclass(slots=True)
class _Reading:
    """How far the draft has read a row's text.

    Attributes:
        prefix: what it reads before the output.
        state: after all but the newest token; a value, which proposals leave as it is.
        read: the number of tokens in the state.
        until: the number of ids of prefix and output that were read or left out.
    """

    prefix: array[int]
    state: State
    read: int
    until: int


class ModelDraft:
    """Writes on by itself, by the same rules, constraint and noise as the model.

    Leviathan et al. (2023), *Fast Inference from Transformers via Speculative Decoding*; Chen et
    al. (2023), *Accelerating Large Language Model Decoding with Speculative Sampling*. Where they
    accept a proposal at random, here it is compared with what the model itself draws with the same
    noise (Daliri, Musco & Suresh 2024, *Coupling without Communication and Drafter-Invariant
    Speculative Decoding*), so that the text stays the same and not its distribution alone.
    """

    name = "model"

    def __init__(self, model: LanguageModel) -> None:
        self._model = model.eval()
        self._chooser = Chooser(model)
        self._readings: WeakKeyDictionary[Row, _Reading] = WeakKeyDictionary()

    @torch.inference_mode()
    def propose(self, rows: Sequence[Row], count: int) -> list[Proposal]:
        """See `Draft.propose`."""
        return [Proposal(self._propose(row, count)) for row in rows]

    def _propose(self, row: Row, count: int) -> list[int]:
        try:
            reading = self._catch_up(row)
        except WenmoError:  # the draft cannot read this text
            return []
        if self._model.context is not None:
            count = min(count, self._model.context - reading.read)
        tokens: list[int] = []
        state, newest = reading.state, row.ids[-1]
        constraint = None if row.constraint is None else row.constraint.fork()
        while len(tokens) < count:
            logits, state = self._model(self._tensor([newest]), state)
            ahead = replace(row, ids=row.ids + array("q", tokens), constraint=constraint, slot=0)
            line = self._chooser.choose([ahead], logits[:, -1], state)[0]
            if isinstance(line, WenmoError) or int(line[0]) == END:
                break
            newest = int(line[0])
            tokens.append(newest)
            if constraint is not None:
                constraint.advance(newest)
        return tokens

    def _catch_up(self, row: Row) -> _Reading:
        """Read what was written since the last proposal, all but the newest token."""
        reading = self._readings.get(row) or self._begin(row)
        ids = reading.prefix + row.output
        unread = ids[reading.until : -1]
        context = self._model.context
        if context is not None and reading.read + len(unread) >= context:
            reading = self._restart(row, ids, max(1, context // 2))
        elif unread:
            _, reading.state = self._model(self._tensor(unread), reading.state)
            reading.read, reading.until = reading.read + len(unread), len(ids) - 1
        self._readings[row] = reading
        return reading

    def _begin(self, row: Row) -> _Reading:
        """The state in which the text begins, with the source if the draft reads one."""
        request = replace(row.task.request, state=None, constraint=None, draft=None)
        if self._model.conditioning != row.task.conditioning:
            request = replace(request, source=None)
        task = Task(0, request, self._model)
        own = replace(row, task=task, ids=task.prefix_ids + row.output, cached_length=0)
        length = window(len(own.ids), self._model.context)
        state = initial_state(self._model, [own], length)
        return _Reading(task.prefix_ids, state, 0, len(own.ids) - length)

    def _restart(self, row: Row, ids: array[int], length: int) -> _Reading:
        """Begin anew with the last tokens, where the context is full."""
        state = self._model.initial_state(1, capacity=self._model.context or 0)
        unread = ids[-length:-1]
        if unread:
            _, state = self._model(self._tensor(unread), state)
        return _Reading(ids[: len(ids) - len(row.output)], state, len(unread), len(ids) - 1)

    def _tensor(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor([list(ids)], dtype=torch.long, device=self._model.device)
