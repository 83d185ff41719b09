"""How texts of a task are written where neither user nor card says it."""

from __future__ import annotations

from wenmo.decoding.params import Sampling
from wenmo.text.config import TaskConfig

TEMPERATURE = 0.8  # of runs whose card says nothing


def default_sampling(task: TaskConfig, *, samples_texts: bool = False) -> Sampling:
    """What has a right answer is searched for, what may differ each time is drawn.

    Args:
        samples_texts: the model has its texts by rule, and what it says is taken as it is.
    """
    if task.name == "completion":
        return Sampling(temperature=1.0 if samples_texts else TEMPERATURE)
    if task.name == "dialogue":
        return Sampling(temperature=TEMPERATURE, top_p=0.9)
    return Sampling(method="beam")
