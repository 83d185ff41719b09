"""Weight averaging: a running mean of the weights over the last steps (Polyak & Juditsky 1992).

Merity et al. (2018, section 2) start the mean of SGD with a constant learning rate at the
evaluation at which held-out text gets no better; here the share of the budget is given instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

PREFIX = "average."


class Average:
    """A running mean of a model's weights.

    Attributes:
        count: number of weights in the mean.
    """

    def __init__(self, model: nn.Module) -> None:
        self.count = 0
        self._weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self) -> None:
        """Add the current weights to the mean."""
        self.count += 1
        if not self._mean:
            self._mean = {name: weight.clone() for name, weight in self._weights.items()}
        for name, weight in self._weights.items():
            self._mean[name].lerp_(weight, 1 / self.count)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Give the model the mean for the duration of a context, if there is one yet."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The mean by name, for a checkpoint; the count is kept elsewhere."""
        for name, mean in self._mean.items():
            yield PREFIX + name, mean

    def restore(self, tensors: Mapping[str, Tensor], count: int) -> None:
        """Return to where `tensors` gave these."""
        self.count = count
        self._mean = {
            name: tensors[PREFIX + name].to(weight.device, copy=True)
            for name, weight in self._weights.items()
            if count
        }

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, mean in self._mean.items():
            weight = self._weights[name]
            current = weight.clone()
            weight.copy_(mean)
            mean.copy_(current)
