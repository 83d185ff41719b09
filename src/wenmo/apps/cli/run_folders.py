"""``wenmo runs``, ``show`` and ``rm``: list, show and remove run folders, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json import dumps
from pathlib import Path
from shlex import quote
from textwrap import wrap
from typing import Annotated, Any

import typer

from wenmo.apps.cli import option
from wenmo.evaluation.results import ChosenSampling, Evaluation
from wenmo.runs import folders
from wenmo.runs.results import DamagedRun, RunDescription, RunSummary
from wenmo.types import amount

Folder = Annotated[
    Path, typer.Argument(metavar="[FOLDER]", help="The folder to search [default: runs].")
]
Folders = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")]
CurvePlot = Annotated[Path | None, typer.Option(help="Write the learning curve to this SVG file.")]
SAMPLES_SHOWN = 3


def runs(
    folder: Folder = folders.RUNS,
    json: option.Json = False,
) -> None:
    """List run folders: family, task, bits per byte, minutes, size, and a sample of each."""
    from wenmo.apps.cli import show

    rows = [folders.summarize(run) for run in folders.find_runs(folder)]
    if json:
        show.print_json({"runs": rows})
    elif rows:
        _print_list(rows)
    else:
        show.print_note(f"no run folders in {folder}")


def show_run(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder made by train.")],
    json: option.Json = False,
    plot: CurvePlot = None,
) -> None:
    """Show one run: its learning curve, settings, samples, and commands to use it."""
    from wenmo.apps.cli import show

    description = folders.describe(folder)
    if plot is not None:
        folders.draw_curve(description.history, plot)
        show.print_note(f"plot written: {plot}")
    if json:
        show.print_json(description)
    else:
        _print_run(folder, description)


def rm(run_folders: Folders) -> None:
    """Move run folders to a trash folder beside them, from which they can be moved back."""
    from wenmo.apps.cli import show

    for before, after in folders.remove(run_folders):
        show.print_note(
            f"moved to {after}; to restore: mv {quote(str(after))} {quote(str(before))}"
        )


def _print_list(rows: Sequence[RunSummary | DamagedRun]) -> None:
    from wenmo.apps.cli import show

    cells = [("run", "model", "task", "bits/byte", "minutes", "MB", "")]
    for row in rows:
        if isinstance(row, DamagedRun):
            cells.append((row.run, "damaged", "", "", "", _megabytes(row.bytes), ""))
            continue
        bits, minutes = row.bits_per_byte, row.minutes
        cells.append(
            (
                row.run,
                row.family,
                row.task,
                "" if bits is None else f"{'≤ ' if row.bound else ''}{bits:.3f}",
                "" if minutes is None else f"{minutes:.1f}",
                _megabytes(row.bytes),
                "" if row.finished else "unfinished",
            )
        )
    header, *lines = show.align_columns(cells, right={3, 4, 5})
    show.OUT.print(header, highlight=False, markup=False)
    for row, line in zip(rows, lines, strict=True):
        show.OUT.print(line, highlight=False, markup=False)
        detail = row.problem if isinstance(row, DamagedRun) else row.sample or ""
        if detail.strip():
            show.OUT.print(
                "  " + show.truncate_sample(detail, show.OUT.width - 2), style="dim", markup=False
            )


def _print_run(folder: Path, description: RunDescription) -> None:
    from wenmo.apps.cli import show
    from wenmo.charts import chart_text

    for name, value in _properties(description).items():
        first, *rest = wrap(value, show.line_width() - 12, break_long_words=False)
        for line in [f"{name:12}{first}", *(" " * 12 + line for line in rest)]:
            show.OUT.print(line, markup=False)
    points = folders.curve(description.history)
    if len(points) > 1:
        show.OUT.print("\nheld-out bits per byte, by minutes of training")
        for line in chart_text(points, min(show.OUT.width, 80)):
            show.OUT.print(line, markup=False)
        ends = f"{points[0][0]:.1f}", f"{points[-1][0]:.1f}"
        show.OUT.print(f"{'':8}{ends[0]}{ends[1]:>{min(show.OUT.width, 80) - 8 - len(ends[0])}}")
    for name, text in _samples(description):
        show.OUT.print(f"\n{name}", style="dim")
        show.OUT.print(text, markup=False)
    show.OUT.print()
    for command in _commands(folder, description):
        show.OUT.print(command, markup=False)


def _samples(description: RunDescription) -> list[tuple[str, str]]:
    """Samples with their titles: those of training up to the kept step, and of the kept weights."""
    finished, best = description.finished, description.best_step
    kept = [
        (f"step {sample['step']:,} wrote", sample["text"])
        for sample in description.samples
        if not finished or best is None or sample["step"] <= best
    ]
    if not finished or best is None or description.sample is None:
        return kept[-SAMPLES_SHOWN:]
    last = (f"the kept weights of step {best:,} wrote", description.sample)
    return [*kept[1 - SAMPLES_SHOWN :], last]


def _commands(folder: Path, description: RunDescription) -> list[str]:
    """Commands that use a run."""
    from wenmo.apps.cli import show

    name = quote(str(folder))
    exports = [to for to, reason in (description.exports or {}).items() if not reason]
    exports += [f"{to} --network-only" for to in description.exports_network_only]
    export_commands = [f"wenmo export {name} --out PATH --to {to}" for to in exports]
    return [
        show.usage_command(folder, description.task),
        f"wenmo evaluate {name} DATA",
        *export_commands,
    ]


def _properties(description: RunDescription) -> dict[str, str]:
    minutes, train = description.minutes, description.data["train"] or {}
    properties = {
        "model": description.family,
        "task": description.task,
        "state": "finished"
        if description.finished
        else "unfinished: the same train command resumes it",
        "held out": _heldout(description),
        "trained": "" if minutes is None else amount(round(minutes, 1), "minute"),
        "steps": _steps(description),
        "parameters": "" if description.parameters is None else f"{description.parameters:,}",
        "writes at": _sampling(description),
        "text": f"{train['tokens']:,} tokens, {train['bytes']:,} bytes" if "bytes" in train else "",
        "size": f"{_megabytes(description.bytes)} MB",
        "settings": _settings(description.settings),
        "derived": _settings(description.derived),
    }
    return {name: value for name, value in properties.items() if value}


def _heldout(description: RunDescription) -> str:
    from wenmo.apps.cli import show

    if description.heldout is None:
        return ""
    return show.likelihood_line(Evaluation.from_dict(description.heldout))


def _sampling(description: RunDescription) -> str:
    from wenmo.apps.cli import show

    if description.sampling is None:
        return ""
    return show.sampling_line(ChosenSampling.from_dict(description.sampling))


def _steps(description: RunDescription) -> str:
    """The number of steps, and the step of the kept weights if it is an earlier one."""
    steps, best = description.steps, description.best_step
    if steps is None:
        return ""
    kept = f"; the best weights, of step {best:,}, are kept" if best and best < steps else ""
    return f"{steps:,}{kept}"


def _settings(settings: Mapping[str, Any]) -> str:
    shown = ((k, v if isinstance(v, str) else dumps(v)) for k, v in settings.items())
    return " ".join(f"{name}={quote(value)}" for name, value in shown)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}" if size >= 1e6 else f"{size / 1e6:.2f}"
