"""The log-probabilities of a written text under another model than the one that wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    found: list[float] = []
    for logits in text_logits(model, request, ids):
        logp = logits.log_softmax(-1)
        if model.special_tokens.eos:
            sampling = request.sampling
            searched = sampling.greedy or sampling.method == "beam"
            logp = gather_ends(logp, model.special_tokens.eos, likeliest=searched)
        wanted = torch.tensor(ids[len(found) :][: len(logp)], device=model.device)
        found += logp.gather(1, wanted[:, None])[:, 0].tolist()
    return tuple(found)


@torch.inference_mode()
def text_logits(model: LanguageModel, request: Request, ids: Sequence[int]) -> Iterator[Tensor]:
    """The logits by which each id was predicted, in pieces, float32 (ids, vocab_size)."""
    row = Row.of(Task(0, replace(request, constraint=None, characters=None, draft=None), model))
    done = 0
    while done < len(ids):
        length, following = read_length(model, row), list(ids[done:])
        if model.context is not None:
            following = following[: model.context - length + 1]
        read = [*row.ids[-length:], *following[:-1]]
        yield from _logits(model, read, len(following), initial_state(model, [row], length))
        row.ids.extend(following)
        row.cached_length = len(read)
        done += len(following)


def _logits(model: LanguageModel, read: list[int], count: int, state: State) -> Iterator[Tensor]:
    """The logits after the last ``count`` of the tokens that are read."""
    tokens = torch.tensor([read], device=model.device)
    piece, first = max(1, MAX_LOGITS // model.vocab_size), len(read) - count
    for at in range(0, len(read), piece):
        logits, state = model(tokens[:, at : at + piece], state)
        if len(wanted := logits[0, max(0, first - at) :]):
            yield wanted
