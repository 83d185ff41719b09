"""Training plans: the weights, FLOPs, memory, time and money that training a model takes.

Weights are counted from the model itself. Training takes 6 FLOPs for each weight and token (Kaplan
et al. 2020, section 2.1; Brown et al. 2020, appendix D), and for attention another 12 · layers ·
hidden_size · context_length FLOPs a token (Chowdhery et al. 2022, appendix B). A weight takes 16
bytes with Adam in mixed precision: 2 for itself, 2 for its gradient, 12 for a float32 copy and two
moments; sharding divides them among GPUs (Rajbhandari et al. 2020). The activations of a block
take 34 · context_length · hidden_size bytes a row with recomputed attention scores (Korthikanti et
al. 2022, section 4), or, with full recomputation, only its input.
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
USABLE_MEMORY = 0.92  # of a GPU; the framework and communication take the rest
WEIGHT, GRADIENT, OPTIMIZER = 2, 2, 12  # bytes for each weight
BLOCK_ACTIVATIONS = 34  # bytes for each row, position and hidden unit
# Whether weights, gradients and optimizer states are divided among all GPUs.
SHARDINGS = {
    "none (each has all)": (False, False, False),
    "ZeRO-1 (optimizer states)": (False, False, True),
    "ZeRO-2 (and gradients)": (False, True, True),
    "ZeRO-3 (and weights)": (True, True, True),
}


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU model.

    Attributes:
        memory: bytes.
        speed: peak FLOPs per second of dense bfloat16 (on older GPUs float16) products, from the
            data sheet.
        price: approximate rental price, US dollars an hour.
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
    """The memory of each GPU under one sharding.

    Attributes:
        sharding: one of `SHARDINGS`.
        weights, gradients, optimizer: bytes.
        activations: bytes stored for the backward pass.
        activations_recomputed: bytes with recomputation, which stores only the inputs of blocks.
        fits, fits_recomputed: whether everything fits, with stored or recomputed activations.
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
    """The cost of a training.

    Attributes:
        parameters: number of weights.
        tokens: number of training tokens over all epochs.
        training_flops: FLOPs of the training without those of attention.
        attention_flops: FLOPs of the products of queries, keys and values.
        gpu: one of `GPUS`.
        gpus: number of GPUs.
        utilization: fraction of the peak speed that is reached.
        tokens_per_second: training speed of all GPUs together.
        days: training time.
        dollars: cost of the GPUs in US dollars.
        memory: memory of each GPU under each sharding.
        fewest_gpus: smallest number of GPUs that can train the model, with ZeRO-3 and
            recomputation; None if no number is enough.
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
    """Plan the training of a Transformer; see `plan_transformer`.

    Args:
        model: a family, or a family and a size; ``gpt3-175b`` is short for ``gpt:gpt3-175b``.
        settings: settings of the model that differ from the size's, as ``key=value``.
        tokens: number of training tokens (default 20 for each weight: Hoffmann et al. 2022).

    Raises:
        WenmoError: the model is unknown or not a Transformer.
    """
    name = f"gpt:{model}" if model in MODELS["gpt"].sizes else model
    config = make_recipe(name, settings).model
    if not isinstance(config, TransformerConfig):
        raise WenmoError(f"{model} is not a Transformer: only gpt and transformer can be planned")
    if tokens is None:
        tokens = 20.0 * count_weights(config, vocab_size)
    return plan_transformer(
        config,
        vocab_size=vocab_size,
        gpu=gpu,
        gpus=gpus,
        tokens=tokens,
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
    """Plan the training of a Transformer with a given config.

    Args:
        config: settings of the Transformer.
        vocab_size: number of tokens in the vocabulary.
        gpu: one of `GPUS`.
        gpus: number of GPUs.
        tokens: number of training tokens over all epochs.
        utilization: fraction of a GPU's peak speed that training reaches.
        rows: sequences of the context's length in a step on each GPU.
        price: US dollars for an hour of one GPU (default: the price in `GPUS`).

    Raises:
        WenmoError: a number is out of range, or the GPU is unknown.
    """
    name = match_name(gpu, GPUS)
    if name is None:
        raise WenmoError(f"unknown GPU {gpu!r}{did_you_mean(gpu, GPUS)} (valid: {', '.join(GPUS)})")
    if min(gpus, rows, vocab_size) < 1 or tokens < 1 or not 0 < utilization <= 1:
        raise WenmoError(
            "gpus, rows, tokens and vocabulary must be at least 1, utilization up to 1"
        )
    specs = GPUS[name]
    weights = count_weights(config, vocab_size)
    flops = 6.0 * weights * tokens
    attention = 12.0 * config.layers * config.hidden_size * config.context_length * tokens
    speed = gpus * specs.speed * utilization
    seconds = (flops + attention) / speed
    dollars = seconds / 3600 * gpus * (specs.price if price is None else price)
    memory = [
        _memory_plan(each, config, weights, vocab_size, gpus, rows, specs) for each in SHARDINGS
    ]
    return Plan(
        parameters=weights,
        tokens=tokens,
        training_flops=flops,
        attention_flops=attention,
        gpu=name,
        gpus=gpus,
        utilization=utilization,
        tokens_per_second=tokens / seconds,
        days=seconds / 86_400,
        dollars=dollars,
        memory=memory,
        fewest_gpus=min_gpus(config, weights, vocab_size, rows, specs),
    )


def count_weights(config: TransformerConfig, vocab_size: int) -> int:
    """The number of a model's weights, without allocating them."""
    with shapes_only():
        return parameter_count(config.build(vocab_size))


