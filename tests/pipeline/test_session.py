"""A training is stopped by a request of another thread, and continues as if it had not been."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import wenmo
from wenmo.tensors import load_tensors

SETTINGS = {"hidden_size": 12, "embedding_size": 8, "layers": 1, "batch_size": 2, "dropout": 0.2}
LINES = [
    f"{a} {b} {c}." for a in ("the", "a") for b in ("cat", "dog", "owl") for c in ("sat", "ran")
]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(LINES * 40) + "\n", encoding="utf-8")
    return path


def fit(text: Path, out: Path, **options: Any) -> wenmo.Run:
    return wenmo.fit(text, out=out, model="lstm", steps=12, eval_count=2, **SETTINGS, **options)


def in_a_thread(call: Callable[[], Any]) -> BaseException | None:
    """What a call raises in a thread of its own, as a server's or a notebook's."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_tensors(run / "checkpoints" / "000000012.safetensors")


def test_a_thread_stops_a_training_that_then_continues_exactly(text: Path, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    fit(text, whole)
    stop = wenmo.StopRequest()

    def request_at_step_5(event: Any) -> None:
        if event.kind == "step" and event.state.step == 5:
            assert in_a_thread(stop.request) is None

    error = in_a_thread(lambda: fit(text, stopped, on_event=request_at_step_5, stop=stop))
    assert isinstance(error, wenmo.Interrupted)
    assert error.step == 5
    assert (stopped / "checkpoints" / "000000005.json").is_file()
    assert not json.loads((stopped / "wenmo.json").read_text(encoding="utf-8"))["finished"]
    assert wenmo.load(stopped).generate("the ", max_tokens=4)  # what there is can write already
    fit(text, stopped)
    after, expected = weights(stopped), weights(whole)
    assert after.keys() == expected.keys()
    assert all(torch.equal(after[name], expected[name]) for name in expected)


def test_a_stop_that_was_requested_before_saves_and_takes_no_step(
    text: Path, tmp_path: Path
) -> None:
    stop, run = wenmo.StopRequest(), tmp_path / "run"
    stop.request()
    with pytest.raises(wenmo.Interrupted, match="saved at step 0"):
        fit(text, run, stop=stop)
    assert fit(text, run).card.results["steps"] == 12
