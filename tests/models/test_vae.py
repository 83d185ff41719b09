"""The variational autoencoder against the framework's distributions, finite differences, and texts
so few that their probabilities can be summed and integrated.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from wenmo.models.hybrid_config import HybridConfig
from wenmo.models.network import Network
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.posterior import DIVERGENCE, Posterior, log_prior
from wenmo.models.vae import Vae, kl_weight_at
from wenmo.models.vae_config import VaeConfig
from wenmo.text.batches import pad
from wenmo.types import END, IGNORE, Batch

VOCAB = 9
NEAR = {"rtol": 1e-5, "atol": 1e-5}
SMALL = {
    "embedding_size": 8,
    "hidden_size": 8,
    "latent_size": 3,
    "heads": 2,
    "context_length": 16,
    "dropout": 0.0,
}
KINDS = list(product(["lstm", "transformer"], repeat=2))
every_kind = pytest.mark.parametrize(("encoder", "decoder"), KINDS)


def make(vocab_size: int = VOCAB, **more: object) -> Vae:
    torch.manual_seed(0)
    model = VaeConfig(**{**SMALL, **more}).build(vocab_size)  # type: ignore[arg-type]
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return model.eval()


def batch_of(*texts: list[int]) -> Batch:
    tokens, targets = [[END, *text] for text in texts], [[*text, END] for text in texts]
    return Batch(pad(tokens, END), pad(targets, IGNORE))


TEXTS = batch_of([3, 4, 5, 6, 4], [8], [], [1, 7, 1, 2])
numbers = st.lists(st.floats(-3, 3), min_size=4, max_size=4)


# -- the divergence ------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(means=numbers, log_variances=numbers)
def test_divergence_and_density_are_those_of_the_framework(
    means: list[float], log_variances: list[float]
) -> None:
    posterior = Posterior(torch.tensor([means]), torch.tensor([log_variances]))
    normal = Normal(posterior.mean, (0.5 * posterior.log_variance).exp())
    expected = kl_divergence(normal, Normal(0.0, 1.0))
    torch.testing.assert_close(posterior.divergence(), expected, rtol=1e-4, atol=1e-4)
    z = torch.tensor([[0.5, -1.0, 2.0, 0.0]])
    density = normal.log_prob(z).sum(1)
    torch.testing.assert_close(posterior.log_density(z), density, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(log_prior(z), Normal(0.0, 1.0).log_prob(z).sum(1), **NEAR)


def test_gradients_agree_with_finite_differences() -> None:
    """Of the divergence, and of the loss by way of a draw, with the same noise each time."""
    generator = torch.Generator().manual_seed(1)
    pair = [torch.randn(2, 3, dtype=torch.float64, generator=generator) for _ in range(2)]
    for tensor in pair:
        tensor.requires_grad_()
    torch.autograd.gradcheck(lambda mean, log: Posterior(mean, log).divergence(), pair)
    model = make(free_bits=0.0)
    model.weight = 0.7
    weights = (model.posterior.weight, model.posterior.bias, model.steering.weight)
    gradients = torch.autograd.grad(model.loss(TEXTS).total, weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        at, ends = (1,) * weight.dim(), []
        for step in (1e-2, -2e-2):
            with torch.no_grad():
                weight[at] += step
                ends.append(float(model.loss(TEXTS).total))
        with torch.no_grad():
            weight[at] += 1e-2
        assert (ends[0] - ends[1]) / 2e-2 == pytest.approx(float(gradient[at]), rel=0.02, abs=1e-4)


# -- the bound -----------------------------------------------------------------------------------


@every_kind
def test_the_score_is_the_texts_given_their_latents_and_the_divergence(
    encoder: str, decoder: str
) -> None:
    model = make(encoder=encoder, decoder=decoder)
    with torch.no_grad():
        before, score = model.batch_state(TEXTS, None), model.score(TEXTS)
        assert before is not None
        given_latents = model.score(TEXTS, {n: t for n, t in before.items() if n != DIVERGENCE})
        divergence = model.infer(TEXTS).divergence().sum(1)
        again = model.score(TEXTS)
    assert score.bound
    assert not given_latents.bound
    torch.testing.assert_close(score.nats, given_latents.nats + divergence, **NEAR)
    torch.testing.assert_close(again.nats, score.nats, **NEAR)


def test_the_bound_lies_above_what_integration_gives() -> None:
    """Two letters, up to two of them: every text's probability, integrated over one latent."""
    model = make(3, latent_size=1)
    texts = [[], [1], [2], [1, 1], [1, 2], [2, 1], [2, 2]]
    batch = batch_of(*texts)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    shares = torch.from_numpy(weights / weights.sum())
    with torch.no_grad():
        exact = torch.zeros(len(texts), dtype=torch.float64)
        for node, share in zip(nodes, shares, strict=True):
            state = model.state_at(torch.full((len(texts), 1), float(node)))
            exact += share * (-model.score(batch, state).nats).exp()
        assert 0 < float(exact.sum()) < 1  # longer texts have the rest
        posterior, bounds = model.infer(batch), []
        rng = torch.Generator().manual_seed(0)
        for _ in range(400):
            state = model.state_at(posterior.draw(rng))
            bounds.append(model.score(batch, state).nats)
    bound = torch.stack(bounds).mean(0) + posterior.divergence().sum(1)
    gap = bound + exact.log()
    assert (gap > 0).all()
    assert float(gap.max()) > 0.05  # a posterior that was not trained is not the true one


