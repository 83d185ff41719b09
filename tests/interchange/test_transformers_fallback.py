"""Models that are not supported natively run through `transformers` and generate the same texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import processors

import wenmo as package
from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.interchange.loaded_model import LoadedModel
from wenmo.interchange.pretrained import open_pretrained
from wenmo.text.pretrained import byte_level
from wenmo.text.vocabularies import byte_alphabet
from wenmo.types import END, WenmoError

VOCAB, END_THERE, START, SPOKEN, WANTED, PAD = 300, 299, 298, 297, 296, 1
LENGTH = 12
SIZES = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
}
LONG = {"max_encoder_position_embeddings": 64, "max_decoder_position_embeddings": 64}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "causal": (
        "GPTNeoX",
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "max_position_embeddings": 64,
        },
    ),
    "blenderbot": ("Blenderbot", {**SIZES, "max_position_embeddings": 64}),
    "m2m_100": ("M2M100", {**SIZES, "max_position_embeddings": 64}),
    "led": ("LED", {**SIZES, **LONG, "attention_window": 8}),
    "pegasus_x": ("PegasusX", {**SIZES, "max_position_embeddings": 64, "block_size": 8}),
}
CLASSES = {"led": "LEDForConditionalGeneration", "m2m_100": "M2M100ForConditionalGeneration"}
CLASSES |= {"causal": "GPTNeoXForCausalLM", "pegasus_x": "PegasusXForConditionalGeneration"}
CLASSES |= {"blenderbot": "BlenderbotForConditionalGeneration"}


def load_both(folder: Path, model_type: str, forced: int | None = None) -> tuple[Any, LoadedModel]:
    """Save a small random model whose tokenizer adds a token before and after a text; load it with
    both programs.

    Args:
        forced: the forced_bos_token_id.
    """
    import transformers

    name, settings = KINDS[model_type]
    ids = {"bos_token_id": START, "eos_token_id": END_THERE, "pad_token_id": PAD}
    if model_type != "causal":
        ids |= {"decoder_start_token_id": START, "forced_eos_token_id": None}
    config = getattr(transformers, f"{name}Config")(vocab_size=VOCAB, **ids | settings)
    torch.manual_seed(0)
    model = getattr(transformers, CLASSES[model_type])(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    model.generation_config.forced_bos_token_id = forced
    model.save_pretrained(folder)
    letters = {letter: id_ for id_, letter in enumerate(byte_alphabet())}
    marks = {"<de>": WANTED, "<en>": SPOKEN, "<s>": START, "</s>": END_THERE}
    library = byte_level({**letters, **marks}, [], special=marks)
    if model_type != "causal":
        library.post_processor = processors.TemplateProcessing(
            single="<en> $A </s>", special_tokens=[("<en>", SPOKEN), ("</s>", END_THERE)]
        )
    library.save(str(folder / "tokenizer.json"))
    return model, open_pretrained(folder)


def some_ids(rows: int, time: int) -> torch.Tensor:
    return torch.randint(2, 256, (rows, time), generator=torch.Generator().manual_seed(1))


every_kind = pytest.mark.parametrize("model_type", KINDS)


@every_kind
def test_logits_match_transformers(model_type: str, tmp_path: Path) -> None:
    reference, loaded = load_both(tmp_path, model_type)
    assert "through transformers" in str(loaded.note)
    ids, source = some_ids(3, LENGTH), some_ids(3, 9)
    given: dict[str, Any] = {"input_ids": ids}
    begun = loaded.model.initial_state(3)
    if model_type != "causal":
        ended = torch.cat([source, torch.full((3, 1), END_THERE)], 1)
        given = {"input_ids": ended, "decoder_input_ids": ids}
        begun = loaded.model.initial_state(
            3, source=torch.cat([source, torch.full((3, 1), END)], 1)
        )
    with torch.no_grad():
        expected = reference(**given).logits[..., loaded.tokenizer.external_ids(range(VOCAB))]
        first, state = loaded.model(ids[:, :5], begun)
        rest, _ = loaded.model(ids[:, 5:], state)
    torch.testing.assert_close(torch.cat([first, rest], 1), expected, rtol=1e-4, atol=1e-4)


@every_kind
@pytest.mark.parametrize("beams", [1, 3])
def test_texts_match_transformers_in_any_batch(model_type: str, beams: int, tmp_path: Path) -> None:
    reference, loaded = load_both(tmp_path, model_type)
    answers = model_type != "causal"
    sampling = Sampling(
        method="greedy" if beams == 1 else "beam",
        beam_width=3,
        length_penalty=0.0,
        max_tokens=8,
        min_tokens=8,
    )
    prompts = [some_ids(1, size)[0].tolist() for size in (3, 9, 5)]
    engine = AutoregressiveEngine(loaded.model)
    for prompt in prompts:
        engine.submit(Request((), sampling, prompt) if answers else Request(prompt, sampling))
    written: list[list[int]] = [[] for _ in prompts]
    for event in engine.run():
        if event.rank == 0:
            written[event.request].append(event.token)
    for prompt, text in zip(prompts, written, strict=True):
        ids = torch.tensor([[*prompt, END_THERE] if answers else prompt])
        [full] = reference.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=8,
            min_new_tokens=8,
            num_beams=beams,
            length_penalty=0.0,
            do_sample=False,
        )
        expected = full[1:] if answers else full[len(prompt) :]
        assert loaded.tokenizer.external_ids(text) == expected.tolist()


def test_forced_bos_token_starts_the_target(wenmo: Any, tmp_path: Path) -> None:
    """The source starts with its language token, the target with the forced one."""
    folder = tmp_path / "m2m"
    reference, loaded = load_both(folder, "m2m_100", forced=WANTED)
    assert loaded.model.special_tokens.bos == (START, WANTED)
    assert loaded.tokenizer.encode("a").tolist() == loaded.tokenizer.encode_source("a").tolist()[1:]
    source = torch.tensor([[SPOKEN, *loaded.tokenizer.encode("春眠 fox").tolist(), END_THERE]])
    [full] = reference.generate(source, max_new_tokens=9, do_sample=False)
    assert full[1] == WANTED
    [[output]] = package.load(folder).write(["春眠 fox"], method="greedy", max_tokens=8)
    assert loaded.tokenizer.external_ids(output.ids) == full[2:].tolist()
    told = wenmo("generate", "m2m", "--prompt", "春眠", "--max-tokens", 5, cwd=tmp_path)
    assert "through transformers" in told.stderr
    (folder / "generation_config.json").write_text('{"forced_bos_token_id": 300}')
    with pytest.raises(WenmoError, match="not ids of the model"):
        open_pretrained(folder)


def test_continuous_cache_is_refused(wenmo: Any, tmp_path: Path) -> None:
    load_both(tmp_path / "causal", "causal")
    (tmp_path / "my.txt").write_text("春眠不觉晓\n" * 20, "utf-8")
    refused = wenmo("evaluate", "causal", "my.txt", "--cache", 9, cwd=tmp_path, code=2)
    assert "leave --cache out" in refused.stderr


def test_model_is_scored_but_not_trained(wenmo: Any, tmp_path: Path) -> None:
    load_both(tmp_path / "blenderbot", "blenderbot")
    pairs = "".join(f"fox {n}\t狐狸\nsea {n}\t海\n" for n in range(10))
    (tmp_path / "pairs.tsv").write_text("source\ttarget\n" + pairs, "utf-8")
    command = ("evaluate", "blenderbot", "pairs.tsv", "--json")
    figures = json.loads(wenmo(*command, cwd=tmp_path).stdout)
    assert figures["bits_per_byte"] > 0
    command = ("train", "pairs.tsv", "--from", "blenderbot", "--out", "run", "--steps", "1")
    refused = wenmo(*command, "--task", "translation", cwd=tmp_path, code=2)
    assert "not trained here" in refused.stderr
