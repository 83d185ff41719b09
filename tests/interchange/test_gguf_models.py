"""Models exported as GGUF files load again with the same logits."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wenmo.interchange import gguf_export
from wenmo.interchange.gguf import GgufFile
from wenmo.interchange.gguf_export import write_gguf
from wenmo.interchange.pretrained import locate, open_pretrained
from wenmo.models.transformer.config import TransformerConfig
from wenmo.models.transformer.model import Transformer
from wenmo.text.pretrained import PretrainedTokenizer, byte_level
from wenmo.text.vocabularies import byte_alphabet
from wenmo.types import SpecialTokens, WenmoError

gguf = pytest.importorskip("gguf", reason="needs the gguf package")
LLAMA = TransformerConfig(
    hidden_size=64,
    layers=2,
    heads=2,
    kv_heads=1,
    context_length=96,
    rope_theta=500_000.0,
    qk_norm=False,
)
QWEN3 = TransformerConfig(hidden_size=64, layers=2, heads=2, kv_heads=1, context_length=96)
SCALINGS = {
    "none": (),
    "all by a factor": (4.0,),
    "Llama 3.1": (8.0, 1.0, 4.0, 8192.0),
    "Llama 3.2": (32.0, 1.0, 4.0, 8192.0),
    "a short context": (8.0, 1.0, 4.0, 32.0),
    "no speed on the slope": (2.0, 1.0, 1.01, 64.0),
    "one speed on a steep slope": (2.0, 1.0, 1.5, 64.0),
    "all by a factor, in fact": (2.0, 100.0, 200.0, 64.0),
    "another slope": (3.0, 1.5, 30.0, 1000.0),
}


def tokenizer() -> PretrainedTokenizer:
    letters = {letter: id_ for id_, letter in enumerate(byte_alphabet())}
    marks = {"<s>": 256, "</s>": 257, "<eot>": 258, "<eom>": 259}
    return PretrainedTokenizer(byte_level({**letters, **marks}, [], special=marks), end=257)


def random_model(config: TransformerConfig, **settings: Any) -> Transformer:
    torch.manual_seed(0)
    model = replace(config, zero_init_residual=False, **settings).build(260).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return model


def write(path: Path, model: Transformer) -> None:
    write_gguf(path, model, model.config, tokenizer(), precision="float32")


def assert_same_logits(path: Path, model: Transformer) -> None:
    ids = torch.randint(1, 256, (2, 90), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, _ = model(ids)
        given, _ = open_pretrained(path).model(ids)
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scaling", SCALINGS.values(), ids=SCALINGS)
def test_rope_scaling_round_trip(scaling: tuple[float, ...], tmp_path: Path) -> None:
    model = random_model(LLAMA, rope_scaling=scaling)
    write(tmp_path / "my.gguf", model)
    assert_same_logits(tmp_path / "my.gguf", model)
    if "Llama 3" in {ours: name for name, ours in SCALINGS.items()}[scaling]:
        found = open_pretrained(tmp_path / "my.gguf").config
        assert isinstance(found, TransformerConfig)
        assert found.rope_scaling == scaling


def test_rope_factors_match_llama_3_1(tmp_path: Path) -> None:
    """The published rule of Llama 3.1, computed one wavelength at a time."""
    factor, low, high, context = SCALINGS["Llama 3.1"]
    write(tmp_path / "my.gguf", random_model(LLAMA, rope_scaling=SCALINGS["Llama 3.1"]))
    expected = []
    for pair in range(0, 32, 2):
        wavelength = 2 * math.pi * 500_000.0 ** (pair / 32)
        if wavelength < context / high:
            expected.append(1.0)
        elif wavelength > context / low:
            expected.append(factor)
        else:
            smooth = (context / wavelength - low) / (high - low)
            expected.append(1 / ((1 - smooth) / factor + smooth))
    given = GgufFile(tmp_path / "my.gguf").read("rope_freqs.weight")
    np.testing.assert_allclose(given, expected, rtol=1e-5)
    assert len(set(expected)) > 2


def test_linear_rope_scaling_metadata(tmp_path: Path) -> None:
    write(tmp_path / "my.gguf", random_model(QWEN3, rope_scaling=(4.0,)))
    settings = GgufFile(tmp_path / "my.gguf").metadata
    assert settings["qwen3.rope.scaling.type"] == "linear"
    assert settings["qwen3.rope.scaling.factor"] == 4.0
    assert_same_logits(tmp_path / "my.gguf", random_model(QWEN3, rope_scaling=(4.0,)))


def test_unsupported_rope_scaling_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(WenmoError, match="qwen3 do not support"):
        write(tmp_path / "my.gguf", random_model(QWEN3, rope_scaling=SCALINGS["Llama 3.1"]))
    assert not (tmp_path / "my.gguf").exists()


@pytest.mark.parametrize(
    ("match", "settings", "factors"),
    [
        ("'yarn' is not supported", {"type": "yarn"}, None),
        ("is not supported", {}, [1.0, 5.0] * 8),
        ("is not supported", {}, [1.0] * 15),
        ("is not supported", {}, [math.nan] * 16),
        ("is not supported", {}, [2.0 + pair for pair in range(16)]),
        ("is not supported", {}, [9.0, *[1.0] * 15]),
        ("is not supported", {"type": "linear", "factor": 2.0}, [1.0] * 15 + [2.0]),
    ],
)
def test_unsupported_rope_scaling_is_refused(
    match: str, settings: dict[str, Any], factors: list[float] | None, tmp_path: Path
) -> None:
    def replacement(writer: Any, architecture: str, config: TransformerConfig) -> None:
        for name, value in settings.items():
            add = writer.add_string if isinstance(value, str) else writer.add_float32
            add(f"{architecture}.rope.scaling.{name}", value)
        if factors is not None:
            writer.add_tensor("rope_freqs.weight", np.array(factors, np.float32))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf_export, "write_rope_scaling", replacement)
        write(tmp_path / "my.gguf", random_model(LLAMA))
    with pytest.raises(WenmoError, match=match) as error:
        open_pretrained(tmp_path / "my.gguf")
    assert "\n" not in str(error.value)


def test_end_tokens_round_trip(tmp_path: Path) -> None:
    model = random_model(LLAMA)
    model.special_tokens = SpecialTokens(eos=(258, 259))
    write(tmp_path / "my.gguf", model)
    settings = GgufFile(tmp_path / "my.gguf").metadata
    assert settings["tokenizer.ggml.eot_token_id"] == 258
    assert settings["tokenizer.ggml.eom_token_id"] == 259
    assert open_pretrained(tmp_path / "my.gguf").model.special_tokens.eos == (258, 259)


@pytest.mark.parametrize("name", ["my.gguf", "my.GGUF"])
def test_suffix_is_matched_in_any_case(name: str, tmp_path: Path) -> None:
    write(tmp_path / name, random_model(LLAMA))
    assert locate(tmp_path / name) == tmp_path / name
    assert_same_logits(tmp_path / name, random_model(LLAMA))


@pytest.mark.parametrize(
    ("match", "setting"),
    [
        ("llama.expert_count = 8 is not supported", ("llama.expert_count", 8)),
        ("llama.attention.clamp_kqv = 8 is not supported", ("llama.attention.clamp_kqv", 8)),
        ("rope.dimension_count = 16 is not supported", ("llama.rope.dimension_count", 16)),
        ("one of 3 files", ("split.count", 3)),
    ],
)
def test_unsupported_metadata_is_refused(
    match: str, setting: tuple[str, int], tmp_path: Path
) -> None:
    def replacement(writer: Any, architecture: str, config: TransformerConfig) -> None:
        writer.kv_data[0].pop(setting[0], None)
        writer.add_uint32(*setting)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf_export, "write_rope_scaling", replacement)
        write(tmp_path / "my.gguf", random_model(LLAMA))
    with pytest.raises(WenmoError, match=match):
        open_pretrained(tmp_path / "my.gguf")


def test_unknown_tensor_is_refused(tmp_path: Path) -> None:
    def replacement(writer: Any, architecture: str, config: TransformerConfig) -> None:
        writer.add_tensor("blk.0.attn_post_norm.weight", np.ones(64, np.float32))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf_export, "write_rope_scaling", replacement)
        write(tmp_path / "my.gguf", random_model(LLAMA))
    with pytest.raises(WenmoError, match=r"'blk.0.attn_post_norm.weight' is not known"):
        open_pretrained(tmp_path / "my.gguf")


def test_sampling_defaults_are_read(tmp_path: Path) -> None:
    def replacement(writer: Any, architecture: str, config: TransformerConfig) -> None:
        writer.add_float32("general.sampling.temp", 0.25)
        writer.add_int32("general.sampling.top_k", 20)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf_export, "write_rope_scaling", replacement)
        write(tmp_path / "my.gguf", random_model(LLAMA))
    opened = open_pretrained(tmp_path / "my.gguf")
    assert opened.sampling == {"method": "sample", "temperature": 0.25, "top_k": 20}
