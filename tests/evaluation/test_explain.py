"""Explanations of tokens match the likelihood and the components of the mixture."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from wenmo.evaluation.explain import explain
from wenmo.evaluation.likelihood import likelihood
from wenmo.models.hybrid import Hybrid
from wenmo.models.hybrid_config import HybridConfig
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.transformer.config import TransformerConfig
from wenmo.types import END, WenmoError

VOCAB = 9
NETWORK = TransformerConfig(hidden_size=16, layers=1, heads=2, context_length=16)
TEXT = [3, 1, 4, 1, 5, 8, 2, 6, 5, 3, 5]


@pytest.fixture
def hybrid() -> Hybrid:
    torch.manual_seed(0)
    model = HybridConfig(NETWORK, NgramConfig(3, totals=True)).build(VOCAB)
    drawn = np.random.default_rng(0).integers(1, VOCAB, 300)
    model.counts.fit(np.array([END, *drawn, *TEXT, END], np.uint16))
    for weights in model.parameters():  # those that begin as nothing would leave all tokens alike
        torch.nn.init.normal_(weights, std=0.3)
    return model


def test_probabilities_match_scores(hybrid: Hybrid) -> None:
    for model in (hybrid, hybrid.network, hybrid.counts):
        rows = explain(model, TEXT, str)
        nats = -sum(math.log(row.probability) for row in rows)
        scored = likelihood(model, np.array([END, *TEXT], np.uint16), 1).nats
        assert nats == pytest.approx(scored, rel=1e-4)
        for row in rows:
            assert (row.rank == 1) == (row.probability == row.likeliest_probability)


def test_components_add_up(hybrid: Hybrid) -> None:
    rows = explain(hybrid, TEXT, str)
    for row in rows:
        mixture_components = row.mixture_components
        assert [c.name for c in mixture_components] == [
            "counts of 1",
            "counts of 2",
            "counts of 3",
            "network",
        ]
        assert sum(c.weight for c in mixture_components) == pytest.approx(1, abs=1e-5)
        assert sum(c.share for c in mixture_components) == pytest.approx(1, abs=1e-5)
        said = sum(c.weight * c.probability for c in mixture_components)
        assert said == pytest.approx(row.probability, rel=1e-4)
    alone = [row.probability for row in explain(hybrid.network, TEXT, str)]
    assert [row.mixture_components[-1].probability for row in rows] == pytest.approx(
        alone, rel=1e-4
    )
    assert explain(hybrid.network, TEXT, str)[0].mixture_components is None


def test_error_for_long_text(hybrid: Hybrid) -> None:
    with pytest.raises(WenmoError, match="17 tokens, but the model reads 16"):
        explain(hybrid, [1] * 17, str)
