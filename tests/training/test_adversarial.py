"""Drawn texts, their worth and the gradients of both methods, beside what is reckoned exactly."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from wenmo.models.critic import ConvolutionalCritic, Critic, RecurrentCritic
from wenmo.models.gan import Gan
from wenmo.models.gan_config import SIZES, GanConfig
from wenmo.text.pairs import Buckets
from wenmo.text.records import Records, ShuffledRecords
from wenmo.training.adversarial import Adversarial, as_batch, baseline
from wenmo.training.optimizers import make_optimizer
from wenmo.training.rollouts import draw, relax, values, write
from wenmo.types import END, IGNORE, SpecialTokens

VOCAB, LONGEST = 4, 3
SMALL = GanConfig(
    embedding_size=6,
    hidden_size=8,
    heads=2,
    context_length=LONGEST,
    dropout=0.0,
    critic_embedding_size=4,
    critic_hidden_size=4,
)
GENERATORS = ["lstm", "gru", "transformer"]
CHANCE = 1e-6  # of an error in the draws; PyTorch's noise differs from processor to processor
RECORDS = Records(np.array([0, 1, 2, 0, 3, 0, 2, 2, 0, 1, 0, 3, 2, 0], np.uint16))


def make(generator: str = "lstm", vocab: int = VOCAB, **changes: object) -> Gan:
    torch.manual_seed(3)
    gan = replace(SMALL, generator=generator, **changes).build(vocab)
    with torch.no_grad():
        for weight in gan.generator.parameters():
            weight.add_(torch.randn_like(weight) * 0.5)
    return gan.eval()


def all_texts() -> Tensor:
    """Every text of at most three tokens, END behind each."""
    rows = {
        tuple(([*row[: row.index(END)]] if END in row else [*row]) + [END] * LONGEST)[:LONGEST]
        for row in product(range(VOCAB), repeat=LONGEST)
    }
    return torch.tensor(sorted(rows))


def likelihoods(gan: Gan, texts: Tensor) -> Tensor:
    batch = as_batch(texts)
    mask = batch.targets != IGNORE
    logp = gan.generator(batch.tokens)[0].log_softmax(-1)
    each = logp.gather(2, batch.targets.clamp_min(0)[..., None])[..., 0]
    return (each * mask).sum(1).exp()


def p_value(counts: Tensor, expected: Tensor) -> float:
    """Of a chi-square test: how often counts differ so much from what is expected by chance."""
    statistic = ((counts - expected).square() / expected).sum()
    half = torch.tensor((len(counts) - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(half, statistic.double() / 2))


def test_tokens_are_drawn_as_likely_as_they_are() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([0.0, 2.0, -1.0, 1.0, -30.0])
    drawn = draw(logits.repeat(50_000, 1), ())
    counts = drawn.bincount(minlength=5)
    assert counts[4] == 0
    shares = logits[:4].double().softmax(0)
    assert p_value(counts[:4], shares * 50_000) > CHANCE
    assert not (draw(logits.repeat(1000, 1), (0, 1)) < 2).any()


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("relaxed", [False, True])
def test_texts_are_drawn_as_likely_as_the_model_has_them(generator: str, relaxed: bool) -> None:
    gan, rows = make(generator), 20_000
    torch.manual_seed(1)
    with torch.no_grad():
        if relaxed:
            written, _ = relax(gan.generator, gan.generator.embedding, rows, LONGEST, 1e4)
        else:
            written = write(gan.generator, rows, LONGEST)
        texts = all_texts()
        expected = likelihoods(gan, texts).double()
    assert float(expected.sum()) == pytest.approx(1, abs=1e-5)
    counts = (written[:, None] == texts[None]).all(2).sum(0)
    assert int(counts.sum()) == rows
    assert p_value(counts, expected * rows) > CHANCE


@pytest.mark.parametrize("generator", GENERATORS)
def test_the_worth_of_a_beginning_is_the_mean_of_what_it_becomes(generator: str) -> None:
    gan, every = make(generator), all_texts()
    weights = torch.tensor([0.3, -0.2, 0.9])

    def judge(texts: Tensor) -> Tensor:
        return (texts * weights).sum(1)

    torch.manual_seed(2)
    found = values(gan.generator, every, 4000, judge)
    with torch.no_grad():
        likely = likelihoods(gan, every)
    for row, text in enumerate(every):
        length = min(LONGEST, int((text != END).sum()) + 1)
        assert float(found[row, length - 1]) == pytest.approx(float(judge(text[None])), abs=1e-6)
        assert not found[row, length:].any()
        for place in range(length - 1):
            like = (every[:, : place + 1] == text[: place + 1]).all(1)
            exact = (likely[like] * judge(every[like])).sum() / likely[like].sum()
            assert float(found[row, place]) == pytest.approx(float(exact), abs=0.06)


def learner(gan: Gan, rows: int = 4, longest: int = LONGEST) -> Adversarial:
    adam = make_optimizer(
        "adam", gan.generator, rate=0.01, weight_decay=0.0, momentum=0.0, betas=(0.9, 0.99)
    )
    return Adversarial(
        gan,
        Buckets(RECORDS, 16),
        ShuffledRecords(RECORDS, rows),
        adam,
        longest=longest,
        max_grad_norm=1.0,
        gradient_accumulation=1,
        precision="float32",
        seed=5,
    )


@pytest.mark.parametrize(
    ("generator", "baseline"), [("lstm", True), ("lstm", False), ("transformer", True)]
)
def test_policy_gradients_point_where_the_expected_reward_rises(
    generator: str, baseline: bool
) -> None:
    gan = make(generator, rollouts=2, critic="recurrent", baseline=baseline)
    with torch.no_grad():
        for weight in gan.critic.parameters():
            weight.add_(torch.randn_like(weight))
    weights = list(gan.generator.parameters())
    every = all_texts()
    expected = (likelihoods(gan, every) * gan.critic(every).detach().sigmoid()).sum()
    exact = torch.autograd.grad(-expected, weights)
    torch.manual_seed(4)
    loss, _ = learner(gan)._policy_loss(30_000)
    found = torch.autograd.grad(loss, weights)
    one, other = (torch.cat([g.flatten() for g in both]) for both in (exact, found))
    assert float(torch.cosine_similarity(one, other, dim=0)) > 0.98


@pytest.mark.parametrize("generator", GENERATORS)
def test_gradients_through_relaxed_tokens_are_those_of_finite_differences(generator: str) -> None:
    gan = make(generator, critic="recurrent")  # without the corners of rectified filters
    gan.special_tokens = SpecialTokens(
        suppressed=(END,)
    )  # where a text ends is no matter of degree

    def verdict() -> Tensor:
        torch.manual_seed(6)
        texts, shares = relax(gan.generator, gan.generator.embedding, 16, LONGEST, 1.5)
        return gan.critic.score_soft_tokens(shares, texts).mean()

    for name, weight in gan.generator.named_parameters():
        [gradient] = torch.autograd.grad(verdict(), weight)
        norm = gradient.norm()
        if float(norm) < 1e-5:
            continue  # the norm before a scaled one, or such
        step = 1e-3 * weight.detach().norm() * gradient / norm
        with torch.no_grad():
            weight.add_(step)
            above = verdict()
            weight.sub_(2 * step)
            below = verdict()
            weight.add_(step)
        measured = float((above - below) / (2 * step.norm()))
        assert measured == pytest.approx(float(norm), rel=0.05), name


STEPS = 12


def run(gan: Gan, cuts: tuple[int, ...] = ()) -> dict[str, Tensor]:
    """All that is learnt in a few steps of each stage, laid down and taken up again at the cuts."""
    current = learner(gan)
    for step in range(STEPS):
        if step in cuts:
            kept = {name: tensor.clone() for name, tensor in current.tensors()}
            current = learner(replace(gan.config).build(VOCAB))
            current.restore(kept)
        current.gan.set_progress(step / STEPS, step)
        current.learn(step, 1.0)
    return dict(current.tensors())


@pytest.mark.parametrize(
    "changes", [{}, {"method": "relaxed", "critic_heads": 2}, {"critic": "recurrent"}]
)
def test_both_players_go_on_exactly_where_they_were(changes: dict[str, object]) -> None:
    settings = {**changes, "mle_ratio": 0.4, "critic_pretrain_ratio": 0.2, "critic_steps": 2}
    whole = run(make(**settings))
    assert {"model.pretrained.bias", "critic_adam.0.0.exp_avg"} <= whole.keys()
    cut = run(make(**settings), cuts=(2, 6, 10))
    assert whole.keys() == cut.keys()
    for name, tensor in whole.items():
        torch.testing.assert_close(cut[name], tensor, rtol=0, atol=0, msg=name)
    changed = (whole["model.generator.bias"] - whole["model.pretrained.bias"]).abs().max()
    assert float(changed) > 0


def test_what_likelihood_left_is_kept_once() -> None:
    gan = make()
    assert not gan.baselines()
    before = gan.generator.bias.detach().clone()
    gan.keep_pretrained()
    with torch.no_grad():
        gan.generator.bias.add_(1)
    gan.keep_pretrained()
    assert torch.equal(gan.baselines()["likelihood alone"].bias, before)


def test_the_schedule_of_rates_begins_anew_with_each_stage() -> None:
    gan = make(mle_ratio=0.5, critic_pretrain_ratio=0.25)
    places = (0.0, 0.25, 0.5, 0.625, 0.75, 0.875, 1.0)
    assert [gan.phase_progress(place) for place in places] == [0, 0.5, 0, 0.5, 0, 0.5, 1]
    assert make(mle_ratio=1.0, critic_pretrain_ratio=0.0).phase_progress(0.75) == 0.75
    assert make(mle_ratio=0.0, critic_pretrain_ratio=0.0).phase_progress(0.75) == 0.75


def test_the_baseline_is_the_mean_of_the_others() -> None:
    worth = torch.tensor([[1.0, 4.0], [2.0, 0.0], [6.0, 2.0]])
    mask = torch.tensor([[True, True], [True, False], [True, True]])
    expected = torch.tensor([[4.0, 2.0], [3.5, 3.0], [1.5, 4.0]])
    torch.testing.assert_close(baseline(worth, mask), expected)


@pytest.fixture(params=["convolutional", "views", "recurrent"])
def critic(request: pytest.FixtureRequest) -> Critic:
    torch.manual_seed(0)
    if request.param == "recurrent":
        return RecurrentCritic(9, embedding_size=8, hidden_size=8, dropout=0.0)
    views = 4 if request.param == "views" else 1
    return ConvolutionalCritic(9, embedding_size=8, hidden_size=8, heads=views, dropout=0.0)


def test_a_critic_sees_a_text_and_nothing_behind_it(critic: Critic) -> None:
    texts = torch.tensor([[3, 1, 4, END, END, END], [5, END, END, END, END, END]])
    said = critic.eval()(texts)
    torch.testing.assert_close(critic(texts[:, :4]), said)
    torch.testing.assert_close(critic(texts[:1]), said[:1])
    shares = torch.nn.functional.one_hot(texts, 9).float()
    torch.testing.assert_close(critic.score_soft_tokens(shares, texts), said)
    changed = texts.clone()
    changed[0, 1] = 2
    assert critic(changed)[0] != said[0]


def test_a_critic_learns_what_follows_what(critic: Critic) -> None:
    """Real texts count up, others count down: single tokens tell nothing."""
    up = torch.stack([torch.arange(n, n + 4) for n in (1, 2, 3, 4)])
    texts, real = torch.cat([up, up.flip(1)]), torch.tensor([1.0] * 4 + [0.0] * 4)
    adam = torch.optim.Adam(critic.train().parameters(), lr=0.02)
    for _ in range(800):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(critic(texts), real)
        adam.zero_grad()
        if loss.item() < 0.1:
            break
        loss.backward()
        adam.step()
    assert loss.item() < 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rollouts": 0}, "rollouts"),
        ({"mle_ratio": 0.8, "critic_pretrain_ratio": 0.3}, "not be above 1 together"),
        ({"critic_heads": 3}, "multiple of critic_heads"),
        ({"critic_heads": 4, "critic": "recurrent"}, "convolutional"),
        ({"inverse_temperature": 0.5}, "inverse_temperature"),
        ({"generator": "transformer", "heads": 3}, "heads"),
        ({"critic_learning_rate": 0}, "above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(GanConfig(), **changes)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_is_built(size: str) -> None:
    gan = SIZES[size].build(50)
    assert gan.parameter_count() == sum(p.numel() for p in gan.generator.parameters())
