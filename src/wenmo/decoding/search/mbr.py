"""Minimum Bayes risk: of many samples, the text that agrees best with the others.

Eikema & Aziz (2022), *Sampling-Based Approximations to Minimum Bayes Risk Decoding for Neural
Machine Translation*, section 3: with samples y₁ … yₙ of the model, the expected utility of a
candidate h is estimated by (1/n) Σᵢ u(h, yᵢ); the samples are the candidates, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

Utility: TypeAlias = Callable[[str, str], float]
"""``utility(candidate, reference)``: how good a candidate is if the reference is right; larger is
better."""


def expected_utilities(samples: Sequence[str], utility: Utility) -> dict[str, float]:
    """The expected utility of each different sample, best first; of equal ones, the earlier first.

    Args:
        samples: independent samples of the model, at least one.
    """
    counts = Counter(samples)
    expected = {
        candidate: sum(count * utility(candidate, each) for each, count in counts.items())
        / len(samples)
        for candidate in counts
    }
    return dict(sorted(expected.items(), key=lambda each: -each[1]))
