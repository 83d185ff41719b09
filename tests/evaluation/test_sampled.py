"""Samples of held-out text, their intervals, and agreement with the complete text."""

import numpy as np
import pytest
import torch

from wenmo.evaluation import sampled
from wenmo.evaluation.likelihood import interval, likelihood, likelihood_of_examples
from wenmo.evaluation.results import Evaluation
from wenmo.evaluation.sampled import (
    Blocks,
    block_likelihood,
    sampled_evaluation,
    sampled_likelihood,
)
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.models.transformer.config import TransformerConfig
from wenmo.text.records import Records
from wenmo.types import END

VOCABULARY = 11


@pytest.fixture
def ids():
    drawn = np.random.default_rng(0).integers(1, VOCABULARY, 6000).astype(np.uint16)
    drawn[::20] = END
    return np.append(drawn, np.uint16(END))


@pytest.fixture
def slow(monkeypatch):
    """A clock that advances a tenth of a second with each call."""
    now = [0.0]

    def tick():
        now[0] += 0.1
        return now[0]

    monkeypatch.setattr(sampled.time, "perf_counter", tick)


def build(context):
    torch.manual_seed(0)
    if context is None:
        return RecurrentConfig("gru", embedding_size=4, hidden_size=8, layers=1).build(VOCABULARY)
    config = TransformerConfig(hidden_size=8, layers=1, heads=2, context_length=context)
    return config.build(VOCABULARY)


@pytest.mark.parametrize("context", [None, 64, 1024])
def test_interval_of_a_sample_contains_the_full_result(slow, ids, context):
    model = build(context)
    found = sampled_likelihood(model, ids, lambda part: len(part) - 1, 0.5)
    whole = likelihood(model, ids, len(ids) - 1)
    assert 0 < found.sample.share < 1
    assert found.low < found.bits_per_byte < found.high
    assert found.low - 0.05 < whole.bits_per_byte < found.high + 0.05
    assert found.tokens == found.bytes


def test_enough_time_gives_none(ids):
    assert sampled_likelihood(build(64), ids, lambda part: len(part) - 1, 1e6) is None


def test_all_blocks_cover_the_text(slow, ids, monkeypatch):
    model = build(64)
    monkeypatch.setattr(sampled, "SAFETY_FACTOR", 1.0)
    found = sampled_likelihood(model, ids[:300], lambda part: len(part) - 1, 0.9)
    whole = likelihood(model, ids[:300], 299)
    if found is not None:
        assert found.tokens <= whole.tokens


@pytest.mark.parametrize(("seconds", "sampled_"), [(None, False), (1e6, False), (0.0, True)])
def test_records_are_sampled_separately(ids, seconds, sampled_):
    model, records = build(64), Records(ids, 64)

    def evaluate(some):
        found = likelihood_of_examples(model, some, len(some.stream()) - 1)
        return Evaluation(**found.figures())

    found = sampled_evaluation(records, evaluate, seconds)
    assert (found.sample is not None) == sampled_
    if sampled_:
        assert found.sample.share == 4 / len(records)
        assert found.low is None  # four records tell nothing of the spread
    else:
        assert found == evaluate(records)
        assert found.low <= found.bits_per_byte <= found.high


def test_interval_of_independent_records():
    rng = np.random.default_rng(1)
    nats, tokens = rng.normal(20, 4, 400), np.full(400, 10)
    low, high = interval(nats.tolist(), tokens.tolist())
    assert high - low == pytest.approx(2 * 1.96 * 0.4 / np.sqrt(400), rel=0.2)
    assert low < nats.sum() / tokens.sum() < high


@pytest.mark.parametrize("context", [None, 64, 1024])
def test_few_blocks_of_sorted_text_are_representative(context):
    """One half of the text is easy, the other hard, as in a sorted file."""
    rng, model = np.random.default_rng(2), build(context)
    easy, hard = np.full(30_000, 3), rng.integers(1, VOCABULARY, 30_000)
    ids = np.concatenate([[END], easy, hard, [END]]).astype(np.uint16)
    few = block_likelihood(model, ids, lambda part: len(part) - 1, 12)
    whole = likelihood(model, ids, len(ids) - 1).bits_per_byte
    halves = [likelihood(model, part, len(part) - 1).bits_per_byte for part in (ids[:30_000],)]
    assert abs(few.bits_per_byte - whole) < 0.35 * abs(halves[0] - whole)


def test_final_sample_includes_the_quick_one(ids, slow):
    model = build(64)
    found = sampled_likelihood(model, ids, lambda part: len(part) - 1, 1e-6, min_count=9)
    assert found.sample.count == 9
    quick = block_likelihood(model, ids, lambda part: len(part) - 1, 9)
    assert found.nats_per_token == pytest.approx(quick.nats_per_token, rel=1e-5)


def test_fixed_count_gives_the_same_sample(ids):
    counting, model = (lambda part: len(part) - 1), build(64)
    found = [
        sampled_likelihood(model, ids, counting, seconds, min_count=9, max_count=9)
        for seconds in (1e-6, 1e6)
    ]
    assert [each.sample.count for each in found] == [9, 9]
    records, asked = Records(ids, 64), []

    def evaluate(some):
        asked.append(len(some))
        return Evaluation(1.0, 1.0, 1.0, 1, 1, False)

    for seconds in (1e-6, 1e6):
        sampled_evaluation(records, evaluate, seconds, min_count=9, max_count=9)
    assert asked == [9, 9]


def test_blocks_match_windows_of_the_full_evaluation(ids):
    model = build(64)
    blocks = Blocks(model, ids, lambda part: len(part) - 1)
    found = block_likelihood(model, ids, lambda part: len(part) - 1, len(blocks))
    whole = likelihood(model, ids, len(ids) - 1)
    assert (found.tokens, found.bytes) == (whole.tokens, whole.bytes)
    assert found.nats_per_token == pytest.approx(whole.nats_per_token, rel=1e-5)
