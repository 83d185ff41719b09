"""The masked model's bound, against every order of its tokens counted out."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import Tensor

from wenmo.config import override
from wenmo.models.transformer.config import MaskedConfig
from wenmo.models.transformer.masked import Masked
from wenmo.types import END, IGNORE, Batch

VOCAB = 6


def make(*settings: str) -> Masked:
    torch.manual_seed(0)
    small = [
        "hidden_size=16",
        "layers=2",
        "heads=2",
        "context_length=12",
        "zero_init_residual=false",
        *settings,
    ]
    model = override(MaskedConfig(), small).build(VOCAB)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return model.eval()


@torch.no_grad()
def mean_over_orders(model: Masked, text: Tensor, places: list[int]) -> float:
    """What the text costs, token by token, averaged over all orders of these places."""
    costs = []
    for order in permutations(places):
        hidden = torch.zeros(1, len(text), dtype=torch.bool)
        hidden[0, places] = True
        nats = 0.0
        for place in order:
            nats -= float(fill(model, text[None], hidden)[0, place].log_softmax(0)[text[place]])
            hidden[0, place] = False
        costs.append(nats)
    return sum(costs) / len(costs)


def fill(model: Masked, tokens: Tensor, hidden: Tensor) -> Tensor:
    """The logits of all places, (rows, time, vocabulary)."""
    return model.fill(tokens, hidden, torch.ones_like(hidden)).view(*tokens.shape, -1)


TEXT = torch.tensor([END, 3, 1, 4, 1, 5])


@pytest.mark.parametrize("asked", [[1, 2, 3, 4, 5], [2, 3, 5]])
def test_the_bound_is_the_mean_over_all_orders(asked: list[int]) -> None:
    """What is not asked for is in view, as the text before a gap and behind it is."""
    model = make()
    exact = mean_over_orders(model, TEXT, asked)
    targets = torch.full((1, 5), IGNORE)
    targets[0, [place - 1 for place in asked]] = TEXT[asked]
    many = Batch(TEXT[None, :-1].repeat(4000, 1), targets.repeat(4000, 1))
    with torch.no_grad():
        score = model.score(many)
        loss = model.loss(many).metrics["nats"] * len(asked)
    assert score.bound
    assert score.tokens.tolist() == [len(asked)] * 4000
    spread = float(score.nats.std()) / 4000**0.5
    assert float(score.nats.mean()) == pytest.approx(exact, abs=3 * spread)
    assert float(loss) == pytest.approx(exact, abs=3 * spread)


def test_it_bounds_what_the_text_costs() -> None:
    """The mean over orders of −log p is at least −log of the mean of p (Jensen)."""
    model, asked = make(), [1, 2, 3, 4, 5]
    costs = []
    for order in permutations(asked):
        hidden, nats = torch.zeros(1, 6, dtype=torch.bool), 0.0
        hidden[0, asked] = True
        for place in order:
            with torch.no_grad():
                logits = fill(model, TEXT[None], hidden)[0, place]
            nats -= float(logits.log_softmax(0)[TEXT[place]])
            hidden[0, place] = False
        costs.append(nats)
    exact = -float(torch.tensor(costs, dtype=torch.float64).neg().exp().mean().log())
    [nats] = model.score(Batch(TEXT[None, :-1], TEXT[None, 1:])).nats.tolist()
    assert exact < sum(costs) / len(costs)
    assert exact < nats


def test_a_figure_can_be_had_again() -> None:
    model, batch = make(), Batch(TEXT[None, :-1], TEXT[None, 1:])
    once = model.score(batch).nats
    torch.rand(3)
    assert torch.equal(model.score(batch).nats, once)


def test_hidden_tokens_are_not_seen_and_others_are() -> None:
    model, hidden = make(), torch.tensor([[False, True, False, True, False, False]])
    with torch.no_grad():
        logits = fill(model, TEXT[None], hidden)
        other, seen = TEXT[None].clone(), TEXT[None].clone()
        other[0, 3] = 2
        seen[0, 5] = 2
        torch.testing.assert_close(fill(model, other, hidden), logits)
        assert not torch.allclose(fill(model, seen, hidden)[0, 1], logits[0, 1])


@pytest.mark.parametrize("positions", ["rotary", "learned", "sinusoidal", "relative"])
def test_what_comes_next_is_seen_with_all_that_follows_hidden(positions: str) -> None:
    model = make(f"positions={positions}")
    with torch.no_grad():
        logits, _ = model(TEXT[None])
        for length in range(1, 7):
            canvas = torch.zeros(1, 12, dtype=torch.long)
            canvas[0, :length] = TEXT[:length]
            hidden = torch.arange(12)[None] >= length
            expected = fill(model, canvas, hidden)[:, length]
            torch.testing.assert_close(logits[:, length - 1], expected)


def test_gradients_are_those_of_finite_differences() -> None:
    model = make(
        "lm_head_transform=true", "activation=gelu-exact", "bias=true", "lm_head_bias=true"
    )
    model.double()
    batch = Batch(TEXT[None, :-1].repeat(3, 1), TEXT[None, 1:].repeat(3, 1))

    def loss() -> Tensor:
        torch.manual_seed(1)  # the same places are hidden
        return model.loss(batch, label_smoothing=0.1).total

    loss().backward()
    for weight in (model.embedding.weight, model.output.layer.weight, model.bias):
        gradient, flat = weight.grad.view(-1), weight.data.view(-1)
        at, step = int(gradient.abs().argmax()), 1e-3  # the logits are made in float32
        with torch.no_grad():
            flat[at] += step
            above = float(loss())
            flat[at] -= 2 * step
            below = float(loss())
        assert (above - below) / (2 * step) == pytest.approx(float(gradient[at]), rel=1e-2)


def test_settings_that_do_not_go_together_are_refused() -> None:
    for wrong, message in (
        ("encoder_layers=1", "one stack"),
        ("sliding_window=4", "both sides"),
        ("lm_head_transform=true", "without a gate"),
    ):
        with pytest.raises(Exception, match=message):
            make(wrong)
