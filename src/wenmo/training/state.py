"""The training state: all figures that a checkpoint keeps beside tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LOSS_SMOOTHING = 0.9  # weight of the past in the running mean of the loss
TIME_SMOOTHING = 0.8  # and in that of the seconds of a step
FORMER_NAMES = {  # in checkpoints that an earlier version wrote
    "begun": "restarts",
    "begun_step": "start_step",
    "begun_seconds": "start_seconds",
    "learning": "step_seconds_total",
    "evaluating": "evaluation_seconds_total",
    "rate_scale": "lr_scale",
    "averaged": "averaged_count",
}


@dataclass
class TrainState:
    """The figures of a training after its last step.

    Attributes:
        step: number of steps that count: those rolled back do not.
        tokens: number of target tokens that were trained on.
        seconds: wall-clock time used, start-up included.
        restarts: how often the learning-rate schedule was restarted.
        start_step, start_seconds: where the current schedule started.
        step_seconds: running mean of the seconds of a step.
        step_seconds_total: seconds of all steps.
        evaluation_seconds_total: seconds of all evaluations, samples included.
        smoothed_loss: running mean of the loss, nats per target token; None: no step yet.
        best_loss: the lowest ``smoothed_loss``.
        best_nats, best_step: the best evaluation, nats per held-out token, and its step; 0: none.
        since_best: evaluations that have spoken for stopping since the best one.
        rollbacks: how often training returned to a checkpoint because the loss had diverged.
        lr_scale: factor on the learning rate, lowered by each rollback.
        averaged_count: number of weights in the running mean (weight averaging).
        stopped_early: the evaluations since the best one have used up the patience.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    restarts: int = 0
    start_step: int = 0
    start_seconds: float = 0.0
    step_seconds: float = 0.0
    step_seconds_total: float = 0.0
    evaluation_seconds_total: float = 0.0
    smoothed_loss: float | None = None
    best_loss: float = math.inf
    best_nats: float = math.inf
    best_step: int = 0
    since_best: int = 0
    rollbacks: int = 0
    lr_scale: float = 1.0
    averaged_count: int = 0
    stopped_early: bool = False

    @classmethod
    def from_dict(cls, figures: Mapping[str, Any]) -> TrainState:
        """The state that `dataclasses.asdict` gave, of this version or an earlier one."""
        return cls(**{FORMER_NAMES.get(name, name): value for name, value in figures.items()})

    def count_step(self, tokens: int, seconds: float) -> None:
        """Count a step that trained on so many target tokens and took so many seconds."""
        self.step += 1
        self.tokens += tokens
        self.step_seconds_total += seconds
        if not self.step_seconds:
            self.step_seconds = seconds
        self.step_seconds += (1 - TIME_SMOOTHING) * (seconds - self.step_seconds)

    def track_loss(self, loss: float) -> None:
        """Take a finite loss, in nats per target token, into the running mean."""
        if self.smoothed_loss is None:
            self.smoothed_loss = loss
        self.smoothed_loss += (1 - LOSS_SMOOTHING) * (loss - self.smoothed_loss)
        self.best_loss = min(self.best_loss, self.smoothed_loss)

    def restart_schedule(self) -> None:
        """Start a new learning-rate schedule at the current step."""
        self.start_step, self.start_seconds = self.step, self.seconds
        self.since_best, self.stopped_early, self.averaged_count = 0, False, 0
        self.restarts += 1

    def roll_back_from(self, later: TrainState, lr_factor: float) -> None:
        """Note that training returned here from a later state: the time stays spent, and the
        learning rate is lowered by a factor.
        """
        for name in (
            "seconds",
            "start_seconds",
            "step_seconds",
            "step_seconds_total",
            "evaluation_seconds_total",
        ):
            setattr(self, name, getattr(later, name))
        self.rollbacks = later.rollbacks + 1
        self.lr_scale = later.lr_scale * lr_factor
