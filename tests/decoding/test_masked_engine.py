"""Letting hidden tokens appear, on models whose every probability is known."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wenmo.decoding.constraints.utf8 import Utf8Vocabulary
from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.engines.masked import SHORTER, MaskedEngine
from wenmo.decoding.engines.router import Router, engine_for
from wenmo.decoding.noise import hash_bits, uniform
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import Infills
from wenmo.types import END, SpecialTokens, WenmoError

VOCAB, TIME = 3, 3


class Joint(LanguageModel, Infills):
    """A table of the probabilities of all texts of so many tokens behind END, none of which is
    END: what is hidden follows from what is seen by Bayes' rule.
    """

    conditioning = "none"
    special_tokens = SpecialTokens(source_suffix=())

    def __init__(self, time: int = TIME) -> None:
        super().__init__()
        self.vocab_size, self.context = VOCAB + 1, time
        self.texts = torch.tensor(list(product([0], *[range(1, VOCAB + 1)] * time)))
        self.p = torch.from_numpy(np.random.default_rng(0).dirichlet([0.7] * len(self.texts)))
        self.looks: list[Tensor] = []

    def initial_state(self, batch_size, *, source=None, capacity=0, generator=None):
        raise AssertionError("not asked for")

    forward = initial_state

    def fill(self, tokens, hidden, positions):
        self.looks.append(hidden.clone())
        texts = self.texts[:, : tokens.shape[1]]
        fits = ((texts[None] == tokens[:, None]) | hidden[:, None]).all(2).double()
        weight = fits * self.p
        stands = torch.nn.functional.one_hot(texts, self.vocab_size).double()
        return torch.einsum("rn,ntv->rtv", weight, stands).log().float()[positions]


def as_expected(seen: list[int], expected: np.ndarray | list[float]) -> bool:
    """Whether Pearson's statistic is within three standard deviations of its mean."""
    statistic = sum((s - e) ** 2 / e for s, e in zip(seen, expected, strict=True))
    freedom = len(seen) - 1
    return bool(statistic < freedom + 3 * (2 * freedom) ** 0.5)


def write(model: LanguageModel, requests: list[Request], rows: int = 64) -> list[tuple[int, ...]]:
    engine = MaskedEngine(model, rows=rows)
    texts: dict[int, list[int]] = {engine.submit(request): [] for request in requests}
    for event in engine.run():
        texts[event.request].append(event.token)
    return [tuple(text) for text in texts.values()]


def asked(seed: int, **options: object) -> Request:
    rest = {name: options.pop(name) for name in ("prompt", "suffix") if name in options}
    length = TIME - len(rest.get("prompt", ()))
    return Request(sampling=Sampling(max_tokens=length, seed=seed, **options), **rest)


@pytest.mark.parametrize(
    "way", [{}, {"remask": True}, {"unmask_schedule": "cosine"}], ids=["plain", "remask", "cosine"]
)
def test_one_token_at_a_time_draws_from_the_joint_distribution(way: dict[str, object]) -> None:
    model, count = Joint(), 3000
    drawn = Counter(write(model, [asked(seed, **way) for seed in range(count)], rows=1000))
    seen = [drawn[tuple(text[1:].tolist())] for text in model.texts]
    assert sum(seen) == count
    assert as_expected(seen, model.p.numpy() * count)


def test_a_gap_is_drawn_given_both_sides() -> None:
    model, count = Joint(), 2000
    requests = [asked(seed, prompt=[2], suffix=[1], gap_tokens=1) for seed in range(count)]
    drawn = Counter(write(model, requests, rows=1000))
    given_both = torch.stack(
        [model.p[(model.texts == torch.tensor([0, 2, x, 1])).all(1)][0] for x in (1, 2, 3)]
    )
    expected = (given_both / given_both.sum() * count).numpy()
    assert as_expected([drawn[x,] for x in (1, 2, 3)], expected)


def test_all_at_once_draws_every_place_for_itself() -> None:
    model, count = Joint(), 2000
    drawn = write(model, [asked(seed, unmask_steps=1) for seed in range(count)], rows=1000)
    assert len(model.looks) == 2
    for place in range(TIME):
        seen = Counter(text[place] for text in drawn)
        expected = [float(model.p[model.texts[:, place + 1] == x].sum()) * count for x in (1, 2, 3)]
        assert as_expected([seen[x] for x in (1, 2, 3)], expected)


