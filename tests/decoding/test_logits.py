from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.config import from_dict
from wenmo.decoding import logits as processors
from wenmo.decoding import truncation
from wenmo.decoding.history import History
from wenmo.decoding.logits import chain
from wenmo.decoding.params import PROCESSORS, Sampling
from wenmo.types import WenmoError

INF = math.inf
NOTHING = History.of([[]], [0])
few = settings(max_examples=40, deadline=None)


@st.composite
def logits(draw: st.DrawFn, rows: int = 3) -> torch.Tensor:
    """Rows with ties and forbidden tokens, at least one of them possible."""
    size = draw(st.integers(1, 8))
    value = st.one_of(st.integers(-3, 3), st.floats(-50, 50, width=32), st.just(-INF))
    table = [draw(st.lists(value, min_size=size, max_size=size)) for _ in range(rows)]
    for row in table:
        if max(row) == -INF:
            row[draw(st.integers(0, size - 1))] = 0.0
    return torch.tensor(table, dtype=torch.float32)


@st.composite
def cases(draw: st.DrawFn) -> tuple[torch.Tensor, History]:
    """Logits and a history of ids from their vocabulary."""
    x = draw(logits())
    texts = [draw(st.lists(st.integers(0, x.shape[1] - 1), max_size=6)) for _ in x]
    starts = [draw(st.integers(0, len(text))) for text in texts]
    keys = torch.tensor([draw(st.integers(0, 99)) for _ in texts])
    mu = torch.tensor([draw(st.floats(-5, 20, width=32)) for _ in texts])
    return x, History.of(texts, starts, keys=keys, mu=mu)


samplings = st.builds(
    Sampling,
    min_tokens=st.integers(0, 3),
    temperature=st.sampled_from([1e-40, 0.3, 1.0, 2.5]),
    top_k=st.integers(0, 9),
    top_p=st.floats(0.01, 1),
    min_p=st.floats(0, 1),
    typical_p=st.floats(0.01, 1),
    epsilon_cutoff=st.floats(0, 0.99),
    eta_cutoff=st.floats(0, 0.99),
    top_n_sigma=st.floats(0, 4),
    tfs_z=st.floats(0.01, 1),
    dynatemp_range=st.sampled_from([0.0, 0.3, 5.0]),
    xtc_probability=st.sampled_from([0.0, 0.5, 1.0]),
    mirostat=st.sampled_from([0, 1, 2]),
    dry_multiplier=st.sampled_from([0.0, 0.8, 50.0]),
    chain=st.lists(st.sampled_from([*PROCESSORS]), unique=True, max_size=3).map(tuple),
    repetition_penalty=st.floats(0.1, 10),
    presence_penalty=st.floats(-5, 5),
    frequency_penalty=st.floats(-5, 5),
    no_repeat_ngram=st.integers(0, 3),
    logit_bias=st.sampled_from([(), ((0, -INF),), ((0, 2.5),)]),
)


def probabilities(*p: float) -> torch.Tensor:
    return torch.tensor([p]).log()


def kept(x: torch.Tensor) -> list[int]:
    return (x[0] > -INF).nonzero()[:, 0].tolist()


# -- worked by hand ------------------------------------------------------------------------------


def test_top_k_and_ties() -> None:
    x = torch.tensor([[1.0, 3.0, 2.0, 3.0, 2.0]])
    assert kept(truncation.top_k(x, 1)) == [1]
    assert kept(truncation.top_k(x, 3)) == [1, 2, 3]
    assert kept(truncation.top_k(x, 99)) == [0, 1, 2, 3, 4]


def test_top_p_keeps_the_token_that_crosses_p() -> None:
    x = probabilities(0.1, 0.5, 0.15, 0.25)
    assert kept(truncation.top_p(x, 0.45)) == [1]
    assert kept(truncation.top_p(x, 0.6)) == [1, 3]
    assert kept(truncation.top_p(x, 0.8)) == [1, 2, 3]
    assert kept(truncation.top_p(torch.zeros(1, 4), 0.5)) == [0, 1]


