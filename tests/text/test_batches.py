"""Batches: content, order and epochs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.text import batches
from wenmo.text.batches import TEXT_START_PERIOD, Streams, Windows, concatenate_spans
from wenmo.types import Batch, WenmoError

SIZES = {"length": st.integers(30, 200), "rows": st.integers(1, 5), "time": st.integers(1, 9)}


def counting(length: int) -> np.ndarray:
    """A text whose n-th token is n."""
    return np.arange(length, dtype=np.uint16)


def same(left: Batch, right: Batch) -> bool:
    return torch.equal(left.tokens, right.tokens) and torch.equal(left.targets, right.targets)


def check_pairs(batch: Batch) -> None:
    assert batch.tokens.dtype == batch.targets.dtype == torch.int64
    # The next token is the next number, unless a text starts here.
    is_start = batch.tokens == 0
    assert not is_start[:, 1:].any()
    assert torch.equal(batch.targets[~is_start], batch.tokens[~is_start] + 1)


@settings(max_examples=25, deadline=None)
@given(**SIZES, seed=st.integers(0, 3))
def test_epoch_visits_each_window_once(length: int, rows: int, time: int, seed: int) -> None:
    batches = Windows(counting(length), rows, time, seed)
    epochs, needed = 3, 3 * batches.per_epoch
    starts: list[int] = []
    for index in range(-(-needed // rows)):
        batch = batches[index]
        check_pairs(batch)
        assert batch.tokens.shape == (rows, time)
        assert batch.carry_state is None
        assert (batch.targets.diff(dim=1) == 1).all()
        starts += (batch.targets[:, 0] - 1).tolist()
        numbers = torch.arange(index * rows, (index + 1) * rows)
        assert (batch.tokens[numbers % TEXT_START_PERIOD == 0, 0] == 0).all()
    for epoch in range(epochs):
        visited = sorted(starts[epoch * batches.per_epoch :][: batches.per_epoch])
        assert set(np.diff(visited)) <= {time}  # side by side: no overlap, and no gap
        assert visited[0] < time  # the offset
        assert length - 1 - (visited[-1] + time) < 2 * time  # little is left out at the end


@settings(max_examples=25, deadline=None)
@given(**SIZES, numbers=st.lists(st.integers(0, 200), min_size=1, max_size=6))
def test_window_batch_depends_on_its_index_alone(
    length: int, rows: int, time: int, numbers: list[int]
) -> None:
    used = Windows(counting(length), rows, time, seed=1)
    for index in numbers:
        assert same(used[index], Windows(counting(length), rows, time, seed=1)[index])


def test_seeds_and_epochs_differ_in_order() -> None:
    text = counting(1000)
    first, other = Windows(text, 4, 10, seed=0), Windows(text, 4, 10, seed=1)
    assert not same(first[0], other[0])
    epochs = [[first._start(e * first.per_epoch + i) for i in range(5)] for e in range(3)]
    assert len({tuple(epoch) for epoch in epochs}) == 3


@settings(max_examples=25, deadline=None)
@given(**SIZES)
def test_streams_continue_across_batches(length: int, rows: int, time: int) -> None:
    streams = Streams(counting(length), rows, time)
    targets: list[int] = []
    after = None
    for index in range(streams.per_epoch):
        batch = streams[index]
        check_pairs(batch)
        assert batch.tokens.shape[0] == rows
        assert 1 <= batch.tokens.shape[1] <= time
        is_start = (torch.arange(rows) + index) % TEXT_START_PERIOD == 0
        assert torch.equal(batch.carry_state, ~is_start & (index > 0))
        if after is not None:
            assert torch.equal(batch.tokens[batch.carry_state, 0], after[batch.carry_state])
        assert not batch.tokens[~batch.carry_state, 0].any()
        after = batch.targets[:, -1]
        targets += batch.targets.flatten().tolist()
    # Every token but the first is a target once; less than one token per row is dropped at the end.
    assert sorted(targets) == list(range(1, len(targets) + 1))
    assert length - 1 - len(targets) < rows


@settings(max_examples=10, deadline=None)
@given(**SIZES, index=st.integers(0, 500))
def test_streams_restart_after_an_epoch(length: int, rows: int, time: int, index: int) -> None:
    streams = Streams(counting(length), rows, time)
    assert same(streams[index], streams[index % streams.per_epoch])
    assert streams[index].carry_state.any() <= (index % streams.per_epoch > 0)


def test_streams_against_hand_worked_example() -> None:
    streams = Streams(counting(10), batch_size=2, sequence_length=3)  # 0..8 predict 1..9; rows of 4
    assert streams[0].tokens.tolist() == [[0, 1, 2], [0, 5, 6]]
    assert streams[0].targets.tolist() == [[1, 2, 3], [5, 6, 7]]
    assert streams[1].tokens.tolist() == [[3], [7]]
    assert streams[1].targets.tolist() == [[4], [8]]
    assert not streams[2].carry_state.any()


def test_too_short_text_is_refused() -> None:
    assert Windows(counting(21), 1, 10).per_epoch == 1
    with pytest.raises(WenmoError, match="20 tokens, too few for windows of 10: give more text"):
        Windows(counting(20), 1, 10)
    assert Streams(counting(9), 8, 10)[0].tokens.shape == (8, 1)
    with pytest.raises(WenmoError, match="8 tokens, too few for 8 rows: give more text"):
        Streams(counting(8), 8, 10)


@pytest.mark.parametrize("spans", [[], [(0, 5)], [(0, 5), (5, 9)], [(3, 4), (10, 20), (7, 7)]])
def test_concatenate_spans(monkeypatch, spans):
    monkeypatch.setattr(batches, "SPANS_PER_PASS", 2)
    ids = np.arange(30, dtype=np.uint16)
    starts, stops = np.array(spans, np.int64).reshape(-1, 2).T
    expected = [id_ for start, stop in spans for id_ in range(start, stop)]
    assert concatenate_spans(ids, starts, stops).tolist() == expected
