"""How much information latents carry, and whether the posterior has collapsed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch

from wenmo.evaluation.results import LatentUsage
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import HasLatents, require
from wenmo.models.posterior import Posterior, log_prior
from wenmo.text.pairs import Buckets
from wenmo.text.records import Records

ACTIVE_VARIANCE = 0.01  # minimal variance of the posterior mean of an active latent
BATCH_TOKENS = 8192
MAX_TEXTS = 5000  # for the estimate of mutual information
CHUNK = 500  # samples that are compared with all texts at once
COLLAPSED_NATS = 0.5  # a posterior with less mutual information has collapsed
MIN_TEXTS = 20  # for a warning about a collapsed posterior


@torch.inference_mode()
def latent_usage(model: LanguageModel, records: Records) -> LatentUsage:
    """The use of latents, as means over records."""
    model.eval()
    posterior = infer_all(model, records)
    some = Posterior(*(tensor[:: -(-len(records) // MAX_TEXTS)] for tensor in posterior))
    active = posterior.mean.var(0, correction=0) > ACTIVE_VARIANCE
    return LatentUsage(
        kl=float(posterior.divergence().sum(1).mean()),
        mutual_information=mutual_information(some),
        active_latents=int(active.sum()),
        latents=posterior.mean.shape[1],
    )


def collapse(figures: Mapping[str, float]) -> str | None:
    """A warning if the posterior has collapsed to the prior, so that latents carry no information.

    Args:
        figures: the fields of `LatentUsage` by name, and ``records``, the number of records.
    """
    if (
        figures.get("mutual_information", math.inf) >= COLLAPSED_NATS
        or figures["records"] < MIN_TEXTS
    ):
        return None
    active, latents = int(figures["active_latents"]), int(figures["latents"])
    return (
        f"the posterior has collapsed ({active} of {latents} latents are active, mutual "
        f"information {figures['mutual_information']:.2f} nats): texts are written without. Raise "
        "free_bits= or word_dropout=, let the weight rise more slowly (annealing_ratio=, "
        "annealing=cyclical), train the encoder ahead (aggressive_ratio=0.2), or leave --prior out"
    )


@torch.inference_mode()
def importance_weighted(
    model: LanguageModel,
    records: Records,
    samples: int,
    progress: Callable[[float], None] | None = None,
) -> float:
    """Nats of all records by importance weighting, −log 1/K Σₖ p(x | zₖ) p(zₖ) / q(zₖ | x) over K
    samples (Burda et al. 2016, equation 8): an upper bound in expectation, tighter for larger K.

    Args:
        model: a model with latents; it is set to evaluation mode.
        samples: number of samples, K.
        progress: called with the fraction done.
    """
    model.eval()
    latents = require(model, HasLatents)
    generator = torch.Generator(model.device).manual_seed(0)
    batches = Buckets(records, BATCH_TOKENS)
    nats = 0.0
    for batch_index, batch in enumerate(batches.once()):
        batch = batch.to(model.device)
        posterior, terms = latents.infer(batch), []
        for sample_index in range(samples):
            sample = posterior.draw(generator)
            log_likelihood = -model.score(batch, latents.state_at(sample)).nats
            terms.append(log_likelihood + log_prior(sample) - posterior.log_density(sample))
            if progress is not None:
                progress((batch_index + (sample_index + 1) / samples) / batches.per_epoch)
        nats -= float((torch.stack(terms).logsumexp(0) - math.log(samples)).sum())
    return nats


def infer_all(model: LanguageModel, records: Records) -> Posterior:
    """The posterior of every record, shortest first."""
    batches = Buckets(records, BATCH_TOKENS).once()
    latents = require(model, HasLatents)
    found = [latents.infer(batch.to(model.device)) for batch in batches]
    return Posterior(*(torch.cat(tensors) for tensors in zip(*found, strict=True)))


def mutual_information(posterior: Posterior) -> float:
    """I(x; z) = E[KL(q(z | x) ‖ p(z))] − KL(q(z) ‖ p(z)) in nats, where q(z) is the mean of the
    posteriors (Hoffman & Johnson 2016). It is estimated with one sample per text, so that it is at
    most the logarithm of the number of texts.
    """
    mean, log_variance = (tensor.double() for tensor in posterior)
    samples = posterior.draw(torch.Generator(mean.device).manual_seed(0))
    precision = (-log_variance).exp()
    constant = (log_variance + mean.square() * precision).sum(1)
    own_densities, aggregate_densities = [], []
    for start in range(0, len(mean), CHUNK):  # log densities of draws under every text, but for π
        z = samples[start : start + CHUNK].double()
        densities = z @ (mean * precision).T - 0.5 * (z.square() @ precision.T + constant)
        own_densities.append(densities.diagonal(start))
        aggregate_densities.append(densities.logsumexp(1) - math.log(len(mean)))
    return float((torch.cat(own_densities) - torch.cat(aggregate_densities)).mean())
