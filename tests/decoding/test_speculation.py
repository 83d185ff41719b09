"""Drafts change how soon a text is written, and never which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from wenmo.config import override
from wenmo.decoding.draft_length import FixedLength
from wenmo.decoding.drafts.base import Draft, Proposal
from wenmo.decoding.drafts.model import ModelDraft
from wenmo.decoding.drafts.ngram import NgramDraft
from wenmo.decoding.drafts.prompt import PromptDraft
from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.engines.base import Event
from wenmo.decoding.engines.row import Row
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.models import MODELS
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import FitsCounts, FitsPrior, capability
from wenmo.models.hybrid_config import HybridConfig
from wenmo.models.network import Network
from wenmo.models.ngram import Ngram
from wenmo.models.ngram_config import NgramConfig
from wenmo.types import END

VOCAB = 13
RECURRENT = ["embedding_size=8", "hidden_size=12"]
BLOCKS = ["hidden_size=16", "layers=1", "heads=2"]
TINY: dict[str, list[str]] = {
    "grammar": [f"grammar={Path(__file__).parents[1] / 'models' / 'letters.json'}"],
    "ngram": ["order=4"],
    "rnn": RECURRENT,
    "lstm": [*RECURRENT, "layers=2"],
    "gru": RECURRENT,
    "seq2seq": [*RECURRENT, "copy=true"],
    "gpt": [*BLOCKS, "context_length=24"],
    "masked": [*BLOCKS, "context_length=32"],
    "transformer": [*BLOCKS, "encoder_layers=1", "context_length=24"],
    "gan": [*RECURRENT, "context_length=24"],
    "vae": [*RECURRENT, "latent_size=4", "context_length=24"],
}
NETWORKS = [name for name, family in MODELS.items() if issubclass(family.model_class, Network)]
FAMILIES = [*TINY, *(f"{name}+" for name in NETWORKS)]


@cache
def make(family: str) -> LanguageModel:
    torch.manual_seed(len(family))
    name = family.removesuffix("+")
    config = override(MODELS[name].config, TINY[name])
    if name != family:
        config = HybridConfig(config, NgramConfig(order=3, totals=True), breaks=(0, 3))
    model = config.build(VOCAB)
    drawn = np.random.default_rng(0).integers(0, VOCAB, 300)
    ids = np.concatenate([[0], drawn, [0]])
    if (counts := capability(model, FitsCounts)) is not None:
        counts.fit(ids)
    elif (prior := capability(model, FitsPrior)) is not None:
        prior.fit_prior(ids)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.5)
    return model.eval()


class Wrong:
    """Knows how the texts go on, and is wrong at some places."""

    name = "wrong"

    def __init__(self, texts: Sequence[Sequence[int]], every: int) -> None:
        self.texts, self.every = [list(text) for text in texts], every

    def propose(self, rows: Sequence[Row], count: int) -> list[Proposal]:
        return [Proposal(self._of(row, count)) for row in rows]

    def _of(self, row: Row, count: int) -> list[int]:
        done = row.output.tolist()
        for text in self.texts:
            if text[: len(done)] == done:
                ahead = [token for token in text[len(done) :][:count] if token != END]
                return [
                    token % (VOCAB - 1) + 1 if (len(done) + place) % self.every == 0 else token
                    for place, token in enumerate(ahead)
                ]
        return []


def write(
    model: LanguageModel, requests: Sequence[Request], length: int = 4, rows: int = 32
) -> list[list[Event]]:
    engine = AutoregressiveEngine(model, rows=rows, draft_length=FixedLength(length))
    events: dict[int, list[Event]] = {engine.submit(request): [] for request in requests}
    for event in engine.run():
        events[event.request].append(event)
    return list(events.values())


def tokens(events: list[Event]) -> list[int]:
    return [event.token for event in events]


def same(first: list[list[Event]], second: list[list[Event]]) -> None:
    assert [tokens(events) for events in first] == [tokens(events) for events in second]
    for one, other in zip(first, second, strict=True):
        assert [event.stopped_by for event in one] == [event.stopped_by for event in other]
        expected = [event.logprob for event in other]
        assert [event.logprob for event in one] == pytest.approx(expected, abs=1e-4)


REQUESTS = [
    Request([], Sampling(method="greedy", max_tokens=30, no_repeat_ngram=4)),
    Request([1, 2, 1, 2], Sampling(seed=1, max_tokens=12, temperature=0.5)),
    Request([5], Sampling(seed=2, max_tokens=9, top_p=0.9, repetition_penalty=1.3)),
    Request([3, 4], Sampling(seed=3, max_tokens=10, frequency_penalty=0.5, min_tokens=6)),
    Request([1], Sampling(seed=4, mirostat=2, max_tokens=9)),
    Request([7, 8, 9, 7, 8, 9], Sampling(method="greedy", max_tokens=8)),
]


def requests_of(model: LanguageModel) -> list[Request]:
    if model.conditioning == "encoder":
        return [replace(request, source=[4, 5, 6, 4, 5]) for request in REQUESTS]
    return REQUESTS


@cache
def plain(family: str) -> list[list[Event]]:
    return write(make(family), requests_of(make(family)))


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_are_those_without_a_draft(family: str) -> None:
    model = make(family)
    expected = plain(family)
    ngram = make("ngram")
    assert isinstance(ngram, Ngram)
    texts = [tokens(events) for events in expected]
    drafts: list[tuple[Draft[Row], int, int]] = [  # with a length, and the rows of a batch
        (PromptDraft(), 4, 32),
        (NgramDraft(ngram.ngram_tables()), 3, 32),
        (ModelDraft(model), 3, 32),
        (Wrong(texts, 5), 9, 2),
        (Wrong(texts, 2), 2, 32),
    ]
    for draft, length, rows in drafts:
        requests = [replace(request, draft=draft) for request in requests_of(model)]
        found = write(model, requests, length, rows)
        same(found, expected)
        stats = [events[-1].speculation for events in found]
        assert all(each is not None and each.steps for each in stats)
        accepted = sum(each.accepted for each in stats if each is not None)
        assert accepted or draft.name not in ("model", "wrong")


def test_processors_with_a_history_or_noise_write_the_same_with_a_draft() -> None:
    model = make("lstm")
    settings = Sampling(
        max_tokens=20, min_tokens=20, seed=4, dry_multiplier=0.8, xtc_probability=0.5, top_p=0.9
    )
    mirostat = Sampling(max_tokens=20, min_tokens=20, mirostat=2, mirostat_tau=2.0)
    asked = [Request([1, 2], settings), Request([3], mirostat)]
    without = write(model, asked)
    script = Wrong([tokens(events) for events in without], every=5)
    drafted = write(model, [replace(request, draft=script) for request in asked])
    assert list(map(tokens, drafted)) == list(map(tokens, without))
    for events in drafted:
        assert events[-1].speculation is not None
        assert events[-1].speculation.accepted > 0
