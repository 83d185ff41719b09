"""Norms and feed-forward layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from wenmo.models.transformer.config import GATED, TransformerConfig

# By the settings' names: the GELU (Hendrycks & Gimpel 2016) is meant in its tanh form, as in GPT-2.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "silu": F.silu,
    "gelu": partial(F.gelu, approximate="tanh"),
    "gelu-exact": F.gelu,
    "swiglu": F.silu,
    "geglu": partial(F.gelu, approximate="tanh"),
}


class RMSNorm(nn.RMSNorm):
    """Root mean square normalisation (Zhang & Sennrich 2019).

    The weight takes the input's type: under autocast the framework's own has no fused kernel.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


def make_norm(config: TransformerConfig) -> nn.Module:
    if config.norm == "rms":
        return RMSNorm(config.hidden_size, config.norm_eps)
    return nn.LayerNorm(config.hidden_size, config.norm_eps)


def make_feed_forward(config: TransformerConfig) -> GatedFeedForward | FeedForward:
    return GatedFeedForward(config) if config.activation in GATED else FeedForward(config)


class GatedFeedForward(nn.Module):
    """down(activation(gate(x)) · up(x)) (Shazeer 2020): SwiGLU with silu, GEGLU with the GELU."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        self.gate = nn.Linear(config.hidden_size, config.resolved_ffn_size, bias=config.bias)
        self.up = nn.Linear(config.hidden_size, config.resolved_ffn_size, bias=config.bias)
        self.down = nn.Linear(config.resolved_ffn_size, config.hidden_size, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.gate(x)) * self.up(x))


class FeedForward(nn.Module):
    """down(activation(up(x))) (Vaswani et al. 2017, section 3.3)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        self.up = nn.Linear(config.hidden_size, config.resolved_ffn_size, bias=config.bias)
        self.down = nn.Linear(config.resolved_ffn_size, config.hidden_size, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))
