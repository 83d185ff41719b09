"""What the training loop does next, decided in one place.

A decision depends on the training state, the metrics of the last step, the seconds used (which the
state holds) and the request to stop. Nothing here reads the clock, changes the state or draws at
random. A decision is a plain value, so that of several processes that train together one can decide
for all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from wenmo.train_config import TrainConfig
from wenmo.training.learners import StepMetrics
from wenmo.training.state import TrainState

JUMP_NATS = 1.0  # a smoothed loss this far, and half again, above the best one has diverged
WORSE = 1.005  # times the best nats per token: less is noise, or a plateau
FEWEST_STEPS = 5  # from which the remaining time is estimated

Divergence = Literal["jumped", "is not finite"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What the loop does next.

    Attributes:
        progress: share of the budget for steps that is used, 0 to 1. The learning rate and all
            that changes in the model in training depend on it, and not on the clock.
        roll_back: what is wrong with the loss of the last step: return to the last checkpoint.
        evaluate: evaluate on held-out text, and write a sample.
        save: save a checkpoint.
        stop: why training ends.
    """

    progress: float
    roll_back: Divergence | None = None
    evaluate: bool = False
    save: bool = False
    stop: Literal["finished", "requested"] | None = None


@dataclass(frozen=True)
class Controller:
    """Decides for one training.

    Attributes:
        config: the budget, the evaluations, the patience and the time between checkpoints.
        fixed_steps: number of steps of a learner that takes no budget; None: the budget holds.
        keeps: whether the best weights are kept, or always the last.
        reserve: with ``minutes``, seconds that are kept for what follows the last step.
        saves: checkpoints are kept; a training that is stopped on request is saved in any case.
    """

    config: TrainConfig
    fixed_steps: int | None = None
    keeps: Literal["best", "last"] = "best"
    reserve: float = 0.0
    saves: bool = True

    def after_step(self, state: TrainState, metrics: StepMetrics, before: float) -> Decision:
        """Decide on a rollback or an evaluation.

        Args:
            state: with the step counted.
            before: progress before the step.
        """
        progress, count = self.progress(state), self.config.eval_count
        divergence = self._divergence(state, metrics)
        if divergence is not None:
            return Decision(progress, roll_back=divergence)
        is_due = int(progress * count + 1e-9) > int(before * count + 1e-9)
        is_only_step = state.step == state.start_step + 1
        is_last = progress >= 1 and (is_only_step or not state.best_step)
        return Decision(progress, evaluate=is_due or is_last)

    def before_step(
        self, state: TrainState, *, since_save: float, stop_requested: bool
    ) -> Decision:
        """Decide whether to save, and whether another step is taken.

        Every training takes a step, however late it is.

        Args:
            since_save: seconds since the last checkpoint.
        """
        progress = self.progress(state)
        if state.step > state.start_step and (progress >= 1 or state.stopped_early):
            return Decision(progress, save=self.saves, stop="finished")
        if stop_requested:
            return Decision(progress, save=True, stop="requested")
        return Decision(progress, save=self.saves and since_save >= self.config.checkpoint_seconds)

    def is_best(self, state: TrainState, nats: float) -> bool:
        """Whether the weights of an evaluation are kept.

        Args:
            nats: nats per held-out token; infinite where a model finds held-out text impossible.
        """
        is_first = state.best_step == 0 and nats == math.inf
        return nats < state.best_nats or is_first or self.keeps == "last"

    def speaks_for_stopping(self, state: TrainState, nats: float, progress: float) -> bool:
        """Whether an evaluation that is not the best one counts towards the patience.

        While the learning rate falls, a plateau does not: much is gained by the small steps at the
        end. Held-out text that becomes less likely does: the model overfits. In the first half of
        such a schedule, or of a restarted one, it does not either: the learning rate is high, and
        the best may have been the n-gram counts alone.

        Args:
            nats: nats per held-out token.
            progress: share of the budget that is used.
        """
        is_constant = self.config.schedule == "constant"
        if progress < 0.5 and (state.restarts or not is_constant):
            return False
        return is_constant or nats > WORSE * state.best_nats

    def is_out_of_patience(self, state: TrainState) -> bool:
        """Whether so many evaluations have spoken for stopping (patience 0: never)."""
        patience = self.config.patience or 0
        return 0 < patience <= state.since_best

    def progress(self, state: TrainState) -> float:
        """Share of the budget for steps that is used, 0 to 1."""
        steps = self.fixed_steps or self.config.steps
        if steps is not None:
            done = state.step - state.start_step
            return min(1.0, done / max(1, steps - state.start_step))
        if self.config.minutes is None:
            raise ValueError("a budget is needed: steps or minutes")
        end = 60 * self.config.minutes - self.reserve
        if end - state.seconds <= state.step_seconds / 2:  # another step would end too late
            return 1.0
        return (state.seconds - state.start_seconds) / (end - state.start_seconds)

    def seconds_left(self, state: TrainState) -> float | None:
        """Seconds until the end.

        With ``minutes``, all that is left of them, the final evaluation included; with ``steps``,
        estimated from the steps so far, None after very few.
        """
        if self.config.minutes is not None:
            return max(0.0, 60 * self.config.minutes - state.seconds)
        progress = self.progress(state)
        if progress == 0 or state.step - state.start_step < FEWEST_STEPS:
            return None
        return (state.seconds - state.start_seconds) * (1 - progress) / progress

    def _divergence(self, state: TrainState, metrics: StepMetrics) -> Divergence | None:
        """What is wrong with the loss: it is not finite, or its running mean jumped."""
        if self.fixed_steps is not None:  # counting has no loss
            return None
        if not math.isfinite(metrics.loss):
            return "is not finite"
        smoothed = state.smoothed_loss
        jumped = smoothed is not None and smoothed > 1.5 * state.best_loss + JUMP_NATS
        return "jumped" if jumped else None
