"""Stopping a training from outside: by another thread, or by a signal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """A request to stop a training after its current step. Any thread may make it, once for all."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def request(self) -> None:
        """Ask the training to stop. It saves a checkpoint and raises `Interrupted`."""
        self._event.set()

    @property
    def is_requested(self) -> bool:
        return self._event.is_set()


class Interrupted(Exception):  # noqa: N818 - it is no error
    """Training was stopped on request, and a checkpoint was saved.

    Attributes:
        step: number of steps that the checkpoint holds.
    """

    def __init__(self, step: int) -> None:
        super().__init__(f"saved at step {step:,}; the same command goes on from there")
        self.step = step


@contextmanager
def stop_on_signals(stop: StopRequest) -> Iterator[None]:
    """Let SIGINT (Ctrl-C) and SIGTERM request the stop; a second signal raises KeyboardInterrupt.

    Outside the main thread, where Python allows no signal handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal received
        if received:
            raise KeyboardInterrupt
        received = True
        stop.request()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
