"""The settings of recurrent language models: their sizes, and the one for a text and a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from wenmo.models.config import Budget, ModelConfig
from wenmo.options import option

Cell = Literal["rnn", "lstm", "gru"]
GATES: dict[Cell, int] = {"rnn": 1, "lstm": 4, "gru": 3}
"""The number of gates of each kind of cell."""


@dataclass(frozen=True)
class RecurrentConfig(ModelConfig):
    """Settings of an RNN, LSTM or GRU."""

    class_path: ClassVar[str] = "wenmo.models.recurrent:Recurrent"

    cell: Cell = option(
        "lstm",
        "kind of recurrent cell: `rnn`, `lstm` or `gru`",
        "循环单元的种类：`rnn`、`lstm` 或 `gru`",
    )
    embedding_size: int = option(128, "size of the token embeddings", "词元嵌入的维数", minimum=1)
    hidden_size: int = option(
        512,
        "size of the recurrent layers; with `tie_embeddings` the last is as wide as the embedding",
        "循环层的维数；启用 `tie_embeddings` 时最后一层与嵌入同宽",
        minimum=1,
    )
    layers: int = option(1, "number of layers", "层数", minimum=1)
    tie_embeddings: bool = option(
        False,
        "the softmax uses the weights of the embedding (Press & Wolf 2017)",
        "softmax 与嵌入共用权重（Press & Wolf 2017）",
    )
    dropout: float = option(
        0.1,
        "dropout on the input of each layer and the output of the last (Zaremba et al. 2014)",
        "每层输入和最后一层输出的 dropout（Zaremba et al. 2014）",
        minimum=0,
        below=1,
    )
    embedding_dropout: float = option(
        0.0,
        "drops the embeddings of whole tokens (Gal & Ghahramani 2016)",
        "随机丢弃整个词元的嵌入（Gal & Ghahramani 2016）",
        minimum=0,
        below=1,
    )
    recurrent_dropout: float = option(
        0.0,
        "drops hidden-to-hidden weights (DropConnect; Merity et al. 2018)",
        "随机丢弃隐层到隐层的权重（DropConnect；Merity et al. 2018）",
        minimum=0,
        below=1,
    )
    variational: bool = option(
        False,
        "one dropout mask for all time steps of a batch (Gal & Ghahramani 2016)",
        "同一批的所有时间步共用一个 dropout 掩码（Gal & Ghahramani 2016）",
    )


def _sizes(cell: Cell) -> dict[str, RecurrentConfig]:
    """Sizes by name; small, medium and large are Zaremba et al.'s (2014), with weights tied."""
    make = RecurrentConfig
    return {
        "tiny": make(cell, embedding_size=64, hidden_size=128, layers=1, dropout=0.0),
        "small": make(
            cell, embedding_size=200, hidden_size=200, layers=2, tie_embeddings=True, dropout=0.0
        ),
        "medium": make(
            cell, embedding_size=650, hidden_size=650, layers=2, tie_embeddings=True, dropout=0.5
        ),
        "large": make(
            cell, embedding_size=1500, hidden_size=1500, layers=2, tie_embeddings=True, dropout=0.65
        ),
        "awd": make(
            cell,
            embedding_size=400,
            hidden_size=1150,
            layers=3,
            tie_embeddings=True,
            dropout=0.4,
            embedding_dropout=0.1,
            recurrent_dropout=0.5,
            variational=True,
        ),
    }


SIZES: dict[Cell, dict[str, RecurrentConfig]] = {cell: _sizes(cell) for cell in GATES}


# Measured with the estimate of `Budget.trainable_tokens` (docs/experiments.md).
SMALLEST_HIDDEN_SIZE, LARGER_HIDDEN_SIZES = 256, (512,)
MIN_TOKENS_PER_WEIGHT = 0.1  # less, and a narrower one is better by then
MAX_WEIGHTS_PER_TOKEN = 5  # more, and the text is learnt by heart
DROPOUT_BY_EPOCHS = (
    (8, 0.4),
    (2.5, 0.25),
    (0, 0.1),
)  # passes over the text, and what suits so many


def suggest_config(config: RecurrentConfig, budget: Budget) -> dict[str, Any]:
    """The width and dropout for a text and a time: as wide as pays, in bits, at equal minutes (see
    docs/experiments.md). What is narrow learns sooner; what is wide learns little texts by heart.
    """
    gates = GATES[config.cell]
    hidden = SMALLEST_HIDDEN_SIZE
    for larger in LARGER_HIDDEN_SIZES:
        weights = gates * larger * (config.embedding_size + larger)
        enough_time = budget.trainable_tokens(weights) >= MIN_TOKENS_PER_WEIGHT * weights
        if enough_time and weights <= MAX_WEIGHTS_PER_TOKEN * budget.tokens:
            hidden = larger
    epochs = (
        budget.trainable_tokens(gates * hidden * (config.embedding_size + hidden)) / budget.tokens
    )
    return {
        "hidden_size": hidden,
        "dropout": next(rate for least, rate in DROPOUT_BY_EPOCHS if epochs >= least),
    }
