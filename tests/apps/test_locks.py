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

HOLD = """
import sys, time
from pathlib import Path
from wenmo.runs.locks import locked
with locked(Path(sys.argv[1])):
    (Path(sys.argv[1]) / "file").write_text("")
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of a folder."""
    arguments = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, encoding="utf-8")
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_process_is_told_who_trains_here(wenmo, holder, text, tmp_path):
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


def test_a_folder_in_which_nothing_was_written_is_removed_again(tmp_path):
    with locked(tmp_path / "new" / "run"):
        assert (tmp_path / "new" / "run" / LOCK).exists()
    assert not (tmp_path / "new").exists()


def test_a_run_that_another_process_made_in_the_meantime_is_not_overwritten(
    wenmo, text, tmp_path, monkeypatch
):
    from wenmo import api as workbench

    build = workbench.corpora.build

    def meanwhile(*arguments, **more):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "wenmo.json").write_text("{}")
        return build(*arguments, **more)

    monkeypatch.setattr(workbench.corpora, "build", meanwhile)
    done = wenmo("train", text, "--out", "run", "--steps", 3, cwd=tmp_path, code=2)
    assert "run: another process trained here: run this again" in done.stderr
