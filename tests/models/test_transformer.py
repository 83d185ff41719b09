"""The Transformer against its equations, worked angles, published sizes, and finite differences."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.models import find
from wenmo.models.capabilities import parameter_count
from wenmo.models.state import join
from wenmo.models.transformer.attention import SelfAttention
from wenmo.models.transformer.cache import CACHE_GROWTH
from wenmo.models.transformer.config import TransformerConfig
from wenmo.models.transformer.layers import make_norm
from wenmo.models.transformer.model import Transformer
from wenmo.models.transformer.positions import Rotation
from wenmo.models.transformer.presets import GPT2
from wenmo.types import State

VOCAB = 11
NEAR = {"rtol": 1e-5, "atol": 1e-6}
MODERN = TransformerConfig(
    hidden_size=16, layers=2, heads=4, kv_heads=2, head_dim=6, context_length=400
)
CLASSIC = replace(GPT2, hidden_size=16, layers=2, heads=4, context_length=400, dropout=0.0)

every_arrangement = pytest.mark.parametrize("config", [MODERN, CLASSIC], ids=["modern", "classic"])


def randomised(module: nn.Module) -> None:
    """Every weight, gain and bias random, so that none can be left out unnoticed."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.4)


def make(config: TransformerConfig) -> Transformer:
    model = config.build(VOCAB)
    randomised(model)
    return model.eval()


def some_ids(rows: int, time: int) -> Tensor:
    return torch.randint(VOCAB, (rows, time), generator=torch.Generator().manual_seed(1))


# -- the equations -------------------------------------------------------------------------------


def rms(x: Tensor, gain: Tensor, epsilon: float) -> Tensor:
    """Zhang & Sennrich (2019), equation 4."""
    return x / (x.square().mean(-1, keepdim=True) + epsilon).sqrt() * gain


def turned(x: Tensor, place: int, base: float) -> Tensor:
    """Su et al. (2021), section 3.2: the pairs (x_i, x_{i+d/2}) as complex numbers, turned."""
    half = len(x) // 2
    angles = torch.tensor([place * base ** (-2 * i / len(x)) for i in range(half)])
    pairs = torch.complex(x[:half], x[half:]) * torch.polar(torch.ones(half), angles)
    return torch.cat([pairs.real, pairs.imag])


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (4, 1)])
@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize(("base", "scale"), [(None, 1.0), (100.0, 6**-0.5)])
@torch.no_grad()
def test_attention_is_an_explicit_softmax(
    heads: tuple[int, int], qk_norm: bool, base: float | None, scale: float
) -> None:
    """One query at a time over the keys not after it; neighbouring query heads share keys."""
    time, width, d = 5, 10, 6
    config = TransformerConfig(
        hidden_size=width,
        heads=heads[0],
        kv_heads=heads[1],
        head_dim=d,
        bias=True,
        qk_norm=qk_norm,
        norm_eps=1e-3,
        attention_scale=scale,
    )
    attention = SelfAttention(config)
    randomised(attention)
    x = torch.randn(2, time, width, generator=torch.Generator().manual_seed(2))

    def projected(layer: nn.Linear, norm: nn.Module | None, row: int, head: int) -> list[Tensor]:
        vectors = (x[row] @ layer.weight.T + layer.bias)[:, head * d : (head + 1) * d]
        if isinstance(norm, nn.RMSNorm):
            vectors = rms(vectors, norm.weight, 1e-3)
        if norm is None or base is None:
            return list(vectors)
        return [turned(vector, place, base) for place, vector in enumerate(vectors)]

    expected = torch.zeros(2, time, heads[0] * d)
    for row in range(2):
        for head in range(heads[0]):
            shared = head // (heads[0] // heads[1])
            queries = projected(attention.query, attention.query_norm, row, head)
            keys = projected(attention.key, attention.key_norm, row, shared)
            values = projected(attention.value, None, row, shared)
            for now in range(time):
                weights = [math.exp(queries[now] @ keys[t] * scale) for t in range(now + 1)]
                mixed = sum(w * values[t] for t, w in enumerate(weights))
                expected[row, now, head * d : (head + 1) * d] = mixed / sum(weights)
    expected = expected @ attention.output.weight.T + attention.output.bias
    rotation = None if base is None else Rotation.at(torch.arange(time)[None], d, base)
    torch.testing.assert_close(attention(x, rotation, None), expected, **NEAR)


