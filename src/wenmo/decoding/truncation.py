"""Logits processors that flatten, sharpen or cut a distribution before a token is drawn.

Each is a pure function from logits, float32 (rows, vocab_size), to new logits of the same shape; a
forbidden token gets −inf. Rows are independent. Every processor keeps at least one token of a row.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wenmo.decoding.history import History
from wenmo.decoding.noise import fold_in, uniform

XTC_NOISE = 0x585443  # folded into a key: the coin of XTC is independent of the drawn token
ZIPF_TOKENS = 100  # by which mirostat estimates the exponent of Zipf's law
NATS_PER_BIT = math.log(2)


def temperature(logits: Tensor, value: float | Tensor) -> Tensor:
    """Divide the logits by ``value``; each row's largest becomes 0, so that none overflows.

    Args:
        value: a number, or one for each row, float32 (rows, 1).
    """
    shifted = logits - logits.amax(1, keepdim=True)
    if isinstance(value, Tensor):
        return shifted / value.clamp_min(1e-30)
    return shifted / max(value, 1e-30)


def dynamic_temperature(logits: Tensor, value: float, reach: float, exponent: float) -> Tensor:
    """Divide the logits by a temperature that rises with the entropy of the distribution.

    T = T_min + (T_max − T_min) · (H / ln n)^exponent, where T_min = max(0, value − reach), T_max =
    value + reach, H is the entropy in nats and n the number of tokens that are possible. A row with
    one possible token stays as it is. As in koboldcpp and llama.cpp (``dynatemp_range``,
    ``dynatemp_exponent``); there is no paper.
    """
    possible = (logits > -math.inf).sum(1, keepdim=True)
    share = (_entropy(logits) / possible.clamp_min(2).log()).clamp(0, 1)
    least = max(0.0, value - reach)
    dynamic = least + (value + reach - least) * share**exponent
    return temperature(logits, dynamic.where(possible > 1, 1.0))


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k likeliest tokens; of equal ones, the lower ids."""
    if k >= logits.shape[1]:
        return logits.clone()
    least = logits.topk(k, dim=1).values[:, -1:]
    above, level = logits > least, logits == least
    room = k - above.sum(1, keepdim=True)
    return logits.masked_fill(~(above | (level & (level.cumsum(1) <= room))), -math.inf)


