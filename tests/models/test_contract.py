"""What every entry of the catalogue promises. A new family is tested by being in ``MODELS``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wenmo.config import override
from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.models import MODELS, network
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import (
    EncodesSource,
    FitsCounts,
    FitsPrior,
    capability,
    has_capability,
    parameter_count,
    require,
)
from wenmo.models.config import ModelConfig
from wenmo.models.hybrid_config import HybridConfig
from wenmo.models.network import Network
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.state import StateField, StateSchema, join, select, truncate
from wenmo.models.state import write as write_rows
from wenmo.models.transformer.stack import blocks_of
from wenmo.runs.config import NgramPriorConfig
from wenmo.runs.recipe import Recipe
from wenmo.runs.store import load_model, save_model
from wenmo.text.batches import pad
from wenmo.types import END, IGNORE, Batch, State

VOCAB, TIME = 13, 12

# What makes a family's default small; a family that is not named here is tested as it is.
RECURRENT = ["embedding_size=16", "hidden_size=24", "dropout=0.2", "embedding_dropout=0.1"]
TINY: dict[str, list[str]] = {
    "grammar": [f"grammar={Path(__file__).parent / 'letters.json'}"],
    "ngram": ["order=4"],
    "rnn": [*RECURRENT, "tie_embeddings=true"],
    "lstm": [*RECURRENT, "tie_embeddings=true", "recurrent_dropout=0.1"],
    "gru": [*RECURRENT, "tie_embeddings=false", "variational=true"],
    "seq2seq": [*RECURRENT[:3], "copy=true"],
    "gpt": [
        "hidden_size=32",
        "layers=2",
        "heads=4",
        "kv_heads=2",
        "context_length=24",
        "dropout=0.1",
    ],
    "masked": ["hidden_size=32", "layers=2", "heads=4", "context_length=32", "dropout=0.1"],
    "transformer": [
        *("hidden_size=32", "layers=2", "encoder_layers=2", "heads=4", "kv_heads=2"),
        *("context_length=24", "dropout=0.1"),
    ],
    "gan": ["embedding_size=16", "hidden_size=24", "context_length=24", "dropout=0.1"],
    "vae": [
        "embedding_size=16",
        "hidden_size=24",
        "latent_size=4",
        "context_length=24",
        "word_dropout=0.1",
    ],
}
RATES = {"masked": 0.002}  # of learning by heart; others learn at 0.03
EXACT = {"rtol": 1e-5, "atol": 1e-5}

# Every network on counts is a family of its own: it is named after the network, with a plus.
COUNTS, BREAKS = NgramConfig(order=4, totals=True), (0, 3)
NETWORKS = [name for name, family in MODELS.items() if issubclass(family.model_class, Network)]
FAMILIES = [*MODELS, *(f"{name}+" for name in NETWORKS)]
every_family = pytest.mark.parametrize("family", FAMILIES)


def tiny(family: str, *more: str) -> ModelConfig:
    name = family.removesuffix("+")
    config = override(MODELS[name].config, [*TINY.get(name, []), *more])
    return config if name == family else HybridConfig(config, COUNTS, breaks=BREAKS)


@cache
def make(family: str) -> LanguageModel:
    """A model to be looked at only: counted on a random text, or with clearly random weights."""
    torch.manual_seed(0)
    model = tiny(family).build(VOCAB)
    drawn = np.random.default_rng(0).integers(0, VOCAB, 400)
    study(model, np.concatenate([[0], drawn, [0]]))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    return model.eval()


def study(model: LanguageModel, ids: np.ndarray) -> None:
    """Let it count the ids, if that is how it learns, or what it stands on."""
    if (counts := capability(model, FitsCounts)) is not None:
        counts.fit(ids)
    elif (prior := capability(model, FitsPrior)) is not None:
        prior.fit_prior(ids)


def some_ids(rows: int, time: int, seed: int = 0) -> Tensor:
    return torch.randint(VOCAB, (rows, time), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def read(model: LanguageModel, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    logits, after = model(ids, model.initial_state(len(ids)) if state is None else state)
    return logits, after


@every_family
def test_logits_are_the_logarithm_of_a_distribution(family: str) -> None:
    logits, _ = read(make(family), some_ids(3, TIME))
    assert logits.dtype == torch.float32
    assert logits.shape == (3, TIME, VOCAB)
    logp = logits.log_softmax(-1)
    assert logp.isfinite().all()
    torch.testing.assert_close(logp.double().exp().sum(-1), torch.ones(3, TIME).double(), **EXACT)


@every_family
def test_text_without_a_state_begins_here(family: str) -> None:
    model, ids = make(family), some_ids(2, TIME)
    with torch.no_grad():
        torch.testing.assert_close(model(ids)[0], read(model, ids)[0], **EXACT)


@every_family
@settings(max_examples=10, deadline=None)
@given(cuts=st.sets(st.integers(1, TIME - 1)), capacity=st.integers(0, TIME + 3))
def test_pieces_of_any_size_are_one_pass(family: str, cuts: set[int], capacity: int) -> None:
    model, ids = make(family), some_ids(3, TIME)
    whole, _ = read(model, ids)
    state, parts = model.initial_state(3, capacity=capacity), []
    for piece in ids.tensor_split(sorted(cuts), dim=1):
        logits, state = read(model, piece, state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole, **EXACT)


@every_family
@settings(max_examples=5, deadline=None)
@given(place=st.integers(1, TIME - 1), shift=st.integers(1, VOCAB - 1))
def test_later_tokens_change_nothing_before_them(family: str, place: int, shift: int) -> None:
    model, ids = make(family), some_ids(2, TIME)
    changed = ids.clone()
    changed[:, place] = (changed[:, place] + shift) % VOCAB
    before, after = read(model, ids)[0], read(model, changed)[0]
    torch.testing.assert_close(after[:, :place], before[:, :place], **EXACT)
    assert not torch.allclose(after[:, place], before[:, place], **EXACT)


@every_family
def test_rows_know_nothing_of_each_other(family: str) -> None:
    model, ids = make(family), some_ids(4, TIME)
    together, _ = read(model, ids)
    for row in range(4):
        alone, _ = read(model, ids[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, **EXACT)


@every_family
@pytest.mark.parametrize("capacity", [0, TIME])
def test_an_older_state_can_be_continued_again(family: str, capacity: int) -> None:
    model = make(family)
    _, old = read(model, some_ids(2, 4), model.initial_state(2, capacity=capacity))
    once, later = read(model, some_ids(2, 5, seed=1), old)
    read(model, some_ids(2, 3, seed=2), later)
    read(model, some_ids(2, 6, seed=3), old)
    again, _ = read(model, some_ids(2, 5, seed=1), old)
    torch.testing.assert_close(again, once, rtol=0, atol=0)


@every_family
@pytest.mark.parametrize("capacity", [0, TIME])
def test_selected_states_go_on_independently(family: str, capacity: int) -> None:
    model, start, ways = make(family), some_ids(3, 5), some_ids(4, 6, seed=1)
    _, state = read(model, start, model.initial_state(3, capacity=capacity))
    rows = [2, 0, 0, 1]
    left, right = select(state, rows), select(state, torch.tensor(rows))
    assert all(tensor.shape[0] == 4 for tensor in left.values())
    results, states = [[], []], [left, right]
    for column in range(6):  # by turns, the right one reading the same rows upside down
        for side, ids in enumerate((ways, ways.flip(0))):
            logits, states[side] = read(model, ids[:, column : column + 1], states[side])
            results[side].append(logits)
    for ids, parts in zip((ways, ways.flip(0)), results, strict=True):
        alone, _ = read(model, torch.cat([start[rows], ids], 1))
        torch.testing.assert_close(torch.cat(parts, 1), alone[:, 5:], **EXACT)


def check_declared(model: LanguageModel, state: State, rows: int) -> None:
    """All that must be in a state is there, and nothing else, with the declared types."""
    declared = model.state_schema.by_tensor
    assert state.keys() <= declared.keys()
    assert all(field.optional for name, field in declared.items() if name not in state)
    weights = next((w.dtype for w in model.parameters()), None)
    for name, tensor in state.items():
        field = declared[name]
        assert tensor.dtype == (field.dtype or weights), name
        assert tensor.dim() == len(field.shape), name
        assert field.shape[0] == "rows", name
        assert tensor.shape[0] == rows, name


# What a family's default settings leave out of a state.
OTHERWISE = {
    "seq2seq": ["cell=lstm", "attention=dot", "copy=false"],
    "vae": ["decoder=transformer"],
    "gan": ["generator=transformer"],
}


@every_family
def test_a_state_holds_what_its_schema_declares(family: str) -> None:
    models = [make(family)]
    if family in OTHERWISE:
        models.append(tiny(family, *OTHERWISE[family]).build(VOCAB).eval())
    for model in models:
        check_declared(model, model.initial_state(3, capacity=4), 3)
        _, after = read(model, some_ids(3, 5))
        check_declared(model, after, 3)
        check_declared(model, select(after, [2, 0]), 2)
        if model.conditioning == "encoder":
            started = initial_state(model, RAGGED)
            assert started.keys() == after.keys()
            check_declared(model, read(model, some_ids(4, 2), started)[1], 4)


CAN_TRUNCATE = {"grammar", "gpt", "gpt+", "masked", "ngram"}


@every_family
@settings(max_examples=8, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 7), min_size=3, max_size=3),
    capacity=st.integers(0, 20),
    steps=st.integers(1, 4),
)
def test_truncated_states_go_on_as_if_no_more_was_read(
    family: str, lengths: list[int], capacity: int, steps: int
) -> None:
    """Each row at its own length; the state before and a copy of the longer one stay valid."""
    model, ids, following = make(family), some_ids(3, 7), some_ids(3, steps, seed=1)
    beginning = model.initial_state(3, capacity=capacity)
    _, more = read(model, ids, beginning)
    copy, kept = select(more, range(3)), torch.tensor(lengths)
    can = model.state_schema.can_truncate(more)
    assert can == (family in CAN_TRUNCATE)
    if not can:
        with pytest.raises(TypeError, match="cannot be truncated"):
            truncate(model, more, kept, ids)
        return
    together, state = read(model, following, truncate(model, more, kept, ids))
    check_declared(model, state, 3)
    for row, length in enumerate(lengths):
        own = torch.cat([ids[[row], :length], following[[row]]], 1)
        alone, _ = read(model, own)
        torch.testing.assert_close(together[[row]], alone[:, length:], **EXACT)
    whole, _ = read(model, torch.cat([ids, following], 1))
    torch.testing.assert_close(read(model, following, copy)[0], whole[:, 7:], **EXACT)
    torch.testing.assert_close(read(model, ids, beginning)[0], whole[:, :7], **EXACT)


def test_a_transformer_with_an_encoder_can_be_truncated_without_coverage() -> None:
    model, ids, following = make("transformer"), some_ids(4, 7), some_ids(4, 3, seed=1)
    state = initial_state(model, RAGGED)
    del state["coverage"]
    lengths = torch.tensor([0, 7, 3, 5])
    _, more = read(model, ids, state)
    together, _ = read(model, following, truncate(model, more, lengths, ids))
    for row, length in enumerate(lengths.tolist()):
        own = torch.cat([ids[[row], :length], following[[row]]], 1)
        alone, _ = read(model, own, initial_state(model, RAGGED[[row]]))
        torch.testing.assert_close(together[[row]], alone[:, length:], **EXACT)


def test_two_parts_cannot_use_one_name() -> None:
    layers = StateSchema((StateField("keys", ("rows", "time"), "of layers", layers=2),))
    other = StateSchema((StateField("keys.1", ("rows",), "of another part"),))
    assert list((layers | StateSchema()).by_tensor) == ["keys.0", "keys.1"]
    with pytest.raises(ValueError, match=r"keys\.1"):
        layers | other


@every_family
@settings(max_examples=8, deadline=None)
@given(
    texts=st.lists(st.tuples(st.integers(1, 8), st.integers(0, 12)), min_size=1, max_size=4),
    steps=st.integers(1, 5),
)
def test_joined_states_go_on_as_if_alone(
    family: str, texts: list[tuple[int, int]], steps: int
) -> None:
    """Texts of different lengths, in states of different capacities, under one another."""
    model, states, alone = make(family), [], []
    following = some_ids(len(texts), steps, seed=9)
    for row, (length, capacity) in enumerate(texts):
        ids = some_ids(1, length, seed=row)
        states.append(read(model, ids, model.initial_state(1, capacity=capacity))[1])
        alone.append(read(model, torch.cat([ids, following[row : row + 1]], 1))[0][:, length:])
    together, _ = read(model, following, join(states))
    torch.testing.assert_close(together, torch.cat(alone), **EXACT)


@every_family
@settings(max_examples=8, deadline=None)
@given(
    lengths=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    capacities=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    slots=st.permutations(range(4)).map(lambda order: order[:2]),
    steps=st.integers(1, 4),
)
def test_rows_are_written_into_slots(
    family: str,
    lengths: tuple[int, int],
    capacities: tuple[int, int],
    slots: list[int],
    steps: int,
) -> None:
    """Two rows take the place of others; all go on as if alone, and the model stays as it was."""
    model = make(family)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    texts = [some_ids(4, lengths[0], seed=1), some_ids(2, lengths[1], seed=2)]
    state, arriving = (
        read(model, ids, model.initial_state(len(ids), capacity=capacity))[1]
        for ids, capacity in zip(texts, capacities, strict=True)
    )
    state = write_rows(state, slots, arriving)
    following = some_ids(4, steps, seed=3)
    together, _ = read(model, following, state)
    for slot in range(4):
        own = texts[1][[slots.index(slot)]] if slot in slots else texts[0][[slot]]
        alone, _ = read(model, torch.cat([own, following[[slot]]], 1))
        torch.testing.assert_close(together[[slot]], alone[:, own.shape[1] :], **EXACT)
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())


EXACT_FAMILIES = [
    name for name in FAMILIES if not make(name).score(Batch(some_ids(1, 2), some_ids(1, 2))).bound
]


@pytest.mark.parametrize("family", EXACT_FAMILIES)
def test_score_is_the_sum_of_log_probabilities(family: str) -> None:
    model, ids = make(family), some_ids(3, TIME + 1)
    targets = ids[:, 1:].clone()
    targets[0, :4] = IGNORE
    targets[2] = IGNORE
    batch = Batch(ids[:, :-1], targets)
    expected, counts = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.long)
    logp = read(model, batch.tokens)[0].double().log_softmax(-1)
    for row in range(3):
        for place in range(TIME):
            if (target := int(targets[row, place])) != IGNORE:
                expected[row] -= logp[row, place, target]
                counts[row] += 1
    with torch.no_grad():
        score, loss = model.score(batch), model.loss(batch)
    assert score.nats.dtype == torch.float64
    assert not score.bound
    assert torch.equal(score.tokens, counts)
    torch.testing.assert_close(score.nats, expected, **EXACT)
    mean = (expected.sum() / counts.sum()).float()
    torch.testing.assert_close(loss.metrics["nats"], mean, **EXACT)
    torch.testing.assert_close(loss.total, mean, **EXACT)


@pytest.mark.parametrize("family", EXACT_FAMILIES)
def test_score_goes_on_from_a_state(family: str) -> None:
    model, ids = make(family), some_ids(2, TIME + 1)
    batch = Batch(ids[:, :-1], ids[:, 1:])
    with torch.no_grad():
        whole = model.score(batch)
        first = model.score(
            Batch(batch.tokens[:, :5], batch.targets[:, :5]), model.initial_state(2)
        )
        last = model.score(Batch(batch.tokens[:, 5:], batch.targets[:, 5:]), first.state)
    torch.testing.assert_close(first.nats + last.nats, whole.nats, **EXACT)


@pytest.mark.parametrize("family", [n for n in FAMILIES if n.removesuffix("+") in NETWORKS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_logits_in_pieces_give_the_same_loss_and_gradients(
    family: str, smoothing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large softmax is made and forgotten in pieces, for the targets that are asked for."""
    model, ids = make(family), some_ids(3, TIME + 1)
    targets = ids[:, 1:].clone()
    targets[1, 4:] = IGNORE
    batch = Batch(ids[:, :-1], targets)
    weights = [weight for weight in model.parameters() if weight.requires_grad]

    def both() -> tuple[Tensor, ...]:
        torch.manual_seed(1)
        total = model.loss(batch, label_smoothing=smoothing).total
        return total, *torch.autograd.grad(total, weights, materialize_grads=True)

    whole = both()
    monkeypatch.setattr(network, "MAX_LOGITS", 7 * VOCAB)
    torch.testing.assert_close(both(), whole, **EXACT)