def min_gpus(
    config: TransformerConfig, weights: int, vocab_size: int, rows: int, gpu: Gpu
) -> int | None:
    """The smallest number of GPUs that can train the model with ZeRO-3 and recomputation.

    None if one block, or the activations of the rows, are too large for one GPU.
    """
    available = USABLE_MEMORY * gpu.memory - _activations(config, vocab_size, rows, recompute=True)
    available -= WEIGHT * weights / config.layers  # ZeRO-3 gathers the block that is computed
    if available <= 0:
        return None
    return max(1, math.ceil((WEIGHT + GRADIENT + OPTIMIZER) * weights / available))


def _memory_plan(
    sharding: str,
    config: TransformerConfig,
    weights: int,
    vocab_size: int,
    gpus: int,
    rows: int,
    gpu: Gpu,
) -> MemoryPlan:
    """Bytes on each GPU under one sharding, and whether they fit."""
    sizes = zip((WEIGHT, GRADIENT, OPTIMIZER), SHARDINGS[sharding], strict=True)
    states = [size * weights / (gpus if divided else 1) for size, divided in sizes]
    # With divided weights, the block that is computed is gathered from all GPUs.
    gathered = WEIGHT * weights / config.layers if SHARDINGS[sharding][0] and gpus > 1 else 0.0
    stored = _activations(config, vocab_size, rows, recompute=False)
    recomputed = _activations(config, vocab_size, rows, recompute=True)
    model_bytes = sum(states) + gathered
    available = USABLE_MEMORY * gpu.memory
    return MemoryPlan(
        sharding=sharding,
        weights=states[0] + gathered,
        gradients=states[1],
        optimizer=states[2],
        activations=stored,
        activations_recomputed=recomputed,
        fits=model_bytes + stored <= available,
        fits_recomputed=model_bytes + recomputed <= available,
    )


def _activations(
    config: TransformerConfig, vocab_size: int, rows: int, *, recompute: bool
) -> float:
    """Bytes stored for the backward pass, and of the float32 logits with their gradient."""
    units = rows * config.context_length * config.hidden_size
    blocks = config.layers + config.encoder_layers
    block = BLOCK_ACTIVATIONS * units
    stored = 2 * units * blocks + block if recompute else block * blocks
    return stored + 8.0 * rows * config.context_length * vocab_size
