"""Results become JSON and come back."""

from __future__ import annotations

import json

import pytest

from wenmo.evaluation.results import (
    ComparedRun,
    Evaluation,
    ImportanceWeighted,
    LatentUsage,
    Metric,
    PairEvaluation,
    RecordEvaluation,
    Sample,
    Tradeoff,
    TradeoffPoint,
    TradeoffVerdict,
    read_evaluation,
)
from wenmo.results import find
from wenmo.runs.results import TrainingResult

FIGURES = {"bits_per_byte": 2.5, "nats_per_token": 1.5, "perplexity": 4.5}
COUNTS = {"tokens": 10, "bytes": 12, "bound": False}
TEXT = Evaluation(**FIGURES, **COUNTS)
RECORDS = RecordEvaluation(**FIGURES, **COUNTS, records=3, records_left_out=1, nats_per_record=5.0)
PAIRS = PairEvaluation(
    **FIGURES,
    **COUNTS,
    sample=Sample(0.25, 7),
    pairs=28,
    pairs_left_out=0,
    sources_cut=2,
    metrics={"bleu": Metric(31.9, None, None, 2, "nrefs:1")},
)
FULL = RecordEvaluation(
    **vars(RECORDS)
    | {
        "low": 2.0,
        "high": 3.0,
        "latent_usage": LatentUsage(1.0, 0.5, 2, 8),
        "importance_weighted": ImportanceWeighted(
            **FIGURES, **COUNTS, samples=4, nats_per_record=4.0
        ),
        "baselines": {"likelihood alone": RECORDS},
    }
)


def test_what_is_none_by_default_is_left_out_and_what_may_be_none_is_null() -> None:
    assert TEXT.to_dict() == {**FIGURES, **COUNTS}
    assert PAIRS.to_dict()["metrics"]["bleu"]["low"] is None
    assert TradeoffVerdict(None, None, 0, "nothing to compare").to_dict()["gain"] is None


def test_inlined_fields_stand_beside_the_others() -> None:
    content = FULL.to_dict()
    assert (content["kl"], content["latents"]) == (1.0, 8)
    assert content["likelihood alone"] == RECORDS.to_dict()
    assert not {"latent_usage", "baselines"} & content.keys()
    assert ComparedRun("a", "gpt", TEXT).to_dict() == {"run": "a", "model": "gpt", **TEXT.to_dict()}
    assert ComparedRun("a", problem="damaged").to_dict() == {"run": "a", "problem": "damaged"}


@pytest.mark.parametrize("found", [TEXT, RECORDS, PAIRS, FULL], ids=lambda found: type(found))
def test_an_evaluation_is_read_as_what_it_was(found: Evaluation) -> None:
    again = read_evaluation(json.loads(json.dumps(found.to_dict())))
    assert again == found
    assert type(again) is type(found)


def test_the_results_in_a_card_are_read_whole() -> None:
    scores = {"4": 0.5}
    curve = [TradeoffPoint(1.0, scores, scores, scores, scores, "a text")]
    tradeoff = Tradeoff({"model": curve}, {"other": TradeoffVerdict(0.1, 0.01, 1, "model wins")})
    result = TrainingResult(FULL, 9, 1.5, 100, None, tradeoff=tradeoff, time={"total": 2.0})
    content = {**result.to_dict(), "rollbacks": 0}
    assert content["characters_per_second"] is None
    assert TrainingResult.from_dict(json.loads(json.dumps(content))) == result


def test_a_result_is_found_where_all_its_keys_are() -> None:
    content = {"kl": 1.0, "mutual_information": 0.5, "active_latents": 2, "other": 3}
    assert find(LatentUsage, content) is None
    assert find(LatentUsage, {**content, "latents": 8}) == LatentUsage(1.0, 0.5, 2, 8)
    with pytest.raises(KeyError, match="latents"):
        LatentUsage.from_dict(content)
