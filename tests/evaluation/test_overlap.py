"""Metrics compared with sacrebleu and rouge-score, cases computed by hand, properties."""

from __future__ import annotations

import logging
import math
import random
from functools import partial
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import BLEU, CHRF, TER

from wenmo.evaluation.diversity import units
from wenmo.evaluation.overlap import METRICS, common_subsequence, measure
from wenmo.types import WenmoError

ENGLISH = [
    "A grey heron stands at the edge of the pond, and waits.",
    "The committee couldn't agree on a date; it'll meet again on 3 May.",
    "Rain fell all night, and in the morning the road was gone.",
    "Two children are building a snow_man beside the old well.",
    "Prices rose by 4.5% in 2019 -- more than anyone had expected!",
    "She read the letter twice, and then she read the letter again.",
    "No train runs on Sundays, except the one that no-one takes.",
    "The model learns, slowly, what the next word is likely to be.",
]
CHINESE = [
    "两个孩子在老井旁边堆雪人，玩得很开心。",
    "委员会没有就日期达成一致，五月三日将再次开会。",
    "昨夜下了一整夜的雨，早上路已经不见了。",
    "2019年物价上涨了4.5%，超过所有人的预期！",
    "她把那封信读了两遍，然后又读了一遍。",
    "模型慢慢地学会下一个词（token）可能是什么。",
]
SCORES = ["bleu", "bleu_lowercase", "chrf", "rouge1", "rouge2", "rougeL", "exact"]
ROUGE = ["rouge1", "rouge2", "rougeL"]

TEXTS = st.text("abAB 春夏秋冬,。", max_size=12)
PAIRS = st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3)), min_size=1, max_size=6)


def altered(text: str, rng: random.Random, parts: list[str], glue: str) -> str:
    """Some words are dropped, repeated or moved."""
    kept = [part for part in parts for _ in range(rng.choice([0, 1, 1, 1, 2]))]
    start = rng.randrange(len(kept) + 1)
    return glue.join(kept[start:] + kept[:start])


def written(texts: list[str], seed: int, copies: int = 1) -> tuple[list[str], list[list[str]]]:
    """Altered texts, each with one to three references: the text, and others of the list."""
    rng = random.Random(seed)
    outputs, references = [], []
    for text in texts * copies:
        glue = "" if texts is CHINESE else " "
        outputs.append(altered(text, rng, text.split(" ") if glue else list(text), glue))
        references.append([text, *rng.sample(texts, rng.randrange(3))])
    return outputs, references


def value(name: str, output: str, *references: str) -> float:
    return measure([name], [output], [references], resamples=0)[name].value


# -- ROUGE -----------------------------------------------------------------------------------------


class Units:
    """Our units in place of rouge-score's, which drop all that is not ASCII."""

    def tokenize(self, text: str) -> list[str]:
        return units(text)


