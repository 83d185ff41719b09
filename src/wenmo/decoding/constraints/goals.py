"""Goals of constraints: what a text must have somewhere, as phrases that are required.

A mask makes sure that a text does not end without them, but not that they come in good time: a beam
looks at how much each of its hypotheses has still to meet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Protocol, runtime_checkable

from torch import Tensor

from wenmo.decoding.constraints.base import Conjunction, Constraint


@runtime_checkable
class HasGoals(Protocol):
    """A constraint with goals."""

    def missing(self) -> int:
        """How much is missing until all goals are met; 0: nothing. Texts with equal numbers have
        come equally far.
        """
        ...

    def advancing(self) -> Tensor | None:
        """The tokens after which less is missing, bool (vocab_size,); None: there are no goals, or
        all are met. The tensor is shared and must not be changed.
        """
        ...


def goals_of(constraint: Constraint | None) -> list[HasGoals]:
    """The parts of a constraint that have unmet goals."""
    parts: Sequence[object] = [constraint]
    if isinstance(constraint, Conjunction):
        parts = constraint.constraints
    return [each for each in parts if isinstance(each, HasGoals) and each.missing() > 0]


def advancing_tokens(constraint: Constraint | None) -> Tensor | None:
    """The tokens that some unmet goal needs, bool (vocab_size,); None: no goals are unmet."""
    masks = [mask for goal in goals_of(constraint) if (mask := goal.advancing()) is not None]
    return reduce(or_, masks) if masks else None


def missing_after(
    constraint: Constraint | None, tokens: Sequence[int], gains: Sequence[float]
) -> list[int]:
    """How much is missing after each of some tokens; empty where no goals are unmet.

    Args:
        gains: of the tokens; −inf: it is forbidden, and the number is 0.
    """
    if constraint is None or not goals_of(constraint):
        return []
    found: dict[int, int] = {}
    for token, gain in zip(tokens, gains, strict=True):
        if gain > -math.inf and token not in found:
            after = constraint.fork()
            after.advance(token)
            found[token] = sum(goal.missing() for goal in goals_of(after))
    return [found.get(token, 0) for token in tokens]
