"""Progress of training in plain lines, for notebooks."""

from __future__ import annotations

import sys
import time

from wenmo.training.loop import Event

SECONDS_BETWEEN_LINES = 5.0


def in_notebook() -> bool:
    """Whether this is a session of IPython, as in Jupyter."""
    shell = sys.modules.get("IPython")
    return shell is not None and shell.get_ipython() is not None


class PlainProgress:
    """Prints notes, evaluations, samples, and at most every few seconds how far something is."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def on_progress(self, what: str, share: float | None) -> None:
        """A note, or the share of something that is done."""
        if share is None:
            print(what, flush=True)
        elif share < 1 and self._is_time():
            print(f"{what} {share:.0%}", flush=True)

    def on_event(self, event: Event) -> None:
        """An event of training."""
        where = f"{event.progress:.0%} · step {event.state.step:,}"
        if event.kind == "evaluation":
            print(f"{where} · held out {event.figures['bits_per_byte']:.3f} bits per byte")
        elif event.kind in ("sample", "note"):
            print("    " + event.text.replace("\n", "\n    "), flush=True)
        elif event.kind == "step" and event.metrics is not None and self._is_time():
            print(f"{where} · loss {event.metrics.loss:.3f}", flush=True)

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_LINES:
            return False
        self._last = now
        return True
