"""The loop on a learner made by hand, so that every turn it takes can be foretold."""

import math
import os
import signal

import pytest
import torch

from wenmo.train_config import TrainConfig
from wenmo.training.checkpoints import Checkpoints
from wenmo.training.learners import StepMetrics
from wenmo.training.loop import Trainer
from wenmo.training.stop import Interrupted, StopRequest
from wenmo.types import WenmoError


class Script:
    """Adds its learning rate to one weight; its losses are read from a function."""

    steps, keeps = None, "best"

    def __init__(self, loss=lambda step, weight: 1.0, on_step=lambda step: None):
        self.model = torch.nn.ParameterDict({"weight": torch.zeros(1)})
        self.loss, self.on_step, self.rates = loss, on_step, []

    def schedule_progress(self, progress):
        return progress

    @property
    def weight(self):
        return self.model["weight"].detach()

    def learn(self, step, rate):
        self.on_step(step)
        self.rates.append(rate)
        self.weight.add_(rate)
        return StepMetrics(self.loss(step, float(self.weight)), 10, rate, {})

    def tensors(self):
        yield "weight", self.weight

    def restore(self, tensors):
        self.weight.copy_(tensors["weight"])


def trainer(folder, learner, scores=(), reserve=0.0, stop=None, **settings):
    settings = {"schedule": "constant", "warmup_ratio": 0.0, "checkpoint_seconds": 1e9, **settings}
    events, figures = [], iter(scores)
    made = Trainer(
        learner,
        TrainConfig(**settings),
        Checkpoints(folder, events.append),
        evaluate=lambda: {"nats_per_token": next(figures, 1.0), "bits_per_byte": 1.0},
        sample=lambda: "a sample",
        keep_best=lambda: events.append("best"),
        report=lambda event: events.append(event.kind),
        reserve=reserve,
        stop=stop or StopRequest(),
    )
    return made, events


def test_runs_to_the_end_of_its_steps(tmp_path):
    learner = Script()
    made, events = trainer(tmp_path, learner, steps=7)
    state = made.run()
    assert (state.step, state.tokens) == (7, 70)
    assert events.count("step") == 7


def test_runs_to_the_end_of_its_minutes(tmp_path):
    made, _ = trainer(tmp_path, Script(), minutes=0.005)
    assert made.run().seconds == pytest.approx(0.3, abs=0.25)


def test_the_time_left_never_exceeds_what_is_left_of_the_minutes(tmp_path):
    told = []
    made, _ = trainer(tmp_path, Script(), minutes=2.0)
    made.report = lambda event: told.append((event.state.seconds, event.seconds_left))
    made.state.seconds = made.state.start_seconds = 9.0  # start-up
    made._step(0.0)
    assert told
    assert all(left == pytest.approx(120 - used, abs=2) for used, left in told)
    made.state.seconds = 130.0
    assert made.controller.seconds_left(made.state) == 0


def test_the_time_left_of_steps_counts_no_start_up_and_is_not_told_after_very_few(tmp_path):
    made, _ = trainer(tmp_path, Script(), steps=100)
    made.state.start_seconds = made.state.seconds = 50.0
    made.state.step, made.state.seconds = 4, 54.0
    assert made.controller.seconds_left(made.state) is None
    made.state.step, made.state.seconds = 25, 75.0
    assert made.controller.seconds_left(made.state) == pytest.approx(75.0)


def test_evaluates_as_often_as_asked_and_keeps_the_best(tmp_path):
    made, events = trainer(tmp_path, Script(), [3, 2, 2.5, 1, 1], steps=10, eval_count=5)
    state = made.run()
    assert events.count("evaluation") == events.count("sample") == 5
    assert events.count("best") == 3
    assert (state.best_nats, state.best_step) == (1, 8)


def test_the_mean_of_the_last_weights_is_scored_and_kept(tmp_path):
    def stop(step):
        if step == 7:
            os.kill(os.getpid(), signal.SIGINT)

    for name, on_step in (("whole", lambda step: None), ("stopped", stop)):
        settings = {"steps": 10, "eval_count": 5, "weight_averaging": 0.4}
        learner = Script(on_step=on_step)
        made, _ = trainer(tmp_path / name, learner, **settings)
        if name == "stopped":
            with pytest.raises(Interrupted):
                made.run()
            learner = Script()
            made, _ = trainer(tmp_path / name, learner, **settings)
            assert made.resume()
        scored = []
        made.evaluate = lambda scored=scored, learner=learner: (
            scored.append(float(learner.weight)) or {"nats_per_token": 1.0}
        )
        made.run()
        # Each step adds one: the weights after the last four of ten are 7, 8, 9 and 10.
        assert scored[-1] == 8.5
        if name == "whole":
            assert scored == [2, 4, 6, 7.5, 8.5]
        assert float(learner.weight) == 10


def test_one_step_is_made_where_getting_ready_took_all_the_time(tmp_path):
    made, events = trainer(tmp_path, Script(), minutes=0.1, eval_count=3)
    made.state.seconds = 7.0
    state = made.run()
    assert (state.step, state.best_step) == (1, 1)
    assert events.count("best") == events.count("evaluation") == 1
    assert "note" in events


RISING = [2, 1, 1.004, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1]


