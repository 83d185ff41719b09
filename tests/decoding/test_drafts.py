"""Drafts, how long their proposals are, and texts under constraints."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.decoding.draft_length import AdaptiveLength, Outlook, StepCosts
from wenmo.decoding.drafts.base import Draft, Proposal, Speculation
from wenmo.decoding.drafts.ngram import NgramDraft
from wenmo.decoding.drafts.prompt import PromptDraft, look_up
from wenmo.decoding.drafts.settings import DraftSettings, split_draft
from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.engines.row import Row
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.noise import fold_in, gumbel, gumbel_of
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.grammar.chart import Chart
from wenmo.grammar.reading import parse_grammar
from wenmo.models.ngram import Ngram
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.models.transformer.config import TransformerConfig
from wenmo.runs.preflight import check_draft
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import END, WenmoError

TEXT = "the cat ran, the dog ran. 小猫跑了，小明跑了。the cats ran; the dogs ran。\n" * 3
RULES = {"origin": ["#人#跑了。", "the #n##s# ran, the #n##s# ran"], "人": ["小明", "小猫"]}
RULES |= {"n": ["cat", "dog"], "s": ["s", ""]}
CHART = Chart.from_grammar(parse_grammar(json.dumps(RULES)))
TOKENIZER = Tokenizer.train([TEXT], TokenizerConfig(kind="characters"))
MODELS = {
    "gpt": TransformerConfig(hidden_size=16, layers=1, heads=2, context_length=40),
    "lstm": RecurrentConfig(cell="lstm", embedding_size=8, hidden_size=12, layers=1),
}


def ngram(order: int = 4) -> Ngram:
    model = Ngram(NgramConfig(order=order), TOKENIZER.vocab_size)
    model.fit(np.concatenate([[END], TOKENIZER.encode(TEXT), [END]]))
    return model


def of_tokens(*tokens: int) -> array[int]:
    return array("q", tokens)


# -- what is proposed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens", "evidence"),
    [
        ([0, 5, 6, 7, 8, 9, 5, 6, 7], [8, 9, 5], 3),  # after 5 6 7
        ([0, 5, 6, 1, 5, 6, 2, 5, 6], [2, 5, 6], 2),  # of two places the last
        ([0, 1, 2, 3, 8, 2, 3, 9, 1, 2, 3], [8, 2, 3], 3),  # the longest before the last
        ([0, 4, 1, 2, 1, 2], [1, 2, 1], 2),  # goes round
        ([5, 6, 0, 7, 5, 6], [], 2),  # what follows is END
        ([0, 1, 2, 3, 4], [], 0),
        ([1 << 8, 1, 1 << 8, 1 << 16, 1], [], 0),  # bytes that are equal at other places
    ],
)
def test_prompt_look_up(text: list[int], tokens: list[int], evidence: int) -> None:
    assert look_up(of_tokens(*text), 3) == Proposal(tokens, evidence)


@pytest.mark.parametrize("order", [2, 3, 5])
def test_followers_have_the_probabilities_of_the_model(order: int) -> None:
    model = ngram(order)
    tables = model.ngram_tables()
    ids = [END, *TOKENIZER.encode(TEXT).tolist()]
    for end in (1, 2, 7, 30, 60):
        found = tables.followers(ids[:end], 1000)
        logits, _ = model(torch.tensor([ids[:end]]))
        expected = logits[0, -1].numpy()[found.tokens]
        assert 0 < found.order <= order
        np.testing.assert_allclose(found.logprobs, expected, atol=1e-6)
        assert ids[end] in found.tokens


def test_followers_are_few_or_none() -> None:
    tables = ngram().ngram_tables()
    unseen = TOKENIZER.vocab_size - 1
    assert tables.followers([unseen], 1000).order in (0, 2)
    assert tables.followers(TOKENIZER.encode("the ").tolist(), 1).order == 0


def test_the_noise_of_some_tokens_is_that_of_all() -> None:
    keys = fold_in(torch.tensor([2**62 + 5]), torch.tensor([7]))
    tokens = np.array([0, 3, 39])
    expected = gumbel(keys, 40)[0].numpy()[tokens]
    np.testing.assert_allclose(gumbel_of(2**62 + 5, 7, tokens), expected, rtol=1e-6)


# -- how much is proposed ------------------------------------------------------------------------


def test_costs_rise_with_the_length_and_are_tried_beyond_it() -> None:
    costs = StepCosts()
    for tokens, seconds in ((1, 1.0), (5, 3.0), (3, 4.0)):
        costs.observe(1, tokens, seconds)
    assert [costs.estimate(1, tokens) for tokens in (1, 3, 4, 5, 9)] == [1.0, 3.0, 3.0, 3.0, 3.0]
    assert costs.longest(1) == 5
    assert costs.longest(2) == 0


def simulate(acceptance: float, cost: float, drafting: float) -> tuple[float, float]:
    """Tokens a second against those without a draft, and the mean length of proposals.

    Args:
        cost: of each token beyond the first that a step reads, where the first costs 1.
        drafting: of each token that is asked for.
    """
    rng = np.random.default_rng(0)
    length, text, steps = AdaptiveLength(), StepCosts(), 400  # any object can stand for a text
    seconds = written = proposed = 0.0
    for _ in range(steps):
        asked = length.ask(1)
        outlook = Outlook(text, ("test", 0), asked, 0)
        chosen = length.choose(1, [outlook]) if asked else 0
        accepted = 0
        while accepted < chosen and rng.random() < acceptance:
            accepted += 1
        if chosen:
            length.observe_proposals([replace(outlook, length=chosen)], [accepted])
        step, draft = 1 + cost * chosen, drafting * asked
        length.observe_step(1, 1 + chosen, 1 + accepted, step, draft)
        seconds += step + draft
        written += 1 + accepted
        proposed += chosen
    return written / seconds, proposed / steps


def test_a_useless_draft_costs_little() -> None:
    for cost, drafting in ((0.05, 0.0), (0.5, 0.0), (1.0, 0.1), (0.05, 0.3)):
        speed, _ = simulate(0.0, cost, drafting)
        assert speed > 0.95


def test_a_good_draft_is_used() -> None:
    speed, length = simulate(0.9, 0.05, 0.01)
    assert speed > 3
    assert length > 5
    assert simulate(0.9, 0.9, 0.0)[0] > 0.95


def test_what_came_of_a_draft() -> None:
    done = Speculation().after(4, 2).after(0, 0).after(3, 3)
    assert done == Speculation(steps=3, proposed=7, accepted=5)
    assert done.to_dict()["tokens_per_step"] == pytest.approx(8 / 3)
    assert done.to_dict()["acceptance_rate"] == pytest.approx(5 / 7)
    assert Speculation().to_dict()["acceptance_rate"] is None


# -- texts ---------------------------------------------------------------------------------------


class Script:
    """Proposes a text, whatever is written and whatever a constraint says."""

    name = "script"

    def __init__(self, text: str) -> None:
        self.ids = TOKENIZER.encode(text).tolist()

    def propose(self, rows: Sequence[Row], count: int) -> list[Proposal]:
        return [Proposal(self.ids[row.written :][:count]) for row in rows]


def drafts() -> list[Draft[Row]]:
    return [
        PromptDraft(),
        NgramDraft(ngram().ngram_tables()),
        Script("the cats ran, the dog ran"),
        Script("小狗跑了"),
    ]


@pytest.fixture
def always_proposes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it costs."""
    monkeypatch.setattr(AdaptiveLength, "ask", lambda self, rows: 5)
    monkeypatch.setattr(
        AdaptiveLength, "choose", lambda self, rows, outlooks: max(o.length for o in outlooks)
    )


