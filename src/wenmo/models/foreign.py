"""Any causal model that the ``transformers`` package runs, behind the one interface: the slow way,
for kinds that are not known here.

Nothing is kept between calls but the ids that were read: every call reads them all again. That is
right for any architecture, whatever its cache looks like.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wenmo.models.base import LanguageModel, begin_reading, go_on_reading
from wenmo.types import END, Logits, State, Tokens, WenmoError


@dataclass(frozen=True)
class Config:
    """What stands for the settings, which only that package knows."""

    architecture: str

    def build(self, vocab_size: int) -> LanguageModel:
        raise WenmoError(
            f"a {self.architecture} runs through transformers, and is not trained here"
        )


class Foreign(LanguageModel):
    """A wrapped model.

    Args:
        inner: of ``transformers``, causal, in evaluation mode.
        vocab_size: the number of ids that it gives logits for.
        context: the most tokens that it reads.
        end: its id of the mark that ends a text, which is our `END`.
    """

    def __init__(self, inner: Any, vocab_size: int, context: int | None, end: int) -> None:
        super().__init__()
        self.inner, self.vocab_size, self.context = inner, vocab_size, context
        order = torch.arange(vocab_size)
        order[[END, end]] = order[[end, END]]
        self.register_buffer("order", order)

    def begin(
        self,
        rows: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        rng: torch.Generator | None = None,
    ) -> State:
        return begin_reading(rows, self.device)

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        after, places = go_on_reading(state or self.begin(len(tokens)), tokens)
        # What stands behind a row's end is seen by nothing that is asked for.
        logits = self.inner(input_ids=self._order[after["read"]], use_cache=False).logits.float()
        index = places[..., None].expand(-1, -1, self.vocab_size)
        asked = logits[..., : self.vocab_size].gather(1, index)
        return asked[..., self._order], after

    @property
    def _order(self) -> Tensor:
        return self.get_buffer("order")