@pytest.mark.parametrize(
    ("scores", "schedule", "step"),
    [
        (RISING, "cosine", 60),  # neither the first half nor a plateau is a reason
        (RISING, "constant", 40),
        ([2, 1, 1.1, 0.9, 1.1, 1.1, 1, 1, 1, 1], "cosine", 60),  # a better one begins anew
        ([1] * 10, "cosine", 100),
        ([10 - n for n in range(10)], "constant", 100),
    ],
)
def test_stops_early_when_nothing_is_gained(tmp_path, scores, schedule, step):
    settings = {"steps": 100, "eval_count": 10, "patience": 2, "schedule": schedule}
    made, events = trainer(tmp_path, Script(), scores, **settings)
    assert made.run().step == step
    assert events.count("note") == (step < 100)


@pytest.mark.parametrize("patience", [0, None])
def test_with_steps_nothing_stops_by_itself(tmp_path, patience):
    made, _ = trainer(tmp_path, Script(), RISING, steps=100, eval_count=10, patience=patience)
    assert made.run().step == 100


def test_goes_on_with_half_the_peak_rate_and_without_stopping_at_once(tmp_path):
    settings = {"eval_count": 4, "schedule": "cosine", "patience": 1}
    made, _ = trainer(tmp_path, Script(), [2, 1.5, 1.2, 1], steps=8, **settings)
    made.run()
    learner = Script()
    again, _ = trainer(tmp_path, learner, [3, 3, 3, 3], steps=16, **settings)
    assert again.resume()
    again.restart_schedule()
    state = again.run()
    # Half of the new schedule may be worse than the best before; then it is stopped.
    assert (state.step, state.best_step, state.restarts) == (12, 8, 1)
    assert max(learner.rates) == 0.5


def test_a_step_that_would_end_too_late_is_not_begun(tmp_path, monkeypatch):
    from wenmo.training import loop

    now = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])

    def long_step(step):
        now[0] += 20.0

    made, events = trainer(
        tmp_path, Script(on_step=long_step), minutes=1.5, eval_count=3, reserve=20.0
    )
    state = made.run()
    assert state.step == 3  # of 70 seconds; a fourth would end ten seconds late
    assert state.step_seconds_total == 60.0
    assert events.count("best") >= 1


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path):
    before = signal.getsignal(signal.SIGINT)

    def stop(step):
        if step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    made, _ = trainer(tmp_path, Script(on_step=stop), steps=9)
    with pytest.raises(Interrupted, match="saved at step 5"):
        made.run()
    learner = Script()
    again, _ = trainer(tmp_path, learner, steps=9)
    assert again.resume()
    assert again.run().step == 9
    assert float(learner.weight) == 9
    assert signal.getsignal(signal.SIGINT) is before


def test_a_loss_that_is_not_finite_rolls_back_with_a_smaller_rate(tmp_path):
    trouble = [math.nan]

    def loss(step, weight):
        return trouble.pop() if step == 3 and trouble else 1.0

    learner = Script(loss)
    made, events = trainer(tmp_path, learner, steps=5)
    state = made.run()
    assert (state.step, state.rollbacks, state.lr_scale) == (5, 1, 0.5)
    assert learner.rates == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert float(learner.weight) == 2.5
    assert events.count("note") == 1


def test_a_loss_that_jumps_rolls_back_too(tmp_path):
    learner = Script(lambda step, weight: 2.0 if weight < 30 else 9.0)
    made, _ = trainer(tmp_path, learner, steps=40)
    state = made.run()
    assert state.rollbacks == 1
    assert state.step == 40


def test_gives_up_after_three_rollbacks(tmp_path):
    made, _ = trainer(tmp_path, Script(lambda step, weight: math.inf if step == 2 else 1), steps=5)
    with pytest.raises(WenmoError, match="not finite at step 2 again, after 3 rollbacks"):
        made.run()


def test_a_rollback_is_kept_through_a_kill(tmp_path):
    losses = {3: math.nan}

    def die(step):
        if step == 2 and 3 not in losses:
            raise RuntimeError("killed")

    learner = Script(lambda step, weight: losses.pop(step, 1.0), die)
    made, _ = trainer(tmp_path, learner, steps=5)
    with pytest.raises(RuntimeError, match="killed"):
        made.run()
    again, _ = trainer(tmp_path, Script(), steps=5)
    again.resume()
    assert (again.state.rollbacks, again.state.lr_scale) == (1, 0.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 5, "minutes": 1}, "not both"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"minutes": math.nan}, "minutes must be a positive"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"warmup_ratio": 1}, "warmup"),
        ({"decay_ratio": 0}, "decay"),
        ({"max_grad_norm": -1}, "max_grad_norm"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**settings)


def test_a_run_that_goes_on_makes_a_step_however_late_it_is(tmp_path):
    learner = Script()
    made, events = trainer(tmp_path, learner, minutes=1.0, schedule="cosine", warmup_ratio=0.02)
    made.state.step = made.state.best_step = 3
    made.state.seconds = 61.0
    notes, report = [], made.report
    made.report = lambda event: (report(event), notes.append(event.text))
    made.restart_schedule()
    assert made.run().step == 4
    assert learner.rates[0] > 0
    assert events.count("evaluation") == 1
    said = [note for note in notes if "step" in note]
    assert said[0] == "getting ready took all the time: one step is made all the same"
    assert said[1].endswith("--minutes 2 is enough for 200 steps")
