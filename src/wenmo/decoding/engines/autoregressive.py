"""The one loop: requests in, one token for each row a step, for every family of models.

Rows are independent slots of one state. A request that samples has one row; a beam has one for each
of its live texts. A row that ends leaves its slot to one that arrives, so that neither copies what
the others hold; prompts need neither padding nor masks. What a request writes depends on it alone
(up to the rounding of the model's arithmetic, which a larger batch may order differently).

Where a model's context is bounded, what it reads is a window on the text:

- a prompt longer than context − 1 keeps its last tokens, three quarters of the context, so that at
  least a quarter is free to write in (see `window`);
- when text fills the context, the row starts afresh from the last half of it, and goes on. A text
  that answers to a source ends there instead, since the source must stay in view.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from wenmo.decoding.beam import Candidates, Search, candidates, covered
from wenmo.decoding.constraints.utf8 import Utf8Constraint
from wenmo.decoding.logits import Chain, History, chain, forbid, gather_ends
from wenmo.decoding.noise import fold_in
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request, Task
from wenmo.decoding.strategies import greedy, sample
from wenmo.models.base import LanguageModel, join, select, write
from wenmo.text.batches import pad
from wenmo.types import END, IGNORE, State, WenmoError

StoppedBy: TypeAlias = Literal["end", "length", "stop"]

PREFILL_LOGITS = 1 << 25
"""Prompts are read in pieces of at most so many logits (128 MiB): only the last are wanted."""


@dataclass(frozen=True, slots=True)
class Event:
    """One token was written. The texts of a beam come when its search is over, one by one.

    Attributes:
        request: which request, by the number that `Engine.add` gave.
        token: its id; END where the model ended the text.
        logprob: its natural log-probability under the model itself, before any warp.
        stopped_by: ``end`` or ``length`` if it is the text's last, else None.
        rank: which of a beam's texts it belongs to; 0 is the best.
        score: of that whole text, as the beam ranks it; None where there is no beam.
    """

    request: int
    token: int
    logprob: float
    stopped_by: StoppedBy | None
    rank: int = 0
    score: float | None = None


def window(length: int, context: int | None) -> int:
    """How many of a prompt's last ``length`` tokens (END counted) a model of this context reads."""
    if context is None or length <= max(1, context - 1):
        return length
    return max(1, 3 * context // 4)


class Engine:
    """Writes many texts at once with one model, which is put in evaluation mode.

    Attributes:
        rows: how many texts are written side by side; further requests wait. A beam counts as its
            width and one more; one that is wider than this is written when nothing else is.
    """

    def __init__(self, model: LanguageModel, *, rows: int = 32) -> None:
        self.model = model.eval()
        self.rows = rows
        self._added = 0
        self._open: dict[int, Task] = {}
        self._waiting: deque[Task] = deque()
        self._rows: list[_Row] = []  # the texts that go on, each with its slot
        self._height = 0  # the slots of the state
        self._free: list[int] = []  # those that no row has
        self._state: State = {}

    def add(self, request: Request) -> int:
        """Take a request, to be written as soon as there is room; return its number.

        Raises:
            WenmoError: the model cannot do what is asked; see `Task`.
        """
        task = Task(self._added, request, self.model)
        self._added += 1
        self._open[task.number] = task
        self._waiting.append(task)
        return task.number

    def cancel(self, request: int) -> None:
        """End a request early; nothing happens if it has ended already."""
        task = self._open.pop(request, None)
        if task is not None:
            task.done = True

    def run(self) -> Iterator[Event]:
        """Write until no request is left. Requests may be added and cancelled on the way."""
        while self._open:
            yield from self.step()

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Write one token in every row.

        Raises:
            WenmoError: the model computes something that is not a number, or a request asks for a
                coverage that the model does not keep.
        """
        going, full = [], []
        for row in self._rows:
            if row.task.done:
                continue
            if self.model.context is None or row.cached_length < self.model.context:
                going.append(row)
            else:
                full.append(row)
        new_rows = full + [_Row(task, task.prefix_ids[:]) for task in self._admit(going + full)]
        rows = going + new_rows
        if not rows:
            self._rows, self._state, self._height = [], {}, 0
            return []
        self._free = self._close_gaps(going, len(new_rows))
        read = [self._take_in(*alike, to_end=not going) for alike in self._by_length(new_rows)]
        # Where nothing else is written, prompts are read at once; otherwise all but their last
        # tokens, which are read with the newest tokens of the other rows.
        return self._write(rows, self._read_newest(rows) if going else torch.cat(read))

    # -- reading ---------------------------------------------------------------------------------

    def _admit(self, rows: list[_Row]) -> list[Task]:
        """The waiting tasks that there is room for beside these rows, in the order they came in."""
        taken = sum(task.width for task in {row.task for row in rows})
        admitted: list[Task] = []
        while self._waiting:
            task = self._waiting[0]
            if not task.done:
                if taken and taken + task.width > self.rows:
                    break
                taken += task.width
                admitted.append(task)
            self._waiting.popleft()
        return admitted

    def _close_gaps(self, going: list[_Row], arriving: int) -> list[int]:
        """Keep as many free slots as rows arrive, and move the last rows into others.

        Returns:
            The free slots.
        """
        if not going:
            self._state, self._height = {}, 0
            return []
        slots = [row.slot for row in going]
        free = sorted(set(range(self._height)) - set(slots))
        surplus = len(free) - arriving
        if len(set(slots)) < len(slots) or surplus > len(going):
            # Texts of a beam that branch have copies of a row; few rows that are left are moved.
            self._state, free = select(self._state, slots), []
            for slot, row in enumerate(going):
                row.slot = slot
            self._height = len(going)
        elif surplus > 0:
            kept = self._height - surplus
            moved = [row for row in going if row.slot >= kept]
            into = free[: len(moved)]
            if moved:
                rows = select(self._state, [row.slot for row in moved])
                self._state = write(self._state, into, rows)
            for slot, row in zip(into, moved, strict=True):
                row.slot = slot
            self._state = {name: tensor[:kept] for name, tensor in self._state.items()}
            free, self._height = [s for s in free[len(moved) :] if s < kept], kept
        return free

    def _by_length(self, new_rows: list[_Row]) -> list[tuple[list[_Row], int]]:
        """The rows that read as much of their texts first, and how many tokens."""
        context = self.model.context
        alike: dict[tuple[int, bool], list[_Row]] = defaultdict(list)
        for row in new_rows:
            if row.cached_length and context is not None:
                length = max(1, context // 2)
            elif row.task.request.source is not None:
                length = len(row.ids)
            else:
                length = window(len(row.ids), context)
            alike[length, self._encodes(row)].append(row)
        return [(rows, length) for (length, _), rows in alike.items()]

    def _take_in(self, rows: list[_Row], length: int, *, to_end: bool) -> Tensor:
        """Read the last tokens of these rows' texts and give each row a slot.

        Args:
            length: how many tokens.
            to_end: read the very last one, too.

        Returns:
            The logits after the last token read, (rows, vocabulary), if any was.
        """
        logits, state = self._read(rows, length, to_end=to_end)
        here, self._free = self._free[: len(rows)], self._free[len(rows) :]
        if here:
            own = state if len(here) == len(rows) else select(state, range(len(here)))
            self._state = write(self._state, here, own)
        if len(here) < len(rows):
            own = select(state, range(len(here), len(rows))) if here else state
            self._state = join([self._state, own]) if self._height else own
        behind = range(self._height, self._height + len(rows) - len(here))
        for slot, row in zip([*here, *behind], rows, strict=True):
            row.slot, row.cached_length = slot, length if to_end else length - 1
        self._height += len(behind)
        return logits

    def _read_newest(self, rows: list[_Row]) -> Tensor:
        """Read the newest token of every row; the logits of what follows, by slot."""
        newest = [0] * self._height
        for row in rows:
            newest[row.slot] = row.ids[-1]
            row.cached_length += 1
        tokens = torch.tensor(newest, device=self.model.device)[:, None]
        logits, self._state = self.model(tokens, self._state)
        return logits[:, -1]

    def _encodes(self, row: _Row) -> bool:
        return self.model.conditioning == "encoder" and row.task.request.source is not None

    def _read(self, rows: list[_Row], length: int, *, to_end: bool) -> tuple[Tensor, State]:
        """The logits after what was read, if anything was, and the state."""
        device, state = self.model.device, self._begin(rows, length)
        texts = [row.ids[-length:].tolist() for row in rows]
        tokens = torch.tensor(texts, device=device)[:, : None if to_end else -1]
        logits = torch.empty(len(rows), 0, 0, device=device)
        piece = max(1, PREFILL_LOGITS // (len(rows) * self.model.vocab_size))
        for part in torch.split(tokens, piece, dim=1) if tokens.shape[1] else ():
            logits, state = self.model(part, state)
        return logits[:, -1:].flatten(1), state

    def _begin(self, rows: list[_Row], length: int) -> State:
        """Empty states, or those that were asked for: sources are encoded together, and what is
        drawn comes from a row's seed.
        """
        device, context = self.model.device, self.model.context
        room = [length + row.task.limit - row.written for row in rows]
        if context is not None:
            room = [min(tokens, context) for tokens in room]
        if self._encodes(rows[0]):
            sources = [
                [*(row.task.request.source or ()), *self.model.special_tokens.source_suffix]
                for row in rows
            ]
            source = pad(sources, IGNORE).to(device)
            return self.model.initial_state(len(rows), source=source, capacity=max(room))
        seeds = [row.task.request.sampling.seed for row in rows]
        generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        asked = [row.task.request.state for row in rows]
        return join(
            [
                self.model.initial_state(1, capacity=tokens, rng=rng) if state is None else state
                for state, tokens, rng in zip(asked, room, generators, strict=True)
            ]
        )

    # -- writing ---------------------------------------------------------------------------------

    def _write(self, rows: list[_Row], logits: Tensor) -> list[Event]:
        """Choose what every row writes; rows that ask for the same are warped together."""
        kinds: dict[int, list[_Row]] = defaultdict(list)
        tasks: dict[int, list[_Row]] = defaultdict(list)
        for row in rows:
            kinds[id(row.task.kind)].append(row)
            tasks[row.task.number].append(row)
        tables = [self._table(alike, logits) for alike in kinds.values()]
        numbers = torch.cat([table.flatten() for table in tables]).tolist()  # the one transfer
        lines: list[list[float]] = [[]] * len(rows)
        start = 0
        for alike, table in zip(kinds.values(), tables, strict=True):
            for row in alike:
                lines[row.slot] = numbers[start : start + table.shape[1]]
                start += table.shape[1]
        self._rows = []
        events: list[Event] = []
        for own in tasks.values():
            read = [lines[row.slot] for row in own]
            if own[0].task.search is None:
                events.append(self._append(own[0], *read[0]))
            else:
                events += self._grow(own, own[0].task.search, [_offer(line) for line in read])
        return events

    def _table(self, rows: list[_Row], logits: Tensor) -> Tensor:
        """What is to be known of the rows of one kind, float64 (rows, numbers).

        They are the token and its log-probability, or what `_offer` reads. Float64 holds every id
        exactly.
        """
        kind = rows[0].task.kind
        slots = [row.slot for row in rows]
        index = torch.tensor(slots, device=logits.device)
        if slots != list(range(len(logits))):
            logits = logits[index]
        logits, logp = self._ended(logits, kind), self._ended(logits.log_softmax(1), kind)
        warps = _chain(kind)
        history = self._history(rows if warps.looks_back else [])
        offered = logits if warps.steps and kind.method != "beam" else logp
        offered = _spelled(offered, rows)
        if self.model.special_tokens.suppressed:
            offered = forbid(offered, self.model.special_tokens.suppressed)
        offered = _constrained(offered, rows)
        if kind.method == "beam":
            gains = warps(offered, history)
            tokens, best = candidates(gains, kind.beam_width)
            ends = [gains[:, END, None], logp[:, END, None], self._covered(kind, rows, index)]
            columns = [tokens, best, logp.gather(1, tokens), *ends]
        else:
            warped = warps(offered, history).log_softmax(1) if warps.steps else offered
            seeds = [row.task.request.sampling.seed for row in rows]
            places = [row.written for row in rows]
            keys = fold_in(*torch.tensor([seeds, places], device=logits.device))
            tokens = (greedy if kind.greedy else sample)(warped, keys)[:, None]
            columns = [tokens, logp.gather(1, tokens)]
        return torch.cat([column.double() for column in columns], 1)

    def _ended(self, logits: Tensor, kind: Sampling) -> Tensor:
        """The logits with END for all that ends a text."""
        if not self.model.special_tokens.eos:
            return logits
        searched = kind.greedy or kind.method == "beam"
        return gather_ends(logits, self.model.special_tokens.eos, likeliest=searched)

    def _covered(self, kind: Sampling, rows: list[_Row], index: Tensor) -> Tensor:
        if not kind.coverage_penalty:
            return torch.zeros(len(rows), 1, device=index.device)
        if "coverage" not in self._state:
            raise WenmoError(
                f"coverage_penalty={kind.coverage_penalty:g}: this model does not "
                "tell how much it looked at its source; leave the penalty out"
            )
        lengths = [len(row.task.request.source or ()) + 1 for row in rows]
        coverage = self._state["coverage"][index]
        return covered(coverage, torch.tensor(lengths, device=index.device))[:, None]

    def _history(self, rows: list[_Row]) -> History:
        starts = [len(row.task.request.prompt) for row in rows]
        heads = [len(row.task.prefix_ids) - start for row, start in zip(rows, starts, strict=True)]
        texts = [row.ids[head:] for row, head in zip(rows, heads, strict=True)]
        return History.of(texts, starts, self.model.device)

    def _append(self, row: _Row, token: float, logprob: float) -> Event:
        _check(logprob)
        row.ids.append(int(token))
        self._rows.append(row)
        stopped_by: StoppedBy | None = None
        if token == END:
            stopped_by = "end"
        elif row.written == row.task.limit:
            stopped_by = "length"
        if stopped_by:
            self.cancel(row.task.number)
        return Event(row.task.number, int(token), logprob, stopped_by)

    def _grow(self, rows: list[_Row], search: Search, offers: list[Candidates]) -> list[Event]:
        """Let a beam go on; where it is at its end, all that it found."""
        task = rows[0].task
        grown = search.step(offers)
        for parent, token in grown:
            row = rows[parent]
            self._rows.append(
                _Row(task, row.ids + array("q", [token]), row.slot, row.cached_length)
            )
        if grown:
            return []
        self.cancel(task.number)
        events = []
        for rank, (text, score) in enumerate(search.best(task.request.n)):
            ends: list[StoppedBy | None] = [None] * len(text.tokens)
            ends[-1] = "end" if text.tokens[-1] == END else "length"
            for token, logprob, end in zip(text.tokens, text.logprobs, ends, strict=True):
                events.append(Event(task.number, token, logprob, end, rank, score))
        return events


@dataclass(slots=True, eq=False)
class _Row:
    """A text under way, in one row of the state."""

    task: Task
    ids: array[int]  # what was read first, and the output
    slot: int = 0  # which row of the state holds what it has read
    cached_length: int = 0  # how many tokens the state has read; 0 before the prompt is

    @property
    def written(self) -> int:
        return len(self.ids) - len(self.task.prefix_ids)


def _check(number: float) -> None:
    if math.isnan(number):
        raise WenmoError("the model's logits are not numbers: go back to an earlier checkpoint")


def _spelled(logits: Tensor, rows: list[_Row]) -> Tensor:
    """Logits (rows, vocab) without what cannot follow, by the spelling of each row's request."""
    alike: dict[Utf8Constraint | None, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        alike[row.task.request.spelling].append(place)
    if len(alike) == 1:
        [spelling] = alike
        return logits if spelling is None else spelling.keep(logits, [row.ids for row in rows])
    kept = logits.clone()
    for spelling, places in alike.items():
        if spelling is not None:
            kept[places] = spelling.keep(logits[places], [rows[place].ids for place in places])
    return kept


def _constrained(logits: Tensor, rows: list[_Row]) -> Tensor:
    """Logits (rows, vocab) without what the rows' constraints forbid."""
    constraints = [row.task.request.constraint for row in rows]
    if not any(constraints):
        return logits
    allowed = torch.full_like(logits, -math.inf)
    for place, (row, constraint) in enumerate(zip(rows, constraints, strict=True)):
        written = row.ids[len(row.task.prefix_ids) :]
        free = slice(None) if constraint is None else constraint.allowed(written)
        allowed[place, free] = logits[place, free]
    return allowed


def _offer(line: list[float]) -> Candidates:
    """From a row of the table: candidates, gains, log-probabilities, END's two, coverage."""
    count = len(line) // 3 - 1
    _check(line[count])
    tokens = [int(token) for token in line[:count]]
    gains, logprobs = line[count : 2 * count], line[2 * count : 3 * count]
    return Candidates(tokens, gains, logprobs, (line[-3], line[-2]), line[-1])


@lru_cache(maxsize=64)
def _chain(kind: Sampling) -> Chain:
    return chain(kind)
