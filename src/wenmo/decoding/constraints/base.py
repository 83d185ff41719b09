"""What a constraint is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Constraint(Protocol):
    """What may be written."""

    def allowed(self, written: Sequence[int]) -> list[int]:
        """The tokens that may follow what was written, the prompt not counted.

        Raises:
            WenmoError: none may.
        """
        ...
