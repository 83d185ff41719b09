"""One process trains in a run folder at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from wenmo.runs.locks import LOCK, check_unlocked, locked
from wenmo.types import WenmoError

HOLD_LOCK = """
import sys, time
from pathlib import Path
from wenmo.runs.locks import locked
with locked(Path(sys.argv[1])):
    (Path(sys.argv[1]) / "file").write_text("")
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of a folder."""
    arguments = [sys.executable, "-c", HOLD_LOCK, str(tmp_path / "run")]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, encoding="utf-8")
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused(wenmo, holder, text, tmp_path):
    started = time.perf_counter()
    done = wenmo("train", text, "--out", "run", "--steps", 3, cwd=tmp_path, code=2)
    assert f"run: process {holder.pid} on " in done.stderr
    assert "is training here: wait until it ends, or choose another --out" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert time.perf_counter() - started < 30  # no waiting
    with pytest.raises(WenmoError, match="is training here"), locked(tmp_path / "run"):
        pass


def test_the_lock_of_a_killed_process_does_not_block(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    check_unlocked(tmp_path / "run")
    with locked(tmp_path / "run"):
        pass


def test_an_empty_run_folder_is_removed(tmp_path):
    with locked(tmp_path / "new" / "run"):
        assert (tmp_path / "new" / "run" / LOCK).exists()
    assert not (tmp_path / "new").exists()


def test_a_run_that_another_process_made_meanwhile_is_not_overwritten(
    wenmo, text, tmp_path, monkeypatch
):
    from wenmo.text import corpus

    build = corpus.build

    def build_after_another_process(*arguments, **more):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "wenmo.json").write_text("{}")
        return build(*arguments, **more)

    monkeypatch.setattr(corpus, "build", build_after_another_process)
    done = wenmo("train", text, "--out", "run", "--steps", 3, cwd=tmp_path, code=2)
    assert "run: another process trained here: run this again" in done.stderr
