"""``wenmo inspect``: what training would read of some data, without any training."""

from __future__ import annotations

from json import dumps

from wenmo.apps.cli import option
from wenmo.runs import preflight


def inspect(
    data: option.Data,
    settings: option.ReadingSettings = None,
    task: option.Task = None,
    target: option.Target = None,
    text_field: option.TextField = None,
    source_field: option.SourceField = None,
    group_field: option.GroupField = None,
    speaker_field: option.SpeakerField = None,
    control: option.ControlFields = None,
    unit: option.Unit = None,
    encoding: option.Encoding = None,
    json: option.Json = False,
) -> None:
    """Show what training would read: encoding, format, fields, counts, split and samples."""
    preflight.check_paths(data, target)
    from wenmo.apps.cli import show
    from wenmo.text.inspection import inspect as look

    options = {
        "read.text_field": text_field,
        "read.source_field": source_field,
        "read.group_field": group_field,
        "read.speaker_field": speaker_field,
        "read.unit": unit,
        "read.encoding": encoding,
    }
    given = [f"{key}={value}" for key, value in options.items() if value is not None]
    if control is not None:
        given.append(f"task.control={dumps(control.split(','))}")
    found = look(data, task=task, target=target, settings=[*given, *(settings or [])])
    if json:
        show.print_json(found.to_dict())
    else:
        show.inspected(found)
