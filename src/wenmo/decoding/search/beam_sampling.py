"""Beam sampling: a beam whose candidates are drawn, not the best ones.

At each step 2·width of the live texts' children are drawn without replacement, each with
probability proportional to that of the text so far; END is a token like any other. Then the search
goes on with those drawn as `wenmo.decoding.search.early_stopping` does: of the best ``width``,
those that end are finished, and the best ``width`` others continue. It is `transformers`'
multinomial beam search, without its temperature for totals: probabilities are those after the
logits processors, normalised again at each step.

A child is drawn by Gumbel noise that is a function of the seed, its text and its token: the 2·width
children with the largest log-probability plus noise are a sample without replacement (Kool, van
Hoof & Welling 2019, *Stochastic Beams and Where to Find Them*, section 2.3).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from wenmo.decoding.search.base import Candidates
from wenmo.decoding.search.beam import Child, Group
from wenmo.decoding.search.early_stopping import EarlyStoppingBeamSearch

DRAWN = 2
"""Children that are drawn at a step, for each text of the width; at most half of them are END."""


class SampledBeamSearch(EarlyStoppingBeamSearch):
    """The beam of one request of ``method=beam-sample``."""

    def _ranked(
        self, group: Group, candidates_of: Sequence[Candidates], chosen: Counter[int]
    ) -> list[Child]:
        """The children that are drawn, the best total first."""
        perturbed = [
            (-(self._texts[row].total + value), row, index)
            for row in group.live
            for index, value in enumerate(candidates_of[row].perturbed)
        ]
        drawn = sorted(perturbed)[: DRAWN * group.width]
        children = [self._child(row, index, candidates_of) for _, row, index in drawn]
        possible = [child for child in children if child.text.total > -math.inf]
        return sorted(possible, key=lambda child: -child.text.total)
