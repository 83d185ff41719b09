"""Optimizers by name, behind one small interface: set the rate, step, keep and restore."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from wenmo.models.base import LanguageModel

OptimizerName = Literal["sgd", "rmsprop", "adam", "adamw", "muon"]

# The peak learning rate where none is asked for.
DEFAULT_RATE: dict[OptimizerName, float] = {
    "sgd": 1.0,
    "rmsprop": 1e-3,
    "adam": 2e-3,
    "adamw": 2e-3,
    "muon": 0.02,
}
# Muon moves matrices; what is left (embeddings, the softmax, norms, biases) moves by AdamW, at this
# share of Muon's rate.
ADAMW_SHARE = 0.15
FEW_ROWS = 16  # matrices with fewer rows or columns are left to AdamW, too


class Optimizer:
    """One or two of the framework's optimizers, moved and saved as one."""

    def __init__(self, parts: list[torch.optim.Optimizer]) -> None:
        self.parts = parts
        self._peaks = [[group["lr"] for group in part.param_groups] for part in parts]

    def step(self, factor: float) -> None:
        """Move the weights at ``factor`` times each group's peak rate, and forget the gradients."""
        for part, peaks in zip(self.parts, self._peaks, strict=True):
            for group, peak in zip(part.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            part.step()
            part.zero_grad(set_to_none=True)

    def forget_gradients(self) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """The state as named tensors (moments, step counts), for a checkpoint."""
        return {
            f"{index}.{parameter}.{name}": value
            for index, part in enumerate(self.parts)
            for parameter, values in part.state_dict()["state"].items()
            for name, value in values.items()
            if value is not None
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take back what ``tensors`` gave."""
        states: list[dict[int, dict[str, Tensor]]] = [{} for _ in self.parts]
        for key, value in tensors.items():
            index, parameter, name = key.split(".")
            states[int(index)].setdefault(int(parameter), {})[name] = value
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict({**part.state_dict(), "state": state})


def make_optimizer(
    name: OptimizerName,
    model: LanguageModel,
    *,
    rate: float,
    weight_decay: float,
    momentum: float,
    betas: tuple[float, float],
) -> Optimizer:
    """The optimizer called ``name`` over all of a model's weights.

    Weight decay applies to matrices and embeddings alone, never to biases and norms.
    """
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    if name == "muon":
        matrices = _matrices(model)
        rest = [p for _, p in named if all(p is not m for m in matrices)]
        adamw = torch.optim.AdamW(
            _groups(rest, weight_decay), lr=rate * ADAMW_SHARE, betas=betas, fused=True
        )
        if not matrices:
            return Optimizer([adamw])
        muon = Muon(matrices, lr=rate, momentum=momentum or 0.95, weight_decay=weight_decay)
        return Optimizer([muon, adamw])
    groups = _groups([p for _, p in named], weight_decay)
    if name == "sgd":
        return Optimizer([torch.optim.SGD(groups, lr=rate, momentum=momentum)])
    if name == "rmsprop":
        return Optimizer([torch.optim.RMSprop(groups, lr=rate, momentum=momentum)])
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    return Optimizer([kind(groups, lr=rate, betas=betas, fused=True)])


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised (Jordan et al. 2024), for matrices.

    The update is scaled by √max(1, rows/columns), so that one rate serves all shapes.
    """

    def __init__(
        self, matrices: Iterable[nn.Parameter], *, lr: float, momentum: float, weight_decay: float
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(matrices, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            updates = [self._nesterov(p, group["momentum"]) for p in moved]
            # Matrices of one shape are orthogonalised together: one product instead of many.
            for shape in {p.shape for p in moved}:
                places = [i for i, p in enumerate(moved) if p.shape == shape]
                stacked = orthogonalise(torch.stack([updates[i] for i in places]))
                scale = max(1.0, shape[0] / shape[1]) ** 0.5
                for place, update in zip(places, stacked, strict=True):
                    weight = moved[place]
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(update.to(weight.dtype), alpha=-group["lr"] * scale)

    def _nesterov(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        gradient = cast(Tensor, parameter.grad)
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
        state["momentum"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(state["momentum"], momentum)


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Nearly UVᵀ of each matrix UΣVᵀ, by a quintic Newton–Schulz iteration (Jordan et al. 2024).

    Args:
        matrices: (number, rows, columns).
        steps: five bring every singular value to within about [0.7, 1.2].
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    # A CPU without bfloat16 instructions is 7 to 30 times slower in it.
    x = matrices.float() if matrices.device.type == "cpu" else matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def _matrices(model: LanguageModel) -> list[nn.Parameter]:
    """The weights between hidden layers: matrices that neither embed tokens nor predict them, nor
    make a few gates or scores.
    """
    embeddings = {
        id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()
    }
    return [
        p
        for p in model.parameters()
        if p.requires_grad
        and p.dim() == 2
        and min(p.shape) >= FEW_ROWS
        and id(p) not in embeddings
        and model.vocab_size not in p.shape
    ]


def _groups(parameters: list[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    decayed = [p for p in parameters if p.dim() >= 2]
    others = [p for p in parameters if p.dim() < 2]
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
