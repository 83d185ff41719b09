"""The training loop: steps, evaluations, samples, checkpoints, resuming and rolling back.

The loop owns time; the learner owns one batch. What happens next is decided in `decisions`, and the
loop carries it out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Literal

from wenmo.budget import ENOUGH_STEPS, enough_minutes
from wenmo.train_config import TrainConfig
from wenmo.training.average import Average
from wenmo.training.checkpoints import Checkpoints
from wenmo.training.decisions import Controller, Decision, Divergence
from wenmo.training.learners import Learner, StepMetrics
from wenmo.training.schedules import factor
from wenmo.training.state import TrainState
from wenmo.training.stop import Interrupted, StopRequest, stop_on_signals
from wenmo.types import WenmoError, amount

MAX_ROLLBACKS = 3
ROLLBACK_LR_FACTOR = 0.5
RESTART_LR_FACTOR = 0.5  # a restarted schedule rises to this share of the peak learning rate


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in training, for progress displays and logs.

    Attributes:
        kind: what happened.
        state: the training state; the object changes as training goes on.
        progress: share of the budget that is used, 0 to 1.
        metrics: of the last step.
        figures: of an evaluation: ``nats_per_token``, ``bits_per_byte`` and so on.
        text: a sample, or a note for the user.
        seconds_left: of a step or an evaluation, seconds until the end; None: unknown yet.
    """

    kind: Literal["step", "evaluation", "sample", "checkpoint", "note"]
    state: TrainState
    progress: float
    metrics: StepMetrics | None = None
    figures: dict[str, float] = field(default_factory=dict)
    text: str = ""
    seconds_left: float | None = None


