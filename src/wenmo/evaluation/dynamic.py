"""Dynamic evaluation: the model is trained on the text while it is scored.

Each segment is scored first and then used for a gradient step, so that no token is known before it
is scored (Krause et al. 2018, "Dynamic evaluation of neural sequence models"). The steps are
gradient descent with a decay towards the trained weights, equal for all weights.
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

SEGMENT_TOKENS = 20  # tokens that are scored before each gradient step
DECAY = 0.002  # fraction of the distance to the trained weights, after each segment
MAX_GRAD_NORM = 0.25  # gradient clipping


def dynamic_likelihood(
    model: LanguageModel,
    ids: NDArray[np.unsignedinteger],
    bytes_: int,
    learning_rate: float,
    *,
    progress: Callable[[float], None] | None = None,
) -> Likelihood:
    """Score every token of a stream after the first with dynamic evaluation.

    The model is not changed: a copy of it is trained.

    Args:
        model: a model that is trained by gradients, with unbounded context.
        ids: the stream, starting with END.
        bytes_: UTF-8 bytes of the text.
        learning_rate: learning rate of gradient descent.
        progress: called with the fraction done.
    """
    learner = copy.deepcopy(model).eval()
    weights = [weight for weight in learner.parameters() if weight.requires_grad]
    initial_weights = [weight.detach().clone() for weight in weights]
    state, nats, count = learner.initial_state(1), 0.0, len(ids) - 1
    for start in range(0, count, SEGMENT_TOKENS):
        segment = torch.from_numpy(ids[start : start + SEGMENT_TOKENS + 1].astype(np.int64))
        segment = segment.to(learner.device)[None]
        loss = learner.loss(Batch(segment[:, :-1], segment[:, 1:]), state)
        loss.total.backward()  # type: ignore[no-untyped-call]
        nats += float(loss.metrics["nats"]) * (segment.shape[1] - 1)
        torch.nn.utils.clip_grad_norm_(weights, MAX_GRAD_NORM)
        with torch.no_grad():
            for weight, initial in zip(weights, initial_weights, strict=True):
                if weight.grad is not None:
                    weight.add_(weight.grad, alpha=-learning_rate).lerp_(initial, DECAY)
        learner.zero_grad()
        state = detach(loss.state)
        if progress is not None:
            progress(min(1.0, (start + SEGMENT_TOKENS) / count))
    return Likelihood(nats, count, bytes_)
