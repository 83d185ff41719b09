"""Speculative decoding without any change of the text: drafts propose, the model verifies.

The model reads the newest token of a row and what is proposed behind it in one pass, which gives
the logits after each. From those after the first i proposed tokens, with the row's constraint,
history and noise at that position, the next token is chosen as it always is. Where it is what was
proposed, the row goes on to the next position; where it is another, the row takes that token and
drops the rest of the proposal. So each token is the one that the model writes without a draft: the
noise depends on seed and position alone, and a row's constraint is advanced by tokens that are
written only. Leviathan et al. (2023) and Chen et al. (2023) accept proposals at random, which keeps
the distribution of the texts, but not the texts.

What was read beyond the accepted tokens is taken back. A key–value cache or a history of tokens is
truncated. A recurrent state cannot be: the row keeps the older state, and reads the accepted tokens
again together with its next proposal.
"""

from __future__ import annotations

import time
from array import array
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TypeAlias

from torch import Tensor

from wenmo.decoding.constraints.base import Constraint
from wenmo.decoding.draft_length import AdaptiveLength, DraftLength, Kind, Outlook
from wenmo.decoding.engines.choice import Chooser
from wenmo.decoding.engines.row import Row
from wenmo.decoding.engines.slots import Slots
from wenmo.models.base import LanguageModel
from wenmo.types import END, WenmoError

MAX_CHOSEN = 1 << 16  # logits from which tokens are chosen at once; of more, one token a row
MAX_BEHIND = 8  # tokens that a recurrent state lags behind before it reads them for good

Line: TypeAlias = "list[float] | WenmoError"
"""What the chooser says of one token of a row: see `Chooser.choose`."""


@dataclass(slots=True)
class Plan:
    """What the rows read in a step.

    Attributes:
        drafted: the rows with a draft.
        proposals: what is verified of some of these rows.
        outlooks: what is known of the same rows.
        drafting: the seconds that the drafts took.
    """

    drafted: list[Row]
    proposals: dict[Row, list[int]]
    outlooks: dict[Row, Outlook]
    drafting: float

    def proposed(self, row: Row) -> list[int]:
        """What is verified of a row."""
        return self.proposals.get(row, [])

    def unread(self, row: Row) -> list[int]:
        """What a row reads: tokens that were read and taken back, the newest, and the proposed."""
        return [*row.ids[-1 - row.behind :], *self.proposed(row)]


