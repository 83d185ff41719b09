"""``wenmo generate --plan``: a long text, written section by section."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wenmo.longform.outline import read_outline
from wenmo.types import WenmoError, amount

SUFFIX = ".draft.md"


def write_outline(
    folder: Path,
    plan: Path,
    out: Path | None,
    section: str | None,
    revise: str | None,
    options: Mapping[str, Any],
    *,
    json: bool,
) -> None:
    """Write the outline ``plan`` to ``out``, or revise one of its sections.

    Raises:
        WenmoError: see `wenmo.api.write_long_text`.
    """
    outline = read_outline(plan)  # before the model is loaded
    out = out or plan.with_name(f"{plan.stem}{SUFFIX}")
    if out.resolve() == plan.resolve():
        raise WenmoError(f"{out}: is the outline itself: name another file with --out")
    from wenmo.api import load, write_long_text
    from wenmo.api.longform import check_revision
    from wenmo.apps.cli import show

    check_revision(outline, section, revise)
    run = load(folder)
    show.print_card_note(run)
    with show.ProgressDisplay() as progress:
        draft = write_long_text(
            run,
            outline,
            out,
            section=section,
            revise=revise,
            on_progress=progress.on_progress,
            **options,
        )
    if json:
        show.print_json(draft)
    else:
        show.print_note(f"written: {out} ({amount(len(draft.sections), 'section')})")


def refuse_other_options(given: Mapping[str, Any]) -> None:
    """Refuse options that a long text does not have.

    Args:
        given: values by the options' names.

    Raises:
        WenmoError: one of them has a value.
    """
    named = [f"--{name}" for name, value in given.items() if value]
    if named:
        raise WenmoError(
            f"{', '.join(named)}: not with --plan, whose outline says what each section is: leave "
            "out one of the two"
        )
