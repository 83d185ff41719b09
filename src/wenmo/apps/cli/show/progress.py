"""The live progress line of training, scoring and reading."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.live import Live
from rich.text import Text

from wenmo.apps.cli.show.evaluations import METRIC_NAMES, latents_line
from wenmo.apps.cli.show.terminal import (
    ERR,
    format_duration,
    format_number,
    join_items,
    line_width,
    print_line,
    print_note,
    truncate,
    truncate_sample,
)
from wenmo.evaluation.results import LatentUsage
from wenmo.results import find

if TYPE_CHECKING:
    from wenmo.api import Event

SILENT_SECONDS = 2.0  # shorter work shows no progress


class ProgressDisplay:
    """Shows progress on one live line; prints notes, evaluations and samples above it.

    A context manager; `on_progress` and `on_event` are the callbacks of `wenmo.api`.
    """

    def __init__(self) -> None:
        self._live = Live(console=ERR, refresh_per_second=4, transient=True)
        self._start_times: dict[str, float] = {}
        self._tokens_per_second = 0.0
        self._last_step: tuple[float, int] | None = None  # seconds and tokens
        self._bits = math.nan
        self._latents = ""

    def __enter__(self) -> ProgressDisplay:
        if ERR.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._live.is_started:
            self._live.update("")
            self._live.stop()

    def _show(self, line: str) -> None:
        """Replace the live line.

        The line stays in one row, with space for the ``^C`` that a terminal adds: a wrapped line
        cannot be erased.
        """
        self._live.update(Text(truncate(line, ERR.width - 4)))

    def on_progress(self, activity: str, fraction: float | None) -> None:
        """Print a note (``fraction`` is None), or show the completed fraction of an activity."""
        if fraction is None:
            print_line(activity)
            return
        if fraction >= 1:
            self._show("")
        start = self._start_times.setdefault(activity, time.perf_counter())
        seconds = time.perf_counter() - start
        if seconds > SILENT_SECONDS and 0 < fraction < 1:
            left = seconds * (1 - fraction) / fraction
            self._show(f"{activity} {fraction:.0%}, {format_duration(left)} left")

    def on_event(self, event: Event) -> None:
        """Show an event of training."""
        state = event.state
        if event.kind == "step" and event.metrics is not None:
            self._update_speed(state.seconds, state.tokens)
            self._show(" · ".join(self._items(event)))
        elif event.kind == "evaluation":
            self._bits = event.figures["bits_per_byte"]
            usage = find(LatentUsage, event.figures)
            self._latents = "" if usage is None else f", {latents_line(usage)}"
            heldout = [f"held out {self._bits:.3f} bits per byte{self._latents}"]
            heldout.append(f"perplexity {format_number(event.figures['perplexity'], 2)}")
            for name, value in event.figures.items():
                if name in METRIC_NAMES:
                    heldout.append(f"{METRIC_NAMES[name]} {value:.1f}")
            for line in join_items([*self._items(event, speed=False), *heldout]):
                ERR.print(Text(line))
        elif event.kind == "sample":
            ERR.print(Text(f"    {truncate_sample(event.text, line_width() - 4)}", style="dim"))
        elif event.kind == "note":
            print_note(event.text)

    def _items(self, event: Event, speed: bool = True) -> list[str]:
        """The items of a line: progress, step, losses, held-out figures, speed and time left."""
        state, metrics = event.state, event.metrics
        items = [f"{event.progress:4.0%}", f"step {state.step:,}"]
        if metrics is not None and math.isfinite(metrics.loss):
            items.append(f"loss {metrics.extra.get('nats', metrics.loss):.3f}")
        if metrics is not None and "kl" in metrics.extra:
            weight = metrics.extra["kl_weight"]
            items.append(f"KL {metrics.extra['kl']:.2f} at weight {weight:.2f}")
        if metrics is not None and "critic_right" in metrics.extra:
            items[-1] = f"critic {metrics.loss:.3f}, right {metrics.extra['critic_right']:.0%}"
        if event.kind == "step" and math.isfinite(self._bits):
            items.append(f"{self._bits:.3f} bits per byte{self._latents}")
        if self._tokens_per_second and speed:
            items.append(f"{self._tokens_per_second:,.0f} tokens/s")
        if 0 < event.progress < 1 and event.seconds_left is not None:
            items.append(f"{format_duration(event.seconds_left)} left")
        return items

    def _update_speed(self, seconds: float, tokens: int) -> None:
        """Update the running mean of the tokens per second."""
        if self._last_step is not None and seconds > self._last_step[0]:
            speed = (tokens - self._last_step[1]) / (seconds - self._last_step[0])
            mean = self._tokens_per_second
            self._tokens_per_second += 0.1 * (speed - mean) if mean else speed
        self._last_step = (seconds, tokens)