class Speculator:
    """Proposes and verifies tokens of the rows of an engine.

    Args:
        length: decides how many tokens are proposed; None: what is quickest.
    """

    def __init__(
        self,
        model: LanguageModel,
        slots: Slots,
        chooser: Chooser,
        length: DraftLength | None = None,
    ) -> None:
        self._model, self._slots, self._chooser = model, slots, chooser
        self._length: DraftLength = length or AdaptiveLength()
        # On a CPU other programs take time, too, which is not counted.
        self._clock = time.thread_time if model.device.type == "cpu" else time.perf_counter

    # -- proposing -------------------------------------------------------------------------------

    def plan(self, rows: list[Row]) -> Plan | None:
        """What the rows should read in this step; None where no row has a draft. While a beam is
        searched in the same batch, there is none either.
        """
        drafted = [row for row in rows if row.task.request.draft is not None]
        if not drafted or any(row.task.search is not None for row in rows):
            return None
        begun = self._clock()
        room = self._room(rows)
        found = self._ask(drafted, min(room, self._length.ask(len(rows))))
        outlooks: dict[Row, Outlook] = {}
        proposals: dict[Row, list[int]] = {}
        for row, (kind, tokens) in found.items():
            allowed, certain = _allowed(row, tokens, min(room, _left(row)))
            if allowed:
                proposals[row] = allowed
                outlooks[row] = Outlook(row.task, kind, len(allowed), certain, 1 + row.behind)
        longest = self._length.choose(len(rows), list(outlooks.values())) if outlooks else 0
        for row, outlook in outlooks.items():
            proposals[row] = proposals[row][:longest]
            length = len(proposals[row])
            outlooks[row] = replace(outlook, length=length, certain=min(length, outlook.certain))
        return Plan(drafted, proposals, outlooks, self._clock() - begun)

    def _room(self, rows: list[Row]) -> int:
        """How many tokens behind the newest fit into the context of every row."""
        if self._model.context is None:
            return 1 << 30
        return min(self._model.context - row.position - 1 for row in rows)

    def _ask(self, rows: list[Row], count: int) -> dict[Row, tuple[Kind, list[int]]]:
        """The kind and the tokens of each row's proposal, those that are forced left out."""
        found: dict[Row, tuple[Kind, list[int]]] = {}
        alike: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            if row.behind < MAX_BEHIND and (count or row.constraint is not None):
                found[row] = ("forced", 0), []
                alike[id(row.task.request.draft)].append(row)
        for own in alike.values() if count else ():
            draft = own[0].task.request.draft
            assert draft is not None
            for row, proposal in zip(own, draft.propose(own, count), strict=True):
                found[row] = (draft.name, proposal.evidence), proposal.tokens
        return found

    # -- verifying -------------------------------------------------------------------------------

    def write(self, rows: list[Row], plan: Plan) -> dict[Row, list[Line]]:
        """Read what is planned, and choose what each row writes: one token, and one more for each
        proposed token that is accepted.
        """
        begun = self._clock()
        tokens = 1
        if plan.proposals or any(row.behind for row in plan.drafted):
            tokens = max(len(plan.unread(row)) for row in rows)
        if tokens == 1:
            lines = write_newest(rows, self._slots, self._chooser)
        elif self._slots.can_take_back:
            lines = self._verify_and_truncate(rows, plan)
        else:
            lines = self._verify_and_replay(rows, plan)
        for row in plan.drafted:
            proposed, accepted = len(plan.proposed(row)), len(lines[row]) - 1
            row.task.speculation = row.task.speculation.after(proposed, accepted)
        counts = [len(lines[row]) - 1 for row in plan.outlooks]
        self._length.observe_proposals([*plan.outlooks.values()], counts)
        written = sum(map(len, lines.values()))
        seconds = self._clock() - begun
        self._length.observe_step(len(rows), tokens, written, seconds, plan.drafting)
        return lines

    def _verify_and_truncate(self, rows: list[Row], plan: Plan) -> dict[Row, list[Line]]:
        """All rows read as many tokens as the one that reads most; the rest is taken back."""
        rows = sorted(rows, key=lambda row: row.slot)
        unread = [plan.unread(row) for row in rows]
        longest = max(map(len, unread))
        padded = [[*ids, *[END] * (longest - len(ids))] for ids in unread]
        logits, state = self._slots.read_ahead(rows, padded)
        lines = self._choose(rows, plan, logits)
        kept = [row.ids + array("q", plan.proposed(row)[: len(lines[row]) - 1]) for row in rows]
        for row in rows:
            row.cached_length += len(lines[row])
        self._slots.keep_ahead(rows, state, kept)
        return lines

    def _verify_and_replay(self, rows: list[Row], plan: Plan) -> dict[Row, list[Line]]:
        """Rows that read as many tokens do it together. Those of which a token is rejected keep the
        state before.
        """
        alike: dict[int, list[Row]] = defaultdict(list)
        for row in sorted(rows, key=lambda row: row.slot):
            alike[len(plan.unread(row))].append(row)
        lines: dict[Row, list[Line]] = {}
        for length, own in alike.items():
            logits, state = self._slots.read_ahead(own, [plan.unread(row) for row in own])
            lines |= self._choose(own, plan, logits)
            whole = []
            for number, row in enumerate(own):
                if len(lines[row]) > len(plan.proposed(row)):
                    whole.append(number)
                    row.cached_length, row.behind = row.cached_length + length, 0
                else:
                    row.behind += len(lines[row])
            self._slots.keep_rows(own, state, whole)
        return lines

    def _choose(self, rows: list[Row], plan: Plan, logits: Tensor) -> dict[Row, list[Line]]:
        """What each row writes, up to the first token that was not proposed.

        Args:
            logits: after each token that the rows read, float32 (rows, time, vocab_size).
        """
        at_once = max(1, MAX_CHOSEN // (len(rows) * logits.shape[2]))
        if any(row.mu is not None for row in rows):  # which depends on the tokens before
            at_once = 1
        lines: dict[Row, list[Line]] = {row: [] for row in rows}
        firsts = range(0, len(rows) * logits.shape[1], logits.shape[1])
        # Copies of each row are advanced by its proposal; their slot is a place in the logits.
        going = {
            row: [replace(row, slot=first + row.behind)]
            for row, first in zip(rows, firsts, strict=True)
        }
        while going:
            for row, ahead in going.items():
                for token in plan.proposed(row)[len(lines[row]) :][: at_once - 1]:
                    ahead.append(_advanced(ahead[-1], token))
            every = [copy for ahead in going.values() for copy in ahead]
            chosen = self._chooser.choose(every, logits.flatten(0, 1), {})
            for row, ahead in list(going.items()):
                row.mu = ahead[0].mu
                accepted = _take(lines[row], plan.proposed(row), [chosen[c.slot] for c in ahead])
                if accepted is None:
                    del going[row]
                else:
                    going[row] = [_advanced(ahead[-1], accepted)]
        return lines


def write_newest(rows: list[Row], slots: Slots, chooser: Chooser) -> dict[Row, list[Line]]:
    """Read the newest tokens, and choose one token for every row."""
    logits = slots.read_newest(rows)
    lines = chooser.choose(rows, logits, slots.state)
    return {row: [lines[row.slot]] for row in rows}


def _left(row: Row) -> int:
    """How many tokens may be proposed, so that one more can follow them."""
    return row.task.limit - row.written - 1


def _allowed(row: Row, tokens: list[int], most: int) -> tuple[list[int], int]:
    """The proposed tokens that the constraint of a row allows, with those that it forces.

    Returns:
        The tokens, and how many of the first are forced.
    """
    if row.constraint is None:
        return tokens[:most], 0
    constraint, allowed, certain = row.constraint.fork(), list[int](), 0
    while len(allowed) < most:
        forced = constraint.forced()
        token = _following(allowed, tokens) if forced is None else forced
        if token is None or not _allows(constraint, token):
            break
        certain += forced is not None and certain == len(allowed)
        allowed.append(token)
        constraint.advance(token)
    return allowed, certain


def _following(allowed: list[int], tokens: list[int]) -> int | None:
    """The proposed token behind others, if these were all proposed."""
    count = len(allowed)
    return tokens[count] if count < len(tokens) and allowed == tokens[:count] else None


def _allows(constraint: Constraint, token: int) -> bool:
    try:
        mask = constraint.allowed()
    except WenmoError:  # which is raised where the text comes that far
        return False
    return mask is None or bool(mask[token])


def _advanced(row: Row, token: int) -> Row:
    """A copy that has written a token, at the next place of the logits."""
    after = row.branch(token)
    after.slot += 1
    return after


def _take(lines: list[Line], proposal: list[int], chosen: list[Line]) -> int | None:
    """Add what was chosen at the next positions, up to the first token that was not proposed.

    Returns:
        The last proposed token, if it was accepted and more is to be chosen.
    """
    for line in chosen:
        place = len(lines)
        lines.append(line)
        if isinstance(line, WenmoError) or place >= len(proposal):
            return None
        if int(line[0]) != proposal[place]:
            return None
    return proposal[len(lines) - 1]
