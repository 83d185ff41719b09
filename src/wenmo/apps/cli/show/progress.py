"""The live line of a training or a scoring."""

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
    clock,
    columns,
    cut,
    cut_sample,
    in_lines,
    note,
    number,
    print_line,
)
from wenmo.evaluation.results import LatentUsage
from wenmo.results import find

if TYPE_CHECKING:
    from wenmo.api import Event

SILENT_SECONDS = 2.0  # what is over sooner needs no progress


class Training:
    """The live line of a training or a scoring, and what stays on the screen above it."""

    def __init__(self) -> None:
        self._live = Live(console=ERR, refresh_per_second=4, transient=True)
        self._begun: dict[str, float] = {}
        self._rate = 0.0
        self._before: tuple[float, int] | None = None
        self._bits = math.nan
        self._latents = ""

    def __enter__(self) -> Training:
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
        """Put this on the live line, which is kept to one row, with room for the ``^C`` that a
        terminal adds: what has wrapped cannot be taken back.
        """
        self._live.update(Text(cut(line, ERR.width - 4)))

    def on_progress(self, what: str, share: float | None) -> None:
        """A note, or the progress of something that comes before or after training."""
        if share is None:
            print_line(what)
            return
        if share >= 1:
            self._show("")
        begun = self._begun.setdefault(what, time.perf_counter())
        seconds = time.perf_counter() - begun
        if seconds > SILENT_SECONDS and 0 < share < 1:
            left = seconds * (1 - share) / share
            self._show(f"{what} {share:.0%}, {clock(left)} left")

    def on_event(self, event: Event) -> None:
        """An event of training."""
        state = event.state
        if event.kind == "step" and event.metrics is not None:
            self._measure(state.seconds, state.tokens)
            self._show(" · ".join(self._parts(event)))
        elif event.kind == "evaluation":
            self._bits = event.figures["bits_per_byte"]
            usage = find(LatentUsage, event.figures)
            self._latents = "" if usage is None else f", {latents_line(usage)}"
            held = [f"held out {self._bits:.3f} bits per byte{self._latents}"]
            held.append(f"perplexity {number(event.figures['perplexity'], 2)}")
            for name, value in event.figures.items():
                if name in METRIC_NAMES:
                    held.append(f"{METRIC_NAMES[name]} {value:.1f}")
            for line in in_lines([*self._parts(event, speed=False), *held]):
                ERR.print(Text(line))
        elif event.kind == "sample":
            ERR.print(Text(f"    {cut_sample(event.text, columns() - 4)}", style="dim"))
        elif event.kind == "note":
            note(event.text)

    def _parts(self, event: Event, speed: bool = True) -> list[str]:
        state, metrics = event.state, event.metrics
        parts = [f"{event.progress:4.0%}", f"step {state.step:,}"]
        if metrics is not None and math.isfinite(metrics.loss):
            parts.append(f"loss {metrics.extra.get('nats', metrics.loss):.3f}")
        if metrics is not None and "kl" in metrics.extra:
            weight = metrics.extra["kl_weight"]
            parts.append(f"KL {metrics.extra['kl']:.2f} at weight {weight:.2f}")
        if metrics is not None and "critic_right" in metrics.extra:
            parts[-1] = f"critic {metrics.loss:.3f}, right {metrics.extra['critic_right']:.0%}"
        if event.kind == "step" and math.isfinite(self._bits):
            parts.append(f"{self._bits:.3f} bits per byte{self._latents}")
        if self._rate and speed:
            parts.append(f"{self._rate:,.0f} tokens/s")
        if 0 < event.progress < 1 and event.seconds_left is not None:
            parts.append(f"{clock(event.seconds_left)} left")
        return parts

    def _measure(self, seconds: float, tokens: int) -> None:
        """A running mean of tokens a second."""
        if self._before is not None and seconds > self._before[0]:
            rate = (tokens - self._before[1]) / (seconds - self._before[0])
            self._rate += 0.1 * (rate - self._rate) if self._rate else rate
        self._before = (seconds, tokens)