@pytest.mark.parametrize("texts", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_rouge_matches_rouge_score(texts: list[str]) -> None:
    reference = RougeScorer(ROUGE, tokenizer=None if texts is ENGLISH else Units())
    outputs, references = written(texts, seed=1, copies=8)
    outputs += ["", texts[0]]
    references += [[texts[0]], [""]]
    for output, several in zip(outputs, references, strict=True):
        expected = reference.score_multi(several, output)
        for name in ROUGE:
            assert value(name, output, *several) == pytest.approx(100 * expected[name].fmeasure)
    found = measure(ROUGE, outputs, references, resamples=0)
    for name in ROUGE:
        scores = [
            reference.score_multi(several, output)[name].fmeasure
            for output, several in zip(outputs, references, strict=True)
        ]
        assert found[name].value == pytest.approx(100 * sum(scores) / len(scores))


def test_rouge_by_hand() -> None:
    """Lin (2004), section 3.1: the same bigrams in another order."""
    police = "police killed the gunman"
    assert value("rougeL", "police kill the gunman", police) == pytest.approx(75)
    assert value("rougeL", "the gunman kill police", police) == pytest.approx(50)
    assert value("rouge2", "police kill the gunman", police) == pytest.approx(100 / 3)
    assert value("rouge2", "the gunman kill police", police) == pytest.approx(100 / 3)
    # 春 眠 of 4 are shared; precision 2/3, recall 2/4
    assert value("rouge1", "春眠，春！", "春眠不觉") == pytest.approx(100 * 4 / 7)


def lcs_table(first: str, second: str) -> int:
    row = [0] * (len(second) + 1)
    for a in first:
        above = row
        row = [0]
        for j, b in enumerate(second):
            row.append(above[j] + 1 if a == b else max(above[j + 1], row[j]))
    return row[-1]


@given(st.text("abc", max_size=80), st.text("abcd", max_size=80))
def test_common_subsequence_matches_dynamic_programming(first: str, second: str) -> None:
    assert common_subsequence(first, second) == lcs_table(first, second)


# -- sacrebleu -------------------------------------------------------------------------------------


@pytest.mark.parametrize("texts", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_scores_match_sacrebleu(texts: list[str]) -> None:
    outputs, _ = written(texts, seed=2, copies=3)
    streams = [texts * 3, (texts[1:] + texts[:1]) * 3]
    chinese = texts is CHINESE
    tokenize = "zh" if chinese else "13a"
    metrics = {
        "bleu": BLEU(tokenize=tokenize),
        "bleu_lowercase": BLEU(tokenize=tokenize, lowercase=True),
        "chrf": CHRF(),
        "ter": TER(normalized=chinese, asian_support=chinese),
    }
    found = measure(list(metrics), outputs, list(zip(*streams, strict=True)), resamples=0)
    for name, metric in metrics.items():
        assert found[name].value == metric.corpus_score(outputs, streams).score
        assert found[name].signature == str(metric.get_signature())
        assert found[name].low is found[name].high is None


def test_ter_splits_chinese_into_characters() -> None:
    """One substitution in five characters and a full stop."""
    assert value("ter", "两个孩子哭。", "两个孩子笑。") == pytest.approx(100 / 6)


def test_varying_numbers_of_references() -> None:
    """A missing reference has no effect, unlike an empty one."""
    outputs = ["a b c d e", "a b c d e f"]
    references = [["a b c d e", "a b x"], ["a b c d e f"]]
    for found in measure(["bleu", "chrf"], outputs, references, resamples=0).values():
        assert found.value == pytest.approx(100)
        assert found.signature.startswith("nrefs:var|")
    empty = [["a b x d"], ["a b c d e f g h", ""]]
    absent = [["a b x d"], ["a b c d e f g h"]]
    short = ["a b c d", "a b c"]  # the empty reference's length is nearer
    with_empty, without = (
        measure(["bleu"], short, r, resamples=0)["bleu"].value for r in (empty, absent)
    )
    assert with_empty > without


@pytest.mark.parametrize("metric", [BLEU(), CHRF(), TER()], ids=["bleu", "chrf", "ter"])
def test_interval_width_matches_sacrebleu(
    metric: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sacrebleu's interval is symmetric; ours is not."""
    name = request.node.callspec.id
    outputs, references = written(ENGLISH, seed=3, copies=5)
    references = [several[:1] for several in references]
    found = measure([name], outputs, references, seed=7)[name]
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    score = metric.corpus_score(outputs, [[r[0] for r in references]], n_bootstrap=1000)
    assert found.value == pytest.approx(score.score)
    assert found.high - found.low == pytest.approx(2 * score._ci, rel=0.05)
    assert (found.high + found.low) / 2 == pytest.approx(score._mean, abs=0.5)
    assert found.signature == str(metric.get_signature())


def test_bootstrap_samples_without_matches() -> None:
    """With three wrong texts of five, 8 % of bootstrap samples have no match."""
    outputs, references = ["abcdefg"] * 2 + ["x"] * 3, [["abcdefg"]] * 2 + [["y"]] * 3
    found = measure(["chrf", "ter"], outputs, references, resamples=100)
    assert found["chrf"].low == 0
    assert found["ter"].high == 100


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """sacrebleu logs warnings about texts that look tokenized."""
    with caplog.at_level(logging.DEBUG):
        measure(list(METRICS), ["it rains ."] * 150, [["it pours ."]] * 150, resamples=10)
    assert not caplog.records


# -- every metric ----------------------------------------------------------------------------------


@pytest.mark.parametrize("texts", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_identical_texts_score_100(texts: list[str]) -> None:
    found = measure([*SCORES, "ter"], texts, [["…", text] for text in texts], resamples=50)
    for name in SCORES:
        assert found[name].value == found[name].high == pytest.approx(100)
        assert found[name].low == pytest.approx(100, abs=1e-3)
    assert found["ter"].value == 0


@pytest.mark.parametrize("texts", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_empty_texts_score_0(texts: list[str]) -> None:
    found = measure(list(METRICS), [""] * len(texts), [[text] for text in texts], resamples=10)
    assert found.pop("ter").value == 100  # every word of the references is to be put in
    for metric in found.values():
        assert metric.value == metric.low == metric.high == 0


def test_exact_ignores_only_outer_white_space() -> None:
    outputs = [" Yes.\n", "yes.", "不 是", "不是"]
    references = [["No.", "Yes."], ["Yes."], ["不是"], [" 不是"]]
    found = measure(["exact"], outputs, references, resamples=0)["exact"]
    assert found.value == 50
    assert found.signature == "nrefs:var|case:mixed|space:stripped"


@settings(max_examples=30, deadline=None)
@given(PAIRS, st.randoms(use_true_random=False))
def test_order_of_texts_does_not_matter(
    pairs: list[tuple[str, list[str]]], rng: random.Random
) -> None:
    mixed = rng.sample(pairs, len(pairs))
    one, other = (
        measure(list(METRICS), *zip(*p, strict=True), resamples=0) for p in (pairs, mixed)
    )
    for name in METRICS:
        assert one[name].value == pytest.approx(other[name].value), name


@settings(max_examples=20, deadline=None)
@given(PAIRS)
def test_value_lies_in_its_interval(pairs: list[tuple[str, list[str]]]) -> None:
    outputs, references = zip(*pairs * 5, strict=True)
    for name, metric in measure(list(METRICS), outputs, references, resamples=50).items():
        assert metric.low is not None
        assert metric.high is not None
        assert 0 <= metric.low <= metric.value <= metric.high
        assert metric.high <= (math.inf if name == "ter" else 100)


def test_interval_of_exact_is_binomial() -> None:
    """The mean of 400 independent answers, 30 % of them right, has a standard error of 2.3."""
    outputs = ["yes"] * 120 + ["no"] * 280
    found = measure(["exact"], outputs, [["yes"]] * 400, resamples=2000)["exact"]
    error = 100 * math.sqrt(0.3 * 0.7 / 400)
    assert found.value == pytest.approx(30)
    assert found.low == pytest.approx(30 - 1.96 * error, abs=0.4)
    assert found.high == pytest.approx(30 + 1.96 * error, abs=0.4)


def test_result_of_a_seed_is_independent_of_other_metrics() -> None:
    outputs, references = written(ENGLISH, seed=4)
    every = measure(list(METRICS), outputs, references, resamples=40, seed=1)
    for name in METRICS:
        assert measure([name], outputs, references, resamples=40, seed=1)[name] == every[name]
    assert (
        measure(["rouge1"], outputs, references, resamples=40, seed=2)["rouge1"] != every["rouge1"]
    )


def test_signatures() -> None:
    found = measure(["rouge2", "distinct1"], ["a b"] * 5, [["a b"]] * 5, resamples=5, seed=9)
    assert found["rouge2"].signature == (
        "nrefs:1|bs:5|seed:9|case:lc|unit:word+marks|spaceless:grapheme|norm:nfc|stem:no|score:f1"
    )
    assert (
        found["distinct1"].signature
        == "bs:5|seed:9|case:lc|unit:word+marks|spaceless:grapheme|norm:nfc"
    )


def test_errors() -> None:
    once = partial(measure, ["bleu"], resamples=0)
    with pytest.raises(WenmoError, match=r"unknown metric 'blue'; did you mean 'bleu'\? \(valid: "):
        measure(["blue"], ["a"], [["a"]])
    for outputs, references in (([], []), (["a"], []), (["a", "b"], [["a"], []])):
        with pytest.raises(ValueError, match=r"outputs|reference"):
            once(outputs, references)
    with pytest.raises(ValueError, match="resamples"):
        measure(["bleu"], ["a"], [["a"]], resamples=1)
    assert measure(["distinct1"], ["a"], [[]], resamples=0)["distinct1"].value == 100


MARKED = {  # two sentences of other words, and how many of the words they share
    ("वह किताब पढ़ती है", "वह कातिब पढ़ता हो"): 1 / 4,
    ("கடல் நீலம்", "கடில் நீளம்"): 0,
    ("كَتَبَ", "كُتُبٌ"): 0,
    ("โรงสีเก่า", "โรงสู่ก่า"): 10 / 13,
}


@pytest.mark.parametrize(("written", "wanted"), MARKED)
def test_combining_marks_distinguish_words(written: str, wanted: str) -> None:
    [score] = measure(["rouge1"], [written], [[wanted]], resamples=0).values()
    assert score.value == pytest.approx(100 * MARKED[written, wanted])


@pytest.mark.parametrize("name", METRICS)
def test_decomposed_accents_make_no_difference(name: str) -> None:
    """Composed and decomposed, the same text scores the same."""
    texts = ["Café crème brûlée, très sucrée", "Việt Nam có nhiều sông"]
    others = ["Café noir, très sucré", "Việt Nam có nhiều núi"]
    figures = {
        measure([name], forms(first, texts), [[t] for t in forms(second, others)], resamples=0)[
            name
        ].value
        for first in ("NFC", "NFD")
        for second in ("NFC", "NFD")
    }
    assert len(figures) == 1
    same = [[text] for text in forms("NFD", texts)]
    if name not in ("ter", "distinct1", "distinct2"):
        [metric] = measure([name], texts, same, resamples=0).values()
        assert metric.value == pytest.approx(100)


def forms(form: str, texts: list[str]) -> list[str]:
    return [normalize(form, text) for text in texts]


@pytest.mark.parametrize("name", METRICS)
def test_no_interval_for_fewer_than_five_texts(name: str) -> None:
    found = measure([name], ["a b c d", "b"] * 2, [["a b c d"], ["a"]] * 2)[name]
    assert (found.low, found.high) == (None, None)
    assert "bs:1000" not in found.signature
    enough = measure([name], ["a b c d"] * 5, [["a b c d"]] * 5)[name]
    assert enough.low is not None
