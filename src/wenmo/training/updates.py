"""Update rules of optimizers: SGD, RMSprop, Adam and Muon.

They replace `torch.optim.Optimizer`, whose first instance imports PyTorch's compiler, which takes
2 s of a short training. The arithmetic of Adam is PyTorch's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.adamw import adamw

EPSILON = 1e-8  # added to the root of the mean squared gradient
RMSPROP_SMOOTHING = 0.99
MUON_MOMENTUM = 0.95  # where none is given

Group: TypeAlias = dict[str, Any]
"""Weights (``params``) and the settings that they share: ``lr`` and ``weight_decay``."""
State: TypeAlias = dict[str, Tensor]


class UpdateRule(ABC):
    """Updates groups of weights by their gradients.

    Attributes:
        param_groups: the groups.
        state: moments and so on of each weight that was updated, by its index over all groups.
    """

    def __init__(self, groups: Sequence[Group], *, lr: float) -> None:
        self.param_groups = [{"weight_decay": 0.0, "lr": lr, **group} for group in groups]
        self.state: dict[int, State] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Update every weight that has a gradient."""
        first = 0
        for group in self.param_groups:
            weights: list[nn.Parameter] = []
            states: list[State] = []
            for number, weight in enumerate(group["params"], first):
                if weight.grad is not None:
                    if number not in self.state:
                        self.state[number] = self.initial_state(weight)
                    weights.append(weight)
                    states.append(self.state[number])
            first += len(group["params"])
            if weights:
                self.update(group, weights, states)

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for group in self.param_groups:
            for weight in group["params"]:
                weight.grad = None

    def restore(self, state: dict[int, State]) -> None:
        """Replace the state by a saved one."""
        weights = [weight for group in self.param_groups for weight in group["params"]]
        self.state = {
            number: {name: value.to(weights[number].device) for name, value in kept.items()}
            for number, kept in state.items()
        }

    @abstractmethod
    def initial_state(self, weight: nn.Parameter) -> State:
        """The state of a weight before its first step."""

    @abstractmethod
    def update(self, group: Group, weights: list[nn.Parameter], states: list[State]) -> None:
        """Update the weights of a group that have gradients, and their states."""


def gradient_of(weight: nn.Parameter) -> Tensor:
    """The gradient of a weight that has one."""
    return cast(Tensor, weight.grad)


class SGD(UpdateRule):
    """Stochastic gradient descent, with momentum (Polyak 1964) unless that is 0."""

    def __init__(self, groups: Sequence[Group], *, lr: float, momentum: float) -> None:
        super().__init__(groups, lr=lr)
        self.momentum = momentum

    def initial_state(self, weight: nn.Parameter) -> State:
        return {"momentum_buffer": torch.zeros_like(weight)} if self.momentum else {}

    def update(self, group: Group, weights: list[nn.Parameter], states: list[State]) -> None:
        for weight, state in zip(weights, states, strict=True):
            update = gradient_of(weight).add(weight, alpha=group["weight_decay"])
            if self.momentum:
                update = state["momentum_buffer"].mul_(self.momentum).add_(update)
            weight.add_(update, alpha=-group["lr"])


class RMSprop(UpdateRule):
    """RMSprop: gradients divided by their root mean square (Tieleman and Hinton 2012)."""

    def __init__(self, groups: Sequence[Group], *, lr: float, momentum: float) -> None:
        super().__init__(groups, lr=lr)
        self.momentum = momentum

    def initial_state(self, weight: nn.Parameter) -> State:
        names = ("square_avg", *(["momentum_buffer"] if self.momentum else []))
        return {name: torch.zeros_like(weight) for name in names}

    def update(self, group: Group, weights: list[nn.Parameter], states: list[State]) -> None:
        for weight, state in zip(weights, states, strict=True):
            gradient = gradient_of(weight).add(weight, alpha=group["weight_decay"])
            mean = state["square_avg"].mul_(RMSPROP_SMOOTHING)
            mean.addcmul_(gradient, gradient, value=1 - RMSPROP_SMOOTHING)
            update = gradient.div_(mean.sqrt().add_(EPSILON))
            if self.momentum:
                update = state["momentum_buffer"].mul_(self.momentum).add_(update)
            weight.add_(update, alpha=-group["lr"])


class Adam(UpdateRule):
    """Adam (Kingma and Ba 2015); AdamW (Loshchilov and Hutter 2019) where ``decoupled``: weight
    decay is applied to the weights and not added to the gradient.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        lr: float,
        betas: tuple[float, float],
        decoupled: bool = False,
    ) -> None:
        super().__init__(groups, lr=lr)
        self.betas, self._apply = betas, adamw if decoupled else adam

    def initial_state(self, weight: nn.Parameter) -> State:
        moments = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
        return {"step": torch.zeros((), device=weight.device), **moments}

    def update(self, group: Group, weights: list[nn.Parameter], states: list[State]) -> None:
        beta1, beta2 = self.betas
        self._apply(
            cast(list[Tensor], weights),
            [gradient_of(weight) for weight in weights],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=EPSILON,
            maximize=False,
        )


class Muon(UpdateRule):
    """Momentum whose update is orthogonalised (Jordan et al. 2024), for matrices.

    The update is scaled by √max(1, rows/columns), so that one learning rate suits all shapes.
    """

    def __init__(self, groups: Sequence[Group], *, lr: float, momentum: float = 0.0) -> None:
        super().__init__(groups, lr=lr)
        self.momentum = momentum or MUON_MOMENTUM

    def initial_state(self, weight: nn.Parameter) -> State:
        return {"momentum": torch.zeros_like(weight)}

    def update(self, group: Group, weights: list[nn.Parameter], states: list[State]) -> None:
        updates = [self._nesterov(*each) for each in zip(weights, states, strict=True)]
        # Matrices of one shape are orthogonalised together: one product instead of many.
        for shape in {weight.shape for weight in weights}:
            indices = [i for i, weight in enumerate(weights) if weight.shape == shape]
            stacked = orthogonalise(torch.stack([updates[i] for i in indices]))
            scale = max(1.0, shape[0] / shape[1]) ** 0.5
            for index, update in zip(indices, stacked, strict=True):
                weight = weights[index]
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update.to(weight.dtype), alpha=-group["lr"] * scale)

    def _nesterov(self, weight: nn.Parameter, state: State) -> Tensor:
        gradient = gradient_of(weight)
        state["momentum"].lerp_(gradient, 1 - self.momentum)
        return gradient.lerp(state["momentum"], self.momentum)


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
