"""Values read from GGUF files match the `gguf` package; damaged files are refused in one line."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from wenmo.interchange.gguf import GgufFile
from wenmo.interchange.pretrained import open_pretrained
from wenmo.types import WenmoError

gguf = pytest.importorskip("gguf", reason="needs the gguf package")
KINDS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q6_K", "Q4_K", "Q2_K")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with metadata of all types, and tensors of all types that the package quantizes."""
    path = tmp_path / "made.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("a.number", 7)
    writer.add_float32("a.fraction", 0.5)
    writer.add_bool("a.truth", True)
    writer.add_string("a.text", "春眠")
    writer.add_array("some.texts", ["a", "", "é"])
    writer.add_array("some.numbers", [1, 2, 3])
    random = np.random.default_rng(0)
    for kind in KINDS:
        type_ = gguf.GGMLQuantizationType[kind]
        block, size = gguf.GGML_QUANT_SIZES[type_]
        if kind == "F32":
            data = random.normal(size=(3, 64)).astype(np.float32)
            writer.add_tensor(f"w.{kind}", data)
            continue
        raw = random.integers(0, 60, (3, 512 // block * size), np.uint8)
        writer.add_tensor(f"w.{kind}", raw, raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_values_match_the_gguf_package(path: Path) -> None:
    file, theirs = GgufFile(path), gguf.GGUFReader(path)
    assert file.metadata["a.number"] == 7
    assert file.metadata["a.fraction"] == 0.5
    assert file.metadata["a.truth"] is True
    assert file.metadata["a.text"] == "春眠"
    assert file.metadata["some.texts"] == ["a", "", "é"]
    assert file.metadata["some.numbers"].tolist() == [1, 2, 3]
    for tensor in theirs.tensors:
        expected = gguf.dequantize(tensor.data, tensor.tensor_type)
        given = file.read(tensor.name)
        assert given.dtype == np.float32
        assert given.shape == tuple(reversed(tensor.shape.tolist()))
        np.testing.assert_array_equal(given, expected.reshape(given.shape))


def test_truncated_file_is_refused(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    truncated = tmp_path / "cut.gguf"
    for size in [*range(0, 400, 7), *range(400, len(content) - 32, 997)]:
        truncated.write_bytes(content[:size])
        with pytest.raises(WenmoError) as error:
            GgufFile(truncated)
        assert "\n" not in str(error.value)


def test_corrupted_header_is_refused(path: Path, tmp_path: Path) -> None:
    """Overwrites parts of the header with a huge number; no other exception may be raised."""
    content, corrupted = path.read_bytes(), tmp_path / "lying.gguf"
    refused = 0
    for offset in range(4, 900, 3):
        corrupted.write_bytes(content[:offset] + struct.pack("<Q", 1 << 62) + content[offset + 8 :])
        with suppress(WenmoError):
            GgufFile(corrupted)
            continue
        refused += 1
    assert refused > 150


def test_file_without_a_model_is_refused(path: Path) -> None:
    with pytest.raises(WenmoError, match="is missing") as error:
        open_pretrained(path)
    assert "\n" not in str(error.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    for content, match in (
        (b"", "cannot be read"),
        (b"GGML" + bytes(40), "does not begin"),
        (b"GGUF" + struct.pack("<I", 99) + bytes(40), "version 99"),
    ):
        (tmp_path / "x.gguf").write_bytes(content)
        with pytest.raises(WenmoError, match=match):
            GgufFile(tmp_path / "x.gguf")
    with pytest.raises(WenmoError, match="no such file"):
        GgufFile(tmp_path / "nothing.gguf")