def test_the_surest_appear_first() -> None:
    model = Joint()
    [text] = write(model, [asked(0, method="greedy", unmask_order="confidence")])
    tokens, hidden = torch.tensor([[0, 0, 0, 0]]), torch.tensor([[False, True, True, True]])
    while hidden.any():
        logp = model.fill(tokens, hidden, hidden).log_softmax(1).max(1)
        best = hidden[0].nonzero()[logp.values.argmax()]
        tokens[0, best], hidden[0, best] = logp.indices[logp.values.argmax()], False
    assert text == tuple(tokens[0, 1:].tolist())


def test_from_the_left_the_first_hidden_place_is_next() -> None:
    model = Joint()
    write(model, [asked(0, prompt=[1], suffix=[], gap_tokens=2, unmask_order="left")])
    assert [look[0].tolist() for look in model.looks] == [
        [False, False, True, True],
        [False, False, False, True],
    ]


def test_what_has_appeared_stays_unless_it_may_change() -> None:
    for remask in (False, True):
        model = Joint()
        for seed in range(20):
            model.looks.clear()
            write(model, [asked(seed, remask=remask)])
            hidden = torch.cat(model.looks).int()
            back = bool((hidden.diff(dim=0) > 0).any())
            if back:
                break
        assert back == remask


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(5)), rows=st.integers(1, 5))
def test_a_request_gives_the_same_text_in_any_company(order: list[int], rows: int) -> None:
    requests = [
        asked(1),
        asked(2, temperature=0.7),
        asked(3, unmask_steps=2, unmask_order="confidence"),
        asked(4, prompt=[1], suffix=[2], gap_tokens=1),
        asked(5, prompt=[3]),
    ]
    alone = [write(Joint(), [request])[0] for request in requests]
    together = write(Joint(), [requests[number] for number in order], rows)
    assert together == [alone[number] for number in order]


class Hashes(LanguageModel, Infills):
    """Logits are a hash of all that is seen and of the place."""

    conditioning = "none"
    special_tokens = SpecialTokens(source_suffix=())

    def __init__(self, vocab_size: int, context: int) -> None:
        super().__init__()
        self.vocab_size, self.context = vocab_size, context
        self.widest = 0

    def initial_state(self, batch_size, *, source=None, capacity=0, generator=None):
        return {"last": torch.zeros(batch_size, dtype=torch.long)}

    def forward(self, tokens, state=None):
        return torch.zeros(*tokens.shape, self.vocab_size), {"last": tokens[:, -1]}

    def fill(self, tokens, hidden, positions):
        self.widest = max(self.widest, tokens.shape[1])
        assert tokens.shape[1] <= self.context + 1
        keys = torch.zeros(len(tokens), dtype=torch.long)
        for column in tokens.masked_fill(hidden, -1).T:
            keys = hash_bits(keys + column + 1)
        flat = hash_bits(keys[:, None] + torch.arange(tokens.shape[1])).flatten()
        return uniform(flat, self.vocab_size).view(*tokens.shape, -1)[positions] * 6


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 70), prompt=st.integers(0, 40), seed=st.integers(0, 99))
def test_long_texts_are_written_in_canvases_that_the_model_can_read(
    length: int, prompt: int, seed: int
) -> None:
    model = Hashes(9, 16)
    sampling = Sampling(max_tokens=length, min_tokens=length, seed=seed, unmask_steps=3)
    [text] = write(model, [Request([3] * prompt, sampling)])
    assert len(text) == length
    assert END not in text[:-1]
    assert model.widest <= 17


def test_a_text_ends_at_its_end() -> None:
    engine = MaskedEngine(Hashes(4, 40))
    number = engine.submit(Request([], Sampling(max_tokens=40, min_tokens=3, seed=3)))
    events = list(engine.run())
    assert [event.token == END for event in events] == [False] * (len(events) - 1) + [True]
    assert [event.stopped_by for event in events] == [None] * (len(events) - 1) + ["end"]
    assert len(events) > 3
    assert {event.request for event in events} == {number}


