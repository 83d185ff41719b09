"""Runs of the command line, within this process: a new one would load PyTorch every time."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from wenmo.apps.cli import main

POEM = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。\n"
PROSE = "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.\n"


@dataclass
class Done:
    """What a command printed, and its exit code."""

    stdout: str
    stderr: str
    returncode: int


def run_wenmo(*arguments: object, cwd: Path, given: str = "", code: int = 0) -> Done:
    """Run a command as ``wenmo`` would in the folder ``cwd``, and check its exit code."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        mock.patch.object(sys, "argv", ["wenmo", *map(str, arguments)]),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode()))),
    ):
        returncode = main.run()
    done = Done(stdout.getvalue(), stderr.getvalue(), returncode)
    assert done.returncode == code, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="session")
def wenmo():
    """Runs ``wenmo`` with the given arguments in ``cwd``, and checks its exit code."""
    return run_wenmo


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small text in two languages."""
    path = tmp_path_factory.mktemp("text") / "my.txt"
    path.write_text((POEM + PROSE) * 60, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def runs(text: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small trained run of each kind of learner and state."""
    folder = tmp_path_factory.mktemp("runs")
    small = {
        "ngram": ["order=6"],
        "lstm": ["embedding=16", "hidden=64", "layers=1", "dropout=0", "rate=0.02", "time=32"],
        "gpt": ["width=32", "layers=1", "heads=2", "context=32", "rate=0.02"],
    }
    for model, settings in small.items():
        command = ["train", text, "--model", model, "--out", folder / model, "--steps", 150]
        run_wenmo(*command, "rows=8", *settings, cwd=folder)
    return {model: folder / model for model in small}
