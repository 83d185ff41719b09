"""The same command for an existing run: training continues, or the user is told what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shlex import quote

from wenmo.runs.recipe import Recipe
from wenmo.runs.store import Card
from wenmo.types import WenmoError

BUDGETS = {"train.steps": "steps", "train.minutes": "minutes"}
FREE = frozenset({"train.patience", "train.full_evaluation", "train.checkpoint_seconds"})
"""Settings that may differ: they do not change what is trained."""
SHOWN = 4  # settings that differ, in a message
OTHER_MODEL = ("family", "model.", "ngram_prior.", "tokenizer.", "task.", "read.", "split.")


def adapted(folder: Path, card: Card, recipe: Recipe) -> Card:
    """The card of a run with the budget that is requested now.

    Where a finished run is given more steps or minutes, the card says that it continues.

    Args:
        folder: the run folder.
        card: of the run; it is changed.
        recipe: the requested settings.

    Raises:
        WenmoError: other settings, a smaller budget, or minutes in place of steps.
    """
    before = card.requested or card.recipe
    differ = recipe.differences(before)
    names = {line.split(" ", 1)[0]: line for line in differ}
    others = [line for name, line in names.items() if name not in {*BUDGETS, *FREE}]
    if others:
        shown = ", ".join(others[:SHOWN])
        more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        is_same_model = not any(line.startswith(OTHER_MODEL) for line in others)
        advice = f"{fresh_start(folder)}, or " if is_same_model else ""
        raise WenmoError(
            f"{folder}: holds a run with other settings: {shown}{more}: {advice}choose another "
            "--out"
        )
    if names.keys() & BUDGETS.keys():
        _check_budget(folder, before, recipe)
        card.continues = card.finished
    changed = (name.removeprefix("train.") for name in names)
    changes = {name: getattr(recipe.train, name) for name in changed}
    card.requested = recipe
    card.recipe = replace(card.recipe, train=replace(card.recipe.train, **changes))
    return card


def fresh_start(folder: Path) -> str:
    """The command that starts a new run with the weights of a run."""
    run, new = quote(str(folder)), quote(f"{folder}-2")
    return f"begin anew with its weights: wenmo train DATA --from {run} --out {new}"


def _check_budget(folder: Path, before: Recipe, now: Recipe) -> None:
    """Refuse a budget to which training cannot continue."""
    for name in BUDGETS.values():
        had, has = getattr(before.train, name), getattr(now.train, name)
        if had is None:
            continue
        if has is None:
            raise WenmoError(
                f"{folder}: was trained with --{name} {had:g}: give more --{name} to go on, or "
                f"{fresh_start(folder)}"
            )
        if has < had:
            raise WenmoError(
                f"{folder}: was trained with --{name} {had:g}, and {has:g} is less: give more "
                f"--{name} to go on, or {fresh_start(folder)}"
            )
