"""Recurrent language models: the simple RNN (Elman 1990), the LSTM (Hochreiter & Schmidhuber 1997)
and the GRU (Cho et al. 2014), of any depth, with the regularisers of AWD-LSTM (Merity et al. 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.models.base import Budget
from wenmo.models.network import Hidden, Network, steered
from wenmo.models.state import StateField, StateSchema
from wenmo.options import Settings, option
from wenmo.types import END, Logits, State, Tokens

Cell = Literal["rnn", "lstm", "gru"]

# What each kind of cell is made of: its gates, what it carries from step to step, and the
# framework's kernels for a whole sequence and for one step.
GATES: dict[Cell, int] = {"rnn": 1, "lstm": 4, "gru": 3}
CARRIED: dict[Cell, tuple[str, ...]] = {
    "rnn": ("hidden",),
    "lstm": ("hidden", "cell"),
    "gru": ("hidden",),
}
SEQUENCE = {"rnn": torch.rnn_tanh, "lstm": torch.lstm, "gru": torch.gru}
STEP = {"rnn": torch.rnn_tanh_cell, "lstm": torch.lstm_cell, "gru": torch.gru_cell}


class Recurrent(Network):
    """Embedding, a stack of recurrent layers, and a softmax over the vocabulary."""

    @dataclass(frozen=True)
    class Config(Settings):
        """Settings of an RNN, LSTM or GRU."""

        cell: Cell = option(
            "lstm",
            "kind of recurrent cell: `rnn`, `lstm` or `gru`",
            "循环单元的种类：`rnn`、`lstm` 或 `gru`",
        )
        embedding_size: int = option(
            128, "size of the token embeddings", "词元嵌入的维数", minimum=1
        )
        hidden_size: int = option(
            512,
            "size of the recurrent layers; with `tie_embeddings` the last is as wide as the "
            "embedding",
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

        def build(self, vocab_size: int) -> Recurrent:
            return Recurrent(self, vocab_size)

    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.context = config, vocab_size, None
        last = config.embedding_size if config.tie_embeddings else config.hidden_size
        self.hidden_width = last
        widths = [config.embedding_size, *[config.hidden_size] * (config.layers - 1), last]
        self.embedding = nn.Embedding(vocab_size, config.embedding_size)
        self.layers = nn.ModuleList(
            Layer(config.cell, width, out) for width, out in pairwise(widths)
        )
        self.head = None if config.tie_embeddings else nn.Linear(last, vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.state_schema = carried_schema(config.cell, config.layers)
        # An embedding that only feeds the first layer learns several times sooner when its entries
        # are near one; one that is the softmax's weights, too, must begin small.
        if self.head is None:
            nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        else:
            nn.init.normal_(self.embedding.weight)
            nn.init.zeros_(self.embedding.weight[END])  # rarely read: it must not upset the state
            nn.init.uniform_(self.head.weight, -0.1, 0.1)

    def initial_state(
        self,
        batch_size: int,
        *,
        source: Tokens | None = None,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        """Zeros: one tensor (rows, width) for each layer and carried quantity."""
        return {
            f"{name}.{depth}": self.bias.new_zeros(batch_size, layer.width)
            for depth, layer in enumerate(self._stack())
            for name in CARRIED[self.config.cell]
        }

    def encode_tokens(self, tokens: Tokens, state: State | None = None) -> tuple[Hidden, State]:
        before = state or self.initial_state(len(tokens))
        after: State = dict(before)
        x = steered(self._drop(self._embed(tokens)), before)
        for depth, layer in enumerate(self._stack()):
            names = [f"{name}.{depth}" for name in CARRIED[self.config.cell]]
            carried = [before[name] for name in names]
            x, carried = layer(x, carried, self.config.recurrent_dropout)
            after |= zip(names, carried, strict=True)
            x = self._drop(x)
        return (x,), after

    def lm_head(self, reading: Hidden) -> Logits:
        weight = self.embedding.weight if self.head is None else self.head.weight
        return F.linear(reading[0], weight, self.bias).float()

    def _stack(self) -> list[Layer]:
        return [cast(Layer, layer) for layer in self.layers]

    def _embed(self, tokens: Tokens) -> Tensor:
        rate = self.config.embedding_dropout
        if not self.training or rate == 0:
            return self.embedding(tokens)
        kept = torch.rand(self.vocab_size, 1, device=tokens.device) >= rate
        return F.embedding(tokens, self.embedding.weight * kept / (1 - rate))

    def _drop(self, x: Tensor) -> Tensor:
        """Dropout on (rows, time, width); variational dropout draws no mask over time."""
        if not self.config.variational:
            return F.dropout(x, self.config.dropout, self.training)
        return x * F.dropout(x.new_ones(len(x), 1, x.shape[2]), self.config.dropout, self.training)


def carried_schema(cell: Cell, layers: int) -> StateSchema:
    """What recurrent layers carry from step to step."""
    shape, meaning = ("rows", "hidden_size"), "carried from step to step"
    return StateSchema(
        tuple(StateField(name, shape, meaning, layers=layers) for name in CARRIED[cell])
    )


class Layer(nn.Module):
    """One recurrent layer, with the framework's own arrangement of the gates' weights."""

    def __init__(self, cell: Cell, inputs: int, width: int) -> None:
        super().__init__()
        self.cell, self.width = cell, width
        rows = GATES[cell] * width
        self.input_weight = nn.Parameter(torch.empty(rows, inputs))
        self.hidden_weight = nn.Parameter(torch.empty(rows, width))
        self.input_bias = nn.Parameter(torch.zeros(rows))
        self.hidden_bias = nn.Parameter(torch.zeros(rows))
        bound = width**-0.5
        nn.init.uniform_(self.input_weight, -bound, bound)
        nn.init.uniform_(self.hidden_weight, -bound, bound)
        if cell == "lstm":  # remember by default (Jozefowicz et al. 2015): gates stand i, f, g, o
            nn.init.ones_(self.input_bias[width : 2 * width])

    def forward(
        self, x: Tensor, carried: list[Tensor], weight_dropout: float
    ) -> tuple[Tensor, list[Tensor]]:
        """Run over (rows, time, inputs) from the carried (rows, width) tensors."""
        device = x.device.type
        if torch.is_autocast_enabled(device) and not has_bfloat16_kernel(self.cell, device):
            with torch.autocast(device, enabled=False):
                return self(x.float(), [tensor.float() for tensor in carried], weight_dropout)
        recurrent = F.dropout(self.hidden_weight, weight_dropout, self.training)
        weights = [self.input_weight, recurrent, self.input_bias, self.hidden_bias]
        if x.shape[1] == 1 and not self.training:
            return self._step(x, carried, weights)
        layered = [tensor[None].contiguous() for tensor in carried]
        hx = tuple(layered) if len(layered) > 1 else layered[0]
        options = (True, 1, 0.0, self.training, False, True)  # biases, depth, ..., rows first
        out, *after = SEQUENCE[self.cell](x, hx, weights, *options)  # type: ignore[operator]
        return out, [tensor[0] for tensor in after]

    def _step(
        self, x: Tensor, carried: list[Tensor], weights: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """One token in writing: the single-step kernel is several times quicker than a sequence."""
        hx = tuple(carried) if len(carried) > 1 else carried[0]
        after = STEP[self.cell](x[:, 0], hx, *weights)  # type: ignore[operator]
        tensors = list(after) if isinstance(after, tuple) else [after]
        return tensors[0][:, None], tensors


@cache
def has_bfloat16_kernel(cell: Cell, device: str) -> bool:
    """Whether the sequence kernel of a cell runs in bfloat16 on a type of device.

    On a CPU without AVX-512, oneDNN refuses the LSTM in bfloat16; it runs in float32 there.
    """
    x, rows = torch.zeros(1, 2, 1, device=device), GATES[cell]
    weights = [torch.zeros(shape, device=device) for shape in ((rows, 1), (rows, 1), rows, rows)]
    carried = [torch.zeros(1, 1, 1, device=device) for _ in CARRIED[cell]]
    hx = tuple(carried) if len(carried) > 1 else carried[0]
    try:
        with torch.autocast(device, torch.bfloat16):
            SEQUENCE[cell](x, hx, weights, True, 1, 0.0, True, False, True)  # type: ignore[operator]
    except RuntimeError:
        return False
    return True


def _sizes(cell: Cell) -> dict[str, Recurrent.Config]:
    """Sizes by name; small, medium and large are Zaremba et al.'s (2014), with weights tied."""
    make = Recurrent.Config
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