LEARN_BY_GRADIENT = [name for name in FAMILIES if not has_capability(make(name), FitsCounts)]


@pytest.mark.parametrize("family", LEARN_BY_GRADIENT)
def test_a_step_in_bfloat16_is_close_to_one_in_float32(family: str) -> None:
    """On every processor: oneDNN has no LSTM in bfloat16 where there is no AVX-512."""
    ids = some_ids(3, TIME + 1)
    batch = Batch(ids[:, :-1], ids[:, 1:])
    model = tiny(family, *no_dropout(family)).build(VOCAB)
    study(model, np.arange(400) % VOCAB)
    losses = {}
    for enabled in (False, True):
        torch.manual_seed(0)
        model.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = model.train().loss(batch).total
        loss.backward()
        losses[enabled] = float(loss.detach())
        gradients = [w.grad for w in model.parameters() if w.grad is not None]
        assert gradients
        assert all(gradient.isfinite().all() for gradient in gradients)
    assert losses[True] == pytest.approx(losses[False], rel=0.05)


@every_family
def test_saved_and_loaded_it_is_the_same(family: str, tmp_path: Path) -> None:
    model, ids = make(family), some_ids(2, TIME)
    recipe = Recipe(family, tiny(family), ngram_prior=NgramPriorConfig(enabled=False))
    save_model(tmp_path, recipe, model)
    loaded = load_model(tmp_path, recipe, VOCAB)
    assert not loaded.training
    assert parameter_count(loaded) == parameter_count(model)
    torch.testing.assert_close(read(loaded, ids)[0], read(model, ids)[0], rtol=0, atol=0)