def generator(family: str) -> TextGenerator:
    torch.manual_seed(1)
    model = MODELS[family].build(TOKENIZER.vocab_size)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return TextGenerator(model, TOKENIZER, alphabet=set(TEXT))


CASES = {
    "grammar": {"chart": CHART},
    "length": {"constraints": ConstraintSettings(length="12c")},
    "choice": {"constraints": ConstraintSettings(choice=("the cats ran", "the dogs ran", "小猫"))},
    "regex": {"constraints": ConstraintSettings(regex="the (cat|dog)s? ran(, the dog ran)+")},
    "stop": {"sampling": Sampling(max_tokens=60, seed=5, stop=("t", "跑"))},
    "greedy": {"sampling": Sampling(max_tokens=50, method="greedy", no_repeat_ngram=3)},
}


@pytest.mark.usefixtures("always_proposes")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", MODELS)
def test_texts_under_constraints_are_those_without_a_draft(family: str, case: str) -> None:
    write = generator(family)
    inputs = {"sampling": Sampling(max_tokens=40, seed=3), **CASES[case]}
    prompts = ["", "the cat ran, the "]
    expected = write.generate(prompts, n=2, **inputs)
    accepted = 0
    for draft in drafts():
        found = write.generate(prompts, n=2, draft=draft, **inputs)
        for one, other in zip(chain(*found), chain(*expected), strict=True):
            assert (one.text, one.ids, one.stopped_by) == (other.text, other.ids, other.stopped_by)
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
            assert one.speculation is not None
            accepted += one.speculation.accepted
    assert accepted
    pieces = write.stream(prompts[1], draft=drafts()[1], **inputs)
    assert "".join(pieces) == expected[1][0].text