@settings(max_examples=20, deadline=None)
@given(at=st.integers(0, 500), distance=st.integers(0, 500), shift=st.integers(0, 500))
def test_rotary_scores_depend_on_the_distance_alone(at: int, distance: int, shift: int) -> None:
    torch.manual_seed(3)
    query, key = torch.randn(2, 1, 1, 1, 8).double()

    def score(query_place: int, key_place: int) -> float:
        a = Rotation.at(torch.tensor([[query_place]]), 8, 10_000.0).apply(query)
        b = Rotation.at(torch.tensor([[key_place]]), 8, 10_000.0).apply(key)
        return float((a * b).sum())

    far = score(at + distance, at)
    assert score(at + distance + shift, at + shift) == pytest.approx(far, abs=2e-3)
    torch.testing.assert_close(
        Rotation.at(torch.tensor([[at]]), 8, 10_000.0).apply(query).norm(), query.norm()
    )


def test_rotation_by_hand() -> None:
    quarter = torch.full((1, 1, 1, 4), math.pi / 2)
    rotation = Rotation(quarter.cos(), quarter.sin())
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 1, 4)
    torch.testing.assert_close(rotation.apply(x).flatten(), torch.tensor([-3.0, -4.0, 1.0, 2.0]))
    angles = Rotation.at(torch.tensor([[0, 3]]), 4, 100.0)
    expected = torch.tensor([[0, 0, 0, 0], [3, 0.3, 3, 0.3]])
    torch.testing.assert_close(angles.cos[0, :, 0], expected.cos())
    torch.testing.assert_close(angles.sin[0, :, 0], expected.sin())


def test_norms_by_their_equations() -> None:
    x = torch.randn(3, 16, generator=torch.Generator().manual_seed(4))
    root_mean_square, layer = make_norm(MODERN), make_norm(CLASSIC)
    randomised(root_mean_square)
    randomised(layer)
    expected = rms(x, root_mean_square.weight, MODERN.norm_eps)  # type: ignore[arg-type]
    torch.testing.assert_close(root_mean_square(x), expected)
    centred = x - x.mean(-1, keepdim=True)
    expected = rms(centred, layer.weight, CLASSIC.norm_eps) + layer.bias  # type: ignore[arg-type]
    torch.testing.assert_close(layer(x), expected)


@every_arrangement
def test_a_block_adds_two_branches(config: TransformerConfig) -> None:
    """x + attention(norm(x)), then the same with the feed-forward layer written out."""
    block = make(config).blocks[0]
    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(5))
    rotation = None
    if config.positions == "rotary":
        rotation = Rotation.at(torch.arange(5)[None], config.resolved_head_dim, config.rope_theta)
    with torch.no_grad():
        middle = x + block.attention(block.attention_norm(x), rotation, None)
        h, inner = block.feed_forward_norm(middle), block.feed_forward
        if config.activation == "swiglu":
            gate = h @ inner.gate.weight.T
            changed = (gate * torch.sigmoid(gate) * (h @ inner.up.weight.T)) @ inner.down.weight.T
        else:  # Hendrycks & Gimpel (2016), section 2
            u = inner.up(h)
            cubic = math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)
            changed = inner.down(u * (1 + torch.tanh(cubic)) / 2)
        torch.testing.assert_close(block(x, rotation, None)[0], middle + changed, **NEAR)


@every_arrangement
def test_gradients_equal_finite_differences(
    config: TransformerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)  # float64 to the very end
    small = replace(
        config, hidden_size=4, heads=2, layers=1, head_dim=2, ffn_size=3, context_length=4
    )
    small = replace(small, kv_heads=1, tie_embeddings=False)
    model = make(small).double().train()
    names, weights = zip(*model.named_parameters(), strict=True)
    ids = some_ids(2, 5)

    def loss(*inputs: Tensor) -> Tensor:
        parameters = dict(zip(names, inputs, strict=True))
        logits, _ = torch.func.functional_call(model, parameters, (ids[:, :-1],))
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    assert torch.autograd.gradcheck(loss, weights)


