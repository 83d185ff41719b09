"""A run folder loads in ``transformers`` and gives the same logits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.files import write_json
from wenmo.interchange.huggingface import layout_of, tokenizer_config
from wenmo.models import MODELS
from wenmo.models.capabilities import parameter_count
from wenmo.models.transformer.config import TransformerConfig
from wenmo.models.transformer.model import Transformer
from wenmo.models.transformer.presets import GPT2, MARIAN, T5
from wenmo.runs.config import NgramPriorConfig
from wenmo.runs.recipe import Recipe
from wenmo.runs.store import load_model, save_model
from wenmo.tensors import load_tensors, save_tensors
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import END, Tokenizer
from wenmo.types import WenmoError

VOCAB = 19
CLASSIC = replace(GPT2, hidden_size=24, layers=2, heads=3, context_length=40)
MODERN = TransformerConfig(
    hidden_size=24, layers=3, heads=4, kv_heads=2, head_dim=10, context_length=40
)
LAYOUTS = {
    "gpt2": CLASSIC,
    "gpt2, other settings": replace(CLASSIC, ffn_size=20, norm_eps=1e-2, heads=1, dropout=0.3),
    "gpt2, untied": replace(CLASSIC, tie_embeddings=False),
    "qwen3": MODERN,
    "qwen3, untied": replace(MODERN, tie_embeddings=False, kv_heads=1, norm_eps=1e-2),
    "llama": replace(MODERN, qk_norm=False),
    "llama, longer, with biases": replace(
        MODERN, qk_norm=False, bias=True, rope_scaling=(8.0, 1.0, 4.0, 16.0)
    ),
    "qwen2": replace(MODERN, qk_norm=False, qkv_bias=True),
    "mistral": replace(MODERN, qk_norm=False, sliding_window=5),
    "qwen3, other settings": replace(
        MODERN, kv_heads=None, head_dim=None, rope_theta=50.0, ffn_size=20, dropout=0.3
    ),
}
SMALL = {"hidden_size": 24, "layers": 2, "encoder_layers": 2, "heads": 3, "ffn_size": 20}
ENCODED = {
    "t5": replace(T5, **SMALL, head_dim=10),
    "t5, plain": replace(T5, **SMALL, activation="relu", tie_embeddings=False, scale_logits=False),
    "marian": replace(MARIAN, **SMALL, context_length=40),
}
TEXTS = [
    "春眠不觉晓，处处闻啼鸟。",
    "The quick brown fox, 12345 times.",
    "夜来风雨声，花落知多少。 end",
]

every_layout = pytest.mark.parametrize("config", LAYOUTS.values(), ids=LAYOUTS)


def random_model(config: TransformerConfig) -> Transformer:
    """Random weights, including norms and biases, so that a missing one changes the logits."""
    torch.manual_seed(0)
    model = config.build(VOCAB).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return model


def recipe_of(config: Any) -> Recipe:
    return Recipe("gpt", config, ngram_prior=NgramPriorConfig(enabled=False))


def load_with_transformers(folder: Path) -> Any:
    """Load a folder with ``transformers``; every weight must be found."""
    from transformers import AutoModelForCausalLM

    external, report = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, output_loading_info=True
    )
    assert not any(report.values()), report
    return external.eval()


def some_ids(rows: int, time: int) -> torch.Tensor:
    return torch.randint(VOCAB, (rows, time), generator=torch.Generator().manual_seed(1))


@every_layout
def test_logits_match_transformers(config: TransformerConfig, tmp_path: Path) -> None:
    model, ids = random_model(config), some_ids(3, config.context_length)
    save_model(tmp_path, recipe_of(config), model)
    external = load_with_transformers(tmp_path)
    assert external.dtype == torch.float32
    assert external.num_parameters() == parameter_count(model)
    with torch.no_grad():
        torch.testing.assert_close(external(ids).logits, model(ids)[0], rtol=1e-5, atol=1e-5)


@every_layout
def test_transformers_checkpoint_loads(config: TransformerConfig, tmp_path: Path) -> None:
    model, ids = random_model(config), some_ids(3, 20)
    save_model(tmp_path, recipe_of(config), model)
    back = load_model(tmp_path, recipe_of(config), VOCAB)
    assert back.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name
    load_with_transformers(tmp_path).save_pretrained(tmp_path / "theirs")
    again = load_model(tmp_path / "theirs", recipe_of(config), VOCAB)
    with torch.no_grad():
        torch.testing.assert_close(again(ids)[0], model(ids)[0], rtol=0, atol=0)


@pytest.mark.parametrize("config", [CLASSIC, MODERN], ids=["gpt2", "qwen3"])
def test_greedy_texts_match_transformers(config: TransformerConfig, tmp_path: Path) -> None:
    model, prompt = random_model(config), [5, 3, 11]
    save_model(tmp_path, recipe_of(config), model)
    engine = AutoregressiveEngine(model)
    engine.submit(Request(prompt, Sampling(method="greedy", max_tokens=20, min_tokens=20)))
    internal = [event.token for event in engine.run()]
    external = load_with_transformers(tmp_path)
    ids = torch.tensor([[END, *prompt]])
    written = external.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        pad_token_id=END,
        max_new_tokens=20,
        min_new_tokens=20,
        do_sample=False,
    )
    assert written[0, ids.shape[1] :].tolist() == internal
    assert len(set(internal)) > 3


@pytest.mark.parametrize("kind", ["characters", "bytes", "words", "bpe", "unigram"])
def test_tokenizer_matches_transformers(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = Tokenizer.train(TEXTS * 3, TokenizerConfig(kind))  # type: ignore[arg-type]
    tokenizer.save(tmp_path / "tokenizer.json")
    write_json(tmp_path / "tokenizer_config.json", tokenizer_config(40, "<|end|>"))
    external = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert len(external) == tokenizer.vocab_size
    assert external.model_max_length == 40
    assert external.bos_token_id == external.eos_token_id == END
    for text in (*TEXTS, "unseen: ☃ 𠮷 é\n\n  two", "。！？ ,.", ""):
        ids = tokenizer.encode(text).tolist()
        assert external.encode(text, add_special_tokens=False) == ids
        assert external.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids) == text
        assert external.decode([*ids, END], skip_special_tokens=True) == text


@pytest.mark.parametrize("config", ENCODED.values(), ids=ENCODED)
def test_encoder_decoder_matches_transformers(config: TransformerConfig, tmp_path: Path) -> None:
    from transformers import AutoModelForSeq2SeqLM

    model = random_model(config)
    save_model(tmp_path, recipe_of(config), model)
    external, found = AutoModelForSeq2SeqLM.from_pretrained(
        tmp_path, local_files_only=True, output_loading_info=True
    )
    assert not any(found.values()), found
    source, ids = some_ids(3, 9) + 1, some_ids(3, 12)
    source = (source % (VOCAB - 1)) + 1
    with torch.no_grad():
        full = external.eval()(input_ids=source, decoder_input_ids=ids, use_cache=False).logits
        given, _ = model(ids, model.initial_state(3, source=source))
    torch.testing.assert_close(given, full, rtol=1e-4, atol=1e-4)
    back = load_model(tmp_path, recipe_of(config), VOCAB)
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_unsupported_model_keeps_internal_names(tmp_path: Path) -> None:
    homeless = [
        replace(MODERN, bias=True),
        replace(MODERN, scale_embeddings=True),
        replace(MODERN, norm="layer"),
        replace(CLASSIC, kv_heads=1),
        replace(CLASSIC, head_dim=4),
        replace(CLASSIC, bias=False),
    ]
    for config in [*homeless, MODELS["lstm"].config]:
        assert layout_of(config, VOCAB) is None
    model = random_model(homeless[0])
    save_model(tmp_path, recipe_of(homeless[0]), model)
    assert not (tmp_path / "config.json").exists()
    assert load_tensors(tmp_path / "model.safetensors").keys() == model.state_dict().keys()


def test_config_is_plain_json(tmp_path: Path) -> None:
    save_model(tmp_path, recipe_of(MODERN), random_model(MODERN))
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert (config["vocab_size"], config["head_dim"], config["num_key_value_heads"]) == (19, 10, 2)
    assert config["bos_token_id"] == config["eos_token_id"] == END


@pytest.mark.parametrize("config", [CLASSIC, MODERN], ids=["gpt2", "qwen3"])
def test_error_for_mismatched_weights_is_one_line(
    config: TransformerConfig, tmp_path: Path
) -> None:
    save_model(tmp_path, recipe_of(config), random_model(config))
    path = tmp_path / "model.safetensors"
    whole = load_tensors(path)
    with pytest.raises(WenmoError, match="does not fit the settings"):
        load_model(tmp_path, recipe_of(config), VOCAB + 1)
    for name in whole:
        kept = {n: t for n, t in whole.items() if n != name}
        save_tensors(path, kept)
        with pytest.raises(WenmoError, match=f"the weight '{name}' is missing"):
            load_model(tmp_path, recipe_of(config), VOCAB)
        save_tensors(path, {**kept, name: whole[name][..., :2]})
        with pytest.raises(WenmoError, match="does not fit") as error:
            load_model(tmp_path, recipe_of(config), VOCAB)
        assert "\n" not in str(error.value)
