"""Low-rank adaptation (Hu et al. 2021): a few weights beside those of a model that others trained.

To the output of a linear layer W x comes (alpha / rank) · B A x, where A (rank, inputs) begins at
random and B (outputs, rank) as nothing. Only A and B are trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.types import WenmoError

NAMES = (".a", ".b")  # how the names of an adapter's weights end


class Adapted(nn.Module):
    """A linear layer with an adapter beside it."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear, self.scale = linear, alpha / rank
        like = linear.weight
        self.a = nn.Parameter(like.new_empty(rank, linear.in_features))
        self.b = nn.Parameter(like.new_zeros(linear.out_features, rank))
        if not like.is_meta:
            nn.init.kaiming_uniform_(self.a, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.scale * F.linear(F.linear(x, self.a), self.b)


def adapt(model: nn.Module, targets: Sequence[str], *, rank: int, alpha: float) -> None:
    """Put adapters beside linear layers, and let nothing else be trained.

    Args:
        targets: the last part of a layer's name: query, value, up, ...; none: all in blocks.

    Raises:
        WenmoError: a target is the name of no linear layer, or there are none.
    """
    model.requires_grad_(False)
    met: set[str] = set()
    for name, layer in list(model.named_modules()):
        path, _, last = name.rpartition(".")
        wanted = last in targets if targets else ".blocks." in f".{name}"
        if wanted and isinstance(layer, nn.Linear):
            setattr(model.get_submodule(path), last, Adapted(layer, rank, alpha))
            met.add(last)
    if not met and not targets:
        raise WenmoError("lora_rank: this model has no blocks of linear layers: train it without")
    missing = sorted(set(targets) - met)
    if missing:
        linear = {
            n.rpartition(".")[2] for n, m in model.named_modules() if isinstance(m, nn.Linear)
        }
        known = ", ".join(sorted(linear - {"linear"} | met))
        raise WenmoError(f"no layer of this model is called {missing[0]!r} (there are: {known})")


def adapters(model: nn.Module) -> Iterator[tuple[str, Adapted]]:
    """Every adapted layer, by its name."""
    for name, layer in model.named_modules():
        if isinstance(layer, Adapted):
            yield name, layer


@torch.no_grad()
def merge_adapters(model: nn.Module) -> None:
    """Add every adapter into the weights beside it, and leave plain linear layers."""
    for name, layer in list(adapters(model)):
        path, _, last = name.rpartition(".")
        layer.linear.weight += layer.scale * layer.b @ layer.a
        setattr(model.get_submodule(path), last, layer.linear)
