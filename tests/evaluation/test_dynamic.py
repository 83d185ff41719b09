"""Dynamic evaluation: segments are scored before they are used for training."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from wenmo.evaluation import dynamic
from wenmo.evaluation.dynamic import dynamic_likelihood
from wenmo.evaluation.likelihood import likelihood
from wenmo.models.base import LanguageModel
from wenmo.models.hybrid_config import HybridConfig
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.types import END

VOCAB = 9
NETWORK = RecurrentConfig("lstm", embedding_size=8, hidden_size=8, dropout=0.5)


def text(length: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).integers(1, VOCAB, length)
    return np.array([END, *drawn, END], np.uint16)


@pytest.fixture(params=["network", "on counts"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    torch.manual_seed(0)
    if request.param == "network":
        return NETWORK.build(VOCAB)
    hybrid = HybridConfig(NETWORK, NgramConfig(3, totals=True)).build(VOCAB)
    hybrid.counts.fit(text(200, seed=1))
    return hybrid


@pytest.mark.parametrize("length", [1, 18, 19, 20, 60])
def test_zero_learning_rate_gives_the_likelihood(model: LanguageModel, length: int) -> None:
    ids = text(length)
    found = dynamic_likelihood(model, ids, 50, 0.0)
    assert found.nats == pytest.approx(likelihood(model, ids, 50).nats, rel=1e-5)
    assert (found.tokens, found.bytes) == (length + 1, 50)


def test_repeated_text_becomes_likelier(model: LanguageModel) -> None:
    ids = np.array([END, *[1, 2, 3, 4] * 200, END], np.uint16)
    assert dynamic_likelihood(model, ids, 1, 2.0).nats < 0.7 * likelihood(model, ids, 1).nats


def test_segment_is_scored_before_its_gradient_step(model: LanguageModel) -> None:
    """Later text does not change the scores of earlier text."""
    one, other = text(40), text(40, seed=2)
    other[:21] = one[:21]
    first = [dynamic_likelihood(model, ids[:21], 1, 0.5).nats for ids in (one, other)]
    assert first[0] == pytest.approx(first[1])
    assert first[0] == pytest.approx(likelihood(model, one[:21], 1).nats, rel=1e-5)


def test_one_step_by_hand(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamic, "MAX_GRAD_NORM", float("inf"))
    ids, by_hand = text(38), copy.deepcopy(model).eval()
    pieces = [torch.from_numpy(ids[at : at + 21].astype(np.int64))[None] for at in (0, 20)]
    batches = [dynamic.Batch(piece[:, :-1], piece[:, 1:]) for piece in pieces]
    first = by_hand.loss(batches[0], by_hand.initial_state(1))
    weights = list(by_hand.parameters())
    gradients = torch.autograd.grad(first.total, weights, allow_unused=True)
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                weight -= (1 - dynamic.DECAY) * 0.3 * gradient
    second = by_hand.loss(batches[1], {n: t.detach() for n, t in first.state.items()})
    expected = 20 * float(first.metrics["nats"]) + 19 * float(second.metrics["nats"])
    assert dynamic_likelihood(model, ids, 1, 0.3).nats == pytest.approx(expected, rel=1e-5)


def test_model_is_not_changed(model: LanguageModel) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    dynamic_likelihood(model, text(50), 1, 1.0)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