@dataclass
class Trainer:
    """One training.

    Attributes:
        learner: takes the steps.
        config: the settings.
        checkpoints: where checkpoints are kept.
        evaluate: scores held-out text; gives ``nats_per_token`` and other figures.
        sample: writes a short text with the current weights.
        keep_best: saves the weights; called when an evaluation is the best so far, or at each
            evaluation, where the learner keeps the last.
        report: called with every event.
        prepare: called before every step with the share of the budget that is used, and the number
            of the step.
        reserve: with ``minutes``, seconds that are kept for what follows the last step.
        saves: checkpoints are kept; a training that is stopped on request is saved in any case.
        stop: the request to stop, which other threads may make.
    """

    learner: Learner
    config: TrainConfig
    checkpoints: Checkpoints
    evaluate: Callable[[], dict[str, float]]
    sample: Callable[[], str]
    keep_best: Callable[[], None]
    report: Callable[[Event], None]
    prepare: Callable[[float, int], None] = lambda progress, step: None
    state: TrainState = field(default_factory=TrainState)
    reserve: float = 0.0
    saves: bool = True
    stop: StopRequest = field(default_factory=StopRequest)

    def __post_init__(self) -> None:
        self.controller = Controller(
            self.config, self.learner.steps, self.learner.keeps, self.reserve, self.saves
        )
        self._average = Average(self.learner.model)
        self._clock = time.perf_counter()
        self._saved_seconds = 0.0  # `state.seconds` at the last checkpoint
        self._late = False  # the time was used up before the first step

    def restart_schedule(self) -> None:
        """Start a new learning-rate schedule where an earlier one ended."""
        self.state.restart_schedule()
        self._average = Average(self.learner.model)

    def resume(self) -> bool:
        """Continue from the newest undamaged checkpoint; false where there is none."""
        checkpoint = self.checkpoints.load()
        if checkpoint is None:
            return False
        self.learner.restore(checkpoint.tensors)
        self.state = TrainState.from_dict(checkpoint.figures)
        self._average.restore(checkpoint.tensors, self.state.averaged_count)
        return True

    def run(self) -> TrainState:
        """Train to the end of the budget.

        Raises:
            Interrupted: a stop was requested; a checkpoint was saved first.
            WenmoError: the loss diverged more often than rolling back could help.
        """
        self._clock = time.perf_counter()
        if self.state.step == 0 and self.saves:
            self._save()
        self._saved_seconds = self.state.seconds
        with stop_on_signals(self.stop):
            decision = self._decide()
            self._late = decision.stop is None and decision.progress >= 1
            if self._late:
                self._note("getting ready took all the time: one step is made all the same")
            while decision.stop is None:
                if decision.save:
                    self._save()
                self._step(decision.progress)
                decision = self._decide()
        if decision.save:
            self._save()
        if decision.stop == "requested":
            raise Interrupted(self.state.step)
        self._lap()
        if self._late and self.config.minutes is not None:
            self._note(self._enough_minutes_note(self.config.minutes))
        return self.state

    def _decide(self) -> Decision:
        self._lap()
        return self.controller.before_step(
            self.state,
            since_save=self.state.seconds - self._saved_seconds,
            stop_requested=self.stop.is_requested,
        )

    def _step(self, progress: float) -> None:
        """Take a step and carry out what follows it: a rollback, or an evaluation if it is due."""
        state = self.state
        self.prepare(progress, state.step)
        self._lap()
        metrics = self.learner.learn(state.step, self._lr_factor(progress) * state.lr_scale)
        state.count_step(metrics.tokens, self._lap())
        if math.isfinite(metrics.loss):
            state.track_loss(metrics.loss)
        decision = self.controller.after_step(state, metrics, progress)
        if decision.roll_back is not None:
            self._roll_back(decision.roll_back)
            return
        if self.config.weight_averaging and progress >= 1 - self.config.weight_averaging:
            self._average.update()
            state.averaged_count = self._average.count
        left = self.controller.seconds_left(state)
        self.report(Event("step", state, decision.progress, metrics, seconds_left=left))
        if decision.evaluate:
            self._evaluate(metrics, decision.progress)

    def _lr_factor(self, progress: float) -> float:
        """The learning rate as a share of its peak."""
        c, is_restarted = self.config, self.state.restarts > 0
        share = progress if is_restarted else self.learner.schedule_progress(progress)
        if self._late:  # at the end of the schedule a learning rate of 0 would train nothing
            share = c.warmup_ratio
        rate = factor(
            c.schedule, share, warmup=c.warmup_ratio, decay=c.decay_ratio, floor=c.min_lr_ratio
        )
        return RESTART_LR_FACTOR * rate if is_restarted else rate

    def _evaluate(self, metrics: StepMetrics, progress: float) -> None:
        """Evaluate on held-out text, keep the weights if they are the best, and write a sample."""
        state, started = self.state, self.state.seconds
        with self._average.in_use():
            figures = self.evaluate()
            self._keep_best(figures["nats_per_token"], progress)
            self._lap()
            now, left = self._progress(), self.controller.seconds_left(state)
            self.report(Event("evaluation", state, now, metrics, figures, seconds_left=left))
            self.report(Event("sample", state, now, metrics, text=self.sample()))
            if state.stopped_early:
                self._note(self._early_stopping_note())
        self._lap()
        state.evaluation_seconds_total += state.seconds - started

    def _keep_best(self, nats: float, progress: float) -> None:
        state = self.state
        if self.controller.is_best(state, nats):
            state.best_nats, state.best_step, state.since_best = nats, state.step, 0
            self.keep_best()
        elif self.controller.speaks_for_stopping(state, nats, progress):
            state.since_best += 1
        state.stopped_early = self.controller.is_out_of_patience(state)

    def _roll_back(self, divergence: Divergence) -> None:
        """Return to the last checkpoint with a lower learning rate.

        Raises:
            WenmoError: there were too many rollbacks already, or no checkpoint is left.
        """
        diverged = self.state
        step = diverged.step - 1
        if diverged.rollbacks == MAX_ROLLBACKS:
            raise WenmoError(
                f"the loss {divergence} at step {step} again, after {MAX_ROLLBACKS} rollbacks: try "
                f"a smaller learning_rate= (it began with {self.config.optimizer}'s), a smaller "
                "max_grad_norm= or precision=float32"
            )
        if not self.resume():
            raise WenmoError(f"the loss {divergence} at step {step}, and no checkpoint is left")
        self.state.roll_back_from(diverged, ROLLBACK_LR_FACTOR)
        self._save()
        self._note(
            f"the loss {divergence} at step {step}: back to step {self.state.step} with "
            f"{self.state.lr_scale:g} times the learning rate"
        )

    def _save(self) -> None:
        tensors = chain(self.learner.tensors(), self._average.tensors())
        self.checkpoints.save(self.state.step, tensors, asdict(self.state))
        self._lap()
        self._saved_seconds = self.state.seconds
        self.report(Event("checkpoint", self.state, self._progress()))

    def _lap(self) -> float:
        """Add the seconds since the last call to the state, and return them. The clock of training
        is read here alone.
        """
        now = time.perf_counter()
        elapsed, self._clock = now - self._clock, now
        self.state.seconds += elapsed
        return elapsed

    def _progress(self) -> float:
        return self.controller.progress(self.state)

    def _note(self, text: str) -> None:
        self.report(Event("note", self.state, self._progress(), text=text))

    def _early_stopping_note(self) -> str:
        state, minutes = self.state, self.config.minutes
        note = (
            f"stopped early: {amount(state.since_best, 'evaluation')} found the held-out text "
            f"less likely than that at step {state.best_step:,}, whose weights are kept"
        )
        if minutes is None:
            return note
        left = max(0.0, 60 * minutes - self.reserve - state.seconds)
        return f"{note}; {left:.0f} s of {60 * minutes:.0f} s are not needed"

    def _enough_minutes_note(self, minutes: float) -> str:
        """How many minutes the run needs, where there was time for a single step."""
        took, used = self.state.step_seconds, self.state.seconds + self.reserve
        enough = enough_minutes(took, current_minutes=minutes, other_seconds=used)
        return f"a step takes {took:.2g} s: --minutes {enough:g} is enough for {ENOUGH_STEPS} steps"
