"""An option is declared once: what is declared is found everywhere, and only what is in range."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from wenmo.apps.cli.option_groups import expand_options, options_from
from wenmo.config import from_dict, load_toml, override
from wenmo.decoding.combination.settings import CombinationSettings
from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.decoding.drafts.settings import DraftSettings
from wenmo.decoding.params import Sampling
from wenmo.models import MODELS
from wenmo.options import Option, Range, Settings, option, options_of
from wenmo.runs.config import TABLES
from wenmo.types import WenmoError


@dataclass(frozen=True)
class More(Sampling):
    """The settings of writing, and one option more."""

    top_a: float = option(0.25, "keep the tokens above `top_a`", "保留高于 `top_a` 的", above=0)


def command() -> typer.Typer:
    """A program that prints what it is given."""
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    @expand_options
    def write(*, sampling: Annotated[dict[str, Any], options_from(More)]) -> None:
        print(sampling)

    return app


def test_an_option_that_is_added_is_on_the_command_line() -> None:
    run = CliRunner().invoke
    told = " ".join(run(command(), ["--help"]).output.split())
    assert "--top-a" in told
    assert "Keep the tokens above top_a [default: 0.25]." in told
    assert (
        run(command(), ["--top-a", "0.5", "--top-k", "3"]).output == "{'top_k': 3, 'top_a': 0.5}\n"
    )
    assert run(command(), []).output == "{}\n"
    refused = run(command(), ["--top-a", "nan"])
    assert refused.exit_code == 2
    assert "must be above 0" in " ".join(refused.output.split())


def test_an_option_that_is_added_is_in_toml_and_python(tmp_path: Path) -> None:
    path = tmp_path / "writing.toml"
    path.write_text("top_a = 0.5\n", encoding="utf-8")
    assert from_dict(More, load_toml(path)) == More(top_a=0.5) == override(More(), ["top_a=0.5"])
    with pytest.raises(WenmoError, match="did you mean 'top_a'"):
        override(More(), ["topa=1"])
    for wrong in (0, -1, math.nan):
        with pytest.raises(ValueError, match=r"^top_a=.*: must be above 0$"):
            More(top_a=wrong)


def test_an_option_that_is_added_is_in_the_tables_of_the_pages(docs_tables: Any) -> None:
    row = ["`top_a`", "`0.25`", "(0, ∞)", "keep the tokens above `top_a`"]
    assert docs_tables.setting_rows("setting", [More()])[-1] == row
    assert docs_tables.setting_rows("设置", [More()])[-1] == [*row[:3], "保留高于 `top_a` 的"]


FAMILIES = {type(family.config) for family in MODELS.values()}


@pytest.mark.parametrize(
    "settings",
    [
        Sampling,
        ConstraintSettings,
        CombinationSettings,
        DraftSettings,
        *TABLES.values(),
        *sorted(FAMILIES, key=repr),
    ],
)
def test_every_option_is_described_and_its_default_admitted(settings: type[Settings]) -> None:
    names = [field.name for field in fields(settings)]
    assert list(options_of(settings)) == names
    for declared in options_of(settings).values():
        assert declared.admits(declared.default)
        for text in (declared.help, declared.help_zh):
            assert text.strip(" .。") == text
            assert text
            assert "\n" not in text
            assert "|" not in text
        assert bool(declared.unset) == bool(declared.unset_zh)


@pytest.mark.parametrize(
    ("bounds", "told", "inside", "outside"),
    [
        (Range(minimum=1), "at least 1", [1, 9], [0, math.nan]),
        (Range(minimum=0, maximum=1), "from 0 to 1", [0, 0.5, 1], [-0.1, 1.1, math.nan]),
        (Range(minimum=0, below=1), "at least 0 and below 1", [0, 0.9], [1, -1, math.nan]),
        (Range(above=0, maximum=1), "above 0 and at most 1", [0.1, 1], [0, 2, math.nan]),
        (Range(above=0, below=math.inf), "a positive number", [1e9], [0, math.inf, math.nan]),
        (Range(minimum=0, below=math.inf), "at least 0", [0, 1e9], [-1, math.inf, math.nan]),
        (Range(above=0), "above 0", [1, math.inf], [0, math.nan]),
        (Range(), "", [0, -math.inf, math.nan], []),
    ],
)
def test_ranges(bounds: Range, told: str, inside: list[float], outside: list[float]) -> None:
    assert str(bounds) == told
    assert all(number in bounds for number in inside)
    assert not any(number in bounds for number in outside)


@dataclass(frozen=True)
class Toy(Settings):
    size: int | None = option(None, "size", "大小", minimum=1)
    scales: tuple[float, ...] = option((), "scales", "比例", above=0)
    mode: Literal["slow", "fast"] | None = option(None, "mode", "方式")
    plain: int = 3


def test_what_is_not_admitted_is_refused_by_name() -> None:
    assert Toy(2, (1.0,), "fast", -1) == Toy(size=2, scales=(1.0,), mode="fast", plain=-1)
    for values, told in (
        ({"size": 0}, "size must be at least 1"),
        ({"scales": (1.0, 0.0)}, "scales must be above 0"),
        ({"mode": "quick"}, "mode must be slow or fast"),
    ):
        with pytest.raises(ValueError, match=f"^{told}$"):
            Toy(**values)  # type: ignore[arg-type]
    assert list(options_of(Toy)) == ["size", "scales", "mode"]


def test_choices_are_those_of_the_type() -> None:
    assert Option("x", Literal["a", "b", "c"], "a", "", "").wanted == "a, b or c"
    assert Option("x", Literal["a"] | None, None, "", "").choices == ("a",)
    assert Option("x", int | None, None, "", "").choices == ()
