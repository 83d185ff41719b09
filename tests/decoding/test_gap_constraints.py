"""Gaps that masked models fill under constraints."""

from __future__ import annotations

import pytest
import torch

from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.noise import hash_bits, uniform
from wenmo.decoding.params import Sampling
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import Infills
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import SpecialTokens, WenmoError

TEXT = "春眠不觉晓，处处闻啼鸟。\nthe cat sat "
TOKENIZERS = {
    kind: Tokenizer.train([TEXT], TokenizerConfig(kind, vocab_size=size, min_count=1))
    for kind, size in {"characters": None, "bytes": None, "bpe": 300}.items()
}


class Hashes(LanguageModel, Infills):
    """Logits are a hash of all that is seen and of the place."""

    conditioning = "none"
    special_tokens = SpecialTokens(source_suffix=())

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size, self.context = vocab_size, 40

    def initial_state(self, batch_size, *, source=None, capacity=0, generator=None):
        return {"last": torch.zeros(batch_size, dtype=torch.long)}

    def forward(self, tokens, state=None):
        return torch.zeros(*tokens.shape, self.vocab_size), {"last": tokens[:, -1]}

    def fill(self, tokens, hidden, positions):
        keys = torch.zeros(len(tokens), dtype=torch.long)
        for column in tokens.masked_fill(hidden, -1).T:
            keys = hash_bits(keys + column + 1)
        flat = hash_bits(keys[:, None] + torch.arange(tokens.shape[1])).flatten()
        return uniform(flat, self.vocab_size).view(*tokens.shape, -1)[positions] * 6


def generator(kind: str = "characters") -> TextGenerator:
    tokenizer = TOKENIZERS[kind]
    return TextGenerator(Hashes(tokenizer.vocab_size), tokenizer, alphabet=set(TEXT))


@pytest.mark.parametrize("method", ["sample", "greedy"])
@pytest.mark.parametrize("options", [{}, {"unmask_order": "confidence", "remask": True}])
def test_a_gap_has_its_length_and_its_phrases(method, options) -> None:
    asked = ConstraintSettings(length="5c", require=("啼鸟",), forbid=("不", "眠春", "鸟晓"))
    sampling = Sampling(method, **options)
    [outputs] = generator().generate(["春眠____晓。"], sampling, 8, constraints=asked)
    for output in outputs:
        assert len(output.text) == 5
        assert "啼鸟" in output.text
        assert "不" not in output.text
        assert "眠春" not in "春眠" + output.text
        assert "鸟晓" not in output.text + "晓。"


def test_company_changes_no_gap() -> None:
    asked = ConstraintSettings(forbid=("春",))
    writer, sampling = generator(), Sampling(gap_tokens=4)
    prompts = ["春眠____晓。", "____觉", "the ____"]
    together = writer.generate(prompts, sampling, 2, constraints=asked)
    assert together == [writer.generate([p], sampling, 2, constraints=asked)[0] for p in prompts]
    assert all(len(output.ids) == 4 for outputs in together for output in outputs)


def test_whole_texts_are_written_from_left_to_right() -> None:
    asked = ConstraintSettings(length="9c,2l", require=("晓，",), forbid=("春",))
    for output in generator().generate([""], Sampling(), 4, constraints=asked)[0]:
        assert len(output.text) == 9
        assert output.text.count("\n") == 1
        assert "晓，" in output.text


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("characters", {"forbid": ("春",)}, "a gap with constraints needs its length: add"),
        ("characters", {"acrostic": "春"}, "a gap cannot be held to acrostic: leave one"),
        ("characters", {"length": "2c", "require": ("春眠不",)}, "no text has all of it"),
        ("characters", {"length": "2c", "gap_tokens": 3}, "length=2c and length=3c: no text"),
        ("bpe", {"length": "2c"}, "where each token is a character, and those of this model"),
        ("bytes", {"length": "2c"}, "where each token is a character, and those of this model"),
    ],
)
def test_what_no_gap_can_be_held_to_is_refused(kind, options, message) -> None:
    sampling = Sampling(gap_tokens=options.pop("gap_tokens", 0))
    with pytest.raises(WenmoError) as caught:
        generator(kind).generate(["the ____"], sampling, constraints=ConstraintSettings(**options))
    assert message in str(caught.value)
