"""Beam search with the stopping rules of `transformers`.

END competes with all other tokens: a text is finished only where it is among the best of its step,
as many as the beam is wide; the best other texts continue, as many as the beam is wide. When the
search ends depends on ``early_stopping``:

- ``true``: as soon as as many texts are finished as the beam is wide;
- ``false``: when the best live text, which then has as many finished texts beside it, has no better
  score than the worst of these, its own length counted;
- ``never``: as ``false``, with the largest length in place of its own where ``length_penalty``
  is above 0: the score that it would have if it cost nothing to reach ``max_tokens``.

The scores are those of `wenmo.decoding.search.beam`. There is no additional row for the greedy
text, and no text is dropped early, since its children take places of the width.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from wenmo.decoding.search.base import Candidates
from wenmo.decoding.search.beam import BeamSearch, Child, Group
from wenmo.types import END


class EarlyStoppingBeamSearch(BeamSearch):
    """The beam search of one request with ``early_stopping`` other than ``exact``."""

    def step(self, candidates_of: Sequence[Candidates]) -> list[tuple[int, int]]:
        """Take the candidates of each row; return each (row, token) that continues, if any does."""
        children: list[Child] = []
        chosen: Counter[int] = Counter()
        for group in self._groups:
            ranked = self._ranked(group, candidates_of, chosen)
            for child in ranked[: group.width]:
                if child.token == END or len(child.text.tokens) == self._limit:
                    candidates = candidates_of[child.row]
                    group.keep(self._hypothesis(child.text, candidates, child.missing))
            live = [child for child in ranked if child.token != END][: group.width]
            chosen.update(child.token for child in live)
            if not live or self._is_over(group, live[0]):
                live = []
            group.live = range(len(children), len(children) + len(live))
            children += live
        self._texts = [child.text for child in children]
        return [(child.row, child.token) for child in children]

    def _ranked(
        self, group: Group, candidates_of: Sequence[Candidates], chosen: Counter[int]
    ) -> list[Child]:
        """The best children of the group, END's too, best first."""
        children = self._children(group, candidates_of, chosen)
        costs = [self._sampling.diversity_penalty * chosen[child.token] for child in children]
        for row in group.live:
            gain, logprob = candidates_of[row].end
            if gain > -math.inf:
                children.append(Child(row, END, self._texts[row].then(END, gain, logprob)))
                costs.append(0.0)
        order = sorted(range(len(children)), key=lambda i: costs[i] - children[i].text.total)
        return [children[index] for index in order]

    def _is_over(self, group: Group, best: Child) -> bool:
        """Whether the group ends, whose best live text is given."""
        length = len(best.text.tokens)
        if length == self._limit:
            return True
        if len(group.finished) < group.width or group.finished[-1].missing:
            return False
        rule, worst = self._sampling.early_stopping, group.finished[-1].score
        if rule == "exact":
            return self._best_possible_score(best.text) <= worst
        if rule == "never" and self._sampling.length_penalty > 0:
            length = self._limit
        return rule == "true" or best.text.total / self._length_penalty(length) <= worst
