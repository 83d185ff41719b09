"""The recurrent encoder–decoder against its papers' equations, row by row and step by step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from wenmo.models.capabilities import parameter_count
from wenmo.models.recurrent import CARRIED
from wenmo.models.recurrent_config import GATES, Cell
from wenmo.models.seq2seq import Encoder, Seq2seq, mix_copy
from wenmo.models.seq2seq_config import AttentionType, Seq2seqConfig
from wenmo.text.batches import pad
from wenmo.types import END, IGNORE, Batch

VOCAB, EMBEDDING, HIDDEN = 9, 4, 6
SOURCE = pad([[3, 4, 5, 4, END], [7, END], [1, 8, 1, END]], IGNORE)
IDS = torch.tensor([[0, 3, 4, 6], [0, 2, 2, 7], [0, 1, 5, 8]])
NEAR = {"rtol": 1e-5, "atol": 1e-6}

every_cell = pytest.mark.parametrize("cell", GATES)


def make(**settings: object) -> Seq2seq:
    """A model whose weights and biases are all random, so that none can be left out unnoticed."""
    small = {"embedding_size": EMBEDDING, "hidden_size": HIDDEN, "dropout": 0.0}
    model = Seq2seqConfig(**{**small, **settings}).build(VOCAB)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.5)
    return model.eval()


def row_of(source: Tensor, row: int) -> Tensor:
    return source[row][source[row] != IGNORE]


# -- the equations -------------------------------------------------------------------------------


def gru(layer: nn.Module, x: Tensor, h: Tensor) -> Tensor:
    """Cho et al. (2014) as the framework has it: h' = (1 - z) n + z h."""
    gate_x = (layer.input_weight @ x + layer.input_bias).chunk(3)
    gate_h = (layer.hidden_weight @ h + layer.hidden_bias).chunk(3)
    r, z = (torch.sigmoid(gate_x[i] + gate_h[i]) for i in range(2))
    n = torch.tanh(gate_x[2] + r * gate_h[2])
    return (1 - z) * n + z * h


def read_source(model: Seq2seq, ids: Tensor) -> tuple[list[Tensor], Tensor]:
    """What one layer of GRUs makes of a source: a vector for each place, and h before the text."""
    forward, backward = (direction[0] for direction in model.encoder.directions)
    embedding = model.source_embedding or model.embedding
    ahead, behind = [torch.zeros(HIDDEN)], [torch.zeros(HIDDEN)]
    for i in ids:
        ahead.append(gru(forward, embedding.weight[i], ahead[-1]))
    for i in ids.flip(0):
        behind.append(gru(backward, embedding.weight[i], behind[-1]))
    places = [torch.cat(both) for both in zip(ahead[1:], behind[:0:-1], strict=True)]
    bridge = model.encoder.bridge[0]
    return places, torch.tanh(bridge.weight @ torch.cat([ahead[-1], behind[-1]]) + bridge.bias)


