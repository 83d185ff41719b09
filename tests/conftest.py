"""What every test shares: one thread for PyTorch, a private cache, the real data, commands."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest
import torch

from wenmo.apps.cli import main
from wenmo.models.base import LanguageModel
from wenmo.types import Batch

torch.set_num_threads(1)

DATA = Path(
    os.environ.get("WENMO_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
)


@pytest.fixture(scope="session", autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WENMO_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture
def data() -> Path:
    """The folder of real data; a test that needs it is skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip("the real data is not here: set WENMO_TEST_DATA to its folder")
    return DATA


@dataclass
class Done:
    """What a command printed, and its exit code."""

    stdout: str
    stderr: str
    returncode: int


def run_wenmo(*arguments: object, cwd: Path, given: str = "", code: int = 0) -> Done:
    """Run a command as ``wenmo`` would in the folder ``cwd``, and check its exit code.

    Within this process: a new one would load PyTorch every time.
    """
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
def wenmo() -> Callable[..., Done]:
    """Runs ``wenmo`` with the given arguments in ``cwd``, and checks its exit code."""
    return run_wenmo


@pytest.fixture(scope="session")
def train_until(wenmo: Callable[..., Done]) -> Callable[..., Done]:
    """Trains a run until it knows its training text as well as stated.

    A test of what a trained model writes must not depend on how the processor rounds. It states the
    loss from which on the answer is certain, and the run gets more steps until it is reached.
    """

    def train(
        data: object, out: str, *options: object, steps: int, bits_per_byte: float, cwd: Path
    ) -> Done:
        for budget in (steps, 3 * steps, 9 * steps):
            shutil.rmtree(cwd / out, ignore_errors=True)
            done = wenmo("train", data, "--out", out, "--steps", budget, *options, cwd=cwd)
            scored = wenmo("evaluate", out, data, "--method", "greedy", "--json", cwd=cwd)
            reached = json.loads(scored.stdout)["bits_per_byte"]
            if reached <= bits_per_byte:
                return done
        pytest.fail(f"{out}: {reached:.3f} bits per byte after {budget} steps")

    return train


@pytest.fixture(scope="session")
def learn_until() -> Callable[..., None]:
    """Trains a model with Adam until its loss is below the stated nats per token."""

    def learn(
        model: LanguageModel, next_batch: Callable[[], Batch], *, rate: float, nats: float
    ) -> None:
        adam = torch.optim.Adam(model.parameters(), lr=rate)
        for _ in range(2000):
            adam.zero_grad()
            loss = model.train().loss(next_batch())
            if float(loss.metrics["nats"]) < nats:
                model.eval()
                return
            loss.total.backward()  # type: ignore[no-untyped-call]
            adam.step()
        pytest.fail(f"the loss is still {float(loss.metrics['nats']):.3f} nats per token")

    return learn


@pytest.fixture(scope="session")
def docs_tables() -> ModuleType:
    """The script that writes the tables of the pages."""
    path = Path(__file__).parents[1] / "docs" / "tables.py"
    spec = spec_from_file_location("docs_tables", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
