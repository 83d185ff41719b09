"""How the minutes of a run are divided between getting ready, steps, evaluations and the end.

The clock runs from the command's start to its end. With ``steps`` nothing here applies.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

OVERHEAD = 0.22  # of the budget may go to all but steps, start-up included ...
LEAST_OVERHEAD = 0.08  # ... and so much to evaluations at least, however long the start-up took
MOST = 0.1  # of the budget for all evaluations on the way, and as much for the final one
BYTES_PER_SECOND = 150e6  # about, for a checkpoint: written, synchronised and summed
TRIAL = 0.2  # of the time for something may be spent on finding out how much of it fits
CAUTION = 0.8  # of what a trial promises is asked for
ENOUGH_STEPS = 200  # to learn something from
SHARE_OF_STEPS = 0.75  # of all the time, at least about


def enough_minutes(
    step_seconds: float, *, given: float, besides: float = 0.0, steps: int = ENOUGH_STEPS
) -> float:
    """Minutes into which so many steps fit, rounded up to two digits; at least twice ``given``.

    Args:
        step_seconds: what a step takes.
        given: minutes that were too few.
        besides: seconds that are used by other things.
    """
    minutes = max(2 * given, (besides + steps * step_seconds / SHARE_OF_STEPS) / 60, 0.1)
    unit = 10.0 ** (math.floor(math.log10(minutes)) - 1)
    return float(f"{math.ceil(minutes / unit - 1e-9) * unit:.2g}")


@dataclass
class TimeBudget:
    """The wall-clock time of one run.

    Attributes:
        total: seconds.
        started: when this process started, as `time.perf_counter` tells it.
        used_before: seconds that earlier processes of the same run used.
        evaluations: seconds for all evaluations on the way.
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

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.total - self.used())

    def divide(self) -> None:
        """Set what evaluations may take, by what getting ready has taken."""
        spare = max(OVERHEAD * self.total - self.used(), LEAST_OVERHEAD * self.total)
        self.evaluations = self.final = min(MOST * self.total, spare / 2)

    def can_save(self, bytes_: int) -> bool:
        """Whether checkpoints of this size are cheap enough to be kept."""
        return bytes_ / BYTES_PER_SECOND <= LEAST_OVERHEAD / 2 * self.total


def how_many(
    run: Callable[[int], object], least: int, most: int, seconds: float, *, power: int = 1
) -> int:
    """How many items ``run`` does within ``seconds``, found by trials of growing numbers.

    Args:
        run: does so many items.
        least: the number of the first trial, and the least that is returned.
        most: the most that is returned.
        seconds: for one call; the trials take about a fifth of it, and one of ``least`` at least.
        power: of the number, with which the time grows at most.
    """
    started, count = time.perf_counter(), min(least, most)
    while True:
        begun = time.perf_counter()
        run(count)
        now = time.perf_counter()
        if count >= most or 4**power * (now - begun) + now - started > TRIAL * seconds:
            fits = int(count * (CAUTION * seconds / max(now - begun, 1e-9)) ** (1 / power))
            return max(min(least, most), min(most, fits))
        count = min(most, 4 * count)
