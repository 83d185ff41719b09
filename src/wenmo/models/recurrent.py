"""Recurrent language models: the simple RNN (Elman 1990), the LSTM (Hochreiter & Schmidhuber 1997)
and the GRU (Cho et al. 2014), of any depth, with the regularisers of AWD-LSTM (Merity et al. 2018).
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.models.network import Hidden, Network, add_steering
from wenmo.models.recurrent_config import GATES, Cell, RecurrentConfig
from wenmo.models.state import StateField, StateSchema
from wenmo.types import END, Logits, State, Tokens

# What each kind of cell carries from step to step, and the framework's kernels for a whole sequence
# and for one step.
CARRIED: dict[Cell, tuple[str, ...]] = {
    "rnn": ("hidden",),
    "lstm": ("hidden", "cell"),
    "gru": ("hidden",),
}
SEQUENCE = {"rnn": torch.rnn_tanh, "lstm": torch.lstm, "gru": torch.gru}
STEP = {"rnn": torch.rnn_tanh_cell, "lstm": torch.lstm_cell, "gru": torch.gru_cell}
MAX_STEPS = 8  # tokens that are read one by one on a CPU


class Recurrent(Network):
    """Embedding, a stack of recurrent layers, and a softmax over the vocabulary."""

    def __init__(self, config: RecurrentConfig, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.context = config, vocab_size, None
        last = config.embedding_size if config.tie_embeddings else config.hidden_size
        self.hidden_size = last
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
        x = add_steering(self._drop(self._embed(tokens)), before)
        for depth, layer in enumerate(self._stack()):
            names = [f"{name}.{depth}" for name in CARRIED[self.config.cell]]
            carried = [before[name] for name in names]
            x, carried = layer(x, carried, self.config.recurrent_dropout)
            after |= zip(names, carried, strict=True)
            x = self._drop(x)
        return (x,), after

    def lm_head(self, hidden: Hidden) -> Logits:
        weight = self.embedding.weight if self.head is None else self.head.weight
        return F.linear(hidden[0], weight, self.bias).float()

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
        # A trace must not fix the number of steps.
        few = MAX_STEPS if device == "cpu" and not _is_tracing() else 1
        if not self.training and x.shape[1] <= few:
            return self._steps(x, carried, weights)
        layered = [tensor[None].contiguous() for tensor in carried]
        hx = tuple(layered) if len(layered) > 1 else layered[0]
        options = (True, 1, 0.0, self.training, False, True)  # biases, depth, ..., rows first
        out, *after = SEQUENCE[self.cell](x, hx, weights, *options)  # type: ignore[operator]
        return out, [tensor[0] for tensor in after]

    def _steps(
        self, x: Tensor, carried: list[Tensor], weights: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Few tokens, in writing: as many single steps are quicker than a sequence, for which a CPU
        arranges the weights anew.
        """
        hidden = []
        for step in x.unbind(1):
            hx = tuple(carried) if len(carried) > 1 else carried[0]
            after = STEP[self.cell](step, hx, *weights)  # type: ignore[operator]
            carried = list(after) if isinstance(after, tuple) else [after]
            hidden.append(carried[0])
        return torch.stack(hidden, 1), carried


def _is_tracing() -> bool:
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


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
