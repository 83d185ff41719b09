"""Evenly spread, nested samples."""

import numpy as np
import pytest

from wenmo.text.spread import PIECE, spread_order, spread_pieces, spread_sample
from wenmo.types import END


@pytest.mark.parametrize("count", [0, 1, 2, 7, 144, 1000])
def test_order_is_a_permutation(count):
    assert sorted(spread_order(count).tolist()) == list(range(count))


@pytest.mark.parametrize("count", [89, 144, 1000, 1024])
@pytest.mark.parametrize("count_taken", [8, 20, 50])
def test_prefixes_are_spread_evenly(count, count_taken):
    order = spread_order(count)[:count_taken]
    gaps = np.diff(np.sort(order), prepend=-1, append=count)
    assert gaps.max() <= 3 * count / count_taken + 1
    assert (
        abs(int((order % 2).sum()) - count_taken / 2) <= 0.25 * count_taken
    )  # none of every second one


def test_samples_are_nested():
    lengths = np.random.default_rng(0).integers(1, 30, 500)
    small, large = (set(spread_sample(lengths, most).tolist()) for most in (300, 3000))
    assert small < large
    assert lengths[sorted(large)].sum() <= 3000
    assert spread_sample(lengths, 0).tolist() == [spread_order(500)[0]]


def test_pieces_are_spread_over_the_stream():
    ids = np.arange(100 * PIECE + 7)
    part = spread_pieces(ids, 10 * PIECE)
    assert len(part) == 10 * PIECE
    assert part[0] == part[-1] == END
    assert (np.diff(part[1:-1]) > 0).all()
    assert set(part // (25 * PIECE)) >= {0, 1, 2, 3}
    assert spread_pieces(ids, len(ids)) is ids
