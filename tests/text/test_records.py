"""Records as units: none lost, none truncated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.text.pairs import Buckets
from wenmo.text.records import Records
from wenmo.types import END, IGNORE, WenmoError

records_ = st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=12)


def flat(records: list[list[int]]) -> np.ndarray:
    return np.array([END, *(id_ for record in records for id_ in [*record, END])], np.uint16)


@settings(deadline=None)
@given(records=records_, context=st.one_of(st.none(), st.integers(1, 8)), seed=st.integers(0, 3))
def test_epoch_visits_each_fitting_record_once(
    records: list[list[int]], context: int | None, seed: int
) -> None:
    whole = Records(flat(records), context)
    fitting = [record for record in records if context is None or len(record) < context]
    assert [whole.record(n).tolist() for n in range(len(whole))] == fitting
    assert whole.skipped == len(records) - len(fitting)
    assert whole.stream().tolist() == flat(fitting).tolist()
    if not fitting:
        with pytest.raises(WenmoError, match="longer than the model's context"):
            Buckets(whole, 20, seed)
        return
    buckets = Buckets(whole, 20, seed)
    met = []
    for batch in (buckets[number] for number in range(buckets.per_epoch)):
        assert batch.positions is not None
        assert batch.source is None
        assert batch.tokens.numel() <= max(20, batch.tokens.shape[1])
        for tokens, targets, places in zip(
            batch.tokens, batch.targets, batch.positions, strict=True
        ):
            asked = targets[targets != IGNORE].tolist()
            assert asked[-1] == END
            assert tokens[: len(asked)].tolist() == [END, *asked[:-1]]
            stands = whole.stream()[places[: len(asked)].numpy() + 1].tolist()
            assert stands == asked  # what the counts of the stream are asked at
            met.append(asked[:-1])
    assert sorted(met) == sorted(fitting)


def test_samples_are_bounded_and_nested() -> None:
    whole = Records(flat([[1, 2], [3], [], [4, 5, 6]]))  # 3, 2, 1 and 4 tokens
    sizes = [len(whole.sample(tokens).stream()) - 1 for tokens in range(1, 12)]
    assert all(size <= tokens for tokens, size in enumerate(sizes, 1) if tokens > 3)
    assert sizes == sorted(sizes)
    assert sizes[-1] == 10
    assert len(whole) == 4