def test_min_p_is_a_share_of_the_largest() -> None:
    x = probabilities(0.5, 0.3, 0.15, 0.05)
    assert kept(truncation.min_p(x, 0.25)) == [0, 1, 2]
    assert kept(truncation.min_p(x, 0.5)) == [0, 1]
    assert kept(truncation.min_p(x, 1.0)) == [0]


def test_typical_drops_the_likeliest_where_it_tells_too_little() -> None:
    # The entropy is 1.8 nats; a token of probability 0.1 tells 2.3 of them, one of 0.4 only 0.9.
    x = probabilities(0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)
    assert kept(truncation.typical(x, 0.55)) == [1, 2, 3, 4, 5, 6]
    assert kept(truncation.typical(x, 0.65)) == [0, 1, 2, 3, 4, 5, 6]
    assert kept(truncation.typical(torch.tensor([[-INF, 0.0, -INF]]), 0.9)) == [1]


def test_penalties_read_the_right_part_of_the_history() -> None:
    x = torch.tensor([[2.0, -2.0, 2.0, -2.0, 0.0]])
    history = History.of([[0, 1, 2, 3, 3]], [2])  # 0 and 1 are the prompt
    assert processors.repetition(x, history, 2.0).tolist() == [[1.0, -4.0, 1.0, -4.0, 0.0]]
    assert processors.presence(x, history, 0.5).tolist() == [[2.0, -2.0, 1.5, -2.5, 0.0]]
    assert processors.frequency(x, history, 0.5).tolist() == [[2.0, -2.0, 1.5, -3.0, 0.0]]


@pytest.mark.parametrize(
    ("text", "n", "banned"),
    [
        ([1, 2, 3, 1, 2], 3, [3]),
        ([1, 2, 3, 1, 2], 2, [3]),
        ([1, 2, 1, 3, 1], 2, [2, 3]),
        ([1, 2, 3], 1, [1, 2, 3]),
        ([1, 1], 3, []),  # "1 1 1" would be the first of its kind
        ([1, 1, 1], 3, [1]),
        ([1], 3, []),
        ([], 1, []),
    ],
)
def test_no_repeat(text: list[int], n: int, banned: list[int]) -> None:
    history = History.of([text, [4, 4, 4, 4, 4, 4]], [0, 0])  # the second row pads the first
    out = processors.no_repeat(torch.zeros(2, 5), history, n)
    assert [token for token in range(5) if out[0, token] == -INF] == banned


def test_minimum_length_counts_the_output_alone() -> None:
    history = History.of([[1, 1, 1], [1, 1, 1]], [3, 1])
    assert processors.minimum_length(torch.zeros(2, 2), history, 2)[:, 0].tolist() == [-INF, 0.0]


def test_bias_adds_and_forbids() -> None:
    out = processors.bias(torch.zeros(2, 3), [0, 2], [-INF, 1.5])
    assert out.tolist() == [[-INF, 0.0, 1.5]] * 2


@few
@given(logits())
def test_the_end_stands_for_all_that_end_a_text(x: torch.Tensor) -> None:
    ends = range(1, min(3, x.shape[1]))
    every = x[:, [0, *ends]]
    for likeliest, expected in ((True, every.amax(1)), (False, every.logsumexp(1))):
        gathered = processors.gather_ends(x, list(ends), likeliest=likeliest)
        torch.testing.assert_close(gathered[:, 0], expected)
        assert torch.equal(gathered[:, 3:], x[:, 3:])
        possible = (gathered > -INF).any(1)
        assert torch.equal(possible, (x > -INF).any(1))


def test_what_would_forbid_everything_does_nothing() -> None:
    x = torch.zeros(1, 2)
    assert torch.equal(processors.bias(x, [0, 1], [-INF, -INF]), x)
    assert torch.equal(processors.no_repeat(x, History.of([[0, 1]], [0]), 1), x)
    alone = torch.tensor([[1.0, -INF]])
    assert torch.equal(processors.minimum_length(alone, NOTHING, 5), alone)


# -- properties ----------------------------------------------------------------------------------


