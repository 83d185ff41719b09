"""What a verdict on a run rests on, by cases worked by hand."""

import pytest

from wenmo.evaluation.results import Forecast
from wenmo.evaluation.verdict import Spent, advise, forecast, longest_copy, originality

TEXT = "The dog sleeps. The cat runs.\n春眠不觉晓，处处闻啼鸟。"


def test_what_samples_invent_repeat_and_copy():
    found = originality(["The dog runs. The dog rons.", "春眠觉龘"], TEXT)
    assert (found.words, found.characters) == (6 + 4, 22 + 4)
    assert found.invented_words == 2 / 10  # rons, 龘
    assert found.invented_characters == 1 / 26
    assert found.repeated == pytest.approx(1 / 8)  # "the dog" twice, of 5 and 3 pairs
    assert found.longest_copy == len("The dog ")


def test_a_character_is_one_with_its_marks():
    found = originality(["e\u0301t\u00e9"], "\u00e9te\u0301")
    assert (found.characters, found.invented_characters) == (3, 0)


def test_what_a_base_knew_is_not_called_invented():
    found = originality(["dragon"], TEXT, knows_more=True)
    assert (found.invented_words, found.invented_characters) == (None, None)
    assert originality([""], TEXT).words == 0


@pytest.mark.parametrize(
    ("samples", "longest"),
    [(["xxdog sleeps.y"], 11), (["龘"], 0), ([], 0), ([TEXT], len(TEXT)), (["zzz", "at r"], 4)],
)
def test_the_longest_copy(samples, longest):
    assert longest_copy(samples, TEXT) == longest


def test_a_power_law_is_continued():
    points = [(step, 2 + 0.5 * (step / 1000) ** -0.5) for step in range(100, 1001, 100)]
    ahead = forecast(points)
    assert ahead.low <= 0.5 * (1 - 2**-0.5) <= ahead.high
    assert ahead.gain == pytest.approx(0.146, abs=0.03)
    assert (ahead.best_at, ahead.overfits) == (1.0, False)


def test_a_flat_curve_promises_nothing():
    ahead = forecast([(step, 2.0) for step in range(100, 1001, 100)])
    assert ahead.gain < 0.02
    assert ahead.low == 0


def test_a_curve_that_rises_has_learnt_by_heart():
    ahead = forecast([(1, 3.0), (2, 2.0), (3, 2.1), (4, 2.2), (5, 2.3)])
    assert ahead == Forecast(0.0, 0.0, 0.0, 0.4, True)
    assert forecast([(1, 3.0), (2, float("inf")), (3, 2.0), (4, 2.0), (5, 1.9)]) is None


def test_advice_follows_what_was_found():
    def advice(**changes):
        known = {"bits": 2.0, "counts": 2.2, "found": None, "ahead": None}
        return advise(**{**known, "stands_on_counts": False, "spaced": True, **changes})

    assert "dropout" in advice(ahead=Forecast(0, 0, 0, 0.5, True))
    assert "--prior ngram" in advice(counts=1.9)
    assert "--prior ngram" in advice(counts=1.9, plain=False)
    assert "--prior ngram" not in advice(counts=1.9, countable=False)
    assert "--model ngram" in advice(counts=1.9, stands_on_counts=True)
    assert "ngram" not in advice(counts=1.9, stands_on_counts=True, plain=False)
    assert "twice" in advice(ahead=Forecast(0.1, 0.05, 0.2, 1, False))
    invents = originality(["bluergh"], "blue")
    assert "--tokenizer words" in advice(found=invents)
    assert "--tokenizer words" not in advice(found=invents, spaced=False)


def test_after_few_steps_more_training_comes_first():
    invents = originality(["bluergh"], "blue")
    known = {"found": invents, "ahead": None, "stands_on_counts": False, "spaced": True}
    few = advise(bits=5.0, counts=2.0, spent=Spent(20, 1.5, 0.5), **known)
    assert few == "more training: --minutes 6.7, for 200 steps, or --prior ngram"
    assert advise(bits=5.0, counts=2.0, spent=Spent(20, 1.5, None), **known).startswith(
        "more training: --steps 200, or"
    )
    far = advise(bits=5.0, counts=2.0, spent=Spent(150, 1.5, 5.0), **known)
    assert far.startswith("more training (--minutes 10, for 300 steps), --prior ngram")
    enough = advise(bits=1.9, counts=2.0, spent=Spent(900, 0.1, 2.0), **known)
    assert enough.startswith("--tokenizer words")


def test_a_run_with_a_base_is_not_told_to_take_one():
    for bits in (1.0, 2.1, 9.0):
        told = advise(
            bits=bits,
            counts=2.0,
            found=originality(["bluergh"], "blue"),
            ahead=None,
            stands_on_counts=False,
            spaced=True,
            has_base=True,
            spent=Spent(500, 0.1, 2.0),
        )
        assert "--from" not in told
        assert "--tokenizer" not in told
        assert "--prior" not in told  # a base without counts cannot take them


KNOWN = {"bits": 2.0, "counts": 2.2, "found": None, "stands_on_counts": True, "spaced": False}
OVERFITTED = Forecast(0, 0, 0, 0.5, True)


@pytest.mark.parametrize("bits", [2.0, 2.5, 3.5])
def test_where_the_text_was_hardly_read_more_of_it_is_read_first(bits):
    spent = Spent(313, 0.3, 2.0, 20.0, passes=0.13)
    known = {**KNOWN, "bits": bits, "ahead": None, "size": 1_370_820}
    told = advise(spent=spent, **known)
    assert told == "more training (--minutes 17, for 2,408 steps): only 13% of the text was read"
    assert "more text" in advise(spent=Spent(900, 0.3, 2.0, passes=3.0), **{**known, "bits": 2.0})


def test_where_the_network_adds_nothing_yet_the_advice_agrees():
    told = advise(spent=Spent(300, 0.1, 2.0, passes=2.0), idle=True, ahead=None, **KNOWN)
    assert told.startswith("more training (--minutes 4, for 600 steps): the network adds nothing")


def test_a_smaller_model_is_named_or_not_offered():
    told = advise(ahead=OVERFITTED, smaller="gpt:tiny", **KNOWN)
    assert "a smaller model (--model gpt:tiny)" in told
    assert "smaller" not in advise(ahead=OVERFITTED, **KNOWN)


@pytest.mark.parametrize("ahead", [None, OVERFITTED])
@pytest.mark.parametrize("bits", [2.0, 3.5])
def test_little_text_is_told_before_more_training(bits, ahead):
    spent = Spent(123, 0.7, 1.5, passes=9.0)
    told = advise(spent=spent, size=4310, plain=False, **{**KNOWN, "bits": bits, "ahead": ahead})
    assert told.startswith("more text (4,310 tokens are few)")
    assert "a pretrained base (--from)" in told
