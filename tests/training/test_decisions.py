"""What the loop does next, for training states written by hand."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest

from wenmo.train_config import TrainConfig
from wenmo.training.decisions import Controller, Decision
from wenmo.training.learners import StepMetrics
from wenmo.training.state import FORMER_NAMES, TrainState

STEPS = TrainConfig(steps=100, eval_count=5, checkpoint_seconds=30, patience=2)
MINUTES = replace(STEPS, steps=None, minutes=2.0)


def metrics(loss: float = 1.0) -> StepMetrics:
    return StepMetrics(loss, tokens=10, lr_factor=1.0, extra={})


def next_(
    controller: Controller, state: TrainState, since_save: float = 0.0, *, stop: bool = False
) -> Decision:
    return controller.before_step(state, since_save=since_save, stop_requested=stop)


@pytest.mark.parametrize(
    ("step", "evaluate"), [(1, False), (19, False), (20, True), (21, False), (100, True)]
)
def test_evaluations_are_spread_over_the_steps(step: int, evaluate: bool) -> None:
    state = TrainState(step=step, best_step=1)
    decision = Controller(STEPS).after_step(state, metrics(), (step - 1) / 100)
    assert decision == Decision(step / 100, evaluate=evaluate)


@pytest.mark.parametrize(
    ("before", "seconds", "evaluate"), [(0.19, 23, False), (0.19, 25, True), (0.21, 30, False)]
)
def test_and_over_the_minutes(before: float, seconds: float, evaluate: bool) -> None:
    state = TrainState(step=9, seconds=seconds, best_step=1)
    assert Controller(MINUTES).after_step(state, metrics(), before).evaluate == evaluate


def test_a_last_step_is_evaluated_where_no_other_was() -> None:
    late = replace(MINUTES, eval_count=1)
    state = TrainState(step=2, seconds=121)
    assert Controller(late).after_step(state, metrics(), 1.0).evaluate
    state.best_step = 1
    assert not Controller(late).after_step(state, metrics(), 1.0).evaluate
    state.start_step = 1  # a restarted schedule, late from the first step on
    assert Controller(late).after_step(state, metrics(), 1.0).evaluate


@pytest.mark.parametrize(
    ("loss", "smoothed", "divergence"),
    [
        (1.0, 1.0, None),
        (9.0, 2.4, None),
        (9.0, 2.6, "jumped"),  # the best is 1: more than 2.5
        (math.nan, 1.0, "is not finite"),
        (math.inf, None, "is not finite"),
    ],
)
def test_a_loss_that_diverges_is_rolled_back(
    loss: float, smoothed: float | None, divergence: str | None
) -> None:
    state = TrainState(step=20, smoothed_loss=smoothed, best_loss=1.0)
    decision = Controller(STEPS).after_step(state, metrics(loss), 0.19)
    assert (decision.roll_back, decision.evaluate) == (divergence, divergence is None)


def test_a_learner_without_a_loss_never_diverges() -> None:
    decision = Controller(STEPS, fixed_steps=1).after_step(TrainState(step=1), metrics(math.nan), 0)
    assert decision == Decision(1.0, evaluate=True)


@pytest.mark.parametrize(("since", "save"), [(29.0, False), (30.0, True)])
def test_checkpoints_are_saved_by_the_clock(since: float, save: bool) -> None:
    assert next_(Controller(STEPS), TrainState(step=7), since) == Decision(0.07, save=save)
    assert next_(Controller(STEPS, saves=False), TrainState(step=7), since) == Decision(0.07)


@pytest.mark.parametrize("saves", [True, False])
def test_a_requested_stop_is_saved_in_any_case(saves: bool) -> None:
    controller = Controller(STEPS, saves=saves)
    expected = Decision(0.07, save=True, stop="requested")
    assert next_(controller, TrainState(step=7), stop=True) == expected
    finished = Decision(1.0, save=saves, stop="finished")  # nothing is left to interrupt
    assert next_(controller, TrainState(step=100), stop=True) == finished


def test_training_ends_with_its_steps_or_its_patience() -> None:
    controller = Controller(STEPS)
    assert next_(controller, TrainState(step=99)).stop is None
    assert next_(controller, TrainState(step=100)).stop == "finished"
    assert next_(controller, TrainState(step=7, stopped_early=True)).stop == "finished"
    assert next_(Controller(STEPS, fixed_steps=1), TrainState(step=1)).stop == "finished"


def test_a_step_that_would_end_too_late_is_not_taken_but_the_first_always_is() -> None:
    controller = Controller(MINUTES, reserve=20.0)  # steps end after 100 seconds
    state = TrainState(step=3, seconds=90.0, step_seconds=19.0)
    assert next_(controller, state).stop is None
    assert next_(controller, replace(state, step_seconds=20.0)).stop == "finished"
    assert next_(controller, replace(state, step_seconds=20.0, start_step=3)).stop is None
    assert next_(controller, TrainState(seconds=500.0)) == Decision(1.0)


def test_the_clock_changes_nothing_where_training_is_by_steps() -> None:
    controller, state = Controller(STEPS), TrainState(step=20, best_step=1)
    for seconds in (0.0, 1e6):
        state.seconds = state.step_seconds = seconds
        assert controller.after_step(state, metrics(), 0.19) == Decision(0.2, evaluate=True)
        assert next_(controller, state) == Decision(0.2)


def test_a_restarted_schedule_counts_from_its_start() -> None:
    state = TrainState(step=60, start_step=50, start_seconds=60.0, seconds=90.0)
    assert Controller(STEPS).progress(state) == 0.2
    assert Controller(MINUTES).progress(state) == 0.5


@pytest.mark.parametrize(
    ("schedule", "restarts", "progress", "nats", "speaks"),
    [
        ("cosine", 0, 0.4, 2.0, False),  # in the first half
        ("cosine", 0, 0.6, 1.004, False),  # a plateau
        ("cosine", 0, 0.6, 1.006, True),
        ("constant", 0, 0.4, 1.0, True),
        ("constant", 1, 0.4, 1.0, False),
    ],
)
def test_what_speaks_for_stopping(
    schedule: str, restarts: int, progress: float, nats: float, speaks: bool
) -> None:
    controller = Controller(replace(STEPS, schedule=schedule))  # type: ignore[arg-type]
    state = TrainState(best_nats=1.0, best_step=1, restarts=restarts)
    assert controller.speaks_for_stopping(state, nats, progress) == speaks


def test_patience() -> None:
    state = TrainState(since_best=2)
    patient = (replace(STEPS, patience=patience) for patience in (None, 0, 1, 2, 3))
    verdicts = [Controller(config).is_out_of_patience(state) for config in patient]
    assert verdicts == [False, False, True, True, False]


def test_the_best_weights_are_kept_or_always_the_last() -> None:
    state, first = TrainState(best_nats=1.0, best_step=3), TrainState()
    best, last = Controller(STEPS), Controller(STEPS, keeps="last")
    assert [best.is_best(state, nats) for nats in (0.9, 1.0, 1.1)] == [True, False, False]
    assert last.is_best(state, 1.1)
    assert best.is_best(first, math.inf)  # held-out text may be impossible for a model


def test_a_state_of_an_earlier_version_is_read() -> None:
    state = TrainState(step=4, restarts=1, start_step=2, lr_scale=0.5, averaged_count=3)
    former = {now: before for before, now in FORMER_NAMES.items()}
    old = {former.get(name, name): value for name, value in asdict(state).items()}
    assert {"begun", "rate_scale", "learning"} <= old.keys()
    assert TrainState.from_dict(old) == TrainState.from_dict(asdict(state)) == state
