"""The approximate posterior of a variational autoencoder: independent normal distributions."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from wenmo.types import Score, State

DIVERGENCE = "divergence"  # in the state of texts whose latents were inferred: see `Posterior`


class Posterior(NamedTuple):
    """q(z | x) = N(mean, exp(log variance)), of independent latents z of texts x.

    Attributes:
        mean, log_variance: float32 (rows, latents).
    """

    mean: Tensor
    log_variance: Tensor

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        """z = mean + deviation · noise (Kingma & Welling 2014, section 2.4): (rows, latents)."""
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device)
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def divergence(self) -> Tensor:
        """KL(q(z | x) ‖ N(0, 1)) of each latent, in nats, (rows, latents) (there, appendix B)."""
        mean, log_variance = self
        return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)

    def log_density(self, latents: Tensor) -> Tensor:
        """log q(z | x) of ``latents`` (rows, latents): (rows,)."""
        mean, log_variance = self
        squares = (latents - mean).square() * (-log_variance).exp()
        return -0.5 * (squares + log_variance + math.log(2 * math.pi)).sum(-1)


def log_prior(latents: Tensor) -> Tensor:
    """log N(z; 0, 1) of ``latents`` (rows, latents): (rows,)."""
    return Posterior(torch.zeros_like(latents), torch.zeros_like(latents)).log_density(latents)


def bounded(score: Score, before: State | None) -> Score:
    """A score of texts that began with ``before``, with the divergence of its latents added: an
    upper bound on their nats.
    """
    divergence = None if before is None else before.get(DIVERGENCE)
    if divergence is None:
        return score
    return replace(score, nats=score.nats + divergence.sum(1), bound=True)
