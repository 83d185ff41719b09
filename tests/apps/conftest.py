"""Real runs of the command line, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

POEM = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。\n"
PROSE = "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.\n"


def run_wenmo(
    *arguments: object, cwd: Path, input: str | None = None, code: int | None = 0, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a command; check its exit code unless ``code`` is None."""
    done = subprocess.run(
        [sys.executable, "-m", "wenmo", *map(str, arguments)],
        cwd=cwd,
        input=input,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        timeout=120,
        check=False,
    )
    if code is not None:
        assert done.returncode == code, done.stderr[-2000:]
    assert code != 2 or "Traceback" not in done.stderr
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
        "ngram": ["order=4"],
        "lstm": ["embedding=16", "hidden=32", "layers=1", "rate=0.01"],
        "gpt": ["width=32", "layers=1", "heads=2", "context=32", "rate=0.01"],
    }
    for model, settings in small.items():
        command = [
            "train",
            text,
            "--model",
            model,
            "--out",
            folder / model,
            "--steps",
            120,
            "rows=8",
        ]
        run_wenmo(*command, *settings, cwd=folder)
    return {model: folder / model for model in small}
