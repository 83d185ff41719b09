"""What every engine does: requests in, tokens out, step by step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from wenmo.decoding.drafts.base import Speculation
from wenmo.decoding.request import Request
from wenmo.types import END, WenmoError

StoppedBy: TypeAlias = Literal["end", "constraint", "length", "stop", "error"]


@dataclass(frozen=True, slots=True)
class Event:
    """One token of a request. The texts of a beam come when its search is over, one by one.

    Attributes:
        request: the id that `Engine.submit` returned.
        token: its id; END where the model ended the text.
        logprob: its natural log-probability under the model itself, before any logits processor.
        stopped_by: ``end``, ``constraint``, ``length`` or ``error`` if it is the text's last event,
            else None.
        rank: which of a beam's texts it belongs to; 0 is the best.
        score: of that whole text, as the beam ranks it; None where there is no beam.
        weight: the importance weight of that whole text; None where the method gives none.
        error: why the text cannot be continued; then ``token`` is no part of it.
        speculation: what came of the draft so far; None without a draft.
    """

    request: int
    token: int
    logprob: float
    stopped_by: StoppedBy | None
    rank: int = 0
    score: float | None = None
    weight: float | None = None
    error: WenmoError | None = None
    speculation: Speculation | None = None

    @classmethod
    def failure(cls, request: int, error: WenmoError) -> Event:
        """The last event of a request that failed."""
        return cls(request, END, float("nan"), "error", error=error)


class Engine(ABC):
    """Writes the texts of many requests with one model.

    A text depends on its request alone: not on the requests beside it, and not on when it came. An
    engine is not thread-safe; between two steps requests may come and go.
    """

    @abstractmethod
    def submit(self, request: Request) -> int:
        """Queue a request, to be started as soon as there is room.

        Returns:
            The id of the request.

        Raises:
            WenmoError: the model cannot do what is requested.
        """

    @abstractmethod
    def cancel(self, request: int) -> None:
        """End a request early; nothing happens if it has ended already."""

    @abstractmethod
    def is_open(self, request: int) -> bool:
        """Whether a request has neither ended nor been cancelled."""

    @abstractmethod
    def step(self) -> list[Event]:
        """Do one step of work, at least one forward pass if any request is left.

        Returns:
            The tokens that were written; of a request, none, one or several.
        """

    @property
    @abstractmethod
    def is_idle(self) -> bool:
        """Whether no request is left."""

    def run(self) -> Iterator[Event]:
        """Step until no request is left. Requests may be submitted and cancelled meanwhile.

        Raises:
            WenmoError: a text cannot be continued.
        """
        while not self.is_idle:
            for event in self.step():
                if event.error is not None:
                    raise event.error
                yield event


def window(length: int, context: int | None) -> int:
    """How many of a prompt's last ``length`` tokens (END counted) a model of this context reads."""
    if context is None or length <= max(1, context - 1):
        return length
    return max(1, 3 * context // 4)
