"""Lexically constrained beams: the places of a beam are shared out by what its texts have still to
meet.

Hokamp & Liu (2017), *Lexically Constrained Decoding for Sequence Generation Using Grid Beam
Search*, keep a beam for each number of constraint tokens that are met; Post & Vilar (2018), *Fast
Lexically Constrained Decoding with Dynamic Beam Allocation*, share one beam out to such banks. Here
the banks choose in turn, each its best text that is left, those first that have come furthest, as
Hu et al. (2019), *Improved Lexically Constrained Decoding*, section 3.1, do by sorting: what a bank
does not use falls to the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def share_out(ranked: Sequence[T], missing: Sequence[int]) -> list[T]:
    """The order in which banks choose.

    Args:
        ranked: the candidates, best first.
        missing: how much each has still to meet, which is its bank.
    """
    places: Counter[int] = Counter()
    keys = []
    for bank in missing:
        keys.append((places[bank], bank))
        places[bank] += 1
    return [ranked[index] for index in sorted(range(len(ranked)), key=keys.__getitem__)]
