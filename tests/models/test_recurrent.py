"""Recurrent models against their equations, the framework's own layers, and finite differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.models import find
from wenmo.models.capabilities import parameter_count
from wenmo.models.recurrent import CARRIED, Layer, Recurrent
from wenmo.models.recurrent_config import GATES, Cell, RecurrentConfig
from wenmo.models.state import detach
from wenmo.types import Batch, State

VOCAB, WIDTH = 11, 6
NEAR = {"rtol": 1e-6, "atol": 1e-6}

every_cell = pytest.mark.parametrize("cell", GATES)


def randomised(model: nn.Module, seed: int = 0) -> None:
    """Every weight and bias random, so that none can be left out unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.4)


def make(cell: Cell, **settings: object) -> Recurrent:
    plain = {
        "embedding_size": WIDTH,
        "hidden_size": WIDTH,
        "layers": 2,
        "tie_embeddings": True,
        "dropout": 0.0,
    }
    model = RecurrentConfig(cell, **{**plain, **settings}).build(VOCAB)  # type: ignore[arg-type]
    randomised(model)
    return model.eval()


def some_ids(rows: int, time: int) -> Tensor:
    return torch.randint(VOCAB, (rows, time), generator=torch.Generator().manual_seed(1))


# -- the equations -------------------------------------------------------------------------------


def elman(gate_x: list[Tensor], gate_h: list[Tensor], h: Tensor) -> tuple[Tensor, ...]:
    """Elman (1990): h' = tanh(W x + b + U h + c)."""
    return (torch.tanh(gate_x[0] + gate_h[0]),)


def lstm(gate_x: list[Tensor], gate_h: list[Tensor], h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    """Gates i, f, g, o: c' = f c + i g and h' = o tanh(c')."""
    i, f, g, o = (x + h for x, h in zip(gate_x, gate_h, strict=True))
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru(gate_x: list[Tensor], gate_h: list[Tensor], h: Tensor) -> tuple[Tensor, ...]:
    """Gates r, z, n, the reset applied after the product with U: h' = (1 - z) n + z h."""
    r = torch.sigmoid(gate_x[0] + gate_h[0])
    z = torch.sigmoid(gate_x[1] + gate_h[1])
    n = torch.tanh(gate_x[2] + r * gate_h[2])
    return ((1 - z) * n + z * h,)


EQUATIONS: dict[Cell, Callable[..., tuple[Tensor, ...]]] = {"rnn": elman, "lstm": lstm, "gru": gru}


@every_cell
@pytest.mark.parametrize("time", [1, 7])
@pytest.mark.parametrize("training", [False, True])
def test_a_layer_computes_its_equations(cell: Cell, time: int, training: bool) -> None:
    layer = Layer(cell, 5, WIDTH).train(training)  # in training, one token takes the long path too
    randomised(layer)
    torch.manual_seed(2)
    x = torch.randn(3, time, 5)
    carried = [torch.randn(3, WIDTH) for _ in CARRIED[cell]]
    expected, after = [], tuple(carried)
    for step in range(time):
        gate_x = F.linear(x[:, step], layer.input_weight, layer.input_bias).split(WIDTH, 1)
        gate_h = F.linear(after[0], layer.hidden_weight, layer.hidden_bias).split(WIDTH, 1)
        after = EQUATIONS[cell](list(gate_x), list(gate_h), *after)
        expected.append(after[0])
    with torch.no_grad():
        out, last = layer(x, carried, 0.0)
    torch.testing.assert_close(out, torch.stack(expected, 1), **NEAR)
    for ours, theirs in zip(last, after, strict=True):
        torch.testing.assert_close(ours, theirs, **NEAR)


@every_cell
@pytest.mark.parametrize("by_step", [False, True])
def test_the_stack_equals_the_frameworks(cell: Cell, by_step: bool) -> None:
    model, ids = make(cell, layers=3), some_ids(4, 9)
    reference = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell](
        WIDTH, WIDTH, num_layers=3, batch_first=True
    )
    with torch.no_grad():
        for depth, layer in enumerate(model.layers):
            for kind in ("weight", "bias"):
                getattr(reference, f"{kind}_ih_l{depth}").copy_(getattr(layer, f"input_{kind}"))
                getattr(reference, f"{kind}_hh_l{depth}").copy_(getattr(layer, f"hidden_{kind}"))
        out, last = reference(model.embedding(ids))
        expected = out @ model.embedding.weight.T + model.bias
        state: State = model.initial_state(4)
        parts = []
        for piece in ids.split(1 if by_step else 9, dim=1):
            logits, state = model(piece, state)
            parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), expected, **NEAR)
    last = last if isinstance(last, tuple) else (last,)
    for name, tensor in zip(CARRIED[cell], last, strict=True):
        for depth in range(3):
            torch.testing.assert_close(state[f"{name}.{depth}"], tensor[depth], **NEAR)


