"""The public API: fit, load, generate, evaluate, compare. The apps import only this.

Each name is imported from its module on first use, so that loading a run imports no training code.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wenmo.api.comparison import compare, tradeoff
    from wenmo.api.families import catalogue
    from wenmo.api.longform import write_long_text
    from wenmo.api.planning import plan
    from wenmo.api.prompts import read_prompts, read_texts
    from wenmo.api.run import Run, load
    from wenmo.api.training import fit
    from wenmo.decoding.alternatives import Candidate
    from wenmo.decoding.noise import draw_seed
    from wenmo.decoding.output import Output
    from wenmo.evaluation.alignment import alignment_svg
    from wenmo.evaluation.tradeoff import tradeoff_svg
    from wenmo.files import write_text
    from wenmo.grammar.derivation import Derivation
    from wenmo.training.loop import Event
    from wenmo.training.stop import Interrupted, StopRequest

__all__ = [
    "Candidate",
    "Derivation",
    "Event",
    "Interrupted",
    "Output",
    "Run",
    "StopRequest",
    "alignment_svg",
    "catalogue",
    "compare",
    "draw_seed",
    "fit",
    "load",
    "plan",
    "read_prompts",
    "read_texts",
    "tradeoff",
    "tradeoff_svg",
    "write_long_text",
    "write_text",
]
_MODULES = {
    "wenmo.api.comparison": ("compare", "tradeoff"),
    "wenmo.api.families": ("catalogue",),
    "wenmo.api.longform": ("write_long_text",),
    "wenmo.api.planning": ("plan",),
    "wenmo.api.prompts": ("read_prompts", "read_texts"),
    "wenmo.api.run": ("Run", "load"),
    "wenmo.api.training": ("fit",),
    "wenmo.decoding.alternatives": ("Candidate",),
    "wenmo.decoding.output": ("Output",),
    "wenmo.decoding.noise": ("draw_seed",),
    "wenmo.evaluation.alignment": ("alignment_svg",),
    "wenmo.evaluation.tradeoff": ("tradeoff_svg",),
    "wenmo.files": ("write_text",),
    "wenmo.grammar.derivation": ("Derivation",),
    "wenmo.training.loop": ("Event",),
    "wenmo.training.stop": ("Interrupted", "StopRequest"),
}
"""The names by their modules."""


def __getattr__(name: str) -> Any:
    """Import a name from its module."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'wenmo.api' has no attribute {name!r}")
