"""How the predictions of several models become one: pure functions on log-probabilities.

All tensors are float32 (..., vocabulary). What a rule returns are unnormalised log-probabilities; a
token that may not follow has −inf.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from wenmo.decoding.truncation import min_p, top_k, top_p

OUTSIDE = 1000.0  # nats that a token outside the candidates is below the last of them
NEVER = -1e4  # log-probability in place of −inf where it is subtracted


def product(
    base: Tensor, scores: Sequence[Tensor], weights: Sequence[float], base_weight: float = 1.0
) -> Tensor:
    """A weighted product of distributions: the sum of weighted log-probabilities.

    With z the logits of the base, and z⁺ and z⁻ those of an expert and an anti-expert, DExperts
    (Liu et al. 2021, equation 2) is softmax(z + α (z⁺ − z⁻)); logits and log-probabilities differ
    by a constant, which the softmax removes. With a positive weight alone this is shallow fusion
    (Gulcehre et al. 2015, section 4.1: log p + β log p⁺), with weight −1 alone contrastive decoding
    (Li et al. 2023, equation 2: log p − log p⁻), and with ``base_weight`` γ and weight 1 − γ of the
    model after another prompt it is classifier-free guidance (Sanchez et al. 2023, equation 7: log
    p⁻ + γ (log p − log p⁻)).

    A token with probability 0 in the base, or in a model with a positive weight, may not follow,
    unless none would be left.

    Args:
        base: logits of the base, which are kept as they are with ``base_weight`` 1.
        scores: log-probabilities of the others.
    """
    combined = base if base_weight == 1 else base_weight * base.log_softmax(-1)
    possible = base > -math.inf
    agreed = possible
    for score, weight in zip(scores, weights, strict=True):
        combined = combined + weight * score.nan_to_num(neginf=NEVER)
        if weight > 0:
            agreed = agreed & (score > -math.inf)
    allowed = torch.where(agreed.any(-1, keepdim=True), agreed, possible)
    return combined.masked_fill(~allowed, -math.inf)


def mixture(base: Tensor, scores: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """A weighted mean of probabilities: log ((1 − Σ wᵢ) p + Σ wᵢ pᵢ).

    Linear interpolation (Jelinek & Mercer 1980); with equal weights an ensemble.

    Args:
        base: logits of the base.
        scores: log-probabilities of the others.
        weights: between 0 and 1, their sum at most 1.
    """
    own = max(0.0, 1 - sum(weights))
    parts = [base.log_softmax(-1) + (math.log(own) if own else -math.inf)]
    parts += [score + math.log(weight) for score, weight in zip(scores, weights, strict=True)]
    return torch.stack(parts).logsumexp(0)


def candidates(base: Tensor, k: int, p: float, share: float) -> Tensor | None:
    """The tokens of the base among which others may choose, bool; None: all of them.

    Anti-experts make likely what all models find unlikely, so that Liu et al. (2021, section 3)
    keep the nucleus of the base and Li et al. (2023, equation 1) the tokens whose probability is at
    least a share of the largest.

    Args:
        base: logits of the base.
        k: as ``top_k``; 0: all.
        p: as ``top_p``.
        share: as ``min_p``.
    """
    cut = flat = base.flatten(0, -2)
    if k:
        cut = top_k(cut, k)
    if p < 1:
        cut = top_p(cut, p)
    if share:
        cut = min_p(cut, share)
    return None if cut is flat else (cut > -math.inf).view(base.shape)


def prefer(combined: Tensor, among: Tensor, base: Tensor) -> Tensor:
    """Put the tokens outside the candidates below all of these, in the order of the base.

    They are not forbidden: a constraint may allow none of the candidates, and then the likeliest
    token of the base that it allows follows.

    Args:
        combined: what a rule returned.
        among: the candidates, bool.
        base: logits of the base.
    """
    kept = combined.masked_fill(~among, math.inf)
    least = kept.masked_fill(kept == -math.inf, math.inf).amin(-1, keepdim=True)
    least = torch.where(least < math.inf, least, 0.0)
    return torch.where(among, combined, least - OUTSIDE + base.log_softmax(-1))
