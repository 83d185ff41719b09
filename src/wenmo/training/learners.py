"""Learners: each takes one training step on a batch, by gradients or by counting."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import FitsCounts, FitsPrior, capability, require
from wenmo.models.state import detach, where
from wenmo.text.batches import Batches
from wenmo.training.optimizers import Optimizer
from wenmo.types import IGNORE, Batch, Loss, State


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """Metrics of one training step.

    Attributes:
        loss: the minimised loss, nats per target token; NaN where there is none.
        tokens: number of target tokens.
        lr_factor: the learning rate of the step, as a share of its peak.
        extra: further figures by name, for the logs.
    """

    loss: float
    tokens: int
    lr_factor: float
    extra: dict[str, float]


class Learner(Protocol):
    """Takes training steps.

    Attributes:
        model: the model in training.
        steps: number of steps that the learner always takes; None: as many as the budget allows.
        keeps: which weights are saved at an evaluation: the best on held-out text, or always the
            last, where the likelihood of held-out text is not the objective.
    """

    model: LanguageModel
    steps: int | None
    keeps: Literal["best", "last"]

    def schedule_progress(self, progress: float) -> float:
        """Progress of the learning-rate schedule at a share of the budget, both 0 to 1."""
        ...

    def learn(self, step: int, lr_factor: float) -> StepMetrics:
        """Take step number ``step`` at ``lr_factor`` times the peak learning rate."""
        ...

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All named tensors that are needed to continue exactly from here, one by one."""
        ...

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Return to where `tensors` gave these."""
        ...


class LossModule(nn.Module):
    """A model whose ``forward`` is its loss, so that hooks, data-parallel wrappers and compilation
    apply to it as to any module.
    """

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, batch: Batch, state: State | None = None, *, label_smoothing: float = 0.0
    ) -> Loss:
        return self.model.loss(batch, state, label_smoothing=label_smoothing)


class Gradient:
    """Gradient descent on the model's loss.

    The random generator (dropout) is seeded with the seed and the number of the step, so that a
    resumed training is exact.

    Args:
        max_grad_norm: the gradient is clipped to this norm (Pascanu et al. 2013); 0: no clipping.
        gradient_accumulation: number of batches in a step.
        precision: of matrix products.
        label_smoothing: share of a target's probability that is spread over the vocabulary.
    """

    steps: int | None = None
    keeps: Literal["best", "last"] = "best"

    def __init__(
        self,
        model: LanguageModel,
        batches: Batches,
        optimizer: Optimizer,
        *,
        max_grad_norm: float,
        gradient_accumulation: int,
        precision: Literal["float32", "bfloat16"],
        seed: int,
        label_smoothing: float = 0.0,
    ) -> None:
        self.label_smoothing = label_smoothing
        self.model, self.batches, self.optimizer = model, batches, optimizer
        self.loss = LossModule(model)
        # Checkpoints leave out frozen weights, which are loaded anew when training is resumed,
        # and fitted priors, which are counted anew.
        self._frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
        prior = capability(model, FitsPrior)
        self._fitted = () if prior is None else (prior.prior_prefix,)
        self.max_grad_norm, self.gradient_accumulation, self.precision, self.seed = (
            max_grad_norm,
            gradient_accumulation,
            precision,
            seed,
        )
        self._carried: State = {}

    def schedule_progress(self, progress: float) -> float:
        return progress

    def learn(self, step: int, lr_factor: float) -> StepMetrics:
        self.model.train()
        torch.manual_seed((self.seed << 32) + step)
        total, tokens = torch.zeros(()), 0
        extra: dict[str, float] = {}
        for number in range(
            step * self.gradient_accumulation, (step + 1) * self.gradient_accumulation
        ):
            batch = self.batches[number].to(self.model.device)
            with autocast(self.model.device, self.precision):
                loss: Loss = self.loss(
                    batch, self._state_before(batch), label_smoothing=self.label_smoothing
                )
            (loss.total / self.gradient_accumulation).backward()  # type: ignore[no-untyped-call]
            self._carried = {} if batch.carry_state is None else loss.state
            total = total + loss.total.detach().cpu() / self.gradient_accumulation
            tokens += int((batch.targets != IGNORE).sum())
            extra = {name: float(value) for name, value in loss.metrics.items()}
        extra["gradient_norm"] = self._clip()
        if np.isfinite(extra["gradient_norm"]):
            self.optimizer.step(lr_factor)
        else:
            self.optimizer.zero_grad()
            total = total * float("nan")  # the loop rolls back when it sees this
        return StepMetrics(float(total), tokens, lr_factor, extra)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, weight in self.model.state_dict().items():
            if not name.startswith(self._fitted) and name not in self._frozen:
                yield f"model.{name}", weight
        for name, tensor in self.optimizer.tensors():
            yield f"optimizer.{name}", tensor
        for name, tensor in self._carried.items():
            yield f"carried.{name}", tensor

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.model.load_state_dict(self.model.state_dict() | with_prefix(tensors, "model."))
        self.optimizer.restore(with_prefix(tensors, "optimizer."))
        self.optimizer.zero_grad()
        device = self.model.device
        self._carried = {name: t.to(device) for name, t in with_prefix(tensors, "carried.").items()}

    def _state_before(self, batch: Batch) -> State | None:
        """The initial state of a batch; rows that continue the previous batch carry its state."""
        if batch.carry_state is None or not self._carried:
            return None
        return where(
            batch.carry_state, detach(self._carried), self.model.initial_state(len(batch.tokens))
        )

    def _clip(self) -> float:
        """Clip the gradient; return its norm before clipping."""
        limit = self.max_grad_norm if self.max_grad_norm > 0 else float("inf")
        return float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit))


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names have a prefix, by their names without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


class Count:
    """Counting: a single step over the whole text.

    Args:
        ids: the training text.
        progress: receives the share that is counted.
    """

    steps: int | None = 1
    keeps: Literal["best", "last"] = "best"

    def __init__(
        self,
        model: LanguageModel,
        ids: NDArray[np.unsignedinteger],
        progress: Callable[[float], None] | None = None,
    ) -> None:
        self.model = model
        self._counts = require(model, FitsCounts)
        self.ids, self.progress = ids, progress

    def schedule_progress(self, progress: float) -> float:
        return progress

    def learn(self, step: int, lr_factor: float) -> StepMetrics:
        self._counts.fit(self.ids, progress=self.progress)
        return StepMetrics(float("nan"), len(self.ids) - 1, lr_factor, {})

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        return iter(())  # an interrupted count starts again: it takes seconds

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        pass


def autocast(
    device: torch.device, precision: Literal["float32", "bfloat16"]
) -> contextlib.AbstractContextManager[object]:
    """Compute matrix products in a precision; weights and sums stay in float32."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def step_seconds(model: LanguageModel, batch: Batch) -> float:
    """Seconds of a forward and a backward pass of a batch; the weights do not change."""
    model.train()
    started = time.perf_counter()
    LossModule(model)(batch.to(model.device)).total.backward()
    took = time.perf_counter() - started
    model.zero_grad(set_to_none=True)
    return took


