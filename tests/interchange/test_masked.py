"""BERT and RoBERTa: logits and ids match transformers, and gaps are filled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.interchange.pretrained import open_pretrained
from wenmo.text.vocabularies import byte_alphabet
from wenmo.types import END, WenmoError

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 66,
}
CHARACTERS = "春眠不觉晓床前明月光举头望"
WORDS = ["the", "cat", "sat", "on", "mat", "##s", "##ting", ",", ".", *CHARACTERS]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"abcdefghijklmnopqrstuvwxyz"]
TEXTS = ["The cats sat on the mat.", "床前明月光，sat", "", "a the", "举头望明月。"]


def bert(folder: Path, **more: Any) -> Any:
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY), "utf-8")
    config = transformers.BertConfig(vocab_size=len(VOCABULARY), **SIZES, **more)
    return saved(folder, transformers.BertForMaskedLM(config))


def roberta(folder: Path) -> Any:
    marks = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = {token: id_ for id_, token in enumerate([*marks, *byte_alphabet(), "<mask>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    config = transformers.RobertaConfig(
        vocab_size=len(vocabulary), pad_token_id=1, eos_token_id=2, bos_token_id=0, **SIZES
    )
    return saved(folder, transformers.RobertaForMaskedLM(config))


def saved(folder: Path, model: Any) -> Any:
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    model.eval().save_pretrained(folder)
    return model


every_kind = pytest.mark.parametrize("make", [bert, roberta])


@every_kind
def test_logits_match_transformers(make: Any, tmp_path: Path) -> None:
    theirs, ours = make(tmp_path), open_pretrained(tmp_path)
    size, mask = theirs.config.vocab_size, 4 if make is bert else theirs.config.vocab_size - 1
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, size - 1, (3, 17), generator=generator)
    hidden = torch.rand(3, 17, generator=generator) < 0.4
    order = ours.tokenizer.external_ids(range(size))
    with torch.no_grad():
        expected = theirs(input_ids=ids.masked_fill(hidden, mask)).logits[..., order]
        tokens = torch.tensor([ours.tokenizer.external_ids(row) for row in ids.tolist()])
        given = ours.model.fill(tokens, hidden, torch.ones_like(hidden))
        torch.testing.assert_close(given, expected.flatten(0, 1), rtol=1e-4, atol=1e-4)
        # From left to right: the next token with all others hidden.
        logits, _ = ours.model(tokens[:1, :5])
        room = ours.model.context + 1
        canvas = torch.full((1, room), mask)
        canvas[0, :5] = ids[0, :5]
        expected = theirs(input_ids=canvas).logits[0, 5, order]
    torch.testing.assert_close(logits[0, -1], expected, rtol=1e-4, atol=1e-4)
    assert ours.family == "masked"


@every_kind
def test_ids_match_transformers(make: Any, tmp_path: Path) -> None:
    make(tmp_path)
    reference = getattr(transformers, "BertTokenizer" if make is bert else "RobertaTokenizer")
    theirs, ours = reference.from_pretrained(tmp_path), open_pretrained(tmp_path).tokenizer
    for text in filter(None, TEXTS):
        ids = [*ours.encode(text).tolist(), *ours.suffix]
        assert ours.external_ids(ids) == theirs(text)["input_ids"]


@every_kind
def test_gap_is_filled_from_both_sides(make: Any, tmp_path: Path) -> None:
    """Most confident token first, with one forward pass of transformers for each token."""
    theirs, ours = make(tmp_path), open_pretrained(tmp_path)
    sampling = Sampling(method="greedy", unmask_order="confidence", gap_tokens=3)
    writer = TextGenerator(ours.model, ours.tokenizer)
    [[output]] = writer.generate(["床前____光"], sampling)
    others = [f"床前{gap}光" for gap in ("[MASK]", "<mask>", "___", "________", "＿＿＿")]
    assert [[o.ids for o in own] for own in writer.generate(others, sampling)] == [
        [output.ids]
    ] * len(others)
    before = ours.tokenizer.external_ids(ours.tokenizer.encode("床前").tolist())
    behind = ours.tokenizer.external_ids(ours.tokenizer.encode("光").tolist()[1:])
    mask = 4 if make is bert else theirs.config.vocab_size - 1
    end = theirs.config.eos_token_id if make is roberta else 3
    ids = torch.tensor([[*before, *[mask] * 3, *behind, end]])
    table = ours.tokenizer.table
    order = ours.tokenizer.external_ids(range(len(table)))
    silent = [order[i] for i in range(len(table)) if not table[i]]  # END among them
    for _ in range(3):
        with torch.no_grad():
            logits = theirs(input_ids=ids).logits[0]
        logits[:, silent] = -torch.inf
        sure, token = logits.log_softmax(1).max(1)
        place = int(sure.masked_fill(ids[0] != mask, -torch.inf).argmax())
        ids[0, place] = token[place]
    written = ours.tokenizer.external_ids(output.ids)
    expected = ids[0, len(before) : len(before) + 3].tolist()
    if make is bert:  # the other's bytes may have been mended to whole characters
        assert written == expected
    output.text.encode()
    assert END not in output.ids


def test_old_norm_names_are_accepted(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    bert(tmp_path)
    ours = open_pretrained(tmp_path).model
    path = tmp_path / "model.safetensors"
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in load_file(path).items()
    }
    save_file(old, path)
    again = open_pretrained(tmp_path).model
    ids, hidden = torch.tensor([[3, 7, 8, 9]]), torch.tensor([[False, True, False, True]])
    assert torch.equal(again.fill(ids, hidden, hidden), ours.fill(ids, hidden, hidden))


def test_errors_for_unsupported_models(tmp_path: Path) -> None:
    bert(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY).replace("[MASK]", "[NONE]"), "utf-8")
    with pytest.raises(WenmoError, match=r"the tokenizer has no mask token: \[MASK\] or <mask>"):
        open_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"is_decoder": True}))
    with pytest.raises(WenmoError, match="is_decoder = true"):
        open_pretrained(tmp_path)
