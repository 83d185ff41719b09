"""``wenmo train`` and ``demo``: run folders from text."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from wenmo.apps.cli import option
from wenmo.runs import preflight


def train(
    context: typer.Context,
    data: option.Data,
    settings: option.Settings = None,
    model: option.Model = None,
    out: option.Out = None,
    prior: option.Prior = None,
    *,
    training: option.TrainOptions,
    control: option.ControlFields = None,
    target: option.Target = None,
    valid: option.Valid = None,
    valid_target: option.ValidTarget = None,
    recipe: option.Recipe = None,
    base: option.Base = None,
    reference: option.Reference = None,
    json: option.Json = False,
) -> None:
    """Train a generator on your text. The same command resumes an interrupted training."""
    options = [f"{key}={value}" for key, value in training.items()]
    if prior is not None:
        options.append(f"ngram_prior.enabled={preflight.prior_value(prior)}")
    if control is not None:
        options.append(f"task.control={dumps(control.split(','))}")
    options += settings or []
    preflight.check_training(
        data,
        (target, valid, valid_target, reference),
        model=model,
        base=base,
        recipe=recipe,
        out=out,
        settings=options,
    )
    from wenmo.api import fit
    from wenmo.apps.cli import show

    with show.ProgressDisplay() as progress:
        run = fit(
            data,
            model=model,
            out=out,
            target=target,
            valid=valid,
            valid_target=valid_target,
            recipe=recipe,
            base=base,
            reference=reference,
            settings=options,
            on_event=progress.on_event,
            on_progress=progress.on_progress,
            started=context.obj,
        )
    if json:
        show.print_json({"run": str(run.folder), **run.card.results})
    else:
        show.print_training_result(run)


def demo(
    out: Annotated[Path, typer.Option(help="Parent folder of the run folders.")] = Path(
        "runs/demo"
    ),
    seconds: Annotated[
        float,
        typer.Option(
            envvar="WENMO_DEMO_SECONDS", min=1, help="Training time of each neural model."
        ),
    ] = 60.0,
    json: option.Json = False,
) -> None:
    """Train an n-gram, an LSTM and a GPT on Shakespeare's plays, and compare them."""
    from wenmo.apps.cli.demo import run_demo

    run_demo(out, seconds, json)
