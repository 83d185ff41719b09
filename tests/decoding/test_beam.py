"""Beam search by hand, against brute force, and by its properties in the engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.engines.base import Event
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.decoding.search.base import Candidates, best_candidates, coverage_score
from wenmo.decoding.search.beam import BeamSearch
from wenmo.models.base import LanguageModel
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.models.transformer.config import TransformerConfig
from wenmo.types import END, IGNORE, Batch, WenmoError

Make = Callable[..., LanguageModel]
Text = tuple[int, ...]
Scored = list[tuple[Text, float]]

# Greedy goes to 1, which then spreads thin; the likeliest text is 2 END, of probability 0.36.
TRAP = torch.tensor(
    [[0.0, 0.6, 0.4, 0.0], [0.3, 0.25, 0.25, 0.2], [0.9, 0.0, 0.0, 0.1], [1.0, 0.0, 0.0, 0.0]]
).log()
PLAIN = Sampling(method="beam", beam_width=2, length_penalty=0, max_tokens=5)


def write(model: LanguageModel, *requests: Request, rows: int = 32) -> list[list[Event]]:
    engine = AutoregressiveEngine(model, rows=rows)
    events: dict[int, list[Event]] = {engine.submit(request): [] for request in requests}
    for event in engine.run():
        events[event.request].append(event)
    return list(events.values())


def texts(events: list[Event]) -> Scored:
    """The texts of a beam in the order of their ranks; each is whole before the next begins."""
    written: list[list[Event]] = []
    for event in events:
        if event.rank == len(written):
            written.append([])
        written[event.rank].append(event)
        assert event is events[-1] or event.rank == len(written) - 1
    for own in written:
        assert [event.stopped_by for event in own[:-1]] == [None] * (len(own) - 1)
        assert own[-1].stopped_by == ("end" if own[-1].token == END else "length")
        assert len({event.score for event in own}) == 1
    return [(tuple(e.token for e in own), own[0].score or 0.0) for own in written]


def ask(model: LanguageModel, sampling: Sampling, prompt: list[int] | None = None) -> Scored:
    """All that a beam finds."""
    [events] = write(model, Request(prompt or [], sampling, n=sampling.beam_width))
    return texts(events)


def norm(sampling: Sampling, length: int) -> float:
    base = length if sampling.length_penalty_form == "power" else (5 + length) / 6
    return float(base**sampling.length_penalty)


def same(found: Scored, expected: Scored) -> None:
    assert [text for text, _ in found] == [text for text, _ in expected]
    assert [score for _, score in found] == pytest.approx([s for _, s in expected], rel=1e-4)


# -- references ----------------------------------------------------------------------------------


Next = Callable[[tuple[int, ...]], list[float]]  # the log-probabilities after a text


def after(model: LanguageModel, seed: int) -> Next:
    """What a model says after a text, which it reads anew each time."""

    @lru_cache
    @torch.inference_mode()
    def logp(text: tuple[int, ...]) -> list[float]:
        state = model.initial_state(1, generator=torch.Generator().manual_seed(seed))
        return model(torch.tensor([[END, *text]]), state)[0][0, -1].log_softmax(0).tolist()

    return logp


def every(logp: Next, limit: int, text: tuple[int, ...] = ()) -> Iterator[tuple[Text, float]]:
    """All texts of at most so many tokens, with their log-probabilities."""
    for token, gain in enumerate(logp(text)):
        longer = (*text, token)
        if token == END or len(longer) == limit:
            yield longer, gain
        else:
            yield from ((whole, gain + rest) for whole, rest in every(logp, limit, longer))


def plain(logp: Next, sampling: Sampling) -> Scored:
    """A beam search that drops nothing early and runs to the very end."""
    width = sampling.beam_width
    live: Scored = [((), 0.0)]
    pool: Scored = []
    for length in range(1, sampling.max_tokens + 1):
        grown = [
            ((*text, token), total + gain)
            for text, total in live
            for token, gain in enumerate(logp(text))
        ]
        ended = [one for one in grown if one[0][-1] == END]
        live = sorted((one for one in grown if one[0][-1] != END), key=lambda one: -one[1])[:width]
        if length == sampling.max_tokens:
            ended += live
        pool += [(text, total / norm(sampling, length)) for text, total in ended]
        pool = sorted(pool, key=lambda one: -one[1])[:width]
    return pool


beams = st.builds(
    Sampling,
    method=st.just("beam"),
    beam_width=st.integers(2, 4),
    length_penalty=st.sampled_from([0.0, 0.6, 1.0, 2.0]),
    length_penalty_form=st.sampled_from(["power", "gnmt"]),
    max_tokens=st.integers(1, 7),
    seed=st.integers(0, 10**6),
)


@settings(max_examples=30, deadline=None)
@given(beams, st.integers(1, 4))
def test_a_wide_beam_finds_the_best_of_all_texts(
    cache: Make, sampling: Sampling, limit: int
) -> None:
    found = every(after(cache(3), sampling.seed), limit)
    scored = [(text, logprob / norm(sampling, len(text))) for text, logprob in found]
    wide = replace(sampling, beam_width=31, max_tokens=limit)  # 31 texts of four tokens at most
    same(ask(cache(3), wide), sorted(scored, key=lambda one: -one[1]))


@settings(max_examples=60, deadline=None)
@given(beams, st.integers(2, 6))
def test_dropping_what_cannot_win_changes_no_result(
    cache: Make, sampling: Sampling, size: int
) -> None:
    model = cache(size)
    expected = plain(after(model, sampling.seed), sampling)
    [events] = write(model, Request(sampling=replace(sampling, method="greedy")))
    greedy = tuple(event.token for event in events)
    if greedy not in dict(expected):  # it is escorted, at least as long as it can be the best
        score = sum(event.logprob for event in events) / norm(sampling, len(greedy))
        if score > expected[0][1] or greedy in dict(ask(model, sampling)):
            expected = sorted([*expected, (greedy, score)], key=lambda one: -one[1])
    same(ask(model, sampling), expected[: sampling.beam_width])


# -- worked by hand ------------------------------------------------------------------------------


def test_a_beam_finds_the_likeliest_text_where_greedy_misses_it(table: Make) -> None:
    same(ask(table(TRAP), PLAIN), [((2, 0), math.log(0.36)), ((1, 0), math.log(0.18))])


def test_a_length_penalty_favours_longer_texts(table: Make) -> None:
    # 1 3 END has probability 0.12, 2 END 0.36: per token, -0.707 against -0.511.
    logits = torch.tensor([[0, 0.5, 0.5, 0], [0.1, 0, 0, 0.9], [0.6, 0, 0, 0.4], [1.0, 0, 0, 0]])
    model = table(logits.log())
    assert ask(model, PLAIN)[0] == (pytest.approx((1, 3, 0)), pytest.approx(math.log(0.45)))
    per_token = ask(model, replace(PLAIN, length_penalty=1))
    same(per_token, [((1, 3, 0), math.log(0.45) / 3), ((2, 3, 0), math.log(0.2) / 3)])
    gnmt = replace(PLAIN, length_penalty=1, length_penalty_form="gnmt")
    same(ask(model, gnmt)[:1], [((1, 3, 0), math.log(0.45) / (8 / 6))])


def test_groups_keep_away_from_each_other(table: Make) -> None:
    logits = torch.tensor([[0, 0.6, 0.3, 0.1], [0.8, 0.2, 0, 0], [0.7, 0, 0.3, 0], [1.0, 0, 0, 0]])
    model = table(logits.log())
    sampling = replace(PLAIN, beam_groups=2, diversity_penalty=0.1)
    # 0.1 nats are too little to turn the second group from 1, ln 2 = 0.69 nats likelier than 2.
    same(ask(model, sampling), [((1, 0), math.log(0.48))])
    # A nat is enough, and the score does not heed it.
    sampling = replace(sampling, diversity_penalty=1)
    same(ask(model, sampling), [((1, 0), math.log(0.48)), ((2, 0), math.log(0.21))])
    # The third group pays for both.
    three = replace(sampling, beam_width=3, beam_groups=3, diversity_penalty=5)
    same(ask(model, three)[2:], [((3, 0), math.log(0.1))])


def offers(logp: torch.Tensor, rows: list[list[int]], width: int) -> list[Candidates]:
    """What a table offers after each of these texts."""
    lines = logp[[row[-1] if row else 0 for row in rows]]
    tokens, gains = best_candidates(lines, width)
    ends = [(end, end) for end in lines[:, END].tolist()]
    return list(map(Candidates, tokens.tolist(), gains.tolist(), gains.tolist(), ends))


def watch(logp: torch.Tensor, sampling: Sampling) -> tuple[BeamSearch, list[list[list[int]]]]:
    """Search a table; the texts that the rows held after each step."""
    search, rows, seen = BeamSearch(sampling, sampling.max_tokens), [[]], []
    while rows:
        step = search.step(offers(logp, rows, sampling.beam_width))
        rows = [[*rows[row], token] for row, token in step]
        seen.append(rows)
    return search, seen


def test_the_greedy_text_is_escorted_and_what_cannot_win_is_dropped() -> None:
    # 0 -> 1 or 2; 1 -> 3, thinly; 2 -> 4 or 5, both better than 1 3, but what follows is dear.
    p = torch.zeros(6, 6)
    p[0, [1, 2]] = torch.tensor([0.55, 0.45])
    p[1, [1, 2, 3]] = torch.tensor([0.33, 0.33, 0.34])
    p[2, [4, 5]] = torch.tensor([0.5, 0.5])
    p[3, 0] = 1.0
    p[4, [0, 4]] = torch.tensor([0.1, 0.9])
    p[5, [0, 5]] = torch.tensor([0.1, 0.9])
    sampling = replace(PLAIN, max_tokens=30)
    search, seen = watch(p.log(), sampling)
    assert seen[0] == [[1], [2]]
    assert seen[1] == [[2, 4], [2, 5], [1, 3]]  # the escort is a row more
    assert seen[2] == [[2, 4, 4], [2, 5, 5]]  # it has ended
    found = search.best(2)
    assert found[0].text.tokens == (1, 3, 0)
    assert found[0].score == pytest.approx(math.log(0.187))
    # 0.45 x 0.5 x 0.1 x 0.9^k: from the first step on no later END can overtake the two kept,
    # until then 0.225 x 0.9^n > 0.0225 keeps the rows alive: n <= 21.
    assert [len(rows) for rows in seen[3:]] == [2] * 20 + [0]


def test_a_beam_of_one_is_the_greedy_text(table: Make) -> None:
    one = replace(PLAIN, beam_width=1, length_penalty=1)
    same(ask(table(TRAP), one), [((1, 0), math.log(0.18) / 2)])


def test_length_ends_texts(table: Make) -> None:
    found = ask(table(TRAP), replace(PLAIN, max_tokens=1, beam_width=3))
    same(found, [((1,), math.log(0.6)), ((2,), math.log(0.4))])


def test_coverage_counts_the_places_of_the_source_alone() -> None:
    given = torch.tensor([[0.5, 2.0, 0.0], [0.25, 0.5, 0.1]])
    sums = coverage_score(given, torch.tensor([2, 3]))
    assert sums.tolist() == pytest.approx([math.log(0.5), math.log(0.0125)])
    unseen = coverage_score(given, torch.tensor([3, 1]))
    assert unseen.tolist() == pytest.approx([math.log(0.5) + math.log(1e-10), math.log(0.25)])


def test_candidates_begin_with_the_first_of_equal_tokens() -> None:
    tokens, gains = best_candidates(torch.tensor([[-3.0, -1.0, -2.0, -1.0]]), 2)
    assert (tokens.tolist(), gains.tolist()) == ([[1, 3, 2]], [[-1.0, -1.0, -2.0]])
    assert best_candidates(torch.zeros(1, 1), 5)[0].tolist() == [[0]]
    # What is forbidden is offered in vain, be it twice the same token.
    _, gains = best_candidates(torch.tensor([[-math.inf, -1.0, -math.inf]]), 2)
    assert gains.tolist() == [[-1.0, -math.inf, -math.inf]]


# -- properties ----------------------------------------------------------------------------------

any_beam = st.builds(
    lambda sampling, groups, seed, least, ngram, diversity: replace(
        sampling,
        beam_width=sampling.beam_width * groups,
        beam_groups=groups,
        seed=seed,
        min_tokens=min(least, sampling.max_tokens),
        no_repeat_ngram=ngram,
        diversity_penalty=diversity,
    ),
    beams,
    st.integers(1, 2),
    st.integers(0, 3),
    st.integers(0, 2),
    st.sampled_from([0, 2]),
    st.sampled_from([0.5, 3.0]),
)


@settings(max_examples=80, deadline=None)
@given(any_beam, st.integers(3, 7), st.lists(st.integers(1, 2), max_size=3))
def test_the_best_is_never_worse_than_the_greedy_text(
    cache: Make, sampling: Sampling, size: int, prompt: list[int]
) -> None:
    model = cache(size)
    found = ask(model, sampling, prompt)
    [events] = write(model, Request(prompt, replace(sampling, method="greedy")))
    total = sum(event.logprob for event in events)
    assert found[0][1] >= total / norm(sampling, len(events)) - 1e-5
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert len({text for text, _ in found}) == len(found)
    one = replace(sampling, beam_width=1, beam_groups=1)
    [(only, _)] = ask(model, one, prompt)
    assert only == tuple(event.token for event in events)


sampled = st.builds(
    Sampling,
    method=st.sampled_from(["sample", "greedy"]),
    max_tokens=st.integers(1, 9),
    seed=st.integers(0, 3),
)
mixed = st.builds(
    lambda prompt, sampling, n: Request(prompt, sampling, n=n),
    st.lists(st.integers(1, 6), max_size=5),
    st.one_of(sampled, any_beam),
    st.integers(1, 2),
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(mixed, min_size=2, max_size=5),
    st.integers(1, 12),
    st.sampled_from([None, 1, 2, 5, 8]),
)
def test_a_beam_finds_in_any_company_what_it_would_alone(
    cache: Make, asked: list[Request], rows: int, context: int | None
) -> None:
    model = cache(7, context)
    for request, events in zip(asked, write(model, *asked, rows=rows), strict=True):
        [alone] = write(model, replace(request, sampling=request.sampling))
        key = [(e.token, e.stopped_by, e.rank, e.score) for e in events]
        assert key == [(e.token, e.stopped_by, e.rank, e.score) for e in alone]


@settings(max_examples=30, deadline=None)
@given(any_beam)
def test_how_many_are_returned_changes_nothing(cache: Make, sampling: Sampling) -> None:
    model = cache(6)
    whole = ask(model, sampling)
    for n in range(1, sampling.beam_width + 1):
        assert texts(write(model, Request([], sampling, n=n))[0]) == whole[:n]


@settings(max_examples=40, deadline=None)
@given(any_beam, st.lists(st.integers(1, 5), max_size=4))
def test_no_text_repeats_what_it_must_not(
    cache: Make, sampling: Sampling, prompt: list[int]
) -> None:
    sampling = replace(sampling, no_repeat_ngram=2, min_tokens=0)
    for text, _ in ask(cache(6), sampling, [1, *prompt]):
        whole = [1, *prompt, *text]
        pairs = list(pairwise(whole))
        written = pairs[len(prompt) :]
        assert len(set(written)) == len(written)
        assert not set(written) & set(pairs[: len(prompt)])


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_scores_are_the_models_own_log_probabilities(penalty: float) -> None:
    torch.manual_seed(0)
    model = RecurrentConfig(embedding_size=8, hidden_size=16).build(20).eval()
    sampling = Sampling(method="beam", beam_width=4, length_penalty=penalty, max_tokens=12)
    [events] = write(model, Request([3, 5], sampling, n=4))
    for rank, (text, score) in enumerate(texts(events)):
        read = torch.tensor([[0, 3, 5, *text[:-1]]])
        targets = torch.tensor([[IGNORE, IGNORE, *text]])
        with torch.no_grad():
            nats = float(model.score(Batch(read, targets)).nats)
        assert score * len(text) ** penalty == pytest.approx(-nats, rel=1e-5)
        own = [event.logprob for event in events if event.rank == rank]
        assert sum(own) == pytest.approx(-nats, rel=1e-5)


def test_rewards_do_not_end_the_search_too_early(table: Make) -> None:
    # Each 3 is worth 2 nats more than it costs, so the longest text is the best.
    sampling = replace(PLAIN, max_tokens=6, logit_bias=((3, 2.0),))
    p = torch.tensor(
        [[0.5, 0.2, 0.2, 0.1], [0.97, 0.01, 0.01, 0.01], [1, 0, 0, 0], [0.4, 0, 0, 0.6]]
    )
    [best, *_] = ask(table(p.log()), sampling)
    assert best == ((3,) * 6, pytest.approx(12 + math.log(0.1) + 5 * math.log(0.6), rel=1e-4))


def test_penalties_lower_log_probabilities(table: Make) -> None:
    sampling = replace(PLAIN, max_tokens=2, repetition_penalty=2.0)
    # After the prompt 1, its END costs -ln 0.3 and a second 1 twice -ln 0.25.
    found = dict(ask(table(TRAP), replace(sampling, beam_width=9), [1]))
    assert found[0,] == pytest.approx(math.log(0.3))
    assert found[1, 0] == pytest.approx(2 * math.log(0.25) + math.log(0.3), rel=1e-5)


# -- rows ----------------------------------------------------------------------------------------


def test_rows_that_cannot_win_leave_the_state(table: Make) -> None:
    model = table(TRAP)
    read: list[int] = []
    forward = model.forward
    model.forward = lambda tokens, state=None: (
        read.append(len(tokens)) or forward(tokens, state)  # type: ignore[func-returns-value]
    )
    ask(model, PLAIN)
    # One row to begin with; 1 and 2 go on; after two ENDs of 0.36 and 0.18 only 0.15 is left.
    assert read == [1, 2]


def test_a_beam_waits_until_there_is_room_for_all_its_rows(cache: Make) -> None:
    beam = Sampling(method="beam", beam_width=3, max_tokens=4, min_tokens=4)
    sample = Sampling(max_tokens=4, min_tokens=4)
    engine = AutoregressiveEngine(cache(7), rows=4)
    first, second = engine.submit(Request([], sample)), engine.submit(Request([], beam))
    seen = [{event.request for event in engine.step()} for _ in range(8)]
    assert seen == [{first}] * 4 + [set()] * 3 + [{second}]
    # Cancelled on the way, it leaves its rows to the next.
    third, last = engine.submit(Request([], beam)), engine.submit(Request([], sample))
    assert engine.step() == []
    engine.cancel(third)
    assert {event.request for event in engine.run()} == {last}


# -- sources -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["beam", "greedy", "sample"])
def test_a_prefix_source_is_read_before_the_text(cache: Make, method: str) -> None:
    model = cache(7, context=40)
    sampling = Sampling(method=method, max_tokens=9, min_tokens=3, beam_width=3)  # type: ignore[arg-type]
    [answer] = write(model, Request([2], sampling, source=[5, 6]))
    [by_hand] = write(model, Request([5, 6, END, 2], sampling))
    assert answer == [replace(event) for event in by_hand]
    # But a warp looks at the text alone: 5 and 6 are no repetition.
    strict = replace(sampling, no_repeat_ngram=1, method="beam", min_tokens=0)
    [events] = write(model, Request([2], strict, source=[1, 3, 4, 5, 6]))
    assert {event.token for event in events} - {END, 2}


def test_a_full_context_ends_an_answer(cache: Make) -> None:
    never_end = Sampling(method="greedy", max_tokens=50, min_tokens=50)
    for request in (
        Request([1], never_end, source=[5, 6]),
        Request([1], replace(never_end, method="beam", beam_width=2), source=[5, 6]),
    ):
        [events] = write(cache(7, context=12), request)
        assert len(events) == 8  # END 5 6 END 1 and seven more are read, and one follows them
        assert events[-1].stopped_by == "length"


@pytest.mark.parametrize("context", [None, 12])
def test_encoded_sources_answer_in_any_company(cache: Make, context: int | None) -> None:
    model = cache(7, context, "encoder")
    beam = Sampling(method="beam", beam_width=3, max_tokens=9, min_tokens=2)
    asked = [
        Request([1], beam, source=[5], n=3),
        Request([1], beam, source=[3, 6, 2, 2], n=2),
        Request([], replace(beam, method="sample", seed=3), source=[4]),
        Request([], beam),
        Request([], beam, source=[]),
    ]
    together = write(model, *asked, rows=8)
    for request, events in zip(asked, together, strict=True):
        [alone] = write(model, request)
        assert [(e.token, e.score) for e in events] == [(e.token, e.score) for e in alone]
    assert texts(together[0])[0] != texts(together[1])[0]


def test_a_beam_reads_the_coverage_of_a_real_model() -> None:
    torch.manual_seed(0)
    config = TransformerConfig(
        hidden_size=16, heads=2, layers=1, encoder_layers=1, context_length=16
    )
    model = config.build(12).eval()
    sampling = Sampling(method="beam", beam_width=3, max_tokens=5, length_penalty=0)
    minding = replace(sampling, coverage_penalty=0.5)
    [long, short] = write(
        model, Request([], minding, [3, 4, 5], n=3), Request([], minding, [6], n=3)
    )
    for source, events in (([3, 4, 5], long), ([6], short)):
        for text, score in texts(events):
            with torch.no_grad():
                state = model.initial_state(1, source=torch.tensor([[*source, END]]))
                logits, state = model(torch.tensor([[END, *text[:-1]]]), state)
            logprob = logits[0].log_softmax(1)[range(len(text)), list(text)].sum()
            lack = state["coverage"].clamp(max=1).log().sum()
            assert score == pytest.approx(float(logprob + 0.5 * lack), rel=1e-4)


# -- what goes wrong -----------------------------------------------------------------------------


def test_what_a_model_cannot_do_is_told(cache: Make, table: Make) -> None:
    beam = Sampling(method="beam", beam_width=2)
    engine = AutoregressiveEngine(cache(7, context=12))
    with pytest.raises(WenmoError, match="a beam of 2 has no 3 best texts: raise beam_width to 3"):
        engine.submit(Request([], beam, n=3))
    with pytest.raises(WenmoError, match="the source has 8 tokens, but the model reads at most 7"):
        engine.submit(Request([], beam, source=[1] * 8))
    with pytest.raises(WenmoError, match=r"the text begins with 14 tokens.*shorten the prompt"):
        engine.submit(Request([1] * 5, beam, source=[1] * 7))
    with pytest.raises(WenmoError, match="source has token 7"):
        engine.submit(Request([], beam, source=[7]))
    assert list(engine.run()) == []
    deaf = table(TRAP)
    deaf.conditioning = "none"
    with pytest.raises(WenmoError, match="cannot answer to a source"):
        write(deaf, Request([], beam, source=[1]))
    with pytest.raises(WenmoError, match=r"coverage_penalty=0\.2: this model does not compute"):
        write(table(TRAP), Request([], replace(beam, coverage_penalty=0.2)))
    with pytest.raises(WenmoError, match="not numbers"):
        write(table(torch.full((4, 4), math.nan)), Request([], beam))
