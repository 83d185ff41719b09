"""One thread where the cores are busy, all where they are free."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from wenmo.training import threads


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("both", "kept"), [(0.6, 2), (1.0, 2), (1.4, 2), (9.0, 1)])
def test_the_faster_number_of_threads_is_used(
    monkeypatch: pytest.MonkeyPatch, both: float, kept: int
) -> None:
    def seconds(products: int = threads.PRODUCTS) -> float:
        return {1: 1.0, 2: both}[torch.get_num_threads()]

    monkeypatch.setattr(threads, "product_seconds", seconds)
    told = threads.avoid_busy_cores()
    assert torch.get_num_threads() == kept
    assert (told is None) == (kept == 2)
    assert threads.avoid_busy_cores() is None or kept == 1


def test_one_thread_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(threads, "product_seconds", lambda *_: pytest.fail("measured"))
    assert threads.avoid_busy_cores() is None


def test_products_take_time() -> None:
    assert threads.product_seconds() > 0
