"""Dequantize float8 weights that are stored with scales.

The format is that of DeepSeek-V3 (2024, section 3.3) and Qwen3: each block of 128 by 128 values of
a float8 matrix ``NAME`` is multiplied by one value of ``NAME_scale_inv``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wenmo.interchange.external_config import (
    ConfigReader,
    Schema,
    UnsupportedSettingError,
    name_set,
)
from wenmo.types import WenmoError

SCALE_SUFFIX = "_scale_inv"
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)
ACTIVATION_SCALES = ("activation_scale", "input_scale")  # not used: activations are not quantized
SCHEMA = Schema(
    {"weight_block_size": None, "quant_method": None},
    {"fmt": ("e4m3",)},
    # Layers that are not quantized are recognized by their dtypes. Activations are not quantized
    # here; that only makes inference faster.
    name_set("activation_scheme modules_to_not_convert ignored_layers dequantize"),
)


def read_block_size(settings: Mapping[str, Any] | None) -> tuple[int, int] | None:
    """Rows and columns of the block that shares a scale, from a ``quantization_config``.

    Returns:
        None: each matrix has one scale.

    Raises:
        UnsupportedSettingError: the quantization method is not supported.
    """
    if not settings:
        return None
    config = ConfigReader(settings, SCHEMA)
    if config["quant_method"] != "fp8":
        method = f"quant_method = {config['quant_method']!r}"
        raise UnsupportedSettingError(f"quantization_config: {method} is not supported here")
    try:
        block_size = config["weight_block_size"]
        config.check_all_read()
        return None if block_size is None else (int(block_size[0]), int(block_size[1]))
    except UnsupportedSettingError as error:
        raise UnsupportedSettingError(f"quantization_config: {error}") from None


def dequantize(
    path: Path, tensors: Mapping[str, Tensor], block_size: tuple[int, int] | None
) -> dict[str, Tensor]:
    """Multiply float8 weights by their scales; the result has no scales.

    Raises:
        WenmoError: a float8 weight has no scale or one of a wrong shape, or a weight of another
            dtype has a scale.
    """
    weights: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE_SUFFIX) and name.removesuffix(SCALE_SUFFIX) in tensors:
            continue
        stem, _, suffix = name.rpartition(".")
        weight = tensors.get(f"{stem}.weight")
        if suffix in ACTIVATION_SCALES and weight is not None and weight.dtype in FLOAT8:
            continue
        if tensor.dtype in FLOAT8:
            scale = tensors.get(name + SCALE_SUFFIX)
            if scale is None:
                raise WenmoError(f"{path}: the weight {name!r} is in float8, but has no scale")
            tensor = _apply_scale(path, name, tensor.float(), scale.float(), block_size)
        elif name + SCALE_SUFFIX in tensors:
            raise WenmoError(f"{path}: the weight {name!r} has a scale, but is not in float8")
        weights[name] = tensor
    return weights


def _apply_scale(
    path: Path, name: str, weight: Tensor, scale: Tensor, block_size: tuple[int, int] | None
) -> Tensor:
    sizes = tuple(zip(weight.shape, block_size or weight.shape, strict=False))
    if scale.numel() == 1 and all(length <= size for length, size in sizes):
        return weight * scale.reshape(())
    expected = [-(-length // size) for length, size in sizes]
    if block_size is None or weight.dim() != 2 or list(scale.shape) != expected:
        raise WenmoError(f"{path}: the scales of {name!r} do not fit the weight")
    for dim in (0, 1):
        scale = scale.repeat_interleave(block_size[dim], dim).narrow(dim, 0, weight.shape[dim])
    return weight * scale
