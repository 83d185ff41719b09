"""A plan's counts are the published ones; its memory and time follow from them as they should."""

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
USUAL = {"vocab_size": VOCAB, "tokens": 300e9, "utilization": 0.4, "rows": 1}


@pytest.mark.parametrize("name", GPT2)
def test_gpt_2_has_its_weights(name: str) -> None:
    assert count_weights(SIZES[name], VOCAB) == GPT2[name]


@pytest.mark.parametrize("name", GPT3)
def test_gpt_3_has_its_weights_and_flops(name: str) -> None:
    millions, flops = GPT3[name]
    planned = plan_transformer(SIZES[name], gpu="v100", gpus=64, **USUAL)
    assert planned.parameters / 1e6 == pytest.approx(millions, rel=0.01)
    assert planned.training_flops == pytest.approx(flops, rel=0.02)


def test_more_gpus_take_less_time_and_as_much_money() -> None:
    few = plan_transformer(SIZES["gpt3-13b"], gpu="h100", gpus=64, **USUAL)
    many = plan_transformer(SIZES["gpt3-13b"], gpu="h100", gpus=512, **USUAL)
    assert few.days == pytest.approx(8 * many.days)
    assert few.dollars == pytest.approx(many.dollars)
    assert many.tokens_per_second * many.days * 86_400 == pytest.approx(300e9)


def test_what_is_divided_takes_less() -> None:
    rows = plan_transformer(SIZES["gpt3-175b"], gpu="h100", gpus=1024, **USUAL).memory
    assert [row.sharding for row in rows] == list(SHARDINGS)
    held = [row.weights + row.gradients + row.optimizer for row in rows]
    assert held == sorted(held, reverse=True)
    assert held[0] == pytest.approx(16 * 174.6e9, rel=0.01)
    assert not rows[0].fits_recomputed
    assert rows[-1].fits_recomputed


@pytest.mark.parametrize("name", ["gpt2", "gpt3-2.7b", "gpt3-175b"])
def test_the_fewest_gpus_fit_and_one_less_does_not(name: str) -> None:
    config = SIZES[name]
    number = plan_transformer(config, gpu="a100", gpus=1, **USUAL).fewest_gpus
    last = plan_transformer(config, gpu="a100", gpus=number, **USUAL).memory[-1]
    assert last.fits_recomputed
    if number > 2:
        before = plan_transformer(config, gpu="a100", gpus=number - 1, **USUAL).memory[-1]
        assert not before.fits_recomputed


def test_what_makes_no_sense_is_refused() -> None:
    for wrong in ({"gpus": 0}, {"gpu": "abacus"}, {"utilization": 1.5}, {"tokens": 0}):
        settings = {"gpu": "h100", "gpus": 8, **USUAL, **wrong}
        with pytest.raises(WenmoError):
            plan_transformer(SIZES["gpt2"], **settings)
    assert all(gpu.memory > 0 and gpu.speed > 0 for gpu in GPUS.values())
