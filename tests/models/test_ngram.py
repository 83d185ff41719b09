"""n-grams against a literal reading of the equations, worked cases, and a known perplexity."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from wenmo.models import counts
from wenmo.models.counts import _sort, count_grams
from wenmo.models.ngram import HISTORY, Ngram
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.state import join, select
from wenmo.types import IGNORE, Batch, WenmoError

VOCAB = 6  # id 5 is never seen in the generated texts
TEXTS = st.lists(st.lists(st.integers(1, 4), max_size=8), min_size=1, max_size=8)
PRUNES = st.sampled_from([(), (0,), (0, 1), (1,), (0, 0, 2), (0, 1, 1, 2)])


def stream(texts: list[list[int]]) -> np.ndarray:
    """END, a text, END, a text, END."""
    return np.array([0] + [i for text in texts for i in (*text, 0)], np.uint16)


def fitted(texts: list[list[int]], order: int = 3, prune: tuple[int, ...] = ()) -> Ngram:
    model = NgramConfig(order, prune).build(VOCAB)
    model.fit(stream(texts))
    return model


class Literal:
    """The equations of Chen & Goodman (1999) with Python dictionaries, one term at a time."""

    def __init__(self, texts: list[list[int]], order: int, prune: tuple[int, ...]) -> None:
        self.order, self.counts = order, Counter[tuple[int, ...]]()
        for text in texts:
            ids = (0, *text, 0)
            for i in range(1, len(ids)):
                self.counts.update(ids[i + 1 - n : i + 1] for n in range(1, min(order, i + 1) + 1))
        cutoffs = [*prune, *[prune[-1] if prune else 0] * order]
        self.kept = {g for g, count in self.counts.items() if count > cutoffs[len(g) - 1]}
        self.adjusted = {g: self._adjusted(g) for g in self.counts}
        self.discounts = [self._discount(n) for n in range(1, order + 1)]

    def _adjusted(self, gram: tuple[int, ...]) -> int:
        if len(gram) == self.order or (gram[0] == 0 and len(gram) > 1):
            return self.counts[gram]
        return sum((before, *gram) in self.counts for before in range(VOCAB))

    def _discount(self, n: int) -> list[float]:
        number = Counter(a for g, a in self.adjusted.items() if len(g) == n)
        if number[1] and number[2] and number[3]:
            y = number[1] / (number[1] + 2 * number[2])
            found = [k - (k + 1) * y * number[k + 1] / number[k] for k in (1, 2, 3)]
            if min(found) > 0:
                return [0, *found]
        return [0, 0.5, 1, 1.5]

    def prob(self, history: tuple[int, ...], word: int) -> float:
        lower = self.prob(history[1:], word) if history else 1 / VOCAB
        seen = {w: (*history, w) for w in range(VOCAB) if (*history, w) in self.counts}
        total = sum(self.adjusted[g] for g in seen.values())
        if not total:
            return lower
        discount = self.discounts[len(history)]
        own = dict.fromkeys(range(VOCAB), 0.0)
        for w, g in seen.items():
            if g in self.kept:
                own[w] = self.adjusted[g] - discount[min(self.adjusted[g], 3)]
        return own[word] / total + (1 - sum(own.values()) / total) * lower

    def history(self, ids: list[int]) -> tuple[int, ...]:
        """What counts of the ids read: the last few, from the last END."""
        last = max((i for i, w in enumerate(ids) if w == 0), default=0)
        return tuple(ids[last:][-(self.order - 1) :]) if self.order > 1 else ()


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(1, 5), PRUNES, st.lists(st.integers(0, 5), min_size=1, max_size=10))
def test_equals_the_equations_and_sums_to_one(
    texts: list[list[int]], order: int, prune: tuple[int, ...], read: list[int]
) -> None:
    model, literal = fitted(texts, order, prune), Literal(texts, order, prune)
    tokens = torch.tensor([read])
    logp = model(tokens)[0][0].double()
    expected = [
        [literal.prob(literal.history(read[: i + 1]), w) for w in range(VOCAB)]
        for i in range(len(read))
    ]
    assert logp.exp().numpy() == pytest.approx(np.array(expected), rel=1e-5)
    assert logp.exp().sum(1).numpy() == pytest.approx(1, abs=1e-5)
    for word in range(VOCAB):  # the sparse look-up of a word equals the dense distribution
        score = model.score(Batch(tokens, torch.full_like(tokens, word)))
        assert score.nats.item() == pytest.approx(-logp[:, word].sum().item(), rel=1e-5)
    score = model.score(Batch(tokens[:, :-1], tokens[:, 1:]))  # and so it does along the text
    along = logp[:-1].gather(1, tokens[0, 1:, None]).sum().item()
    assert score.nats.item() == pytest.approx(-along, rel=1e-5, abs=1e-6)


def test_worked_by_hand_with_the_fallback_discounts() -> None:
    model = NgramConfig(order=2).build(3)
    model.fit(np.array([0, 1, 2, 0], np.uint8))  # bigrams <s> 1, 1 2, 2 </s>: once each
    p = model(torch.tensor([[0]]))[0].exp().flatten().tolist()
    # p(1 | <s>) = (1 - 0.5) / 1 + 0.5 p(1), and p(1) = (1 - 0.5) / 3 + 0.5 / 3 = 1/3
    assert p == pytest.approx([1 / 6, 2 / 3, 1 / 6])
    assert model.parameter_count() == 3 + 3


def test_worked_by_hand_with_estimated_discounts() -> None:
    words = [1, 2, 3] + [4, 5] * 2 + [6] * 3 + [7] * 4  # and </s> once: n1..n4 = 4, 2, 1, 1
    model = NgramConfig(order=1).build(8)
    model.fit(np.array([0, *words, 0], np.uint8))
    # Y = 4 / 8; D1 = 1 - 2Y 2/4 = 0.5, D2 = 2 - 3Y 1/2 = 1.25, D3+ = 3 - 4Y 1/1 = 1
    left = (4 * 0.5 + 2 * 1.25 + 1 + 1) / 8
    taken = [0.5, 0.5, 0.5, 0.5, 0.75, 0.75, 2, 3]
    p = model(torch.tensor([[0]]))[0].exp().flatten().tolist()
    assert p == pytest.approx([(own + left) / 15 for own in taken])


def test_an_unfitted_model_is_uniform() -> None:
    logits, _ = NgramConfig().build(4)(torch.tensor([[0, 3]]))
    assert logits.exp().flatten().tolist() == pytest.approx([0.25] * 8)


TINY = [[1, 2, 3, 1, 2], [2, 3, 1, 2, 4], [], [1, 2, 3]] * 2


@pytest.mark.parametrize("order", [1, 2, 4])
def test_reading_in_chunks_equals_reading_at_once(order: int) -> None:
    model = fitted(TINY, order)
    tokens = torch.tensor([[0, 1, 2, 0, 0, 1, 2, 3, 1], [3, 1, 2, 4, 0, 2, 3, 5, 1]])
    whole, after = model(tokens)
    state, parts = model.initial_state(2), []
    for chunk in tokens.split([1, 1, 3, 4], dim=1):
        before = {name: tensor.clone() for name, tensor in state.items()}
        logits, new = model(chunk, state)
        assert all(torch.equal(state[name], before[name]) for name in before)  # left as it was
        parts.append(logits)
        state = new
    assert torch.equal(torch.cat(parts, 1), whole)
    assert torch.equal(state[HISTORY], after[HISTORY])


def test_states_can_be_picked_and_joined() -> None:
    model = fitted(TINY)
    _, state = model(torch.tensor([[0, 1, 2], [3, 1, 5]]))
    _, other = model(torch.tensor([[2, 3]]))
    mixed = select(join([state, other]), [2, 0, 0])
    logits, _ = model(torch.tensor([[1], [3], [4]]), mixed)
    alone = [[2, 3, 1], [0, 1, 2, 3], [0, 1, 2, 4]]
    for row, text in zip(logits, alone, strict=True):
        assert torch.equal(row[-1], model(torch.tensor([text]))[0][0, -1])


def test_no_text_begun_is_not_the_beginning_of_a_text() -> None:
    model = fitted([[1, 2]] * 5 + [[3, 1]])
    begun, unbegun = model(torch.tensor([[0, 1]]))[0], model(torch.tensor([[1]]))[0]
    assert not torch.allclose(begun[0, 1], unbegun[0, 0])


def test_score_skips_what_is_not_asked_and_carries_its_state() -> None:
    model = fitted(TINY)
    tokens = torch.tensor([[0, 1, 2, 3], [0, 2, 3, 1]])
    targets = torch.tensor([[IGNORE, 2, 3, IGNORE], [2, 3, 1, 2]])
    whole = model.score(Batch(tokens, targets))
    first = model.score(Batch(tokens[:, :2], targets[:, :2]))
    second = model.score(Batch(tokens[:, 2:], targets[:, 2:]), first.state)
    assert whole.tokens.tolist() == [2, 4]
    assert torch.allclose(first.nats + second.nats, whole.nats)
    loss = model.loss(Batch(tokens, targets))
    assert loss.total.item() == pytest.approx(whole.nats.sum().item() / 6)


def test_log_prob_of_a_stream() -> None:
    model, ids = fitted(TINY), stream([[1, 2, 5], [], [2, 3]])
    tokens = torch.from_numpy(ids.astype(np.int64))[None]
    dense = model(tokens[:, :-1])[0][0].gather(1, tokens[0, 1:, None])[:, 0]
    assert model.log_prob(ids) == pytest.approx(dense.double().numpy(), rel=1e-5)


def test_pruning_drops_the_rare() -> None:
    literal = Literal(TINY, 3, (0, 2))
    model = fitted(TINY, 3, (0, 2))
    kept = sum(len(gram) > 1 for gram in literal.kept)
    assert 0 < kept < sum(len(gram) > 1 for gram in literal.counts)
    assert model.parameter_count() == VOCAB + kept


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.integers(1, 5), st.integers(0, 2000))
def test_counting_on_disk_equals_counting_in_memory(
    texts: list[list[int]], order: int, memory: int
) -> None:
    ids = stream(texts)
    whole = count_grams(ids, order, VOCAB)
    pieces = count_grams(ids, order, VOCAB, memory=memory)
    for a, b in zip(whole, pieces, strict=True):
        for name in ("keys", "counts", "suffix"):
            assert np.array_equal(getattr(a, name), getattr(b, name))
            assert getattr(b, name).dtype == np.int64


def test_counting_many_ids_at_order_7_on_disk(tmp_path: Path) -> None:
    vocab, order, rng = 60_000, 7, np.random.default_rng(0)
    texts = rng.choice(rng.integers(1, vocab, 40), (60, 25)).tolist()
    np.save(tmp_path / "ids.npy", stream(texts))
    fractions: list[float] = []
    grams = count_grams(
        np.load(tmp_path / "ids.npy", mmap_mode="r"),
        order,
        vocab,
        memory=50_000,
        progress=fractions.append,
    )
    expected = Literal(texts, order, ()).counts
    spelled = [(int(w),) for w in grams[0].keys]
    for n, these in enumerate(grams, 1):
        if n > 1:
            context, word = np.divmod(these.keys, vocab)
            below, spelled = spelled, [(*spelled[c], int(w)) for c, w in zip(context, word)]  # noqa: B905
            assert [gram[1:] for gram in spelled] == [below[s] for s in these.suffix]
        found = {g: c for g, c in zip(spelled, these.counts.tolist(), strict=True) if c}
        assert found == {g: c for g, c in expected.items() if len(g) == n}
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_sorting_keys_too_large_to_pack() -> None:
    keys = np.array([1 << 61, 5, 1 << 62, 5])
    ordered, where = _sort(keys)
    assert ordered.tolist() == [5, 5, 1 << 61, 1 << 62]
    assert np.array_equal(keys[where], ordered)


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    model = fitted(TINY, 4)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    loaded, tensors = NgramConfig(order=4).build(VOCAB), load_file(tmp_path / "model.safetensors")
    loaded.load_state_dict(tensors)
    for name, tensor in tensors.items():  # it stays in the file
        assert loaded.get_buffer(name).data_ptr() == tensor.data_ptr()
    tokens = torch.tensor([[0, 1, 2, 3, 0, 1]])
    assert torch.equal(loaded(tokens)[0], model(tokens)[0])
    assert loaded.parameter_count() == model.parameter_count()


def test_large_tables_lie_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fitted(TINY, 4)
    monkeypatch.setattr(counts, "MAX_ARRAY_BYTES", 10)
    model = fitted(TINY, 4)
    tokens = torch.tensor([[0, 1, 2, 3, 0, 1]])
    assert torch.equal(model(tokens)[0], expected(tokens)[0])
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), expected.buffers(), strict=True))


def test_weights_that_do_not_fit_are_refused() -> None:
    good = fitted(TINY, 3).state_dict()
    bad = {
        "keys_3": [
            {k: v for k, v in good.items() if k != "keys_3"},
            good | {"keys_3": good["keys_3"].flip(0)},
            good | {"keys_3": good["keys_3"] + 10**6},
            good | {"keys_3": good["keys_3"].int()},
        ],
        "keys_4": [fitted(TINY, 4).state_dict()],
        "order 2": [good | {"prob_2": good["prob_2"][1:]}],
        "order 1": [NgramConfig(order=3).build(VOCAB + 1).state_dict()],
    }
    for message, states in bad.items():
        for state in states:
            model = NgramConfig(order=3).build(VOCAB)
            with pytest.raises(WenmoError, match=message):
                model.load_state_dict(state)
            assert model.parameter_count() == VOCAB  # nothing half-loaded


@pytest.mark.parametrize(
    ("ids", "message"),
    [([], "need a text"), ([0], "need a text"), ([1, 0], "begin with END"), ([0, 6, 0], "id 6")],
)
def test_streams_that_cannot_be_counted(ids: list[int], message: str) -> None:
    with pytest.raises(WenmoError, match=message):
        NgramConfig().build(VOCAB).fit(np.array(ids, np.uint8))


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="order"):
        NgramConfig(order=0)
    for prune in [(1, 0), (-1,)]:
        with pytest.raises(ValueError, match="prune"):
            NgramConfig(prune=prune)


def test_perplexity_of_penn_treebank(data: Path) -> None:
    """Order 5, 10,000 words and </s>: 141.19 is the figure to keep."""
    train = gzip.decompress((data / "lm/ptb/train.txt.gz").read_bytes()).decode()
    test = (data / "lm/ptb/test.txt").read_text(encoding="utf-8")
    ids = {"\n": 0}
    streams = []
    for text in (train, test):
        words = " ".join(f"{line} \n" for line in text.splitlines()).split(" ")
        words = ["\n", *(word for word in words if word)]
        streams.append(np.array([ids.setdefault(word, len(ids)) for word in words], np.uint16))
    model = NgramConfig(order=5).build(len(ids))
    model.fit(streams[0])
    logp = model.log_prob(streams[1])
    assert len(logp) == 82_430
    assert np.exp(-logp.mean()) == pytest.approx(141.19, abs=0.15)
