"""The logs of a training: ``metrics.jsonl``, ``samples.md`` and TensorBoard's files."""

from __future__ import annotations

import json
import math
from pathlib import Path

from wenmo.files import atomic, user_facing_os_errors
from wenmo.training.loop import Event

METRICS = "metrics.jsonl"
STEPS_BETWEEN_LINES = 10  # every evaluation is logged, and one step in so many


class MetricsLogger:
    """Appends to the logs in a run folder. What a resumed training will log again is removed.

    Args:
        folder: the run folder.
        step: the step from which training continues.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboardX import SummaryWriter  # slow to load, and not needed to write text

        self.metrics, self.samples = folder / METRICS, folder / "samples.md"
        self._cut(step)
        with user_facing_os_errors(folder):
            self._tensorboard = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def record(self, event: Event) -> None:
        """Log an event, unless it is a checkpoint or a step in between."""
        step = event.state.step
        if event.kind == "evaluation":
            self._figures(event, {f"heldout_{name}": v for name, v in event.figures.items()})
        elif event.kind == "step" and step % STEPS_BETWEEN_LINES == 0:
            self._figures(event, {})
        elif event.kind == "sample":
            quoted = "\n".join(f"    {line}" for line in event.text.splitlines())
            self._append(self.samples, f"## Step {step}\n\n{quoted}\n")
        elif event.kind == "note":
            self._append(self.metrics, json.dumps({"step": step, "note": event.text}))

    def close(self) -> None:
        self._tensorboard.close()

    def _figures(self, event: Event, figures: dict[str, float]) -> None:
        """Log figures, but for those that are not finite."""
        state, metrics = event.state, event.metrics
        if metrics is not None:
            figures = {
                **figures,
                "loss": metrics.loss,
                "learning_rate": metrics.lr_factor,
                **metrics.extra,
            }
        finite = {name: value for name, value in figures.items() if math.isfinite(value)}
        line = {"step": state.step, "seconds": round(state.seconds, 3), **finite}
        self._append(self.metrics, json.dumps(line))
        for name, value in finite.items():
            self._tensorboard.add_scalar(name, float(value), state.step)

    def _append(self, path: Path, text: str) -> None:
        with user_facing_os_errors(path), path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def _cut(self, step: int) -> None:
        """Remove what was logged after ``step``, that of the checkpoint."""
        if self.metrics.exists():
            lines = self.metrics.read_text(encoding="utf-8").splitlines()
            with atomic(self.metrics) as temporary:
                kept = [line for line in lines if _step_of(line) <= step]
                temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        if self.samples.exists():
            samples = self.samples.read_text(encoding="utf-8").split("## Step ")[1:]
            kept = [s for s in samples if int(s.split("\n", 1)[0] or 0) <= step]
            with atomic(self.samples) as temporary:
                temporary.write_text("".join(f"## Step {s}" for s in kept), encoding="utf-8")


def _step_of(line: str) -> float:
    try:
        return int(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError, TypeError, ValueError):
        return float("inf")  # half a line, from a kill: drop it
