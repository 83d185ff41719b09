from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.decoding import strategies
from wenmo.decoding.engines.autoregressive import SLICE, AutoregressiveEngine
from wenmo.decoding.engines.base import Event, window
from wenmo.decoding.engines.prefill import BLOCK
from wenmo.decoding.history import History
from wenmo.decoding.logits import chain
from wenmo.decoding.noise import fold_in
from wenmo.decoding.params import Sampling
from wenmo.decoding.prefix_cache import PrefixCache
from wenmo.decoding.request import Request
from wenmo.decoding.truncation import next_mu
from wenmo.models.base import LanguageModel
from wenmo.models.config import ModelConfig
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.models.state import StateSchema
from wenmo.models.transformer.config import TransformerConfig
from wenmo.types import SpecialTokens, WenmoError

Make = Callable[..., LanguageModel]

# From END: 1 or 2; then 1 -> 2 -> 3 -> END, each the likeliest by far but not the only one.
CHAIN = torch.tensor(
    [[0.0, 3.0, 2.0, 0.0], [0.0, 0.0, 4.0, 1.0], [1.0, 0.0, 0.0, 4.0], [4.0, 1.0, 0.0, 0.0]]
)


def write(model: LanguageModel, *requests: Request, rows: int = 32) -> list[list[Event]]:
    engine = AutoregressiveEngine(model, rows=rows)
    events: dict[int, list[Event]] = {engine.submit(request): [] for request in requests}
    for event in engine.run():
        events[event.request].append(event)
    return list(events.values())


def tokens(events: list[Event]) -> list[int]:
    return [event.token for event in events]


