"""Networks on counts, against the mixture written out, and counts that have not seen the text."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from wenmo.models import counts
from wenmo.models.hybrid import Hybrid, cross_fit, ngram_columns
from wenmo.models.hybrid_config import HybridConfig
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.models.seq2seq_config import Seq2seqConfig
from wenmo.text.batches import BatchesWithPriors, Streams, Windows
from wenmo.text.pairs import Buckets, Pairs
from wenmo.types import END, IGNORE, Batch

VOCAB, ORDER = 11, 4
COUNTS = NgramConfig(ORDER, totals=True)
NEAR = {"rtol": 1e-5, "atol": 1e-5}


def text(length: int, seed: int = 0) -> np.ndarray:
    """Ids in which the last two tokens tell something of the next."""
    rng, ids = np.random.default_rng(seed), [END]
    for _ in range(length):
        known = (3 * ids[-1] + (ids[-2] if len(ids) > 1 else 0)) % (VOCAB - 1) + 1
        ids.append(known if rng.random() < 0.7 else int(rng.integers(1, VOCAB)))
    return np.array([*ids, END], np.uint16)


def make() -> Hybrid:
    torch.manual_seed(0)
    network = RecurrentConfig("lstm", embedding_size=8, hidden_size=12, dropout=0.0)
    model = HybridConfig(network, COUNTS).build(VOCAB)
    model.counts.fit(text(600))
    torch.nn.init.normal_(model.gate.weight)
    return model.eval()


def by_order(ids: np.ndarray) -> list[np.ndarray]:
    """What each order says of every id after the first: models of that order, lower ones as they
    are within the highest.
    """
    model = COUNTS.build(VOCAB)
    model.fit(text(600))
    tables = []
    for order in range(1, ORDER + 1):
        shorter = NgramConfig(order).build(VOCAB)
        for name, tensor in model.named_buffers():
            kind, n = name.split("_")
            if int(n) < order or (int(n) == order and kind in ("keys", "prob")):
                shorter.register_buffer(name, tensor)
        tables.append(shorter.log_prob(ids))
    return tables


def test_each_order_says_what_a_model_of_that_order_would() -> None:
    model, ids = make().counts, text(50, seed=1)
    tokens, words = (torch.from_numpy(part.astype(np.int64))[None] for part in (ids[:-1], ids[1:]))
    said, context_features, _ = model.order_log_probs(tokens, words)
    assert context_features.shape == (1, len(ids) - 1, model.context_feature_count)
    expected = torch.from_numpy(np.stack(by_order(ids), 1)).float()
    torch.testing.assert_close(said[0], expected, **NEAR)


def test_the_mixture_written_out() -> None:
    """Every word of the vocabulary, by asking for each in turn."""
    model, ids = make(), torch.from_numpy(text(20, seed=2).astype(np.int64))[None]
    with torch.no_grad():
        logp, _ = model(ids)
        reading, _ = model.network.encode_tokens(ids)
        own = model.network.lm_head(reading).log_softmax(-1).exp()
        for word in range(VOCAB):
            said, context_features, _ = model.counts.order_log_probs(
                ids, torch.full_like(ids, word)
            )
            gates = model.gate(torch.cat([reading[0], context_features], -1)).softmax(-1)
            p = (gates[..., :-1] * said.exp()).sum(-1) + gates[..., -1] * own[..., word]
            torch.testing.assert_close(logp[..., word].exp(), p, **NEAR)


def test_breaks_have_weights_of_their_own() -> None:
    """The formula of the module, word by word; and the loss and the table say the same."""
    breaks = (END, 4)
    torch.manual_seed(0)
    network = RecurrentConfig("lstm", embedding_size=8, hidden_size=12, dropout=0.0)
    model = HybridConfig(network, COUNTS, breaks=breaks).build(VOCAB).eval()
    model.counts.fit(text(600))
    assert model.break_gate is not None
    for gate in (model.gate, model.break_gate):
        torch.nn.init.normal_(gate.weight)
    ids = torch.from_numpy(text(20, seed=2).astype(np.int64))[None]
    tokens, targets = ids[:, :-1], ids[:, 1:]
    with torch.no_grad():
        logp, _ = model(tokens)
        reading, _ = model.network.encode_tokens(tokens)
        own = model.network.lm_head(reading).log_softmax(-1).exp()
        voices = []
        for word in range(VOCAB):
            said, context_features, _ = model.counts.order_log_probs(
                tokens, torch.full_like(tokens, word)
            )
            voices.append(torch.cat([said.exp(), own[..., word, None]], -1))
        features = torch.cat([reading[0], context_features], -1)
        at_breaks, at_others = (g(features).softmax(-1) for g in (model.break_gate, model.gate))
        others = 1 - sum(voices[word] for word in breaks)
        for word, voice in enumerate(voices):
            if word in breaks:
                p = (at_breaks * voice).sum(-1)
            else:
                p = (at_breaks * others).sum(-1) * (at_others * voice / others).sum(-1)
            torch.testing.assert_close(logp[..., word].exp(), p, **NEAR)
        torch.testing.assert_close(logp.exp().sum(-1), torch.ones(tokens.shape), **NEAR)
        expected = -logp.gather(-1, targets[..., None]).mean()
        torch.testing.assert_close(model.loss(Batch(tokens, targets)).total, expected, **NEAR)
        columns, _ = ngram_columns(model.counts, tokens, targets, breaks, None)
        torch.testing.assert_close(
            model.loss(Batch(tokens, targets, prior_probs=columns)).total, expected, **NEAR
        )


@pytest.mark.parametrize("folds", [2, 5])
def test_a_part_is_scored_by_the_counts_of_the_others(folds: int) -> None:
    ids = text(300)
    table = cross_fit(ids, COUNTS, VOCAB, folds=folds)
    assert table.shape == (len(ids) - 1, ORDER + make().counts.context_feature_count)
    edges = np.linspace(0, len(ids) - 1, folds + 1).astype(int)
    for begin, stop in pairwise(edges):
        others = COUNTS.build(VOCAB)
        others.fit(np.concatenate([ids[: begin + 1], ids[stop + 1 :]]))
        expected = others.log_prob(ids)[begin:stop]
        np.testing.assert_allclose(table[begin:stop, ORDER - 1], expected, rtol=2e-3, atol=2e-3)


def test_the_first_parts_are_scored_alone() -> None:
    ids = text(300)
    whole = cross_fit(ids, COUNTS, VOCAB, folds=4)
    some = cross_fit(ids, COUNTS, VOCAB, folds=4, folds_used=2)
    np.testing.assert_array_equal(some, whole[: len(some)])
    model = HybridConfig(RecurrentConfig(embedding_size=4, hidden_size=4), COUNTS, 4, 2).build(
        VOCAB
    )
    assert model.trainable_length(len(ids)) == 1 + len(some) < len(ids)
    np.testing.assert_array_equal(model.fit_prior(ids), some)


def test_a_large_table_lies_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = text(300)
    expected = cross_fit(ids, COUNTS, VOCAB, folds=3)
    monkeypatch.setattr(counts, "MAX_ARRAY_BYTES", 100)
    table = cross_fit(ids, COUNTS, VOCAB, folds=3)
    assert isinstance(table, np.memmap)
    np.testing.assert_array_equal(table, expected)


def test_a_text_that_was_counted_seems_likelier_than_it_is() -> None:
    """Why the weights must not be learnt from the counts of the text itself."""
    ids, new = text(6000), text(6000, seed=3)
    counts = COUNTS.build(VOCAB)
    counts.fit(ids)
    fitted = cross_fit(ids, COUNTS, VOCAB, folds=10)[:, ORDER - 1].astype(np.float64)
    assert counts.log_prob(ids).mean() > counts.log_prob(new).mean() + 0.1
    assert fitted.mean() == pytest.approx(counts.log_prob(new).mean(), abs=0.05)


@pytest.mark.parametrize("kind", ["streams", "windows"])
def test_batches_carry_what_is_said_of_their_targets(kind: str) -> None:
    ids = text(200)
    table = np.arange(len(ids) - 1)[:, None].astype(np.float32)  # each token's own place
    batches = Streams(ids, 3, 7) if kind == "streams" else Windows(ids, 3, 7)
    for number in range(12):
        batch = BatchesWithPriors(batches, table)[number]
        places = batch.prior_probs[..., 0].long().numpy()
        np.testing.assert_array_equal(ids[places + 1], batch.targets.numpy())


@pytest.mark.parametrize("conditioning", ["encoder", "prefix"])
def test_pairs_carry_what_is_said_of_their_targets(conditioning: str) -> None:
    rng = np.random.default_rng(0)
    parts = [[END, *rng.integers(1, VOCAB, rng.integers(1, 6))] for _ in range(24)]
    pairs = Pairs(np.array([i for part in parts for i in part] + [END], np.uint16), conditioning)
    stream = pairs.stream()
    table = np.arange(len(stream) - 1)[:, None].astype(np.float32)
    for batch in Buckets(pairs, 30).once():
        asked = batch.targets != IGNORE
        places = batch.positions[asked].numpy()
        np.testing.assert_array_equal(stream[places + 1], batch.targets[asked].numpy())
        counted = BatchesWithPriors({0: batch}, table)[0].prior_probs
        np.testing.assert_array_equal(counted[asked][:, 0].numpy(), places)


def test_the_loss_takes_what_the_batch_carries() -> None:
    """The same figures, given or asked for, make the same loss; gradients reach all weights."""
    model, ids = make(), torch.from_numpy(text(30, seed=4).astype(np.int64))[None]
    batch = Batch(ids[:, :-1], ids[:, 1:])
    said, context_features, _ = model.counts.order_log_probs(batch.tokens, batch.targets)
    given = Batch(ids[:, :-1], ids[:, 1:], prior_probs=torch.cat([said, context_features], 2))
    loss = model.loss(given)
    torch.testing.assert_close(loss.metrics["nats"], model.loss(batch).metrics["nats"], **NEAR)
    loss.total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_source_and_counts_of_the_target_side() -> None:
    """An encoder–decoder on counts scores as it writes."""
    torch.manual_seed(0)
    model = HybridConfig(Seq2seqConfig(embedding_size=8, hidden_size=12, copy=True), COUNTS).build(
        VOCAB
    )
    model.fit_prior(text(400))
    source = torch.tensor([[3, 4, 5, END], [7, END, IGNORE, IGNORE]])
    ids = torch.from_numpy(text(13, seed=5).astype(np.int64))[None].repeat(2, 1)
    batch = Batch(ids[:, :-1], ids[:, 1:], source=source)
    model.eval()
    with torch.no_grad():
        logp, _ = model(batch.tokens, model.initial_state(2, source=source))
        score = model.score(batch)
    nats = -logp.gather(2, batch.targets[..., None])[..., 0].double().sum(1)
    torch.testing.assert_close(score.nats, nats, **NEAR)
