"""The Transformer with an encoder against the framework's, T5's distances, and its equations."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.t5.modeling_t5 import T5Attention

from wenmo.models import find
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import parameter_count
from wenmo.models.transformer.config import TransformerConfig
from wenmo.models.transformer.model import Transformer
from wenmo.models.transformer.positions import RelativeBias, sinusoid
from wenmo.models.transformer.presets import VASWANI
from wenmo.text.batches import pad
from wenmo.types import END, IGNORE, Batch

VOCAB, WIDTH, HEADS = 11, 16, 4
NEAR = {"rtol": 1e-5, "atol": 1e-5}
SMALL = replace(VASWANI, hidden_size=WIDTH, layers=2, encoder_layers=3, heads=HEADS, dropout=0.0)
SOURCE = pad([[3, 4, 5, 6, END], [7, END], [1, 9, 2, END]], IGNORE)


def make(config: TransformerConfig) -> Transformer:
    model = config.build(VOCAB)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.4)
    return model.eval()


def some_ids(rows: int, time: int) -> Tensor:
    return torch.randint(VOCAB, (rows, time), generator=torch.Generator().manual_seed(1))


# -- Vaswani et al. (2017) -----------------------------------------------------------------------


def of_framework(model: Transformer) -> nn.Transformer:
    """``nn.Transformer`` with the model's weights."""
    config = model.config
    theirs = nn.Transformer(
        config.hidden_size,
        config.heads,
        config.encoder_layers,
        config.layers,
        config.resolved_ffn_size,
        dropout=0.0,
        layer_norm_eps=config.norm_eps,
        batch_first=True,
        norm_first=config.prenorm,
    ).eval()
    theirs.encoder.use_nested_tensor = False
    assert model.encoder is not None
    stacks = [(model.encoder, theirs.encoder), (model, theirs.decoder)]
    with torch.no_grad():
        for ours, other in stacks:
            for block, layer in zip(ours.blocks, other.layers, strict=True):
                norms = [block.attention_norm, block.feed_forward_norm]
                copy_attention(block.attention, layer.self_attn)
                if other is theirs.decoder:
                    norms.insert(1, block.cross_norm)
                    copy_attention(block.cross, layer.multihead_attn)
                for number, norm in enumerate(norms, 1):
                    getattr(layer, f"norm{number}").load_state_dict(norm.state_dict())
                layer.linear1.load_state_dict(block.feed_forward.up.state_dict())
                layer.linear2.load_state_dict(block.feed_forward.down.state_dict())
            if config.prenorm:
                other.norm.load_state_dict(ours.norm.state_dict())
            else:  # the paper has no norm behind the last layer's own
                other.norm = None
    return theirs


