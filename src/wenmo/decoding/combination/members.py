"""Models that take part in a combination in a way of their own: with their ids in another order,
after another prompt, or as the probability of a class.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.decoding.combination.capabilities import ReplacesPrefix
from wenmo.decoding.combination.model import prefixed, untruncatable
from wenmo.decoding.combination.rules import NEVER
from wenmo.models.base import LanguageModel
from wenmo.models.state import StateField, StateSchema, join, select
from wenmo.types import Logits, State, Tokens, WenmoError

SKIP = StateField("skip", ("rows",), "tokens to come that the other prompt stands for", torch.long)
LOG_ODDS = StateField(
    "log_odds",
    ("rows", "vocabulary"),
    "weighted log-odds of the class with each next token",
    torch.float32,
)
READ = StateField("read", ("rows",), "tokens whose probabilities are added", torch.long)


class Reindexed(LanguageModel):
    """A model over the same tokens in another order.

    Args:
        own_ids: the model's id of each id that it is given, int64 (vocab_size,).
    """

    def __init__(self, model: LanguageModel, own_ids: Tensor) -> None:
        super().__init__()
        self.model, self.own_ids = model, own_ids.to(model.device)
        self.vocab_size, self.context = model.vocab_size, model.context
        self.conditioning, self.record_level = model.conditioning, model.record_level
        self.state_schema = untruncatable(model.state_schema)

    def initial_state(
        self,
        batch_size: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        if source is not None:
            source = torch.where(source >= 0, self.own_ids[source.clamp_min(0)], source)
        return self.model.initial_state(
            batch_size, source=source, capacity=capacity, generator=generator
        )

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        logits, after = self.model(self.own_ids[tokens], state)
        return logits[..., self.own_ids], after


class AfterOtherPrompt(LanguageModel, ReplacesPrefix):
    """A model that reads other ids in place of what a request reads first: the negative prompt of
    classifier-free guidance (Sanchez et al. 2023, section 3.1).

    Of the prefix all tokens are skipped but the last, in whose place the last of ``ids`` is read;
    from then on both read the same. So rows stay in step. An encoder reads ``source`` instead, and
    nothing is skipped.

    Args:
        ids: read in place of the prefix, at least one.
        source: ids with END, of a model with an encoder.

    Raises:
        WenmoError: ``ids`` leave no room in the context.
    """

    def __init__(
        self, model: LanguageModel, ids: Sequence[int], source: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.model, self.ids, self.source = model, list(ids), source
        self.vocab_size, self.conditioning = model.vocab_size, model.conditioning
        self.context = None if model.context is None else model.context - len(ids)
        if self.context is not None and self.context < 2:
            raise WenmoError(
                f"negative_prompt: has {len(ids)} tokens, but the model reads {model.context}: "
                "shorten it"
            )
        self.record_level = model.record_level
        self.state_schema = untruncatable(model.state_schema) | StateSchema((SKIP,))

    def lacks(self, protocol: type) -> bool:
        """With an encoder, it is the source that is replaced, and no prefix."""
        return protocol is ReplacesPrefix and self.source is not None

    def initial_state(
        self,
        batch_size: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        """The state after the other source; without an encoder, after the other ids."""
        if self.source is None:
            state = self.initial_state_before(0, capacity=capacity, generator=generator)
            return select(state, [0] * batch_size)
        own = torch.tensor([self.source] * batch_size, device=self.model.device)
        state = self.model.initial_state(batch_size, source=own, capacity=capacity)
        return state | {"skip": torch.zeros(batch_size, dtype=torch.long, device=own.device)}

    def initial_state_before(
        self,
        prefix_length: int,
        *,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        device = self.model.device
        state = self.model.initial_state(1, capacity=capacity + len(self.ids), generator=generator)
        read = self.ids[:-1] if prefix_length else self.ids
        if read:
            _, state = self.model(torch.tensor([read], device=device), state)
        return state | {"skip": torch.tensor([prefix_length], device=device)}

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        """The logits after skipped tokens are 0: nobody asks what follows them."""
        state = state or self.initial_state(len(tokens), capacity=tokens.shape[1])
        skip = state["skip"]
        ignored = (skip - 1).clamp(0, tokens.shape[1]).tolist()
        groups = {count: [r for r, n in enumerate(ignored) if n == count] for count in set(ignored)}
        if len(groups) == 1:
            return self._read(tokens, state, ignored[0])
        parts = [
            self._read(tokens[rows], select(state, rows), count) for count, rows in groups.items()
        ]
        order = torch.tensor([row for rows in groups.values() for row in rows]).argsort()
        logits = torch.cat([logits for logits, _ in parts])[order.to(tokens.device)]
        return logits, select(join([after for _, after in parts]), order)

    def _read(self, tokens: Tokens, state: State, ignored: int) -> tuple[Logits, State]:
        """Read tokens of rows that ignore as many of them."""
        rows, time = tokens.shape
        skip, own = state["skip"], {k: t for k, t in state.items() if k != "skip"}
        after = {"skip": (skip - time).clamp_min(0)}
        if ignored == time:
            return torch.zeros(rows, time, self.vocab_size, device=tokens.device), own | after
        read = tokens[:, ignored:]
        replaced = (skip > 0) & (skip <= time)
        if replaced.any():
            read = read.clone()
            read[replaced, 0] = self.ids[-1]
        logits, own = self.model(read, own)
        return F.pad(logits, (0, 0, ignored, 0)), own | after


class ClassPosterior(LanguageModel):
    """The probability that a text is of one class and not of another, by a model of each (Krause et
    al. 2021, *GeDi*, equations 3 to 5).

    With x the text so far, v a next token and t their length, ``forward`` returns for each v

        log P(c | x v) = log σ((1 / t) Σᵢ αᵢ log pᵢ(x v)),

    where α is positive for models of the class and negative for models of the other; the classes
    are equally likely beforehand.

    Args:
        models: over the same ids.
        weights: their α.
    """

    def __init__(self, models: Sequence[LanguageModel], weights: Sequence[float]) -> None:
        super().__init__()
        self.models, self.weights = nn.ModuleList(models), list(weights)
        self.vocab_size = models[0].vocab_size
        contexts = [model.context for model in models if model.context is not None]
        self.context = min(contexts, default=None)
        conditionings = {model.conditioning for model in models}
        self.conditioning = "encoder" if "encoder" in conditionings else "none"
        self.state_schema = StateSchema((LOG_ODDS, READ))
        for number, model in enumerate(models):
            self.state_schema |= prefixed(model.state_schema, f"class{number}/")

    def initial_state(
        self,
        batch_size: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        device = self.device
        state = {
            "log_odds": torch.zeros(batch_size, self.vocab_size, device=device),
            "read": torch.zeros(batch_size, dtype=torch.long, device=device),
        }
        for number, model in enumerate(self.models):
            assert isinstance(model, LanguageModel)
            own = model.initial_state(
                batch_size,
                source=source if model.conditioning == "encoder" else None,
                capacity=capacity,
                generator=generator,
            )
            state |= {f"class{number}/{name}": tensor for name, tensor in own.items()}
        return state

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        state = state or self.initial_state(len(tokens), capacity=tokens.shape[1])
        after: State = {}
        steps = torch.zeros(*tokens.shape, self.vocab_size, device=tokens.device)
        for number, (model, weight) in enumerate(zip(self.models, self.weights, strict=True)):
            prefix = f"class{number}/"
            own = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
            logits, own = model(tokens, own)
            steps += weight * logits.log_softmax(-1).nan_to_num(neginf=NEVER)
            after |= {prefix + name: tensor for name, tensor in own.items()}
        # What was read first began the text: its log-odds are 0, as the state has them.
        first = state["log_odds"].gather(1, tokens[:, :1])
        others = steps[:, :-1].gather(2, tokens[:, 1:, None])[..., 0]
        log_odds = steps + torch.cat([first, others], 1).cumsum(1)[..., None]
        after["log_odds"], after["read"] = log_odds[:, -1], state["read"] + tokens.shape[1]
        lengths = state["read"][:, None] + torch.arange(1, tokens.shape[1] + 1, device=self.device)
        return F.logsigmoid(log_odds / lengths[..., None]), after
