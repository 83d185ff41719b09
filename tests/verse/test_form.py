"""Form files: what is read, and errors with line and character."""

from __future__ import annotations

from pathlib import Path

import pytest

from wenmo.types import WenmoError
from wenmo.verse.form import load_form


def test_a_form_is_known_by_its_name_its_alias_and_its_path(tmp_path: Path) -> None:
    assert load_form("七绝") is load_form("七言绝句")
    path = tmp_path / "my.toml"
    path.write_text('language = "zh"\npattern = """\n平中仄，\n中仄仄平平 A。\n"""\n', "utf-8")
    form = load_form(path)
    assert (form.name, form.language) == ("my", "zh")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('language = "zh"\npattern = """\n平中仄，\n中仄x平平 A。\n"""\n', ":4:3: 'x' does not"),
        ('language = "zh"\nlines = 3\n', ":2:1: unknown key 'lines'"),
        ('language = "fr"\n', ":1:1: language 'fr' is not one of: "),
        ('language = "zh"\norders = {aC = 1}\ntypes = {a = ["平"]}\n', ":2:12: no line type 'C'"),
        ('language = "zh\n', ": not valid TOML: Illegal character '\\n' (at line 1, column 15)"),
        ('language = "zh"\n', ": the key 'types' is missing"),
    ],
)
def test_an_error_names_the_line_and_the_character(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(WenmoError) as error:
        load_form(path)
    assert str(error.value).startswith(f"{path}{message}")


def test_an_unknown_name_is_answered_by_the_nearest() -> None:
    with pytest.raises(WenmoError, match="no form named '七决'; did you mean '七绝'"):
        load_form("七决")