@every_family
def test_learns_a_short_text_by_heart(family: str) -> None:
    """What follows a 3 or a 5 depends on what stood before it."""
    ids = torch.tensor([[0, *[3, 5, 7, 3, 9, 5, 1, 3, 5, 4, 11, 0] * 2]]).repeat(8, 1)
    batch = Batch(ids[:, :-1], ids[:, 1:])
    torch.manual_seed(0)
    model = tiny(family, *no_dropout(family)).build(VOCAB)
    study(model, np.concatenate([[0], *[ids[0, 1:].numpy()] * 100]))
    if not has_capability(model, FitsCounts):
        adam = torch.optim.Adam(model.parameters(), lr=RATES.get(family, 0.03))
        for step in range(1800):
            if step % 60 == 0 and nats(model, batch) < 0.05:
                return
            adam.zero_grad()
            model.train().loss(batch).total.backward()
            adam.step()
    assert nats(model, batch) < 0.1


@torch.no_grad()
def nats(model: LanguageModel, batch: Batch) -> float:
    return float(model.eval().loss(batch).total)


def no_dropout(family: str) -> list[str]:
    """Settings that switch off every dropout which the family has."""
    names = vars(tiny(family.removesuffix("+")))
    return [f"{name}=0" for name in names if name.endswith("dropout")]


