"""wenmo (文墨): train, compare, understand, control and serve text generators on your own text.

import wenmo

run = wenmo.fit("poems.txt", model="lstm", minutes=2)
print(run.generate("春", n=3))
print(run.evaluate("heldout.txt"))
run = wenmo.load("runs/poems-lstm")
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from wenmo.version import __version__ as __version__

IMPORTED_AT = time.perf_counter()  # about when the process started, if it is the command line's
__all__ = [
    "Interrupted",
    "Run",
    "StopRequest",
    "WenmoError",
    "catalogue",
    "compare",
    "fit",
    "inspect",
    "load",
    "write_long_text",
]

if TYPE_CHECKING:
    from wenmo.api import (
        Interrupted,
        Run,
        StopRequest,
        catalogue,
        compare,
        fit,
        load,
        write_long_text,
    )
    from wenmo.text.inspection import inspect
    from wenmo.types import WenmoError


def __dir__() -> list[str]:
    """The public names, for tab completion."""
    return sorted([*__all__, "__version__"])


def __getattr__(name: str) -> Any:
    """Load PyTorch only when it is needed: ``import wenmo`` and ``wenmo --help`` stay instant."""
    if name == "WenmoError":
        return import_module("wenmo.types").WenmoError
    if name == "inspect":
        return import_module("wenmo.text.inspection").inspect
    if name in __all__:
        return getattr(import_module("wenmo.api"), name)
    raise AttributeError(f"module 'wenmo' has no attribute {name!r}")
