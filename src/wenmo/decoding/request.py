"""Requests: what a text continues or answers, and how its tokens are chosen."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from wenmo.decoding.constraints.base import Constraint, combine
from wenmo.decoding.constraints.utf8 import Utf8Vocabulary
from wenmo.decoding.drafts.base import Draft, Speculation
from wenmo.decoding.drafts.settings import NO_DRAFT
from wenmo.decoding.params import Sampling
from wenmo.decoding.search.selection import search_of
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import RestrictsPrefixes, capability
from wenmo.text.pairs import max_source_length
from wenmo.types import END, State, WenmoError


@dataclass(frozen=True, slots=True)
class Request:
    """A request for one text, or for the best texts of a beam.

    Attributes:
        prompt: the ids to continue, without the model's bos, which the engine adds.
        sampling: how the tokens are chosen; stop strings are left to the caller.
        source: the ids to answer, without END; None: there is no source.
        n: the number of texts of a beam, best first; other methods give one.
        suffix: the ids behind a gap that is to be filled; None: there is no gap.
        state: the initial state, of one row; None: an empty one.
        constraint: of the output, at its beginning; None: none. The engine forks it for each row.
        characters: keeps the output to UTF-8, and to an alphabet where it has one; None: any token
            may follow any other.
        draft: proposes tokens that the model verifies, so that the same text is written in fewer
            steps; None: none.
    """

    prompt: Sequence[int] = ()
    sampling: Sampling = field(default_factory=Sampling)
    source: Sequence[int] | None = None
    n: int = 1
    suffix: Sequence[int] | None = None
    state: State | None = None
    constraint: Constraint | None = None
    characters: Utf8Vocabulary | None = None
    draft: Draft[Any] | None = None


def own_seed(seed: int, request: Request) -> int:
    """The seed of a request: the user's seed with a hash of prompt, source and suffix.

    With the user's seed alone, the noise at each position would be the same for every prompt of a
    list, and texts of different prompts would end alike. The hash is of the content and not of the
    index in the list, so a request gets the same text alone, in any batch and in any order; equal
    prompts get equal texts (``n`` gives different ones). A request without any of the three keeps
    the seed.
    """
    given = (request.prompt, request.source or (), request.suffix or ())
    if not any(map(len, given)):
        return seed
    content = repr((seed, [[int(id_) for id_ in ids] for ids in given]))
    digest = hashlib.blake2b(content.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1  # below 2**63


class Task:
    """A request that an engine works on.

    Attributes:
        number: the id that the engine gave it.
        prefix_ids: what its rows read first: the model's bos, the source and a separator where the
            model reads them so, and the prompt.
        limit: the most tokens to write.
        width: how many rows it needs at most.
        conditioning: how its model reads a source.
        encoded_source: what an encoder reads; None: nothing.
        settings: the part of its sampling that decides how logits are processed.
        search: the beam search, if it is one.
        speculation: what came of its draft so far.
        done: it has ended or was cancelled.

    Raises:
        WenmoError: an id outside the vocabulary, a source or a prompt that the model cannot read,
            or a beam with fewer texts than requested.
    """

    def __init__(self, number: int, request: Request, model: LanguageModel) -> None:
        _check(request, model)
        sampling = request.sampling
        self.number, self.request = number, request
        self.prefix_ids, self.limit = _lay_out(request, model)
        self.conditioning = model.conditioning
        self.encoded_source = request.source if model.conditioning == "encoder" else None
        self.settings = _interned(_logit_settings(sampling))
        self.search = search_of(sampling, self.limit)
        # A beam may follow the greedy text in one row more, and a stochastic beam finds its
        # threshold in one.
        self.width = sampling.beam_width + 1 if self.search else 1
        self.speculation = Speculation()
        self.done = False

    def start_constraint(self) -> Constraint | None:
        """The constraint of a row at the beginning of its output; None: there is none."""
        request = self.request
        table, constraint = request.characters, request.constraint
        return combine(
            None if table is None else table.start(self.prefix_ids),
            None if constraint is None else constraint.fork(),
        )


def _check(request: Request, model: LanguageModel) -> None:
    biased = [token for token, _ in request.sampling.logit_bias]
    named = (
        ("source", request.source or ()),
        ("prompt", request.prompt),
        ("text behind the gap", request.suffix or ()),
        ("logit_bias", biased),
    )
    for what, ids in named:
        for token in ids:
            if not 0 <= token < model.vocab_size:
                raise WenmoError(
                    f"{what} has token {token}, but the model's ids end at "
                    f"{model.vocab_size - 1}: use the tokenizer it was trained with"
                )
    restricted = capability(model, RestrictsPrefixes)
    if restricted is not None and not restricted.accepts_prefix(request.prompt):
        raise WenmoError("the model can write no text that begins like the prompt: change it")
    beam = request.sampling.searches
    if beam and request.n > request.sampling.beam_width:
        raise WenmoError(
            f"a beam of {request.sampling.beam_width} has no {request.n} best texts: "
            f"raise beam_width to {request.n}"
        )
    if beam and request.draft is not None:
        raise WenmoError(f"draft: {NO_DRAFT[request.sampling.method]}")
    penalty = request.sampling.coverage_penalty
    if beam and penalty and "coverage" not in model.state_schema.by_tensor:
        raise WenmoError(
            f"coverage_penalty={penalty:g}: this model does not compute how much attention each "
            "source token received: leave the penalty out"
        )
    if request.source is None:
        return
    if model.conditioning == "none":
        raise WenmoError("this model cannot answer to a source: use one that can read a source")
    room = max_source_length(model.conditioning, model.context)
    if room is not None and len(request.source) > room:
        raise WenmoError(
            f"the source has {len(request.source)} tokens, but the model reads at most {room}: "
            "shorten it"
        )


def _lay_out(request: Request, model: LanguageModel) -> tuple[array[int], int]:
    """The ids that the rows of a request read first, and the largest number of new tokens."""
    prefix_ids, limit = array("q", model.special_tokens.bos), request.sampling.max_tokens
    if request.source is not None and model.conditioning == "prefix":
        prefix_ids.extend([*map(int, request.source), *model.special_tokens.separator])
    prefix_ids.extend(map(int, request.prompt))
    if not prefix_ids:
        prefix_ids.append(END)
    if request.source is not None and model.context is not None:
        free = model.context - len(prefix_ids)
        if free < 0:
            raise WenmoError(
                f"the text begins with {len(prefix_ids)} tokens, its source included, but the "
                f"model reads at most {model.context}: shorten the prompt"
            )
        limit = min(limit, free + 1)  # the last token need not be read
    return prefix_ids, limit


def _logit_settings(sampling: Sampling) -> Sampling:
    """The settings that decide how logits are processed; rows with equal ones are batched."""
    return replace(sampling, seed=0, stop=(), max_tokens=max(1, sampling.min_tokens))


@lru_cache(maxsize=64)
def _interned(settings: Sampling) -> Sampling:
    """The first of equal settings, so that the engine can compare them by identity."""
    return settings
