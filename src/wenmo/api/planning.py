"""What training a model would take, before anybody pays for it: weights, FLOPs, memory, time and
money.

Weights are counted from the model itself. Training takes 6 FLOPs for each weight and token (Kaplan
et al. 2020, section 2.1; Brown et al. 2020, appendix D), and for attention 12 · layers · width ·
context more a token (Chowdhery et al. 2022, appendix B). A weight takes 16 bytes with Adam in mixed
precision: 2 for itself, 2 for its gradient, 12 for a float32 copy and two moments; what of it is
divided among GPUs is the sharding (Rajbhandari et al. 2020). Activations of a block are 34 ·
context · width bytes a row, attention's own recomputed (Korthikanti et al. 2022, section 4), or, if
all is recomputed, what enters it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wenmo.config import did_you_mean, match_name
from wenmo.models import MODELS
from wenmo.models.capabilities import parameter_count
from wenmo.models.shapes import shapes_only
from wenmo.models.transformer.config import TransformerConfig
from wenmo.results import Result
from wenmo.runs.recipe import make_recipe
from wenmo.types import WenmoError

GIB = 1 << 30
USABLE = 0.92  # of a GPU's memory: the rest is the framework's and the network's
WEIGHT, GRADIENT, OPTIMIZER = 2, 2, 12  # bytes for each weight
# What is divided among all GPUs: (weights, gradients, optimizer states).
SHARDINGS = {
    "none (each has all)": (False, False, False),
    "ZeRO-1 (optimizer states)": (False, False, True),
    "ZeRO-2 (and gradients)": (False, True, True),
    "ZeRO-3 (and weights)": (True, True, True),
}


@dataclass(frozen=True, slots=True)
class Gpu:
    """A kind of GPU.

    Attributes:
        memory: bytes.
        speed: FLOPs a second of dense bfloat16 (or, on older ones, float16) products, as its maker
            says.
        price: US dollars an hour, about what it is let for; prices differ and change.
    """

    memory: float
    speed: float
    price: float


GPUS = {
    "v100": Gpu(32 * GIB, 125e12, 0.8),
    "a100": Gpu(80 * GIB, 312e12, 1.5),
    "h100": Gpu(80 * GIB, 989e12, 2.5),
    "h200": Gpu(141e9, 989e12, 3.0),
    "rtx4090": Gpu(24 * GIB, 165e12, 0.4),
}


@dataclass(frozen=True)
class MemoryPlan(Result):
    """What each GPU holds under one sharding.

    Attributes:
        sharding: what is divided among all GPUs.
        weights, gradients, optimizer: bytes.
        activations: bytes that are kept for the backward pass.
        activations_recomputed: bytes, if all but the inputs of blocks are computed again.
        fits, fits_recomputed: whether all of it fits, with activations kept or recomputed.
    """

    sharding: str
    weights: float
    gradients: float
    optimizer: float
    activations: float
    activations_recomputed: float
    fits: bool
    fits_recomputed: bool


@dataclass(frozen=True)
class Plan(Result):
    """What a training would take.

    Attributes:
        parameters: weights of the model.
        tokens: to train on, all passes together.
        training_flops: without those of attention.
        attention_flops: of the products of queries, keys and values.
        gpu: one of `GPUS`.
        gpus: how many.
        utilization: the share of their speed that is reached.
        tokens_per_second: on all of them.
        days: of training.
        dollars: US dollars that the GPUs cost.
        memory: under each sharding.
        fewest_gpus: that can train the model, all divided and recomputed; None: no number can.
    """

    parameters: int
    tokens: float
    training_flops: float
    attention_flops: float
    gpu: str
    gpus: int
    utilization: float
    tokens_per_second: float
    days: float
    dollars: float
    memory: list[MemoryPlan]
    fewest_gpus: int | None


def plan(
    model: str,
    settings: Sequence[str] = (),
    *,
    vocab_size: int = 50_257,
    gpu: str = "h100",
    gpus: int = 8,
    tokens: float | None = None,
    utilization: float = 0.4,
    rows: int = 1,
    price: float | None = None,
) -> Plan:
    """What training a Transformer of any size would take: see `plan_transformer`.

    Args:
        model: a family, or a family and a size; ``gpt3-175b`` is short for ``gpt:gpt3-175b``.
        settings: what should differ, as ``key=value``.
        tokens: to train on; by default 20 for each weight (Hoffmann et al. 2022).

    Raises:
        WenmoError: no such model, or no Transformer.
    """
    name = f"gpt:{model}" if model in MODELS["gpt"].sizes else model
    config = make_recipe(name, settings).model
    if not isinstance(config, TransformerConfig):
        raise WenmoError(f"{model} is no Transformer: plans are made for gpt and transformer")
    asked = 20.0 * count_weights(config, vocab_size) if tokens is None else tokens
    return plan_transformer(
        config,
        vocab_size=vocab_size,
        gpu=gpu,
        gpus=gpus,
        tokens=asked,
        utilization=utilization,
        rows=rows,
        price=price,
    )


def plan_transformer(
    config: TransformerConfig,
    *,
    vocab_size: int,
    gpu: str,
    gpus: int,
    tokens: float,
    utilization: float,
    rows: int,
    price: float | None = None,
) -> Plan:
    """What training would take.

    Args:
        config: of a Transformer.
        vocab_size: the number of tokens that it knows.
        gpu: one of `GPUS`.
        gpus: how many.
        tokens: to train on, all passes together.
        utilization: the share of a GPU's speed that training reaches.
        rows: sequences of the context's length that each GPU works on at once.
        price: of a GPU and hour, in place of that in `GPUS`.

    Raises:
        WenmoError: a figure makes no sense, or no such GPU.
    """
    known = match_name(gpu, GPUS)
    if known is None:
        raise WenmoError(f"unknown GPU {gpu!r}{did_you_mean(gpu, GPUS)} (valid: {', '.join(GPUS)})")
    if min(gpus, rows, vocab_size) < 1 or tokens < 1 or not 0 < utilization <= 1:
        raise WenmoError(
            "gpus, rows, tokens and vocabulary must be at least 1, utilization up to 1"
        )
    machine = GPUS[known]
    weights = count_weights(config, vocab_size)
    flops = 6.0 * weights * tokens
    attention = 12.0 * config.layers * config.hidden_size * config.context_length * tokens
    speed = gpus * machine.speed * utilization
    seconds = (flops + attention) / speed
    dollars = seconds / 3600 * gpus * (machine.price if price is None else price)
    memory = [_memory(name, config, weights, vocab_size, gpus, rows, machine) for name in SHARDINGS]
    return Plan(
        parameters=weights,
        tokens=tokens,
        training_flops=flops,
        attention_flops=attention,
        gpu=known,
        gpus=gpus,
        utilization=utilization,
        tokens_per_second=tokens / seconds,
        days=seconds / 86_400,
        dollars=dollars,
        memory=memory,
        fewest_gpus=fewest(config, weights, vocab_size, rows, machine),
    )


def count_weights(config: TransformerConfig, vocab_size: int) -> int:
    """The number of a model's weights, of which none is made."""
    with shapes_only():
        return parameter_count(config.build(vocab_size))


