"""Requests to stop, by threads and by signals."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from wenmo.training.stop import StopRequest, stop_on_signals

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def test_a_request_of_another_thread_is_seen() -> None:
    stop = StopRequest()
    assert not stop.is_requested
    thread = threading.Thread(target=stop.request)
    thread.start()
    thread.join()
    assert stop.is_requested


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_requests_the_stop_and_a_second_one_interrupts(number: signal.Signals) -> None:
    stop, before = StopRequest(), [signal.getsignal(each) for each in SIGNALS]
    with stop_on_signals(stop):
        os.kill(os.getpid(), number)
        assert stop.is_requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_after_the_request_of_a_thread_a_first_signal_lets_the_checkpoint_be_saved() -> None:
    stop = StopRequest()
    stop.request()
    with stop_on_signals(stop):
        os.kill(os.getpid(), signal.SIGINT)


def test_other_threads_leave_the_signal_handlers_alone() -> None:
    before, inside = signal.getsignal(signal.SIGINT), []

    def enter() -> None:
        with stop_on_signals(StopRequest()):
            inside.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert inside == [before]
