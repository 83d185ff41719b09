"""No setting and no weight of another program's folder is ignored: it is used, or known to change
nothing, or refused by its name; what is not supported here runs through `transformers`."""

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
from wenmo.interchange.layouts import KINDS
from wenmo.interchange.opened import LoadedModel
from wenmo.interchange.pretrained import open_pretrained
from wenmo.text.pretrained import byte_level
from wenmo.text.vocabularies import byte_alphabet
from wenmo.types import WenmoError

VOCAB, END_THERE = 260, 257
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
MODERN = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
}


def save(folder: Path, kind: str, **settings: Any) -> Any:
    """A small model with random weights, saved by `transformers`, with a tokenizer of bytes."""
    import transformers

    config, name, sizes = SIZES[kind]
    sizes = sizes | (MODERN if name.endswith("ForCausalLM") else {}) | settings
    torch.manual_seed(0)
    marks = {"bos_token_id": 256, "eos_token_id": END_THERE, "pad_token_id": 258}
    made = getattr(transformers, config)(vocab_size=VOCAB, **marks | sizes)
    model = getattr(transformers, name)(made).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    model.save_pretrained(folder)
    letters = {letter: id_ for id_, letter in enumerate(byte_alphabet())}
    known = {"<s>": 256, "</s>": END_THERE, "<pad>": 258, "<x>": 259}
    byte_level({**letters, **known}, [], special=known).save(str(folder / "tokenizer.json"))
    return model


def edit(folder: Path, **changes: Any) -> None:
    """Change settings; those that are given ``...`` are removed."""
    content = json.loads((folder / "config.json").read_text())
    content = {n: v for n, v in {**content, **changes}.items() if v is not ...}
    (folder / "config.json").write_text(json.dumps(content))


