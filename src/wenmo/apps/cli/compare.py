"""``wenmo compare``: several runs on the same text, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wenmo.apps.cli import option
from wenmo.runs import preflight

Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="Run folders, grammars, pretrained models.")
]
ComparedData = Annotated[str, typer.Option("--data", help="The text that every run scores.")]


def compare(
    runs: Runs,
    data: ComparedData,
    target: option.Target = None,
    stride: option.Stride = None,
    encoding: option.Encoding = None,
    json: option.Json = False,
) -> None:
    """Score one text with several runs, the best first; families and tokenizers may differ."""
    for run in runs:
        if not run.exists():  # the table reports damaged runs
            preflight.check_run(run)
    preflight.check_paths(data, target)
    from wenmo.api import compare as compare_runs
    from wenmo.apps.cli import show

    with show.ProgressDisplay() as progress:
        rows = compare_runs(
            runs,
            data,
            target=target,
            stride=stride,
            encoding=encoding,
            on_progress=progress.on_progress,
        )
    if json:
        show.print_json({"runs": rows})
    else:
        show.print_comparison(rows)