@cache
def written_alone(family: str) -> list[list[int]]:
    return [write(family, [request], rows=1)[0] for request in REQUESTS]


def write(family: str, requests: list[Request], rows: int) -> list[list[int]]:
    engine = AutoregressiveEngine(make(family), rows=rows)
    numbers = [engine.submit(request) for request in requests]
    texts: dict[int, list[int]] = {number: [] for number in numbers}
    for event in engine.run():
        texts[event.request].append(event.token)
    return [texts[number] for number in numbers]


# Some outgrow the smallest context; two prompts are alike and two are too long to be read whole.
REQUESTS = [
    Request([], Sampling(max_tokens=6, seed=1)),
    Request([3, 4, 5], Sampling(max_tokens=40, min_tokens=40, seed=2)),
    Request([3, 4, 5], Sampling(max_tokens=8, seed=3, temperature=0.7, top_k=5)),
    Request(list(range(1, 12)), Sampling(max_tokens=5, seed=4, top_p=0.9)),
    Request([1, 2] * 20, Sampling(max_tokens=12, min_tokens=10, seed=5)),
    Request([2, 1] * 15, Sampling(method="greedy", max_tokens=7)),
]


@every_family
@settings(max_examples=6, deadline=None)
@given(order=st.permutations(range(len(REQUESTS))), rows=st.integers(1, len(REQUESTS)))
def test_a_request_gives_the_same_text_in_any_company(
    family: str, order: list[int], rows: int
) -> None:
    alone = written_alone(family)
    together = write(family, [REQUESTS[number] for number in order], rows)
    assert together == [alone[number] for number in order]


