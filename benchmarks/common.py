"""What the benchmarks share: where data lies, what machine this is, tables and JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

WIDE = 240  # columns


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    data = os.environ.get("WENMO_TEST_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(data), help="the folder of real data")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out"), help="for run folders")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def machine() -> dict[str, Any]:
    """What a figure must be told with."""
    return {
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def report(title: str, rows: Sequence[Mapping[str, Any]], path: Path | None, **more: Any) -> None:
    """Print rows as a table; write them as JSON if a path is given."""
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    width = None if sys.stdout.isatty() else WIDE  # in a log nothing is to be cut off
    Console(highlight=False, width=width).print(table)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"title": title, "machine": machine(), "rows": list(rows), **more}
        path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", "utf-8")


def percentile(seconds: Sequence[float], share: float = 0.2) -> float:
    """A low percentile of times: what the machine does while nobody disturbs it."""
    return sorted(seconds)[int(share * (len(seconds) - 1))]


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """What a function gives, and the seconds that it took."""
    begun = time.perf_counter()
    value = function()
    return value, time.perf_counter() - begun


def _cell(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value}"
