from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.output import Output
from wenmo.decoding.params import Sampling
from wenmo.models import MODELS
from wenmo.models.base import LanguageModel
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.transformer.config import TransformerConfig
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError

TEXT = "the cat and the dog\n"
TOKENIZER = Tokenizer.train([TEXT], TokenizerConfig("characters"))


@pytest.fixture(scope="module")
def writer() -> TextGenerator:
    model = NgramConfig(4).build(TOKENIZER.vocab_size)
    model.fit(np.array([0, *TOKENIZER.encode(TEXT * 3).tolist(), 0], np.uint16))
    return TextGenerator(model, TOKENIZER)


def generate(writer: TextGenerator, count: int = 4, **settings: Any) -> Output:
    sampling = Sampling(**{"max_tokens": 8, "seed": 3, **settings})
    [[plain]] = writer.generate(["the "], sampling)
    [[output]] = writer.generate(["the "], sampling, alternatives=count)
    assert replace(output, positions=()) == plain  # to look changes nothing
    return output


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.5, "top_k": 3, "no_repeat_ngram": 2},
        {"method": "greedy"},
        {"method": "beam", "beam_width": 3},
        {"method": "beam-sample", "beam_width": 3},
        {"mirostat": 2, "mirostat_tau": 1.0},
        {"xtc_probability": 0.5, "xtc_threshold": 0.05},
    ],
)
def test_what_was_written_is_told_with_its_probabilities(
    writer: TextGenerator, settings: dict[str, Any]
) -> None:
    output = generate(writer, **settings)
    assert [each.written.id for each in output.positions] == list(output.ids)
    logs = [np.log(each.written.probability) for each in output.positions]
    assert logs == pytest.approx(output.logprobs, abs=1e-4)
    for position in output.positions:
        assert position.written.processed > 0
        probabilities = [each.probability for each in position.alternatives]
        assert probabilities == sorted(probabilities, reverse=True)
        assert len(probabilities) == 4
        if settings == {}:  # only bytes that break a character are left out
            ratios = [each.processed / each.probability for each in position.alternatives]
            own = position.written.processed / position.written.probability
            assert [each for each in ratios if each and each != pytest.approx(own, rel=1e-4)] == []


def test_processing_is_seen(writer: TextGenerator) -> None:
    output = generate(writer, count=100, top_k=1, method="sample")
    for position in output.positions:
        assert position.written == position.alternatives[0]
        assert [each.processed for each in position.alternatives[1:]] == [0.0] * (
            len(position.alternatives) - 1
        )
    held = writer.generate(
        ["the "],
        Sampling(max_tokens=4),
        constraints=ConstraintSettings(choice=("dog",)),
        alternatives=2,
    )
    assert [each.written.token for each in held[0][0].positions] == ["d", "o", "g", ""]
    assert [each.written.processed for each in held[0][0].positions] == pytest.approx([1.0] * 4)


@pytest.mark.parametrize("method", ["sample", "contrastive"])
def test_a_text_beyond_the_context_is_read_as_it_was_written(method: str) -> None:
    torch.manual_seed(0)
    context = 8 if method == "sample" else 48
    config = TransformerConfig(hidden_size=16, layers=1, heads=2, context_length=context)
    writer = TextGenerator(config.build(TOKENIZER.vocab_size), TOKENIZER)
    output = generate(writer, max_tokens=30, min_tokens=30, method=method)
    logs = [np.log(each.written.probability) for each in output.positions]
    assert logs == pytest.approx(output.logprobs, abs=1e-4)


def test_what_has_no_alternatives_is_refused(writer: TextGenerator) -> None:
    masked: LanguageModel = MODELS["masked"].sizes["tiny"].build(TOKENIZER.vocab_size)
    fills = TextGenerator(masked, TOKENIZER)
    for each, sampling, told in (
        (fills, Sampling(), "a masked model fills tokens in any order: .*unmask_order=left"),
        (writer, Sampling(), "alternatives=101: must be from 1 to 100"),
    ):
        with pytest.raises(WenmoError, match=told):
            each.generate([""], sampling, alternatives=101 if each is writer else 3)
