"""GGUF files, read: settings and weights, the quantized ones made whole.

The header is read here, and believed in nothing: every length it names is held against what is left
of the file before anything is made of it. What each quantized type means is the `gguf` package's
knowledge.
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
# The scalar types of settings by their number, in NumPy's notation; 8 is a string, 9 an array.
SCALARS = dict(enumerate(("u1", "i1", "<u2", "<i2", "<u4", "<i4", "<f4", "?")))
SCALARS |= {10: "<u8", 11: "<i8", 12: "<f8"}
STRING, ARRAY = 8, 9
MOST_DIMENSIONS = 4
DEFAULT_ALIGNMENT = 32


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a weight lies in the file.

    Attributes:
        shape: outermost dimension first, as PyTorch has it.
        kind: the number of its type.
        begin, end: bytes from the beginning of the file.
    """

    shape: tuple[int, ...]
    kind: int
    begin: int
    end: int


class Gguf:
    """A GGUF file, of which the header has been read.

    Attributes:
        settings: every key of the header with its value; arrays of numbers as NumPy arrays, arrays
            of strings as lists.
        weights: every weight by its name there.

    Raises:
        WenmoError: no such file, or not a whole GGUF file.
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
            self.settings, self.weights = _header(_Cursor(self._data))
        except _DamagedError as error:
            raise WenmoError(f"{path}: damaged, not a whole GGUF file: {error}") from None

    def read(self, name: str) -> NDArray[np.float32]:
        """A weight in float32, whatever it is stored as.

        Raises:
            WenmoError: its type is not known, or the `gguf` package is not there.
        """
        stored = self.weights[name]
        raw = np.frombuffer(self._data, np.uint8, stored.end - stored.begin, stored.begin)
        rows = raw.reshape(*stored.shape[:-1], -1)
        try:
            whole: NDArray[np.float32] = _quants().dequantize(rows, _kind(stored.kind))
        except NotImplementedError:
            raise WenmoError(
                f"{self.path}: {name}: weights of type {_kind(stored.kind).name} cannot be read"
            ) from None
        return whole.reshape(stored.shape).astype(np.float32, copy=False)


class _DamagedError(Exception):
    """What is wrong with a header."""


class _Cursor:
    """Reads from a place onwards, and never beyond the end."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def take(self, size: int, what: str) -> bytes:
        if size > len(self.data) - self.at:
            raise _DamagedError(f"{what} would take {size:,} bytes, beyond its end")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, form: str, what: str) -> Any:
        return np.frombuffer(self.take(np.dtype(form).itemsize, what), form)[0].item()

    def string(self, what: str) -> str:
        size = self.number("<u8", what)
        try:
            return self.take(size, what).decode("utf-8")
        except UnicodeDecodeError:
            raise _DamagedError(f"{what} is no UTF-8") from None

    def value(self, kind: int, what: str) -> Any:
        if kind in SCALARS:
            return self.number(SCALARS[kind], what)
        if kind == STRING:
            return self.string(what)
        if kind != ARRAY:
            raise _DamagedError(f"{what} has the unknown type {kind}")
        inner, count = self.number("<u4", what), self.number("<u8", what)
        if inner in SCALARS:
            form = np.dtype(SCALARS[inner])
            return np.frombuffer(self.take(count * form.itemsize, what), form)
        if inner != STRING:
            raise _DamagedError(f"{what} is an array of the unknown type {inner}")
        if count > (len(self.data) - self.at) // 8:  # a string is at least its length
            raise _DamagedError(f"{what} would have {count:,} strings, beyond its end")
        return [self.string(what) for _ in range(count)]


def _header(cursor: _Cursor) -> tuple[dict[str, Any], dict[str, Stored]]:
    if cursor.take(4, "the mark") != MAGIC:
        raise _DamagedError("it does not begin with GGUF")
    version = cursor.number("<u4", "the version")
    if version not in VERSIONS:
        raise _DamagedError(f"version {version} is not known")
    weights, keys = (cursor.number("<u8", "a count") for _ in range(2))
    settings: dict[str, Any] = {}
    for _ in _counted(keys, cursor, 12, "settings"):
        key = cursor.string("the name of a setting")
        settings[key] = cursor.value(cursor.number("<u4", key), key)
    placed = list(_placed(weights, cursor))
    alignment = settings.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise _DamagedError("general.alignment is no positive number")
    base = -(-cursor.at // alignment) * alignment
    return settings, {
        name: _stored(name, shape, kind, base + offset, cursor)
        for name, shape, kind, offset in placed
    }


def _placed(count: int, cursor: _Cursor) -> Iterator[tuple[str, tuple[int, ...], int, int]]:
    """Name, shape, type and place of each weight."""
    for _ in _counted(count, cursor, 24, "weights"):
        name = cursor.string("the name of a weight")
        dimensions = cursor.number("<u4", name)
        if not 0 < dimensions <= MOST_DIMENSIONS:
            raise _DamagedError(f"{name} has {dimensions} dimensions")
        shape = tuple(cursor.number("<u8", name) for _ in range(dimensions))[::-1]
        yield name, shape, cursor.number("<u4", name), cursor.number("<u8", name)


def _stored(name: str, shape: tuple[int, ...], kind: int, begin: int, cursor: _Cursor) -> Stored:
    try:
        block, size = _constants().GGML_QUANT_SIZES[_kind(kind)]
    except ValueError:
        raise _DamagedError(f"{name} has the unknown type {kind}") from None
    if shape[-1] % block:
        raise _DamagedError(
            f"{name} has rows of {shape[-1]}, which are not whole blocks of {block}"
        )
    length = prod(shape) // block * size
    if begin + length > len(cursor.data):
        raise _DamagedError(f"{name} would take {length:,} bytes, beyond its end")
    return Stored(shape, kind, begin, begin + length)


def _counted(count: int, cursor: _Cursor, least: int, what: str) -> range:
    """A range of as many as there are said to be, if each can have its least number of bytes."""
    if count > (len(cursor.data) - cursor.at) // least:
        raise _DamagedError(f"it would have {count:,} {what}, beyond its end")
    return range(count)


def _kind(number: int) -> Any:
    return _constants().GGMLQuantizationType(number)


def _constants() -> Any:
    return package().constants


def _quants() -> Any:
    return package().quants


def package() -> Any:
    """The `gguf` package.

    Raises:
        WenmoError: it is not installed.
    """
    try:
        import gguf
    except ImportError:
        raise WenmoError('GGUF files need a package: pip install "wenmo[gguf]"') from None
    return gguf
