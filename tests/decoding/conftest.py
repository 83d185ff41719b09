"""Tiny language models whose every logit can be worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wenmo.decoding.noise import hash_bits, uniform
from wenmo.models.base import LanguageModel


class Table(LanguageModel):
    """The next token depends on the last: logits = table[last]."""

    def __init__(self, table: Tensor, context: int | None = None) -> None:
        super().__init__()
        self.table, self.vocab_size, self.context = table, len(table), context

    def initial_state(self, batch_size, *, source=None, capacity=0, generator=None):
        return {"last": torch.zeros(batch_size, dtype=torch.long)}

    def forward(self, tokens, state=None):
        return self.table[tokens], {"last": tokens[:, -1]}


class Cache(LanguageModel):
    """Logits are a hash of all that the state holds: any mix-up of rows or places changes them.

    The cache is preallocated and grows, as a Transformer's does; what is behind a row's length is
    filled with rubbish, and what it computes from the text never sees that. With an encoder, it
    hashes the source, whose padding it never sees, and draws nothing.
    """

    def __init__(
        self, vocab_size: int, context: int | None = None, conditioning: str = "prefix"
    ) -> None:
        super().__init__()
        self.vocab_size, self.context, self.conditioning = vocab_size, context, conditioning

    def initial_state(self, batch_size, *, source=None, capacity=0, generator=None):
        start = torch.zeros(batch_size, dtype=torch.long)
        if source is not None:
            for column in source.T:
                start = torch.where(column >= 0, hash_bits(start + column + 1), start)
        elif generator is not None:
            start = start + torch.randint(1 << 40, (batch_size,), generator=generator)
        rubbish = torch.full((batch_size, capacity), 999)
        return {
            "start": start,
            "cache": rubbish,
            "length": torch.zeros(batch_size, dtype=torch.long),
        }

    def forward(self, tokens, state=None):
        state = state or self.initial_state(len(tokens), capacity=tokens.shape[1])
        cache, length = state["cache"].clone(), state["length"].clone()
        logits = []
        for column in tokens.T:
            if int(length.max()) == cache.shape[1]:
                cache = torch.cat([cache, torch.full((len(cache), 1), 999)], 1)
            cache[torch.arange(len(cache)), length] = column
            length = length + 1
            assert self.context is None or int(length.max()) <= self.context
            key = state["start"]
            for place in range(cache.shape[1]):
                key = torch.where(place < length, hash_bits(key + cache[:, place] + 1), key)
            logits.append(uniform(key, self.vocab_size) * 4)
        return torch.stack(logits, 1), {**state, "cache": cache, "length": length}


class Script(LanguageModel):
    """Spells a fixed text, whatever the prompt is: the n-th token read is followed by script[n]."""

    def __init__(self, script: list[int], vocab_size: int) -> None:
        super().__init__()
        self.script = torch.tensor([*script, 0])
        self.vocab_size, self.context = vocab_size, None

    def initial_state(self, batch_size, *, source=None, capacity=0, generator=None):
        return {"place": torch.zeros(batch_size, dtype=torch.long)}

    def forward(self, tokens, state=None):
        places = state["place"][:, None] + torch.arange(tokens.shape[1])
        following = self.script[places.clamp_max(len(self.script) - 1)]
        logits = torch.full((*tokens.shape, self.vocab_size), -10.0)
        return logits.scatter(2, following[..., None], 10.0), {"place": places[:, -1] + 1}


@pytest.fixture(scope="session")
def table() -> type[Table]:
    return Table


@pytest.fixture(scope="session")
def cache() -> type[Cache]:
    return Cache


@pytest.fixture(scope="session")
def script() -> type[Script]:
    return Script
