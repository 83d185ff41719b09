"""GGUF files are read as the `gguf` package reads them; damaged ones are refused in one line."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from wenmo.interchange.gguf import Gguf
from wenmo.interchange.pretrained import open_pretrained
from wenmo.types import WenmoError

gguf = pytest.importorskip("gguf", reason="needs the gguf package")
KINDS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q6_K", "Q4_K", "Q2_K")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with settings of every kind, and weights of every kind that can be made up."""
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


def test_it_reads_what_the_package_reads(path: Path) -> None:
    file, theirs = Gguf(path), gguf.GGUFReader(path)
    assert file.settings["a.number"] == 7
    assert file.settings["a.fraction"] == 0.5
    assert file.settings["a.truth"] is True
    assert file.settings["a.text"] == "春眠"
    assert file.settings["some.texts"] == ["a", "", "é"]
    assert file.settings["some.numbers"].tolist() == [1, 2, 3]
    for tensor in theirs.tensors:
        expected = gguf.dequantize(tensor.data, tensor.tensor_type)
        given = file.read(tensor.name)
        assert given.dtype == np.float32
        assert given.shape == tuple(reversed(tensor.shape.tolist()))
        np.testing.assert_array_equal(given, expected.reshape(given.shape))


def test_a_file_cut_anywhere_is_refused(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    cut = tmp_path / "cut.gguf"
    for size in [*range(0, 400, 7), *range(400, len(whole) - 32, 997)]:
        cut.write_bytes(whole[:size])
        with pytest.raises(WenmoError) as error:
            Gguf(cut)
        assert "\n" not in str(error.value)


def test_a_header_that_lies_is_refused(path: Path, tmp_path: Path) -> None:
    """Every aligned number of the header, made huge, is refused or changes nothing that matters."""
    whole, lying = path.read_bytes(), tmp_path / "lying.gguf"
    refused = 0
    for at in range(4, 900, 3):
        lying.write_bytes(whole[:at] + struct.pack("<Q", 1 << 62) + whole[at + 8 :])
        with suppress(WenmoError):
            Gguf(lying)
            continue
        refused += 1
    assert refused > 150


def test_a_file_that_holds_no_model_is_refused(path: Path) -> None:
    with pytest.raises(WenmoError, match="is missing") as error:
        open_pretrained(path)
    assert "\n" not in str(error.value)


def test_what_is_no_gguf_file_is_refused(tmp_path: Path) -> None:
    for content, match in (
        (b"", "cannot be read"),
        (b"GGML" + bytes(40), "does not begin"),
        (b"GGUF" + struct.pack("<I", 99) + bytes(40), "version 99"),
    ):
        (tmp_path / "x.gguf").write_bytes(content)
        with pytest.raises(WenmoError, match=match):
            Gguf(tmp_path / "x.gguf")
    with pytest.raises(WenmoError, match="no such file"):
        Gguf(tmp_path / "nothing.gguf")