def test_the_length_of_a_gap_is_the_likeliest_given_both_sides() -> None:
    """By Bayes' rule, on a model whose every probability is known: what is in the gap is summed
    over, and does not make long gaps less likely than short ones.
    """
    model, chosen = Joint(6), set()
    for prompt, suffix in product(([], [2]), map(list, product((1, 2, 3), repeat=2))):

        def likelihood(size: int, begun: list[int] = prompt, follow: list[int] = suffix) -> float:
            head, first = 1 + len(begun), 1 + len(begun) + size
            given = (model.texts[:, 1:head] == torch.tensor(begun)).all(1)
            follows = model.texts[:, first : first + len(follow)] == torch.tensor(follow)
            fits = model.p[given & follows.all(1)].sum() / model.p[given].sum()
            return float(fits) * math.exp(-SHORTER * size)

        [written] = write(model, [Request(prompt, Sampling(max_tokens=6), suffix=suffix)])
        assert len(written) == max((1, 2, 3), key=likelihood)
        chosen.add(len(written))
    assert len(chosen) > 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_what_is_spelled_in_bytes_is_utf8(seed: int) -> None:
    table = [b"", *(bytes([byte]) for byte in range(256)), "春".encode(), "月光".encode(), b""]
    engine = MaskedEngine(Hashes(len(table), 40))
    characters = Utf8Vocabulary(table)
    sampling = Sampling(max_tokens=12, seed=seed, unmask_steps=4)
    engine.submit(Request([], sampling, characters=characters))
    engine.submit(
        Request([257], Sampling(seed=seed, gap_tokens=5), suffix=[258], characters=characters)
    )
    texts: dict[int, list[int]] = {0: [], 1: []}
    for event in engine.run():
        texts[event.request].append(event.token)
        assert event.token != len(table) - 1  # spells nothing
    for text in texts.values():
        spelled = b"".join(table[token] for token in text)
        cut = spelled.decode("utf-8", "ignore").encode()
        assert spelled.startswith(cut)
        assert len(spelled) - len(cut) < 4  # a character that the text breaks off in


def test_who_writes() -> None:
    model = Hashes(4, 9)
    left, beam = Sampling(unmask_order="left"), Sampling(method="beam")
    for sampling, suffix, kind in (
        (Sampling(), None, MaskedEngine),
        (left, None, AutoregressiveEngine),
        (beam, None, AutoregressiveEngine),
        (left, [1], MaskedEngine),
    ):
        request = Request([1], sampling, suffix=suffix)
        assert engine_for(model, request) is kind


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_company_does_not_change_how_a_request_is_written(order: list[int]) -> None:
    """A gap beside a beam: each has the engine, the text and the probabilities it has alone."""
    requests = [
        Request([1], Sampling(method="beam", max_tokens=4)),
        Request([1], Sampling(seed=3, gap_tokens=2), suffix=[2]),
        Request([1], Sampling(seed=3, unmask_order="left", max_tokens=4)),
    ]

    def written(requests: list[Request]) -> list[list[tuple[int, float]]]:
        router = Router(Hashes(5, 20), rows=4)
        texts: dict[int, list[tuple[int, float]]] = {router.submit(each): [] for each in requests}
        for event in router.run():
            texts[event.request].append((event.token, event.logprob))
        return list(texts.values())

    alone = [written([request])[0] for request in requests]
    assert written([requests[number] for number in order]) == [alone[number] for number in order]


def test_a_beam_does_not_fill_a_gap() -> None:
    router = Router(Hashes(5, 20))
    with pytest.raises(WenmoError, match="beam search cannot fill a gap: use method=sample"):
        router.submit(Request([1], Sampling(method="beam"), suffix=[2]))


def test_what_makes_no_sense_is_told() -> None:
    engine = MaskedEngine(Hashes(4, 9))
    with pytest.raises(WenmoError, match=r"frequency_penalty: .*unmask_order=left"):
        engine.submit(Request([], Sampling(frequency_penalty=0.5)))
    with pytest.raises(WenmoError, match="text behind the gap has token 7"):
        engine.submit(Request([], Sampling(), suffix=[7]))
    engine.submit(Request([], Sampling(gap_tokens=12), suffix=[1]))
    with pytest.raises(WenmoError, match="a gap of 12 tokens leaves no room"):
        list(engine.run())
