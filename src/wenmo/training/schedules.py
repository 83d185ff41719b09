"""Learning-rate schedules: a factor on the peak learning rate, as a function of progress.

Progress runs from 0 to 1, in steps or in minutes, so that every schedule ends with the budget.
"""

from __future__ import annotations

import math

from wenmo.train_config import Schedule


def factor(
    schedule: Schedule, progress: float, *, warmup: float, decay: float, floor: float
) -> float:
    """The learning rate as a share of its peak.

    Args:
        schedule: ``constant``; ``cosine`` (Loshchilov & Hutter 2017); ``linear``; or
            ``stable-decay``, which stays at the peak and then decays linearly (Hu et al. 2024).
        progress: share of the budget that is used, 0 to 1.
        warmup: the share of the budget in which the rate rises linearly to its peak.
        decay: for ``stable-decay``, the share of the budget in which the rate falls.
        floor: the learning rate at the end of the decay, as a share of the peak.
    """
    if progress < warmup:
        return (progress / warmup) * 0.99 + 0.01  # the very first step must move, too
    done = min((progress - warmup) / max(1 - warmup, 1e-9), 1.0)
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        remaining = 0.5 * (1 + math.cos(math.pi * done))
    elif schedule == "linear":
        remaining = 1 - done
    else:
        remaining = min(1.0, max(1 - progress, 0.0) / decay)
    return floor + (1 - floor) * remaining
