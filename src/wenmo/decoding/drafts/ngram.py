"""The n-gram draft: what followed the last tokens in the training text."""

from __future__ import annotations

from collections.abc import Sequence

from wenmo.decoding.drafts.base import Proposal
from wenmo.decoding.engines.row import Row
from wenmo.decoding.noise import gumbel_of
from wenmo.models.followers import NgramTables
from wenmo.types import END

MAX_FOLLOWERS = 1024  # tokens among which one is chosen


class NgramDraft:
    """Chooses each token among those that followed its context, with the noise of the request.

    The noise of a position is the same for the draft and for the model. So a proposal is accepted
    more often than two independent draws would agree: Daliri, Musco & Suresh (2024), *Coupling
    without Communication and Drafter-Invariant Speculative Decoding*, algorithm 2 (Gumbel
    sampling).
    """

    name = "ngram"

    def __init__(self, tables: NgramTables) -> None:
        self._tables = tables

    def propose(self, rows: Sequence[Row], count: int) -> list[Proposal]:
        """See `Draft.propose`; ``evidence`` is the order of the longest n-gram of the first."""
        return [self._propose(row, count) for row in rows]

    def _propose(self, row: Row, count: int) -> Proposal:
        context, tokens = row.ids[-self._tables.order :], []
        sampling, evidence = row.task.request.sampling, 0
        for position in range(row.written, row.written + count):
            found = self._tables.followers(context, MAX_FOLLOWERS)
            if not found.order:
                break
            evidence = evidence or found.order
            scores = found.logprobs
            if not sampling.greedy:
                noise = gumbel_of(sampling.seed, position, found.tokens)
                scores = scores / max(sampling.temperature, 1e-6) + noise
            token = int(found.tokens[scores.argmax()])
            if token == END:
                break
            tokens.append(token)
            context.append(token)
        return Proposal(tokens, evidence)
