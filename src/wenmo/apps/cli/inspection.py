"""``wenmo inspect``: how training would read some data, without any training."""

from __future__ import annotations

from json import dumps

from wenmo.apps.cli import option
from wenmo.runs import preflight


def inspect(
    data: option.Data,
    settings: option.ReadSettings = None,
    target: option.Target = None,
    *,
    reading: option.InspectOptions,
    control: option.ControlFields = None,
    json: option.Json = False,
) -> None:
    """Show how training would read DATA: encoding, format, fields, counts, split and samples."""
    preflight.check_paths(data, target)
    from wenmo.apps.cli import show
    from wenmo.text.inspection import inspect as inspect_data

    options = [f"{key}={value}" for key, value in reading.items()]
    if control is not None:
        options.append(f"task.control={dumps(control.split(','))}")
    inspection = inspect_data(data, target=target, settings=[*options, *(settings or [])])
    if json:
        show.print_json(inspection)
    else:
        show.print_inspection(inspection)
