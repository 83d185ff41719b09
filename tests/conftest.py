"""What every test shares: one thread for PyTorch, a private cache, and where the real data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

DATA = Path(
    os.environ.get("WENMO_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
)


@pytest.fixture(autouse=True)
def _private_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WENMO_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def data() -> Path:
    """The folder of real data; a test that needs it is skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip("the real data is not here: set WENMO_TEST_DATA to its folder")
    return DATA
