"""Progress of training as plain lines, for notebooks."""

from __future__ import annotations

import sys
import time

from wenmo.training.loop import Event

SECONDS_BETWEEN_LINES = 5.0


def in_notebook() -> bool:
    """Whether the process is a session of IPython, as in Jupyter."""
    shell = sys.modules.get("IPython")
    return shell is not None and shell.get_ipython() is not None


class PlainProgress:
    """Prints notes, evaluations and samples, and the progress at most every few seconds."""

    def __init__(self) -> None:
        self._last_time = time.monotonic()

    def on_progress(self, activity: str, fraction: float | None) -> None:
        """Print a note (``fraction`` is None), or the completed fraction of an activity."""
        if fraction is None:
            print(activity, flush=True)
        elif fraction < 1 and self._is_due():
            print(f"{activity} {fraction:.0%}", flush=True)

    def on_event(self, event: Event) -> None:
        """Print an event of training."""
        progress = f"{event.progress:.0%} · step {event.state.step:,}"
        if event.kind == "evaluation":
            print(f"{progress} · held out {event.figures['bits_per_byte']:.3f} bits per byte")
        elif event.kind in ("sample", "note"):
            print("    " + event.text.replace("\n", "\n    "), flush=True)
        elif event.kind == "step" and event.metrics is not None and self._is_due():
            print(f"{progress} · loss {event.metrics.loss:.3f}", flush=True)

    def _is_due(self) -> bool:
        """Whether enough time has passed for the next progress line."""
        now = time.monotonic()
        if now - self._last_time < SECONDS_BETWEEN_LINES:
            return False
        self._last_time = now
        return True