def look(scores: list[Tensor], places: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Softmax and weighted sum, one place after the other."""
    total = sum(score.exp() for score in scores)
    weights = [score.exp() / total for score in scores]
    return sum(a * h for a, h in zip(weights, places, strict=True)), torch.stack(weights)


def score_of(model: Seq2seq, q: Tensor, h: Tensor, covered: Tensor) -> Tensor:
    """Bahdanau et al. (2015), section A.1.2; Luong et al. (2015), equation 8; See et al., 11."""
    attention, kind = model.attention, model.config.attention
    if kind == "dot":
        return q @ h
    if kind == "general":
        return q @ attention.key.weight @ h
    summed = attention.key.weight @ h + attention.key.bias + attention.query.weight @ q
    if attention.coverage is not None:
        summed = summed + attention.coverage.weight[:, 0] * covered
    return attention.score.weight[0] @ torch.tanh(summed)


def word_scores(model: Seq2seq, readout: Tensor) -> Tensor:
    if model.config.tie_embeddings:
        return model.embedding.weight @ (model.project.weight @ readout) + model.bias
    return model.head.weight @ readout + model.bias


def bahdanau(model: Seq2seq, source: Tensor, text: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Attend with s before the step; step on embedding and context; read all three out.

    With a gate, as See et al. (2017), equations 8 and 9: the log of the mixture.
    """
    places, s = read_source(model, source)
    layer, covered = model.layers[0], torch.zeros(len(source))
    logits, seen = [], []
    for y in text:
        e = model.embedding.weight[y]
        c, a = look(
            [score_of(model, s, h, u) for h, u in zip(places, covered, strict=True)], places
        )
        s = gru(layer, torch.cat([e, c]), s)
        readout = model.readout.weight @ torch.cat([c, s, e]) + model.readout.bias
        scores = word_scores(model, torch.tanh(readout))
        if model.gate is not None:
            p = torch.sigmoid(model.gate.weight[0] @ torch.cat([c, s, e]) + model.gate.bias[0])
            mixed = p * scores.softmax(0)
            for i, word in enumerate(source):
                mixed[word] = mixed[word] + (1 - p) * a[i]
            scores = mixed.log()
        covered = covered + a
        logits.append(scores)
        seen.append(a)
    return torch.stack(logits), seen


def luong(model: Seq2seq, source: Tensor, text: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Step, attend with the new h, read out tanh(W [c; h]), and feed that in if asked to."""
    places, h = read_source(model, source)
    if model.config.attention == "dot":
        places = [model.encoder.narrow.weight @ place for place in places]
    readout, logits, seen = torch.zeros(HIDDEN), [], []
    for y in text:
        e = model.embedding.weight[y]
        x = torch.cat([e, readout]) if model.config.input_feeding else e
        h = gru(model.layers[0], x, h)
        c, a = look([score_of(model, h, place, torch.zeros(())) for place in places], places)
        readout = torch.tanh(model.readout.weight @ torch.cat([c, h]) + model.readout.bias)
        logits.append(word_scores(model, readout))
        seen.append(a)
    return torch.stack(logits), seen


@torch.no_grad()
def assert_computes(model: Seq2seq, equations: Callable[..., tuple[Tensor, list[Tensor]]]) -> None:
    logits, state = model(IDS, model.initial_state(3, source=SOURCE))
    for row in range(3):
        source = row_of(SOURCE, row)
        expected, seen = equations(model, source, IDS[row])
        torch.testing.assert_close(logits[row], expected, **NEAR)
        torch.testing.assert_close(state["coverage"][row, : len(source)], sum(seen), **NEAR)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("coverage", [0.0, 0.5])
def test_additive_attention_computes_its_equations(tied: bool, copy: bool, coverage: float) -> None:
    assert_computes(make(tie_embeddings=tied, copy=copy, coverage=coverage), bahdanau)


@pytest.mark.parametrize("attention", ["dot", "general", "concat"])
@pytest.mark.parametrize("input_feeding", [False, True])
def test_attention_after_the_step_computes_its_equations(
    attention: AttentionType, input_feeding: bool
) -> None:
    assert_computes(make(attention=attention, input_feeding=input_feeding), luong)


@torch.no_grad()
def test_without_attention_the_source_is_where_the_text_begins() -> None:
    model = make(attention="none")
    logits, state = model(IDS, model.initial_state(3, source=SOURCE))
    assert set(state) == {"hidden.0"}
    for row in range(3):
        _, h = read_source(model, row_of(SOURCE, row))
        for place, y in enumerate(IDS[row]):
            h = gru(model.layers[0], model.embedding.weight[y], h)
            torch.testing.assert_close(logits[row, place], word_scores(model, h), **NEAR)


@torch.no_grad()
def test_dot_attention_on_one_direction_compares_the_encoder_itself() -> None:
    model = make(attention="dot", bidirectional=False, input_feeding=False)
    memory, _ = model.encoder(model.embedding(SOURCE.clamp_min(0)), SOURCE != IGNORE)
    layer, h = model.encoder.directions[0][0], torch.zeros(HIDDEN)
    for place, i in enumerate(SOURCE[0]):
        h = gru(layer, model.embedding.weight[i], h)
        torch.testing.assert_close(memory[0, place], h, **NEAR)


@every_cell
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_encoder_equals_the_frameworks_on_packed_rows(cell: Cell, bidirectional: bool) -> None:
    model = make(cell=cell, layers=2, bidirectional=bidirectional)
    encoder: Encoder = model.encoder
    reference = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell](
        EMBEDDING, HIDDEN, num_layers=2, batch_first=True, bidirectional=bidirectional
    )
    lengths = (SOURCE != IGNORE).sum(1)
    x = model.embedding(SOURCE.clamp_min(0))
    with torch.no_grad():
        for suffix, layers in zip(["", "_reverse"], encoder.directions, strict=False):
            for depth, layer in enumerate(layers):
                for kind in ("weight", "bias"):
                    name = f"l{depth}{suffix}"
                    getattr(reference, f"{kind}_ih_{name}").copy_(getattr(layer, f"input_{kind}"))
                    getattr(reference, f"{kind}_hh_{name}").copy_(getattr(layer, f"hidden_{kind}"))
        packed = nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
        out, last = reference(packed)
        expected, _ = nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
        memory, first = encoder(x, SOURCE != IGNORE)
    torch.testing.assert_close(memory[SOURCE != IGNORE], expected[SOURCE != IGNORE], **NEAR)
    last = last[0] if cell == "lstm" else last
    ends = last.view(2, -1, 3, HIDDEN).transpose(1, 2).flatten(2)  # (layers, rows, both directions)
    for depth, bridge in enumerate(encoder.bridge):
        begun = torch.tanh(ends[depth] @ bridge.weight.T + bridge.bias)
        torch.testing.assert_close(torch.cat(first[depth], 1), begun, **NEAR)
        assert len(first[depth]) == len(CARRIED[cell])


@every_cell
@pytest.mark.parametrize("attention", ["none", "additive", "general"])
@torch.no_grad()
def test_the_decoder_begins_with_the_bridge_at_every_depth(
    cell: Cell, attention: AttentionType
) -> None:
    model = make(cell=cell, layers=3, attention=attention)
    state = model.initial_state(3, source=SOURCE)
    _, first = model.encoder(model.embedding(SOURCE.clamp_min(0)), SOURCE != IGNORE)
    carried = [name for name in state if name.startswith(("hidden", "cell"))]
    assert carried == [f"{name}.{depth}" for depth in range(3) for name in CARRIED[cell]]
    for name, tensor in zip(carried, [t for tensors in first for t in tensors], strict=True):
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)
    logits, after = model(IDS, state)
    assert logits.shape == (3, 4, VOCAB)
    assert all(not torch.equal(after[name], state[name]) for name in carried)


# -- copying and coverage ------------------------------------------------------------------------


def test_a_mixture_by_hand() -> None:
    """Half is written; of the other half 3 gets 0.1 and 0.6, 1 gets 0.3."""
    written = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()[None, None]
    source = torch.tensor([[[3, 1, 3, 0]]])
    weights = torch.tensor([[[0.1, 0.3, 0.6, 0.0]]])
    first = torch.tensor([[[0, 1, 0, 3]]])
    mixed = mix_copy(written, torch.zeros(1, 1, 1), weights, source, first).exp()
    torch.testing.assert_close(mixed[0, 0], torch.tensor([0.05, 0.25, 0.15, 0.55]), **NEAR)


@pytest.mark.parametrize("gate", [-200.0, -3.0, 0.0, 3.0, 200.0])
def test_a_mixture_sums_to_one_and_is_finite_whatever_the_gate(gate: float) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = (torch.randn(2, 3, VOCAB, generator=generator) * 30).requires_grad_()
    source = torch.tensor([[3, 3, 5, 0], [1, 0, 0, 0]])[:, None].repeat(1, 3, 1)
    first = torch.tensor([[0, 0, 2, 3], [0, 1, 1, 1]])[:, None].repeat(1, 3, 1)
    weights = torch.tensor([[0.2, 0.5, 0.3, 0.0], [1.0, 0.0, 0.0, 0.0]])
    weights = weights[:, None].repeat(1, 3, 1).requires_grad_()
    g = torch.full((2, 3, 1), gate, requires_grad=True)
    mixed = mix_copy(logits, g, weights, source, first)
    torch.testing.assert_close(mixed.exp().sum(2), torch.ones(2, 3), rtol=1e-4, atol=1e-4)
    mixed.sum().backward()
    for tensor in (mixed, logits.grad, g.grad, weights.grad):
        assert tensor.isfinite().all()


def test_what_is_beside_the_source_is_not_copied() -> None:
    """With the gate shut, a row's words are those of its own source and no padding."""
    model = make(copy=True)
    with torch.no_grad():
        model.gate.weight.zero_()
        model.gate.bias.fill_(-30)
        logits, _ = model(IDS, model.initial_state(3, source=SOURCE))
    for row in range(3):
        likely = logits[row].exp() > 1e-6
        inside = torch.zeros(VOCAB, dtype=torch.bool)
        inside[row_of(SOURCE, row)] = True
        assert (likely == inside).all()


def test_the_loss_of_coverage_by_hand() -> None:
    model = make(coverage=0.7, copy=True)
    targets = torch.tensor([[3, 4, 6, 0], [2, 7, IGNORE, IGNORE], [1, 5, 8, IGNORE]])
    with torch.no_grad():
        loss = model.loss(Batch(IDS, targets, source=SOURCE), label_smoothing=0.1)
        overlaps, nats, label_smoothed = [], [], []
        for row in range(3):
            logp, seen = bahdanau(model, row_of(SOURCE, row), IDS[row])
            covered = torch.zeros(len(seen[0]))
            for place, a in enumerate(seen):
                if (target := int(targets[row, place])) != IGNORE:
                    overlaps.append(float(sum(map(min, a, covered))))
                    nats.append(-float(logp[place, target]))
                    label_smoothed.append(-float(logp[place].mean()))
                covered = covered + a
    overlap, mean = sum(overlaps) / 9, sum(nats) / 9
    assert float(loss.metrics["coverage"]) == pytest.approx(overlap, rel=1e-4)
    assert float(loss.metrics["nats"]) == pytest.approx(mean, rel=1e-4)
    total = 0.9 * mean + 0.1 * sum(label_smoothed) / 9 + 0.7 * overlap
    assert float(loss.total) == pytest.approx(total, rel=1e-4)


def test_the_loss_of_coverage_goes_on_from_a_state() -> None:
    model, targets = make(coverage=0.7), IDS.flip(1)
    with torch.no_grad():
        whole = model.loss(Batch(IDS, targets, source=SOURCE))
        first = model.loss(Batch(IDS[:, :2], targets[:, :2], source=SOURCE))
        last = model.loss(Batch(IDS[:, 2:], targets[:, 2:]), first.state)
    torch.testing.assert_close((first.total + last.total) / 2, whole.total, **NEAR)


@pytest.mark.parametrize("attention", ["additive", "dot", "general", "concat"])
@torch.no_grad()
def test_every_step_attends_to_its_own_source_alone(attention: AttentionType) -> None:
    model = make(attention=attention)
    state = model.initial_state(3, source=SOURCE)
    assert state["coverage"].dtype == torch.float32
    for column in IDS.split(1, 1):
        _, after = model(column, state)
        weights = after["coverage"] - state["coverage"]
        torch.testing.assert_close(weights.sum(1), torch.ones(3), **NEAR)
        assert (weights[SOURCE != IGNORE] > 0).all()
        assert (weights[SOURCE == IGNORE] == 0).all()
        state = after


# -- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("attention", ["additive", "concat"])
def test_gradients_equal_finite_differences(
    cell: Cell, attention: AttentionType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)  # float64 to the very end
    model = make(
        cell=cell, attention=attention, embedding_size=2, hidden_size=2, copy=True, coverage=0.5
    )
    model = model.double().train()
    batch = Batch(IDS[:2, :3], IDS[:2, 1:], source=SOURCE[:2])
    monkeypatch.setattr(model, "forward", lambda: model.loss(batch).total)
    names, weights = zip(*model.named_parameters(), strict=True)

    def loss(*inputs: Tensor) -> Tensor:
        return torch.func.functional_call(model, dict(zip(names, inputs, strict=True)), ())

    assert torch.autograd.gradcheck(loss, weights)


@pytest.mark.parametrize("settings", [{}, {"attention": "none"}, {"copy": True}], ids=str)
def test_scheduled_sampling_feeds_its_own_guesses(settings: dict[str, object]) -> None:
    model = make(scheduled_sampling=1.0, **settings).train()
    text = IDS[:, :1]
    with torch.no_grad():
        for _ in range(3):
            model.eval()
            logits, _ = model(text, model.initial_state(3, source=SOURCE))
            text = torch.cat([text, logits[:, -1:].argmax(2)], 1)
        expected, _ = model(text, model.initial_state(3, source=SOURCE))
        model.train()
        sampled, _ = model(IDS, model.initial_state(3, source=SOURCE))
    assert not torch.equal(text, IDS)
    torch.testing.assert_close(sampled, expected, **NEAR)


def test_scheduled_sampling_replaces_a_share_of_the_tokens_in_training_alone() -> None:
    ids = torch.randint(VOCAB, (200, 2), generator=torch.Generator().manual_seed(2))
    plain, model = make(), make(scheduled_sampling=0.3)
    torch.manual_seed(0)
    with torch.no_grad():
        given, _ = plain(ids)
        torch.testing.assert_close(model(ids)[0], given, rtol=0, atol=0)
        trained, _ = model.train()(ids)
        guessed = given[:, 0].argmax(1) == ids[:, 1]
    torch.testing.assert_close(trained[:, 0], given[:, 0], **NEAR)
    changed = ~torch.isclose(trained[:, 1], given[:, 1], atol=1e-5).all(1)
    assert 0.2 < float(changed[~guessed].float().mean()) < 0.4


def test_no_dropout_outside_training() -> None:
    torch.manual_seed(0)
    for attention in ("none", "additive", "general"):
        model = make(attention=attention, layers=2, dropout=0.5)
        with torch.no_grad():
            expected, _ = make(attention=attention, layers=2)(IDS)
            torch.testing.assert_close(model(IDS)[0], expected, rtol=0, atol=0)
            assert not torch.allclose(model.train()(IDS)[0], expected)


def reversals(rows: int, generator: torch.Generator) -> Batch:
    """Strings of 3 to 5 digits and the same from the end."""
    lengths = torch.randint(3, 6, (rows,), generator=generator).tolist()
    drawn = torch.randint(1, 11, (rows, 5), generator=generator).tolist()
    texts = [digits[:length] for digits, length in zip(drawn, lengths, strict=True)]
    return Batch(
        pad([[END, *text[::-1]] for text in texts], END),
        pad([[*text[::-1], END] for text in texts], IGNORE),
        source=pad([[*text, END] for text in texts], IGNORE),
    )


def test_attention_learns_to_reverse_what_it_reads(learn_until: Callable[..., None]) -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = Seq2seqConfig(embedding_size=32, hidden_size=48, dropout=0.0).build(11)
    learn_until(model, lambda: reversals(64, generator), rate=0.01, nats=0.02)
    unseen = reversals(300, generator)
    with torch.no_grad():
        logits, _ = model.eval()(unseen.tokens, model.encode(unseen.source))
    right = (logits.argmax(2) == unseen.targets) | (unseen.targets == IGNORE)
    assert float(right.all(1).float().mean()) > 0.9


# -- settings ------------------------------------------------------------------------------------


def test_the_number_of_weights_by_hand() -> None:
    """Bidirectional GRUs of width 6 on embeddings of width 4, additive attention, tied."""
    step = 3 * (EMBEDDING * HIDDEN + HIDDEN * HIDDEN + 2 * HIDDEN)
    encoder = 2 * step + 2 * HIDDEN * HIDDEN + HIDDEN
    attention = 2 * HIDDEN * HIDDEN + HIDDEN + HIDDEN * HIDDEN + HIDDEN
    decoder = step + 3 * HIDDEN * 2 * HIDDEN
    readout = (3 * HIDDEN + EMBEDDING) * HIDDEN + HIDDEN + HIDDEN * EMBEDDING
    words = VOCAB * EMBEDDING
    assert parameter_count(make()) == encoder + attention + decoder + readout + words + VOCAB
    untied = words + VOCAB * HIDDEN - HIDDEN * EMBEDDING
    assert parameter_count(make(tie_embeddings=False)) - parameter_count(make()) == untied


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_size": 0}, "at least 1"),
        ({"dropout": 1.0}, "dropout"),
        ({"scheduled_sampling": 1.5}, "scheduled_sampling"),
        ({"coverage": -1.0}, "coverage"),
        ({"coverage": float("nan")}, "coverage"),
        ({"copy": True, "attention": "none"}, "copy=true needs attention"),
        ({"coverage": 1.0, "attention": "dot"}, "attention=dot cannot see coverage"),
        ({"coverage": 1.0, "attention": "none"}, "attention=none cannot see coverage"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Seq2seqConfig(**settings)  # type: ignore[arg-type]
