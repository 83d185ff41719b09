"""The one loop: requests in, one token for each row a step, for every family of models.

Rows are independent slots. A finished row is dropped with `select` and a waiting request is put in
with `join`, so prompts need neither padding nor masks. What a row writes depends on its own request
alone (up to the rounding of the model's arithmetic, which a larger batch may order differently).

Where a model's context is bounded, what it reads is a window on the text:

- a prompt longer than context − 1 keeps its last tokens, three quarters of the context, so that at
  least a quarter is free to write in (see `window`);
- when text fills the context, the row starts afresh from the last half of it, and goes on.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from wenmo.decoding.choose import STRATEGIES, derive
from wenmo.decoding.warp import Chain, History, Sampling, chain
from wenmo.models.base import LanguageModel, join, select
from wenmo.types import END, State, WenmoError

StoppedBy: TypeAlias = Literal["end", "length", "stop"]

PREFILL_LOGITS = 1 << 25
"""Prompts are read in pieces of at most so many logits (128 MiB): only the last are wanted."""


@dataclass(frozen=True, slots=True)
class Request:
    """A text to be written.

    Attributes:
        prompt: the ids to go on from, without END, which the engine puts before every text.
        sampling: how the tokens are chosen; the engine leaves stop strings to its caller.
        source: the ids to condition on, for models that can.
    """

    prompt: Sequence[int] = ()
    sampling: Sampling = field(default_factory=Sampling)
    source: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One token was written.

    Attributes:
        request: which request, by the number that `Engine.add` gave.
        token: its id; END where the model ended the text.
        logprob: its natural log-probability under the model itself, before any warp.
        stopped_by: ``end`` or ``length`` if it is the request's last, else None.
    """

    request: int
    token: int
    logprob: float
    stopped_by: StoppedBy | None


