"""``wenmo inspect``: what training would read of some data, without any training."""

from __future__ import annotations

from json import dumps

from wenmo.apps.cli import option
from wenmo.runs import preflight


def inspect(
    data: option.Data,
    settings: option.ReadingSettings = None,
    target: option.Target = None,
    *,
    reading: option.Inspected,
    control: option.ControlFields = None,
    json: option.Json = False,
) -> None:
    """Show what training would read: encoding, format, fields, counts, split and samples."""
    preflight.check_paths(data, target)
    from wenmo.apps.cli import show
    from wenmo.text.inspection import inspect as look

    given = [f"{key}={value}" for key, value in reading.items()]
    if control is not None:
        given.append(f"task.control={dumps(control.split(','))}")
    found = look(data, target=target, settings=[*given, *(settings or [])])
    if json:
        show.print_json(found)
    else:
        show.inspected(found)
