"""``wenmo check``: judge texts by a form of verse."""

from __future__ import annotations

from json import dumps
from typing import Annotated

import typer

from wenmo.apps.cli import option
from wenmo.types import amount
from wenmo.verse.checking import check_file
from wenmo.verse.form import Verdict

Form = Annotated[
    str, typer.Argument(metavar="FORM", help="A form, such as 七律 or sonnet, or a TOML file.")
]
Texts = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="Texts, one a line or separated by empty lines, or JSON Lines; - is stdin.",
    ),
]


def check(form: Form, file: Texts, json: option.Json = False) -> None:
    """Judge the texts of FILE by FORM, a form of verse; with --json one object a text."""
    judged = check_file(form, file)
    for number, (text, verdict) in enumerate(judged, start=1):
        print(dumps(verdict.to_dict(), ensure_ascii=False) if json else show(number, text, verdict))
    if not json and len(judged) > 1:
        valid = sum(verdict.valid for _, verdict in judged)
        print(f"{valid} of {amount(len(judged), 'text')} valid")


def show(number: int, text: str, verdict: Verdict) -> str:
    """A verdict as lines: ``2 not valid: 床前明月光，…`` and its reasons below."""
    first = " ".join(text.split())
    first = first if len(first) <= 20 else f"{first[:20]}…"
    lines = [f"{number} {'valid' if verdict.valid else 'not valid'}: {first}"]
    lines += [f"  {reason}" for reason in verdict.reasons]
    lines += [f"  warning: {warning}" for warning in verdict.warnings]
    return "\n".join(lines)
