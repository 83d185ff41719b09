"""The same command for a run that is there: it goes on, or says what else to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shlex import quote

from wenmo.runs.recipe import Recipe
from wenmo.runs.store import Card
from wenmo.types import WenmoError

BUDGETS = {"train.steps": "steps", "train.minutes": "minutes"}
FREE = frozenset({"train.patience", "train.full_evaluation", "train.checkpoint_seconds"})
"""What may differ: it says when to stop, score and save, not what is learnt."""
SHOWN = 4  # settings that differ
OTHER_MODEL = ("family", "model.", "ngram_prior.", "tokenizer.", "task.", "read.", "split.")


def adapted(folder: Path, card: Card, recipe: Recipe) -> Card:
    """The card of a run with the budget that is asked for now.

    Where a finished run is given more steps or minutes, the card says that it goes on.

    Args:
        folder: where the run lies.
        card: what it says; changed.
        recipe: the settings that are asked for.

    Raises:
        WenmoError: other settings, less of the budget, or a budget of the other kind.
    """
    asked = card.asked or card.recipe
    differ = recipe.differences(asked)
    names = {line.split(" ", 1)[0]: line for line in differ}
    others = [line for name, line in names.items() if name not in {*BUDGETS, *FREE}]
    if others:
        shown = ", ".join(others[:SHOWN])
        more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        same = not any(line.startswith(OTHER_MODEL) for line in others)
        way = f"{fresh_start(folder)}, or " if same else ""
        raise WenmoError(
            f"{folder}: holds a run with other settings: {shown}{more}: {way}choose another --out"
        )
    if names.keys() & BUDGETS.keys():
        _check_budget(folder, asked, recipe)
        card.continues = card.finished
    changed = (name.removeprefix("train.") for name in names)
    changes = {name: getattr(recipe.train, name) for name in changed}
    card.asked = recipe
    card.recipe = replace(card.recipe, train=replace(card.recipe.train, **changes))
    return card


def fresh_start(folder: Path) -> str:
    """The command that begins a new run with a run's weights."""
    run, new = quote(str(folder)), quote(f"{folder}-2")
    return f"begin anew with its weights: wenmo train DATA --from {run} --out {new}"


def _check_budget(folder: Path, before: Recipe, now: Recipe) -> None:
    """Refuse a budget that cannot be gone on to."""
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
