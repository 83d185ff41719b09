"""What the latents of a model hold, and whether their posterior has collapsed."""

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

ACTIVE = 0.01  # the variance of its posterior mean from which a latent is active
TOKENS = 8192  # encoded at once
MOST = 5000  # texts among which mutual information is estimated
AT_ONCE = 500  # texts whose draws are compared with all others
COLLAPSED = 0.5  # nats of mutual information, below which latents tell next to nothing
FEW = 20  # fewer texts cannot tell


@torch.inference_mode()
def latent_usage(model: LanguageModel, records: Records) -> LatentUsage:
    """What the latents tell of records, means over them."""
    model.eval()
    posterior = infer_all(model, records)
    some = Posterior(*(tensor[:: -(-len(records) // MOST)] for tensor in posterior))
    active = posterior.mean.var(0, correction=0) > ACTIVE
    return LatentUsage(
        kl=float(posterior.divergence().sum(1).mean()),
        mutual_information=mutual_information(some),
        active_latents=int(active.sum()),
        latents=posterior.mean.shape[1],
    )


def collapse(figures: Mapping[str, float]) -> str | None:
    """A line for the user where the posterior has become the prior, so that latents tell nothing.

    Args:
        figures: those of `LatentUsage`, and how many ``records`` they are of, by name.
    """
    if figures.get("mutual_information", math.inf) >= COLLAPSED or figures["records"] < FEW:
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
    draws (Burda et al. 2016, equation 8): a bound, on the average, that more draws make tighter.

    Args:
        model: one with latents; it is put into evaluation mode.
        samples: the number of draws, K.
        progress: told the share that is done.
    """
    model.eval()
    latents = require(model, HasLatents)
    generator = torch.Generator(model.device).manual_seed(0)
    batches = Buckets(records, TOKENS)
    nats = 0.0
    for number, batch in enumerate(batches.once()):
        batch = batch.to(model.device)
        posterior, terms = latents.infer(batch), []
        for sample in range(samples):
            drawn = posterior.draw(generator)
            given = -model.score(batch, latents.state_at(drawn)).nats
            terms.append(given + log_prior(drawn) - posterior.log_density(drawn))
            if progress is not None:
                progress((number + (sample + 1) / samples) / batches.per_epoch)
        nats -= float((torch.stack(terms).logsumexp(0) - math.log(samples)).sum())
    return nats


def infer_all(model: LanguageModel, records: Records) -> Posterior:
    """The posterior of every record, shortest first."""
    batches = Buckets(records, TOKENS).once()
    latents = require(model, HasLatents)
    found = [latents.infer(batch.to(model.device)) for batch in batches]
    return Posterior(*(torch.cat(tensors) for tensors in zip(*found, strict=True)))


def mutual_information(posterior: Posterior) -> float:
    """I(x; z) = E[KL(q(z | x) ‖ p(z))] − KL(q(z) ‖ p(z)) in nats, where q(z) is the mean of the
    posteriors (Hoffman & Johnson 2016); estimated with one draw for each text, and so never above
    the logarithm of how many there are.
    """
    mean, log_variance = (tensor.double() for tensor in posterior)
    drawn = posterior.draw(torch.Generator(mean.device).manual_seed(0))
    precision = (-log_variance).exp()
    constant = (log_variance + mean.square() * precision).sum(1)
    own, aggregated = [], []
    for start in range(0, len(mean), AT_ONCE):  # log densities of draws under every text, but for π
        z = drawn[start : start + AT_ONCE].double()
        under = z @ (mean * precision).T - 0.5 * (z.square() @ precision.T + constant)
        own.append(under.diagonal(start))
        aggregated.append(under.logsumexp(1) - math.log(len(mean)))
    return float((torch.cat(own) - torch.cat(aggregated)).mean())