@every_cell
@pytest.mark.parametrize("tied", [False, True])
def test_gradients_equal_finite_differences(
    cell: Cell, tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)  # float64 to the very end
    model = make(cell, embedding_size=2, hidden_size=3, tie_embeddings=tied).double().train()
    names, weights = zip(*model.named_parameters(), strict=True)
    batch, state = Batch(some_ids(2, 4), some_ids(2, 4).flip(1)), model.initial_state(2)
    carried = [torch.randn_like(tensor).requires_grad_() for tensor in state.values()]

    def loss(*inputs: Tensor) -> Tensor:
        parameters = dict(zip(names, inputs, strict=False))
        before = dict(zip(state, inputs[len(names) :], strict=True))
        logits, after = torch.func.functional_call(model, parameters, (batch.tokens, before))
        nats = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
        return nats + sum(tensor.square().sum() for tensor in after.values())

    assert torch.autograd.gradcheck(loss, (*weights, *carried))


# -- regularisation ------------------------------------------------------------------------------


@every_cell
def test_no_dropout_outside_training(cell: Cell) -> None:
    every = {"dropout": 0.5, "embedding_dropout": 0.5, "recurrent_dropout": 0.5}
    ids = some_ids(2, 8)
    with torch.no_grad():
        expected, _ = make(cell)(ids)
        for variational in (False, True):
            model = make(cell, variational=variational, **every)
            torch.testing.assert_close(model(ids)[0], expected, rtol=0, atol=0)
            assert not torch.allclose(model.train()(ids)[0], expected)


def test_dropout_is_on_what_enters_each_layer_and_leaves_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, widths = make("gru", embedding_size=4, hidden_size=9, layers=3), []

    def drop_everything(x: Tensor) -> Tensor:
        widths.append(x.shape[2])
        return x * 0

    monkeypatch.setattr(model, "_drop", drop_everything)
    logits, _ = model(some_ids(2, 3))
    assert widths == [4, 9, 9, 4]
    torch.testing.assert_close(logits, model.bias.expand_as(logits))


def test_variational_dropout_is_constant_over_time() -> None:
    x = torch.ones(3, 20, 50)
    constant = make("lstm", dropout=0.4, variational=True).train()._drop(x)
    varying = make("lstm", dropout=0.4).train()._drop(x)
    assert torch.equal(constant, constant[:, :1].expand_as(x))
    assert not torch.equal(varying, varying[:, :1].expand_as(x))
    assert not torch.equal(constant[0], constant[1])  # each row has its own
    for dropped in (constant, varying):
        assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.6])


def test_embedding_dropout_drops_whole_types() -> None:
    model = make("lstm", embedding_dropout=0.5).train()
    ids = torch.arange(VOCAB).repeat(3, 2)
    torch.manual_seed(3)
    drawn = [model._embed(ids) for _ in range(20)]
    for embedded in drawn:
        kept = embedded.abs().sum(-1) > 0
        assert (kept == kept[0, :VOCAB].repeat(3, 2)).all()  # a type is there everywhere or nowhere
        torch.testing.assert_close(embedded[kept], 2 * model.embedding(ids)[kept], **NEAR)
    share = torch.stack(drawn).ne(0).float().mean()
    assert 0.35 < share < 0.65


