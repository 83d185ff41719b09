"""``wenmo plan`` and ``models``: what training takes, and what can be trained."""

from __future__ import annotations

from typing import Annotated

import typer

from wenmo.apps.cli import option
from wenmo.runs import preflight


def plan(
    model: option.PlanModel,
    settings: option.ModelSettings = None,
    vocab_size: option.VocabSize = 50_257,
    gpu: option.Gpu = "h100",
    gpus: option.Gpus = 8,
    tokens: option.Tokens = None,
    utilization: option.Utilization = 0.4,
    rows: option.Rows = 1,
    price: option.Price = None,
    json: option.Json = False,
) -> None:
    """What training a model of any size takes: memory, days, dollars and number of GPUs."""
    from wenmo import api
    from wenmo.apps.cli import show

    training_plan = api.plan(
        model,
        settings or [],
        vocab_size=vocab_size,
        gpu=gpu,
        gpus=gpus,
        tokens=tokens,
        utilization=utilization,
        rows=rows,
        price=price,
    )
    if json:
        show.print_json(training_plan)
    else:
        show.print_plan(training_plan)


def models(
    family: Annotated[
        str | None, typer.Argument(help="The family whose settings are shown.")
    ] = None,
    json: option.Json = False,
) -> None:
    """List the model families with their uses, sizes and settings."""
    if family is not None:
        family = preflight.check_family(family)
    from wenmo.api import catalogue
    from wenmo.apps.cli import show

    families = catalogue(family)
    if json:
        show.print_json({"models": families})
    elif family is None:
        show.print_families(families)
    else:
        show.print_family(families[0])