@few
@given(cases(), samplings)
def test_every_chain_is_pure_and_leaves_a_choice(
    case: tuple[torch.Tensor, History], sampling: Sampling
) -> None:
    x, history = case
    before = x.clone()
    steps = chain(sampling)
    out = steps(x, history)
    assert torch.equal(x, before)
    assert out.dtype == torch.float32
    assert out.shape == x.shape
    assert not out.isnan().any()
    assert not (out == INF).any()
    assert (out > -INF).any(1).all()
    for row in range(len(x)):
        own = slice(row, row + 1)
        parts = (history.text, history.start, history.keys, history.mu)
        alone = History(*(part[own] for part in parts if part is not None))
        torch.testing.assert_close(steps(x[row : row + 1], alone)[0], out[row])


@few
@given(cases(), samplings)
def test_each_step_of_a_chain_leaves_a_choice(
    case: tuple[torch.Tensor, History], sampling: Sampling
) -> None:
    x, history = case
    for step in chain(sampling).steps:
        assert (step(x, history) > -INF).any(1).all(), str(step)


@few
@given(logits(), st.floats(0.01, 1), st.integers(1, 9))
def test_cutting_keeps_the_likeliest(x: torch.Tensor, p: float, k: int) -> None:
    best = x.argmax(1)
    cuts = (
        truncation.temperature(x, p),
        truncation.top_k(x, k),
        truncation.top_p(x, p),
        truncation.min_p(x, p),
    )
    for cut in cuts:
        assert cut.argmax(1).tolist() == best.tolist()
    # What is kept keeps its logit.
    for cut in (*cuts[1:], truncation.typical(x, p)):
        assert torch.equal(cut[cut > -INF], x[cut > -INF])


@few
@given(logits(), st.floats(0.01, 1), st.integers(1, 9))
def test_top_k_and_min_p_are_idempotent(x: torch.Tensor, p: float, k: int) -> None:
    once = truncation.top_k(x, k)
    assert torch.equal(truncation.top_k(once, k), once)
    assert ((once > -INF).sum(1) == (x > -INF).sum(1).clamp_max(k)).all()
    once = truncation.min_p(x, p)
    assert torch.equal(truncation.min_p(once, p), once)


@few
@given(logits(), st.floats(0.01, 1))
def test_top_p_is_the_smallest_set_with_the_mass(x: torch.Tensor, p: float) -> None:
    keep = truncation.top_p(x, p) > -INF
    mass = x.softmax(1, dtype=torch.float64)
    for row in range(len(x)):
        inside = sorted(mass[row][keep[row]].tolist())
        assert sum(inside) >= p - 1e-9
        assert sum(inside[1:]) < p + 1e-9  # without its least, it would not do
        outside = mass[row][~keep[row]]
        assert outside.numel() == 0 or outside.max() <= inside[0]


@few
@given(cases(), st.integers(1, 3))
def test_no_repeat_agrees_with_a_search(case: tuple[torch.Tensor, History], n: int) -> None:
    x, history = case
    out = processors.no_repeat(torch.zeros_like(x), history, n)
    for row, padded in enumerate(history.text.tolist()):
        text = [token for token in padded if token >= 0]
        grams = {tuple(text[i : i + n]) for i in range(len(text) - n + 1)}
        recent = text[len(text) - n + 1 :] if len(text) >= n - 1 else None
        free = [recent is None or (*recent, token) not in grams for token in range(x.shape[1])]
        expected = [0.0 if ok or not any(free) else -INF for ok in free]
        assert out[row].tolist() == expected


# -- the chain and its settings ------------------------------------------------------------------


def test_a_chain_says_what_it_does() -> None:
    assert str(chain(Sampling())) == "as the model has it"
    sampling = Sampling(top_p=0.9, temperature=0.8, repetition_penalty=1.2)
    assert str(chain(sampling)) == "repetition_penalty=1.2 → temperature=0.8 → top_p=0.9"
    everything = Sampling(**EVERYTHING)
    assert str(chain(everything)) == (
        "logit_bias=[[7,1.0],[8,2.0]] → repetition_penalty=1.1 → presence_penalty=1"
        " → frequency_penalty=1"
        ' → dry_multiplier=0.8 dry_base=1.75 dry_allowed_length=2 dry_sequence_breakers=["。"]'
        " → no_repeat_ngram=3 → min_tokens=1"
        " → temperature=0.5 dynatemp_range=0.2 dynatemp_exponent=1 → top_n_sigma=2 → top_k=2"
        " → tfs_z=0.9 → typical_p=0.8 → top_p=0.9 → min_p=0.1 → epsilon_cutoff=0.01"
        " → eta_cutoff=0.02 → xtc_probability=0.5 xtc_threshold=0.1"
        " → mirostat=2 mirostat_tau=5 mirostat_eta=0.1"
    )
    assert chain(everything).looks_back
    greedy = dataclasses.replace(everything, method="greedy", logit_bias=())
    assert [step.name for step in chain(greedy).steps][-1] == "min_tokens"
    assert not chain(sampling.__class__(top_k=5)).looks_back
    beam = dataclasses.replace(everything, method="beam", temperature=0)
    assert str(chain(beam)).endswith("min_tokens=1")
    assert not beam.greedy


