"""A sample of held-out text, its interval, and what all of it says."""

import numpy as np
import pytest
import torch

from wenmo.evaluation import sampled
from wenmo.evaluation.likelihood import interval, likelihood, likelihood_of_wholes
from wenmo.evaluation.sampled import sampled_likelihood, sampled_wholes
from wenmo.models.recurrent import Recurrent
from wenmo.models.transformer import Transformer
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
    """A clock on which each look takes a tenth of a second."""
    now = [0.0]

    def tick():
        now[0] += 0.1
        return now[0]

    monkeypatch.setattr(sampled.time, "perf_counter", tick)


def build(context):
    torch.manual_seed(0)
    if context is None:
        return Recurrent.Config("gru", embedding=4, hidden=8, layers=1).build(VOCABULARY)
    config = Transformer.Config(width=8, layers=1, heads=2, context=context)
    return config.build(VOCABULARY)


@pytest.mark.parametrize("context", [None, 64, 1024])
def test_a_sample_holds_what_all_of_the_text_says(slow, ids, context):
    model = build(context)
    found = sampled_likelihood(model, ids, lambda part: len(part) - 1, 0.5)
    whole = likelihood(model, ids, len(ids) - 1)
    assert 0 < found["sample"]["share"] < 1
    assert found["low"] < found["bits_per_byte"] < found["high"]
    assert found["low"] - 0.05 < whole.bits_per_byte < found["high"] + 0.05
    assert found["tokens"] == found["bytes"]


def test_where_all_fits_it_is_left_to_the_full_evaluation(ids):
    assert sampled_likelihood(build(64), ids, lambda part: len(part) - 1, 1e6) is None


def test_all_blocks_together_are_all_of_the_text(slow, ids, monkeypatch):
    model = build(64)
    monkeypatch.setattr(sampled, "SAFE", 1.0)
    found = sampled_likelihood(model, ids[:300], lambda part: len(part) - 1, 0.9)
    whole = likelihood(model, ids[:300], 299)
    if found is not None:
        assert found["tokens"] <= whole.tokens


@pytest.mark.parametrize(("seconds", "sampled_"), [(None, False), (1e6, False), (0.0, True)])
def test_records_are_drawn_as_wholes(ids, seconds, sampled_):
    model, records = build(64), Records(ids, 64)

    def judge(some):
        return likelihood_of_wholes(model, some, len(some.stream()) - 1).figures()

    found = sampled_wholes(records, judge, seconds)
    assert ("sample" in found) == sampled_
    if sampled_:
        assert found["sample"]["share"] == 4 / len(records)
        assert "low" not in found  # four records tell nothing of the spread
    else:
        assert found == judge(records)
        assert found["low"] <= found["bits_per_byte"] <= found["high"]


def test_the_interval_is_that_of_independent_records():
    rng = np.random.default_rng(1)
    nats, tokens = rng.normal(20, 4, 400), np.full(400, 10)
    low, high = interval(nats.tolist(), tokens.tolist())
    assert high - low == pytest.approx(2 * 1.96 * 0.4 / np.sqrt(400), rel=0.2)
    assert low < nats.sum() / tokens.sum() < high
