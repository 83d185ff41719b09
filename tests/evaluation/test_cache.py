"""The continuous cache: recent tokens become likelier, and no future token is used."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from wenmo.evaluation import cache
from wenmo.evaluation.cache import cached_likelihood
from wenmo.evaluation.likelihood import likelihood
from wenmo.models.base import LanguageModel
from wenmo.models.hybrid_config import HybridConfig
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.models.transformer.config import TransformerConfig
from wenmo.types import END, Batch

VOCAB = 9
NETWORKS = {
    "lstm": RecurrentConfig("lstm", embedding_size=8, hidden_size=8),
    "gpt": TransformerConfig(hidden_size=16, layers=1, heads=2, context_length=16),
}


def text(length: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).integers(1, VOCAB, length)
    return np.array([END, *drawn, END], np.uint16)


@pytest.fixture(params=["lstm", "gpt", "lstm on counts", "gpt on counts"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    torch.manual_seed(0)
    config = NETWORKS[request.param.split()[0]]
    if "counts" not in request.param:
        return config.build(VOCAB)
    hybrid = HybridConfig(config, NgramConfig(3, totals=True)).build(VOCAB)
    hybrid.counts.fit(text(200, seed=1))
    return hybrid


def test_repeated_text_becomes_likelier(model: LanguageModel) -> None:
    ids = np.array([END, *text(40)[1:-1].tolist() * 12, END], np.uint16)
    assert cached_likelihood(model, ids, 1, 100).nats < 0.9 * likelihood(model, ids, 1).nats


@pytest.mark.parametrize("stride", [None, 5])
def test_cost_on_noise_is_bounded(model: LanguageModel, stride: int | None) -> None:
    ids = text(700)
    members = 1 + len(cache.CACHE_WEIGHTS) * len(cache.FLATNESS)
    found = cached_likelihood(model, ids, 1, 50, stride=stride)
    alone = likelihood(model, ids, 1, stride=stride, window=model.context or 800)
    assert found.nats <= alone.nats + math.log(members) + 1e-3
    assert found.tokens == alone.tokens == 701


def test_matches_mixture_computed_per_token(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The paper's equations for one weight and one flatness."""
    monkeypatch.setattr(cache, "CACHE_WEIGHTS", (0.3,))
    monkeypatch.setattr(cache, "FLATNESS", (2.0,))
    monkeypatch.setattr(cache, "CHUNK_TOKENS", 4)
    ids, size = text(14), 6
    stream = torch.from_numpy(ids.astype(np.int64))[None]
    with torch.inference_mode():
        hidden, nats, _ = model.eval().hidden_states(Batch(stream[:, :-1], stream[:, 1:]))
    alone = mixed = 0.0
    for t in range(len(ids) - 1):
        votes = np.zeros(VOCAB)
        for i in range(max(0, t - size), t):
            near = torch.cosine_similarity(hidden[t], hidden[i], 0)
            votes[ids[i + 1]] += math.exp(2.0 * float(near))
        own = math.exp(-float(nats[t]))
        voted = 0.7 * own + 0.3 * votes[ids[t + 1]] / votes.sum() if t else own
        alone, mixed = alone - math.log(own), mixed - math.log(voted)
    expected = -math.log((math.exp(-alone) + math.exp(-mixed)) / 2)
    assert cached_likelihood(model, ids, 1, size).nats == pytest.approx(expected, rel=1e-5)