EVERYTHING: dict[str, Any] = {
    "min_tokens": 1,
    "temperature": 0.5,
    "dynatemp_range": 0.2,
    "top_k": 2,
    "top_n_sigma": 2,
    "tfs_z": 0.9,
    "top_p": 0.9,
    "min_p": 0.1,
    "typical_p": 0.8,
    "epsilon_cutoff": 0.01,
    "eta_cutoff": 0.02,
    "xtc_probability": 0.5,
    "mirostat": 2,
    "repetition_penalty": 1.1,
    "presence_penalty": 1,
    "frequency_penalty": 1,
    "dry_multiplier": 0.8,
    "dry_sequence_breakers": ("。",),
    "no_repeat_ngram": 3,
    "logit_bias": ((7, 1.0), (8, 2.0)),
}


def test_the_order_of_a_chain_is_the_users() -> None:
    def order(**settings: Any) -> list[str]:
        return [step.name for step in chain(Sampling(**settings)).steps]

    assert order(top_p=0.9, temperature=2, chain=("top_p", "temperature")) == [
        "top_p",
        "temperature",
    ]
    # What the chain does not name: penalties come before it, cuts behind it.
    assert order(top_p=0.9, min_p=0.1, temperature=2, no_repeat_ngram=2, chain=("top_p",)) == [
        "no_repeat_ngram",
        "top_p",
        "temperature",
        "min_p",
    ]
    assert Sampling(top_p=0.9, chain=("top_k", "top_p")) == Sampling(top_p=0.9)
    assert set(order(**EVERYTHING, chain=tuple(reversed(PROCESSORS)))) == {*PROCESSORS}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("method", "best"),
        ("max_tokens", 0),
        ("min_tokens", 257),
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", INF),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", 1.5),
        ("typical_p", 0.0),
        ("repetition_penalty", 0.0),
        ("presence_penalty", math.nan),
        ("frequency_penalty", INF),
        ("no_repeat_ngram", -2),
        ("epsilon_cutoff", 1.0),
        ("eta_cutoff", -0.1),
        ("top_n_sigma", -1),
        ("tfs_z", 0),
        ("dynatemp_range", INF),
        ("dynatemp_exponent", 0),
        ("xtc_probability", 1.1),
        ("xtc_threshold", math.nan),
        ("mirostat", 3),
        ("mirostat_tau", 0),
        ("mirostat_eta", 0),
        ("dry_multiplier", -1),
        ("dry_base", 0.5),
        ("dry_allowed_length", 0),
        ("dry_sequence_breakers", ("",)),
        ("chain", ("top_q",)),
        ("chain", ("top_p", "top_p")),
        ("logit_bias", ((3, INF),)),
        ("logit_bias", ((-1, 0.0),)),
        ("stop", ("。", "")),
        ("seed", -1),
        ("beam_width", 0),
        ("length_penalty", -0.1),
        ("length_penalty", math.nan),
        ("length_penalty_form", "log"),
        ("coverage_penalty", -1.0),
        ("beam_groups", 2),  # of a width of 5
        ("beam_groups", 0),
        ("diversity_penalty", INF),
    ],
)
def test_a_value_out_of_range_names_its_field(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{field}=.*: must be "):
        Sampling(**{field: value})  # type: ignore[arg-type]


def test_a_bad_setting_is_the_users_to_mend() -> None:
    with pytest.raises(WenmoError, match=r"top_p=2\.0: must be above 0 and at most 1"):
        from_dict(Sampling, {"top_p": 2})
