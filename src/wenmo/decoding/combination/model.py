"""Several models over one vocabulary that write as one.

The state of the combination is the union of its members' states, so that every engine, beam,
constraint, cache and metric works with it as with any model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from wenmo.decoding.combination.capabilities import HasBaseModel, ReplacesPrefix
from wenmo.decoding.combination.rules import candidates, mixture, prefer, product
from wenmo.decoding.logits import gather_ends
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import (
    Infills,
    RestrictsPrefixes,
    capability,
    has_capability,
    require,
)
from wenmo.models.state import StateField, StateSchema
from wenmo.types import Logits, State, Tokens


@dataclass(frozen=True)
class Member:
    """A model beside the base.

    Attributes:
        model: over the ids of the base.
        weight: its weight; negative: of an anti-expert.
        is_distribution: it predicts the next token; otherwise what it computes for each next token
            is a log-probability of something else, such as of a class, and is not normalised.
    """

    model: LanguageModel
    weight: float
    is_distribution: bool = True


class CombinedModel(LanguageModel, HasBaseModel, Infills, RestrictsPrefixes, ReplacesPrefix):
    """A base whose predictions others change; see `wenmo.decoding.combination.rules`.

    Its context is the shortest of its members'. It fills gaps if all of its members do.

    Args:
        base: decides how texts begin and end, and how sources are read.
        members: the others.
        rule: how predictions are combined.
        base_weight: of the base in a product.
        top_k, top_p, min_p: among which tokens of the base; see `candidates`.
    """

    def __init__(
        self,
        base: LanguageModel,
        members: Sequence[Member],
        *,
        rule: Literal["product", "mixture"] = "product",
        base_weight: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
    ) -> None:
        super().__init__()
        self.base, self.rule, self.base_weight = base, rule, base_weight
        self.among = (top_k, top_p, min_p)
        self.members = nn.ModuleList(member.model for member in members)
        self.weights = [member.weight for member in members]
        self._normalized = [member.is_distribution for member in members]
        self.vocab_size, self.conditioning = base.vocab_size, base.conditioning
        self.record_level, self.special_tokens = base.record_level, base.special_tokens
        models = [base, *self._models()]
        contexts = [model.context for model in models if model.context is not None]
        self.context = min(contexts, default=None)
        self.state_schema = base.state_schema
        for number, model in enumerate(self._models()):
            self.state_schema |= prefixed(model.state_schema, _prefix(number))

    def lacks(self, protocol: type) -> bool:
        models = [self.base, *self._models()]
        if protocol is Infills:
            return not all(has_capability(model, Infills) for model in models)
        if protocol is ReplacesPrefix:
            return not any(has_capability(model, ReplacesPrefix) for model in self._models())
        return False

    def base_model(self) -> LanguageModel:
        return self.base

    def initial_state(
        self,
        batch_size: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        """The union of the members' states; the base draws its latents first."""
        state = self.base.initial_state(
            batch_size, source=source, capacity=capacity, generator=generator
        )
        for number, model in enumerate(self._models()):
            own = model.initial_state(
                batch_size,
                source=source if model.conditioning == "encoder" else None,
                capacity=capacity,
                generator=generator,
            )
            state = state | _named(own, _prefix(number))
        return state

    def initial_state_before(
        self,
        prefix_length: int,
        *,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        state = self.base.initial_state(1, capacity=capacity, generator=generator)
        for number, model in enumerate(self._models()):
            replacing = capability(model, ReplacesPrefix)
            if replacing is None:
                own = model.initial_state(1, capacity=capacity, generator=generator)
            else:
                own = replacing.initial_state_before(
                    prefix_length, capacity=capacity, generator=generator
                )
            state = state | _named(own, _prefix(number))
        return state

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        state = state or self.initial_state(len(tokens), capacity=tokens.shape[1])
        prefixes = [_prefix(number) for number in range(len(self.members))]
        of_base = {k: t for k, t in state.items() if not k.startswith(tuple(prefixes))}
        logits, after = self.base(tokens, of_base)
        scores = []
        for prefix, model in zip(prefixes, self._models(), strict=True):
            own = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
            score, own_after = model(tokens, own)
            scores.append(score)
            after = after | _named(own_after, prefix)
        return self.combine(logits, scores), after

    def fill(self, tokens: Tokens, hidden: Tensor, positions: Tensor) -> Logits:
        models = [require(model, Infills) for model in (self.base, *self._models())]
        logits, *scores = [model.fill(tokens, hidden, positions) for model in models]
        return self.combine(logits, scores)

    def accepts_prefix(self, ids: Sequence[int]) -> bool:
        restricted = (capability(m, RestrictsPrefixes) for m in (self.base, *self._models()))
        return all(model.accepts_prefix(ids) for model in restricted if model is not None)

    def combine(self, logits: Logits, scores: Sequence[Tensor]) -> Logits:
        """The combined prediction, float32 (..., vocabulary).

        Args:
            logits: of the base.
            scores: what each member computes.
        """
        logits = self._ended(logits)
        others = [
            self._ended(score).log_softmax(-1) if normalized else score
            for score, normalized in zip(scores, self._normalized, strict=True)
        ]
        if self.rule == "mixture":
            combined = mixture(logits, others, self.weights)
        else:
            combined = product(logits, others, self.weights, self.base_weight)
        among = candidates(logits, *self.among)
        return combined if among is None else prefer(combined, among, logits)

    def _ended(self, logits: Logits) -> Logits:
        """Logits with END for all that ends a text, since members may have other end tokens."""
        ends = self.special_tokens.eos
        if not ends:
            return logits
        return gather_ends(logits.flatten(0, -2), ends, likeliest=False).view(logits.shape)

    def _models(self) -> list[LanguageModel]:
        return list(self.members)  # type: ignore[arg-type]


def prefixed(schema: StateSchema, prefix: str) -> StateSchema:
    """A schema whose tensors have names of their own."""
    return StateSchema(tuple(replace(each, name=prefix + each.name) for each in schema.fields))


def _prefix(number: int) -> str:
    """How the names of a member's tensors begin."""
    return f"member{number}/"


def _named(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def untruncatable(schema: StateSchema) -> StateSchema:
    """A schema of states from which no token can be taken back."""
    return StateSchema(tuple(_untruncatable(each) for each in schema.fields))


def _untruncatable(field: StateField) -> StateField:
    return field if field.truncation == "keep" else replace(field, truncation="impossible")
