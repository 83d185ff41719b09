"""Processors that cut a distribution: cases worked by hand, loops over single tokens as a second
implementation, and transformers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.generation import logits_process as theirs

from wenmo.decoding import logits as processors
from wenmo.decoding import truncation
from wenmo.decoding.dry import SequenceBreakers, dry
from wenmo.decoding.history import History
from wenmo.decoding.noise import fold_in, uniform

INF = math.inf
few = settings(max_examples=60, deadline=None)
values = st.one_of(st.integers(-3, 3).map(float), st.floats(-20, 20, width=32), st.just(-INF))
rows_of_logits = st.lists(values, min_size=1, max_size=9).filter(lambda row: max(row) > -INF)


def kept(x: Tensor) -> list[int]:
    return (x[0] > -INF).nonzero()[:, 0].tolist()


def probabilities(*p: float) -> Tensor:
    return torch.tensor([p]).log()


def with_mu(mu: float) -> History:
    return History.of([[]], [0], mu=torch.tensor([mu]))


def with_key(key: int) -> History:
    return History.of([[]], [0], keys=torch.tensor([key]))


# -- worked by hand --------------------------------------------------------------------------------


def test_epsilon_and_eta() -> None:
    x = probabilities(0.5, 0.3, 0.15, 0.05)
    assert kept(truncation.epsilon_cutoff(x, 0.1)) == [0, 1, 2]
    assert kept(truncation.epsilon_cutoff(x, 0.6)) == [0]  # none has so much: the likeliest
    # H = 1.142 nats, so that sqrt(0.2) exp(-H) = 0.1428 < 0.2, and sqrt(0.3) exp(-H) = 0.1749.
    assert kept(truncation.eta_cutoff(x, 0.2)) == [0, 1, 2]
    assert kept(truncation.eta_cutoff(x, 0.3)) == [0, 1]
    assert kept(truncation.eta_cutoff(torch.zeros(1, 4), 0.99)) == [0, 1, 2, 3]


def test_top_n_sigma() -> None:
    x = torch.tensor([[4.0, 2.0, 0.0, -2.0, -INF]])  # the mean is 1, sigma is sqrt(5) = 2.236
    assert kept(truncation.top_n_sigma(x, 0.5)) == [0]
    assert kept(truncation.top_n_sigma(x, 1)) == [0, 1]
    assert kept(truncation.top_n_sigma(x, 2)) == [0, 1, 2]
    assert kept(truncation.top_n_sigma(x / 7, 2)) == [0, 1, 2]  # temperature does not matter


def test_tail_free() -> None:
    # First differences .1 .2 .1 0 .05, second .1 .1 .1 .05, their shares 2/7 2/7 2/7 1/7.
    x = probabilities(0.5, 0.4, 0.2, 0.1, 0.1, 0.05) + 1
    assert kept(truncation.tail_free(x, 0.2)) == [0]
    assert kept(truncation.tail_free(x, 0.5)) == [0]
    assert kept(truncation.tail_free(x, 0.8)) == [0, 1]
    assert kept(truncation.tail_free(x, 0.9)) == [0, 1, 2]
    assert kept(truncation.tail_free(torch.zeros(1, 6), 0.6)) == [0, 1]  # shares 1/4 each
    assert kept(truncation.tail_free(torch.zeros(1, 2), 0.1)) == [0, 1]


def test_xtc_leaves_the_least_likely_of_the_top_choices() -> None:
    x = probabilities(0.2, 0.5, 0.15, 0.05, 0.1)
    always = with_key(7)
    assert kept(truncation.exclude_top_choices(x, always, 1, 0.15)) == [2, 3, 4]
    assert kept(truncation.exclude_top_choices(x, always, 1, 0.3)) == [0, 1, 2, 3, 4]
    assert kept(truncation.exclude_top_choices(x, always, 0, 0.15)) == [0, 1, 2, 3, 4]


def test_the_coin_of_xtc_is_fair_and_not_the_noise_of_the_token() -> None:
    x = probabilities(0.5, 0.5).expand(4000, -1)
    keys = fold_in(torch.tensor(3), torch.arange(4000))
    history = History.of([], [], keys=keys)
    cut = truncation.exclude_top_choices(x, history, 0.3, 0.1)[:, 0] == -INF
    assert abs(int(cut.sum()) - 1200) < 5 * math.sqrt(4000 * 0.3 * 0.7)
    noise = uniform(keys, 2)[:, 0]
    correlation = torch.corrcoef(torch.stack([noise, cut.float()]))[0, 1]
    assert abs(float(correlation)) < 5 / math.sqrt(4000)


def test_dynamic_temperature() -> None:
    even, sure = torch.zeros(1, 4), torch.tensor([[50.0, 0.0, 0.0, 0.0]])
    x = probabilities(0.5, 0.25, 0.125, 0.125)  # H = 1.75 bits of at most 2: a share of 0.875
    out = truncation.dynamic_temperature(x, 1, 0.5, 2)  # T = 0.5 + 1 * 0.875 ** 2 = 1.265625
    torch.testing.assert_close(out, (x - x.amax()) / 1.265625)
    assert torch.equal(truncation.dynamic_temperature(even, 1, 0.5, 1), even)
    torch.testing.assert_close(truncation.dynamic_temperature(sure, 1, 0.5, 1), (sure - 50) / 0.5)
    alone = torch.tensor([[-INF, 3.0]])
    assert truncation.dynamic_temperature(alone, 1, 1, 1).tolist() == [[-INF, 0.0]]


def test_mirostat_2_cuts_at_a_surprise() -> None:
    x = probabilities(0.5, 0.25, 0.125, 0.125)  # 1, 2, 3, 3 bits
    assert kept(truncation.mirostat(x, with_mu(2.5), 2)) == [0, 1]
    assert kept(truncation.mirostat(x, with_mu(3.01), 2)) == [0, 1, 2, 3]
    assert kept(truncation.mirostat(x, with_mu(-4.0), 2)) == [0]


def test_mirostat_1_estimates_zipfs_exponent() -> None:
    # p_i proportional to i^-2: s = 2, eps = 1, k = (2^mu / (1 - 1/N))^(1/2) with N = 16.
    x = -2 * torch.arange(1, 17).float().log()[None]
    assert len(kept(truncation.mirostat(x, with_mu(3.0), 1))) == 2  # sqrt(8 / 0.9375) = 2.92
    assert len(kept(truncation.mirostat(x, with_mu(4.0), 1))) == 4  # sqrt(16 / 0.9375) = 4.13
    assert len(kept(truncation.mirostat(x, with_mu(-9.0), 1))) == 1
    # p_i proportional to 1/i: s = 1, and k = 2^mu / ln N = 8 / 2.77.
    assert len(kept(truncation.mirostat(x / 2, with_mu(3.0), 1))) == 2


def test_mu_follows_the_surprise() -> None:
    mu, surprise = torch.tensor([6.0, 6.0]), torch.tensor([5.0, 1.0])
    torch.testing.assert_close(truncation.next_mu(mu, surprise, 3, 0.1), torch.tensor([5.8, 6.2]))


TABLE = [b"", b"a", b"b", b"c", b"\n", b"d\n", b"e", "：".encode(), b"\xe2\x80", b"\x9c"]


def penalties(text: list[int], *strings: str) -> dict[int, float]:
    breakers = SequenceBreakers(TABLE, strings)
    out = dry(torch.zeros(1, len(TABLE)), History.of([text], [0]), 1, 2, 2, breakers)
    return {token: -value for token, value in enumerate(out[0].tolist()) if value}


def test_dry() -> None:
    assert penalties([1, 2, 3, 1, 2]) == {3: 1.0}  # "ab" was followed by c: 1 * 2 ** (2 - 2)
    assert penalties([6, 1, 2, 3, 6, 1, 2]) == {3: 2.0}
    assert penalties([2, 3, 1, 2]) == {}  # a sequence of one is allowed
    assert penalties([1, 1, 1, 1]) == {1: 2.0}  # sequences may overlap: three a before an a
    assert penalties([1, 2, 3, 9, 1, 2, 6, 9, 1, 2]) == {3: 2.0 / 2, 6: 2.0}
    assert penalties([]) == {}


def test_breakers_of_dry() -> None:
    text = [1, 2, 4, 3, 6, 1, 2, 4, 3]  # "ab\nce ab\nc": four tokens repeat
    assert penalties(text) == {6: 4.0}
    assert penalties(text, "\n") == {}  # only "c" stands after the newline
    assert penalties([1, 2, 4, 1, 2], "\n") == {}  # the newline itself is not penalised
    assert penalties([1, 5, 2, 3, 6, 1, 5, 2, 3], "\n") == {6: 1.0}  # within a token
    spelled = [1, 8, 9, 2, 3, 6, 1, 8, 9, 2, 3]  # “ of two tokens
    assert penalties(spelled, "“") == {6: 1.0}
    assert penalties(spelled) == {6: 8.0}
    assert SequenceBreakers(TABLE, ("“",)).distance([1, 2, 8, 9, 1, 1]) == 2


def test_a_long_repetition_is_penalised_without_overflow() -> None:
    history = History.of([[1, 2] * 4000], [0])
    out = dry(torch.zeros(1, 4), history, 100, 100, 1, None)
    assert out.tolist() == [[0.0, -1e6, 0.0, 0.0]]


# -- a second implementation, token by token ------------------------------------------------------


def softmax(row: list[float]) -> list[float]:
    peak = max(row)
    weights = [math.exp(each - peak) for each in row]
    return [each / sum(weights) for each in weights]


def by_rank(row: list[float]) -> list[int]:
    return sorted(range(len(row)), key=lambda token: -row[token])


def plain_top_n_sigma(row: list[float], n: float) -> set[int]:
    finite = [each for each in row if each > -INF]
    mean = sum(finite) / len(finite)
    sigma = math.sqrt(sum((each - mean) ** 2 for each in finite) / len(finite))
    return {token for token, each in enumerate(row) if each >= max(row) - n * sigma and each > -INF}


def plain_tail_free(row: list[float], z: float) -> set[int]:
    order = [token for token in by_rank(row) if row[token] > -INF]
    if len(order) <= 2:
        return set(order)
    p = [softmax(row)[token] for token in order]
    first = [p[i] - p[i + 1] for i in range(len(p) - 1)]
    second = [abs(first[i] - first[i + 1]) for i in range(len(first) - 1)]
    total = sum(second)
    weights = [each / total if total > 1e-6 else 1 / len(second) for each in second]
    for i in range(1, len(weights)):
        if sum(weights[: i + 1]) > z:
            return set(order[:i])
    return set(order)


def plain_xtc(row: list[float], threshold: float) -> set[int]:
    p = softmax(row)
    order = [token for token in by_rank(row) if row[token] > -INF]
    top = [token for token in order if p[token] >= threshold]
    return set(order) - set(top[:-1])


def plain_mirostat_2(row: list[float], mu: float) -> set[int]:
    p = softmax(row)
    order = by_rank(row)
    return {order[0]} | {t for t in order if p[t] > 0 and -math.log2(p[t]) <= mu}


def plain_dry(text: list[int], size: int, allowed: int, barred: set[int]) -> list[float]:
    """Penalties with a multiplier of 1 and a base of 2, where ``barred`` are breakers."""
    found = [0.0] * size
    for token in set(range(size)) - barred:
        for length in range(1, len(text) + 1):
            end = text[len(text) - length :]
            if barred & set(end):
                break
            again = any(text[i : i + length + 1] == [*end, token] for i in range(len(text)))
            if again and length >= allowed:
                found[token] = max(found[token], 2.0 ** (length - allowed))
    return found


@few
@given(rows_of_logits, st.floats(0.1, 4), st.floats(0.05, 0.95), st.floats(0, 12))
def test_cuts_agree_with_loops(row: list[float], n: float, z: float, mu: float) -> None:
    x = torch.tensor([row], dtype=torch.float32)
    row = x[0].tolist()
    n, z, mu = n + 0.00311, z + 0.00137, mu + 0.0137  # no bound is equal to a round share
    assert set(kept(truncation.top_n_sigma(x, n))) == plain_top_n_sigma(row, n)
    assert set(kept(truncation.tail_free(x, z))) == plain_tail_free(row, z)
    cut = truncation.exclude_top_choices(x, with_key(1), 1.0, z / 2)
    assert set(kept(cut)) == plain_xtc(row, z / 2)
    assert set(kept(truncation.mirostat(x, with_mu(mu), 2))) == plain_mirostat_2(row, mu)


@few
@given(st.lists(st.integers(1, 4), max_size=14), st.integers(1, 3), st.booleans())
def test_dry_agrees_with_a_search(text: list[int], allowed: int, has_breakers: bool) -> None:
    table, strings = [b"", b"a", b"b", b"c", b"|"], ("|",) if has_breakers else ()
    out = dry(
        torch.zeros(1, 5), History.of([text], [0]), 1, 2, allowed, SequenceBreakers(table, strings)
    )
    assert (-out[0]).tolist() == plain_dry(text, 5, allowed, {0, 4} if has_breakers else {0})


# -- transformers ----------------------------------------------------------------------------------

GENERATOR = torch.Generator().manual_seed(0)
RANDOM = torch.randn(200, 60, generator=GENERATOR) * torch.linspace(0.1, 8, 200)[:, None]
TEXTS = torch.randint(1, 12, (200, 24), generator=GENERATOR)
HISTORY = History.of(TEXTS.tolist(), [10] * 200)
LIKE_THEIRS: dict[str, tuple[Callable[[Tensor], Tensor], theirs.LogitsProcessor]] = {
    "temperature": (
        lambda x: truncation.temperature(x, 0.7) + x.amax(1, keepdim=True) / 0.7,
        theirs.TemperatureLogitsWarper(0.7),
    ),
    "top_k": (lambda x: truncation.top_k(x, 7), theirs.TopKLogitsWarper(7)),
    "top_p": (lambda x: truncation.top_p(x, 0.83), theirs.TopPLogitsWarper(0.83)),
    "min_p": (lambda x: truncation.min_p(x, 0.07), theirs.MinPLogitsWarper(0.07)),
    "typical_p": (lambda x: truncation.typical(x, 0.6), theirs.TypicalLogitsWarper(0.6)),
    "epsilon_cutoff": (
        lambda x: truncation.epsilon_cutoff(x, 0.03),
        theirs.EpsilonLogitsWarper(0.03),
    ),
    "eta_cutoff": (lambda x: truncation.eta_cutoff(x, 0.05), theirs.EtaLogitsWarper(0.05)),
    "repetition_penalty": (
        lambda x: processors.repetition(x, HISTORY, 1.3),
        theirs.RepetitionPenaltyLogitsProcessor(1.3),
    ),
    "no_repeat_ngram": (
        lambda x: processors.no_repeat(x, HISTORY, 2),
        theirs.NoRepeatNGramLogitsProcessor(2),
    ),
    "min_tokens": (
        lambda x: processors.minimum_length(x, HISTORY, 20),
        theirs.MinNewTokensLengthLogitsProcessor(10, 20, 0),
    ),
    "enough tokens": (
        lambda x: processors.minimum_length(x, HISTORY, 14),
        theirs.MinNewTokensLengthLogitsProcessor(10, 14, 0),
    ),
    "suppressed": (
        lambda x: processors.forbid(x, [3, 5]),
        theirs.SuppressTokensLogitsProcessor([3, 5]),
    ),
    "logit_bias": (
        lambda x: processors.bias(x, [3, 5], [-2.5, 4.0]),
        theirs.SequenceBiasLogitsProcessor([[[3], -2.5], [[5], 4.0]]),
    ),
}


@pytest.mark.parametrize("name", LIKE_THEIRS)
def test_processors_agree_with_transformers(name: str) -> None:
    own, other = LIKE_THEIRS[name]
    torch.testing.assert_close(own(RANDOM), other(TEXTS, RANDOM.clone()), rtol=1e-6, atol=1e-5)
