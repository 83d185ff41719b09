"""A grammar as a model: characters and bytes, saved and loaded, and which rule says what."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from wenmo.grammar.chart import Chart
from wenmo.grammar.reading import parse_grammar
from wenmo.models.grammar import GrammarModel
from wenmo.models.grammar_config import GrammarConfig
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import END, Batch, WenmoError

RULES = {
    "origin": {"#人#有#数#只#兽#": 3, "ab": 1},
    "人": {"我": 2, "你": 1},
    "数": ["一", "两"],
    "兽": ["猫", "狗", "猴"],  # all begin with one byte, and 猫 and 猴 with two
}
TEXTS = ["我有一只猫", "你有两只猴", "ab"]


def opened(tokenizer: Tokenizer, rules: dict = RULES) -> GrammarModel:
    source = json.dumps(rules)
    model = GrammarConfig().build(tokenizer.vocab_size)
    model.set_grammar(parse_grammar(source), source)
    model.bind_vocabulary(tokenizer.table)
    return model.eval()


def tokenizer_of(kind: str, letters: str = "我你有一两只猫狗猴ab") -> Tokenizer:
    return Tokenizer.train([letters], TokenizerConfig(kind, min_count=1))


TOKENIZERS = {
    "characters": tokenizer_of("characters"),
    "some": tokenizer_of("characters", "有只狗a"),  # the others are spelled in bytes
    "bytes": tokenizer_of("bytes"),
}
every_tokenizer = pytest.mark.parametrize("name", TOKENIZERS)


def score(model: GrammarModel, ids: list[int]) -> float:
    stream = torch.tensor([[END, *ids, END]])
    return -float(model.score(Batch(stream[:, :-1], stream[:, 1:])).nats)


@every_tokenizer
def test_a_text_is_as_likely_in_any_tokens(name):
    tokenizer, chart = TOKENIZERS[name], Chart.from_grammar(parse_grammar(json.dumps(RULES)))
    model = opened(tokenizer)
    for text in TEXTS:
        assert score(model, tokenizer.encode(text).tolist()) == pytest.approx(chart.logprob(text))
    for text in ("我有一只", "我有三只猫", "b", "", "我有一只猫。"):
        assert score(model, tokenizer.encode(text).tolist()) == -math.inf


@every_tokenizer
def test_what_follows_sums_to_one_at_every_byte(name):
    tokenizer = TOKENIZERS[name]
    model = opened(tokenizer)
    ids = torch.tensor([[END, *tokenizer.encode("你有两只猴").tolist(), END, END]])
    logits, _ = model(ids)
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(ids.shape), rtol=1e-5, atol=1e-5)


def test_the_bytes_of_a_character_are_weighed_by_what_they_may_become():
    model = opened(TOKENIZERS["bytes"])
    ids = TOKENIZERS["bytes"].encode("我有一只").tolist()
    logits, state = model(torch.tensor([[END, *ids]]))
    assert logits[0, -1].exp()["猫".encode()[0] + 1] == pytest.approx(1)  # all three
    logits, _ = model(torch.tensor([["猫".encode()[0] + 1]]), state)
    likely = {byte - 1: p for byte, p in enumerate(logits[0, -1].exp().tolist()) if p}
    assert likely == {
        "猫".encode()[1]: pytest.approx(2 / 3),  # 猴 with it
        "狗".encode()[1]: pytest.approx(1 / 3),
    }


def test_after_what_it_cannot_write_there_is_only_the_end():
    model, tokenizer = opened(TOKENIZERS["characters"]), TOKENIZERS["characters"]
    ids = tokenizer.encode("我我一").tolist()
    logits, state = model(torch.tensor([[END, *ids]]))
    assert logits[0, -1].exp().tolist() == [1.0, *[0.0] * (model.vocab_size - 1)]
    again, _ = model(torch.tensor([[END]]), state)
    assert torch.equal(again[0, 0], logits[0, 0])  # a new text begins
    assert model.accepts_prefix(ids[:1])
    assert not model.accepts_prefix(ids)


def test_other_tokens_are_refused():
    words = Tokenizer.train(["the cat the cat"] * 3, TokenizerConfig("words"))
    with pytest.raises(WenmoError, match="single characters: train it with --tokenizer characters"):
        opened(words)
    with pytest.raises(WenmoError, match="no grammar: say which"):
        GrammarConfig().build(300).fit(np.array([0, 5, 0]))


def test_the_rules_say_who_writes_what():
    model, tokenizer = opened(TOKENIZERS["characters"]), TOKENIZERS["characters"]
    ids = tokenizer.encode("我有一只猫").tolist()
    names, weights, said = model.explain_tokens(torch.tensor([[END, *ids, END]]))
    assert names == ["origin", "人", "数", "兽"]
    rows = [dict(zip(names, row, strict=True)) for row in weights.tolist()]
    assert rows[0] == pytest.approx({"origin": 0.25, "人": 0.75, "数": 0, "兽": 0})
    loudest = [max(row, key=row.__getitem__) for row in rows]
    assert loudest == ["人", "origin", "数", "origin", "兽", "origin"]
    likely = (weights * said).sum(1)
    logits, _ = model(torch.tensor([[END, *ids]]))
    given = logits[0].exp().gather(1, torch.tensor([*ids, END])[:, None])[:, 0]
    torch.testing.assert_close(likely, given)


def test_it_learns_and_its_weights_are_kept():
    tokenizer = TOKENIZERS["some"]
    model = opened(tokenizer)
    texts = ["我有一只猫"] * 3 + ["我有两只猫"] + ["ab"] * 4
    ids = np.concatenate([[END], *([*tokenizer.encode(t), END] for t in texts)])
    before = score(model, tokenizer.encode(texts[0]).tolist())
    told: list[float] = []
    model.validate_corpus(ids, told.append)
    model.fit(ids, progress=told.append)
    assert told[-1] <= 1
    assert score(model, tokenizer.encode(texts[0]).tolist()) > before
    again = GrammarConfig("is/not/there.json").build(tokenizer.vocab_size)
    again.load_state_dict(model.state_dict())
    assert score(again, tokenizer.encode("你有两只猴").tolist()) == pytest.approx(
        score(model, tokenizer.encode("你有两只猴").tolist()), abs=0
    )
    assert [d.text for d in again.sample_texts(range(9))] == [
        d.text for d in model.sample_texts(range(9))
    ]


def spoil(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    return dict(opened(TOKENIZERS["characters"]).state_dict()) | changes


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (spoil(weights=torch.zeros(2, dtype=torch.float64)), "do not fit the kept grammar"),
        (spoil(weights=torch.zeros(9, dtype=torch.float64)), "has lost all its weights"),
        (spoil(weights=torch.full((9,), math.nan, dtype=torch.float64)), "do not fit"),
        (spoil(source=torch.tensor([0xFF], dtype=torch.uint8)), "grammar is damaged"),
        (spoil(source=torch.tensor([0x7B], dtype=torch.uint8)), "not valid JSON"),
        (spoil(codes=torch.zeros(3, dtype=torch.long)), "another vocabulary"),
        (spoil(codes=torch.full((268,), 1 << 40)), "characters are none"),
        (spoil(more=torch.zeros(3)), "not the weights of a grammar"),
    ],
)
def test_kept_grammars_that_are_damaged(state, message):
    model = GrammarConfig().build(TOKENIZERS["characters"].vocab_size)
    with pytest.raises(WenmoError, match=message):
        model.load_state_dict(state)
