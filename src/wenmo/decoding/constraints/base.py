"""Constraints: which tokens may follow, of one text that is being written.

A constraint belongs to one text. It is asked which tokens may follow, and advanced by the token
that was chosen; a beam that branches forks it. What constraints of many texts share (the trie of a
vocabulary, the chart of a grammar) lies in objects of its own, so that a fork is cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from wenmo.types import END, WenmoError


class Constraint(Protocol):
    """The state of one text under a constraint."""

    def allowed(self) -> Tensor | None:
        """The tokens that may follow, bool (vocab_size,); None: all.

        The tensor is shared and must not be changed.

        Raises:
            WenmoError: no token may follow.
        """
        ...

    def forced(self) -> int | None:
        """The token that must follow, where only one may and finding it is cheap; else None."""
        ...

    def advance(self, token: int) -> None:
        """Append a token that is allowed."""
        ...

    def fork(self) -> Constraint:
        """An independent copy."""
        ...


@runtime_checkable
class DrawsBySeed(Protocol):
    """A constraint that leaves something to chance, as which rhymes a poem has."""

    def draw(self, seed: int) -> Constraint:
        """The constraint of a text that has this seed, before its beginning."""
        ...


class RedirectedTokens(NamedTuple):
    """Tokens that are not allowed, bool (vocab_size,), and the one that has their probability."""

    tokens: Tensor
    to: int


@runtime_checkable
class RedirectsTokens(Protocol):
    """A constraint that asks for other tokens than those a text would go on with: a text of twenty
    words ends with the probability of the space that would end the twentieth.
    """

    def redirected(self) -> RedirectedTokens | None:
        """The tokens whose probability another one has; None: there are none."""
        ...


class Conjunction:
    """Several constraints that hold at once."""

    def __init__(self, constraints: Sequence[Constraint]) -> None:
        self.constraints = list(constraints)

    def allowed(self) -> Tensor | None:
        """The tokens that every constraint allows."""
        masks = [mask for each in self.constraints if (mask := each.allowed()) is not None]
        if len(masks) < 2:
            return masks[0] if masks else None
        common = masks[0] & masks[1]
        for mask in masks[2:]:
            common &= mask
        if not common.any():
            raise WenmoError(
                "no token is allowed by all constraints together: leave out one of them"
            )
        return common

    def forced(self) -> int | None:
        """The token that one of the constraints forces, where the others allow it."""
        for each in self.constraints:
            token = each.forced()
            if token is not None:
                mask = self.allowed()
                return token if mask is None or mask[token] else None
        return None

    def redirected(self) -> RedirectedTokens | None:
        """The first redirection of a constraint."""
        own = (each.redirected() for each in self.constraints if isinstance(each, RedirectsTokens))
        return next((each for each in own if each is not None), None)

    def advance(self, token: int) -> None:
        """Append a token."""
        for each in self.constraints:
            each.advance(token)

    def fork(self) -> Conjunction:
        """An independent copy."""
        return Conjunction([each.fork() for each in self.constraints])

    def draw(self, seed: int) -> Conjunction:
        """The same for a text that has this seed."""
        return Conjunction([draw(each, seed) for each in self.constraints])


def draw(constraint: Constraint, seed: int) -> Constraint:
    """The constraint of a text that has this seed, before its beginning."""
    return constraint.draw(seed) if isinstance(constraint, DrawsBySeed) else constraint


def combine(*constraints: Constraint | None) -> Constraint | None:
    """All of the given constraints as one; None where there are none."""
    given = [each for each in constraints if each is not None]
    return Conjunction(given) if len(given) > 1 else given[0] if given else None


def must_end(constraint: Constraint) -> bool:
    """Whether a text may go on with nothing but its end."""
    mask = constraint.allowed()
    return mask is not None and bool(mask[END]) and int(mask.sum()) == 1


def only_token(mask: Tensor | None) -> int | None:
    """The one token of a mask, bool (vocab_size,), if it has no other and it is not END."""
    if mask is None or int(mask.sum()) != 1:
        return None
    token = int(mask.byte().argmax())
    return None if token == END else token
