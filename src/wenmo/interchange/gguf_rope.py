"""RoPE scaling in GGUF files: one factor for all frequencies in the metadata, or a tensor with one
factor for each frequency, as for Llama 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wenmo.interchange.gguf import GgufFile
from wenmo.models.transformer.config import TransformerConfig
from wenmo.models.transformer.positions import rotary_frequencies
from wenmo.types import WenmoError

FREQUENCY_FACTORS = "rope_freqs.weight"
RELATIVE_TOLERANCE = 1e-5  # slightly above the rounding error of float32
LOW_FREQ_FACTOR, HIGH_FREQ_FACTOR = 1.0, 4.0  # values of Llama 3.1


def read_rope_scaling(
    file: GgufFile, settings: Mapping[str, Any], config: TransformerConfig
) -> tuple[float, ...]:
    """Read the RoPE scaling of a file, in the form of `TransformerConfig.rope_scaling`.

    Args:
        settings: the metadata of the architecture, without its name as a prefix.
        config: the model's other settings.

    Raises:
        WenmoError: the scaling is not supported.
    """
    scaling_type = settings.get("rope.scaling.type", "linear")
    if scaling_type not in ("none", "linear"):
        raise WenmoError(f"{file.path}: RoPE scaling of type {scaling_type!r} is not supported")
    legacy_factor = settings.get("rope.scale_linear", 1.0)
    factor = float(settings.get("rope.scaling.factor", legacy_factor))
    linear = (factor,) if scaling_type == "linear" and factor not in (0.0, 1.0) else ()
    if FREQUENCY_FACTORS not in file.tensors:
        return linear
    factors = torch.from_numpy(file.read(FREQUENCY_FACTORS).copy())
    scaling = None if linear else _fit_scaling(factors, config)
    if scaling is None:
        raise WenmoError(f"{file.path}: the RoPE scaling of {FREQUENCY_FACTORS} is not supported")
    return scaling


def write_rope_scaling(writer: Any, architecture: str, config: TransformerConfig) -> None:
    """Write the RoPE scaling; inverse of `read_rope_scaling`.

    Raises:
        WenmoError: the architecture does not support it.
    """
    scaling = config.rope_scaling
    if len(scaling) == 1:
        writer.add_string(f"{architecture}.rope.scaling.type", "linear")
        writer.add_float32(f"{architecture}.rope.scaling.factor", scaling[0])
    elif scaling and architecture != "llama":
        raise WenmoError(
            f"GGUF files of {architecture} do not support the RoPE scaling of Llama 3.1"
        )
    elif scaling:
        factors = _frequencies(config) / _frequencies(config, scaling)
        writer.add_tensor(FREQUENCY_FACTORS, factors.numpy().astype(np.float32))


def _fit_scaling(factors: Tensor, config: TransformerConfig) -> tuple[float, ...] | None:
    """The parameters with which Llama 3.1's rule gives these factors; None if there are none."""
    frequencies = _frequencies(config)
    if factors.shape != frequencies.shape or not bool(
        (factors >= 1).all() & factors.isfinite().all()
    ):
        return None
    factor = float(factors.max())
    if bool((factors == factor).all()):
        return () if factor == 1 else (factor,)
    unscaled_ratio = (1 / factors - 1 / factor) / (1 - 1 / factor)
    for high, context in _fit_ramps(frequencies.double(), unscaled_ratio.double()):
        for candidate in (
            (factor, LOW_FREQ_FACTOR, high, round(context)),
            (factor, LOW_FREQ_FACTOR, high, context),
        ):
            scaling = tuple(map(float, candidate))
            expected = frequencies / _frequencies(config, scaling)
            if high > LOW_FREQ_FACTOR and torch.allclose(
                expected, factors, rtol=RELATIVE_TOLERANCE, atol=0
            ):
                return scaling
    return None


def _fit_ramps(frequencies: Tensor, unscaled_ratio: Tensor) -> Iterator[tuple[float, float]]:
    """Candidates for ``high_freq_factor`` and the original context length.

    The unscaled ratio of a frequency grows linearly with the number of rotations within the
    context, from 0 at ``low_freq_factor`` to 1 at ``high_freq_factor``. A line has two parameters,
    so ``low_freq_factor`` is fixed at 1. The first candidate assumes ``high_freq_factor`` 4, the
    usual value. The others fit a line to the points on the ramp and, if these are too few, to the
    neighbouring points too.
    """
    fully_scaled, unscaled = (
        unscaled_ratio <= RELATIVE_TOLERANCE,
        unscaled_ratio >= 1 - RELATIVE_TOLERANCE,
    )
    on_ramp = ~fully_scaled & ~unscaled
    if on_ramp.any():
        rotations = (HIGH_FREQ_FACTOR - LOW_FREQ_FACTOR) * unscaled_ratio[on_ramp] + LOW_FREQ_FACTOR
        yield HIGH_FREQ_FACTOR, 2 * math.pi * float((rotations / frequencies[on_ramp]).mean())
    last_scaled = fully_scaled & (frequencies == frequencies.where(fully_scaled, 0.0).max())
    first_unscaled = unscaled & (frequencies == frequencies.where(unscaled, math.inf).min())
    for points in (
        on_ramp,
        on_ramp | last_scaled,
        on_ramp | first_unscaled,
        on_ramp | last_scaled | first_unscaled,
    ):
        if points.sum() > 1:
            x, y = frequencies[points], unscaled_ratio[points]
            slope, intercept = torch.linalg.lstsq(
                torch.stack([x, x * 0 + 1], 1), y
            ).solution.tolist()
            if intercept < 0:
                yield (
                    LOW_FREQ_FACTOR - LOW_FREQ_FACTOR / intercept,
                    2 * math.pi * slope * -LOW_FREQ_FACTOR / intercept,
                )


def _frequencies(config: TransformerConfig, scaling: tuple[float, ...] = ()) -> Tensor:
    return rotary_frequencies(config.resolved_head_dim, config.rope_theta, scaling)