# -- with a source -------------------------------------------------------------------------------

WITH_ENCODER = [name for name in FAMILIES if tiny(name).build(VOCAB).conditioning == "encoder"]
every_encoder = pytest.mark.parametrize("family", WITH_ENCODER)

SOURCES = [[3, 4, 5, 6, 7, 4, END], [END], [8, END], [1, 9, 1, 12, END]]
RAGGED = pad(SOURCES, IGNORE)


@torch.no_grad()
def initial_state(model: LanguageModel, source: Tensor, capacity: int = 0) -> State:
    return model.initial_state(len(source), source=source, capacity=capacity)


@every_encoder
@settings(max_examples=10, deadline=None)
@given(cuts=st.sets(st.integers(1, TIME - 1)), capacity=st.integers(0, TIME + 3))
def test_pieces_after_a_source_are_one_pass(family: str, cuts: set[int], capacity: int) -> None:
    model, ids = make(family), some_ids(4, TIME)
    with torch.no_grad():
        whole, _ = model(ids, require(model, EncodesSource).encode(RAGGED))
    state, parts = initial_state(model, RAGGED, capacity), []
    for piece in ids.tensor_split(sorted(cuts), dim=1):
        logits, state = read(model, piece, state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole, **EXACT)


@every_encoder
def test_every_token_of_a_source_counts(family: str) -> None:
    model, ids = make(family), some_ids(1, TIME)
    source = RAGGED[:1]
    before, _ = read(model, ids, initial_state(model, source))
    for place in range(source.shape[1] - 1):
        changed = source.clone()
        changed[0, place] += 1
        assert not torch.allclose(
            read(model, ids, initial_state(model, changed))[0], before, **EXACT
        )


