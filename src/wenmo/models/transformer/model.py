"""The Transformer, with an encoder (Vaswani et al. 2017) or without. One set of settings spans that
paper's arrangement, GPT-2 exactly (Radford et al. 2019), and the modern one of Llama and Qwen3
(Yang et al. 2025), which is the default.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.models.capabilities import EncodesSource, HasSides
from wenmo.models.network import Hidden, Network, add_steering
from wenmo.models.state import StateField, StateSchema
from wenmo.models.transformer.attention import CrossAttention, Source, sliding_window
from wenmo.models.transformer.cache import empty_kv_cache, extend_kv_cache, kv_cache_schema
from wenmo.models.transformer.config import TransformerConfig
from wenmo.models.transformer.stack import Encoder, Stack, init_weights
from wenmo.types import END, IGNORE, Logits, State, Tokens


class Transformer(Stack, Network, EncodesSource, HasSides):
    """A causal stack, and a softmax over the vocabulary."""

    config: TransformerConfig
    embedding: nn.Embedding

    def __init__(self, config: TransformerConfig, vocab_size: int) -> None:
        encodes = config.encoder_layers > 0
        super().__init__(config, vocab_size, config.layers, causal=True, cross=encodes)
        self.vocab_size, self.context = vocab_size, config.context_length
        self.hidden_size = config.hidden_size
        if encodes:
            self.conditioning = "encoder"
        self.encoder = Encoder(config, vocab_size) if encodes else None
        self.head = (
            None if config.tie_embeddings else nn.Linear(config.hidden_size, vocab_size, bias=False)
        )
        self.bias = nn.Parameter(torch.zeros(vocab_size)) if config.lm_head_bias else None
        caches = kv_cache_schema(config.layers)
        self.state_schema = caches | source_schema(config.layers) if encodes else caches
        init_weights(self, config)

    def initial_state(
        self,
        batch_size: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        """A key–value cache with room for ``capacity`` tokens a row; with an encoder, what
        ``encode`` returns, too, and ``coverage``.
        """
        shape = (self.config.query_groups, self.config.resolved_head_dim)
        like = self.embedding.weight.detach()
        caches = empty_kv_cache(batch_size, capacity, [shape] * self.config.layers, like)
        if self.encoder is None:
            return caches
        if source is None:
            source = torch.full((batch_size, 1), END, device=self.device)
        encoded = self.encode(source)
        return caches | encoded | {"coverage": encoded["source_mask"].float() * 0}

    def lacks(self, kind: type) -> bool:
        return self.encoder is None and kind in (EncodesSource, HasSides)

    def encode(self, source: Tokens) -> State:
        """The keys, the values and the mask of (rows, source time); see `source_schema`."""
        assert self.encoder is not None
        mask = source != IGNORE
        memory = self.encoder(source.clamp_min(0), mask, self.embedding)
        state: State = {"source_mask": mask}
        for depth, block in enumerate(self.blocks):
            keys, values = cast(CrossAttention, block.cross).keys_values(memory)
            state[f"source_keys.{depth}"], state[f"source_values.{depth}"] = keys, values
        return state

    def encode_tokens(self, tokens: Tokens, state: State | None = None) -> tuple[Hidden, State]:
        state = state or {}
        if self.encoder is not None and "source_mask" not in state:
            state = self.initial_state(len(tokens))
        after: State = {}
        caches = mask = None
        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        if "length" in state:
            after, caches = extend_kv_cache(state, tokens.shape[1])
            positions, mask = caches[0].positions, caches[0].mask
        if self.config.sliding_window is not None:
            mask = sliding_window(mask, positions, self.config.sliding_window)
        x = add_steering(self.embed(tokens, positions), state)
        hidden, weights = self.run_blocks(x, positions, mask, caches, self._sources(state))
        if weights is not None:
            after["coverage"] = state["coverage"] + weights.sum(1)
        return (hidden,), after

    def side(self, name: Literal["encoder", "decoder"]) -> dict[str, Tensor]:
        """An encoder has the embedding that it shares, too."""
        assert self.encoder is not None
        if name == "encoder":
            own = dict(self.encoder.named_parameters())
            return {"embedding.weight": self.embedding.weight, **own}
        every = self.named_parameters()
        return {k: w for k, w in every if not (k.startswith("encoder.") or ".cross" in k)}

    def lm_head(self, hidden_states: Hidden) -> Logits:
        weight = self.embedding.weight if self.head is None else self.head.weight
        hidden = hidden_states[0]
        if self.config.scale_logits:
            hidden = hidden * self.config.hidden_size**-0.5
        return F.linear(hidden, weight, self.bias).float()

    def _sources(self, state: State) -> list[Source] | None:
        """What each block sees of the source. The last one's attention is asked for where it is
        added up in the state.
        """
        if self.encoder is None:
            return None
        mask = state["source_mask"][:, None, None]
        last = self.config.layers - 1
        return [
            Source(
                state[f"source_keys.{depth}"],
                state[f"source_values.{depth}"],
                mask,
                needs_weights=depth == last and "coverage" in state,
            )
            for depth in range(self.config.layers)
        ]


def source_schema(layers: int) -> StateSchema:
    """What the states of a Transformer with an encoder hold beside its caches.

    A state can be truncated without ``coverage``, which may be left out.
    """
    shape, places = ("rows", "source time", "kv_heads", "head_dim"), ("rows", "source time")
    return StateSchema(
        (
            StateField("source_keys", shape, "of the source", layers=layers, truncation="keep"),
            StateField("source_values", shape, "of the source", layers=layers, truncation="keep"),
            StateField("source_mask", places, "its tokens", torch.bool, truncation="keep"),
            StateField(
                "coverage",
                places,
                "the sum of the last block's attention so far",
                torch.float32,
                optional=True,
            ),
        )
    )
