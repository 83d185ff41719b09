"""Combinations of models: every number from the members' own logits, and every engine as usual."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from wenmo.config import override
from wenmo.decoding.combination.classifier import (
    PrefixClassifier,
    fit_classifier,
    load_classifier,
    save_classifier,
)
from wenmo.decoding.combination.members import AfterOtherPrompt, ClassPosterior, Reindexed
from wenmo.decoding.combination.model import CombinedModel, Member
from wenmo.decoding.combination.rules import candidates, mixture, prefer, product
from wenmo.decoding.engines.base import Event
from wenmo.decoding.engines.router import Router
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.decoding.rescoring import text_log_probs
from wenmo.models import MODELS
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import FitsCounts, Infills, capability, has_capability
from wenmo.models.state import join, select, truncate
from wenmo.types import WenmoError

VOCAB = 11
TINY: dict[str, list[str]] = {
    "grammar": [f"grammar={Path(__file__).parents[1] / 'models' / 'letters.json'}"],
    "ngram": ["order=3"],
    "gpt": ["hidden_size=16", "layers=1", "heads=2", "context_length=12"],
    "masked": ["hidden_size=16", "layers=1", "heads=2", "context_length=12"],
    "transformer": [
        *("hidden_size=16", "layers=1", "encoder_layers=1", "heads=2", "context_length=12"),
    ],
    "gan": ["embedding_size=8", "hidden_size=12", "context_length=12"],
    "vae": ["embedding_size=8", "hidden_size=12", "latent_size=4", "context_length=12"],
}
every_family = pytest.mark.parametrize("family", MODELS)
steering = pytest.mark.parametrize("other", ["ngram", "lstm", "gpt"])


@cache
def make(family: str, seed: int = 0) -> LanguageModel:
    torch.manual_seed(seed)
    small = TINY.get(family, ["embedding_size=8", "hidden_size=12"])
    model = override(MODELS[family].config, small).build(VOCAB)
    if (counts := capability(model, FitsCounts)) is not None:
        drawn = np.random.default_rng(seed).integers(0, VOCAB, 300)
        counts.fit(np.concatenate([[0], drawn, [0]]))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return model.eval()


def combined(family: str, other: str, **settings: object) -> CombinedModel:
    members = [Member(make(other, 1), 1.5), Member(make("ngram", 2), -0.5)]
    return CombinedModel(make(family), members, **settings).eval()  # type: ignore[arg-type]


def some_ids(rows: int, time: int) -> Tensor:
    return torch.randint(1, VOCAB, (rows, time), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def alone(model: LanguageModel, ids: Tensor) -> Tensor:
    """The log-probabilities of a model by itself; a latent is drawn as an engine draws it."""
    generator = torch.Generator().manual_seed(0)
    return model(ids, model.initial_state(len(ids), generator=generator))[0].log_softmax(-1)


def write(model: LanguageModel, *requests: Request) -> list[list[Event]]:
    engine = Router(model)
    events: dict[int, list[Event]] = {engine.submit(request): [] for request in requests}
    for event in engine.run():
        events[event.request].append(event)
    return list(events.values())


def tokens(events: list[Event]) -> list[int]:
    return [event.token for event in events]


# -- rules, worked by hand -----------------------------------------------------------------------


def test_experts_and_anti_experts_by_hand() -> None:
    """Liu et al. (2021), equation 2, with probabilities 1/2, 1/4, 1/4 and so on."""
    base = torch.tensor([[0.5, 0.25, 0.25]]).log()
    good, bad = torch.tensor([[0.2, 0.4, 0.4]]).log(), torch.tensor([[0.4, 0.5, 0.1]]).log()
    found = product(base, [good, bad], [1.0, -1.0]).softmax(-1)
    wanted = torch.tensor([0.5 * 0.2 / 0.4, 0.25 * 0.4 / 0.5, 0.25 * 0.4 / 0.1])
    torch.testing.assert_close(found[0], wanted / wanted.sum())


def test_a_mixture_is_the_mean_of_probabilities() -> None:
    base, other = torch.tensor([[0.5, 0.5, 0.0]]).log(), torch.tensor([[0.2, 0.3, 0.5]]).log()
    wanted = torch.tensor([[0.75 * 0.5 + 0.25 * 0.2, 0.75 * 0.5 + 0.25 * 0.3, 0.125]])
    torch.testing.assert_close(mixture(base, [other], [0.25]).exp(), wanted)
    torch.testing.assert_close(mixture(base, [other], [1.0]), other)


def test_contrastive_decoding_by_hand() -> None:
    """Li et al. (2023), equations 1 and 2: log p − log p⁻ where p is at least α of the largest."""
    base = torch.tensor([[0.6, 0.3, 0.08, 0.02]]).log()
    amateur = torch.tensor([[0.7, 0.1, 0.19, 0.01]]).log()
    model = CombinedModel(make("ngram"), [Member(make("ngram", 1), -1.0)], min_p=0.1)
    found = model.combine(base, [amateur])
    torch.testing.assert_close(found[0, :3], (base - amateur)[0, :3])
    assert found[0, 3] < -900  # 0.02 / 0.6 is below 0.1, although 0.02 / 0.01 is high
    assert int(found.argmax()) == 1


def test_tokens_without_probability() -> None:
    base = torch.tensor([[0.0, 1.0, 2.0, -math.inf]])
    expert = torch.tensor([[-math.inf, -1.0, -1.0, -1.0]])
    anti = torch.tensor([[-1.0, -math.inf, -1.0, -math.inf]])
    found = product(base, [expert, anti], [1.0, -0.5])[0]
    assert found[0] == found[3] == -math.inf
    assert int(found.argmax()) == 1  # the anti-expert never writes it
    assert not found.isnan().any()
    nothing = torch.tensor([[-1.0, -math.inf, -math.inf, -math.inf]])
    kept = product(torch.tensor([[-math.inf, 0.0, 1.0, 2.0]]), [nothing], [1.0])[0]
    assert (kept > -math.inf).tolist() == [False, True, True, True]


def test_candidates_are_those_of_the_base() -> None:
    base = torch.tensor([[[0.5, 0.3, 0.15, 0.05]]]).log()
    assert candidates(base, 0, 1.0, 0.0) is None
    for settings, wanted in (((2, 1.0, 0.0), 2), ((0, 0.9, 0.0), 3), ((0, 1.0, 0.2), 3)):
        among = candidates(base, *settings)
        assert among is not None
        assert among[0, 0].tolist() == [n < wanted for n in range(4)]


# -- every family --------------------------------------------------------------------------------


@every_family
@steering
def test_logits_are_those_of_the_members_combined(family: str, other: str) -> None:
    model, ids = combined(family, other), some_ids(3, 6)
    found = alone(model, ids)
    parts = [alone(make(family), ids), alone(make(other, 1), ids), alone(make("ngram", 2), ids)]
    wanted = parts[0] + 1.5 * parts[1] - 0.5 * parts[2]
    torch.testing.assert_close(found, wanted.log_softmax(-1), rtol=1e-4, atol=1e-4)


@every_family
@torch.no_grad()
def test_a_text_in_slices_and_in_other_rows(family: str) -> None:
    model, ids = combined(family, "lstm", top_p=0.9), some_ids(3, 8)
    start = model.initial_state(3, capacity=8, generator=torch.Generator().manual_seed(0))
    whole, _ = model(ids, start)
    first, state = model(ids[:, :3], start)
    turned = select(state, [2, 0, 1])
    parts = join([select(turned, [1]), select(turned, [2]), select(turned, [0])])
    second, _ = model(ids[:, 3:], parts)
    read = torch.cat([first, second], 1)
    torch.testing.assert_close(read.softmax(-1), whole.softmax(-1), rtol=1e-4, atol=1e-5)
    assert set(state) <= set(model.state_schema.by_tensor)


@torch.no_grad()
def test_a_combination_of_counts_is_truncated() -> None:
    model, ids = combined("gpt", "ngram"), some_ids(2, 6)
    state = model(ids, model.initial_state(2, capacity=8))[1]
    assert model.state_schema.can_truncate(state)
    lengths = torch.tensor([4, 2])
    cut = truncate(model, state, lengths, ids)
    for row, length in enumerate(lengths.tolist()):
        wanted = model(torch.cat([ids[row, :length], torch.tensor([3])])[None])[0][0, -1]
        found = model(torch.full((2, 1), 3), dict(cut))[0][row, 0]
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert not combined("gpt", "lstm").state_schema.can_truncate(
        combined("gpt", "lstm").initial_state(1)
    )


@every_family
def test_a_request_gets_the_same_text_in_any_batch(family: str) -> None:
    model = combined(family, "ngram", top_p=0.95)
    prompts: list[list[int]] = [[], [3], [4, 2, 5]]
    if family == "grammar":  # it can begin in few ways
        prompts = [[]] * 3
    requests = [
        Request(prompt, Sampling(seed=seed, max_tokens=9, temperature=0.9))
        for seed, prompt in enumerate(prompts)
    ]
    together = write(model, *requests)
    assert [tokens(write(model, each)[0]) for each in requests] == list(map(tokens, together))


@every_family
@torch.no_grad()
def test_greedy_takes_the_best_of_the_combination(family: str) -> None:
    model = combined(family, "ngram", top_p=0.9)
    [events] = write(model, Request(sampling=Sampling(method="greedy", max_tokens=6)))
    read = [0]
    for event in events:
        logits = model(torch.tensor([read]), _fresh(model))[0][0, -1].log_softmax(-1)
        assert event.logprob == pytest.approx(float(logits.max()), abs=1e-4)
        read.append(event.token)


def _fresh(model: LanguageModel) -> dict[str, Tensor]:
    return model.initial_state(1, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_a_beam_finds_the_best_text_of_the_combination() -> None:
    """Of all texts of up to three tokens, by a beam as wide as they are many."""
    model = CombinedModel(make("lstm"), [Member(make("ngram", 1), 2.0), Member(make("rnn"), -0.7)])
    settings = Sampling(method="beam", beam_width=VOCAB**2, length_penalty=0, max_tokens=3)
    [events] = write(model, Request(sampling=settings))
    best, text = -math.inf, []
    logp = {(): alone(model, torch.tensor([[0]]))[0, -1]}
    for depth in range(1, 3):
        grid = torch.cartesian_prod(*[torch.arange(1, VOCAB)] * depth).view(-1, depth)
        rows = alone(model, torch.cat([torch.zeros(len(grid), 1).long(), grid], 1))[:, -1]
        logp |= {tuple(ids): row for ids, row in zip(grid.tolist(), rows, strict=True)}
    for ids, row in logp.items():
        total = sum(float(logp[ids[:n]][ids[n]]) for n in range(len(ids)))
        last = range(VOCAB) if len(ids) == 2 else [0]
        for token in last:
            if total + float(row[token]) > best:
                best, text = total + float(row[token]), [*ids, token]
    assert tokens(events) == text
    assert events[-1].score == pytest.approx(best, abs=1e-4)


@every_family
def test_texts_are_scored_by_their_base(family: str) -> None:
    """What an engine reports of a base alone is what rescoring finds, beyond the context too."""
    model = make(family)
    if has_capability(model, Infills):
        sampling = Sampling(max_tokens=20, min_tokens=0, seed=5, unmask_order="left")
    else:
        sampling = Sampling(max_tokens=20, seed=5)
    request = Request([] if family == "grammar" else [3, 4], sampling)
    [events] = write(model, request)
    found = text_log_probs(model, request, tokens(events))
    assert found == pytest.approx([event.logprob for event in events], abs=1e-4)


def test_masked_models_fill_together() -> None:
    pair = CombinedModel(make("masked"), [Member(make("masked", 1), 0.5)])
    assert has_capability(pair, Infills)
    assert not has_capability(combined("masked", "ngram"), Infills)
    ids, hidden = some_ids(2, 6), torch.zeros(2, 6, dtype=torch.bool)
    hidden[:, 2:4] = True
    with torch.no_grad():
        own = [require.fill(ids, hidden, hidden) for require in (make("masked"), make("masked", 1))]
        found = pair.fill(ids, hidden, hidden)
    wanted = own[0].log_softmax(-1) + 0.5 * own[1].log_softmax(-1)
    torch.testing.assert_close(found.log_softmax(-1), wanted.log_softmax(-1))


@torch.no_grad()
def test_the_same_tokens_in_another_order() -> None:
    model, order = make("ngram", 1), torch.randperm(VOCAB - 1) + 1
    own_ids = torch.cat([torch.zeros(1, dtype=torch.long), order])
    moved, ids = Reindexed(model, own_ids), some_ids(2, 5)
    wanted = model(own_ids[ids])[0]
    found = moved(ids)[0]
    for id_ in range(VOCAB):
        torch.testing.assert_close(found[..., id_], wanted[..., own_ids[id_]])


# -- guidance ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["ngram", "lstm", "gpt"])
@pytest.mark.parametrize("negative", [[0], [0, 7, 2]])
def test_guidance_reads_two_prompts(family: str, negative: list[int]) -> None:
    """log p⁻ + γ (log p − log p⁻) at every step, alone and in a batch."""
    base, scale = make(family), 1.7
    guide = AfterOtherPrompt(base, negative)
    model = CombinedModel(base, [Member(guide, 1 - scale)], base_weight=scale)
    prompts = [[3, 4, 5], [6], [2, 2, 8], []]
    settings = Sampling(method="greedy", max_tokens=4)
    texts = write(model, *(Request(prompt, settings) for prompt in prompts))
    for prompt, events in zip(prompts, texts, strict=True):
        written: list[int] = []
        for event in events:
            with_prompt = alone(base, torch.tensor([[0, *prompt, *written]]))[0, -1]
            without = alone(base, torch.tensor([[*negative, *written]]))[0, -1]
            logp = (without + scale * (with_prompt - without)).log_softmax(-1)
            assert event.token == int(logp.argmax())
            assert event.logprob == pytest.approx(float(logp[event.token]), abs=1e-4)
            written.append(event.token)


def test_a_negative_prompt_stays_in_view_when_the_context_is_full() -> None:
    base = make("gpt")
    guide = AfterOtherPrompt(base, [0, 7, 2])
    model = CombinedModel(base, [Member(guide, -0.5)], base_weight=1.5)
    assert model.context == 9  # of 12
    requests = [Request([3, 4], Sampling(seed=s, max_tokens=30, min_tokens=30)) for s in range(3)]
    together = write(model, *requests)
    assert [len(events) for events in together] == [30] * 3
    assert tokens(write(model, requests[1])[0]) == tokens(together[1])


def test_a_negative_prompt_must_leave_room() -> None:
    with pytest.raises(WenmoError, match=r"^negative_prompt: has 11 tokens, .* reads 12: shorten"):
        AfterOtherPrompt(make("gpt"), [1] * 11)


# -- classes -------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_probability_of_a_class_by_bayes_rule() -> None:
    """Krause et al. (2021), equations 3 to 5, for every next token from whole texts."""
    good, bad, ids = make("ngram", 1), make("lstm", 2), some_ids(2, 5)
    ids[:, 0] = 0
    model = ClassPosterior([good, bad], [2.0, -1.0])
    first, state = model(ids[:, :2])
    found = torch.cat([first, model(ids[:, 2:], state)[0]], 1)
    logp = [alone(each, ids) for each in (good, bad)]
    for row in range(2):
        for time in range(5):
            for token in range(VOCAB):
                text = [*ids[row, 1 : time + 1].tolist(), token]
                sums = [sum(float(own[row, n, id_]) for n, id_ in enumerate(text)) for own in logp]
                likely = [
                    math.exp(alpha * total / len(text))
                    for alpha, total in zip((2.0, 1.0), sums, strict=True)
                ]
                wanted = likely[0] / sum(likely)
                assert math.exp(found[row, time, token]) == pytest.approx(wanted, abs=1e-5)


# -- classifiers of beginnings -------------------------------------------------------------------


@torch.no_grad()
def test_a_classifier_scores_every_next_token() -> None:
    """What it says of x v is what it says of the text that is x v, read in slices or at once."""
    model, ids = PrefixClassifier(VOCAB, buckets=512), some_ids(2, 6)
    model.weights.normal_(generator=torch.Generator().manual_seed(0))
    model.bias.fill_(0.3)
    begun = torch.cat([torch.zeros(2, 1, dtype=torch.long), ids], 1)
    first, state = model(begun[:, :3])
    found = torch.cat([first, model(begun[:, 3:], state)[0]], 1)
    for time in range(7):
        for token in range(1, VOCAB):
            text = torch.cat([begun[:, 1 : time + 1], torch.full((2, 1), token)], 1)
            wanted = torch.nn.functional.logsigmoid(model.prefix_scores(text)[:, -1])
            torch.testing.assert_close(found[:, time, token], wanted, rtol=1e-4, atol=1e-5)
    ended = torch.nn.functional.logsigmoid(model.prefix_scores(ids)[:, -1])
    torch.testing.assert_close(found[:, -1, 0], ended, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_fudge_weighs_the_candidates_of_the_base() -> None:
    """Yang & Klein (2021), section 3: log p(v | x) + λ log P(class | x v) on the top k tokens."""
    base, classifier, ids = make("lstm"), PrefixClassifier(VOCAB, buckets=512), some_ids(3, 5)
    classifier.weights.normal_(generator=torch.Generator().manual_seed(0))
    model = CombinedModel(base, [Member(classifier, 2.0, is_distribution=False)], top_k=4)
    found, logp = alone(model, ids), alone(base, ids)
    wanted = logp + 2 * classifier(ids)[0]
    kept = logp >= logp.topk(4).values[..., -1:]
    wanted = wanted.masked_fill(~kept, -math.inf).log_softmax(-1)
    torch.testing.assert_close(found[kept], wanted[kept], rtol=1e-4, atol=1e-4)
    assert found[~kept].max() < -900


def test_a_constraint_may_allow_none_of_the_candidates() -> None:
    """Then the likeliest allowed token of the base follows; never one that the base rules out."""
    base = torch.tensor([[2.0, 1.0, 0.0, -1.0, -math.inf]])
    among = torch.tensor([[True, True, False, False, False]])
    found = prefer(torch.tensor([[-math.inf, 500.0, 7.0, 9.0, -math.inf]]), among, base)[0]
    assert found[1] == 500
    assert found[1] - found[2] > 900
    assert found[2] - found[3] == pytest.approx(1)
    assert found[0] == found[4] == -math.inf


def test_a_classifier_learns_which_tokens_tell_the_classes_apart(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    texts = [drawn.integers(1, 9, 12).tolist() for _ in range(80)]
    toward, away = [[*t[:3], 9, *t[3:]] for t in texts], [[*t[:3], 10, *t[3:]] for t in texts]
    model, result = fit_classifier(VOCAB, toward, away)
    assert result.accuracy == 1
    assert 0.7 < result.prefix_accuracy <= 1  # the first three tokens tell nothing
    table = [b"", *(bytes([id_]) for id_ in range(1, VOCAB))]
    path = tmp_path / "classifier.safetensors"
    save_classifier(path, model, table, result)
    ids = torch.tensor([[0, 3, 4]])
    torch.testing.assert_close(load_classifier(path, table)(ids)[0], model(ids)[0])
    with pytest.raises(WenmoError, match="a classifier over another vocabulary"):
        load_classifier(path, [*table[:-1], b"x"])
    path.write_bytes(b"\x08" + bytes(7) + b"nonsense")
    with pytest.raises(WenmoError, match="not a classifier"):
        load_classifier(path, table)