@every_encoder
def test_rows_know_nothing_of_each_others_sources(family: str) -> None:
    model, ids = make(family), some_ids(4, TIME)
    together, after = read(model, ids, initial_state(model, RAGGED))
    for row, source in enumerate(SOURCES):
        alone, last = read(model, ids[row : row + 1], initial_state(model, torch.tensor([source])))
        torch.testing.assert_close(together[row : row + 1], alone, **EXACT)
        if "coverage" in last:
            covered = after["coverage"][row]
            torch.testing.assert_close(covered[: len(source)], last["coverage"][0], **EXACT)
            assert not covered[len(source) :].any()


@every_encoder
def test_without_a_source_it_is_empty(family: str) -> None:
    model, ids = make(family), some_ids(2, TIME)
    empty, _ = read(model, ids, initial_state(model, torch.full((2, 1), END)))
    torch.testing.assert_close(read(model, ids)[0], empty, **EXACT)


@every_encoder
@settings(max_examples=8, deadline=None)
@given(
    texts=st.lists(
        st.tuples(st.sampled_from(SOURCES), st.integers(1, 8), st.integers(0, 12)),
        min_size=1,
        max_size=4,
    ),
    steps=st.integers(1, 5),
)
def test_joined_states_go_on_with_their_own_sources(
    family: str, texts: list[tuple[list[int], int, int]], steps: int
) -> None:
    """One that has been joined is the same as alone after another selection, too."""
    model, states, alone = make(family), [], []
    following = some_ids(len(texts), 2 * steps, seed=9)
    for row, (source, length, capacity) in enumerate(texts):
        ids, ahead = some_ids(1, length, seed=row), torch.tensor([source])
        states.append(read(model, ids, initial_state(model, ahead, capacity))[1])
        whole = torch.cat([ids, following[row : row + 1]], 1)
        alone.append(read(model, whole, initial_state(model, ahead))[0][:, length:])
    expected = torch.cat(alone)
    together, state = read(model, following[:, :steps], join(states))
    torch.testing.assert_close(together, expected[:, :steps], **EXACT)
    rows = list(reversed(range(len(texts))))
    turned, _ = read(model, following[rows, steps:], select(state, rows))
    torch.testing.assert_close(turned, expected[rows, steps:], **EXACT)


