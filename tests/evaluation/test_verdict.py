"""The verdict on a run, in cases computed by hand."""

import pytest

from wenmo.evaluation.results import Forecast
from wenmo.evaluation.verdict import (
    TrainingCost,
    advise,
    forecast_gain,
    longest_copy,
    measure_originality,
)

TEXT = "The dog sleeps. The cat runs.\n春眠不觉晓，处处闻啼鸟。"


def test_originality():
    found = measure_originality(["The dog runs. The dog rons.", "春眠觉龘"], TEXT)
    assert (found.words, found.characters) == (6 + 4, 22 + 4)
    assert found.invented_words == 2 / 10  # rons, 龘
    assert found.invented_characters == 1 / 26
    assert found.repeated == pytest.approx(1 / 8)  # "the dog" twice, of 5 and 3 pairs
    assert found.longest_copy == len("The dog ")


def test_characters_are_graphemes():
    found = measure_originality(["e\u0301t\u00e9"], "\u00e9te\u0301")
    assert (found.characters, found.invented_characters) == (3, 0)


def test_no_invented_words_with_a_base():
    found = measure_originality(["dragon"], TEXT, has_base=True)
    assert (found.invented_words, found.invented_characters) == (None, None)
    assert measure_originality([""], TEXT).words == 0


@pytest.mark.parametrize(
    ("samples", "longest"),
    [(["xxdog sleeps.y"], 11), (["龘"], 0), ([], 0), ([TEXT], len(TEXT)), (["zzz", "at r"], 4)],
)
def test_longest_copy(samples, longest):
    assert longest_copy(samples, TEXT) == longest


def test_forecast_of_a_power_law():
    points = [(step, 2 + 0.5 * (step / 1000) ** -0.5) for step in range(100, 1001, 100)]
    ahead = forecast_gain(points)
    assert ahead.low <= 0.5 * (1 - 2**-0.5) <= ahead.high
    assert ahead.gain == pytest.approx(0.146, abs=0.03)
    assert (ahead.best_at, ahead.overfits) == (1.0, False)


def test_forecast_of_a_flat_curve():
    ahead = forecast_gain([(step, 2.0) for step in range(100, 1001, 100)])
    assert ahead.gain < 0.02
    assert ahead.low == 0


def test_rising_curve_is_overfitted():
    ahead = forecast_gain([(1, 3.0), (2, 2.0), (3, 2.1), (4, 2.2), (5, 2.3)])
    assert ahead == Forecast(0.0, 0.0, 0.0, 0.4, True)
    assert forecast_gain([(1, 3.0), (2, float("inf")), (3, 2.0), (4, 2.0), (5, 1.9)]) is None


def test_advice():
    def advice(**changes):
        known = {
            "bits_per_byte": 2.0,
            "ngram_bits_per_byte": 2.2,
            "originality": None,
            "forecast": None,
        }
        return advise(**{**known, "has_ngram_prior": False, "has_spaces": True, **changes})

    assert "dropout" in advice(forecast=Forecast(0, 0, 0, 0.5, True))
    assert "--prior ngram" in advice(ngram_bits_per_byte=1.9)
    assert "--prior ngram" in advice(ngram_bits_per_byte=1.9, is_text=False)
    assert "--prior ngram" not in advice(ngram_bits_per_byte=1.9, supports_ngram_prior=False)
    assert "--model ngram" in advice(ngram_bits_per_byte=1.9, has_ngram_prior=True)
    assert "ngram" not in advice(ngram_bits_per_byte=1.9, has_ngram_prior=True, is_text=False)
    assert "twice" in advice(forecast=Forecast(0.1, 0.05, 0.2, 1, False))
    invents = measure_originality(["bluergh"], "blue")
    assert "--tokenizer words" in advice(originality=invents)
    assert "--tokenizer words" not in advice(originality=invents, has_spaces=False)


def test_advice_after_few_steps():
    invents = measure_originality(["bluergh"], "blue")
    known = {"originality": invents, "forecast": None, "has_ngram_prior": False, "has_spaces": True}
    few = advise(
        bits_per_byte=5.0, ngram_bits_per_byte=2.0, cost=TrainingCost(20, 1.5, 0.5), **known
    )
    assert few == "more training: --minutes 6.7, for 200 steps, or --prior ngram"
    assert advise(
        bits_per_byte=5.0, ngram_bits_per_byte=2.0, cost=TrainingCost(20, 1.5, None), **known
    ).startswith("more training: --steps 200, or")
    far = advise(
        bits_per_byte=5.0, ngram_bits_per_byte=2.0, cost=TrainingCost(150, 1.5, 5.0), **known
    )
    assert far.startswith("more training (--minutes 10, for 300 steps), --prior ngram")
    enough = advise(
        bits_per_byte=1.9, ngram_bits_per_byte=2.0, cost=TrainingCost(900, 0.1, 2.0), **known
    )
    assert enough.startswith("--tokenizer words")


def test_advice_for_a_run_with_a_base():
    for bits in (1.0, 2.1, 9.0):
        advice = advise(
            bits_per_byte=bits,
            ngram_bits_per_byte=2.0,
            originality=measure_originality(["bluergh"], "blue"),
            forecast=None,
            has_ngram_prior=False,
            has_spaces=True,
            has_base=True,
            cost=TrainingCost(500, 0.1, 2.0),
        )
        assert "--from" not in advice
        assert "--tokenizer" not in advice
        assert "--prior" not in advice  # a base without counts cannot take them


KNOWN = {
    "bits_per_byte": 2.0,
    "ngram_bits_per_byte": 2.2,
    "originality": None,
    "has_ngram_prior": True,
    "has_spaces": False,
}
OVERFITTED = Forecast(0, 0, 0, 0.5, True)


@pytest.mark.parametrize("bits", [2.0, 2.5, 3.5])
def test_advice_before_the_first_epoch(bits):
    spent = TrainingCost(313, 0.3, 2.0, 20.0, epochs=0.13)
    known = {**KNOWN, "bits_per_byte": bits, "forecast": None, "text_tokens": 1_370_820}
    advice = advise(cost=spent, **known)
    assert advice == "more training (--minutes 17, for 2,408 steps): only 13% of the text was read"
    assert "more text" in advise(
        cost=TrainingCost(900, 0.3, 2.0, epochs=3.0), **{**known, "bits_per_byte": 2.0}
    )


def test_advice_if_the_network_adds_nothing():
    advice = advise(
        cost=TrainingCost(300, 0.1, 2.0, epochs=2.0), network_is_unused=True, forecast=None, **KNOWN
    )
    assert advice.startswith("more training (--minutes 4, for 600 steps): the network adds nothing")


def test_advice_names_a_smaller_model():
    advice = advise(forecast=OVERFITTED, smaller_model="gpt:tiny", **KNOWN)
    assert "a smaller model (--model gpt:tiny)" in advice
    assert "smaller" not in advise(forecast=OVERFITTED, **KNOWN)


@pytest.mark.parametrize("ahead", [None, OVERFITTED])
@pytest.mark.parametrize("bits", [2.0, 3.5])
def test_advice_for_little_text(bits, ahead):
    spent = TrainingCost(123, 0.7, 1.5, epochs=9.0)
    advice = advise(
        cost=spent,
        text_tokens=4310,
        is_text=False,
        **{**KNOWN, "bits_per_byte": bits, "forecast": ahead},
    )
    assert advice.startswith("more text (4,310 tokens are few)")
    assert "a pretrained base (--from)" in advice
