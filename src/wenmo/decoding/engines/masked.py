"""Masked decoding: hidden tokens are predicted in several steps, for models that fill gaps.

A request becomes a canvas of given tokens and hidden positions. At every step the model predicts
all hidden positions and tokens are chosen; those of some positions stay, the others are hidden
again, until none is. A text without a given end is written in canvases as long as the model's
context, one after another.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from wenmo.decoding.constraints.base import Constraint
from wenmo.decoding.engines.base import Engine, Event, StoppedBy, window
from wenmo.decoding.history import History
from wenmo.decoding.logits import Chain, chain
from wenmo.decoding.noise import fold_in, uniform
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request, Task
from wenmo.decoding.strategies import greedy, sample
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import Infills, require
from wenmo.types import END, Logits, WenmoError

LONGEST_GAP = 16  # tokens, where the user does not say how many are missing
FOLLOWING = 16  # tokens behind a gap of unknown length, by which its length is chosen
SHORTER = 0.25  # nats by which a gap is likelier beforehand than one that is a token longer
ORDERS = 1 << 20  # added to a place for noise that is not the choice's own


class MaskedEngine(Engine):
    """Writes many texts with a model that fills gaps.

    Attributes:
        rows: how many canvases are filled side by side.
    """

    def __init__(self, model: LanguageModel, *, rows: int = 32) -> None:
        self.model, self.rows = model.eval(), rows
        self._infiller = require(model, Infills)
        self._submitted = 0
        self._open: dict[int, _Draft] = {}
        self._active: list[_Canvas] = []

    def submit(self, request: Request) -> int:
        """Queue a request; see `Engine.submit`.

        Raises:
            WenmoError: also if the settings make sense from left to right only.
        """
        processors = chain(replace(request.sampling, min_tokens=0))
        if processors.looks_back:
            names = ", ".join(step.name for step in processors.steps if step.looks_back)
            raise WenmoError(
                f"{names}: goes by what stands before a token, but tokens appear in any "
                "order: leave it out, or write from left to right (unmask_order=left)"
            )
        task = Task(self._submitted, request, self.model)
        self._submitted += 1
        self._open[task.number] = _Draft(task, processors)
        return task.number

    def cancel(self, request: int) -> None:
        """End a request early; nothing happens if it has ended already."""
        self._open.pop(request, None)

    def is_open(self, request: int) -> bool:
        """Whether a request has neither ended nor been cancelled."""
        return request in self._open

    @property
    def is_idle(self) -> bool:
        """Whether no request is left."""
        return not self._open

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Let some tokens of each canvas appear; see `Engine.step`.

        Returns:
            The tokens of the canvases that are complete.
        """
        events = self._start_canvases()
        alike: dict[tuple[int, ...], list[_Canvas]] = defaultdict(list)
        for canvas in self._active:
            shape = (len(canvas.ids), canvas.start, canvas.stop)
            alike[*shape, canvas.step, id(canvas.draft.task.settings)].append(canvas)
        for group in alike.values():
            self._unmask(group)
        complete = [canvas for canvas in self._active if canvas.step == canvas.steps]
        self._active = [canvas for canvas in self._active if canvas.step < canvas.steps]
        for canvas in complete:
            self._mend(canvas)
            events += self._finish(canvas)
        return events

    def _start_canvases(self) -> list[Event]:
        """Drop cancelled canvases, and give one to each request that has none, while there is room.

        Returns:
            Failures of requests that cannot be laid out.
        """
        failures = []
        self._active = [c for c in self._active if c.draft.task.number in self._open]
        drawn = {canvas.draft.task.number for canvas in self._active}
        for number, draft in list(self._open.items()):
            if len(self._active) >= self.rows:
                break
            if number not in drawn:
                try:
                    self._active.append(self._canvas(draft))
                except WenmoError as error:
                    self.cancel(number)
                    failures.append(Event.failure(number, error))
        return failures

    # -- canvases --------------------------------------------------------------------------------

    def _canvas(self, draft: _Draft) -> _Canvas:
        """The next canvas; of a gap of unknown length, the likeliest one."""
        request, suffix = draft.task.request, list(self.model.special_tokens.source_suffix)
        room = draft.room(self.model)
        if request.suffix is None:
            head = draft.head(self.model.context)
            free = room - len(head) - len(suffix)
            size = min(draft.task.limit - len(draft.written), max(1, free))
            return _Canvas.around(draft, head, size, suffix)
        size = request.sampling.gap_tokens
        before, after = list(draft.task.prefix_ids), [*request.suffix, *suffix]
        if size:
            return self._gap(draft, before, size, after, room)
        longest = min(LONGEST_GAP, room // 2)
        canvases = (self._gap(draft, before, n, after, room) for n in range(1, longest + 1))
        return min(canvases, key=self._nats)

    def _gap(
        self, draft: _Draft, before: list[int], size: int, after: list[int], room: int
    ) -> _Canvas:
        """A canvas of a gap with as much text on both sides as there is room for."""
        free = room - size
        if free < 2:
            raise WenmoError(f"a gap of {size} tokens leaves no room: the model reads {room}")
        right = min(len(after), max(free // 2, free - len(before)))
        return _Canvas.around(draft, before[-(free - right) :], size, after[:right])

    def _nats(self, canvas: _Canvas) -> float:
        """The cost of a gap's length, in nats: that of the tokens after it, predicted one after
        another while the gap is hidden, and a prior against length. By Bayes' rule the length with
        the least cost is the likeliest given both sides. Without the prior, one more line would
        often be as good.
        """
        follow = range(canvas.stop, min(canvas.stop + FOLLOWING, len(canvas.ids)))
        places = torch.tensor(follow, dtype=torch.int64, device=self.model.device)
        tokens = torch.tensor([canvas.ids], device=self.model.device).repeat(len(places), 1)
        hidden = torch.zeros_like(tokens, dtype=torch.bool)
        hidden[:, canvas.start : canvas.stop] = True
        hidden[:, places] = places >= places[:, None]
        rows = torch.arange(len(places), device=self.model.device)
        predicted = torch.zeros_like(hidden)
        predicted[rows, places] = True
        logp = self._infiller.fill(tokens, hidden, predicted).log_softmax(1)
        following = -float(logp[rows, tokens[rows, places]].sum(dtype=torch.float64))
        return SHORTER * (canvas.stop - canvas.start) + following

    def _finish(self, canvas: _Canvas) -> list[Event]:
        """The tokens of a complete canvas, up to the end of the text if it is there."""
        draft = canvas.draft
        task, gap = draft.task, draft.task.request.suffix is not None
        written = canvas.ids[canvas.start : canvas.stop]
        if not gap and END in written:
            written = written[: written.index(END) + 1]
        draft.written += written
        ended = gap or written[-1] == END
        over = ended or len(draft.written) >= task.limit
        if over:
            self.cancel(task.number)
        stopped: list[StoppedBy | None] = [None] * len(written)
        if over:
            stopped[-1] = "end" if ended else "length"
        each = zip(written, canvas.logprobs, stopped, strict=False)
        return [Event(task.number, *one) for one in each]

    # -- filling ---------------------------------------------------------------------------------

    def _unmask(self, canvases: list[_Canvas]) -> None:
        """One step of canvases of one shape: choose tokens, and hide some of them again.

        Only positions whose tokens can stay after the step are predicted: all hidden ones where
        the order goes by confidence, else those that the order has chosen beforehand.
        """
        device, first = self.model.device, canvases[0]
        settings, gap, step = first.draft.task.settings, slice(first.start, first.stop), first.step
        size = first.stop - first.start
        tokens = torch.tensor([canvas.ids for canvas in canvases], device=device)
        hidden = torch.stack([canvas.hidden for canvas in canvases]).to(device)
        sure = torch.tensor([canvas.logprobs for canvas in canvases], device=device)
        left = min(first.left - 1, round(size * hidden_share(settings, (step + 1) / first.steps)))
        unknown = hidden[:, gap]
        order, among = self._order(settings, canvases, step), None if settings.remask else unknown
        after = None if order is None else _lowest(order, left, among)
        seen = torch.zeros_like(hidden)  # the positions that are predicted in this step
        seen[:, gap] = unknown if after is None else unknown & ~after
        logits = self._infiller.fill(tokens, hidden, seen)
        rows, places = seen[:, gap].nonzero(as_tuple=True)
        self._allow(logits, canvases, places)
        tokens[seen], sure[rows, places] = self._choose(logits, canvases, step, rows, places)
        hidden[:, gap] = _lowest(sure, left, among) if after is None else after
        each = zip(canvases, tokens.tolist(), sure.tolist(), hidden, strict=True)
        for canvas, ids, logprobs, own in each:
            canvas.ids, canvas.logprobs, canvas.hidden = ids, logprobs, own
            canvas.step, canvas.left = step + 1, left

    def _allow(self, logits: Logits, canvases: list[_Canvas], places: Tensor) -> None:
        """Forbid, in place, tokens that spell nothing, and END where it may not be."""
        draft = canvases[0].draft
        characters = draft.task.request.characters
        if characters is not None:  # of one vocabulary
            logits.masked_fill_(~characters.spells.to(logits.device), -math.inf)
        least = draft.task.request.sampling.min_tokens - len(draft.written)
        early = places < least if draft.task.request.suffix is None else places >= 0
        logits[early, END] = -math.inf

    def _choose(
        self, logits: Logits, canvases: list[_Canvas], step: int, rows: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A token for each of these places, (places,), and its log-probability under the model."""
        draft = canvases[0].draft
        logp = logits.log_softmax(1)
        constraints = [canvases[number].constraint for number in rows.tolist()]
        offered = _constrained(_usable(logits, canvases, rows), constraints)
        keys = fold_in(self._keys(canvases, step)[rows], places)
        if draft.processors.steps:
            nothing = History.of([[]] * len(logits), [0] * len(logits), logits.device, keys=keys)
            offered = draft.processors(offered, nothing).log_softmax(1)
        choice = (greedy if draft.task.settings.greedy else sample)(offered, keys)
        for constraint, token in zip(constraints, choice.tolist(), strict=True):
            if constraint is not None:
                constraint.advance(token)
        return choice, logp.gather(1, choice[:, None])[:, 0]

    def _order(self, settings: Sampling, canvases: list[_Canvas], step: int) -> Tensor | None:
        """The order in which places are hidden again after a step, the lowest first, (rows,
        places); None: by the log-probability of what is chosen for them.
        """
        size = canvases[0].stop - canvases[0].start
        if settings.unmask_order == "confidence":
            return None
        if settings.unmask_order == "left":
            return -torch.arange(size, device=self.model.device).expand(len(canvases), -1).float()
        keys = fold_in(self._keys(canvases, step + ORDERS), torch.zeros((), dtype=torch.int64))
        return uniform(keys, size)

    def _keys(self, canvases: list[_Canvas], step: int) -> Tensor:
        """A key for the noise of each row at this step, int64 (rows,)."""
        device = self.model.device
        seeds = [canvas.draft.task.request.sampling.seed for canvas in canvases]
        begun = [len(canvas.draft.written) for canvas in canvases]
        keys = fold_in(torch.tensor(seeds, device=device), torch.tensor(begun, device=device))
        return fold_in(keys, torch.full_like(keys, step))

    def _mend(self, canvas: _Canvas) -> None:
        """Choose again, from left to right, bytes that break a character."""
        characters = canvas.draft.task.request.characters
        if characters is None:
            return
        for place in range(canvas.start, canvas.stop):
            if characters.allows(canvas.ids[:place], canvas.ids[place]):
                continue
            tokens = torch.tensor([canvas.ids], device=self.model.device)
            hidden = torch.zeros_like(tokens, dtype=torch.bool)
            hidden[0, place] = True
            logits = self._infiller.fill(tokens, hidden, hidden)
            self._allow(logits, [canvas], hidden.nonzero()[:, 1] - canvas.start)
            allowed, kept = characters.start(canvas.ids[:place]).allowed(), logits
            if allowed is not None:
                kept = logits.masked_fill(~allowed.to(logits.device), -math.inf)
            canvas.ids[place] = int(kept.argmax())
            logp = logits[0].log_softmax(0)[canvas.ids[place]]
            canvas.logprobs[place - canvas.start] = float(logp)


def _lowest(keys: Tensor, count: int, among: Tensor | None) -> Tensor:
    """The positions of each row with the lowest keys, ``among`` these, bool (rows, positions)."""
    if among is not None:
        keys = keys.masked_fill(~among, math.inf)
    return keys.argsort(1).argsort(1) < count


def _usable(logits: Logits, canvases: list[_Canvas], rows: Tensor) -> Logits:
    """Logits (positions, vocab_size) without tokens that no text of a row's alphabet contains."""
    spellings = [canvas.draft.task.request.characters for canvas in canvases]
    usable = [spelling.usable for spelling in spellings if spelling is not None]
    if len(usable) < len(canvases):  # all of a writer's requests are spelled, or none is
        return logits
    return logits.masked_fill(~torch.stack(usable).to(logits.device)[rows], -math.inf)


def _constrained(logits: Logits, constraints: Sequence[Constraint | None]) -> Logits:
    """Logits (positions, vocab_size) without the tokens that constraints of gaps forbid."""
    masks = [None if each is None else each.allowed() for each in constraints]
    if all(mask is None for mask in masks):
        return logits
    constrained = logits.clone()
    for index, mask in enumerate(masks):
        if mask is not None:
            constrained[index, ~mask.to(logits.device)] = -math.inf
    return constrained


def hidden_share(settings: Sampling, progress: float) -> float:
    """The fraction of positions that is hidden after a fraction of the steps: linear, or a quarter
    of a cosine, which reveals few at first (Chang et al. 2022, section 3.3).
    """
    if settings.unmask_schedule == "cosine":
        return math.cos(math.pi / 2 * progress)
    return 1 - progress


@dataclass(slots=True, eq=False)
class _Draft:
    """A request, and what of its text is written."""

    task: Task
    processors: Chain
    written: list[int] = field(default_factory=list)

    def room(self, model: LanguageModel) -> int:
        """The most places of a canvas."""
        if model.context is not None:
            return model.context + 1
        given = len(self.task.prefix_ids) + len(self.task.request.suffix or ())
        return given + max(self.task.limit, LONGEST_GAP) + len(model.special_tokens.source_suffix)

    def head(self, context: int | None) -> list[int]:
        """The text before the next canvas, or its end, as in `AutoregressiveEngine`."""
        text = [*self.task.prefix_ids, *self.written]
        if context is None:
            return text
        return (
            text[-max(1, context // 2) :] if self.written else text[-window(len(text), context) :]
        )


@dataclass(slots=True, eq=False)
class _Canvas:
    """What is given, and from ``start`` to ``stop`` what is hidden, or was chosen.

    Attributes:
        ids: of all positions.
        hidden: bool (positions,).
        logprobs: of what was chosen from ``start`` to ``stop``.
        step, steps: the number of steps made, and of all.
        left: the number of positions that are hidden after the last step.
        constraint: of a gap, which is then filled from left to right; None: there is none.
    """

    draft: _Draft
    ids: list[int]
    start: int
    stop: int
    hidden: Tensor
    logprobs: list[float]
    steps: int
    left: int
    step: int = 0
    constraint: Constraint | None = None

    @classmethod
    def around(cls, draft: _Draft, before: list[int], size: int, after: list[int]) -> _Canvas:
        ids, start = [*before, *[END] * size, *after], len(before)
        hidden = torch.zeros(len(ids), dtype=torch.bool)
        hidden[start : start + size] = True
        steps = min(draft.task.settings.unmask_steps or size, size)
        constraint = draft.task.request.constraint
        own = None if constraint is None else constraint.fork()
        stop, logprobs = start + size, [0.0] * size
        return cls(draft, ids, start, stop, hidden, logprobs, steps, size, constraint=own)