@every_encoder
def test_a_batch_with_a_source_is_scored_as_begin_and_forward(family: str) -> None:
    model, ids = make(family), some_ids(4, TIME + 1)
    targets = ids[:, 1:].clone()
    targets[1, 6:] = IGNORE
    targets[3] = IGNORE
    batch = Batch(ids[:, :-1], targets, source=RAGGED)
    logp = read(model, batch.tokens, initial_state(model, RAGGED))[0].double().log_softmax(-1)
    asked = targets != IGNORE
    nats = -logp.gather(2, targets.clamp_min(0)[..., None])[..., 0] * asked
    with torch.no_grad():
        score, loss = model.score(batch), model.loss(batch)
    torch.testing.assert_close(score.nats, nats.sum(1), **EXACT)
    assert torch.equal(score.tokens, asked.sum(1))
    torch.testing.assert_close(loss.metrics["nats"], (nats.sum() / asked.sum()).float(), **EXACT)


WITH_BLOCKS = {
    "gpt": [],
    "gpt+": [],
    "transformer": [],
    "masked": [],
    "vae": ["decoder=transformer", "encoder=transformer"],
    "gan": ["generator=transformer"],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_recomputing_reaches_every_block_and_keeps_the_gradients(family: str) -> None:
    """Less is kept for the backward pass, and the gradients are the same."""
    torch.manual_seed(0)
    model = tiny(family, *WITH_BLOCKS.get(family, [])).build(VOCAB)
    assert bool(blocks_of(model)) == (family in WITH_BLOCKS or family == "transformer+")
    if not blocks_of(model):
        return
    study(model, np.concatenate([[0], some_ids(1, 400)[0].numpy(), [0]]))
    ids = some_ids(3, TIME)
    source = some_ids(3, 5, seed=1) if model.conditioning == "encoder" else None
    batch = Batch(ids[:, :-1], ids[:, 1:], source=source)

    def kept_and_gradients(recompute: bool) -> tuple[int, list[Tensor]]:
        for block in blocks_of(model):
            block.recompute = recompute
        torch.manual_seed(1)
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda kept: sizes.append(kept.numel()) or kept, lambda kept: kept
        ):
            loss = model.train().loss(batch).total
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        found = torch.autograd.grad(loss, weights, allow_unused=True)
        return sum(sizes), [gradient for gradient in found if gradient is not None]

    most, expected = kept_and_gradients(recompute=False)
    least, gradients = kept_and_gradients(recompute=True)
    assert least < most
    for each, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(each, other, **EXACT)
