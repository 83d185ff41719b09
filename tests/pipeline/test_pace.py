"""What is made smaller where too few steps would fit into the minutes, and what is told."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.pipeline import pace
from wenmo.pipeline.datasets import Quick
from wenmo.runs.recipe import make_recipe
from wenmo.text.batches import Streams, Windows
from wenmo.train_config import TrainConfig
from wenmo.types import Batch

SECONDS_A_TOKEN = 0.01
IDS = np.tile(np.arange(10, dtype=np.uint16), 400)


@pytest.fixture(autouse=True)
def _slow(monkeypatch):
    """Each token of a step takes a hundredth of a second."""
    monkeypatch.setattr(
        pace, "step_seconds", lambda model, batch: SECONDS_A_TOKEN * batch.tokens.numel()
    )


@pytest.fixture
def model():
    return RecurrentConfig("gru", embedding_size=4, hidden_size=4, layers=1).build(10)


def fitted(model, seconds, *settings, rows=8, batches=None):
    recipe = make_recipe(
        "gru", ["minutes=1", f"batch_size={rows}", "sequence_length=64", *settings]
    )
    recipe = replace(recipe, given=frozenset(f"train.{s.split('=')[0]}" for s in settings))
    return pace.fit_batch_size(recipe, model, batches or Streams(IDS, rows, 64), seconds)


def test_where_enough_steps_fit_nothing_is_changed_or_told(model):
    train, told = fitted(model, 300.0)  # 58 steps of 5.12 seconds
    assert (train.batch_size, train.sequence_length, told) == (8, 64, [])


@pytest.mark.parametrize(
    ("seconds", "settings", "rows", "time"),
    [(128.0, [], 4, 64), (20.0, [], 1, 40), (1.0, [], 1, 32), (64.0, ["batch_size=8"], 8, 32)],
)
def test_batches_are_made_smaller_where_that_is_left_open(model, seconds, settings, rows, time):
    train, told = fitted(model, seconds, *settings)
    assert (train.batch_size, train.sequence_length) == (rows, time)
    assert told[0].startswith("a step of 512 tokens takes about 5.1 s; so that more fit: ")
    assert (len(told) == 2) == (
        seconds / (SECONDS_A_TOKEN * train.batch_size * train.sequence_length) < 20
    )


@pytest.mark.parametrize(
    ("steps", "rows"), [(200, 32), (100, 16), (60, 9), (51, 8), (40, 8), (20, 8), (10, 6)]
)
def test_many_small_steps_are_made_rather_than_few_large_ones(model, steps, rows):
    windows = Windows(IDS, 32, 64, seed=0)
    train, told = fitted(model, steps * 2048 * SECONDS_A_TOKEN, rows=32, batches=windows)
    assert train.batch_size == rows
    assert bool(told) == (rows < 32)


@pytest.mark.parametrize(("steps", "rows"), [(100, 32), (50, 32), (25, 16)])
def test_streams_keep_their_batches_unless_very_few_steps_fit(model, steps, rows):
    train, _ = fitted(model, steps * 2048 * SECONDS_A_TOKEN, rows=32)
    assert train.batch_size == rows


def test_what_was_given_stays_and_is_told(model):
    train, told = fitted(model, 10.0, "batch_size=8", "sequence_length=64")
    assert (train.batch_size, train.sequence_length) == (8, 64)
    assert told[0] == "a step of 512 tokens takes about 5.1 s; about 1 step fits into 1 minute"
    assert told[1] == (
        "so few steps teach little: give at least 23 minutes, or train a smaller model"
    )


def test_minutes_to_try_are_at_least_twice_those_given(model):
    _, told = fitted(model, 5.0)  # steps of 0.32 seconds
    assert "give at least 2 minutes" in told[1]


class Trials:
    """A learner whose trials take a second a text."""

    def __init__(self):
        self.asked = []
        self.gan = SimpleNamespace(config=SimpleNamespace(mle_ratio=0.4, critic_pretrain_ratio=0.1))

    def trial(self, rows):
        self.asked.append(rows)
        return float(rows)


@pytest.mark.parametrize(("seconds", "asked"), [(20.0, [2]), (1000.0, [2, 2, 4])])
def test_a_slow_trial_of_writing_is_not_repeated(seconds, asked):
    learner = Trials()
    pace.fit_text_count(make_recipe("gan", ["minutes=1"]), learner, seconds)
    assert learner.asked == asked


def test_a_sample_that_takes_longer_than_its_share_is_reckoned_with(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(pace, "perf_counter", lambda: now[0])

    def sample(model, tokens):
        now[0] += 5.0
        return "", []

    dataset = SimpleNamespace(pace=lambda model, seconds: Quick(5000), sample=sample)
    found = pace._measured(dataset, None, TrainConfig(eval_count=1), 10.0)
    assert found.late == pytest.approx(5.0 - (1 - pace.SCORING) * 10.0)


def test_pairs_are_timed_by_a_typical_batch_and_all_its_tokens_are_told(model):
    def batch(rows):
        tokens = torch.zeros(rows, 10, dtype=torch.int64)
        return Batch(tokens, tokens, source=torch.zeros(rows, 22, dtype=torch.int64))

    batches = [batch(rows) for rows in (1, 64, 60, 64, 3, 62, 64, 64, 61)]
    recipe = make_recipe("seq2seq", ["minutes=1", "task.name=translation"])
    train, told = pace.fit_batch_size(recipe, model, batches, 100.0)
    assert told[0].startswith("a step of 1,984 tokens takes about 6.2 s; so that more fit: ")
    assert train.tokens_per_batch < 2048
