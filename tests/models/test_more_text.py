"""Counts that grow: what was counted before, and further text, are counted as one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wenmo.models.hybrid import cross_fit
from wenmo.models.hybrid_config import HybridConfig
from wenmo.models.ngram import Ngram
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.types import END, WenmoError

VOCAB = 11
KEPT = NgramConfig(4, totals=True, counts=True)


def text(length: int, seed: int, texts: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parts = [[END, *rng.choice(VOCAB - 1, length, p=_skewed()) + 1] for _ in range(texts)]
    return np.array([*np.concatenate(parts), END], np.uint16)


def _skewed() -> np.ndarray:
    shares = 1 / np.arange(1, VOCAB)
    return shares / shares.sum()


def fitted(config: NgramConfig, ids: np.ndarray) -> Ngram:
    model = config.build(VOCAB)
    model.fit(ids)
    return model


def same(one: Ngram, other: Ngram) -> None:
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=0)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_text_that_is_added_is_counted_with_the_old(order: int) -> None:
    old, new = text(80, 0), text(30, 1)
    config = NgramConfig(order, counts=True)
    model = config.build(VOCAB)
    model.load_state_dict(fitted(config, old).state_dict())  # as from a run folder
    model.keep_counts()
    model.fit(new)
    same(model, fitted(config, np.concatenate([old, new[1:]])))


def test_an_estimate_without_counts_cannot_grow() -> None:
    for config in (NgramConfig(3), NgramConfig(3, prune=(0, 0, 1), counts=True)):
        with pytest.raises(WenmoError, match="on all of the text together"):
            fitted(config, text(50, 0)).keep_counts()


def test_a_part_of_new_text_is_scored_by_the_old_and_the_other_parts() -> None:
    old, new = text(100, 0), text(40, 1)
    model = HybridConfig(RecurrentConfig(embedding_size=4, hidden_size=4), KEPT, folds=2).build(
        VOCAB
    )
    model.counts.fit(old)
    model.keep_counts(extend=True, seen=False)
    table = model.fit_prior(new)
    middle = (len(new) - 1) // 2
    first, second = slice(0, middle), slice(middle, None)
    for part, others in ((first, new[middle + 1 :]), (second, new[1 : middle + 1])):
        expected = fitted(KEPT, np.concatenate([old, others])).log_prob(new)[part]
        np.testing.assert_allclose(table[part, KEPT.order - 1], expected, rtol=2e-3, atol=2e-3)
    same(model.counts, fitted(KEPT, np.concatenate([old, new[1:]])))


def test_counts_that_stay_are_asked_themselves() -> None:
    old, new = text(100, 0), text(40, 1)
    model = HybridConfig(RecurrentConfig(embedding_size=4, hidden_size=4), KEPT, folds=2).build(
        VOCAB
    )
    model.counts.fit(old)
    model.keep_counts(extend=False, seen=False)
    assert model.fit_prior(new) is None
    assert model.trainable_length(len(new)) == len(new)
    same(model.counts, fitted(KEPT, old))
    model.keep_counts(extend=False, seen=True)  # of the text itself they may not be asked
    np.testing.assert_array_equal(model.fit_prior(old), cross_fit(old, KEPT, VOCAB, folds=2))
