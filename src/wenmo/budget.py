"""The time budget of a run: time for setup, training steps, evaluations and the final evaluation.

The budget covers the command from start to end. It is not used if a run is limited by ``steps``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

MAX_OVERHEAD = 0.22  # fraction of the budget for everything but steps, setup included
MIN_OVERHEAD = 0.08  # fraction of the budget for evaluations, even after a long setup
MAX_EVALUATION = 0.1  # fraction for all evaluations during training, and for the final one
CHECKPOINT_BYTES_PER_SECOND = 150e6  # estimate, including fsync and checksum
TRIAL_FRACTION = 0.2  # fraction of the available time for the trials of `fit_count`
SAFETY_FACTOR = 0.8  # fraction of the estimated count that `fit_count` returns
ENOUGH_STEPS = 200  # a minimum for useful training
STEP_FRACTION = 0.75  # approximate minimal fraction of the budget for steps


def enough_minutes(
    step_seconds: float,
    *,
    current_minutes: float,
    other_seconds: float = 0.0,
    steps: int = ENOUGH_STEPS,
) -> float:
    """Minutes needed for a number of steps, rounded up to two digits.

    Args:
        step_seconds: seconds of a step.
        current_minutes: the current budget, which is too small; the result is at least twice that.
        other_seconds: seconds for everything but steps.
        steps: number of steps.
    """
    minutes = max(
        2 * current_minutes, (other_seconds + steps * step_seconds / STEP_FRACTION) / 60, 0.1
    )
    unit = 10.0 ** (math.floor(math.log10(minutes)) - 1)
    return float(f"{math.ceil(minutes / unit - 1e-9) * unit:.2g}")


@dataclass
class TimeBudget:
    """The wall-clock time of one run.

    Attributes:
        total: budget in seconds.
        started: start of this process, in the time of `time.perf_counter`.
        used_before: seconds used by earlier processes of the same run.
        evaluations: seconds for all evaluations during training.
        final: seconds for everything after the last step.
    """

    total: float
    started: float
    used_before: float = 0.0
    evaluations: float = 0.0
    final: float = 0.0

    def used(self) -> float:
        """Seconds used so far."""
        return self.used_before + time.perf_counter() - self.started

    def remaining(self) -> float:
        """Remaining seconds, at least 0."""
        return max(0.0, self.total - self.used())

    def allocate(self) -> None:
        """Set the time for evaluations, depending on the time that setup took."""
        spare = max(MAX_OVERHEAD * self.total - self.used(), MIN_OVERHEAD * self.total)
        self.evaluations = self.final = min(MAX_EVALUATION * self.total, spare / 2)

    def can_save(self, size: int) -> bool:
        """Whether checkpoints of this size in bytes can be written fast enough."""
        return size / CHECKPOINT_BYTES_PER_SECOND <= MIN_OVERHEAD / 2 * self.total


def fit_count(
    run: Callable[[int], object], minimum: int, maximum: int, seconds: float, *, power: int = 1
) -> int:
    """How many items ``run`` does within ``seconds``, found by trials of growing numbers.

    Args:
        run: does so many items.
        minimum: the number of the first trial, and the least that is returned.
        maximum: the most that is returned.
        seconds: for one call; the trials take about a fifth of it, and one of ``least`` at least.
        power: of the number, with which the time grows at most.
    """
    started, count = time.perf_counter(), min(minimum, maximum)
    while True:
        trial_started = time.perf_counter()
        run(count)
        now = time.perf_counter()
        if (
            count >= maximum
            or 4**power * (now - trial_started) + now - started > TRIAL_FRACTION * seconds
        ):
            fits = int(
                count * (SAFETY_FACTOR * seconds / max(now - trial_started, 1e-9)) ** (1 / power)
            )
            return max(min(minimum, maximum), min(maximum, fits))
        count = min(maximum, 4 * count)