@torch.inference_mode()
def naive(model: LanguageModel, request: Request) -> list[tuple[int, float]]:
    """One text without states or batches: everything in the window is read anew for every token."""
    s = request.sampling
    ids, written, cached_length = [0, *request.prompt], [], 0
    mu = torch.tensor([2 * s.mirostat_tau])
    while len(written) < s.max_tokens and (not written or ids[-1] != 0):
        if cached_length == 0:
            cached_length = window(len(ids), model.context)
        elif model.context is not None and cached_length == model.context:
            cached_length = max(1, model.context // 2)
        else:
            cached_length += 1
        source = None if request.source is None else torch.tensor([[*request.source, 0]])
        state = model.initial_state(
            1, source=source, generator=torch.Generator().manual_seed(s.seed)
        )
        logits = model(torch.tensor([ids[-cached_length:]]), state)[0][:, -1]
        key = fold_in(torch.tensor([s.seed]), torch.tensor([len(written)]))
        history = History.of([ids[1:]], [len(request.prompt)], keys=key, mu=mu)
        warped = chain(s)(logits, history)
        strategy = strategies.greedy if s.greedy else strategies.sample
        token = int(strategy(warped.log_softmax(1), key))
        if s.mirostat and not s.greedy:
            before = chain(replace(s, mirostat=0))(logits, history).log_softmax(1)
            mu = next_mu(mu, before[:, token] / -math.log(2), s.mirostat_tau, s.mirostat_eta)
        ids.append(token)
        written.append((token, float(logits.log_softmax(1)[0, token])))
    return written


# -- worked by hand ------------------------------------------------------------------------------


def test_the_greedy_path_ends_where_the_model_does(table: Make) -> None:
    [events] = write(table(CHAIN), Request(sampling=Sampling(method="greedy")))
    assert tokens(events) == [1, 2, 3, 0]
    assert [event.stopped_by for event in events] == [None, None, None, "end"]
    assert events[0].logprob == pytest.approx(3 - math.log(2 + math.e**3 + math.e**2))
    assert events[3].logprob == pytest.approx(4 - math.log(2 + math.e**4 + math.e))


def test_other_marks_end_a_text_too(table: Make) -> None:
    """3 is another end, so that a text is 1 or 2 or 1 2, and ends by 0 or 3."""
    model = table(CHAIN)
    model.special_tokens = SpecialTokens(eos=(3,))
    greedy = Sampling(method="greedy", max_tokens=4)
    [events] = write(model, Request(sampling=greedy))
    assert tokens(events) == [1, 2, 0]
    assert events[-1].stopped_by == "end"
    assert events[-1].logprob == pytest.approx(CHAIN[2].log_softmax(0)[3].item())
    kept = replace(greedy, min_tokens=4)
    assert tokens(write(model, Request(sampling=kept))[0]) == [1, 2, 1, 2]
    beam = Sampling(method="beam", beam_width=8, length_penalty=0.0, max_tokens=3)
    [events] = write(model, Request(sampling=beam, n=1))
    spelled = tokens(events)
    own = CHAIN.log_softmax(1)
    ended = torch.stack([own[:, 0], own[:, 3]]).amax(0)
    two = [own[0, a] + own[a, b] + ended[b] for a in (1, 2) for b in (1, 2)]
    best = max(float(ended[0]), *(float(own[0, a] + ended[a]) for a in (1, 2)), *map(float, two))
    assert sum(event.logprob for event in events) == pytest.approx(best)
    assert spelled[-1] == 0
    requests = [Request(sampling=Sampling(max_tokens=1, seed=seed)) for seed in range(2000)]
    drawn = [event for [event] in write(model, *requests, rows=500)]
    share = float(CHAIN[0].softmax(0)[[0, 3]].sum())
    found = [event for event in drawn if event.token == 0]
    assert len(found) == pytest.approx(2000 * share, abs=5 * math.sqrt(2000 * share))
    assert found[0].logprob == pytest.approx(math.log(share))
    assert all(event.token != 3 for event in drawn)


@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
def test_what_is_barred_is_never_written(table: Make, method: str) -> None:
    model = table(CHAIN)
    model.special_tokens = SpecialTokens(suppressed=(2,))
    sampling = Sampling(method=method, max_tokens=9, beam_width=2)  # type: ignore[arg-type]
    for seed in range(20):
        [events] = write(model, Request(sampling=replace(sampling, seed=seed)))
        assert 2 not in tokens(events)
    assert events[0].logprob == pytest.approx(CHAIN[0].log_softmax(0)[events[0].token].item())


def test_a_prompt_is_gone_on_from(table: Make) -> None:
    greedy = Sampling(temperature=0)
    assert tokens(write(table(CHAIN), Request([3, 1], greedy))[0]) == [2, 3, 0]


def test_length_ends_a_text_and_minimum_length_keeps_it_going(table: Make) -> None:
    greedy = Sampling(method="greedy", max_tokens=2)
    [events] = write(table(CHAIN), Request(sampling=greedy))
    assert tokens(events) == [1, 2]
    assert events[-1].stopped_by == "length"
    longer = replace(greedy, max_tokens=9, min_tokens=5)
    assert tokens(write(table(CHAIN), Request(sampling=longer))[0]) == [1, 2, 3, 1, 2, 3, 0]


def test_the_log_probability_is_the_models_own_whatever_the_warps(table: Make) -> None:
    sampling = Sampling(logit_bias=((1, -math.inf),), temperature=0.1, top_k=1, max_tokens=1)
    [[event]] = write(table(CHAIN), Request(sampling=sampling))
    assert event.token == 2
    assert event.logprob == pytest.approx(CHAIN[0].log_softmax(0)[2].item())


def test_sampled_frequencies_are_the_probabilities(table: Make) -> None:
    requests = [Request(sampling=Sampling(max_tokens=1, seed=seed)) for seed in range(2000)]
    counts = torch.zeros(4)
    for [event] in write(table(CHAIN), *requests, rows=500):
        counts[event.token] += 1
    expected = CHAIN[0].softmax(0) * 2000
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert statistic < 3 + 5 * math.sqrt(6)


@pytest.mark.parametrize(
    ("length", "context", "read"),
    [(5, None, 5), (7, 8, 7), (8, 8, 6), (99, 8, 6), (5, 6, 5), (6, 6, 4), (1, 1, 1), (9, 1, 1)],
)
def test_a_long_prompt_leaves_a_quarter_of_the_context_free(
    length: int, context: int | None, read: int
) -> None:
    assert window(length, context) == read


# -- the same in any company ---------------------------------------------------------------------

ids = st.lists(st.integers(1, 6), max_size=12)
requests = st.builds(
    Request,
    prompt=ids,
    sampling=st.builds(
        Sampling,
        method=st.sampled_from(["sample", "sample", "greedy"]),
        max_tokens=st.integers(3, 20),
        min_tokens=st.integers(0, 3),
        temperature=st.sampled_from([0.0, 0.7, 1.0]),
        top_k=st.sampled_from([0, 3]),
        top_p=st.sampled_from([0.8, 1.0]),
        repetition_penalty=st.sampled_from([1.0, 1.3]),
        frequency_penalty=st.sampled_from([0.0, 0.5]),
        no_repeat_ngram=st.sampled_from([0, 2]),
        dry_multiplier=st.sampled_from([0.0, 0.8]),
        xtc_probability=st.sampled_from([0.0, 0.5]),
        mirostat=st.sampled_from([0, 1, 2]),
        mirostat_tau=st.sampled_from([0.5, 1.5]),
        seed=st.integers(0, 5),
    ),
    source=st.none(),
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(requests, min_size=1, max_size=6),
    st.integers(1, 4),
    st.sampled_from([None, 1, 2, 3, 8]),
)
def test_every_batch_writes_what_each_request_would_alone(
    cache: Make, asked: list[Request], rows: int, context: int | None
) -> None:
    model = cache(7, context)
    for request, events in zip(asked, write(model, *asked, rows=rows), strict=True):
        expected = naive(model, request)
        assert tokens(events) == [token for token, _ in expected]
        torch.testing.assert_close([e.logprob for e in events], [logp for _, logp in expected])
        assert [e.stopped_by for e in events[:-1]] == [None] * (len(events) - 1)
        assert events[-1].stopped_by == ("end" if events[-1].token == 0 else "length")


@pytest.mark.parametrize(
    "config",
    [
        RecurrentConfig(embedding_size=16, hidden_size=16),
        TransformerConfig(hidden_size=16, heads=2, context_length=12),
    ],
)
def test_real_families_write_what_each_request_would_alone(config: ModelConfig) -> None:
    torch.manual_seed(0)
    model = config.build(40)
    shared = Sampling(max_tokens=30, min_tokens=9, top_p=0.9, repetition_penalty=1.1)
    prompts = ([], [1, 2, 3], [4, 5, 6], list(range(1, 30)), [9])
    asked = [Request(ids, replace(shared, seed=seed)) for seed, ids in enumerate(prompts)]
    for request, events in zip(asked, write(model, *asked, rows=3), strict=True):
        expected = naive(model, request)
        assert tokens(events) == [token for token, _ in expected]
        torch.testing.assert_close([e.logprob for e in events], [logp for _, logp in expected])


def test_a_bounded_model_writes_on_beyond_its_context(cache: Make) -> None:
    never_end = Sampling(max_tokens=50, min_tokens=50, seed=3)
    model = cache(7, context=8)
    asked = [Request([1] * length, never_end) for length in (0, 3, 7, 40)]
    for request, events in zip(asked, write(model, *asked, rows=3), strict=True):
        assert len(events) == 50
        assert tokens(events) == [token for token, _ in naive(model, request)]


def test_a_source_reaches_the_model(cache: Make) -> None:
    asked = [Request([1], Sampling(max_tokens=9, seed=1), source=ids) for ids in ([5], [3, 6])]
    model = cache(7, conditioning="encoder")
    for request, events in zip(asked, write(model, *asked), strict=True):
        assert tokens(events) == [token for token, _ in naive(model, request)]


def test_long_prompts_are_read_in_pieces(cache: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request([1, 2, 3, 4, 5] * 4, Sampling(max_tokens=5))
    whole = write(cache(7), request)
    monkeypatch.setattr("wenmo.decoding.engines.prefill.MAX_LOGITS", 21)
    assert write(cache(7), request) == whole


# -- rows come and go ----------------------------------------------------------------------------


def test_requests_are_added_and_cancelled_on_the_way(cache: Make) -> None:
    sampling = Sampling(max_tokens=6, min_tokens=6, seed=2)
    engine = AutoregressiveEngine(cache(7), rows=2)
    first, second, third = (engine.submit(Request([n], sampling)) for n in (1, 2, 3))
    assert {event.request for event in engine.step()} == {first, second}
    engine.cancel(first)
    engine.cancel(first)  # a second time does nothing
    assert {event.request for event in engine.step()} == {second, third}
    engine.cancel(third)
    late = engine.submit(Request([4], sampling))
    waiting = engine.submit(Request([5], sampling))
    engine.cancel(waiting)
    rest = list(engine.run())
    assert tokens([e for e in rest if e.request == late]) == [
        token for token, _ in naive(cache(7), Request([4], sampling))
    ]
    assert {event.request for event in rest} == {second, late}
    assert engine.step() == []


# -- what goes wrong -----------------------------------------------------------------------------


def test_an_id_outside_the_vocabulary_is_refused(table: Make) -> None:
    engine = AutoregressiveEngine(table(CHAIN))
    with pytest.raises(WenmoError, match="prompt has token 4, but the model's ids end at 3"):
        engine.submit(Request([1, 4]))
    with pytest.raises(WenmoError, match="logit_bias has token 9"):
        engine.submit(Request([1], Sampling(logit_bias=((9, 1.0),))))


def test_a_broken_model_is_told(table: Make) -> None:
    with pytest.raises(WenmoError, match="not numbers"):
        write(table(torch.full((4, 4), math.nan)), Request())


# -- prompts -------------------------------------------------------------------------------------


def count_reads(model: LanguageModel) -> list[tuple[int, int]]:
    """The (rows, time) of every forward pass of a model from now on."""
    read: list[tuple[int, int]] = []
    forward = model.forward

    def counted(tokens, state=None):
        read.append(tuple(tokens.shape))
        return forward(tokens, state)

    model.forward = counted
    return read


def recurrent(vocab_size: int = 40) -> LanguageModel:
    torch.manual_seed(0)
    return RecurrentConfig(embedding_size=16, hidden_size=16).build(vocab_size)


def transformer(vocab_size: int = 40) -> LanguageModel:
    torch.manual_seed(0)
    config = TransformerConfig(hidden_size=16, heads=2, layers=2, context_length=200)
    return config.build(vocab_size)


BOTH = pytest.mark.parametrize("build", [recurrent, transformer])


@BOTH
def test_a_prompt_that_many_requests_share_is_read_once(build: Make) -> None:
    model, prompt = build(), list(range(1, 30))
    asked = [Request(prompt, Sampling(max_tokens=5, min_tokens=5, seed=n)) for n in range(8)]
    expected = [tokens(write(build(), request)[0]) for request in asked]
    read = count_reads(model)
    assert [tokens(events) for events in write(model, *asked)] == expected
    assert sum(rows * time for rows, time in read) == 29 + 8 * 5


@BOTH
def test_a_prompt_that_was_read_before_is_not_read_again(build: Make) -> None:
    """Nor what two prompts have in common, for models that have the state there."""
    model, system = build(), [7, 3, 9, 2] * 16
    engine = AutoregressiveEngine(model)
    read = count_reads(model)

    def reads(prompt: list[int]) -> int:
        read.clear()
        sampling = Sampling(max_tokens=4, min_tokens=4, seed=1)
        number = engine.submit(Request(prompt, sampling))
        events = list(engine.run())
        assert {event.request for event in events} == {number}
        assert tokens(events) == tokens(write(build(), Request(prompt, sampling))[0])
        return sum(rows * time for rows, time in read) - 4

    first = reads([*system, 11, 12, 13])
    assert first == 67
    assert reads([*system, 11, 12, 13]) == 0
    assert reads([*system, 11, 12, 13, 14, 15]) == 2
    truncates = model.state_schema.can_truncate(model.initial_state(1))
    assert reads([*system, 21, 22]) == (1 if truncates else 65 - BLOCK + 1)
    assert reads([*system[:40], 21, 22]) == (1 if truncates else 42)
    engine.prefix_cache.clear()
    assert reads([*system, 11, 12, 13]) == 67


def test_the_prefix_cache_is_bounded() -> None:
    cache = PrefixCache(StateSchema(), max_bytes=1000)
    state = {"hidden": torch.zeros(2, 50)}  # 200 bytes a row
    for number in range(9):
        cache.store(None, [number] * 10, state, 1)
    assert len(cache) == 5
    assert cache.find(None, [3] * 12) is None
    found = cache.find(None, [4] * 12)
    assert found is not None
    assert found.length == 10
    cache.store(None, [9] * 10, state, 0)
    assert cache.find(None, [4] * 12) is not None  # it was used last, and [5] was forgotten
    assert cache.find(None, [5] * 12) is None
    cache.store(None, [1] * 10, {"hidden": torch.zeros(1, 90)}, 0)  # more than a quarter
    assert cache.find(None, [1] * 12) is None
    assert cache.find([1], [4] * 12) is None  # another source


def test_a_state_that_was_drawn_is_not_shared(cache: Make) -> None:
    """The model draws something from each request's seed before it reads."""
    asked = [Request([1] * 20, Sampling(max_tokens=3, min_tokens=3, seed=n)) for n in range(4)]
    for request, events in zip(asked, write(cache(7), *asked), strict=True):
        assert tokens(events) == [token for token, _ in naive(cache(7), request)]


@BOTH
def test_long_prompts_are_read_in_slices_beside_rows_that_write(build: Make) -> None:
    model = build()
    engine = AutoregressiveEngine(model)
    sampling = Sampling(max_tokens=40, min_tokens=40, seed=1)
    short = [engine.submit(Request([n], sampling)) for n in (1, 2, 3)]
    engine.step()
    read = count_reads(model)
    request = Request([5, 6, 7] * 40, sampling)
    late = engine.submit(request)
    events = []
    while engine.is_open(late):
        read.clear()
        step = engine.step()
        events += step
        if any(map(engine.is_open, short)):
            assert {event.request for event in step} >= set(short)  # nobody waits
        assert sum(rows * time for rows, time in read if time > 1) <= SLICE
    expected = tokens(write(build(), request)[0])
    assert tokens([event for event in events if event.request == late]) == expected


def test_a_request_that_fails_leaves_the_others_alone(table: Make) -> None:
    class DeadEnd:
        def __init__(self, written: int = 0) -> None:
            self.written = written

        def allowed(self):
            if self.written == 2:
                raise WenmoError("nothing may follow")

        def forced(self):
            return None

        def advance(self, token):
            self.written += 1

        def fork(self):
            return DeadEnd(self.written)

    engine = AutoregressiveEngine(table(CHAIN))
    greedy = Sampling(method="greedy")
    fails = engine.submit(Request((), greedy, constraint=DeadEnd()))
    goes_on = engine.submit(Request((), greedy))
    events = [event for _ in range(5) for event in engine.step()]
    assert tokens([e for e in events if e.request == goes_on]) == [1, 2, 3, 0]
    *written, last = [e for e in events if e.request == fails]
    assert tokens(written) == [1, 2]
    assert last.stopped_by == "error"
    assert str(last.error) == "nothing may follow"
    assert engine.is_idle
