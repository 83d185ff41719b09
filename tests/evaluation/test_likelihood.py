"""The likelihood of a text against brute force, one token at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.evaluation import likelihood as module
from wenmo.evaluation.likelihood import Likelihood, likelihood, windows
from wenmo.models.base import LanguageModel
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.models.transformer.config import TransformerConfig
from wenmo.types import Batch, Score, State

VOCAB, CONTEXT = 9, 8
BYTES = 1234


def text(length: int) -> np.ndarray:
    drawn = np.random.default_rng(length).integers(0, VOCAB, length).astype(np.int32)
    drawn[0] = 0
    return drawn


def randomised(model: LanguageModel) -> LanguageModel:
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn_like(weight) * 0.5)
    return model


@pytest.fixture(scope="module")
def bounded() -> LanguageModel:
    config = TransformerConfig(
        hidden_size=16, layers=1, heads=2, context_length=CONTEXT, dropout=0.5
    )
    return randomised(config.build(VOCAB))


@pytest.fixture(scope="module")
def unbounded() -> LanguageModel:
    return randomised(
        RecurrentConfig(
            "lstm", embedding_size=8, hidden_size=8, tie_embeddings=True, dropout=0.5
        ).build(VOCAB)
    )


@torch.no_grad()
def nats_of_last(model: LanguageModel, ids: np.ndarray) -> float:
    """Negative log-probability of the last id given the others."""
    logits, _ = model.eval()(torch.from_numpy(ids[:-1].astype(np.int64))[None])
    return -float(logits[0, -1].double().log_softmax(0)[ids[-1]])


@settings(max_examples=20, deadline=None)
@given(
    length=st.integers(2, 40),
    stride=st.none() | st.integers(1, CONTEXT + 2),
    rows=st.integers(1, 4),
)
def test_windows_match_brute_force(length: int, stride: int | None, rows: int) -> None:
    """Each token is scored in the first window that contains it."""
    model = randomised(
        TransformerConfig(hidden_size=8, layers=1, heads=2, context_length=CONTEXT).build(VOCAB)
    )
    ids, step = text(length), min(stride or CONTEXT, CONTEXT)
    expected = 0.0
    for target in range(1, length):
        begin = max(0, math.ceil((target - CONTEXT) / step) * step)
        expected += nats_of_last(model, ids[begin : target + 1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_LOGITS", rows * CONTEXT * VOCAB)
        found = likelihood(model, ids, BYTES, stride=stride)
    assert found.nats == pytest.approx(expected, rel=1e-5)
    assert found.tokens == length - 1
    assert found.bytes == BYTES
    assert not found.bound


def test_smaller_stride_never_reduces_context(bounded: LanguageModel) -> None:
    ids = text(30)
    expected = sum(nats_of_last(bounded, ids[max(0, t - CONTEXT) : t + 1]) for t in range(1, 30))
    assert likelihood(bounded, ids, BYTES, stride=1).nats == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("stride", [None, 3])
def test_windows_of_unbounded_model_start_empty(
    unbounded: LanguageModel, stride: int | None
) -> None:
    ids, step, expected = text(30), stride or 7, 0.0
    for target in range(1, 30):
        begin = max(0, math.ceil((target - 7) / step) * step)
        expected += nats_of_last(unbounded, ids[begin : target + 1])
    found = likelihood(unbounded, ids, BYTES, window=7, stride=stride)
    assert found.nats == pytest.approx(expected, rel=1e-5)
    assert found.tokens == 29


@pytest.mark.parametrize("length", [2, 5, 256, 257, 258, 700])
def test_single_stream_is_exact(unbounded: LanguageModel, length: int) -> None:
    ids = text(length)
    whole = torch.from_numpy(ids.astype(np.int64))[None]
    with torch.no_grad():
        logp = unbounded.eval()(whole[:, :-1])[0].double().log_softmax(-1)
    expected = -float(logp.gather(2, whole[:, 1:, None]).sum())
    found = likelihood(unbounded, ids, BYTES)
    assert found.nats == pytest.approx(expected, rel=1e-6)
    assert found.tokens == length - 1


@pytest.mark.parametrize("length", [2049, 2100, 5001])
def test_parallel_streams_are_nearly_exact(
    unbounded: LanguageModel, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = text(length)
    assert len(next(module._score_streams(ids, unbounded)).nats) > 1
    found = likelihood(unbounded, ids, BYTES)
    monkeypatch.setattr(module, "MAX_LOGITS", 0)  # room for one row
    exact = likelihood(unbounded, ids, BYTES)
    assert found.nats == pytest.approx(exact.nats, rel=1e-3)
    assert found.tokens == exact.tokens == length - 1


class Witness(LanguageModel):
    """A uniform model that records its calls."""

    vocab_size, context = 5000, None

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Batch] = []

    def initial_state(self, batch_size: int, **_: object) -> State:
        return {"rows": torch.arange(batch_size)}

    def forward(self, tokens: torch.Tensor, state: State | None = None):
        raise AssertionError("scoring asks for scores")

    def score(self, batch: Batch, state: State | None = None) -> Score:
        assert state is not None
        assert len(state["rows"]) == len(batch.tokens)
        self.asked.append(batch)
        return Score(torch.zeros(len(batch.tokens)), torch.ones(len(batch.tokens)), state=state)


@settings(max_examples=25, deadline=None)
@given(length=st.integers(2, 4000), rows=st.integers(1, 16), warm_up=st.integers(1, 40))
def test_streams_score_every_token_once(length: int, rows: int, warm_up: int) -> None:
    model = Witness()
    ids = np.arange(length, dtype=np.uint16)
    ids[0] = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_LOGITS", rows * module.STREAM_CHUNK * model.vocab_size)
        patch.setattr(module, "WARM_UP", warm_up)
        taken = len(list(module._score_streams(ids, model)))
    warmed, batches = model.asked[:-taken], model.asked[-taken:]
    asked = torch.cat([batch.targets.flatten() for batch in batches])
    assert sorted(asked[asked >= 0].tolist()) == list(range(1, length))
    for batch in batches:
        known = batch.targets >= 0
        assert torch.equal(batch.targets[known], batch.tokens[known] + 1)
    for batch in warmed:  # what stands before every share but the first
        assert torch.equal(batch.targets[:, -1], batches[0].tokens[1:, 0])


@pytest.mark.parametrize("length", [50, 6000])
def test_parallel_streams_are_exact_for_ngrams(length: int) -> None:
    model, ids = NgramConfig(order=3).build(VOCAB), text(length)
    model.fit(np.append(text(500), 0).astype(np.int32))
    found = likelihood(model, ids, BYTES)
    assert found.nats == pytest.approx(-model.log_prob(ids).sum(), rel=1e-9)


def test_evaluation_mode_and_progress(bounded: LanguageModel) -> None:
    shares: list[float] = []
    bounded.train()
    once = likelihood(bounded, text(40), BYTES, progress=shares.append)
    assert not bounded.training
    assert once == likelihood(bounded, text(40), BYTES)  # no dropout
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_figures_by_hand() -> None:
    found = Likelihood(nats=24 * math.log(2), tokens=8, bytes=12)
    assert found.bits_per_byte == pytest.approx(2)
    assert found.nats_per_token == pytest.approx(3 * math.log(2))
    assert found.perplexity == pytest.approx(8)
    assert found.figures() == {
        "bits_per_byte": found.bits_per_byte,
        "nats_per_token": found.nats_per_token,
        "perplexity": found.perplexity,
        "tokens": 8,
        "bytes": 12,
        "bound": False,
    }
    assert math.isfinite(Likelihood(nats=1e6, tokens=1, bytes=1).perplexity)


def test_short_text_is_not_padded_to_the_context() -> None:
    ids = np.array([0, 3, 1, 2, 0], np.uint16)
    [batch] = windows(ids, vocab_size=4, window=8192, stride=None)
    assert batch.tokens.shape == (1, 4)
    assert batch.targets.tolist() == [[3, 1, 2, 0]]
