"""A text that is being written, in one row of the model's state."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from wenmo.decoding.constraints.base import Constraint
from wenmo.decoding.request import Task

MAX_FORCED = 16  # tokens that a constraint forces, read at once


@dataclass(slots=True, eq=False, weakref_slot=True)
class Row:
    """A text that is being written.

    Attributes:
        task: its request.
        ids: the prefix that was read first, and the output.
        constraint: on what follows; None: none.
        slot: its row of the state, once it has one.
        cached_length: the number of tokens that the state has read; 0 before the prompt is read.
        forced: how many of the last ids were forced by the constraint, and are not yet read: their
            log-probabilities are not known.
        behind: how many ids before the newest the state has not read, because a proposal was
            rejected; their log-probabilities are known.
        mu: the largest surprise that mirostat allows next, in bits; None without mirostat.
    """

    task: Task
    ids: array[int]
    constraint: Constraint | None
    slot: int = -1
    cached_length: int = 0
    forced: int = 0
    behind: int = 0
    mu: float | None = None

    @classmethod
    def of(cls, task: Task) -> Row:
        """The row in which a request begins."""
        settings = task.settings
        mu = 2 * settings.mirostat_tau if settings.mirostat and settings.cuts else None
        return cls(task, task.prefix_ids[:], task.start_constraint(), mu=mu)

    @property
    def written(self) -> int:
        """The number of tokens written."""
        return len(self.ids) - len(self.task.prefix_ids)

    @property
    def output(self) -> array[int]:
        """The tokens written."""
        return self.ids[len(self.task.prefix_ids) :]

    @property
    def position(self) -> int:
        """The number of tokens before the newest that are in the model's context."""
        return self.cached_length + self.behind

    def append(self, token: int, context: int | None) -> None:
        """Write a token, and the tokens behind it that the constraint forces; with a draft, these
        are a part of the next proposal.

        Args:
            context: the most tokens that the state can hold.
        """
        self.ids.append(token)
        if self.constraint is None:
            return
        self.constraint.advance(token)
        if self.task.request.draft is not None:
            return
        room = min(MAX_FORCED, self.task.limit - self.written - 1)
        if context is not None:
            room = min(room, context - self.cached_length - 1)
        while self.forced < room and (following := self.constraint.forced()) is not None:
            self.ids.append(following)
            self.constraint.advance(following)
            self.forced += 1
            if self.mu is not None:  # the surprise of what is forced is 0
                settings = self.task.settings
                self.mu += settings.mirostat_eta * settings.mirostat_tau

    def branch(self, token: int) -> Row:
        """A copy that writes a token, for beams; it has the same slot until its state is copied."""
        constraint = None if self.constraint is None else self.constraint.fork()
        if constraint is not None:
            constraint.advance(token)
        ids = self.ids[:]
        ids.append(token)
        return Row(self.task, ids, constraint, self.slot, self.cached_length, mu=self.mu)
