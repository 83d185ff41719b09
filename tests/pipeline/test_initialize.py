"""What one run learnt begins another: a side of an encoder–decoder, or embeddings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import wenmo as package
from wenmo.models import MODELS
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import HasMixture, has_capability, parameter_count, require
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.models.seq2seq_config import Seq2seqConfig
from wenmo.models.transformer.config import TransformerConfig
from wenmo.pipeline.initialize import inherited, load_side, side_weights
from wenmo.runs.config import NgramPriorConfig
from wenmo.types import END, WenmoError

VOCAB = 40
TEXT = "The dog is lazy. 狗很懒。\n"
SMALL = {
    "gpt": ["hidden_size=32", "layers=3", "heads=2", "context_length=48"],
    "lstm": ["embedding_size=12", "hidden_size=20", "layers=2"],
    "gru": ["embedding_size=16", "hidden_size=24", "tie_embeddings=true"],
}
ONE_STEP = ["--steps", 1, "learning_rate=1e-12", "optimizer=sgd", "eval_count=1"]


def some_ids(rows: int, time: int) -> Tensor:
    return torch.randint(1, VOCAB, (rows, time), generator=torch.Generator().manual_seed(1))


def begun(config: Any, giver: LanguageModel, side: Any = "decoder", seed: int = 1) -> LanguageModel:
    torch.manual_seed(seed)
    model: LanguageModel = config.build(VOCAB).eval()
    load_side(model, side, giver, "runs/lm")
    return model


def transformer(**settings: Any) -> TransformerConfig:
    shape = {"hidden_size": 32, "layers": 3, "heads": 2, "context_length": 48}
    return TransformerConfig(**{**shape, "zero_init_residual": False, **settings})


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"positions": "learned", "norm": "layer", "bias": True, "tie_embeddings": False},
        {"share_embeddings": False},
    ],
)
def test_a_decoder_that_sees_no_source_is_the_language_model(settings: dict[str, Any]) -> None:
    giver = transformer(**settings).build(VOCAB).eval()
    model = begun(transformer(**settings, encoder_layers=2), giver)
    with torch.no_grad():
        for block in model.blocks:  # type: ignore[union-attr]
            for weight in block.cross.output.parameters():
                weight.zero_()
        given, _ = model(
            some_ids(2, 20), model.initial_state(2, source=some_ids(2, 5), capacity=20)
        )
        expected, _ = giver(some_ids(2, 20))
    torch.testing.assert_close(given, expected)


def test_an_encoder_begins_with_a_language_model_or_with_another_encoder() -> None:
    giver = transformer().build(VOCAB)
    model = begun(transformer(encoder_layers=2), giver, "encoder")
    theirs = dict(giver.named_parameters())
    for name, weight in model.encoder.named_parameters():  # type: ignore[union-attr]
        assert torch.equal(weight, theirs[name])
    assert torch.equal(model.embedding.weight, giver.embedding.weight)
    again = begun(transformer(encoder_layers=2), model, "encoder", seed=2)
    assert torch.equal(*(m.encoder.blocks[1].feed_forward.up.weight for m in (model, again)))
    assert not torch.equal(*(m.blocks[0].attention.output.weight for m in (model, again)))
    recurrent = Seq2seqConfig(embedding_size=12, hidden_size=20, layers=2)
    giver = recurrent.build(VOCAB)
    for ours, theirs_ in zip(
        begun(recurrent, giver, "encoder").encoder.parameters(),  # type: ignore[union-attr]
        giver.encoder.parameters(),
        strict=True,
    ):
        assert torch.equal(ours, theirs_)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_recurrent_decoder_without_attention_is_the_language_model(cell: Any) -> None:
    """From the same state; what attention feeds comes beside what it has learnt."""
    giver = RecurrentConfig(cell, embedding_size=12, hidden_size=20, layers=2).build(VOCAB).eval()
    shape = {"embedding_size": 12, "hidden_size": 20, "layers": 2, "tie_embeddings": False}
    model = begun(Seq2seqConfig(cell, attention="none", **shape), giver)
    state = model.initial_state(2, source=some_ids(2, 5))
    with torch.no_grad():
        torch.testing.assert_close(model(some_ids(2, 9), state)[0], giver(some_ids(2, 9), state)[0])
    fed = begun(Seq2seqConfig(cell, attention="additive", **shape), giver)
    weights, theirs = (dict(m.named_parameters()) for m in (fed, giver))
    first = "layers.0.input_weight"
    assert torch.equal(weights[first][:, :12], theirs[first])
    assert weights[first].shape[1] > 12
    assert torch.equal(weights["layers.1.hidden_weight"], theirs["layers.1.hidden_weight"])


def test_what_does_not_fit_is_told() -> None:
    giver = transformer().build(VOCAB)
    cases = [
        (
            transformer(encoder_layers=1, hidden_size=64),
            "embedding.weight is 40 × 32 there and 40 × 64",
        ),
        (Seq2seqConfig(embedding_size=33), "embedding.weight is 40 × 32 there and 40 × 33 here"),
    ]
    for config, match in cases:
        with pytest.raises(WenmoError, match=match):
            begun(config, giver)
    counts = MODELS["ngram"].config.build(VOCAB)
    with pytest.raises(WenmoError, match="no weights that a decoder of this kind can begin with"):
        begun(transformer(encoder_layers=1), counts)


# -- by commands -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(wenmo: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Language models, and pairs to begin with them."""
    path: Path = tmp_path_factory.mktemp("start")
    (path / "my.txt").write_text(TEXT * 60, encoding="utf-8")
    pairs = "".join(f"{n} 只狗\tThe dog is lazy, {n} times.\n" for n in range(60))
    (path / "pairs.tsv").write_text("source\ttarget\n" + pairs, encoding="utf-8")
    for model, settings in SMALL.items():
        command = ["train", "my.txt", "--model", model, "--prior", "none", "--out", model]
        wenmo(
            *command,
            "--steps",
            3,
            "batch_size=2",
            "sequence_length=24",
            "eval_count=1",
            *settings,
            cwd=path,
        )
    return path


