"""Token healing: an output that begins with the bytes with which a prompt begins a token.

Where a prompt ends within a token of the vocabulary ("http:" before "//"), the model has rarely
seen the tokens of this end before what follows. So they are not read: the output must begin with
their bytes, in whatever tokens the model writes them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import torch
from torch import Tensor

from wenmo.decoding.constraints.base import Constraint, only_token
from wenmo.types import END, WenmoError


class HealedPrefixes:
    """The tokens of a vocabulary by how their bytes begin.

    Args:
        table: the bytes of each token.

    Attributes:
        longest: the bytes of the longest token.
    """

    def __init__(self, table: Sequence[bytes]) -> None:
        self.table = table
        self._sorted = sorted((spelled, token) for token, spelled in enumerate(table) if spelled)
        self._tokens: dict[bytes, list[int]] = {}
        for spelled, token in self._sorted:
            self._tokens.setdefault(spelled, []).append(token)
        self.longest = max(map(len, table), default=0)

    def start(self, prefix: bytes, following: Constraint | None = None) -> TokenHealingConstraint:
        """The constraint of a text that begins with some bytes.

        Args:
            following: the constraint of what is behind them.
        """
        return TokenHealingConstraint(self, prefix, following)

    def within(self, prefix: bytes) -> list[int]:
        """The tokens that spell a beginning of some bytes, or all of them."""
        ends = range(1, min(len(prefix), self.longest) + 1)
        return [token for end in ends for token in self._tokens.get(prefix[:end], [])]

    def beyond(self, prefix: bytes) -> list[int]:
        """The tokens that begin with some bytes and are longer."""
        first = bisect_left(self._sorted, (prefix + b"\0", -1))
        found = []
        for spelled, token in self._sorted[first:]:
            if not spelled.startswith(prefix):
                break
            found.append(token)
        return found

    def allow(self, constraint: Constraint, texts: Sequence[bytes]) -> list[bool]:
        """Which bytes a constraint allows."""
        mask = constraint.allowed()
        found = []
        for spelled in texts:
            if tokens := self._tokens.get(spelled):  # most are one token, and need no copy
                found.append(mask is None or bool(mask[tokens[0]]))
            else:
                found.append(self.advance(constraint, spelled) is not None)
        return found

    def advance(self, constraint: Constraint, spelled: bytes) -> Constraint | None:
        """A constraint after some bytes, in the longest tokens that spell them; None: they are not
        allowed.
        """
        constraint = constraint.fork()
        while spelled:
            lengths = range(min(len(spelled), self.longest), 0, -1)
            known = (self._tokens[spelled[:n]][0] for n in lengths if spelled[:n] in self._tokens)
            token = next(known, None)
            if token is None or not self._allows(constraint, token):
                return None
            constraint.advance(token)
            spelled = spelled[len(self.table[token]) :]
        return constraint

    @staticmethod
    def _allows(constraint: Constraint, token: int) -> bool:
        try:
            mask = constraint.allowed()
        except WenmoError:
            return False
        return mask is None or bool(mask[token])


class TokenHealingConstraint:
    """A text that begins with some bytes, and goes on under another constraint.

    A token that reaches beyond the bytes is allowed if the other constraint allows what it has
    behind them.
    """

    def __init__(self, table: HealedPrefixes, prefix: bytes, following: Constraint | None) -> None:
        self._table, self._prefix, self._following = table, prefix, following
        self._mask: Tensor | None = None

    def allowed(self) -> Tensor | None:
        """The tokens that begin with what is left of the bytes, or spell a part of it."""
        if not self._prefix:
            return None if self._following is None else self._following.allowed()
        if self._mask is None:
            self._mask = torch.zeros(len(self._table.table), dtype=torch.bool)
            self._mask[self._table.within(self._prefix)] = True
            self._mask[self._beyond()] = True
            self._mask[END] = False
        if not self._mask.any():
            raise WenmoError(f"no token begins with {self._prefix!r}: leave token healing out")
        return self._mask

    def forced(self) -> int | None:
        """The one token that is allowed, if it is the only one."""
        if self._prefix:
            return only_token(self.allowed())
        return None if self._following is None else self._following.forced()

    def advance(self, token: int) -> None:
        """Append a token."""
        spelled = self._table.table[token]
        if not self._prefix:
            if self._following is not None:
                self._following.advance(token)
            return
        if self._following is not None and len(spelled) > len(self._prefix):
            self._following = self._table.advance(self._following, spelled[len(self._prefix) :])
        self._prefix, self._mask = self._prefix[len(spelled) :], None

    def fork(self) -> TokenHealingConstraint:
        """An independent copy."""
        following = None if self._following is None else self._following.fork()
        copy = TokenHealingConstraint(self._table, self._prefix, following)
        copy._mask = self._mask
        return copy

    def _beyond(self) -> list[int]:
        """The tokens that reach beyond the bytes, with what the other constraint allows."""
        tokens = self._table.beyond(self._prefix)
        if self._following is None:
            return tokens
        rests = [self._table.table[token][len(self._prefix) :] for token in tokens]
        allowed = self._table.allow(self._following, rests)
        return [token for token, may_follow in zip(tokens, allowed, strict=True) if may_follow]