def fewest(
    config: TransformerConfig, weights: int, vocab_size: int, rows: int, machine: Gpu
) -> int | None:
    """The smallest number of GPUs that can train the model, all divided and recomputed; None where
    even one block, or one row's activations, are too large for any number.
    """
    room = USABLE * machine.memory - _activations(config, vocab_size, rows, recompute=True)
    room -= WEIGHT * weights / config.layers  # of the block at work, which is whole for a while
    if room <= 0:
        return None
    return max(1, math.ceil((WEIGHT + GRADIENT + OPTIMIZER) * weights / room))


def _memory(
    sharding: str,
    config: TransformerConfig,
    weights: int,
    vocab_size: int,
    gpus: int,
    rows: int,
    machine: Gpu,
) -> MemoryPlan:
    """Bytes on each GPU under one sharding, and whether they fit."""
    parts = zip((WEIGHT, GRADIENT, OPTIMIZER), SHARDINGS[sharding], strict=True)
    own = [size * weights / (gpus if divided else 1) for size, divided in parts]
    passing = WEIGHT * weights / config.layers if SHARDINGS[sharding][0] and gpus > 1 else 0.0
    kept = _activations(config, vocab_size, rows, recompute=False)
    recomputed = _activations(config, vocab_size, rows, recompute=True)
    held = sum(own) + passing
    room = USABLE * machine.memory
    return MemoryPlan(
        sharding=sharding,
        weights=own[0] + passing,
        gradients=own[1],
        optimizer=own[2],
        activations=kept,
        activations_recomputed=recomputed,
        fits=held + kept <= room,
        fits_recomputed=held + recomputed <= room,
    )


def _activations(
    config: TransformerConfig, vocab_size: int, rows: int, *, recompute: bool
) -> float:
    """Bytes of what is kept for the way back, and of the logits in float32 with their gradient."""
    each = rows * config.context_length * config.hidden_size
    blocks = config.layers + config.encoder_layers
    whole = 34 * each
    kept = 2 * each * blocks + whole if recompute else whole * blocks
    return kept + 8.0 * rows * config.context_length * vocab_size