SIZES: dict[Cell, dict[str, Recurrent.Config]] = {cell: _sizes(cell) for cell in GATES}


# Measured with the estimate of `Budget.trainable_tokens` (docs/experiments.md).
NARROW, WIDER = 256, (512,)
READS_PER_WEIGHT = 0.1  # less, and a narrower one is better by then
WEIGHTS_PER_TOKEN = 5  # more, and the text is learnt by heart
DROPOUTS = ((8, 0.4), (2.5, 0.25), (0, 0.1))  # passes over the text, and what suits so many


def suggest_config(config: Recurrent.Config, budget: Budget) -> dict[str, Any]:
    """The width and dropout for a text and a time: as wide as pays, in bits, at equal minutes (see
    docs/experiments.md). What is narrow learns sooner; what is wide learns little texts by heart.
    """
    gates = GATES[config.cell]
    hidden = NARROW
    for wider in WIDER:
        weights = gates * wider * (config.embedding_size + wider)
        enough_time = budget.trainable_tokens(weights) >= READS_PER_WEIGHT * weights
        if enough_time and weights <= WEIGHTS_PER_TOKEN * budget.tokens:
            hidden = wider
    passes = (
        budget.trainable_tokens(gates * hidden * (config.embedding_size + hidden)) / budget.tokens
    )
    return {
        "hidden_size": hidden,
        "dropout": next(rate for least, rate in DROPOUTS if passes >= least),
    }