def test_only_what_is_asked_of_a_text_is_read_by_the_encoder() -> None:
    model = make()
    with torch.no_grad():
        together = model.infer(TEXTS)
        alone = model.infer(batch_of([8]))
    torch.testing.assert_close(together.mean[1:2], alone.mean, **NEAR)
    torch.testing.assert_close(together.log_variance[1:2], alone.log_variance, **NEAR)
    nothing = Batch(TEXTS.tokens, torch.full_like(TEXTS.targets, IGNORE))
    assert model.score(nothing).nats.isfinite().all()


@every_kind
def test_rows_know_nothing_of_each_others_texts(encoder: str, decoder: str) -> None:
    model = make(encoder=encoder, decoder=decoder)
    texts = [[3, 4, 5, 6, 4], [8], [1, 7, 1, 2]]
    with torch.no_grad():
        together = model.infer(batch_of(*texts)).mean
        alone = torch.cat([model.infer(batch_of(text)).mean for text in texts])
    torch.testing.assert_close(together, alone, **NEAR)


# -- latents in the state ------------------------------------------------------------------------


@every_kind
def test_every_latent_steers_every_step(encoder: str, decoder: str) -> None:
    model = make(encoder=encoder, decoder=decoder)
    ids = torch.tensor([[0, 3, 4, 5]])
    with torch.no_grad():
        plain, _ = model(ids, model.initial_state(1))
        for latent in range(3):
            z = torch.zeros(1, 3)
            z[0, latent] = 1.5
            moved, _ = model(ids, model.state_at(z))
            assert ((moved - plain).abs().amax(-1) > 1e-4).all()


@every_kind
def test_pieces_from_latents_are_one_pass(encoder: str, decoder: str) -> None:
    model = make(encoder=encoder, decoder=decoder)
    ids, z = torch.randint(VOCAB, (2, 7)), torch.randn(2, 3)
    with torch.no_grad():
        whole, _ = model(ids, model.state_at(z))
        state, parts = model.state_at(z, capacity=3), []
        for piece in ids.split(3, 1):
            logits, state = model(piece, state)
            parts.append(logits)
        trained = model.lm_head(model.encode_tokens(ids, model._latent_state(z))[0])
    torch.testing.assert_close(torch.cat(parts, 1), whole, **NEAR)
    torch.testing.assert_close(trained, whole, **NEAR)  # as a batch is read, without a cache


def test_latents_are_drawn_from_the_prior_by_the_seed() -> None:
    model = make(latent_size=500)

    def drawn(seed: int) -> Tensor:
        seen = []
        steer = model._latent_state
        model._latent_state = lambda z: seen.append(z) or steer(z)  # type: ignore[method-assign,func-returns-value]
        model.initial_state(2, generator=torch.Generator().manual_seed(seed))
        model._latent_state = steer  # type: ignore[method-assign]
        return seen[0]

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    z = drawn(3)
    assert abs(float(z.mean())) < 0.1
    assert float(z.std()) == pytest.approx(1, abs=0.1)


# -- what keeps the posterior from collapsing ----------------------------------------------------


def test_the_weight_follows_its_schedule() -> None:
    linear = VaeConfig(annealing="linear", annealing_ratio=0.5, kl_floor=0.2, kl_peak=1.0)
    assert [kl_weight_at(linear, p) for p in (0, 0.25, 0.5, 1)] == pytest.approx([0.2, 0.6, 1, 1])
    cyclical = VaeConfig(annealing="cyclical", cycles=2, annealing_ratio=0.5)
    risen = [kl_weight_at(cyclical, p) for p in (0, 0.125, 0.25, 0.49, 0.5, 0.625, 1)]
    assert risen == [0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 1.0]
    assert kl_weight_at(VaeConfig(annealing="none", kl_peak=0.5), 0.0) == 0.5
    assert kl_weight_at(VaeConfig(annealing_ratio=0.0), 0.0) == 1.0


