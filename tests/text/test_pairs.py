"""Pairs from a flat array, and their batches: hand-worked examples and properties."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wenmo.text.pairs import Buckets, Pairs, max_source_length
from wenmo.types import END, IGNORE, SpecialTokens, WenmoError

texts = st.lists(st.integers(1, 50), max_size=12)
pairs_of_texts = st.lists(st.tuples(texts, texts), min_size=1, max_size=30)


def flat(pairs: list[tuple[list[int], list[int]]]) -> NDArray[np.uint16]:
    ids = [END]
    for source, target in pairs:
        ids += [*source, END, *target, END]
    return np.array(ids, np.uint16)


def test_encoder_receives_the_source_separately() -> None:
    batch = Pairs(flat([([5, 6], [7]), ([8], [9, 10, 11])]), "encoder").batch([0, 1])
    assert batch.source is not None
    assert batch.source.tolist() == [[5, 6, END], [8, END, IGNORE]]
    assert batch.tokens.tolist() == [[END, 7, END, END], [END, 9, 10, 11]]
    assert batch.targets.tolist() == [[7, END, IGNORE, IGNORE], [9, 10, 11, END]]


def test_decoder_reads_the_source_as_prefix() -> None:
    batch = Pairs(flat([([5, 6], [7]), ([8], [9, 10, 11])]), "prefix").batch([0, 1])
    assert batch.source is None
    assert batch.tokens.tolist() == [[END, 5, 6, END, 7, END], [END, 8, END, 9, 10, 11]]
    skip = IGNORE
    assert batch.targets.tolist() == [
        [skip, skip, skip, 7, END, skip],
        [skip, skip, 9, 10, 11, END],
    ]


def test_other_special_tokens_and_end_within_texts() -> None:
    ids = np.array([END, 5, END, 6, END, 7, END, 8, END, 9, END], np.uint16)
    ends = np.array([0, 4, 6, 8, 10])
    marks = {"special_tokens": SpecialTokens((1,), (2, 3), (4, 4))}
    batch = Pairs(ids, "encoder", ends=ends, **marks).batch([0, 1])
    assert batch.source is not None
    assert batch.source.tolist() == [[5, END, 6, 4, 4], [8, 4, 4, IGNORE, IGNORE]]
    assert batch.tokens.tolist() == [[1, 7], [1, 9]]
    pairs = Pairs(ids, "prefix", ends=ends, **marks)
    assert pairs.batch([0]).tokens.tolist() == [[1, 5, END, 6, 2, 3, 7]]
    assert pairs.batch([0]).targets.tolist() == [[*[IGNORE] * 5, 7, END]]
    assert pairs.batch([0]).positions is not None
    assert pairs.token_counts()[1].tolist() == [7, 5]
    bare = Pairs(ids, "prefix", context=4, ends=ends, special_tokens=SpecialTokens((), ()))
    assert bare.batch([0, 1]).tokens.tolist() == [[5, 7], [8, 9]]
    nothing = Pairs(np.array([END, END, 7, END]), "prefix", special_tokens=SpecialTokens((), ()))
    assert nothing.batch([0]).tokens.tolist() == [[END, 7]]


def test_long_sources_are_truncated_and_long_targets_skipped() -> None:
    long = list(range(1, 11))
    ids = flat([(long, [1, 2]), ([3], long), ([4], [5])])
    pairs = Pairs(ids, "encoder", context=6)
    assert (pairs.truncated, pairs.skipped, len(pairs)) == (1, 1, 2)
    assert pairs.source(0).tolist() == [1, 2, 3, 4, 5]  # and END makes six
    assert Pairs(ids, "encoder", 6, keep="end").source(0).tolist() == [6, 7, 8, 9, 10]
    before = Pairs(ids, "prefix", context=12)
    assert max_source_length("prefix", 12) == 7
    assert before.source(0).tolist() == list(range(1, 8))
    assert (before.truncated, before.skipped) == (1, 1)  # END 3 END and ten tokens are thirteen


def test_no_fitting_pair_is_an_error() -> None:
    with pytest.raises(WenmoError, match="longer than the model's context"):
        Buckets(Pairs(flat([([1], [2] * 20)]), "encoder", context=8), 100)


def test_stream_of_targets_and_samples() -> None:
    pairs = Pairs(flat([([5, 6], [7]), ([8], [9, 10]), ([3], [4])]), "encoder")
    assert pairs.stream().tolist() == [END, 7, END, 9, 10, END, 4, END]
    assert pairs.sample(5).stream().tolist() in ([END, 7, END, 4, END], [END, 7, END, 9, 10, END])
    assert len(pairs.sample(1)) == 1


@settings(max_examples=60, deadline=None)
@given(
    pairs=pairs_of_texts,
    tokens=st.integers(1, 120),
    seed=st.integers(0, 9),
    conditioning=st.sampled_from(["encoder", "prefix"]),
)
def test_epoch_visits_every_pair_once_within_the_token_budget(
    pairs: list[tuple[list[int], list[int]]], tokens: int, seed: int, conditioning: str
) -> None:
    buckets = Buckets(Pairs(flat(pairs), conditioning), tokens, seed)  # type: ignore[arg-type]
    for epoch in range(2):
        met: Counter[tuple[int, ...]] = Counter()
        for number in range(epoch * buckets.per_epoch, (epoch + 1) * buckets.per_epoch):
            batch = buckets[number]
            width = batch.tokens.shape[1] + (0 if batch.source is None else batch.source.shape[1])
            assert len(batch.tokens) == 1 or len(batch.tokens) * width <= tokens
            for row in batch.targets.tolist():
                met[tuple(token for token in row if token != IGNORE)] += 1
        assert met == Counter((*target, END) for _, target in pairs)
    again = Buckets(buckets.pairs, tokens, seed)
    number = buckets.per_epoch + buckets.per_epoch // 2  # out of turn: the same batch
    assert again[number].tokens.tolist() == buckets[number].tokens.tolist()
    assert sum(len(batch.tokens) for batch in buckets.once()) == len(pairs)


@settings(max_examples=30, deadline=None)
@given(pairs=pairs_of_texts, tokens=st.integers(1, 120))
def test_padding_fraction(pairs: list[tuple[list[int], list[int]]], tokens: int) -> None:
    buckets = Buckets(Pairs(flat(pairs), "encoder"), tokens)
    positions = real = 0
    for batch in buckets.once():
        assert batch.source is not None
        positions += batch.targets.numel() + batch.source.numel()
        real += int((batch.targets != IGNORE).sum() + (batch.source != IGNORE).sum())
    assert buckets.padding == pytest.approx(1 - real / positions)