@pytest.mark.parametrize(
    ("model", "giver"), [("transformer", "gpt"), ("seq2seq", "lstm"), ("seq2seq", "gru")]
)
def test_a_command_begins_a_decoder(wenmo: Any, folder: Path, model: str, giver: str) -> None:
    out = f"{model}-{giver}"
    command = ["train", "pairs.tsv", "--task", "translation", "--model", model, "--out", out]
    told = wenmo(*command, f"init.decoder={giver}", *ONE_STEP, cwd=folder).stderr
    assert f"weights begin as those of {giver}: the decoder's" in told
    run, before = package.load(folder / out), package.load(folder / giver)
    assert run.tokenizer.fingerprint == before.tokenizer.fingerprint
    theirs, ours = side_weights(before.model, "decoder"), side_weights(run.model, "decoder")
    same = [name for name in ours if name in theirs]
    for name in same:
        torch.testing.assert_close(ours[name], theirs[name])
    assert f"{sum(ours[name].numel() for name in same):,} of " in told
    wenmo("generate", out, "--prompt", "3 只狗", cwd=folder)
    again = wenmo(*command, f"init.decoder={giver}", *ONE_STEP, cwd=folder).stderr
    assert "trained already" in again


def test_a_decoder_brings_its_counts(wenmo: Any, folder: Path) -> None:
    command = ["train", "my.txt", "--model", "lstm", "--prior", "ngram", "--out", "counted"]
    wenmo(*command, *ONE_STEP, "batch_size=2", "sequence_length=24", *SMALL["lstm"], cwd=folder)
    command = ["train", "pairs.tsv", "--task", "translation", "--model", "seq2seq"]
    start = ["init.decoder=counted", *ONE_STEP]
    told = wenmo(*command, *start, "--out", "more", cwd=folder).stderr
    assert "the counts of counted are kept, and those of this text added" in told
    counts = [
        require(package.load(folder / name).model, HasMixture).mixture_components()["counts"]
        for name in ("more", "counted")
    ]
    assert parameter_count(counts[0]) > parameter_count(counts[1])
    wenmo(*command, *start, "--out", "less", "--prior", "none", cwd=folder)
    assert not has_capability(package.load(folder / "less").model, HasMixture)


