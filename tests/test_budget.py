"""How minutes are divided, with clocks made by hand."""

import numpy as np
import pytest

from wenmo import budget
from wenmo.budget import TimeBudget, enough_minutes, how_many


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when it is told to."""
    now = [100.0]
    monkeypatch.setattr(budget.time, "perf_counter", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


@pytest.mark.parametrize("ready", [0.0, 5.0, 25.0])
def test_evaluations_never_take_more_than_a_tenth_each(clock, ready):
    time = TimeBudget(60.0, 100.0)
    clock(ready)
    time.divide()
    assert time.evaluations == time.final
    assert 0.04 * 60 <= time.evaluations <= 0.1 * 60
    if ready + 0.08 * 60 < 0.22 * 60:
        assert ready + time.evaluations + time.final <= 0.22 * 60 + 1e-9


def test_what_earlier_processes_used_counts(clock):
    time = TimeBudget(60.0, 100.0, used_before=50.0)
    clock(4.0)
    assert time.left() == pytest.approx(6.0)
    clock(40.0)
    assert time.left() == 0


@pytest.mark.parametrize(("seconds", "expected"), [(1000.0, 500), (10.0, 80), (0.5, 4), (0.0, 4)])
def test_how_many_fit_is_found_by_trials(clock, seconds, expected):
    done = []

    def run(count):
        done.append(count)
        clock(0.1 * count)

    assert how_many(run, 4, 500, seconds) == pytest.approx(expected, abs=1)
    assert 0.1 * sum(done) <= max(0.4, 0.3 * seconds)


def test_an_item_that_takes_no_time_fits_as_often_as_is_asked(clock):
    assert how_many(lambda count: None, 4, 500, 1.0) == 500
    assert how_many(lambda count: None, 4, 2, 1.0) == 2
    assert np.isfinite(how_many(lambda count: None, 1, 1, 0.0))


def test_enough_minutes_are_rounded_up_and_twice_what_was_given_at_least():
    assert enough_minutes(0.33, given=0.2) == 1.5  # 88 seconds
    assert enough_minutes(0.01, given=0.75) == 1.5
    assert enough_minutes(60.0, given=1.0) == 270
    assert enough_minutes(1.0, given=1.0, besides=600.0) == 15


def test_time_that_grows_with_the_square_is_not_exceeded(clock):
    taken = []

    def run(count):
        taken.append(0.001 * count**2)
        clock(taken[-1])

    found = how_many(run, 4, 500, 10.0, power=2)
    assert 50 < found <= 100  # 10 seconds are for 100
    assert sum(taken) < 10.0
