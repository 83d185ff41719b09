"""Forms of verse as constraints: what is given of a poem, and whether it can be completed."""

from __future__ import annotations

from collections.abc import Sequence

from wenmo.decoding.constraints.acrostic import parse_acrostic
from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.types import WenmoError
from wenmo.verse.form import load_form


def check_form(settings: ConstraintSettings) -> None:
    """Check a form of verse.

    Raises:
        WenmoError: no such form, an error in its file, or a setting that it cannot have with it: in
            English the search for words of the right length and sound takes too long.
    """
    if settings.form is None:
        return
    form = load_form(settings.form)
    for name in ("length", "require"):
        if form.language == "en" and getattr(settings, name):
            raise WenmoError(
                f"{name}: cannot be combined with the English form {form.name}: leave it out, or "
                "begin the poem in the prompt"
            )


def given_characters(acrostic: str | None) -> dict[tuple[int, int], str]:
    """The characters that an acrostic gives, by line and index; -1 is the last of a line."""
    if acrostic is None:
        return {}
    characters, last = parse_acrostic(acrostic)
    return {(line, -1 if last else 0): each for line, each in enumerate(characters)}


def beginning_of(prompt: str, first_line: str | None = None) -> str:
    """What is given of a poem: the prompt behind its last empty line, after a first line.

    A line end alone, as a text begins with in a run of long documents, gives nothing.
    """
    own = prompt.rpartition("\n\n")[2].lstrip("\n")
    return own if first_line is None else f"{first_line.strip()}\n{own}"


def is_couplet(name: str) -> bool:
    """Whether a form is a couplet, so that an answer is the second line to its source."""
    return getattr(load_form(name), "couplet", False)


def check_max_tokens(form: str, least: int, max_tokens: int, table: Sequence[bytes]) -> None:
    """Check that a poem can be completed.

    Raises:
        WenmoError: it has more characters than so many tokens can spell.
    """
    longest = max(len(spelled.decode("utf-8", "ignore")) for spelled in table)
    if max_tokens * max(1, longest) < least:
        raise WenmoError(
            f"max_tokens={max_tokens}: too few for form={form}, which has {least} more characters: "
            "raise it"
        )
