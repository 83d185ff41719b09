"""Training plans, model families and inspected data as tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from wenmo.apps.cli.show.terminal import OUT, line_width, print_note, truncate

if TYPE_CHECKING:
    from wenmo.api.families import Family
    from wenmo.api.planning import Plan
    from wenmo.text.inspection import Inspection


def print_plan(plan: Plan) -> None:
    """Print the cost and memory of a training."""
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
        "fewest GPUs": "none is enough: use fewer rows, or GPUs with more memory"
        if plan.fewest_gpus is None
        else f"{plan.fewest_gpus:,} (ZeRO-3, recomputed)",
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


def print_families(families: Sequence[Family]) -> None:
    """Print the catalogue, one family a line."""
    table = Table(box=None, pad_edge=False)
    for column in ("model", "good for", "sizes"):
        table.add_column(column, overflow="fold")
    for family in families:
        table.add_row(family.name, family.good_for, " ".join(family.sizes))
    Console(highlight=False).print(table)
    OUT.print("\nSettings of one: wenmo models NAME · a size: --model gpt:tiny")


def print_family(family: Family) -> None:
    """Print the settings of one family with their defaults, and the settings of its sizes."""
    OUT.print(f"{family.name}: {family.good_for}")
    table = Table("setting", "default", box=None, pad_edge=False)
    for name, value in family.settings.items():
        table.add_row(name, json.dumps(value))
    OUT.print(table)
    for size, changes in family.size_settings.items():
        shown = " ".join(f"{k}={json.dumps(v)}" for k, v in changes.items())
        OUT.print(f"{family.name}:{size}  {shown}")


def print_inspection(inspection: Inspection) -> None:
    """Print how training would read some data."""
    for line in inspection.lines:
        OUT.print(Text(line))
    if inspection.split is not None:
        train, valid = (inspection.split[name] for name in ("train", "valid"))
        OUT.print(
            f"split: {train['bytes']:,} bytes to train on, {valid['bytes']:,} held out: "
            f"{inspection.split['held_out']}"
        )
    for sample in inspection.samples:
        texts = [truncate(text, line_width() // len(sample) - 5) for text in sample.values()]
        OUT.print(Text("    " + " → ".join(texts), style="dim"))
    for line in inspection.suggestions:
        OUT.print(Text(f"try {line}"))
    for line in inspection.warnings:
        print_note(line)
