"""How a model is trained: settings, which loading a run needs without the training room."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

OptimizerName = Literal["sgd", "rmsprop", "adam", "adamw", "muon"]
Schedule = Literal["constant", "cosine", "linear", "stable-decay"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained.

    Attributes:
        steps: how many steps; null: as many as fit into ``minutes``.
        minutes: the wall-clock time from the command's start to its end: start-up, reading,
            counting, steps, evaluations, samples and the final evaluation.
        batch_size: sequences in a batch.
        sequence_length: tokens of each; null: the model's context, or 64 for one without bounds.
        per_record: learn each record by itself, from its beginning to its end, and not where the
            one before it ends; null: where a bounded context holds every record as a whole.
        tokens_per_batch: for pairs, and records learnt by themselves, in place of rows and time:
            the most tokens in a batch, sources, targets and padding counted.
        gradient_accumulation: batches whose gradients are added up for one step.
        optimizer: sgd, rmsprop, adam, adamw or muon.
        learning_rate: the peak learning rate; null: a default for the optimizer.
        weight_decay: on matrices; null: 0.1 for adamw and muon, else none.
        momentum: for sgd, rmsprop and muon (null: 0, and 0.95 for muon).
        beta1, beta2: of adam and adamw.
        schedule: constant, cosine, linear or stable-decay.
        warmup_ratio: the share of the budget in which the rate rises.
        decay_ratio: for stable-decay, the share in which it falls.
        min_lr_ratio: where the decay ends, as a share of the peak.
        weight_averaging: the share of the budget, at its end, over which weights are averaged;
            their mean is what is scored and kept.
        label_smoothing: the share of a target's probability that is spread over the vocabulary.
        max_grad_norm: the largest norm of the gradient; 0: unbounded.
        gradient_checkpointing: for Transformers: keep only what enters each block, and compute the
            rest again on the way back (Chen et al. 2016).
        precision: float32, bfloat16, or auto: what is measured to be faster.
        eval_count: how often held-out text is scored on the way.
        eval_tokens: the most held-out tokens scored on the way.
        full_evaluation: score all held-out text at the end, even where that takes longer than a
            tenth of ``minutes``; otherwise a sample of it is scored then.
        patience: stop after so many evaluations that find the held-out text no likelier than the
            best one did, and, where the learning rate still falls, less likely; 0: never; null: 3
            with ``minutes``, never with ``steps``.
        checkpoint_seconds: the longest time whose work a kill can lose.
        seed: of everything random in training.
    """

    steps: int | None = None
    minutes: float | None = None
    batch_size: int = 16
    sequence_length: int | None = None
    per_record: bool | None = None
    tokens_per_batch: int = 2048
    gradient_accumulation: int = 1
    optimizer: OptimizerName = "adamw"
    learning_rate: float | None = None
    weight_decay: float | None = None
    momentum: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.98
    schedule: Schedule = "cosine"
    warmup_ratio: float = 0.02
    decay_ratio: float = 0.5
    min_lr_ratio: float = 0.0
    weight_averaging: float = 0.0
    label_smoothing: float = 0.0
    max_grad_norm: float = 1.0
    gradient_checkpointing: bool = False
    precision: Precision = "auto"
    eval_count: int = 10
    eval_tokens: int = 20_000
    full_evaluation: bool = False
    patience: int | None = None
    checkpoint_seconds: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps is not None and self.minutes is not None:
            raise ValueError("give steps or minutes, not both")
        for name in (
            "batch_size",
            "tokens_per_batch",
            "gradient_accumulation",
            "eval_count",
            "eval_tokens",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("steps", "sequence_length"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.patience is not None and self.patience < 0:
            raise ValueError("patience must be at least 0")
        for name in ("minutes", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not (0 < value < math.inf):
                raise ValueError(f"{name} must be a positive number")
        for name in (
            "warmup_ratio",
            "min_lr_ratio",
            "weight_averaging",
            "label_smoothing",
            "momentum",
            "beta1",
            "beta2",
        ):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1")
        if not 0 < self.decay_ratio <= 1:
            raise ValueError("decay_ratio must be above 0 and at most 1")
        for name in ("max_grad_norm", "checkpoint_seconds"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0")
