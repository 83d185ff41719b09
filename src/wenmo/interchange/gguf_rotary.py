"""How GGUF files tell that rotary positions are slowed for longer texts: all of them by a factor in
the settings, or each by a factor of its own in a tensor, as for Llama 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wenmo.interchange.gguf import Gguf
from wenmo.models.transformer.config import TransformerConfig
from wenmo.models.transformer.positions import rotary_speeds
from wenmo.types import WenmoError

FACTORS = "rope_freqs.weight"
CLOSE = 1e-5  # relative: a little more than float32 loses
LOW, HIGH = 1.0, 4.0  # of Llama 3.1


def read_scaling(
    file: Gguf, settings: Mapping[str, Any], config: TransformerConfig
) -> tuple[float, ...]:
    """The scaling of a file's rotary positions, as of `Rotation.at`.

    Args:
        settings: those of the file's architecture, without its name.
        config: the model's other settings.

    Raises:
        WenmoError: it is of a kind that is not known here.
    """
    way = settings.get("rope.scaling.type", "linear")
    if way not in ("none", "linear"):
        raise WenmoError(f"{file.path}: rotary positions of the type {way!r} are not known here")
    older = settings.get("rope.scale_linear", 1.0)
    factor = float(settings.get("rope.scaling.factor", older))
    slowed = (factor,) if way == "linear" and factor not in (0.0, 1.0) else ()
    if FACTORS not in file.weights:
        return slowed
    factors = torch.from_numpy(file.read(FACTORS).copy())
    found = None if slowed else _scaling_of(factors, config)
    if found is None:
        raise WenmoError(f"{file.path}: {FACTORS} slows rotary positions in a way not known here")
    return found


def write_scaling(writer: Any, kind: str, config: TransformerConfig) -> None:
    """Write what `read_scaling` reads.

    Raises:
        WenmoError: such a file cannot hold it.
    """
    scaling = config.rope_scaling
    if len(scaling) == 1:
        writer.add_string(f"{kind}.rope.scaling.type", "linear")
        writer.add_float32(f"{kind}.rope.scaling.factor", scaling[0])
    elif scaling and kind != "llama":
        raise WenmoError(f"a GGUF file of a {kind} cannot hold positions slowed as in Llama 3.1")
    elif scaling:
        factors = _speeds(config) / _speeds(config, scaling)
        writer.add_tensor(FACTORS, factors.numpy().astype(np.float32))


def _scaling_of(factors: Tensor, config: TransformerConfig) -> tuple[float, ...] | None:
    """The figures with which Llama 3.1's rule gives these factors, if there are such."""
    speeds = _speeds(config)
    if factors.shape != speeds.shape or not bool((factors >= 1).all() & factors.isfinite().all()):
        return None
    factor = float(factors.max())
    if bool((factors == factor).all()):
        return () if factor == 1 else (factor,)
    kept = (1 / factors - 1 / factor) / (1 - 1 / factor)
    for high, context in _slopes(speeds.double(), kept.double()):
        for figures in ((factor, LOW, high, round(context)), (factor, LOW, high, context)):
            found = tuple(map(float, figures))
            given = speeds / _speeds(config, found)
            if high > LOW and torch.allclose(given, factors, rtol=CLOSE, atol=0):
                return found
    return None


def _slopes(speeds: Tensor, kept: Tensor) -> Iterator[tuple[float, float]]:
    """What ``high`` and the context may be: the share of a speed that is kept grows with it, in a
    straight line from ``low`` to ``high`` turns within the context.

    Such a line has two parameters, so that ``low`` may be taken to be 1. The first guess is that
    ``high`` is 4, as everywhere. Otherwise the line goes through what lies on the slope and, where
    that is not enough, through its neighbours.
    """
    slow, whole = kept <= CLOSE, kept >= 1 - CLOSE
    slope = ~slow & ~whole
    if slope.any():
        turns = (HIGH - LOW) * kept[slope] + LOW
        yield HIGH, 2 * math.pi * float((turns / speeds[slope]).mean())
    last = slow & (speeds == speeds.where(slow, 0.0).max())
    first = whole & (speeds == speeds.where(whole, math.inf).min())
    for points in (slope, slope | last, slope | first, slope | last | first):
        if points.sum() > 1:
            x, y = speeds[points], kept[points]
            rise, start = torch.linalg.lstsq(torch.stack([x, x * 0 + 1], 1), y).solution.tolist()
            if start < 0:
                yield LOW - LOW / start, 2 * math.pi * rise * -LOW / start


def _speeds(config: TransformerConfig, scaling: tuple[float, ...] = ()) -> Tensor:
    return rotary_speeds(config.width_of_head, config.rope_theta, scaling)
