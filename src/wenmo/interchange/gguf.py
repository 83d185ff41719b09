"""Read GGUF files: metadata and tensors, dequantized.

The header is not trusted: every length in it is checked against the rest of the file before memory
is allocated. The `gguf` package dequantizes.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wenmo.types import WenmoError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
# NumPy dtypes of the scalar metadata types, by type id; 8 is a string, 9 an array.
SCALARS = dict(enumerate(("u1", "i1", "<u2", "<i2", "<u4", "<i4", "<f4", "?")))
SCALARS |= {10: "<u8", 11: "<i8", 12: "<f8"}
STRING, ARRAY = 8, 9
MAX_DIMENSIONS = 4
DEFAULT_ALIGNMENT = 32


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Shape, type and location of a tensor.

    Attributes:
        shape: outermost dimension first, as in PyTorch.
        type_id: its quantization type, as a number.
        start, end: offsets in bytes from the beginning of the file.
    """

    shape: tuple[int, ...]
    type_id: int
    start: int
    end: int


class GgufFile:
    """An open GGUF file; the header is read, the tensors are memory-mapped.

    Attributes:
        metadata: the values of the header by key; arrays of numbers are NumPy arrays, arrays of
            strings are lists.
        tensors: information about each tensor, by name.

    Raises:
        WenmoError: no such file, or not a complete GGUF file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise WenmoError(f"{path}: no such file") from None
        except (OSError, ValueError) as error:  # mmap refuses an empty file with a ValueError
            raise WenmoError(f"{path}: cannot be read: {error}") from None
        try:
            self.metadata, self.tensors = _header(_Cursor(self._data))
        except _DamagedError as error:
            raise WenmoError(f"{path}: damaged, not a complete GGUF file: {error}") from None

    def read(self, name: str) -> NDArray[np.float32]:
        """Read a tensor, and convert it to float32.

        Raises:
            WenmoError: its type is not supported, or the `gguf` package is not installed.
        """
        info = self.tensors[name]
        raw = np.frombuffer(self._data, np.uint8, info.end - info.start, info.start)
        rows = raw.reshape(*info.shape[:-1], -1)
        try:
            values: NDArray[np.float32] = _quants().dequantize(
                rows, _quantization_type(info.type_id)
            )
        except NotImplementedError:
            raise WenmoError(
                f"{self.path}: {name}: weights of type {_quantization_type(info.type_id).name} "
                "are not supported"
            ) from None
        return values.reshape(info.shape).astype(np.float32, copy=False)


class _DamagedError(Exception):
    """The header is not valid; the message says why."""


class _Cursor:
    """Reads values one after another; a read beyond the end of the data raises `_DamagedError`."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.position = data, 0

    def read(self, size: int, label: str) -> bytes:
        if size > len(self.data) - self.position:
            raise _DamagedError(f"{label} needs {size:,} bytes, beyond the end of the file")
        self.position += size
        return self.data[self.position - size : self.position]

    def scalar(self, dtype: str, label: str) -> Any:
        return np.frombuffer(self.read(np.dtype(dtype).itemsize, label), dtype)[0].item()

    def string(self, label: str) -> str:
        size = self.scalar("<u8", label)
        try:
            return self.read(size, label).decode("utf-8")
        except UnicodeDecodeError:
            raise _DamagedError(f"{label} is not valid UTF-8") from None

    def value(self, type_id: int, label: str) -> Any:
        if type_id in SCALARS:
            return self.scalar(SCALARS[type_id], label)
        if type_id == STRING:
            return self.string(label)
        if type_id != ARRAY:
            raise _DamagedError(f"{label} has the unknown type {type_id}")
        item_type, count = self.scalar("<u4", label), self.scalar("<u8", label)
        if item_type in SCALARS:
            dtype = np.dtype(SCALARS[item_type])
            return np.frombuffer(self.read(count * dtype.itemsize, label), dtype)
        if item_type != STRING:
            raise _DamagedError(f"{label} is an array of the unknown type {item_type}")
        if (
            count > (len(self.data) - self.position) // 8
        ):  # each string takes 8 bytes at least, for its length
            raise _DamagedError(f"{label} needs {count:,} strings, beyond the end of the file")
        return [self.string(label) for _ in range(count)]


def _header(cursor: _Cursor) -> tuple[dict[str, Any], dict[str, TensorInfo]]:
    if cursor.read(4, "the magic number") != MAGIC:
        raise _DamagedError("it does not begin with GGUF")
    version = cursor.scalar("<u4", "the version")
    if version not in VERSIONS:
        raise _DamagedError(f"version {version} is not supported")
    tensor_count, key_count = (cursor.scalar("<u8", "a count") for _ in range(2))
    metadata: dict[str, Any] = {}
    for _ in _bounded_range(key_count, cursor, 12, "settings"):
        key = cursor.string("the name of a setting")
        metadata[key] = cursor.value(cursor.scalar("<u4", key), key)
    infos = list(_tensor_infos(tensor_count, cursor))
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise _DamagedError("general.alignment is not a positive integer")
    data_start = -(-cursor.position // alignment) * alignment
    return metadata, {
        name: _tensor_info(name, shape, type_id, data_start + offset, cursor)
        for name, shape, type_id, offset in infos
    }


def _tensor_infos(count: int, cursor: _Cursor) -> Iterator[tuple[str, tuple[int, ...], int, int]]:
    """Name, shape, type id and offset of each tensor."""
    for _ in _bounded_range(count, cursor, 24, "weights"):
        name = cursor.string("the name of a weight")
        dimensions = cursor.scalar("<u4", name)
        if not 0 < dimensions <= MAX_DIMENSIONS:
            raise _DamagedError(f"{name} has {dimensions} dimensions")
        shape = tuple(cursor.scalar("<u8", name) for _ in range(dimensions))[::-1]
        yield name, shape, cursor.scalar("<u4", name), cursor.scalar("<u8", name)


def _tensor_info(
    name: str, shape: tuple[int, ...], type_id: int, start: int, cursor: _Cursor
) -> TensorInfo:
    try:
        block_size, block_bytes = _constants().GGML_QUANT_SIZES[_quantization_type(type_id)]
    except ValueError:
        raise _DamagedError(f"{name} has the unknown type {type_id}") from None
    if shape[-1] % block_size:
        raise _DamagedError(
            f"{name} has rows of {shape[-1]}, not a multiple of the block size {block_size}"
        )
    length = prod(shape) // block_size * block_bytes
    if start + length > len(cursor.data):
        raise _DamagedError(f"{name} needs {length:,} bytes, beyond the end of the file")
    return TensorInfo(shape, type_id, start, start + length)


def _bounded_range(count: int, cursor: _Cursor, min_bytes: int, label: str) -> range:
    """``range(count)``, if the rest of the file has at least ``min_bytes`` for each item."""
    if count > (len(cursor.data) - cursor.position) // min_bytes:
        raise _DamagedError(f"it needs {count:,} {label}, beyond the end of the file")
    return range(count)


def _quantization_type(type_id: int) -> Any:
    return _constants().GGMLQuantizationType(type_id)


def _constants() -> Any:
    return gguf_package().constants


def _quants() -> Any:
    return gguf_package().quants


def gguf_package() -> Any:
    """The `gguf` package.

    Raises:
        WenmoError: it is not installed.
    """
    try:
        import gguf
    except ImportError:
        raise WenmoError('GGUF files need a package: pip install "wenmo[gguf]"') from None
    return gguf
