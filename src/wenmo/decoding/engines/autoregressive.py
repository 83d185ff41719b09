"""Writing from left to right: one token for each row a step, for every family of models.

Rows are independent slots of one state. A request that samples has one row; a beam has one for each
of its live texts. A row that ends leaves its slot to one that arrives, so that neither copies what
the others hold; prompts need neither padding nor masks. What a request writes depends on it alone
(up to the rounding of the model's arithmetic, which a larger batch may order differently).

Prompts are read up to their last token, which is read together with the newest tokens of the rows
that write. While rows write, long prompts are read in slices, so that nobody waits for long.

Where a model's context is bounded, what it reads is a window on the text:

- a prompt longer than context − 1 keeps its last tokens, three quarters of the context, so that at
  least a quarter is free to write in (see `window`);
- when text fills the context, the row starts afresh from the last half of it. A text that answers
  to a source ends there instead, since the source must stay in view.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence

import torch

from wenmo.decoding.constraints.base import Constraint, must_end
from wenmo.decoding.constraints.goals import missing_after
from wenmo.decoding.draft_length import DraftLength
from wenmo.decoding.engines.base import Engine, Event, StoppedBy
from wenmo.decoding.engines.choice import NO_TOKEN, Chooser
from wenmo.decoding.engines.prefill import Prefill, Reader
from wenmo.decoding.engines.row import Row
from wenmo.decoding.engines.slots import Slots
from wenmo.decoding.prefix_cache import PrefixCache
from wenmo.decoding.request import Request, Task
from wenmo.decoding.search.base import Candidates, Search
from wenmo.decoding.speculative import Line, Speculator, write_newest
from wenmo.models.base import LanguageModel
from wenmo.types import END, WenmoError

SLICE = 16
"""Tokens of prompts that are read in a step beside rows that write."""


class AutoregressiveEngine(Engine):
    """Writes many texts at once with one model, which is put in evaluation mode.

    Attributes:
        rows: the batch size; further requests wait. A beam counts as its width and one more; one
            that is wider than this is written when nothing else is.
        prefix_cache: of prompts; clear it when the model's weights change.

    Args:
        draft_length: decides how many tokens drafts propose; None: what is quickest. It does not
            change any text.
    """

    def __init__(
        self, model: LanguageModel, *, rows: int = 32, draft_length: DraftLength | None = None
    ) -> None:
        self.model = model.eval()
        self.rows = rows
        self.prefix_cache = PrefixCache(model.state_schema)
        self._submitted = 0
        self._open: dict[int, Task] = {}
        self._waiting: deque[Task] = deque()
        self._reader = Reader(model, self.prefix_cache)
        self._reading: deque[Prefill] = deque()
        self._active: list[Row] = []  # the rows that have slots
        self._slots = Slots(model, rows)
        self._chooser = Chooser(model)
        self._speculator = Speculator(model, self._slots, self._chooser, draft_length)

    def submit(self, request: Request) -> int:
        """Queue a request; see `Engine.submit`."""
        task = Task(self._submitted, request, self.model)
        self._submitted += 1
        self._open[task.number] = task
        self._waiting.append(task)
        return task.number

    def cancel(self, request: int) -> None:
        """End a request early; nothing happens if it has ended already."""
        task = self._open.pop(request, None)
        if task is not None:
            task.done = True

    def is_open(self, request: int) -> bool:
        """Whether a request has neither ended nor been cancelled."""
        return request in self._open

    @property
    def is_idle(self) -> bool:
        """Whether no request is left."""
        return not self._open

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Write a token in every row, or several where a draft proposed them, and read a slice of a
        prompt; see `Engine.step`.
        """
        writing, full = self._split_full()
        self._reading.extend(self._reader.groups(full))
        self._reading.extend(self._reader.groups(self._admit(writing)))
        arriving = self._read_prompts(beside=bool(writing))
        alive = [row for group in arriving for row in group.rows if not row.task.done]
        self._slots.keep(writing, len(alive))
        self._active = writing
        for group in arriving:
            rows, state = group.finish()
            if rows:
                self._slots.put(rows, state)
                self._active = self._active + rows
        if not self._active:
            return []
        rows, self._active = self._active, []
        return self._write(rows)

    # -- reading ---------------------------------------------------------------------------------

    def _split_full(self) -> tuple[list[Row], list[Row]]:
        """The rows that can read one more token, and those that have filled the context."""
        context = self.model.context
        rows = [row for row in self._active if not row.task.done]
        full = [row for row in rows if context is not None and row.position >= context]
        return [row for row in rows if row not in full], full

    def _admit(self, writing: list[Row]) -> list[Row]:
        """Rows for the waiting requests that there is room for, in the order they came in."""
        reading = [row for group in self._reading for row in group.rows if not row.task.done]
        taken = sum(task.width for task in {row.task for row in [*writing, *reading]})
        admitted: list[Row] = []
        while self._waiting:
            task = self._waiting[0]
            if not task.done:
                if taken and taken + task.width > self.rows:
                    break
                taken += task.width
                admitted.append(Row.of(task))
            self._waiting.popleft()
        return admitted

    def _read_prompts(self, *, beside: bool) -> list[Prefill]:
        """Read prompts, and return the groups that are done.

        Args:
            beside: rows write, so that only a slice is read.
        """
        budget, unfinished = SLICE, deque[Prefill]()
        done: list[Prefill] = []
        for group in self._reading:
            if all(row.task.done for row in group.rows):
                continue
            if not group.is_done and (not beside or budget > 0):
                budget -= group.advance(budget if beside else None)
            (done if group.is_done else unfinished).append(group)
        self._reading = unfinished
        return done

    def _read_late(self, rows: list[Row]) -> list[Event]:
        """Read what the state of these rows lacks before their newest token.

        Returns:
            The tokens that constraints forced: now their log-probabilities are known.
        """
        alike: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            if row.forced or row.behind:
                alike[row.forced + row.behind].append(row)
        events = []
        for count, late in alike.items():
            logits = self._slots.read(late, [row.ids[-1 - count : -1].tolist() for row in late])
            ids = torch.tensor([row.ids[-count:].tolist() for row in late], device=logits.device)
            logprobs = logits.log_softmax(-1).gather(2, ids[..., None])[..., 0].tolist()
            for row, own in zip(late, logprobs, strict=True):
                forced = list(zip(row.ids[-count:], own, strict=True))[count - row.forced :]
                events += [Event(row.task.number, *each, None) for each in forced]
                if any(logprob == -math.inf for _, logprob in forced):
                    self.cancel(row.task.number)
                    events.append(Event.failure(row.task.number, WenmoError(NO_TOKEN)))
                row.forced = row.behind = 0
        return events

    # -- writing ---------------------------------------------------------------------------------

    def _write(self, rows: list[Row]) -> list[Event]:
        """Read the newest tokens and what drafts propose, and write in every row."""
        plan = self._speculator.plan(rows)
        if plan is None:
            events = self._read_late(rows)
            lines = write_newest(rows, self._slots, self._chooser)
        else:
            events = self._read_late([row for row in rows if row.forced])
            lines = self._speculator.write(rows, plan)
        tasks: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            tasks[row.task.number].append(row)
        for own in tasks.values():
            if own[0].task.done:
                continue  # it failed above
            try:
                for event in self._advance(own, [lines[row] for row in own]):
                    events.append(event)
            except WenmoError as error:
                self.cancel(own[0].task.number)
                events.append(Event.failure(own[0].task.number, error))
        return events

    def _advance(self, rows: list[Row], lines: list[list[Line]]) -> Iterator[Event]:
        """Let the rows of a request go on with what was chosen for them."""
        search = rows[0].task.search
        if search is not None:
            yield from self._grow(rows, search, [line for [line] in lines])
            return
        [row], [own] = rows, lines
        for line in own:
            token, logprob = _checked(line)
            yield self._append(row, int(token), logprob)
            if row.task.done:
                return
        self._active.append(row)

    def _append(self, row: Row, token: int, logprob: float) -> Event:
        _check(logprob)
        stopped_by: StoppedBy | None = None
        if token == END:
            stopped_by = end_of(row.task, row.constraint)
        elif row.written + 1 == row.task.limit:
            stopped_by = "length"
        if stopped_by:
            self.cancel(row.task.number)
        else:
            row.append(token, self.model.context)
        speculation = None if row.task.request.draft is None else row.task.speculation
        return Event(row.task.number, token, logprob, stopped_by, speculation=speculation)

    def _grow(self, rows: list[Row], search: Search, lines: list[Line]) -> list[Event]:
        """Let a beam go on; where it is at its end, all that it found."""
        task = rows[0].task
        grown = search.step([_offer(row, line) for row, line in zip(rows, lines, strict=True)])
        self._active += [rows[parent].branch(token) for parent, token in grown]
        if grown:
            return []
        if not search.best(1):  # each text came to a dead end
            for line in lines:
                _checked(line)
            raise WenmoError(NO_TOKEN)
        self.cancel(task.number)
        events = []
        for rank, (text, score, weight, _) in enumerate(search.best(task.request.n)):
            ends: list[StoppedBy | None] = [None] * len(text.tokens)
            ends[-1] = _end_of_text(task, text.tokens)
            for token, logprob, end in zip(text.tokens, text.logprobs, ends, strict=True):
                events.append(Event(task.number, token, logprob, end, rank, score, weight))
        return events


def _offer(row: Row, line: Line) -> Candidates:
    """What a row of a beam offers; nothing where it is at a dead end."""
    if isinstance(line, WenmoError):
        return Candidates.none()
    offer = Candidates.from_line(line, draws=row.task.request.sampling.draws)
    _check(offer.gains[0])
    return offer._replace(missing=missing_after(row.constraint, offer.tokens, offer.gains))


def _checked(line: Line) -> list[float]:
    if isinstance(line, WenmoError):
        raise line
    return line


def end_of(task: Task, constraint: Constraint | None) -> StoppedBy:
    """What has ended a text that ends with END."""
    if task.request.constraint is None or constraint is None:
        return "end"
    return "constraint" if must_end(constraint) else "end"


def _end_of_text(task: Task, tokens: Sequence[int]) -> StoppedBy:
    """What has ended a text that was searched for."""
    if tokens[-1] != END:
        return "length"
    constraint = task.start_constraint()
    if constraint is not None and task.request.constraint is not None:
        for token in tokens[:-1]:
            constraint.advance(token)
    return end_of(task, constraint)


def _check(number: float) -> None:
    if math.isnan(number):
        raise WenmoError("the model's logits are not numbers: go back to an earlier checkpoint")