@pytest.mark.parametrize("each", [True, False])
def test_free_bits_cost_nothing(each: bool) -> None:
    model = make(free_bits=1.2, free_bits_per_dim=each)
    model.weight = 0.5
    divergence = torch.tensor([[0.1, 0.2, 1.0], [0.3, 0.8, 2.0]], requires_grad=True)
    total, watched = model.regularizer({DIVERGENCE: divergence}, targets=10)
    # The means are 0.2, 0.5 and 1.5; each may have 0.4, or all of them 1.2.
    beyond = 0.1 + 1.1 if each else 1.0
    [gradient] = torch.autograd.grad(total, divergence)
    assert float(total.detach()) == pytest.approx(0.5 * beyond * 2 / 10)
    assert float(watched["kl"]) == pytest.approx(2.2)
    assert bool(gradient[:, 0].any()) is not each
    free, _ = make(free_bits=9.0, free_bits_per_dim=each).regularizer({DIVERGENCE: divergence}, 10)
    assert not free.any()


def test_the_loss_is_the_bound_where_nothing_is_free() -> None:
    model = make(free_bits=0.0, annealing="none")
    with torch.no_grad():
        loss, score = model.loss(TEXTS), model.score(TEXTS)
    expected = float(score.nats.sum() / score.tokens.sum())
    assert float(loss.total) == pytest.approx(expected, rel=1e-5)
    assert float(loss.metrics["nats"]) < float(loss.total)


def test_word_dropout_keeps_tokens_from_the_decoder_in_training_alone() -> None:
    model = make(word_dropout=0.999)
    ids, state = torch.tensor([[0, 3, 4, 5]]), model.initial_state(1)
    hidden = torch.zeros_like(ids)
    with torch.no_grad():
        torch.testing.assert_close(
            model.train().encode_tokens(ids, state)[0], model.encode_tokens(hidden, state)[0]
        )
        seen = model.eval().encode_tokens(ids, state)[0]
        assert not torch.allclose(seen[0], model.encode_tokens(hidden, state)[0][0])


@settings(max_examples=20, deadline=None)
@given(step=st.integers(0, 200), progress=st.floats(0, 1))
def test_the_encoder_is_trained_ahead_by_step_and_progress_alone(
    step: int, progress: float
) -> None:
    model = make(aggressive_ratio=0.5, encoder_steps=3)
    model.set_progress(progress, step)
    alone = progress < 0.5 and step % 4 != 3
    model.train().loss(TEXTS).total.backward()
    assert (model.decoder.embedding.weight.grad is None) is alone
    assert (model.steering.weight.grad is None) is alone
    assert model.posterior.weight.grad is not None


def test_training_finds_latents_that_tell_texts_apart(learn_until: Callable[..., None]) -> None:
    """Eight texts that nothing but the latents can tell apart at their first token."""
    torch.manual_seed(0)
    sizes = {"embedding_size": 16, "hidden_size": 24, "latent_size": 4, "dropout": 0.0}
    model = VaeConfig(**sizes, annealing="none", free_bits=16.0).build(VOCAB)  # type: ignore[arg-type]
    batch = batch_of(*([first, 1, 1] for first in range(1, 9)))
    learn_until(model, lambda: batch, rate=0.03, nats=0.03)
    with torch.no_grad():
        state = model.eval().state_at(model.infer(batch).mean)
        logits, _ = model(batch.tokens[:, :1], state)
    assert torch.equal(logits[:, 0].argmax(-1), batch.targets[:, 0])


# -- on counts -----------------------------------------------------------------------------------


def test_on_counts_the_bound_is_that_of_the_mixture() -> None:
    network = VaeConfig(**SMALL)  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = HybridConfig(network, NgramConfig(order=3, totals=True)).build(VOCAB).eval()
    model.fit_prior(np.array([0, 3, 4, 5, 6, 4, 0, 8, 0, 1, 7, 1, 2, 0] * 5))
    assert model.record_level
    assert model.latent_size == 3
    with torch.no_grad():
        posterior = model.infer(TEXTS)
        drawn = posterior.draw(torch.Generator().manual_seed(0))
        exact = model.score(TEXTS, model.state_at(drawn))
        score = model.score(TEXTS)
        loss = model.loss(TEXTS)
    assert score.bound
    assert not exact.bound
    torch.testing.assert_close(score.nats, exact.nats + posterior.divergence().sum(1), **NEAR)
    assert float(loss.metrics["kl"]) == pytest.approx(float(posterior.divergence().sum(1).mean()))
    model.set_progress(0.1, 0)
    assert isinstance(model.network, Network)
    assert model.network.weight == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"latent_size": 0}, "latent_size must be at least 1"),
        ({"context_length": 1}, "context"),
        ({"word_dropout": 1.0}, "word_dropout"),
        ({"annealing_ratio": 1.5}, "annealing_ratio must be from 0 to 1"),
        ({"free_bits": -1.0}, "free_bits"),
        ({"decoder": "transformer", "hidden_size": 10, "heads": 4}, "not a multiple of heads 4"),
    ],
)
def test_settings_that_make_no_sense(setting: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VaeConfig(**setting)  # type: ignore[arg-type]
