"""``wenmo runs``, ``show`` and ``rm``: the run folders that there are, without loading PyTorch."""

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
    Path, typer.Argument(metavar="[FOLDER]", help="Look below this folder [default: runs].")
]
Folders = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")]
CurvePlot = Annotated[Path | None, typer.Option(help="Draw the learning curve into this SVG file.")]
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
        _list(rows)
    else:
        show.note(f"no run folders in {folder}")


def show_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder made by train.")],
    json: option.Json = False,
    plot: CurvePlot = None,
) -> None:
    """Show one run: its learning curve, settings, samples, and what can be done with it."""
    from wenmo.apps.cli import show

    described = folders.describe(run)
    if plot is not None:
        folders.draw_curve(described.history, plot)
        show.note(f"drawn: {plot}")
    if json:
        show.print_json(described)
    else:
        _show(run, described)


def rm(runs: Folders) -> None:
    """Move run folders to a trash folder beside them, from which they can be moved back."""
    from wenmo.apps.cli import show

    for before, after in folders.remove(runs):
        show.note(f"moved to {after}; to restore: mv {quote(str(after))} {quote(str(before))}")


def _list(rows: Sequence[RunSummary | DamagedRun]) -> None:
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
    header, *lines = show.aligned(cells, right={3, 4, 5})
    show.OUT.print(header, highlight=False, markup=False)
    for row, line in zip(rows, lines, strict=True):
        show.OUT.print(line, highlight=False, markup=False)
        below = row.problem if isinstance(row, DamagedRun) else row.sample or ""
        if below.strip():
            show.OUT.print(
                "  " + show.cut_sample(below, show.OUT.width - 2), style="dim", markup=False
            )


def _show(run: Path, described: RunDescription) -> None:
    from wenmo.apps.cli import show
    from wenmo.charts import chart_text

    for name, value in _facts(described).items():
        first, *more = wrap(value, show.columns() - 12, break_long_words=False)
        for line in [f"{name:12}{first}", *(" " * 12 + line for line in more)]:
            show.OUT.print(line, markup=False)
    points = folders.curve(described.history)
    if len(points) > 1:
        show.OUT.print("\nheld-out bits per byte, by minutes of training")
        for line in chart_text(points, min(show.OUT.width, 80)):
            show.OUT.print(line, markup=False)
        ends = f"{points[0][0]:.1f}", f"{points[-1][0]:.1f}"
        show.OUT.print(f"{'':8}{ends[0]}{ends[1]:>{min(show.OUT.width, 80) - 8 - len(ends[0])}}")
    for name, text in _samples(described):
        show.OUT.print(f"\n{name}", style="dim")
        show.OUT.print(text, markup=False)
    show.OUT.print()
    for command in _commands(run, described):
        show.OUT.print(command, markup=False)


def _samples(described: RunDescription) -> list[tuple[str, str]]:
    """What the run wrote on the way to the weights that are kept, and what those wrote at the end,
    each with a line that names it.
    """
    finished, best = described.finished, described.best_step
    kept = [
        (f"step {sample['step']:,} wrote", sample["text"])
        for sample in described.samples
        if not finished or best is None or sample["step"] <= best
    ]
    if not finished or best is None or described.sample is None:
        return kept[-SAMPLES_SHOWN:]
    last = (f"the weights of step {best:,}, which are kept, wrote at the end", described.sample)
    return [*kept[1 - SAMPLES_SHOWN :], last]


def _commands(run: Path, described: RunDescription) -> list[str]:
    """What can be done with a run."""
    from wenmo.apps.cli import show

    name = quote(str(run))
    exports = [to for to, reason in (described.exports or {}).items() if not reason]
    exports += [f"{to} --network-only" for to in described.exports_network_only]
    written = [f"wenmo export {name} --out PATH --to {to}" for to in exports]
    return [show.use(run, described.task), f"wenmo evaluate {name} DATA", *written]


def _facts(described: RunDescription) -> dict[str, str]:
    minutes, train = described.minutes, described.data["train"] or {}
    facts = {
        "model": described.family,
        "task": described.task,
        "state": "finished" if described.finished else "unfinished: train again to go on",
        "held out": _heldout(described),
        "trained": "" if minutes is None else amount(round(minutes, 1), "minute"),
        "steps": _steps(described),
        "parameters": "" if described.parameters is None else f"{described.parameters:,}",
        "writes at": _sampling(described),
        "text": f"{train['tokens']:,} tokens, {train['bytes']:,} bytes" if "bytes" in train else "",
        "size": f"{_megabytes(described.bytes)} MB",
        "settings": _settings(described.settings),
        "derived": _settings(described.derived),
    }
    return {name: value for name, value in facts.items() if value}


def _heldout(described: RunDescription) -> str:
    from wenmo.apps.cli import show

    if described.heldout is None:
        return ""
    return show.likelihood_line(Evaluation.from_dict(described.heldout))


def _sampling(described: RunDescription) -> str:
    from wenmo.apps.cli import show

    if described.sampling is None:
        return ""
    return show.sampling_line(ChosenSampling.from_dict(described.sampling))


def _steps(described: RunDescription) -> str:
    """How many steps were made, and which of them gave the weights that are kept."""
    steps, best = described.steps, described.best_step
    if steps is None:
        return ""
    kept = f"; the weights of step {best:,} are kept, the best" if best and best < steps else ""
    return f"{steps:,}{kept}"


def _settings(settings: Mapping[str, Any]) -> str:
    shown = ((k, v if isinstance(v, str) else dumps(v)) for k, v in settings.items())
    return " ".join(f"{name}={quote(value)}" for name, value in shown)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}" if size >= 1e6 else f"{size / 1e6:.2f}"
