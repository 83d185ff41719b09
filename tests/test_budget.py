"""The time budget, with a simulated clock."""

import numpy as np
import pytest

from wenmo import budget
from wenmo.budget import TimeBudget, enough_minutes, fit_count


@pytest.fixture
def clock(monkeypatch):
    """A clock that is advanced by calls."""
    now = [100.0]
    monkeypatch.setattr(budget.time, "perf_counter", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


@pytest.mark.parametrize("ready", [0.0, 5.0, 25.0])
def test_evaluations_take_at_most_a_tenth_each(clock, ready):
    budget_ = TimeBudget(60.0, 100.0)
    clock(ready)
    budget_.allocate()
    assert budget_.evaluations == budget_.final
    assert 0.04 * 60 <= budget_.evaluations <= 0.1 * 60
    if ready + 0.08 * 60 < 0.22 * 60:
        assert ready + budget_.evaluations + budget_.final <= 0.22 * 60 + 1e-9


def test_time_of_earlier_processes_counts(clock):
    budget_ = TimeBudget(60.0, 100.0, used_before=50.0)
    clock(4.0)
    assert budget_.remaining() == pytest.approx(6.0)
    clock(40.0)
    assert budget_.remaining() == 0


@pytest.mark.parametrize(("seconds", "expected"), [(1000.0, 500), (10.0, 80), (0.5, 4), (0.0, 4)])
def test_fit_count(clock, seconds, expected):
    done = []

    def run(count):
        done.append(count)
        clock(0.1 * count)

    assert fit_count(run, 4, 500, seconds) == pytest.approx(expected, abs=1)
    assert 0.1 * sum(done) <= max(0.4, 0.3 * seconds)


def test_fit_count_of_items_that_take_no_time(clock):
    assert fit_count(lambda count: None, 4, 500, 1.0) == 500
    assert fit_count(lambda count: None, 4, 2, 1.0) == 2
    assert np.isfinite(fit_count(lambda count: None, 1, 1, 0.0))


def test_enough_minutes():
    assert enough_minutes(0.33, current_minutes=0.2) == 1.5  # 88 seconds
    assert enough_minutes(0.01, current_minutes=0.75) == 1.5
    assert enough_minutes(60.0, current_minutes=1.0) == 270
    assert enough_minutes(1.0, current_minutes=1.0, other_seconds=600.0) == 15


def test_fit_count_with_quadratic_time(clock):
    taken = []

    def run(count):
        taken.append(0.001 * count**2)
        clock(taken[-1])

    found = fit_count(run, 4, 500, 10.0, power=2)
    assert 50 < found <= 100  # 10 seconds are for 100
    assert sum(taken) < 10.0
