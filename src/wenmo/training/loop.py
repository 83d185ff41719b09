"""The one training loop: steps, evaluation, samples, saving, resuming, rolling back.

It owns time. What a step does is the learner's; how to evaluate and to sample is handed in.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from types import FrameType
from typing import Any, Literal

from wenmo.budget import ENOUGH_STEPS, enough_minutes
from wenmo.train_config import TrainConfig
from wenmo.training.average import Average
from wenmo.training.checkpoints import Checkpoint, Checkpoints
from wenmo.training.learners import Learner, StepMetrics
from wenmo.training.schedules import factor
from wenmo.types import WenmoError, amount

MAX_ROLLBACKS = 3
REWARMED = 0.5  # of the peak rate is what the rate rises to again, where a finished run goes on
ROLLBACK_RATE = 0.5  # how much smaller the learning rate is after a rollback
JUMP_NATS = 1.0  # a smoothed loss this far, and half again, above the best one has diverged
WORSE = 1.005  # times the best nats per token: less is noise, or a plateau
SMOOTHING = 0.9
FEWEST_STEPS = 5  # from which the time that is left is reckoned
STEP_SMOOTHING = 0.2  # of the seconds that a step takes


@dataclass
class TrainState:
    """Where training stands: all of it goes into a checkpoint.

    Attributes:
        seconds: the wall-clock time that is used, start-up included.
        begun: how often a schedule of learning rates has begun anew.
        begun_step, begun_seconds: where the present one began.
        learning, evaluating: the seconds that steps, and evaluations with their samples, took.
    """

    step: int = 0
    seconds: float = 0.0
    begun: int = 0
    begun_step: int = 0
    begun_seconds: float = 0.0
    learning: float = 0.0
    evaluating: float = 0.0
    tokens: int = 0
    smoothed_loss: float | None = None
    best_loss: float = math.inf
    best_nats: float = math.inf
    best_step: int = 0
    since_best: int = 0
    rollbacks: int = 0
    rate_scale: float = 1.0
    averaged: int = 0
    stopped_early: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """Something a watcher may want to show or keep.

    Attributes:
        kind: what happened.
        position: where training stood.
        progress: how much of the budget is used, 0 to 1.
        learned: of the last step.
        figures: of an evaluation: ``nats_per_token``, ``bits_per_byte`` and so on.
        text: a sample, or a note for the user.
        seconds_left: of a step or an evaluation, the time until the end; None: unknown yet.
    """

    kind: Literal["step", "evaluation", "sample", "checkpoint", "note"]
    position: TrainState
    progress: float
    learned: StepMetrics | None = None
    figures: dict[str, float] = field(default_factory=dict)
    text: str = ""
    seconds_left: float | None = None


class Interrupted(Exception):  # noqa: N818 - it is no error
    """The user stopped training; everything is saved. ``step`` is where."""

    def __init__(self, step: int) -> None:
        super().__init__(f"saved at step {step:,}; the same command goes on from there")
        self.step = step


@dataclass
class Trainer:
    """One training run.

    Attributes:
        learner: what learns.
        config: how.
        checkpoints: where to keep checkpoints.
        evaluate: scores held-out text; must give ``nats_per_token``.
        sample: writes a short text with the model as it is.
        keep_best: called whenever an evaluation is the best so far, or whenever there is one, where
            the learner keeps the last.
        report: called with every event.
        prepare: called before every step with the share of the budget that is used, and the step's
            number.
        reserve: with ``minutes``, the seconds that are kept for what follows the last step.
        saves: whether checkpoints are kept; an interrupted run is saved in any case.
    """

    learner: Learner
    config: TrainConfig
    checkpoints: Checkpoints
    evaluate: Callable[[], dict[str, float]]
    sample: Callable[[], str]
    keep_best: Callable[[], None]
    report: Callable[[Event], None]
    prepare: Callable[[float, int], None] = lambda progress, step: None
    position: TrainState = field(default_factory=TrainState)
    reserve: float = 0.0
    saves: bool = True

    def __post_init__(self) -> None:
        self._average = Average(self.learner.model)
        self._late = False  # the time was used up before the first step
        self._step_seconds = 0.0  # of the last steps, a running mean

    def go_on(self) -> None:
        """Begin a new schedule of learning rates where an earlier one ended."""
        position = self.position
        position.begun_step, position.begun_seconds = position.step, position.seconds
        position.since_best, position.stopped_early = 0, False
        self._average, position.averaged = Average(self.learner.model), 0
        position.begun += 1

    def resume(self) -> bool:
        """Go on from the newest whole checkpoint; false where there is none."""
        checkpoint = self.checkpoints.load()
        if checkpoint is None:
            return False
        self.learner.restore(checkpoint.tensors)
        self.position = TrainState(**checkpoint.figures)
        self._average.restore(checkpoint.tensors, self.position.averaged)
        return True

    def run(self) -> TrainState:
        """Train to the end of the budget.

        Raises:
            Interrupted: the user pressed Ctrl-C; a checkpoint was saved first.
            WenmoError: the loss went astray more often than rolling back could mend.
        """
        self._clock = time.perf_counter()
        if self.position.step == 0 and self.saves:
            self._save()
        self._saved_at = time.perf_counter()
        self._late = self._finished() and self._has_made_none()
        if self._late:
            self._note("getting ready took all the time: one step is made all the same")
        with _stop_on_signal() as stop:
            while not self._finished() or self._has_made_none():
                self._step()
                if stop.is_set() and not self._finished():
                    self._save()
                    raise Interrupted(self.position.step)
        if self.saves:
            self._save()
        self._tick()
        if self._late and self.config.minutes is not None:
            self._note(self._what_is_enough(self.config.minutes))
        return self.position

    def _has_made_none(self) -> bool:
        """Whether no step was made since training began, or went on after its end."""
        return self.position.step == self.position.begun_step

    def _what_is_enough(self, minutes: float) -> str:
        """How many minutes the run needs, where there was time for a single step."""
        took, used = self._step_seconds, self.position.seconds + self.reserve
        enough = enough_minutes(took, given=minutes, besides=used)
        return f"a step takes {took:.2g} s: --minutes {enough:g} is enough for {ENOUGH_STEPS} steps"

    def progress(self) -> float:
        """How much of the budget for steps is used, 0 to 1."""
        position = self.position
        steps = self.learner.steps or self.config.steps
        if steps is not None:
            done = position.step - position.begun_step
            return min(1.0, done / max(1, steps - position.begun_step))
        if self.config.minutes is None:
            raise ValueError("a budget is needed: steps or minutes")
        end = 60 * self.config.minutes - self.reserve
        if end - position.seconds <= self._step_seconds / 2:  # another step would end too late
            return 1.0
        return (position.seconds - position.begun_seconds) / (end - position.begun_seconds)

    def seconds_left(self) -> float | None:
        """Seconds until the end: with ``minutes``, what is left of them, the final evaluation
        included; with ``steps``, by the time that the steps so far took, None after very few.
        """
        position, progress = self.position, self.progress()
        if self.config.minutes is not None:
            return max(0.0, 60 * self.config.minutes - position.seconds)
        if progress == 0 or position.step - position.begun_step < FEWEST_STEPS:
            return None
        return (position.seconds - position.begun_seconds) * (1 - progress) / progress

    def _finished(self) -> bool:
        return self.progress() >= 1 or self.position.stopped_early

    def _step(self) -> None:
        position, before = self.position, self.progress()
        self.prepare(before, position.step)
        begun = time.perf_counter()
        learned = self.learner.learn(position.step, self._rate() * position.rate_scale)
        took = time.perf_counter() - begun
        position.learning += took
        self._step_seconds += (took - self._step_seconds) * (STEP_SMOOTHING if position.step else 1)
        if self._astray(learned):
            self._roll_back(learned)
            return
        position.step += 1
        position.tokens += learned.tokens
        self._tick()
        after = self.progress()
        if self.config.weight_averaging and before >= 1 - self.config.weight_averaging:
            self._average.update()
            position.averaged = self._average.count
        self.report(Event("step", position, after, learned, seconds_left=self.seconds_left()))
        count = self.config.eval_count
        due = int(after * count + 1e-9) > int(before * count + 1e-9)
        only = position.step == position.begun_step + 1
        if due or (after >= 1 and (only or not position.best_step)):
            self._evaluate(learned)
        if self.saves and time.perf_counter() - self._saved_at >= self.config.checkpoint_seconds:
            self._save()

    def _rate(self) -> float:
        c, progress = self.config, self.progress()
        again = self.position.begun > 0
        share = progress if again else self.learner.share(progress)
        if self._late:  # the schedule has ended, and a rate of 0 would teach nothing
            share = c.warmup_ratio
        rate = factor(
            c.schedule, share, warmup=c.warmup_ratio, decay=c.decay_ratio, floor=c.min_lr_ratio
        )
        return REWARMED * rate if again else rate

    def _tick(self) -> None:
        now = time.perf_counter()
        self.position.seconds += now - self._clock
        self._clock = now

    def _evaluate(self, learned: StepMetrics) -> None:
        begun = time.perf_counter()
        with self._average.in_use():
            self._keep_best_or_stop(learned)
        self.position.evaluating += time.perf_counter() - begun

    def _is_out_of_patience(self) -> bool:
        """Early stopping: so many evaluations in a row have gained nothing (0: never)."""
        patience = self.config.patience or 0
        return 0 < patience <= self.position.since_best

    def _keep_best_or_stop(self, learned: StepMetrics) -> None:
        position = self.position
        figures = self.evaluate()
        nats = figures["nats_per_token"]
        first = position.best_step == 0 and nats == math.inf  # held-out text can be impossible
        if nats < position.best_nats or first or self.learner.keeps == "last":
            position.best_nats, position.best_step, position.since_best = nats, position.step, 0
            self.keep_best()
        elif self._gains_nothing(nats):
            position.since_best += 1
        position.stopped_early = self._is_out_of_patience()
        self._tick()
        left = self.seconds_left()
        self.report(
            Event("evaluation", position, self.progress(), learned, figures, seconds_left=left)
        )
        self.report(Event("sample", position, self.progress(), learned, text=self.sample()))
        if position.stopped_early:
            self._note(self._why_stopped())

    def _gains_nothing(self, nats: float) -> bool:
        """Whether an evaluation speaks for stopping.

        While the learning rate falls, a plateau does not: what is gained comes with small steps, at
        the end. Held-out text that becomes less likely does: the model learns by heart. In the
        first half of such a schedule, or of one that has begun again, it does not either: the rate
        is high, and what was best may be the counts that a network has begun with.
        """
        plateau = self.config.schedule == "constant"
        if self.progress() < 0.5 and (self.position.begun or not plateau):
            return False
        return plateau or nats > WORSE * self.position.best_nats

    def _why_stopped(self) -> str:
        position, minutes = self.position, self.config.minutes
        told = (
            f"stopped early: {amount(position.since_best, 'evaluation')} found the held-out text "
            f"less likely than that at step {position.best_step:,}, whose weights are kept"
        )
        if minutes is None:
            return told
        left = max(0.0, 60 * minutes - self.reserve - position.seconds)
        return f"{told}; {left:.0f} s of {60 * minutes:.0f} s are not needed"

    def _astray(self, learned: StepMetrics) -> bool:
        """Whether the loss is not finite, or its running mean jumped far above its best."""
        position = self.position
        if self.learner.steps is not None:  # counting has no loss to watch
            return False
        if not math.isfinite(learned.loss):
            return True
        if position.smoothed_loss is None:
            position.smoothed_loss = learned.loss
        position.smoothed_loss += (1 - SMOOTHING) * (learned.loss - position.smoothed_loss)
        position.best_loss = min(position.best_loss, position.smoothed_loss)
        return position.smoothed_loss > 1.5 * position.best_loss + JUMP_NATS

    def _roll_back(self, learned: StepMetrics) -> None:
        """Return to the last good checkpoint with a smaller rate; give up after three times."""
        where, rollbacks = self.position.step, self.position.rollbacks + 1
        before = self.position
        scale = before.rate_scale * ROLLBACK_RATE
        what = "jumped" if math.isfinite(learned.loss) else "is not finite"
        if rollbacks > MAX_ROLLBACKS:
            raise WenmoError(
                f"the loss {what} at step {where} again, after {MAX_ROLLBACKS} rollbacks: try a "
                f"smaller learning_rate= (it began with {self.config.optimizer}'s), a smaller "
                "max_grad_norm= or "
                "precision=float32"
            )
        if not self.resume():
            raise WenmoError(f"the loss {what} at step {where}, and no checkpoint is left")
        self.position.rollbacks, self.position.rate_scale = rollbacks, scale
        # The time is spent, whatever became of it.
        for name in ("seconds", "begun_seconds", "learning", "evaluating"):
            setattr(self.position, name, getattr(before, name))
        self._save()
        self._note(
            f"the loss {what} at step {where}: back to step {self.position.step} with "
            f"{scale:g} times the learning rate"
        )

    def _save(self) -> None:
        tensors = self.learner.tensors() | self._average.tensors()
        self.checkpoints.save(self.position.step, Checkpoint(tensors, asdict(self.position)))
        self._saved_at = time.perf_counter()
        self.report(Event("checkpoint", self.position, self.progress()))

    def _note(self, text: str) -> None:
        self.report(Event("note", self.position, self.progress(), text=text))


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Ctrl-C and a polite kill ask to stop after the step; a second Ctrl-C stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread may handle signals
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before: dict[int, Any] = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