# -- the cache -----------------------------------------------------------------------------------


@every_arrangement
@torch.no_grad()
def test_a_cache_grows_beyond_its_capacity(config: TransformerConfig) -> None:
    model, time = make(config), 2 * CACHE_GROWTH + 10
    ids, state, parts = some_ids(2, time), model.initial_state(2, capacity=3), []
    capacities = []
    for column in ids.split(1, dim=1):
        logits, state = model(column, state)
        parts.append(logits)
        capacities.append(state["keys.0"].shape[1])
    torch.testing.assert_close(torch.cat(parts, 1), model(ids)[0], rtol=1e-4, atol=1e-5)
    # It grows by strides, or by half, not by one at a time.
    assert CACHE_GROWTH == 64
    assert sorted(set(capacities)) == [3, 3 + 64, 3 + 2 * 64, 131 + 131 // 2]


@torch.no_grad()
def test_a_cache_with_room_is_not_copied() -> None:
    model, ids = make(MODERN), some_ids(2, 6)
    before = model.initial_state(2, capacity=10)
    _, after = model(ids, before)
    assert after["keys.0"].data_ptr() == before["keys.0"].data_ptr()
    assert after["length"].tolist() == [6, 6]
    assert before["length"].tolist() == [0, 0]


@every_arrangement
@torch.no_grad()
def test_rows_of_different_lengths_share_a_cache(config: TransformerConfig) -> None:
    """Each row writes at its own place and does not see what is behind it."""
    model, lengths, following = make(config), [1, 7, 3], some_ids(3, 4)
    states: list[State] = []
    for row, length in enumerate(lengths):
        states.append(
            model(some_ids(row + 1, length)[row:], model.initial_state(1, capacity=row))[1]
        )
    state = join(states)
    state = {n: t if n == "length" else spoilt(t, lengths) for n, t in state.items()}
    together, state = model(following, state)
    assert state["length"].tolist() == [5, 11, 7]
    for row, length in enumerate(lengths):
        ids = torch.cat([some_ids(row + 1, length)[row:], following[row : row + 1]], 1)
        alone = model(ids)[0][:, length:]
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-5)


