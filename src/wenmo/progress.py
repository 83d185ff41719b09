"""How far something is: the callbacks by which a caller follows long work."""

from __future__ import annotations

from collections.abc import Callable

ProgressCallback = Callable[[str, float | None], None]
"""Receives what is going on, and the share that is done (``None``: a note for the user)."""

Share = Callable[[float], None]
"""Receives the share that is done, 0 to 1."""


def share_of(on_progress: ProgressCallback | None, what: str) -> Share | None:
    """A callback that receives a share alone, and says what is going on."""
    return None if on_progress is None else lambda share: on_progress(what, share)
