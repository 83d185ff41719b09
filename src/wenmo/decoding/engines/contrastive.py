"""Contrastive search: likely tokens whose hidden states are unlike those of the text before.

Su et al. (2022), *A Contrastive Framework for Neural Text Generation*, equation 5. Of the k
likeliest tokens, the next is

    argmax over v of (1 − α) p(v | x) − α max over j of cos(h_v, h_j),

where h_v is the hidden state after v and h_j those after the tokens of the text so far, its prompt
included. The second term is the degeneration penalty. The candidates of all texts are read in one
batch, a row for each, and the state of the one that is taken is kept.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wenmo.decoding.drafts.settings import NO_DRAFT
from wenmo.decoding.engines.autoregressive import end_of
from wenmo.decoding.engines.base import Engine, Event, StoppedBy
from wenmo.decoding.engines.choice import NO_TOKEN, Chooser
from wenmo.decoding.engines.prefill import MAX_LOGITS, initial_state, read_length
from wenmo.decoding.engines.row import Row
from wenmo.decoding.request import Request, Task
from wenmo.decoding.search.base import Candidates
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import HasHiddenStates, capability
from wenmo.models.state import join, select
from wenmo.types import END, State, WenmoError


@dataclass(slots=True, eq=False)
class _Text:
    """A text that is being written.

    Attributes:
        row: its ids and its constraint.
        state: after all of its tokens, of one row.
        directions: the hidden states after its tokens, of length 1, float32 (tokens, width).
        logits: after its last token, float32 (1, vocab_size).
    """

    row: Row
    state: State
    directions: Tensor
    logits: Tensor


class ContrastiveEngine(Engine):
    """Writes texts by contrastive search with a model that has hidden states.

    Attributes:
        rows: how many candidates are read side by side at most, if one text has not more.
    """

    def __init__(self, model: LanguageModel, *, rows: int = 32) -> None:
        self.model, self.rows = model.eval(), rows
        self._hidden = capability(model, HasHiddenStates)
        self._chooser = Chooser(model)
        self._submitted = 0
        self._open: dict[int, Task] = {}
        self._waiting: deque[Task] = deque()
        self._texts: list[_Text] = []

    def submit(self, request: Request) -> int:
        """Queue a request; see `Engine.submit`."""
        if self._hidden is None:
            raise WenmoError(
                "method=contrastive compares hidden states, and this model has none: use another "
                "method"
            )
        if request.draft is not None:
            raise WenmoError(f"draft: {NO_DRAFT['contrastive']}")
        task = Task(self._submitted, request, self.model)
        if request.source is not None and self.model.context is not None:
            # A candidate is read before it is taken, so that it needs room.
            task.limit = min(task.limit, self.model.context - len(task.prefix_ids))
            if task.limit < 1:
                raise WenmoError(
                    f"the text begins with {len(task.prefix_ids)} tokens, and the model reads at "
                    f"most {self.model.context}: shorten the prompt"
                )
        self._submitted += 1
        self._open[task.number] = task
        self._waiting.append(task)
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
        """Write a token of every text; see `Engine.step`."""
        self._texts = [text for text in self._texts if self.is_open(text.row.task.number)]
        self._admit()
        for text in self._texts:
            if text.row.cached_length == self.model.context:
                text.state, _, text.logits = self._read(text.row)
        offers, events = self._candidates()
        if not self._texts:
            return events
        rows = [(index, token) for index, offer in enumerate(offers) for token in offer.tokens]
        tokens = torch.tensor([[token] for _, token in rows], device=self.model.device)
        before = select(join([text.state for text in self._texts]), [index for index, _ in rows])
        assert self._hidden is not None
        logits, hidden, after = self._hidden.forward_hidden(tokens, before)
        directions, start = F.normalize(hidden[:, 0].float(), dim=1), 0
        written, self._texts = self._texts, []
        for text, offer in zip(written, offers, strict=True):
            stop = start + len(offer.tokens)
            best = start + _choose(text, offer, directions[start:stop])
            events.append(self._append(text, offer, best - start))
            text.row.cached_length += 1
            text.state, text.logits = select(after, [best]), logits[best]
            text.directions = torch.cat([text.directions, directions[best : best + 1]])
            start = stop
        return events

    def _admit(self) -> None:
        """Begin the waiting requests that there is room for."""
        taken = sum(text.row.task.request.sampling.candidates for text in self._texts)
        while self._waiting:
            task = self._waiting[0]
            if self.is_open(task.number):
                taken += task.request.sampling.candidates
                if self._texts and taken > self.rows:
                    return
                row = Row.of(task)
                state, directions, logits = self._read(row)
                self._texts.append(_Text(row, state, directions, logits))
            self._waiting.popleft()

    def _read(self, row: Row) -> tuple[State, Tensor, Tensor]:
        """Read the prompt of a new row, or the last half of a text that has filled the context.

        Returns:
            The state, the directions of the hidden states, and the logits after the last token.
        """
        assert self._hidden is not None
        length = read_length(self.model, row)
        state, directions = initial_state(self.model, [row], length), []
        ids = torch.tensor([row.ids[-length:].tolist()], device=self.model.device)
        size = max(1, MAX_LOGITS // self.model.vocab_size)
        for start in range(0, length, size):
            piece = ids[:, start : start + size]
            logits, hidden, state = self._hidden.forward_hidden(piece, state)
            directions.append(F.normalize(hidden[0].float(), dim=1))
        row.cached_length = length
        return state, torch.cat(directions), logits[:, -1]

    def _candidates(self) -> tuple[list[Candidates], list[Event]]:
        """The candidates of each text; a text that cannot continue is dropped, with an event."""
        for slot, text in enumerate(self._texts):
            text.row.slot = slot
        logits = torch.cat([text.logits for text in self._texts]) if self._texts else None
        rows = [text.row for text in self._texts]
        lines = {} if logits is None else self._chooser.choose(rows, logits, {})
        offers, events, texts = [], [], []
        for text in self._texts:
            line, number = lines[text.row.slot], text.row.task.number
            if not isinstance(line, WenmoError):
                line = _problem(Candidates.from_line(line, draws=False)) or line
            if isinstance(line, WenmoError):
                self.cancel(number)
                events.append(Event.failure(number, line))
                continue
            offers.append(_possible(Candidates.from_line(line, draws=False)))
            texts.append(text)
        self._texts = texts
        return offers, events

    def _append(self, text: _Text, offer: Candidates, index: int) -> Event:
        """Write the candidate of an index."""
        row, token = text.row, offer.tokens[index]
        stopped_by: StoppedBy | None = None
        if token == END:
            stopped_by = end_of(row.task, row.constraint)
        elif row.written + 1 == row.task.limit:
            stopped_by = "length"
        if stopped_by:
            self.cancel(row.task.number)
        else:
            text.row = row.branch(token)
            self._texts.append(text)
        return Event(row.task.number, token, offer.logprobs[index], stopped_by)


def _choose(text: _Text, offer: Candidates, directions: Tensor) -> int:
    """The index of the best candidate; of equal ones, the likeliest."""
    alpha = text.row.task.request.sampling.penalty_alpha
    probs = torch.tensor(offer.gains, device=directions.device).exp()
    penalty = (directions @ text.directions.T).amax(1)
    return int(((1 - alpha) * probs - alpha * penalty).argmax())


def _problem(offer: Candidates) -> WenmoError | None:
    """Why no candidate can be taken."""
    if math.isnan(offer.gains[0]):
        return WenmoError("the model's logits are not numbers: go back to an earlier checkpoint")
    return WenmoError(NO_TOKEN) if offer.gains[0] == -math.inf else None


def _possible(offer: Candidates) -> Candidates:
    """Only the candidates that are not forbidden."""
    kept = [index for index, gain in enumerate(offer.gains) if gain > -math.inf]
    tokens, gains = [offer.tokens[i] for i in kept], [offer.gains[i] for i in kept]
    return Candidates(tokens, gains, [offer.logprobs[i] for i in kept], offer.end)