BFLOAT16_WEIGHTS = 1 << 20  # smaller models gain nothing on a CPU: see docs/experiments.md
BFLOAT16_GAIN = 1.1
PRODUCT = 64, 256  # rows and columns of the product that is timed first


def faster_precision(
    model: LanguageModel, batches: Batches, seconds: float = float("inf")
) -> Literal["float32", "bfloat16"]:
    """The precision in which a training step is measured to be faster on this machine.

    Three forward and backward passes in each precision alternate; the weights do not change. Small
    models gain nothing and are not measured, so that their precision is the same on all machines;
    nor is any model on a CPU that is slower in bfloat16.

    Args:
        seconds: no pass starts after this time.
    """
    started = time.perf_counter()
    if sum(p.numel() for p in model.parameters() if p.dim() == 2) < BFLOAT16_WEIGHTS:
        return "float32"
    if model.device.type == "cpu" and not products_gain():
        return "float32"
    batch, loss_module = batches[0].to(model.device), LossModule(model)
    model.train()
    best = {"float32": float("inf"), "bfloat16": float("inf")}
    for precision in ("float32", "bfloat16") * 3:
        start = time.perf_counter()
        with autocast(model.device, precision):
            loss: Loss = loss_module(batch)
        loss.total.backward()  # type: ignore[no-untyped-call]
        now = time.perf_counter()
        best[precision] = min(best[precision], now - start)
        model.zero_grad(set_to_none=True)
        if now - started > seconds:
            break
    gained = best["float32"] > BFLOAT16_GAIN * best["bfloat16"]
    return "bfloat16" if gained else "float32"


def products_gain() -> bool:
    """Whether this CPU multiplies matrices faster in bfloat16. CPUs without such instructions take
    up to thirty times as long.
    """
    rows, side = PRODUCT
    taken = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    for dtype in [*taken] * 3:
        x, weights = torch.ones(rows, side, dtype=dtype), torch.ones(side, side, dtype=dtype)
        start = time.perf_counter()
        x @ weights
        taken[dtype] = min(taken[dtype], time.perf_counter() - start)
    return taken[torch.float32] > taken[torch.bfloat16]
