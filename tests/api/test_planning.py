"""Weights and FLOPs of plans are the published ones; memory, time and cost follow from them."""

from __future__ import annotations

import pytest

from wenmo.api.planning import GPUS, SHARDINGS, count_weights, plan_transformer
from wenmo.models.transformer.presets import SIZES
from wenmo.types import WenmoError

VOCAB = 50_257
# Radford et al. (2019) as released; Brown et al. (2020), tables 2.1 and D.1: millions of weights,
# and FLOPs of training on 300 billion tokens.
GPT2 = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}
GPT3 = {
    "gpt3-small": (125, 2.25e20),
    "gpt3-medium": (356, 6.41e20),
    "gpt3-large": (760, 1.37e21),
    "gpt3-xl": (1_320, 2.38e21),
    "gpt3-2.7b": (2_650, 4.77e21),
    "gpt3-6.7b": (6_660, 1.20e22),
    "gpt3-13b": (12_850, 2.31e22),
    "gpt3-175b": (174_600, 3.14e23),
}
DEFAULTS = {"vocab_size": VOCAB, "tokens": 300e9, "utilization": 0.4, "rows": 1}


@pytest.mark.parametrize("name", GPT2)
def test_weights_of_gpt_2(name: str) -> None:
    assert count_weights(SIZES[name], VOCAB) == GPT2[name]


@pytest.mark.parametrize("name", GPT3)
def test_weights_and_flops_of_gpt_3(name: str) -> None:
    millions, flops = GPT3[name]
    planned = plan_transformer(SIZES[name], gpu="v100", gpus=64, **DEFAULTS)
    assert planned.parameters / 1e6 == pytest.approx(millions, rel=0.01)
    assert planned.training_flops == pytest.approx(flops, rel=0.02)


def test_more_gpus_take_less_time_at_the_same_cost() -> None:
    few = plan_transformer(SIZES["gpt3-13b"], gpu="h100", gpus=64, **DEFAULTS)
    many = plan_transformer(SIZES["gpt3-13b"], gpu="h100", gpus=512, **DEFAULTS)
    assert few.days == pytest.approx(8 * many.days)
    assert few.dollars == pytest.approx(many.dollars)
    assert many.tokens_per_second * many.days * 86_400 == pytest.approx(300e9)


def test_sharding_saves_memory() -> None:
    rows = plan_transformer(SIZES["gpt3-175b"], gpu="h100", gpus=1024, **DEFAULTS).memory
    assert [row.sharding for row in rows] == list(SHARDINGS)
    model_bytes = [row.weights + row.gradients + row.optimizer for row in rows]
    assert model_bytes == sorted(model_bytes, reverse=True)
    assert model_bytes[0] == pytest.approx(16 * 174.6e9, rel=0.01)
    assert not rows[0].fits_recomputed
    assert rows[-1].fits_recomputed


@pytest.mark.parametrize("name", ["gpt2", "gpt3-2.7b", "gpt3-175b"])
def test_min_gpus_fit_and_one_less_does_not(name: str) -> None:
    config = SIZES[name]
    min_gpus = plan_transformer(config, gpu="a100", gpus=1, **DEFAULTS).fewest_gpus
    last = plan_transformer(config, gpu="a100", gpus=min_gpus, **DEFAULTS).memory[-1]
    assert last.fits_recomputed
    if min_gpus > 2:
        before = plan_transformer(config, gpu="a100", gpus=min_gpus - 1, **DEFAULTS).memory[-1]
        assert not before.fits_recomputed


def test_invalid_arguments_are_refused() -> None:
    for invalid in ({"gpus": 0}, {"gpu": "abacus"}, {"utilization": 1.5}, {"tokens": 0}):
        settings = {"gpu": "h100", "gpus": 8, **DEFAULTS, **invalid}
        with pytest.raises(WenmoError):
            plan_transformer(SIZES["gpt2"], **settings)
    assert all(gpu.memory > 0 and gpu.speed > 0 for gpu in GPUS.values())
