"""A verdict sets every run that is trained by gradients beside plain counts."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from wenmo.models.ngram import Ngram
from wenmo.pipeline import assess


@pytest.mark.parametrize(("seconds", "share"), [(0.0, 0.2), (None, 1.0)])
def test_however_little_time_there_is_counts_are_set_beside(monkeypatch, seconds, share):
    monkeypatch.setattr(assess, "CHEAP", 10_000)
    ids = np.tile(np.arange(5, dtype=np.uint16), 10_000)
    dataset = SimpleNamespace(
        stream=lambda model: ids,
        bits_per_byte=lambda model: 2.0 if isinstance(model, Ngram) else 3.0,
    )
    model = SimpleNamespace(vocab_size=5)
    found = assess.assess(
        dataset,
        model,
        None,
        [],
        Path("missing"),
        components={},
        has_base=False,
        is_stream=False,
        can_use_counts=True,
        seconds=seconds,
    )
    assert (found.bits_per_byte, found.counts_bits_per_byte) == (3.0, 2.0)
    assert found.counts_share == pytest.approx(share, rel=0.2)
