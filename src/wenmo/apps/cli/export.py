"""``wenmo export``: a model for other programs."""

from __future__ import annotations

from wenmo.apps.cli import option
from wenmo.runs import preflight


def export(
    folder: option.RunFolder,
    to: option.ExportFormat,
    out: option.ExportOut,
    precision: option.ExportPrecision = None,
    network_only: option.NetworkOnly = False,
) -> None:
    """Write a model for other programs: huggingface, gguf, onnx, arpa or grammar."""
    preflight.check_run(folder)
    to = preflight.check_format(to)
    from wenmo.api import load
    from wenmo.apps.cli import show

    export_note = load(folder).export(to, out, precision=precision, network_only=network_only)
    if export_note is not None:
        show.print_note(export_note)
    show.print_note(f"written: {out}")
