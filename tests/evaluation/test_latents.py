"""Statistics of latents in cases with known results."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from wenmo.evaluation.latents import (
    collapse,
    importance_weighted,
    infer_all,
    latent_usage,
    mutual_information,
)
from wenmo.evaluation.likelihood import likelihood_of_examples
from wenmo.models.posterior import Posterior
from wenmo.models.vae import Vae
from wenmo.models.vae_config import VaeConfig
from wenmo.text.records import Records
from wenmo.types import END


def test_mutual_information_of_extreme_posteriors() -> None:
    same = Posterior(torch.full((50, 3), 0.7), torch.full((50, 3), -1.0))
    assert mutual_information(same) == pytest.approx(0, abs=1e-5)
    apart = Posterior(torch.arange(700.0)[:, None] * 100, torch.zeros(700, 1))
    assert mutual_information(apart) == pytest.approx(math.log(700), abs=1e-5)


def test_mutual_information_matches_definition() -> None:
    rng = torch.Generator().manual_seed(0)
    posterior = Posterior(
        torch.randn(600, 2, generator=rng), torch.randn(600, 2, generator=rng) * 0.3 - 1
    )
    drawn = posterior.draw(torch.Generator().manual_seed(0))
    terms = []
    for row in range(600):
        z = drawn[row : row + 1].expand(600, -1)
        each = posterior.log_density(z)
        terms.append(each[row] - each.logsumexp(0) + math.log(600))
    expected = float(torch.stack(terms).mean())
    assert mutual_information(posterior) == pytest.approx(expected, abs=1e-4)


def toy() -> tuple[Vae, Records, float]:
    """Texts of up to two letters with one latent, and their nats by numerical integration."""
    torch.manual_seed(0)
    model = VaeConfig(
        embedding_size=8, hidden_size=8, latent_size=1, context_length=8, dropout=0.0
    ).build(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    model.eval()
    ids = [END, END, 1, END, 2, END, 1, 1, END, 2, 1, END]
    records = Records(np.array(ids, np.uint16), 8)
    batch = records.batch(range(len(records)))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    exact = torch.zeros(len(records), dtype=torch.float64)
    with torch.no_grad():
        for node, share in zip(nodes, weights / weights.sum(), strict=True):
            state = model.state_at(torch.full((len(records), 1), float(node)))
            exact += float(share) * (-model.score(batch, state).nats).exp()
    return model, records, -float(exact.log().sum())


def test_importance_weighting_converges_to_the_integral() -> None:
    model, records, exact = toy()
    many = Records(np.tile(records.ids[1:], 200), 8)
    many.ids = np.concatenate([[END], many.ids]).astype(np.uint16)
    many = Records(many.ids, 8)
    figures = [importance_weighted(model, many, samples) / 200 for samples in (1, 3, 20, 200)]
    bound = likelihood_of_examples(model, many, 1)
    assert bound.bound
    assert bound.nats / 200 == pytest.approx(figures[0], rel=0.02)
    assert figures[0] > figures[1] > figures[2] > figures[3] > exact - 0.01
    assert figures[3] == pytest.approx(exact, abs=0.02)


def test_active_latents_have_varying_means() -> None:
    torch.manual_seed(0)
    model = VaeConfig(
        embedding_size=8, hidden_size=8, latent_size=3, context_length=8, dropout=0.0
    ).build(9)
    with torch.no_grad():
        model.posterior.weight.mul_(3)
        model.posterior.weight[1] = 0  # its mean is the same for all
        model.posterior.bias[1] = 0.8
    ids = np.array([END, *(i for n in range(1, 9) for i in (n, 9 - n, END))], np.uint16)
    records = Records(ids, 8)
    usage = latent_usage(model, records)
    assert (usage.active_latents, usage.latents) == (2, 3)
    with torch.no_grad():
        posterior = infer_all(model, records)
    assert usage.kl == pytest.approx(float(posterior.divergence().sum(1).mean()))


def test_collapse_is_reported_for_enough_texts() -> None:
    figures = {"mutual_information": 0.1, "active_latents": 1, "latents": 32, "records": 200}
    message = collapse(figures)
    assert message is not None
    assert "1 of 32 latents" in message
    assert "free_bits=" in message
    assert collapse({**figures, "mutual_information": 2.0}) is None
    assert collapse({**figures, "records": 5}) is None
    assert collapse({"bits_per_byte": 2.0}) is None  # a model without latents
