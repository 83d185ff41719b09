"""Types of progress callbacks."""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[str, float | None], None]
"""Receives the current activity, and the fraction done (``None``: a note for the user)."""

FractionCallback = Callable[[float], None]
"""Receives the fraction done, 0 to 1."""


def fraction_callback(
    on_progress: ProgressCallback | None, activity: str
) -> FractionCallback | None:
    """A callback that receives only the fraction done, for a fixed activity."""
    return None if on_progress is None else lambda fraction: on_progress(activity, fraction)