@pytest.mark.usefixtures("always_proposes")
@pytest.mark.parametrize("family", MODELS)
def test_a_draft_beside_beams_and_texts_without_one(family: str) -> None:
    """Of a recurrent model the state lags behind when the beam comes."""
    model = generator(family).model
    ids = TOKENIZER.encode("the ").tolist()
    texts = [
        Request(ids, Sampling(max_tokens=25, seed=1), draft=PromptDraft()),
        Request(ids, Sampling(max_tokens=25, seed=2), draft=NgramDraft(ngram().ngram_tables())),
        Request(ids, Sampling(max_tokens=9, seed=3)),
        Request(ids, Sampling(max_tokens=6, method="beam", beam_width=2)),
    ]

    def run(requests: Sequence[Request], late: int) -> list[list[int]]:
        engine = AutoregressiveEngine(model)
        written: dict[int, list[int]] = {engine.submit(each): [] for each in requests[:late]}
        for _ in range(3 if late < len(requests) else 0):
            for event in engine.step():
                written[event.request].append(event.token)
        written |= {engine.submit(each): [] for each in requests[late:]}
        for event in engine.run():
            written[event.request].append(event.token)
        return list(written.values())

    alone = [run([replace(each, draft=None)], 1)[0] for each in texts]
    assert run(texts, 4) == alone
    assert run(texts, 3) == alone


@pytest.mark.parametrize("method", ["beam", "stochastic-beam", "contrastive"])
def test_searches_take_no_draft(method: str) -> None:
    with pytest.raises(WenmoError, match=r"^draft: .*leave it out, or use method=greedy"):
        generator("gpt").generate([""], Sampling(method=method), draft=PromptDraft())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "sampling", "message"),
    [
        ({"draft": ""}, {}, "draft: is empty: write prompt, ngram or a run"),
        ({"draft": "promt"}, {}, "draft=promt: no such run folder; did you mean 'prompt'"),
        ({"draft": "nowhere/run"}, {}, "nowhere/run: no such run folder"),
        ({"draft": "prompt"}, {"method": "beam"}, "draft: speeds up texts"),
        ({"draft": 3.5j}, {}, "no such run folder"),
    ],
)
def test_what_is_refused_before_a_model_is_loaded(
    options: dict[str, object], sampling: dict[str, object], message: str
) -> None:
    with pytest.raises(WenmoError, match=message) as caught:
        check_draft("run", options, sampling)
    assert "\n" not in str(caught.value)


def test_drafts_and_other_options() -> None:
    assert split_draft({"draft": Path("a/b"), "top_p": 0.5}) == (
        DraftSettings(str(Path("a/b"))),
        {"top_p": 0.5},
    )
    assert split_draft({}) == (DraftSettings(), {})
    check_draft("run", {"draft": "ngram"}, {"method": "greedy"})
    check_draft("run", {}, {"method": "beam"})