def window(length: int, context: int | None) -> int:
    """How many of a prompt's last ``length`` tokens (END counted) a model of this context reads."""
    if context is None or length <= max(1, context - 1):
        return length
    return max(1, 3 * context // 4)


class Engine:
    """Writes many texts at once with one model, which is put in evaluation mode.

    Attributes:
        rows: how many texts are written side by side; further requests wait.
    """

    def __init__(self, model: LanguageModel, *, rows: int = 32) -> None:
        self.model = model.eval()
        self.rows = rows
        self._added = 0
        self._open: dict[int, _Row] = {}
        self._waiting: deque[_Row] = deque()
        self._active: list[_Row] = []  # the rows of the state, in its order
        self._state: State = {}

    def add(self, request: Request) -> int:
        """Take a request, to be written as soon as a row is free; return its number.

        Raises:
            WenmoError: an id that the model's vocabulary does not have.
        """
        biased = [token for token, _ in request.sampling.logit_bias]
        for what, ids in (("prompt", request.prompt), ("logit_bias", biased)):
            for token in ids:
                if not 0 <= token < self.model.vocab_size:
                    raise WenmoError(
                        f"{what} has token {token}, but the model's ids end at "
                        f"{self.model.vocab_size - 1}: use the tokenizer it was trained with"
                    )
        row = _Row(self._added, request, _kind(request.sampling), array("q", [END]))
        row.ids.extend(map(int, request.prompt))
        self._added += 1
        self._open[row.number] = row
        self._waiting.append(row)
        return row.number

    def cancel(self, request: int) -> None:
        """End a request early; nothing happens if it has ended already."""
        row = self._open.pop(request, None)
        if row is not None:
            row.done = True

    def run(self) -> Iterator[Event]:
        """Write until no request is left. Requests may be added and cancelled on the way."""
        while self._open:
            yield from self.step()

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Write one token in every row.

        Raises:
            WenmoError: the model computes something that is not a number.
        """
        going, full = [], []
        for place, row in enumerate(self._active):
            if row.done:
                continue
            if self.model.context is None or row.held < self.model.context:
                going.append(place)
            else:
                full.append(row)
        fresh = full + self._admit(self.rows - len(going) - len(full))
        parts = [self._advance(going)] if going else []
        parts += self._prefill(fresh)
        self._active = [row for rows, _, _ in parts for row in rows]
        if not parts:
            self._state = {}
            return []
        self._state = join([state for _, _, state in parts]) if len(parts) > 1 else parts[0][2]
        return self._write(torch.cat([logits for _, logits, _ in parts]))

    # -- reading ---------------------------------------------------------------------------------

    def _admit(self, free: int) -> list[_Row]:
        admitted: list[_Row] = []
        while self._waiting and len(admitted) < free:
            row = self._waiting.popleft()
            if not row.done:
                admitted.append(row)
        return admitted

    def _advance(self, places: list[int]) -> _Part:
        """Read the newest token of the rows at these places; the other rows are dropped."""
        rows = [self._active[place] for place in places]
        state = self._state if len(rows) == len(self._active) else select(self._state, places)
        tokens = torch.tensor([[row.ids[-1]] for row in rows], device=self.model.device)
        logits, state = self.model(tokens, state)
        for row in rows:
            row.held += 1
        return rows, logits[:, -1], state

    def _prefill(self, fresh: list[_Row]) -> list[_Part]:
        """Read the windows of rows without a state, those of one length together."""
        context = self.model.context
        by_length: dict[int, list[_Row]] = defaultdict(list)
        for row in fresh:
            if row.held and context is not None:
                row.held = max(1, context // 2)
            else:
                row.held = window(len(row.ids), context)
            by_length[row.held].append(row)
        return [self._read(rows, length) for length, rows in by_length.items()]

    def _read(self, rows: list[_Row], length: int) -> _Part:
        device = self.model.device
        state = join([self._begin(row) for row in rows])
        tokens = torch.tensor([row.ids[-length:].tolist() for row in rows], device=device)
        piece = max(1, PREFILL_LOGITS // (len(rows) * self.model.vocab_size))
        for part in torch.split(tokens, piece, dim=1):
            logits, state = self.model(part, state)
        return rows, logits[:, -1], state

    def _begin(self, row: _Row) -> State:
        """An empty state for one row: what a model draws comes from the row's own seed."""
        room = row.held + row.request.sampling.max_tokens - row.written
        source, device = row.request.source, self.model.device
        return self.model.begin(
            1,
            source=None if source is None else torch.tensor([list(source)], device=device),
            capacity=room if self.model.context is None else min(room, self.model.context),
            rng=torch.Generator(device).manual_seed(row.request.sampling.seed),
        )

    # -- writing ---------------------------------------------------------------------------------

    def _write(self, logits: Tensor) -> list[Event]:
        """Choose a token for every row; rows that ask for the same are warped together."""
        device, count = logits.device, len(self._active)
        seeds = torch.tensor([row.request.sampling.seed for row in self._active], device=device)
        written = torch.tensor([row.written for row in self._active], device=device)
        scores = torch.tensor([row.score for row in self._active], device=device)
        keys, tokens = derive(seeds, written), torch.empty_like(seeds)
        order = list(range(count))
        for kind, places in self._kinds().items():
            index = torch.tensor(places, device=device)
            warps = _chain(kind)
            history = self._history(places if warps.looks_back else [])
            logp = warps(logits[index], history).log_softmax(1)
            strategy = STRATEGIES["greedy" if kind.greedy else kind.method]
            parents, tokens[index], scores[index] = strategy(logp, scores[index], keys[index])
            if parents is not None:
                for place, parent in zip(places, parents.tolist(), strict=True):
                    order[place] = places[parent]
        if order != list(range(count)):
            self._reorder(order)
            logits = logits[order]
        logprobs = logits.log_softmax(1).gather(1, tokens[:, None])[:, 0]
        # One transfer from the device: float64 holds every id exactly.
        table = torch.stack([tokens.double(), logprobs.double(), scores.double()], dim=1).tolist()
        return [self._event(row, *line) for row, line in zip(self._active, table, strict=True)]

    def _kinds(self) -> dict[Sampling, list[int]]:
        kinds: dict[Sampling, list[int]] = defaultdict(list)
        for place, row in enumerate(self._active):
            kinds[row.kind].append(place)
        return kinds

    def _history(self, places: list[int]) -> History:
        rows = [self._active[place] for place in places]
        starts = [len(row.request.prompt) for row in rows]
        return History.of([row.ids[1:] for row in rows], starts, self.model.device)

    def _reorder(self, order: list[int]) -> None:
        """Let each row go on from the text and the state of the row at its place in ``order``."""
        self._state = select(self._state, order)
        parents = [(self._active[parent].ids[:], self._active[parent].held) for parent in order]
        for row, (ids, held) in zip(self._active, parents, strict=True):
            row.ids, row.held = ids, held

    def _event(self, row: _Row, token: float, logprob: float, score: float) -> Event:
        if math.isnan(logprob):
            raise WenmoError("the model's logits are not numbers: go back to an earlier checkpoint")
        row.ids.append(int(token))
        row.score = score
        stopped_by: StoppedBy | None = None
        if token == END:
            stopped_by = "end"
        elif row.written == row.request.sampling.max_tokens:
            stopped_by = "length"
        if stopped_by:
            self.cancel(row.number)
        return Event(row.number, int(token), logprob, stopped_by)


@dataclass(slots=True, eq=False)
class _Row:
    """A request under way."""

    number: int
    request: Request
    kind: Sampling
    ids: array[int]  # END, the prompt, the output
    held: int = 0  # how many tokens the state has read; 0 before the prompt is
    score: float = 0.0
    done: bool = False

    @property
    def written(self) -> int:
        return len(self.ids) - 1 - len(self.request.prompt)


_Part: TypeAlias = tuple[list[_Row], Tensor, State]  # rows, their next logits, and their state


def _kind(sampling: Sampling) -> Sampling:
    """The part of a request that decides how logits are warped; rows that share it are together."""
    return replace(sampling, seed=0, stop=(), max_tokens=max(1, sampling.min_tokens))


@lru_cache(maxsize=64)
def _chain(kind: Sampling) -> Chain:
    return chain(kind)