def change(folder: Path, of: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    """Change the weights."""
    path = folder / "model.safetensors"
    save_file(of(load_file(path)), path, {"format": "pt"})


def logits(ours: LoadedModel) -> torch.Tensor:
    """For some ids, in the other program's order."""
    ids = torch.arange(1, 25)[None]
    state = None
    if ours.model.conditioning == "encoder":
        state = ours.model.initial_state(1, source=torch.arange(30, 40)[None])
    with torch.no_grad():
        return ours.model(ids, state)[0][..., ours.tokenizer.external_ids(range(VOCAB))]


def same(ours: LoadedModel, theirs: Any) -> None:
    with torch.no_grad():
        expected = theirs(torch.arange(1, 25)[None]).logits
    torch.testing.assert_close(logits(ours), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_those_of_transformers(kind: str) -> None:
    import transformers

    whole = transformers.CONFIG_MAPPING[kind]().to_dict()
    given, there = (KINDS[kind].config_of(each) for each in ({"model_type": kind}, whole))
    said = {"kv_heads": given.query_groups, "head_dim": given.width_of_head}
    assert replace(given, **said) == replace(there, **said)
    assert (given.query_groups, given.width_of_head) == (there.query_groups, there.width_of_head)
    for name in ("vocab_size", "eos_token_id", "decoder_start_token_id"):
        assert SCHEMAS[kind].defaults.get(name) == whole.get(name)


OLDER: dict[str, dict[str, Any]] = {
    "gpt2": {"n_ctx": 1024, "output_past": True, "summary_type": "cls_index", "pruned_heads": {}},
    "llama": {"is_llama_config": True, "rope_interleaved": False, "pretraining_tp": 1},
    "qwen2": {"use_mrope": False, "sliding_window": 32768, "max_window_layers": 21},
    "t5": {"n_positions": 512, "output_past": True, "task_specific_params": {"a": {}}},
    "bart": {"normalize_embedding": True, "num_hidden_layers": 12, "classif_dropout": 0.1},
    "mbart": {"add_final_layer_norm": True, "normalize_before": True, "_num_labels": 3},
    "marian": {"static_position_embeddings": True, "extra_pos_embeddings": 58_101},
    "bert": {"directionality": "bidi", "pooler_fc_size": 768, "type_vocab_size": 2},
}


@pytest.mark.parametrize("kind", OLDER)
def test_what_older_files_say_is_known(kind: str) -> None:
    settings = {"model_type": kind, "bos_token_id": 0, "num_beams": 4, "torch_dtype": "float16"}
    assert KINDS[kind].config_of({**settings, **OLDER[kind]})
    with pytest.raises(UnsupportedSettingError, match="other = 1 is not supported"):
        KINDS[kind].config_of({**settings, **OLDER[kind], "other": 1})


def test_a_file_of_few_settings_opens(tmp_path: Path) -> None:
    theirs = save(tmp_path, "llama", num_key_value_heads=2, max_position_embeddings=2048)
    names = ("max_position_embeddings", "rms_norm_eps", "rope_parameters", "head_dim")
    edit(tmp_path, **dict.fromkeys((*names, "num_key_value_heads", "hidden_act"), ...))
    same(open_pretrained(tmp_path), theirs)


@pytest.mark.parametrize(
    ("kind", "settings"),
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
def test_what_is_not_supported_runs_through_transformers_or_is_refused(
    kind: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = save(tmp_path, kind, **settings)
    ours = open_pretrained(tmp_path)
    same(ours, theirs)
    assert "runs through transformers" in str(ours.note)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WenmoError, match="pip install transformers") as error:
        open_pretrained(tmp_path)
    name = {"rope_parameters": "positions of type", "max_window_layers": "layer_types"}
    last = next(reversed(settings))
    assert name.get(last, last) in str(error.value)
    assert "\n" not in str(error.value)


def test_all_layers_with_a_window_open_here(tmp_path: Path) -> None:
    theirs = save(tmp_path, "qwen2", use_sliding_window=True, sliding_window=4, max_window_layers=0)
    ours = open_pretrained(tmp_path)
    assert ours.note is None
    same(ours, theirs)


def test_a_setting_that_nobody_knows_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, "llama")
    edit(tmp_path, attention_softcap=30.0)
    with pytest.raises(
        WenmoError, match=r"attention_softcap is a setting that is known neither.*remove it"
    ):
        open_pretrained(tmp_path)
    edit(tmp_path, attention_softcap=None, unsloth_version="1", _attn="x", temperature=0.5)
    assert open_pretrained(tmp_path).note is None
    edit(tmp_path, quantization_config={"quant_method": "awq", "bits": 4})
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WenmoError, match="quantization_config: quant_method = 'awq'"):
        open_pretrained(tmp_path)


@pytest.mark.parametrize(("kind", "prefix"), [("gpt2", "transformer."), ("llama", "model.")])
def test_names_without_their_prefix_open(kind: str, prefix: str, tmp_path: Path) -> None:
    theirs = save(tmp_path, kind)
    change(tmp_path, lambda found: {n.removeprefix(prefix): t for n, t in found.items()})
    same(open_pretrained(tmp_path), theirs)
    change(tmp_path, lambda found: {f"module.{n}": t for n, t in found.items()})
    same(open_pretrained(tmp_path), theirs)


def test_a_bart_without_its_prefix_and_its_bias_opens(tmp_path: Path) -> None:
    save(tmp_path, "bart")
    expected = logits(open_pretrained(tmp_path))

    def bare(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        kept = {n: t for n, t in found.items() if n != "final_logits_bias"}
        return {n.removeprefix("model."): t for n, t in kept.items()}

    change(tmp_path, bare)
    torch.testing.assert_close(logits(open_pretrained(tmp_path)), expected)


def test_every_weight_is_used_or_refused_by_its_name(tmp_path: Path) -> None:
    save(tmp_path, "gpt2")
    mask = {"transformer.h.0.attn.bias": torch.ones(1, 1, 4, 4, dtype=torch.uint8)}
    change(tmp_path, lambda found: found | mask)
    open_pretrained(tmp_path)
    change(tmp_path, lambda found: found | {"transformer.h.0.ln_3.weight": torch.ones(16)})
    with pytest.raises(WenmoError, match=r"the weight 'transformer.h.0.ln_3.weight' is not known"):
        open_pretrained(tmp_path)


def test_weights_through_transformers_are_all_found_and_used(tmp_path: Path) -> None:
    save(tmp_path, "gpt2", scale_attn_weights=False)
    change(tmp_path, lambda found: found | {"transformer.h.0.ln_3.weight": torch.ones(16)})
    with pytest.raises(WenmoError, match=r"unexpected keys: transformer.h.0.ln_3.weight"):
        open_pretrained(tmp_path)


def eighths(folder: Path, block: tuple[int, int] | None) -> dict[str, torch.Tensor]:
    """Turn matrices into float8 with a scale for each block; returns what they stand for."""
    whole: dict[str, torch.Tensor] = {}

    def quantized(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        whole.update(found)
        for name in [name for name in found if name.endswith("proj.weight")]:
            weight = found[name]
            rows, columns = block or weight.shape
            scale = torch.zeros(-(-weight.shape[0] // rows), -(-weight.shape[1] // columns))
            for i in range(len(scale)):
                for j in range(scale.shape[1]):
                    place = (
                        slice(i * rows, (i + 1) * rows),
                        slice(j * columns, (j + 1) * columns),
                    )
                    scale[i, j] = (1 + i + 2 * j) * weight[place].abs().max() / 448
                    eight = (weight[place] / scale[i, j]).to(torch.float8_e4m3fn)
                    whole[name][place] = eight.float() * scale[i, j]
            found[name] = torch.cat(
                [
                    torch.cat(
                        [cell / scale[i, j] for j, cell in enumerate(row.split(columns, 1))],
                        1,
                    )
                    for i, row in enumerate(whole[name].split(rows))
                ]
            ).to(torch.float8_e4m3fn)
            found[f"{name}_scale_inv"] = scale if block else scale.reshape(())
        return found

    change(folder, quantized)
    return whole


@pytest.mark.parametrize("block", [(5, 7), (128, 128), None])
def test_float8_weights_are_scaled(block: tuple[int, int] | None, tmp_path: Path) -> None:
    theirs = save(tmp_path, "qwen3")
    whole = eighths(tmp_path, block)
    quantization = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic"}
    edit(tmp_path, quantization_config={**quantization, "weight_block_size": block})
    theirs.load_state_dict(whole, strict=False)
    same(open_pretrained(tmp_path), theirs)


def test_float8_weights_that_cannot_be_scaled_are_refused(tmp_path: Path) -> None:
    save(tmp_path, "qwen3")
    eighths(tmp_path, (5, 7))
    edit(tmp_path, quantization_config={"quant_method": "fp8", "weight_block_size": [5, 9]})
    with pytest.raises(WenmoError, match=r"the scales of '.*' do not fit"):
        open_pretrained(tmp_path)
    edit(tmp_path, quantization_config=...)
    with pytest.raises(WenmoError, match=r"the scales of '.*' do not fit"):
        open_pretrained(tmp_path)
    change(tmp_path, lambda found: {n: t for n, t in found.items() if "scale" not in n})
    with pytest.raises(WenmoError, match="float8, but has no scale"):
        open_pretrained(tmp_path)
    change(tmp_path, lambda found: {n: t.to(torch.int8) for n, t in found.items()})
    with pytest.raises(WenmoError, match="int8"):
        open_pretrained(tmp_path)
