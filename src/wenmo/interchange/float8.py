"""Weights stored in eight bits with scales beside them, made whole.

The format is that of DeepSeek-V3 (2024, section 3.3) and Qwen3: each block of 128 by 128 numbers of
a float8 matrix ``NAME`` is to be multiplied by one number of ``NAME_scale_inv``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wenmo.interchange.external_config import (
    ExternalConfig,
    Schema,
    UnsupportedSettingError,
    names,
)
from wenmo.types import WenmoError

SCALE = "_scale_inv"
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)
ACTIVATIONS = ("activation_scale", "input_scale")  # of numbers between layers: see below
SCHEMA = Schema(
    {"weight_block_size": None, "quant_method": None},
    {"fmt": ("e4m3",)},
    # Which layers stayed as they were is seen from their types; how numbers between layers are
    # rounded makes it quicker elsewhere, and is not done here.
    names("activation_scheme modules_to_not_convert ignored_layers dequantize"),
)


def block_of(settings: Mapping[str, Any] | None) -> tuple[int, int] | None:
    """The block that shares a scale, rows and columns, of a ``quantization_config``; None: a matrix
    has one scale.

    Raises:
        UnsupportedSettingError: the weights are quantized in another way.
    """
    if not settings:
        return None
    config = ExternalConfig(settings, SCHEMA)
    if config["quant_method"] != "fp8":
        method = f"quant_method = {config['quant_method']!r}"
        raise UnsupportedSettingError(f"quantization_config: {method} is not supported here")
    try:
        block = config["weight_block_size"]
        config.check_all_read()
        return None if block is None else (int(block[0]), int(block[1]))
    except UnsupportedSettingError as error:
        raise UnsupportedSettingError(f"quantization_config: {error}") from None


def dequantize(
    path: Path, tensors: Mapping[str, Tensor], block: tuple[int, int] | None
) -> dict[str, Tensor]:
    """The weights as floating-point numbers, without the scales.

    Raises:
        WenmoError: a weight has no scale, or one that does not fit; or it is stored in another way.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in tensors:
            continue
        stem, _, last = name.rpartition(".")
        weight = tensors.get(f"{stem}.weight")
        if last in ACTIVATIONS and weight is not None and weight.dtype in FLOAT8:
            continue
        if tensor.dtype in FLOAT8:
            scale = tensors.get(name + SCALE)
            if scale is None:
                raise WenmoError(f"{path}: the weight {name!r} is in float8, but has no scale")
            tensor = _scaled(path, name, tensor.float(), scale.float(), block)
        elif name + SCALE in tensors:
            raise WenmoError(f"{path}: the weight {name!r} has a scale, but is not in float8")
        found[name] = tensor
    return found


def _scaled(
    path: Path, name: str, weight: Tensor, scale: Tensor, block: tuple[int, int] | None
) -> Tensor:
    sizes = tuple(zip(weight.shape, block or weight.shape, strict=False))
    if scale.numel() == 1 and all(size <= most for size, most in sizes):
        return weight * scale.reshape(())
    blocks = [-(-size // most) for size, most in sizes]
    if block is None or weight.dim() != 2 or list(scale.shape) != blocks:
        raise WenmoError(f"{path}: the scales of {name!r} do not fit the weight")
    for dim in (0, 1):
        scale = scale.repeat_interleave(block[dim], dim).narrow(dim, 0, weight.shape[dim])
    return weight * scale
