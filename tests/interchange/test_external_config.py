"""Settings and weights of external models: each is used, known to have no effect, or refused by
name; unsupported models run through `transformers`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from wenmo.interchange.external_config import SCHEMAS, UnsupportedSettingError
from wenmo.interchange.layouts import ARCHITECTURES
from wenmo.interchange.loaded_model import LoadedModel
from wenmo.interchange.pretrained import open_pretrained
from wenmo.text.pretrained import byte_level
from wenmo.text.vocabularies import byte_alphabet
from wenmo.types import WenmoError

VOCAB, EXTERNAL_END = 260, 257
SIZES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", {"n_embd": 16, "n_layer": 2, "n_head": 2}),
    "llama": ("LlamaConfig", "LlamaForCausalLM", {}),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", {}),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", {"head_dim": 8}),
    "bart": (
        "BartConfig",
        "BartForConditionalGeneration",
        {
            "d_model": 16,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 24,
            "decoder_ffn_dim": 24,
            "max_position_embeddings": 32,
        },
    ),
}
LLAMA_SIZES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
}


def save_model(folder: Path, model_type: str, **settings: Any) -> Any:
    """Save a small random model with `transformers`, and a byte tokenizer."""
    import transformers

    config, name, sizes = SIZES[model_type]
    sizes = sizes | (LLAMA_SIZES if name.endswith("ForCausalLM") else {}) | settings
    torch.manual_seed(0)
    token_ids = {"bos_token_id": 256, "eos_token_id": EXTERNAL_END, "pad_token_id": 258}
    config_object = getattr(transformers, config)(vocab_size=VOCAB, **token_ids | sizes)
    model = getattr(transformers, name)(config_object).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    model.save_pretrained(folder)
    alphabet = {letter: id_ for id_, letter in enumerate(byte_alphabet())}
    known = {"<s>": 256, "</s>": EXTERNAL_END, "<pad>": 258, "<x>": 259}
    byte_level({**alphabet, **known}, [], special=known).save(str(folder / "tokenizer.json"))
    return model


def edit_config(folder: Path, **changes: Any) -> None:
    """Change settings; the value ``...`` removes one."""
    content = json.loads((folder / "config.json").read_text())
    content = {n: v for n, v in {**content, **changes}.items() if v is not ...}
    (folder / "config.json").write_text(json.dumps(content))


def edit_weights(
    folder: Path, of: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    """Change the weights."""
    path = folder / "model.safetensors"
    save_file(of(load_file(path)), path, {"format": "pt"})


def external_logits(loaded: LoadedModel) -> torch.Tensor:
    """Logits of some ids, in external order."""
    ids = torch.arange(1, 25)[None]
    state = None
    if loaded.model.conditioning == "encoder":
        state = loaded.model.initial_state(1, source=torch.arange(30, 40)[None])
    with torch.no_grad():
        return loaded.model(ids, state)[0][..., loaded.tokenizer.external_ids(range(VOCAB))]


def assert_same_logits(loaded: LoadedModel, reference: Any) -> None:
    with torch.no_grad():
        expected = reference(torch.arange(1, 25)[None]).logits
    torch.testing.assert_close(external_logits(loaded), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_defaults_are_those_of_transformers(model_type: str) -> None:
    import transformers

    defaults = transformers.CONFIG_MAPPING[model_type]().to_dict()
    from_defaults, from_full_config = (
        ARCHITECTURES[model_type].config_of(content)
        for content in ({"model_type": model_type}, defaults)
    )
    resolved = {"kv_heads": from_defaults.query_groups, "head_dim": from_defaults.resolved_head_dim}
    assert replace(from_defaults, **resolved) == replace(from_full_config, **resolved)
    assert (from_defaults.query_groups, from_defaults.resolved_head_dim) == (
        from_full_config.query_groups,
        from_full_config.resolved_head_dim,
    )
    for name in ("vocab_size", "eos_token_id", "decoder_start_token_id"):
        assert SCHEMAS[model_type].defaults.get(name) == defaults.get(name)


OLD_SETTINGS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_ctx": 1024, "output_past": True, "summary_type": "cls_index", "pruned_heads": {}},
    "llama": {"is_llama_config": True, "rope_interleaved": False, "pretraining_tp": 1},
    "qwen2": {"use_mrope": False, "sliding_window": 32768, "max_window_layers": 21},
    "t5": {"n_positions": 512, "output_past": True, "task_specific_params": {"a": {}}},
    "bart": {"normalize_embedding": True, "num_hidden_layers": 12, "classif_dropout": 0.1},
    "mbart": {"add_final_layer_norm": True, "normalize_before": True, "_num_labels": 3},
    "marian": {"static_position_embeddings": True, "extra_pos_embeddings": 58_101},
    "bert": {"directionality": "bidi", "pooler_fc_size": 768, "type_vocab_size": 2},
}


@pytest.mark.parametrize("model_type", OLD_SETTINGS)
def test_settings_of_old_files_are_accepted(model_type: str) -> None:
    settings = {
        "model_type": model_type,
        "bos_token_id": 0,
        "num_beams": 4,
        "torch_dtype": "float16",
    }
    assert ARCHITECTURES[model_type].config_of({**settings, **OLD_SETTINGS[model_type]})
    with pytest.raises(UnsupportedSettingError, match="other = 1 is not supported"):
        ARCHITECTURES[model_type].config_of({**settings, **OLD_SETTINGS[model_type], "other": 1})


def test_missing_settings_get_defaults(tmp_path: Path) -> None:
    reference = save_model(tmp_path, "llama", num_key_value_heads=2, max_position_embeddings=2048)
    names = ("max_position_embeddings", "rms_norm_eps", "rope_parameters", "head_dim")
    edit_config(tmp_path, **dict.fromkeys((*names, "num_key_value_heads", "hidden_act"), ...))
    assert_same_logits(open_pretrained(tmp_path), reference)


@pytest.mark.parametrize(
    ("model_type", "settings"),
    [
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
        ("gpt2", {"scale_attn_weights": False}),
        ("llama", {"attention_bias": True}),
        ("qwen3", {"attention_bias": True}),
        ("llama", {"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "rope_theta": 1e4}}),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
    ],
)
def test_unsupported_settings_need_transformers(
    model_type: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = save_model(tmp_path, model_type, **settings)
    loaded = open_pretrained(tmp_path)
    assert_same_logits(loaded, reference)
    assert "runs through transformers" in str(loaded.note)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WenmoError, match="pip install transformers") as error:
        open_pretrained(tmp_path)
    name = {"rope_parameters": "scaling of type", "max_window_layers": "layer_types"}
    last = next(reversed(settings))
    assert name.get(last, last) in str(error.value)
    assert "\n" not in str(error.value)


def test_sliding_window_in_all_layers_is_supported(tmp_path: Path) -> None:
    reference = save_model(
        tmp_path, "qwen2", use_sliding_window=True, sliding_window=4, max_window_layers=0
    )
    loaded = open_pretrained(tmp_path)
    assert loaded.note is None
    assert_same_logits(loaded, reference)


def test_unknown_setting_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path, "llama")
    edit_config(tmp_path, attention_softcap=30.0)
    with pytest.raises(WenmoError, match=r"attention_softcap is a setting that neither.*remove it"):
        open_pretrained(tmp_path)
    edit_config(tmp_path, attention_softcap=None, unsloth_version="1", _attn="x", temperature=0.5)
    assert open_pretrained(tmp_path).note is None
    edit_config(tmp_path, quantization_config={"quant_method": "awq", "bits": 4})
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WenmoError, match="quantization_config: quant_method = 'awq'"):
        open_pretrained(tmp_path)


@pytest.mark.parametrize(("model_type", "prefix"), [("gpt2", "transformer."), ("llama", "model.")])
def test_weight_names_without_prefix_are_accepted(
    model_type: str, prefix: str, tmp_path: Path
) -> None:
    reference = save_model(tmp_path, model_type)
    edit_weights(tmp_path, lambda found: {n.removeprefix(prefix): t for n, t in found.items()})
    assert_same_logits(open_pretrained(tmp_path), reference)
    edit_weights(tmp_path, lambda found: {f"module.{n}": t for n, t in found.items()})
    assert_same_logits(open_pretrained(tmp_path), reference)


def test_bart_without_prefix_and_bias_is_accepted(tmp_path: Path) -> None:
    save_model(tmp_path, "bart")
    expected = external_logits(open_pretrained(tmp_path))

    def bare(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        kept = {n: t for n, t in found.items() if n != "final_logits_bias"}
        return {n.removeprefix("model."): t for n, t in kept.items()}

    edit_weights(tmp_path, bare)
    torch.testing.assert_close(external_logits(open_pretrained(tmp_path)), expected)


def test_unknown_weight_is_refused_by_name(tmp_path: Path) -> None:
    save_model(tmp_path, "gpt2")
    mask = {"transformer.h.0.attn.bias": torch.ones(1, 1, 4, 4, dtype=torch.uint8)}
    edit_weights(tmp_path, lambda found: found | mask)
    open_pretrained(tmp_path)
    edit_weights(tmp_path, lambda found: found | {"transformer.h.0.ln_3.weight": torch.ones(16)})
    with pytest.raises(WenmoError, match=r"the weight 'transformer.h.0.ln_3.weight' is not known"):
        open_pretrained(tmp_path)


def test_transformers_fallback_refuses_unused_weights(tmp_path: Path) -> None:
    save_model(tmp_path, "gpt2", scale_attn_weights=False)
    edit_weights(tmp_path, lambda found: found | {"transformer.h.0.ln_3.weight": torch.ones(16)})
    with pytest.raises(WenmoError, match=r"unexpected keys: transformer.h.0.ln_3.weight"):
        open_pretrained(tmp_path)


def quantize_to_float8(folder: Path, block: tuple[int, int] | None) -> dict[str, torch.Tensor]:
    """Quantize matrices to float8 with a scale for each block; returns the dequantized weights."""
    dequantized: dict[str, torch.Tensor] = {}

    def quantize(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        dequantized.update(tensors)
        for name in [name for name in tensors if name.endswith("proj.weight")]:
            weight = tensors[name]
            rows, columns = block or weight.shape
            scale = torch.zeros(-(-weight.shape[0] // rows), -(-weight.shape[1] // columns))
            for i in range(len(scale)):
                for j in range(scale.shape[1]):
                    block_slice = (
                        slice(i * rows, (i + 1) * rows),
                        slice(j * columns, (j + 1) * columns),
                    )
                    scale[i, j] = (1 + i + 2 * j) * weight[block_slice].abs().max() / 448
                    quantized_block = (weight[block_slice] / scale[i, j]).to(torch.float8_e4m3fn)
                    dequantized[name][block_slice] = quantized_block.float() * scale[i, j]
            tensors[name] = torch.cat(
                [
                    torch.cat(
                        [cells / scale[i, j] for j, cells in enumerate(row.split(columns, 1))],
                        1,
                    )
                    for i, row in enumerate(dequantized[name].split(rows))
                ]
            ).to(torch.float8_e4m3fn)
            tensors[f"{name}_scale_inv"] = scale if block else scale.reshape(())
        return tensors

    edit_weights(folder, quantize)
    return dequantized


@pytest.mark.parametrize("block", [(5, 7), (128, 128), None])
def test_float8_weights_are_dequantized(block: tuple[int, int] | None, tmp_path: Path) -> None:
    reference = save_model(tmp_path, "qwen3")
    dequantized = quantize_to_float8(tmp_path, block)
    quantization = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic"}
    edit_config(tmp_path, quantization_config={**quantization, "weight_block_size": block})
    reference.load_state_dict(dequantized, strict=False)
    assert_same_logits(open_pretrained(tmp_path), reference)


def test_invalid_float8_scales_are_refused(tmp_path: Path) -> None:
    save_model(tmp_path, "qwen3")
    quantize_to_float8(tmp_path, (5, 7))
    edit_config(tmp_path, quantization_config={"quant_method": "fp8", "weight_block_size": [5, 9]})
    with pytest.raises(WenmoError, match=r"the scales of '.*' do not fit"):
        open_pretrained(tmp_path)
    edit_config(tmp_path, quantization_config=...)
    with pytest.raises(WenmoError, match=r"the scales of '.*' do not fit"):
        open_pretrained(tmp_path)
    edit_weights(tmp_path, lambda found: {n: t for n, t in found.items() if "scale" not in n})
    with pytest.raises(WenmoError, match="float8, but has no scale"):
        open_pretrained(tmp_path)
    edit_weights(tmp_path, lambda found: {n: t.to(torch.int8) for n, t in found.items()})
    with pytest.raises(WenmoError, match="int8"):
        open_pretrained(tmp_path)
