"""The log-probabilities of a written text under another model than the one that wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from wenmo.decoding.engines.prefill import MAX_LOGITS, initial_state, read_length
from wenmo.decoding.engines.row import Row
from wenmo.decoding.logits import gather_ends
from wenmo.decoding.request import Request, Task
from wenmo.models.base import LanguageModel
from wenmo.types import State


@torch.inference_mode()
def text_log_probs(model: LanguageModel, request: Request, ids: Sequence[int]) -> tuple[float, ...]:
    """The natural log-probability of each id, as if the model had written them for a request.

    What the model reads of a text longer than its context is what an engine would have read.

    Args:
        ids: what was written, with END if it ended.
    """
    row = Row.of(Task(0, replace(request, constraint=None, characters=None), model))
    found: list[float] = []
    while len(found) < len(ids):
        length, following = read_length(model, row), list(ids[len(found) :])
        if model.context is not None:
            following = following[: model.context - length + 1]
        read = [*row.ids[-length:], *following[:-1]]
        state = initial_state(model, [row], length)
        found += _log_probs(model, request, read, following, state)
        row.ids.extend(following)
        row.cached_length = len(read)
    return tuple(found)


def _log_probs(
    model: LanguageModel, request: Request, read: list[int], following: list[int], state: State
) -> list[float]:
    """The log-probabilities of the tokens that follow the last of ``read``, and of those before."""
    tokens = torch.tensor([read], device=model.device)
    targets = torch.tensor(following, device=model.device)
    piece, first = max(1, MAX_LOGITS // model.vocab_size), len(read) - len(following)
    found: list[Tensor] = []
    for at in range(0, len(read), piece):
        logits, state = model(tokens[:, at : at + piece], state)
        logp = logits[0, max(0, first - at) :].log_softmax(-1)
        if model.special_tokens.eos:
            sampling = request.sampling
            searched = sampling.greedy or sampling.method == "beam"
            logp = gather_ends(logp, model.special_tokens.eos, likeliest=searched)
        wanted = targets[max(0, at - first) :][: len(logp)]
        found.append(logp.gather(1, wanted[:, None])[:, 0])
    return [float(value) for part in found for value in part.tolist()]