def copy_attention(ours: nn.Module, theirs: nn.MultiheadAttention) -> None:
    parts = [ours.query, ours.key, ours.value]
    theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
    theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    theirs.out_proj.load_state_dict(ours.output.state_dict())


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("prenorm", [False, True], ids=["postnorm", "prenorm"])
@torch.no_grad()
def test_logits_equal_those_of_the_frameworks_transformer(prenorm: bool) -> None:
    model = make(replace(SMALL, prenorm=prenorm))
    theirs, ids = of_framework(model), some_ids(3, 6)
    padding = SOURCE == IGNORE

    def embedded(tokens: Tensor) -> Tensor:
        place = torch.arange(tokens.shape[1], dtype=torch.double)[:, None]
        column = torch.arange(WIDTH)
        angle = place / 10_000 ** (2 * (column // 2) / WIDTH)  # section 3.5
        signal = torch.where(column % 2 == 0, angle.sin(), angle.cos()).float()
        return model.embedding.weight[tokens] * math.sqrt(WIDTH) + signal

    hidden = theirs(
        embedded(SOURCE.clamp_min(0)),
        embedded(ids),
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(6),
        src_key_padding_mask=padding,
        memory_key_padding_mask=padding,
        tgt_is_causal=True,
    )
    expected = hidden @ model.embedding.weight.T
    for state in (model.initial_state(3, source=SOURCE), model.encode(SOURCE)):
        torch.testing.assert_close(model(ids, state)[0], expected, **NEAR)


def test_base_and_big_have_the_published_numbers_of_weights() -> None:
    """Table 3 gives 65 and 213 million, with a vocabulary of about 37,000."""
    for size, millions in (("base", 65), ("big", 213)):
        config = find(f"transformer:{size}")[1]
        with torch.device("meta"):
            model = config.build(37_000)
        assert parameter_count(model) / 1e6 == pytest.approx(millions, rel=0.04)


def test_label_smoothing_is_cross_entropy_with_a_smoothed_target() -> None:
    model, ids = make(SMALL), some_ids(3, 7)
    targets = ids[:, 1:].clone()
    targets[0, 3:] = IGNORE
    loss = model.loss(Batch(ids[:, :-1], targets, source=SOURCE), label_smoothing=0.1)
    logits, _ = model(ids[:, :-1], model.encode(SOURCE))
    logp, real = logits.log_softmax(-1), targets != IGNORE
    label_smoothed = F.one_hot(targets[real], VOCAB) * 0.9 + 0.1 / VOCAB
    torch.testing.assert_close(loss.total, -(label_smoothed * logp[real]).sum(-1).mean(), **NEAR)
    plain = -logp[real].gather(1, targets[real][:, None]).mean()
    torch.testing.assert_close(loss.metrics["nats"], plain, **NEAR)


# -- positions -----------------------------------------------------------------------------------


def test_sinusoids_turn_with_the_place() -> None:
    """A shift by k turns each pair by the same angle wherever it is (section 3.5)."""
    signal = sinusoid(torch.arange(50)[None], 6)[0].double().unflatten(1, (3, 2))
    waves = torch.complex(signal[..., 1], signal[..., 0])
    turn = waves[7] / waves[0]
    torch.testing.assert_close(waves[7:], waves[:-7] * turn, rtol=1e-4, atol=1e-4)
    assert signal[3, 0, 0] == pytest.approx(math.sin(3))
    assert signal[3, 1, 1] == pytest.approx(math.cos(3 * 10_000 ** (-2 / 6)), rel=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_buckets_of_distances_are_those_of_t5(bidirectional: bool) -> None:
    distances = torch.arange(-400, 401)
    ours = RelativeBias(HEADS, bidirectional=bidirectional).bucket(distances)
    theirs = T5Attention._relative_position_bucket(
        distances, bidirectional=bidirectional, num_buckets=32, max_distance=128
    )
    assert torch.equal(ours, theirs)


@torch.no_grad()
def test_relative_positions_add_a_score_for_each_distance() -> None:
    model = make(replace(SMALL, positions="relative", layers=1, scale_embeddings=False))
    block, ids = model.blocks[0], some_ids(1, 5)
    x = model.embedding(ids)
    attention, d = block.attention, WIDTH // HEADS
    query, key, value = (
        (x[0] @ layer.weight.T + layer.bias).view(5, HEADS, d)
        for layer in (attention.query, attention.key, attention.value)
    )
    mixed = torch.zeros(5, HEADS, d)
    for head in range(HEADS):
        for now in range(5):
            scores = torch.stack(
                [
                    query[now, head] @ key[past, head] / math.sqrt(d)
                    + model.relative.scores.weight[now - past, head]  # one bucket for each
                    for past in range(now + 1)
                ]
            )
            mixed[now, head] = scores.softmax(0) @ value[: now + 1, head]
    expected = attention.output(mixed.flatten(1))
    places = torch.arange(5)
    allowed = (places <= places[:, None])[None, None]
    mask = model.relative(places[None], places, allowed)
    torch.testing.assert_close(attention(x, None, mask)[0], expected, **NEAR)


# -- every arrangement ---------------------------------------------------------------------------

ARRANGEMENTS = {
    "vaswani": SMALL,
    "learned": replace(SMALL, positions="learned", context_length=12, share_embeddings=False),
    "relative": replace(SMALL, positions="relative", prenorm=True, norm="rms", bias=False),
    "rotary": replace(
        find("transformer")[1],
        hidden_size=WIDTH,
        layers=2,
        encoder_layers=2,
        kv_heads=2,
        dropout=0.0,
    ),
}
every_arrangement = pytest.mark.parametrize("name", ARRANGEMENTS)


@every_arrangement
@torch.no_grad()
def test_a_token_at_a_time_is_one_pass_and_rows_are_alone(name: str) -> None:
    model, ids = make(ARRANGEMENTS[name]), some_ids(3, 8)
    whole, _ = model(ids, model.encode(SOURCE))
    state, parts = model.initial_state(3, source=SOURCE), []
    for column in ids.split(1, dim=1):
        logits, state = model(column, state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole, **NEAR)
    for row, source in enumerate(SOURCE):
        alone = source[source != IGNORE][None]
        logits, _ = model(ids[row : row + 1], model.initial_state(1, source=alone))
        torch.testing.assert_close(logits, whole[row : row + 1], **NEAR)


@every_arrangement
@torch.no_grad()
def test_coverage_is_the_last_blocks_attention_so_far(name: str) -> None:
    model, ids = make(ARRANGEMENTS[name]), some_ids(3, 4)
    state = model.initial_state(3, source=SOURCE)
    _, after = model(ids, state)
    torch.testing.assert_close(after["coverage"].sum(1), torch.full((3,), 4.0))
    assert (after["coverage"][SOURCE == IGNORE] == 0).all()
    seen = {}
    block = model.blocks[-1]
    block.cross.register_forward_hook(lambda _, given, __: seen.update(x=given[0], source=given[1]))
    model(ids, state)
    query, source = block.cross.queries(seen["x"]), seen["source"]
    group = HEADS // block.cross.kv_heads
    expected = torch.zeros(3, SOURCE.shape[1])
    for row in range(3):
        length = int((SOURCE[row] != IGNORE).sum())
        for head in range(HEADS):
            key = source.keys[row, :length, head // group]
            scores = query[row, :, head] @ key.T / math.sqrt(WIDTH // HEADS)
            expected[row, :length] += scores.softmax(1).sum(0) / HEADS
    torch.testing.assert_close(after["coverage"], expected, **NEAR)


class Nats(nn.Module):
    """A model's loss on a batch, as a function of its weights."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Tensor:
        return self.model.loss(batch).total


@every_arrangement
def test_gradients_equal_finite_differences(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)  # float64 to the very end
    small = replace(ARRANGEMENTS[name], hidden_size=4, heads=2, layers=1, encoder_layers=1)
    model = Nats(make(replace(small, kv_heads=1, ffn_size=3, context_length=6)).double())
    names, weights = zip(*model.named_parameters(), strict=True)
    ids = some_ids(2, 4)
    batch = Batch(ids[:, :-1], ids[:, 1:], source=SOURCE[:2])

    def loss(*inputs: Tensor) -> Tensor:
        return torch.func.functional_call(model, dict(zip(names, inputs, strict=True)), (batch,))

    assert torch.autograd.gradcheck(loss, weights, fast_mode=True)
