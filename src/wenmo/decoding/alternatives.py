"""The likeliest tokens at each position of a written text, before and after processing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wenmo.decoding.engines.choice import Chooser
from wenmo.decoding.engines.masked import MaskedEngine
from wenmo.decoding.engines.router import engine_for
from wenmo.decoding.engines.row import Row
from wenmo.decoding.request import Request, Task
from wenmo.decoding.rescoring import text_logits
from wenmo.models.base import LanguageModel
from wenmo.results import Result
from wenmo.types import END, WenmoError

MAX_ALTERNATIVES = 100


@dataclass(frozen=True)
class Candidate(Result):
    """A token that might stand at a position of a text.

    Attributes:
        id: its id.
        token: its text; the end of the text is ``""``, and bytes that are no whole characters are
            shown as U+FFFD.
        probability: under the model itself.
        processed: after constraints and logits processors; of a method that does not draw, the
            share of what they leave.
    """

    id: int
    token: str
    probability: float
    processed: float


@dataclass(frozen=True)
class Position(Result):
    """A written token and what might have stood in its place.

    Attributes:
        written: the token that was written.
        alternatives: the likeliest tokens under the model, the likeliest first; the written token
            may be among them.
    """

    written: Candidate
    alternatives: tuple[Candidate, ...]


def check_alternatives(count: int, model: LanguageModel, request: Request) -> None:
    """Check that alternatives can be told of a request.

    Raises:
        WenmoError: too many, or a method without a distribution of the next token.
    """
    if not 1 <= count <= MAX_ALTERNATIVES:
        raise WenmoError(f"alternatives={count}: must be from 1 to {MAX_ALTERNATIVES}")
    if request.sampling.method == "uniform":
        raise WenmoError(
            "alternatives: method=uniform draws whole texts and has no distribution of the next "
            "token: leave one of the two out"
        )
    if engine_for(model, request) is MaskedEngine:
        raise WenmoError(
            "alternatives: a masked model fills tokens in any order: write from left to right "
            "(unmask_order=left)"
        )


@torch.inference_mode()
def text_positions(
    model: LanguageModel,
    request: Request,
    ids: Sequence[int],
    count: int,
    table: Sequence[bytes],
) -> tuple[Position, ...]:
    """The ``count`` likeliest tokens at each position of a text.

    The text is read again, with the constraint, the processors and the noise that it was written
    with, so this works for every method that writes from left to right.

    Args:
        ids: what was written for the request, with END if it ended.
        table: the bytes of each token.

    Raises:
        WenmoError: see `check_alternatives`.
    """
    check_alternatives(count, model, request)
    row, chooser = Row.of(Task(0, request, model)), Chooser(model)
    found: list[Position] = []
    for piece in text_logits(model, request, ids):
        for logits in piece:
            token = int(ids[len(found)])
            logp, processed = chooser.distributions(row, logits[None], token)
            best = logp.topk(min(count, len(logp))).indices.tolist()
            written, *others = _candidates([token, *best], logp, processed, table)
            found.append(Position(written, tuple(others)))
            if token != END:
                row.ids.append(token)
                if row.constraint is not None:
                    row.constraint.advance(token)
    return tuple(found)


def _candidates(
    tokens: Sequence[int], logp: Tensor, processed: Tensor, table: Sequence[bytes]
) -> list[Candidate]:
    before, after = (each[list(tokens)].exp().tolist() for each in (logp, processed))
    texts = [table[token].decode(errors="replace") for token in tokens]
    return [Candidate(*each) for each in zip(tokens, texts, before, after, strict=True)]
