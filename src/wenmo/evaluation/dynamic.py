"""Dynamic evaluation: a model goes on learning from the text that it is scored on.

Each segment is scored first and learnt from afterwards, so that nothing is known of a token before
it is scored (Krause et al. 2018, "Dynamic evaluation of neural sequence models"): gradient descent
with decay towards the trained weights, the same for every weight.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from wenmo.evaluation.likelihood import Likelihood
from wenmo.models.base import LanguageModel
from wenmo.models.state import detach
from wenmo.types import Batch

SEGMENT = 20  # tokens scored, then learnt from
DECAY = 0.002  # how far the weights go back after each segment, as a share
CLIP = 0.25  # the largest norm of a gradient


def dynamic_likelihood(
    model: LanguageModel,
    ids: NDArray[np.unsignedinteger],
    bytes_: int,
    rate: float,
    *,
    progress: Callable[[float], None] | None = None,
) -> Likelihood:
    """Score every token of a flat stream after its first, learning on the way.

    The model itself is left as it is.

    Args:
        model: one that is trained by gradients and has an unbounded context.
        ids: the stream, beginning with the end symbol.
        bytes_: the UTF-8 bytes of the text that the stream spells.
        rate: of gradient descent.
        progress: called with the share that is done.
    """
    learner = copy.deepcopy(model).eval()
    weights = [weight for weight in learner.parameters() if weight.requires_grad]
    trained = [weight.detach().clone() for weight in weights]
    state, nats, count = learner.initial_state(1), 0.0, len(ids) - 1
    for begin in range(0, count, SEGMENT):
        piece = torch.from_numpy(ids[begin : begin + SEGMENT + 1].astype(np.int64))
        piece = piece.to(learner.device)[None]
        loss = learner.loss(Batch(piece[:, :-1], piece[:, 1:]), state)
        loss.total.backward()  # type: ignore[no-untyped-call]
        nats += float(loss.parts["nats"]) * (piece.shape[1] - 1)
        torch.nn.utils.clip_grad_norm_(weights, CLIP)
        with torch.no_grad():
            for weight, first in zip(weights, trained, strict=True):
                if weight.grad is not None:
                    weight.add_(weight.grad, alpha=-rate).lerp_(first, DECAY)
        learner.zero_grad()
        state = detach(loss.state)
        if progress is not None:
            progress(min(1.0, (begin + SEGMENT) / count))
    return Likelihood(nats, count, bytes_)
