"""What can be trained, on what data, and what that takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from wenmo.apps.cli.show.terminal import OUT, columns, cut, note

if TYPE_CHECKING:
    from wenmo.api.families import Family
    from wenmo.api.planning import Plan
    from wenmo.text.inspection import Inspection


def planned(plan: Plan) -> None:
    """What training would take."""
    gib = 1 << 30
    flops, attention = plan.training_flops, plan.attention_flops
    rows = {
        "weights": f"{plan.parameters:,}",
        "tokens": f"{plan.tokens:,.0f}",
        "training": f"{flops:.3g} FLOPs, and {attention:.3g} for attention",
        "speed": f"{plan.tokens_per_second:,.0f} tokens/s on {plan.gpus:,} {plan.gpu} "
        f"at {plan.utilization:.0%}",
        "time": f"{plan.days:,.2f} days",
        "cost": f"${plan.dollars:,.0f}",
        "fewest GPUs": "no number: use fewer rows, or GPUs with more memory"
        if plan.fewest_gpus is None
        else f"{plan.fewest_gpus:,} (all divided and recomputed)",
    }
    facts = Table(box=None, show_header=False)
    for name, value in rows.items():
        facts.add_row(name, Text(value))
    OUT.print(facts)
    memory = Table(box=None, pad_edge=False, title="GiB on each GPU", title_justify="left")
    for column in ("sharding", "weights", "gradients", "optimizer", "activations", "recomputed"):
        memory.add_column(column, justify="left" if column == "sharding" else "right")
    memory.add_column("fits")
    for row in plan.memory:
        sizes = ("weights", "gradients", "optimizer", "activations", "activations_recomputed")
        fits = "yes" if row.fits else "recomputed" if row.fits_recomputed else "no"
        memory.add_row(row.sharding, *(f"{getattr(row, size) / gib:,.1f}" for size in sizes), fits)
    OUT.print(memory)


def families(entries: Sequence[Family]) -> None:
    """The catalogue, a line each."""
    table = Table(box=None, pad_edge=False)
    for column in ("model", "good for", "sizes"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        table.add_row(entry.name, entry.good_for, " ".join(entry.sizes))
    Console(highlight=False).print(table)
    OUT.print("\nSettings of one: wenmo models NAME · a size: --model gpt:tiny")


def family(entry: Family) -> None:
    """One family: its settings with their defaults, and its sizes with their settings."""
    OUT.print(f"{entry.name}: {entry.good_for}")
    table = Table("setting", "default", box=None, pad_edge=False)
    for name, value in entry.settings.items():
        table.add_row(name, json.dumps(value))
    OUT.print(table)
    for size, changes in entry.size_settings.items():
        shown = " ".join(f"{k}={json.dumps(v)}" for k, v in changes.items())
        OUT.print(f"{entry.name}:{size}  {shown}")


def inspected(found: Inspection) -> None:
    """What training would read of some data."""
    for line in found.lines:
        OUT.print(Text(line))
    if found.split is not None:
        train, valid = (found.split[part] for part in ("train", "valid"))
        OUT.print(
            f"split: {train['bytes']:,} bytes to train on, {valid['bytes']:,} held out: "
            f"{found.split['held_out']}"
        )
    for sample in found.samples:
        texts = [cut(text, columns() // len(sample) - 5) for text in sample.values()]
        OUT.print(Text("    " + " → ".join(texts), style="dim"))
    for line in found.suggestions:
        OUT.print(Text(f"try {line}"))
    for line in found.warnings:
        note(line)