def test_both_sides_and_what_cannot_be(wenmo: Any, folder: Path) -> None:
    command = ["train", "pairs.tsv", "--task", "translation", "--out", "no"]
    both = ["init.encoder=gpt", "init.decoder=gpt", "encoder_layers=1", *ONE_STEP]
    told = wenmo(*command[:-1], "both", "--model", "transformer", *both, cwd=folder).stderr
    assert "the encoder's" in told
    assert "the decoder's" in told
    card = json.loads((folder / "both" / "wenmo.json").read_text(encoding="utf-8"))
    assert (card["model"]["hidden_size"], card["model"]["encoder_layers"]) == (32, 1)
    cases = {
        ("--model", "gpt", "init.decoder=gpt"): "gpt has no encoder and decoder",
        ("--model", "transformer", "init.decoder=gpt", "hidden_size=64"): "× 32 there and",
        ("--model", "transformer", "init.decoder=gpt", "heads=64"): "beside the settings",
        ("--model", "transformer", "init.decoder=none"): "no such run folder",
        ("--from", "gpt", "init.decoder=gpt"): "not both",
        ("--model", "transformer", "init.decoder=lstm"): "× 12 there and",
    }
    for options, match in cases.items():
        error = wenmo(*command, *options, *ONE_STEP, cwd=folder, code=2).stderr
        assert match in error
        assert not (folder / "no").exists()
    (folder / "other.txt").write_text("Something else.\n" * 60)
    small = [*SMALL["gpt"], "--prior", "none", *ONE_STEP, "batch_size=2", "sequence_length=24"]
    wenmo("train", "other.txt", "--model", "gpt", "--out", "other", *small, cwd=folder)
    two = ("--model", "transformer", "init.decoder=gpt", "init.encoder=other")
    assert "different tokenizers" in wenmo(*command, *two, cwd=folder, code=2).stderr


def test_embeddings_of_a_run_begin_others(wenmo: Any, folder: Path) -> None:
    """By what tokens are spelled like, whatever their ids are."""
    (folder / "less.txt").write_text("懒狗 dog lazy The\n" * 80, encoding="utf-8")
    command = ["train", "less.txt", "--model", "gru", "--prior", "none", "init.word_vectors=gpt"]
    told = wenmo(
        *command, "--out", "gru2", "embedding_size=32", "batch_size=2", *ONE_STEP, cwd=folder
    ).stderr
    run, before = package.load(folder / "gru2"), package.load(folder / "gpt")
    ids = run.tokenizer.encode("狗d").tolist()
    there = before.tokenizer.encode("狗d").tolist()
    assert ids != there
    ours, theirs = run.model.embedding.weight[ids], before.model.embedding.weight[there]
    torch.testing.assert_close(ours, theirs)
    known = sum(spelled in before.tokenizer.table for spelled in run.tokenizer.table[END + 1 :])
    assert f"{known:,} of {run.tokenizer.vocab_size:,} tokens begin with a vector of gpt" in told
    narrow = wenmo(*command, "--out", "no", "embedding_size=8", *ONE_STEP, cwd=folder, code=2)
    assert "vectors of 32 numbers do not fit embeddings 8 wide" in narrow.stderr
    counts = ["train", "my.txt", "--model", "ngram", "--out", "counts"]
    wenmo(*counts, cwd=folder)
    command[-1] = "init.word_vectors=counts"
    error = wenmo(*command, "--out", "no", *ONE_STEP, cwd=folder, code=2).stderr
    assert "has no embeddings" in error


@pytest.mark.parametrize("asked", [{"breaks": ()}, {"extensible": False}])
def test_what_inherited_counts_cannot_change_is_refused(asked: dict[str, Any]) -> None:
    base = NgramPriorConfig(enabled=True, order=5, extensible=True, breaks=(0, 7))
    assert inherited(NgramPriorConfig(), base, "run").breaks == (0, 7)
    assert inherited(NgramPriorConfig(breaks=(0, 7)), base, "run").breaks == (0, 7)
    with pytest.raises(WenmoError, match=next(iter(asked))):
        inherited(NgramPriorConfig(**asked), base, "run")
