"""Any causal or sequence-to-sequence model that the ``transformers`` package runs, behind the one
interface: the slow way, for kinds that are not known here.

Of what was written nothing is kept between calls but the ids: every call reads them all again. That
is right for any architecture, whatever its cache looks like. A source is read once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import EncodesSource
from wenmo.models.config import ModelConfig
from wenmo.models.state import (
    READ_STATE,
    StateField,
    StateSchema,
    empty_read_state,
    extend_read_state,
)
from wenmo.types import END, IGNORE, Logits, State, Tokens, WenmoError

SOURCE_STATE = StateSchema(
    (
        StateField(
            "source_hidden",
            ("rows", "source time", "width"),
            "the encoder's hidden states",
            truncation="keep",
        ),
        StateField(
            "source_mask", ("rows", "source time"), "its tokens", torch.bool, truncation="keep"
        ),
    )
)
"""Of models with an encoder, beside what was read."""


@dataclass(frozen=True)
class ExternalConfig(ModelConfig):
    """Stands for the settings, which only that package knows.

    Attributes:
        architecture: its name there.
    """

    class_path: ClassVar[str] = "wenmo.models.external:ExternalModel"

    architecture: str

    def build(self, vocab_size: int) -> LanguageModel:
        raise WenmoError(
            f"a {self.architecture} runs through transformers, and is not trained here"
        )


class ExternalModel(LanguageModel, EncodesSource):
    """A wrapped model.

    Args:
        inner: of ``transformers``, causal or with an encoder, in evaluation mode.
        vocab_size: the number of ids that it gives logits for.
        context: the most tokens that it reads.
        end: its id of the mark that ends a text, which is our `END`.
        has_encoder: it has an encoder.
    """

    def __init__(
        self,
        inner: Any,
        vocab_size: int,
        context: int | None,
        end: int,
        *,
        has_encoder: bool = False,
    ) -> None:
        super().__init__()
        self.inner, self.vocab_size, self.context = inner, vocab_size, context
        self.state_schema = READ_STATE
        if has_encoder:
            self.conditioning, self.state_schema = "encoder", READ_STATE | SOURCE_STATE
        order = torch.arange(vocab_size)
        order[[END, end]] = order[[end, END]]
        self.register_buffer("order", order)

    def initial_state(
        self,
        batch_size: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        """What was read, and with an encoder what `encode` makes of the source, too."""
        if self.conditioning != "encoder":
            return empty_read_state(batch_size, self.device)
        if source is None:
            source = torch.full((batch_size, 1), END, device=self.device)
        return empty_read_state(batch_size, self.device) | self.encode(source)

    def lacks(self, kind: type) -> bool:
        return kind is EncodesSource and self.conditioning != "encoder"

    def encode(self, source: Tokens) -> State:
        """The encoder's hidden states; see `SOURCE_STATE`."""
        mask = source != IGNORE
        ids = self._order[source.clamp_min(0)]
        encoded = self.inner.get_encoder()(input_ids=ids, attention_mask=mask.long())
        return {"source_hidden": encoded.last_hidden_state, "source_mask": mask}

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        rows = len(tokens)
        before = empty_read_state(rows, tokens.device) | (state or self.initial_state(rows))
        after, places = extend_read_state(before, tokens)
        # What stands behind a row's end is seen by nothing that is asked for.
        logits = self._run(self._order[after["read_ids"]], before).float()
        index = places[..., None].expand(-1, -1, self.vocab_size)
        asked = logits[..., : self.vocab_size].gather(1, index)
        return asked[..., self._order], before | after

    def _run(self, ids: Tensor, state: State) -> Tensor:
        """The inner model's logits (rows, time, its vocabulary) of its ids."""
        if self.conditioning != "encoder":
            return self.inner(input_ids=ids, use_cache=False).logits
        from transformers.modeling_outputs import BaseModelOutput

        return self.inner(
            encoder_outputs=BaseModelOutput(last_hidden_state=state["source_hidden"]),
            attention_mask=state["source_mask"].long(),
            decoder_input_ids=ids,
            use_cache=False,
        ).logits

    @property
    def _order(self) -> Tensor:
        return self.get_buffer("order")
