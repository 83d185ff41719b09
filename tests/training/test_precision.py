"""bfloat16 where it is faster, and no time lost where it cannot be."""

from __future__ import annotations

import pytest
import torch

from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.training import learners
from wenmo.training.learners import faster_precision
from wenmo.types import Batch


class Large(torch.nn.Module):
    """Enough weights to be measured; its loss may not be asked for."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1024, 1025))

    def loss(self, *given: object, **options: object) -> None:
        raise AssertionError("measured")


class OneBatch:
    def __getitem__(self, number: int) -> Batch:
        tokens = torch.zeros((1, 2), dtype=torch.int64)
        return Batch(tokens, tokens)


def test_a_cpu_that_is_slower_in_bfloat16_measures_no_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(learners, "products_gain", lambda: False)
    assert faster_precision(Large(), OneBatch()) == "float32"  # type: ignore[arg-type]


def test_a_cpu_that_is_faster_in_bfloat16_measures_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(learners, "products_gain", lambda: True)
    with pytest.raises(AssertionError, match="measured"):
        faster_precision(Large(), OneBatch())  # type: ignore[arg-type]


def test_small_models_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learners, "products_gain", lambda: pytest.fail("measured"))
    model = RecurrentConfig(embedding_size=4, hidden_size=4, layers=1).build(5)
    assert faster_precision(model, OneBatch()) == "float32"


def test_products_are_measured() -> None:
    assert learners.products_gain() in (True, False)
