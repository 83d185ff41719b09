"""Training settings, in their own module so that loading a run does not import `wenmo.training`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from wenmo.options import Settings, option

OptimizerName = Literal["sgd", "rmsprop", "adam", "adamw", "muon"]
Schedule = Literal["constant", "cosine", "linear", "stable-decay"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class TrainConfig(Settings):
    """Training settings.

    Raises:
        ValueError: a value out of range, or both ``steps`` and ``minutes``.
    """

    steps: int | None = option(
        None,
        "number of optimizer steps; null: as many as fit into `minutes`",
        "优化步数；null：由 `minutes` 决定",
        minimum=1,
        flag="steps",
    )
    minutes: float | None = option(
        None,
        "wall-clock minutes from the start of the command to its end",
        "从命令开始到结束的总时间（分钟）",
        above=0,
        below=math.inf,
        unset="3, without steps",
        unset_zh="未给 steps 时为 3",
        flag="minutes",
    )
    batch_size: int = option(16, "sequences in a batch", "每个批的序列数", minimum=1)
    sequence_length: int | None = option(
        None,
        "tokens of each sequence; null: the model's context, or 64 for a model without bounds",
        "每个序列的词元数；null：模型的上下文长度，没有上限的模型为 64",
        minimum=1,
    )
    per_record: bool | None = option(
        None,
        "train on each record by itself, from its beginning to its end; null: where a bounded "
        "context holds every record as a whole, and there are 200 or more",
        "逐条记录训练，每条从头到尾；null：上下文容得下每条记录且记录不少于 200 条时如此",
    )
    tokens_per_batch: int = option(
        2048,
        "for pairs, and records trained on by themselves, in place of `batch_size` and "
        "`sequence_length`: the most tokens in a batch, including sources, targets and padding",
        "用于成对数据和逐条训练的记录，代替 `batch_size` 与 `sequence_length`：每批最多的词元数"
        "（含源文、目标和填充）",
        minimum=1,
    )
    gradient_accumulation: int = option(
        1, "batches whose gradients are added up for one step", "每步累积梯度的批数", minimum=1
    )
    optimizer: OptimizerName = option(
        "adamw",
        "`sgd`, `rmsprop`, `adam`, `adamw` or `muon`",
        "优化器：`sgd`、`rmsprop`、`adam`、`adamw` 或 `muon`",
    )
    learning_rate: float | None = option(
        None,
        "peak learning rate; null: the default of the optimizer",
        "学习率峰值；null：优化器的默认值",
        above=0,
        below=math.inf,
    )
    weight_decay: float | None = option(
        None,
        "weight decay of matrices, never of biases and norms; null: 0.1 for adamw and muon, else 0",
        "权重衰减，只用于矩阵，不用于偏置和归一化；null：adamw 与 muon 为 0.1，其余为 0",
    )
    momentum: float = option(
        0.0,
        "momentum of sgd, rmsprop and muon; for muon 0 means 0.95",
        "sgd、rmsprop、muon 的动量；muon 的 0 表示 0.95",
        minimum=0,
        below=1,
    )
    beta1: float = option(0.9, "of adam and adamw", "adam 与 adamw 的 beta1", minimum=0, below=1)
    beta2: float = option(0.98, "of adam and adamw", "adam 与 adamw 的 beta2", minimum=0, below=1)
    schedule: Schedule = option(
        "cosine",
        "`constant`, `cosine`, `linear` or `stable-decay`",
        "学习率调度：`constant`、`cosine`、`linear` 或 `stable-decay`",
    )
    warmup_ratio: float = option(
        0.02,
        "share of the budget in which the learning rate rises",
        "学习率预热占总预算的比例",
        minimum=0,
        below=1,
    )
    decay_ratio: float = option(
        0.5,
        "for `stable-decay`: share of the budget in which the learning rate falls",
        "用于 `stable-decay`：学习率衰减阶段占总预算的比例",
        above=0,
        maximum=1,
    )
    min_lr_ratio: float = option(
        0.0,
        "learning rate at the end of the decay, as a share of the peak",
        "衰减结束时的学习率与峰值之比",
        minimum=0,
        below=1,
    )
    weight_averaging: float = option(
        0.0,
        "share of the budget, at its end, over which weights are averaged; the mean is evaluated "
        "and saved (Polyak & Juditsky 1992; for AWD-LSTM, with `schedule=constant`)",
        "在预算末尾的这一比例内对权重取平均，评估并保存平均值（Polyak & Juditsky 1992；"
        "AWD-LSTM 配合 `schedule=constant`）",
        minimum=0,
        below=1,
    )
    label_smoothing: float = option(
        0.0,
        "share of a target's probability that is spread over the vocabulary (Szegedy et al. 2016): "
        "0.1 for translation",
        "标签平滑：目标概率中分给整个词表的比例（Szegedy et al. 2016）；翻译常用 0.1",
        minimum=0,
        below=1,
    )
    max_grad_norm: float = option(
        1.0,
        "the gradient is clipped to this norm; 0: no clipping",
        "梯度裁剪的最大范数；0：不裁剪",
        minimum=0,
    )
    gradient_checkpointing: bool = option(
        False,
        "for Transformers: keep only the input of each block and compute the rest again in the "
        "backward pass (Chen et al. 2016): less memory, about a third more time",
        "用于 Transformer：只保留每个块的输入，反向传播时重算其余（Chen et al. 2016）："
        "省内存，约慢三分之一",
    )
    precision: Precision = option(
        "auto",
        "`float32`, `bfloat16`, or `auto`: whichever is measured to be faster",
        "计算精度：`float32`、`bfloat16`，或 `auto`（实测更快者）",
    )
    eval_count: int = option(
        10, "number of evaluations during training", "训练期间的评估次数", minimum=1
    )
    eval_tokens: int = option(
        20_000,
        "the most held-out tokens of an evaluation during training",
        "训练期间每次评估最多用多少留出词元",
        minimum=1,
    )
    full_evaluation: bool = option(
        False,
        "evaluate all held-out text at the end, even where that takes longer than its share of "
        "`minutes`",
        "结束时评估全部留出文本，即使超出它在 `minutes` 中的份额",
    )
    patience: int | None = option(
        None,
        "stop after this many evaluations without improvement; 0: never; null: 3 with `minutes`, "
        "never with `steps`",
        "连续多少次评估没有改进就提前停止；0：从不；null：用 `minutes` 时为 3，用 `steps` 时从不",
        minimum=0,
    )
    checkpoint_seconds: float = option(
        30.0,
        "seconds between checkpoints: the most work that a kill can lose",
        "检查点的间隔（秒），即进程被终止时最多损失的时间",
        minimum=0,
    )
    seed: int = option(0, "of everything random in training", "训练中一切随机的种子", flag="seed")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is not None and self.minutes is not None:
            raise ValueError("give steps or minutes, not both")
