"""A continuous cache: what a text said lately after a like context, it may say again.

The model's hidden states of the last tokens are kept, each with the token that followed; they
vote for the next token by how like their states are to the present one (Grave et al. 2017,
"Improving neural language models with a continuous cache", section 3):

    p(y | h) = (1 - share) p_model(y | h) + share p_cache(y | h),
    p_cache(y | h) ∝ sum over kept i with token y of exp(flatness · cos(h, h_i)).

Two things differ from the paper. States are compared by the cosine of their angle, so that the same
flatness suits every network. And nothing is tuned: the figure is that of a mixture of all pairs of
a share and a flatness, each weighed by how well it did on the text so far, which costs at most the
logarithm of their number, once for the whole text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wenmo.evaluation.likelihood import STREAM_TIME, Likelihood, gather, windows
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import HasHiddenStates, require

SHARES = 0.02, 0.05, 0.1, 0.2, 0.3
FLATNESS = 0.0, 4.0, 8.0, 16.0, 32.0
AT_ONCE = 256  # tokens whose states are compared with those before them in one product


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
    """Score every token of a flat stream after its first, with the help of a cache.

    Args:
        model: one with hidden states; it is put into evaluation mode.
        ids: the stream, beginning with the end symbol.
        bytes_: the UTF-8 bytes of the text that the stream spells.
        size: how many tokens the cache holds.
        window, stride: as for ``likelihood``; a model without bounds reads in one piece.
        progress: called with the share that is done.
    """
    model.eval()
    words = torch.from_numpy(ids[1:].astype(np.int64)).to(model.device)
    kept, done = torch.zeros(0, device=model.device), 0
    costs = torch.zeros(1 + len(SHARES) * len(FLATNESS), dtype=torch.float64)
    with torch.inference_mode():
        for hidden, nats in _noticed(model, ids, window, stride):
            for begin in range(0, len(hidden), AT_ONCE):
                alone = nats[begin : begin + AT_ONCE]
                states = F.normalize(hidden[begin : begin + AT_ONCE], dim=1)
                kept = states if not done else torch.cat([kept[-size:], states])
                stop = done + len(alone)
                costs += _costs(kept, words[stop - len(kept) : stop], alone, size).cpu()
                done = stop
                if progress is not None:
                    progress(done / len(words))
    # The probability of the whole text is the mean of what each member of the mixture gives it.
    mixed = math.log(len(costs)) - float((-costs).logsumexp(0))
    return Likelihood(mixed, len(words), bytes_)


def _noticed(
    model: LanguageModel,
    ids: NDArray[np.unsignedinteger],
    window: int | None,
    stride: int | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The hidden states and nats of all tokens in their order, batch by batch."""
    hidden_states = require(model, HasHiddenStates).hidden_states
    sizes = [size for size in (window, model.context) if size is not None]
    if sizes:
        for batch in windows(ids, model.vocab_size, min(sizes), stride):
            hidden, nats, _ = hidden_states(batch.to(model.device))
            yield hidden, nats
        return
    state = model.initial_state(1)
    for begin in range(0, len(ids) - 1, STREAM_TIME):
        places = np.arange(begin, min(begin + STREAM_TIME, len(ids) - 1))
        hidden, nats, state = hidden_states(gather(ids, places[None]).to(model.device), state)
        yield hidden, nats


def _costs(states: Tensor, words: Tensor, alone: Tensor, size: int) -> Tensor:
    """The nats of the last tokens, float64 (members,), by every member of the mixture.

    Args:
        states: of unit length, (kept + new, width).
        words: the token that followed each.
        alone: the model's own nats of the new ones.
        size: how many the cache holds.
    """
    place = torch.arange(len(states), device=states.device)
    new = place[-len(alone) :, None]
    seen = (place < new) & (place >= new - size)
    like = states[-len(alone) :] @ states.T
    same = (words[-len(alone) :, None] == words) & seen
    costs = [alone.double().sum()]
    own = (-alone.double()).exp()
    for flatness in FLATNESS:
        votes = (flatness * (like - 1)).exp().double() * seen
        cached = (votes * same).sum(1) / votes.sum(1).clamp_min(1e-300)
        # Where nothing is kept yet the model stands alone.
        shares = own.new_tensor(SHARES)[:, None] * seen.any(1)
        costs += list(-((1 - shares) * own + shares * cached).log().sum(1))
    return torch.stack(costs)
