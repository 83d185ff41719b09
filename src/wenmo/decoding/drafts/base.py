"""Drafts: cheap guesses of how a text goes on, which the model verifies in one pass.

A draft changes how fast a text is written and never which: see `wenmo.decoding.speculative`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from wenmo.results import Result

RowT = TypeVar("RowT", contravariant=True)


class Proposal(NamedTuple):
    """Tokens that may follow.

    Attributes:
        tokens: END is not among them.
        evidence: how much speaks for them, on a scale of the draft's own, such as the length of the
            context that was found; how often proposals are accepted is counted for each value.
    """

    tokens: list[int]
    evidence: int = 0


class Draft(Protocol[RowT]):
    """Proposes tokens. ``RowT`` is `wenmo.decoding.engines.row.Row`.

    Attributes:
        name: of the kind of draft, for statistics.
    """

    name: str

    def propose(self, rows: Sequence[RowT], count: int) -> list[Proposal]:
        """Propose at most so many tokens behind the ids of each row; none is a valid answer.

        A proposal need not keep to the constraint of a row.
        """
        ...


@dataclass(frozen=True)
class Speculation(Result):
    """What came of the draft of a text.

    Attributes:
        steps: the number of passes of the model.
        proposed: the number of tokens that were verified.
        accepted: the number of these that the text has; each step adds one more token.
    """

    steps: int = 0
    proposed: int = 0
    accepted: int = 0

    def after(self, proposed: int, accepted: int) -> Speculation:
        """With one step more."""
        return Speculation(self.steps + 1, self.proposed + proposed, self.accepted + accepted)

    @property
    def acceptance_rate(self) -> float | None:
        """The share of the proposed tokens that were accepted; None if none was proposed."""
        return self.accepted / self.proposed if self.proposed else None

    @property
    def tokens_per_step(self) -> float | None:
        """The number of tokens that a pass of the model wrote on average; None without any."""
        return 1 + self.accepted / self.steps if self.steps else None

    def to_dict(self) -> dict[str, Any]:
        """With the two rates."""
        rates = {name: getattr(self, name) for name in ("acceptance_rate", "tokens_per_step")}
        return super().to_dict() | rates