def test_recurrent_dropout_drops_weights_and_keeps_their_mean() -> None:
    """With the input's weights at zero, a simple RNN's first step shows U h alone."""
    layer = Layer("rnn", 1, 1000).train()
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            weight.fill_(0.01 if name == "hidden_weight" else 0.0)
    torch.manual_seed(4)
    hidden = torch.full((2, 1000), 0.01)
    with torch.no_grad():
        out, _ = layer(torch.zeros(2, 2, 1), [hidden], 0.5)
    assert torch.equal(out[0], out[1])  # weights are dropped, once for all rows
    reached = out[0, 0].atanh()
    # Every unit sums 1000 terms of 0 or 2 × 0.01 × 0.01, with equal chances.
    assert float(reached.mean()) == pytest.approx(1000 * 1e-4, rel=0.01)
    assert float(reached.std()) == pytest.approx(1000**0.5 * 1e-4, rel=0.2)


# -- weights and states --------------------------------------------------------------------------


def test_tied_weights_are_one() -> None:
    tied, untied = make("gru"), make("gru", tie_embeddings=False)
    assert tied.head is None
    assert parameter_count(untied) - parameter_count(tied) == VOCAB * WIDTH
    tied.loss(Batch(torch.tensor([[1]]), torch.tensor([[2]]))).total.backward()
    gradient = tied.embedding.weight.grad
    assert gradient is not None
    assert gradient[7].any()  # neither read nor asked for, yet pushed down by the softmax


@every_cell
def test_the_last_layer_is_as_wide_as_the_embedding_where_they_are_tied(cell: Cell) -> None:
    model = make(cell, embedding_size=4, hidden_size=9, layers=3)
    assert [layer.width for layer in model._stack()] == [9, 9, 4]
    logits, state = model(some_ids(2, 3))
    assert logits.shape == (2, 3, VOCAB)
    assert state["hidden.2"].shape == (2, 4)


@every_cell
def test_a_carried_state_makes_two_batches_one(cell: Cell) -> None:
    model, ids = make(cell).train(), some_ids(3, 11)
    whole = Batch(ids[:, :-1], ids[:, 1:])
    halves = [Batch(whole.tokens[:, a:b], whole.targets[:, a:b]) for a, b in ((0, 5), (5, 10))]
    first = model.loss(halves[0])
    second = model.loss(halves[1], detach(first.state))
    expected = model.loss(whole)
    torch.testing.assert_close((first.total + second.total) / 2, expected.total, **NEAR)
    for name, tensor in expected.state.items():
        torch.testing.assert_close(second.state[name], tensor, **NEAR)
    assert not any(tensor.requires_grad for tensor in detach(first.state).values())


def test_sizes_by_hand() -> None:
    # Zaremba's small LSTM over Penn Treebank's 10,000 words: one embedding, tied; two layers of
    # four gates, each with 200 × 200 input and hidden weights and two biases; a bias for each word.
    small = 10_000 * 200 + 2 * 4 * (200 * 200 + 200 * 200 + 2 * 200) + 10_000
    assert small == 2_653_200
    assert parameter_count(find("lstm:small")[1].build(10_000)) == small
    # AWD, 400 -> 1150 -> 1150 -> 400: Merity et al. (2018) give 24 million for Penn Treebank.
    gates = sum(4 * (w * i + w * w + 2 * w) for i, w in ((400, 1150), (1150, 1150), (1150, 400)))
    with torch.device("meta"):
        awd = find("lstm:awd")[1].build(10_000)
    assert parameter_count(awd) == 10_000 * 400 + gates + 10_000 == 24_221_600


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"hidden_size": 0}, "hidden"),
        ({"dropout": 1.0}, "dropout"),
        ({"recurrent_dropout": -0.1}, "rec"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        RecurrentConfig(**settings)  # type: ignore[arg-type]
