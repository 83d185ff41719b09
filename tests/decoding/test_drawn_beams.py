"""Beam sampling and stochastic beam search against exhaustive enumeration."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.engines.base import Event
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.decoding.search.stochastic import importance_weight, truncated_gumbel
from wenmo.models.base import LanguageModel
from wenmo.types import END

Make = Callable[..., LanguageModel]
Text = tuple[int, ...]
P = torch.tensor(
    [[0.1, 0.5, 0.2, 0.2], [0.4, 0.2, 0.3, 0.1], [0.3, 0.3, 0.1, 0.3], [0.7, 0, 0, 0.3]]
)
SEEDS = 500


def write(model: LanguageModel, *requests: Request, rows: int = 512) -> list[list[list[Event]]]:
    """The events of each text of each request."""
    engine = AutoregressiveEngine(model, rows=rows)
    found: dict[int, dict[int, list[Event]]] = {engine.submit(each): {} for each in requests}
    for event in engine.run():
        found[event.request].setdefault(event.rank, []).append(event)
    return [list(texts.values()) for texts in found.values()]


def probabilities(p: torch.Tensor, limit: int) -> dict[Text, float]:
    """The probability of every text of at most so many tokens."""

    def grow(text: Text, prob: float) -> Iterator[tuple[Text, float]]:
        if prob and (len(text) == limit or text[-1:] == (END,)):
            yield text, prob
        elif prob:
            for token, share in enumerate(p[text[-1] if text else END].tolist()):
                yield from grow((*text, token), prob * share)

    return dict(grow((), 1.0))


def check_frequencies(counts: Counter[Text], expected: dict[Text, float], total: int) -> None:
    """Chi-square, rare texts taken together."""
    assert set(counts) <= set(expected)
    cells: dict[Text | None, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for text, prob in expected.items():
        cell = cells[text if prob * total >= 5 else None]
        cell[0] += counts[text]
        cell[1] += prob * total
    statistic = sum((seen - wanted) ** 2 / wanted for seen, wanted in cells.values() if wanted)
    freedom = len(cells) - 1
    assert statistic < freedom + 4 * math.sqrt(2 * freedom)


# -- stochastic beams ----------------------------------------------------------------------------

STOCHASTIC = Sampling(method="stochastic-beam", beam_width=3, max_tokens=3)


def drawn(model: LanguageModel, sampling: Sampling) -> list[list[list[Event]]]:
    width = sampling.beam_width
    asked = [Request([], replace(sampling, seed=seed), n=width) for seed in range(SEEDS)]
    return write(model, *asked)


def test_texts_are_drawn_without_replacement_and_weighted(table: Make) -> None:
    exact = probabilities(P, 3)
    first, second = Counter[Text](), Counter[Text]()
    estimates = []
    for texts in drawn(table(P.log()), STOCHASTIC):
        found = [tuple(event.token for event in events) for events in texts]
        assert len(set(found)) == 3
        first[found[0]] += 1
        second[found[1]] += 1
        scores = [events[-1].score or 0.0 for events in texts]
        assert scores == sorted(scores, reverse=True)
        weights = [events[-1].weight or 0.0 for events in texts]
        estimates.append(
            [sum(weights), sum(w * len(t) for w, t in zip(weights, found, strict=True))]
        )
    check_frequencies(first, exact, SEEDS)
    after_first = {
        text: sum(p * prob / (1 - p) for other, p in exact.items() if other != text)
        for text, prob in exact.items()
    }
    check_frequencies(second, after_first, SEEDS)
    # The weights estimate 1, and with the lengths the mean length, without bias.
    values = torch.tensor(estimates, dtype=torch.float64)
    truth = torch.tensor([1.0, sum(p * len(text) for text, p in exact.items())])
    deviation = values.std(0) / math.sqrt(SEEDS)
    assert ((values.mean(0) - truth).abs() < 3 * deviation).all()
    assert (deviation < 0.03 * truth).all()


def test_a_wide_stochastic_beam_finds_all_texts_with_their_probabilities(table: Make) -> None:
    exact = probabilities(P, 3)
    wide = replace(STOCHASTIC, beam_width=len(exact) + 5)
    [texts] = write(table(P.log()), Request([], wide, n=len(exact) + 5))
    weights = {tuple(event.token for event in text): text[-1].weight for text in texts}
    assert weights == pytest.approx(exact)


def test_a_stochastic_beam_samples_what_sampling_samples(table: Make) -> None:
    """With temperature and top-k, its first text is distributed as that of ``sample``."""
    kept = (P.log() / 0.5).exp()
    kept[kept < kept.topk(2, 1).values[:, -1:]] = 0
    kept /= kept.sum(1, keepdim=True)
    cut = replace(STOCHASTIC, beam_width=1, temperature=0.5, top_k=2)
    first = Counter(tuple(e.token for e in text) for [text] in drawn(table(P.log()), cut))
    # Of equal tokens top-k keeps the lower: after 0 it is 2, after 2 the tokens 0 and 1.
    p = kept.clone()
    p[0] = torch.tensor([0, 0.25, 0.04, 0]) / 0.29
    p[2] = torch.tensor([0.5, 0.5, 0, 0])
    check_frequencies(first, probabilities(p, 3), SEEDS)


@given(st.floats(-10, 5), st.floats(0, 40), st.floats(-5, 5))
def test_truncated_gumbels_keep_order_and_maximum(value: float, more: float, top: float) -> None:
    largest = value + more
    assert truncated_gumbel(largest, largest, top) == top
    moved = truncated_gumbel(value, largest, top)
    assert moved <= top
    direct = math.exp(-top) - math.exp(-largest) + math.exp(-value)
    assert moved == pytest.approx(-math.log(direct), rel=1e-4, abs=1e-4)


def test_importance_weights_have_their_limits() -> None:
    assert importance_weight(-2.0, -math.inf) == math.exp(-2)
    assert importance_weight(-2.0, -900.0) == pytest.approx(math.exp(-2))
    # What is rare weighs as much as the threshold says, whatever its probability.
    assert importance_weight(-800.0, -3.0) == pytest.approx(math.exp(-3))
    assert importance_weight(-2.0, -1.0) == pytest.approx(
        math.exp(-2) / (1 - math.exp(-math.exp(-1)))
    )


# -- beam sampling -------------------------------------------------------------------------------


def sampled_texts(p: torch.Tensor, limit: int) -> dict[Text, float]:
    """The probability of each text of a beam of one: at each step two different tokens are drawn
    and the likelier one is taken.
    """
    better = torch.zeros_like(p)
    for row in range(len(p)):
        for one, two in itertools.permutations(range(p.shape[1]), 2):
            if p[row, one] == 1:
                better[row, one] = 1
            elif p[row, one] > 0 and p[row, two] > 0:
                pair = p[row, one] * p[row, two] / (1 - p[row, one])
                better[row, one if p[row, one] > p[row, two] else two] += pair
    return probabilities(better, limit)


def test_a_beam_of_one_draws_two_tokens_and_takes_the_better(table: Make) -> None:
    """With ``early_stopping=true`` it ends with the first text."""
    p = torch.tensor(
        [[0.1, 0.5, 0.25, 0.15], [0.4, 0.2, 0.3, 0.1], [0.35, 0.3, 0.1, 0.25], [1, 0, 0, 0]]
    )
    one = Sampling(method="beam-sample", beam_width=1, max_tokens=3, early_stopping="true")
    found = Counter(tuple(e.token for e in text) for [text] in drawn(table(p.log()), one))
    check_frequencies(found, sampled_texts(p, 3), SEEDS)


def test_a_beam_of_two_draws_from_the_children_of_both_texts(table: Make) -> None:
    """At the first step all four tokens are drawn. 1 and 2 go on, and of their six children of two
    tokens four are drawn together, whose best two, with nothing that ended before, are the result.
    """
    p = torch.tensor(
        [[0.0, 0.6, 0.3, 0.1], [0.0, 0.2, 0.5, 0.3], [0.0, 0.25, 0.1, 0.65], [0, 0, 0, 1]]
    )
    children = {(a, b): float(p[0, a] * p[a, b]) for a in (1, 2) for b in (1, 2, 3)}
    expected: dict[Text, float] = defaultdict(float)
    for order in itertools.permutations(children, 4):
        chance, rest = 1.0, sum(children.values())
        for text in order:
            chance *= children[text] / rest
            rest -= children[text]
        expected[max(order, key=lambda text: children[text])] += chance
    two = Sampling(method="beam-sample", beam_width=2, max_tokens=2, length_penalty=0.0)
    found = Counter(tuple(e.token for e in texts[0]) for texts in drawn(table(p.log()), two))
    assert len(found) > 2
    check_frequencies(found, dict(expected), SEEDS)


def test_beams_that_draw_score_as_a_beam_does(table: Make) -> None:
    sampling = Sampling(method="beam-sample", beam_width=2, max_tokens=4, length_penalty=0.7)
    exact = probabilities(P, 4)
    for seed in range(20):
        [texts] = write(table(P.log()), Request([], replace(sampling, seed=seed), n=2))
        scores = []
        for events in texts:
            text = tuple(event.token for event in events)
            scores.append(events[0].score or 0.0)
            assert scores[-1] == pytest.approx(math.log(exact[text]) / len(text) ** 0.7, rel=1e-5)
        assert scores == sorted(scores, reverse=True)


beams = st.builds(
    lambda method, width, penalty, top_k, seed: Sampling(
        method=method,
        beam_width=width,
        length_penalty=penalty,
        top_k=top_k,
        seed=seed,
        max_tokens=5,
    ),
    st.sampled_from(["beam-sample", "stochastic-beam", "sample"]),
    st.integers(1, 3),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from([0, 3]),
    st.integers(0, 3),
)


@settings(max_examples=10, deadline=None)
@given(st.lists(beams, min_size=2, max_size=4), st.integers(1, 9), st.sampled_from([None, 4]))
def test_drawn_beams_find_in_any_batch_what_they_find_alone(
    cache: Make, asked: list[Sampling], rows: int, context: int | None
) -> None:
    model = cache(7, context)
    requests = [
        Request([2], each, n=1 if each.method == "sample" else each.beam_width) for each in asked
    ]
    for request, found in zip(requests, write(model, *requests, rows=rows), strict=True):
        assert [[replace(event, request=0) for event in text] for text in found] == [
            [replace(event, request=0) for event in text] for text in write(model, request)[0]
        ]


def test_drawing_at_temperature_0_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"temperature=0\.0: must be above 0 with method=beam-sample"
    ):
        Sampling(method="beam-sample", temperature=0.0)