def typical(logits: Tensor, p: float) -> Tensor:
    """Keep the tokens whose information is nearest to the entropy and that together have mass p.

    Meister et al. (2023), *Locally Typical Sampling*, equation 10.
    """
    logp = logits.log_softmax(1)
    return _keep_mass(logits, (-logp - _entropy(logits)).abs().argsort(dim=1, stable=True), p)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of likeliest tokens with mass p at least; of equal ones, the lower ids.

    Holtzman et al. (2020), *The Curious Case of Neural Text Degeneration*, section 3.1.
    """
    return _keep_mass(logits, _ranked(logits), p)


def min_p(logits: Tensor, share: float) -> Tensor:
    """Keep the tokens whose probability is at least ``share`` of the largest.

    Nguyen et al. (2024), *Turning Up the Heat: Min-p Sampling*, section 3.
    """
    least = logits.amax(1, keepdim=True) + (math.log(share) if share > 0 else -math.inf)
    return logits.masked_fill(logits < least, -math.inf)


def epsilon_cutoff(logits: Tensor, epsilon: float) -> Tensor:
    """Keep the tokens of probability ε at least; where there are none, the likeliest.

    Hewitt et al. (2022), *Truncation Sampling as Language Model Desmoothing*: ε-sampling.
    """
    return _keep_above(logits, torch.full_like(logits[:, :1], epsilon))


def eta_cutoff(logits: Tensor, epsilon: float) -> Tensor:
    """Keep the tokens of probability η = min(ε, √ε · exp(−H)) at least, where H is the entropy.

    Hewitt et al. (2022): η-sampling, with α = √ε as recommended there. Where no token has this
    probability, the likeliest is kept.
    """
    bound = math.sqrt(epsilon) * (-_entropy(logits)).exp()
    return _keep_above(logits, bound.clamp_max(epsilon))


def top_n_sigma(logits: Tensor, n: float) -> Tensor:
    """Keep the tokens whose logit is at least M − n·σ.

    M is the largest logit, and σ the standard deviation of the logits of all possible tokens. A
    temperature before or after it makes no difference to what is kept. Tang et al. (2024), *Top-nσ:
    Not All Logits Are You Need*.
    """
    possible = logits > -math.inf
    values = logits.double().where(possible, 0.0)
    count = possible.sum(1, keepdim=True)
    mean = values.sum(1, keepdim=True) / count
    deviation = ((values - mean) ** 2 * possible).sum(1, keepdim=True).div(count).sqrt()
    least = logits.amax(1, keepdim=True).double() - n * deviation
    return logits.masked_fill(logits.double() < least, -math.inf)


def tail_free(logits: Tensor, z: float) -> Tensor:
    """Cut the tail of the distribution where the curve of sorted probabilities becomes flat.

    With the probabilities of the n possible tokens in descending order, the weights are |p″| =
    |(p_i − p_{i+1}) − (p_{i+1} − p_{i+2})|, divided by their sum. The tokens before the first index
    are kept at which the sum of the weights up to and with it exceeds z; at least one is kept.
    Bricken (2019), *Tail Free Sampling*, with the index as in llama.cpp.
    """
    ranked = _ranked(logits)
    possible = (logits > -math.inf).sum(1, keepdim=True)
    probs = logits.softmax(1, dtype=torch.float64).gather(1, ranked)
    index = torch.arange(logits.shape[1], device=logits.device)
    inner = index < possible - 2
    weights = torch.nn.functional.pad(probs, (0, 2)).diff(dim=1).diff(dim=1).abs() * inner
    total = weights.sum(1, keepdim=True)
    even = inner / inner.sum(1, keepdim=True).clamp_min(1)
    weights = torch.where(total > 1e-6, weights / total.clamp_min(1e-6), even)
    beyond = (weights.cumsum(1) > z) & inner & (index > 0)
    cut = torch.where(beyond.any(1), beyond.int().argmax(1), possible[:, 0])
    return _keep_ranks(logits, ranked, index < cut[:, None])


def exclude_top_choices(
    logits: Tensor, history: History, probability: float, threshold: float
) -> Tensor:
    """With a given probability, remove the likeliest tokens where several are likely.

    If two tokens or more have ``threshold`` as their probability at least, all of them but the
    least likely are removed. p-e-w (2024), *Exclude Top Choices (XTC)*; there is no paper. The coin
    of a row is a function of its seed and position.
    """
    assert history.keys is not None
    ranked = _ranked(logits)
    above = (logits.softmax(1) >= threshold).sum(1, keepdim=True)
    number = torch.full_like(history.keys, XTC_NOISE)
    heads = uniform(fold_in(history.keys, number), 1) < probability
    index = torch.arange(logits.shape[1], device=logits.device)
    return _keep_ranks(logits, ranked, ~heads | (index >= above - 1))


def mirostat(logits: Tensor, history: History, version: int) -> Tensor:
    """Keep the tokens that keep the surprise of the text near a target.

    Basu et al. (2021), *Mirostat: A Neural Text Decoding Algorithm that Directly Controls
    Perplexity*. Version 1 is algorithm 1: it keeps the k likeliest tokens, k = (ε̂ · 2^μ / (1 −
    N^−ε̂))^(1/ŝ), where N is the size of the vocabulary, ŝ the exponent of Zipf's law, estimated
    by least squares from the 100 likeliest tokens, and ε̂ = ŝ − 1. Version 2, of the same authors,
    keeps the tokens whose surprise −log₂ p is at most μ. At least one token is kept. μ begins as
    twice the target τ; `next_mu` gives the next.
    """
    assert history.mu is not None
    mu, ranked = history.mu[:, None].double(), _ranked(logits)
    bits = logits.double().log_softmax(1).gather(1, ranked) / -NATS_PER_BIT
    index = torch.arange(logits.shape[1], device=logits.device)
    if version == 2:
        return _keep_ranks(logits, ranked, (bits <= mu) | (index == 0))
    exponent = _zipf_exponent(bits[:, :ZIPF_TOKENS] * NATS_PER_BIT)
    size, excess = logits.shape[1], exponent - 1
    excess = excess.where(excess.abs() > 1e-9, 1e-9)  # the limit of the ratio at 0 is 1 / ln N
    ratio = -excess / torch.expm1(-excess * math.log(max(size, 2)))
    k = ((ratio.log() + mu * NATS_PER_BIT) / exponent).clamp(0, math.log(size)).exp()
    return _keep_ranks(logits, ranked, index < (k + 1e-9).floor())


def next_mu(mu: Tensor, surprise: Tensor, tau: float, eta: float) -> Tensor:
    """μ ← μ − η · (S − τ): Basu et al. (2021), algorithm 1.

    Args:
        mu: float32 (rows,).
        surprise: −log₂ of the probability that the drawn token had before mirostat cut the
            distribution, float32 (rows,).
    """
    return mu - eta * (surprise - tau)


# -- helpers -------------------------------------------------------------------------------------


def _entropy(logits: Tensor) -> Tensor:
    """The entropy of each row in nats, float32 (rows, 1)."""
    logp = logits.log_softmax(1)
    return -(logp.exp() * logp.clamp_min(-1e30)).sum(1, keepdim=True)


def _ranked(logits: Tensor) -> Tensor:
    """The tokens of each row from the likeliest to the least likely; of equal ones, the lower ids
    first."""
    return logits.argsort(dim=1, descending=True, stable=True)


def _keep_ranks(logits: Tensor, ranked: Tensor, keep: Tensor) -> Tensor:
    """Keep the tokens of certain ranks, bool (rows, vocab_size)."""
    keep = keep.expand_as(logits)
    return logits.masked_fill(~torch.empty_like(keep).scatter_(1, ranked, keep), -math.inf)


def _keep_mass(logits: Tensor, order: Tensor, p: float) -> Tensor:
    """Keep tokens in the given order until their mass reaches p; the first is always kept."""
    # Float64: over a large vocabulary, a float32 running sum is off by more than the tail's mass.
    mass = logits.softmax(1, dtype=torch.float64).gather(1, order)
    return _keep_ranks(logits, order, mass.cumsum(1) - mass < p)


def _keep_above(logits: Tensor, least: Tensor) -> Tensor:
    """Keep the tokens of a least probability, (rows, 1), and the likeliest."""
    cut = (logits.softmax(1) < least) & (logits < logits.amax(1, keepdim=True))
    return logits.masked_fill(cut, -math.inf)


def _zipf_exponent(surprise: Tensor) -> Tensor:
    """The exponent of Zipf's law, float64 (rows, 1): ŝ = Σ t_i b_i / Σ t_i², where t_i =
    ln((i+1)/i) and b_i = ln(p_i / p_{i+1}).

    Args:
        surprise: −ln p of the likeliest tokens in descending order of p, (rows, tokens).
    """
    steps = torch.arange(1, surprise.shape[1], dtype=torch.float64, device=surprise.device)
    t = ((steps + 1) / steps).log()
    b = surprise.diff(dim=1)
    known = surprise[:, 1:] < math.inf
    b, t = b.where(known, 0.0), t.expand_as(b).where(known, 0.0)
    exponent = (t * b).sum(1, keepdim=True) / (t * t).sum(1, keepdim=True).clamp_min(1e-30)
    return exponent.clamp_min(1e-6)
