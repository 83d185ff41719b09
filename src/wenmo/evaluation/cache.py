"""A continuous cache: raises the probability of tokens that recently followed a similar context.

The cache contains the hidden states of the last tokens, each with the next token. Similar states
vote for their next token (Grave et al. 2017, "Improving neural language models with a continuous
cache", section 3):

    p(y | h) = (1 - weight) p_model(y | h) + weight p_cache(y | h),
    p_cache(y | h) ∝ sum over cached i with token y of exp(flatness · cos(h, h_i)).

There are two differences to the paper. States are compared by cosine similarity, so that the same
flatness fits every network. Weight and flatness are not tuned: the result is that of a Bayesian
mixture over all pairs of a weight and a flatness, which costs at most the logarithm of their number
for the text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wenmo.evaluation.likelihood import STREAM_CHUNK, Likelihood, gather, windows
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import HasHiddenStates, require

CACHE_WEIGHTS = 0.02, 0.05, 0.1, 0.2, 0.3
FLATNESS = 0.0, 4.0, 8.0, 16.0, 32.0
CHUNK_TOKENS = 256  # tokens that are compared with the cache at once


def cached_likelihood(
    model: LanguageModel,
    ids: NDArray[np.unsignedinteger],
    bytes_: int,
    size: int,
    *,
    window: int | None = None,
    stride: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Likelihood:
    """Score every token of a stream after the first, with a continuous cache.

    Args:
        model: a model with hidden states; it is set to evaluation mode.
        ids: the stream, starting with END.
        bytes_: UTF-8 bytes of the text.
        size: number of tokens in the cache.
        window, stride: as for ``likelihood``; a model with unbounded context needs no windows.
        progress: called with the fraction done.
    """
    model.eval()
    targets = torch.from_numpy(ids[1:].astype(np.int64)).to(model.device)
    cached, done = torch.zeros(0, device=model.device), 0
    mixture_nats = torch.zeros(1 + len(CACHE_WEIGHTS) * len(FLATNESS), dtype=torch.float64)
    with torch.inference_mode():
        for hidden, nats in _hidden_states(model, ids, window, stride):
            for start in range(0, len(hidden), CHUNK_TOKENS):
                model_nats = nats[start : start + CHUNK_TOKENS]
                states = F.normalize(hidden[start : start + CHUNK_TOKENS], dim=1)
                cached = states if not done else torch.cat([cached[-size:], states])
                end = done + len(model_nats)
                mixture_nats += _mixture_nats(
                    cached, targets[end - len(cached) : end], model_nats, size
                ).cpu()
                done = end
                if progress is not None:
                    progress(done / len(targets))
    # The text's probability is the mean over the components of the mixture.
    total_nats = math.log(len(mixture_nats)) - float((-mixture_nats).logsumexp(0))
    return Likelihood(total_nats, len(targets), bytes_)


def _hidden_states(
    model: LanguageModel,
    ids: NDArray[np.unsignedinteger],
    window: int | None,
    stride: int | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The hidden states and nats of all tokens in order, one batch at a time."""
    hidden_states = require(model, HasHiddenStates).hidden_states
    sizes = [size for size in (window, model.context) if size is not None]
    if sizes:
        for batch in windows(ids, model.vocab_size, min(sizes), stride):
            hidden, nats, _ = hidden_states(batch.to(model.device))
            yield hidden, nats
        return
    state = model.initial_state(1)
    for begin in range(0, len(ids) - 1, STREAM_CHUNK):
        positions = np.arange(begin, min(begin + STREAM_CHUNK, len(ids) - 1))
        hidden, nats, state = hidden_states(gather(ids, positions[None]).to(model.device), state)
        yield hidden, nats


def _mixture_nats(states: Tensor, targets: Tensor, model_nats: Tensor, size: int) -> Tensor:
    """The nats of the last tokens in each component of the mixture, float64 (components,).

    Args:
        states: states of unit length, (cached + new, hidden_size).
        targets: the next token of each state.
        model_nats: the model's nats of the new tokens.
        size: number of tokens in the cache.
    """
    positions = torch.arange(len(states), device=states.device)
    new_positions = positions[-len(model_nats) :, None]
    in_cache = (positions < new_positions) & (positions >= new_positions - size)
    similarity = states[-len(model_nats) :] @ states.T
    has_target = (targets[-len(model_nats) :, None] == targets) & in_cache
    nats = [model_nats.double().sum()]
    model_probs = (-model_nats.double()).exp()
    for flatness in FLATNESS:
        weights = (flatness * (similarity - 1)).exp().double() * in_cache
        cache_probs = (weights * has_target).sum(1) / weights.sum(1).clamp_min(1e-300)
        # With an empty cache the model's probability is used.
        cache_weights = model_probs.new_tensor(CACHE_WEIGHTS)[:, None] * in_cache.any(1)
        nats += list(
            -((1 - cache_weights) * model_probs + cache_weights * cache_probs).log().sum(1)
        )
    return torch.stack(nats)
