"""What only models have that are made of others; see `wenmo.models.capabilities`."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch

from wenmo.models.base import LanguageModel
from wenmo.types import State


@runtime_checkable
class HasBaseModel(Protocol):
    """Changes what another model predicts, which its texts are scored by."""

    def base_model(self) -> LanguageModel:
        """That model."""
        ...


@runtime_checkable
class ReplacesPrefix(Protocol):
    """Reads something else in place of what a text begins with, and only then the same."""

    def initial_state_before(
        self,
        prefix_length: int,
        *,
        capacity: int = 0,
        generator: torch.Generator | None = None,
    ) -> State:
        """The state of one row before it reads a prefix.

        Args:
            prefix_length: the number of tokens to come that are replaced.
            capacity, generator: as of ``initial_state``.
        """
        ...