def spoilt(cache: Tensor, lengths: list[int]) -> Tensor:
    """The cache with rubbish behind what each row holds."""
    rubbish = torch.arange(cache.shape[1]) >= torch.tensor(lengths)[:, None]
    return cache.masked_fill(rubbish[:, :, None, None], 1e3)


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_the_engine_keeps_within_the_context(
    positions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(replace(MODERN, context_length=10, positions=positions))  # type: ignore[arg-type]
    held: list[int] = []
    forward = model.forward

    def watched(tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        logits, after = forward(tokens, state)
        held.append(int(after["length"].max()))
        return logits, after

    monkeypatch.setattr(model, "forward", watched)
    engine = AutoregressiveEngine(model)
    for length in (0, 8, 9, 10, 25):
        engine.submit(Request([3] * length, Sampling(max_tokens=30, min_tokens=30)))
    assert len(list(engine.run())) == 5 * 30
    assert max(held) == 10


# -- settings and sizes --------------------------------------------------------------------------


def count(name: str) -> int:
    """The weights of a named size over GPT-2's vocabulary, without making them."""
    with torch.device("meta"):
        return parameter_count(find(name)[1].build(50_257))


@pytest.mark.parametrize(
    ("size", "published"),
    [
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
    ],
)
def test_gpt2s_sizes_are_the_published_ones(size: str, published: int) -> None:
    assert count(f"gpt:{size}") == published


@pytest.mark.parametrize(
    ("size", "published", "ours"),
    [
        ("gpt3-small", 125e6, 125_226_240),
        ("gpt3-medium", 350e6, 355_871_744),
        ("gpt3-large", 760e6, 760_300_032),
        ("gpt3-xl", 1.3e9, 1_315_723_264),
        ("gpt3-2.7b", 2.7e9, 2_651_553_280),
        ("gpt3-6.7b", 6.7e9, 6_658_404_352),
        ("gpt3-13b", 13e9, 12_853_386_240),
        ("gpt3-175b", 175e9, 174_604_259_328),
    ],
)
def test_gpt3s_sizes_are_near_the_published_ones(size: str, published: float, ours: int) -> None:
    """Table 2.1 of Brown et al. (2020) gives two or three digits; all eight come within 2 %."""
    assert count(f"gpt:{size}") == ours
    assert ours == pytest.approx(published, rel=0.02)


def test_gpt2_small_by_hand() -> None:
    block = 12 * 768**2 + 13 * 768  # 4 + 8 matrices; 4 + 5 biases and 2 norms of 2
    assert count("gpt:gpt2") == (50_257 + 1024) * 768 + 12 * block + 2 * 768


def test_inner_widths() -> None:
    config = TransformerConfig
    assert config(hidden_size=384, heads=6).resolved_ffn_size == 1024  # 8/3 × 384
    assert (
        config(hidden_size=256).resolved_ffn_size == 704
    )  # 8/3 × 256 = 682.7, up to a multiple of 32
    assert config(hidden_size=256, activation="gelu").resolved_ffn_size == 1024
    assert config(hidden_size=256, ffn_size=100).resolved_ffn_size == 100


def test_weights_begin_small_and_residual_ones_smaller() -> None:
    torch.manual_seed(6)
    model = replace(CLASSIC, hidden_size=64, layers=8).build(500)
    assert float(model.embedding.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    block = model.blocks[3]
    assert float(block.attention.query.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    for output in block.outputs():
        assert float(output.weight.detach().std()) == pytest.approx(0.02 / 4, rel=0.05)
        assert not output.bias.any()


def test_dropout_only_in_training() -> None:
    model, ids = make(replace(MODERN, dropout=0.3)), some_ids(2, 6)
    with torch.no_grad():
        expected, _ = make(MODERN)(ids)
        torch.testing.assert_close(model(ids)[0], expected, rtol=0, atol=0)
        assert not torch.allclose(model.train()(ids)[0], expected)


def test_dropout_is_on_embeddings_attention_and_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    attend = F.scaled_dot_product_attention

    def dropped(x: Tensor, rate: float, training: bool) -> Tensor:
        rates.append(rate * training)
        return x

    def attended(*tensors: Tensor, dropout_p: float, **options: object) -> Tensor:
        rates.append(dropout_p)
        return attend(*tensors, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(F, "dropout", dropped)
    monkeypatch.setattr(F, "scaled_dot_product_attention", attended)
    make(replace(MODERN, layers=2, dropout=0.3)).train()(some_ids(2, 6))
    assert rates == [0.3] * (1 + 2 * 3)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"hidden_size": 10}, "hidden_size 10 is not a multiple of heads 4"),
        ({"kv_heads": 3}, "heads 4 is not a multiple of kv_heads 3"),
        ({"head_dim": 5}, "even head_dim, not 5"),
        ({"head_dim": 0}, "head_dim"),
        ({"ffn_size": 0}, "ffn_size"),
        ({"kv_heads": 0}, "at least 1"),
        ({"rope_theta": 0.0}, "rope_theta"),
        ({"norm_eps": float("nan")}, "norm_eps"),
        ({"context_length": 1}, "context_length must be at least 2"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TransformerConfig(**settings)  # type: ignore[arg-type]


@torch.inference_mode()
def test_a_decoding_step_compiles_to_one_graph() -> None:
    """No shape depends on how much was read: what is compiled once serves every step."""
    config = TransformerConfig(hidden_size=16, heads=2, layers=2)
    model, ids = config.build(VOCAB).eval(), some_ids(3, 9)
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    compiled = torch.compile(model, backend=backend, fullgraph=True)
    state, plain = (model.initial_state(3, capacity=16) for _ in range(2))
    for step in range(9):
        expected, plain = model(ids[:, step : step + 1], plain)
        logits, state = compiled(ids[:, step : step + 1], state)
        torch.testing.assert_close(logits, expected)
    assert len(graphs) == 1
