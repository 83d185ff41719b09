"""Contrastive search against the formula, computed from scratch for every token."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.decoding.engines.base import Event
from wenmo.decoding.engines.router import Router
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.models.base import LanguageModel
from wenmo.models.network import Network
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.models.transformer.config import TransformerConfig
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import END, WenmoError

Make = Callable[..., LanguageModel]
SEARCH = Sampling(method="contrastive", max_tokens=9)


def write(model: LanguageModel, *requests: Request, rows: int = 32) -> list[list[Event]]:
    engine = Router(model, rows=rows)
    events: dict[int, list[Event]] = {engine.submit(request): [] for request in requests}
    for event in engine.run():
        events[event.request].append(event)
    return list(events.values())


def tokens(events: list[Event]) -> list[int]:
    return [event.token for event in events]


def make(family: str) -> Network:
    torch.manual_seed(1)
    config: Any
    if family == "lstm":
        config = RecurrentConfig(embedding_size=12, hidden_size=16, dropout=0.0)
    else:
        encoder = {"encoder_layers": 1} if family == "transformer" else {}
        shape: dict[str, Any] = {"hidden_size": 16, "heads": 2, "layers": 2, "context_length": 64}
        config = TransformerConfig(**shape, **encoder)
    model: Network = config.build(20)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return model.eval()


@torch.no_grad()
def naive(model: Network, request: Request) -> list[int]:
    """Every candidate is read with the whole text before it, anew."""
    s, start = request.sampling, [END, *request.prompt]
    source = None if request.source is None else torch.tensor([[*request.source, END]])

    def read(ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        state = model.initial_state(1, source=source, capacity=len(ids))
        hidden, _ = model.encode_tokens(torch.tensor([ids]), state)
        return hidden[0][0], model.lm_head(hidden)[0, -1].softmax(0)

    text: list[int] = []
    while len(text) < s.max_tokens and (not text or text[-1] != END):
        before, probs = read(start + text)
        scores = {}
        for token in probs.topk(s.candidates).indices.tolist():
            own = read([*start, *text, token])[0][-1]
            alike = max(float(F.cosine_similarity(own, each, dim=0)) for each in before)
            scores[token] = (1 - s.penalty_alpha) * float(probs[token]) - s.penalty_alpha * alike
        text.append(max(scores, key=lambda token: scores[token]))
    return text


@pytest.mark.parametrize("family", ["gpt", "lstm", "transformer"])
def test_the_formula(family: str) -> None:
    model = make(family)
    source = [5, 6, 7] if family == "transformer" else None
    asked = [
        Request(prompt, replace(SEARCH, penalty_alpha=alpha, top_k=k), source)
        for prompt, alpha, k in (([3, 4], 0.6, 0), ([], 0.9, 3), ([8, 8, 9], 0.3, 2))
    ]
    expected = [naive(model, request) for request in asked]
    assert [tokens(events) for events in write(model, *asked)] == expected
    greedy = [write(model, replace(r, sampling=replace(SEARCH, method="greedy")))[0] for r in asked]
    assert [tokens(events) for events in greedy] != expected


def test_without_a_penalty_or_a_choice_it_is_greedy() -> None:
    model = make("gpt")
    [greedy] = write(model, Request([3], replace(SEARCH, method="greedy")))
    for sampling in (replace(SEARCH, penalty_alpha=0.0), replace(SEARCH, top_k=1)):
        [events] = write(model, Request([3], sampling))
        assert tokens(events) == tokens(greedy)
        assert events[0].logprob == pytest.approx(greedy[0].logprob, abs=1e-5)


asked_for = st.builds(
    lambda prompt, k, alpha, ngram, most: Request(
        prompt,
        replace(SEARCH, top_k=k, penalty_alpha=alpha, no_repeat_ngram=ngram, max_tokens=most),
    ),
    st.lists(st.integers(1, 19), max_size=9),
    st.integers(0, 4),
    st.sampled_from([0.3, 0.7]),
    st.sampled_from([0, 1]),
    st.integers(1, 14),
)


@pytest.fixture(scope="module")
def short() -> Network:
    """With a context of 8 tokens."""
    torch.manual_seed(2)
    config = TransformerConfig(hidden_size=16, heads=2, layers=1, context_length=8)
    return config.build(20).eval()


@settings(max_examples=8, deadline=None)
@given(st.lists(asked_for, min_size=1, max_size=4), st.integers(1, 12))
def test_every_batch_writes_what_each_request_would_alone(
    short: Network, asked: list[Request], rows: int
) -> None:
    for request, events in zip(asked, write(short, *asked, rows=rows), strict=True):
        [alone] = write(short, request)
        assert tokens(events) == tokens(alone)
        assert len(events) <= request.sampling.max_tokens
        if request.sampling.no_repeat_ngram:
            text = [token for token in tokens(events) if token != END]
            assert not set(text) & set(request.prompt)
            assert len(set(text)) == len(text)


def test_requests_can_be_cancelled_and_sources_end_with_the_context() -> None:
    model = make("transformer")
    engine = Router(model, rows=4)
    first, second = (engine.submit(Request([3], SEARCH, [4])) for _ in range(2))
    engine.step()
    engine.cancel(first)
    assert {event.request for event in engine.run()} == {second}
    never_end = replace(SEARCH, min_tokens=99, max_tokens=99)
    [events] = write(model, Request([3], never_end, [4]))
    assert len(events) == 64 - 2  # the context, without what the text begins with
    assert events[-1].stopped_by == "length"


def test_what_has_no_hidden_states_is_refused(table: Make, cache: Make) -> None:
    for model in (table(torch.zeros(3, 3)), cache(5)):
        with pytest.raises(WenmoError, match="compares hidden states, and this model has none"):
            write(model, Request([1], SEARCH))


@pytest.mark.parametrize(
    "options", [{"length": "7c"}, {"require": ("dog", "猫")}, {"regex": "a+b"}]
)
def test_constraints_hold(options: dict[str, Any]) -> None:
    tokenizer = Tokenizer.train(
        ["the cat and the dog", "狗和猫 ab"] * 3, TokenizerConfig("characters")
    )
    torch.manual_seed(0)
    config = RecurrentConfig(embedding_size=8, hidden_size=12, dropout=0.0)
    writer = TextGenerator(config.build(tokenizer.vocab_size), tokenizer)
    constraints = ConstraintSettings(**options)
    sampling = replace(SEARCH, max_tokens=20)
    [[one], [other]] = writer.generate(["the ", ""], sampling, constraints=constraints)
    for output in (one, other):
        assert "length" not in options or len(output.text) == 7
        assert all(phrase in output.text for phrase in options.get("require", ()))
        assert "regex" not in options or re.fullmatch("a+b", output.text)
