import pytest
from hypothesis import given
from hypothesis import strategies as st

from wenmo.training.schedules import factor

KINDS = ("constant", "cosine", "linear", "stable-decay")
shares = st.floats(0, 1)


@pytest.mark.parametrize("kind", KINDS)
@given(progress=shares, warmup=st.floats(0, 0.5), decay=st.floats(0.01, 1), floor=st.floats(0, 0.9))
def test_factor_stays_between_zero_and_one(kind, progress, warmup, decay, floor):
    assert 0 <= factor(kind, progress, warmup=warmup, decay=decay, floor=floor) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_rises_to_the_peak_and_ends_at_the_floor(kind):
    at = [factor(kind, p, warmup=0.1, decay=0.5, floor=0.2) for p in (0, 0.05, 0.1, 1)]
    assert 0 < at[0] < at[1] < at[2] == 1
    assert at[3] == pytest.approx(1 if kind == "constant" else 0.2)


def test_worked_by_hand():
    assert factor("cosine", 0.5, warmup=0, decay=1, floor=0) == pytest.approx(0.5)
    assert factor("linear", 0.25, warmup=0, decay=1, floor=0) == pytest.approx(0.75)
    assert factor("stable-decay", 0.5, warmup=0, decay=0.4, floor=0) == 1
    assert factor("stable-decay", 0.8, warmup=0, decay=0.4, floor=0) == pytest.approx(0.5)
