"""Optimizers by name: one or two update rules with peak learning rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from wenmo.models.base import LanguageModel
from wenmo.train_config import OptimizerName
from wenmo.training.updates import SGD, Adam, Muon, RMSprop, UpdateRule

# The peak learning rate where none is given.
DEFAULT_RATE: dict[OptimizerName, float] = {
    "sgd": 1.0,
    "rmsprop": 1e-3,
    "adam": 2e-3,
    "adamw": 2e-3,
    "muon": 0.02,
}
# Muon updates matrices; AdamW updates the rest (embeddings, the softmax, norms, biases), at this
# share of Muon's learning rate.
ADAMW_SHARE = 0.15
FEW_ROWS = 16  # AdamW updates matrices with fewer rows or columns, too


class Optimizer:
    """One or two update rules, each over a part of the weights."""

    def __init__(self, rules: list[UpdateRule]) -> None:
        self.rules = rules
        self._peaks = [[group["lr"] for group in rule.param_groups] for rule in rules]

    def step(self, lr_factor: float) -> None:
        """Update the weights at ``lr_factor`` times each group's peak learning rate, and drop the
        gradients.
        """
        for rule, peaks in zip(self.rules, self._peaks, strict=True):
            for group, peak in zip(rule.param_groups, peaks, strict=True):
                group["lr"] = peak * lr_factor
            rule.step()
            rule.zero_grad()

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for rule in self.rules:
            rule.zero_grad()

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The state as named tensors (moments, step counts), for a checkpoint."""
        for index, rule in enumerate(self.rules):
            for parameter, values in rule.state.items():
                for name, value in values.items():
                    yield f"{index}.{parameter}.{name}", value

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Return to where `tensors` gave these."""
        states: list[dict[int, dict[str, Tensor]]] = [{} for _ in self.rules]
        for key, value in tensors.items():
            index, parameter, name = key.split(".")
            states[int(index)].setdefault(int(parameter), {})[name] = value
        for rule, state in zip(self.rules, states, strict=True):
            rule.restore(state)


def make_optimizer(
    name: OptimizerName,
    model: LanguageModel,
    *,
    rate: float,
    weight_decay: float,
    momentum: float,
    betas: tuple[float, float],
) -> Optimizer:
    """An optimizer of all weights of a model that require gradients.

    Weight decay applies to matrices and embeddings alone, never to biases and norms.
    """
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    if name == "muon":
        matrices = _matrices(model)
        rest = [p for _, p in named if all(p is not m for m in matrices)]
        groups = _groups(rest, weight_decay)
        adamw = Adam(groups, lr=rate * ADAMW_SHARE, betas=betas, decoupled=True)
        if not matrices:
            return Optimizer([adamw])
        muon = Muon(_groups(matrices, weight_decay), lr=rate, momentum=momentum)
        return Optimizer([muon, adamw])
    groups = _groups([p for _, p in named], weight_decay)
    if name == "sgd":
        return Optimizer([SGD(groups, lr=rate, momentum=momentum)])
    if name == "rmsprop":
        return Optimizer([RMSprop(groups, lr=rate, momentum=momentum)])
    return Optimizer([Adam(groups, lr=rate, betas=betas, decoupled=name == "adamw")])


def _matrices(model: LanguageModel) -> list[nn.Parameter]:
    """The weights between hidden layers: matrices that neither embed tokens nor predict them, nor
    compute only a few gates or scores.
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
