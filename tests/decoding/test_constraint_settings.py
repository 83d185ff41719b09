"""What a text must be, as settings: what is refused before a model is loaded."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from wenmo.decoding.constraints.settings import (
    ConstraintSettings,
    TextLength,
    parse_lengths,
    split_options,
)
from wenmo.types import WenmoError


def test_constraints_are_kept_apart_from_sampling(tmp_path: Path) -> None:
    schema = tmp_path / "s.json"
    schema.write_text('{"enum": ["春"]}', encoding="utf-8")
    options = {"regex": "a+", "top_p": 0.9, "json_schema": schema, "choice": ["a", "b"]}
    settings, others = split_options(options)
    assert others == {"top_p": 0.9}
    assert settings.given == ("regex", "json_schema", "choice")
    assert settings.json_schema == '{"enum": ["春"]}'
    assert split_options({"json_schema": str(schema)})[0].json_schema == '{"enum": ["春"]}'
    assert split_options({"json_schema": {"enum": ["春"]}})[0].json_schema == '{"enum": ["春"]}'
    assert ConstraintSettings().given == ()


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("28c", TextLength(28, 28, "c")),
        ("20-30w", TextLength(20, 30, "w")),
        ("14l", TextLength(14, 14, "l")),
        ("17s", TextLength(17, 17, "s")),
        ("20-c", TextLength(20, math.inf, "c")),
    ],
)
def test_lengths(text: str, length: TextLength) -> None:
    assert parse_lengths(text) == (length,)
    assert parse_lengths(f"{text}, 4l") == (length, TextLength(4, 4, "l"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regex": ""}, "regex: is empty: give a text, or leave it out"),
        ({"choice": ["a", ""]}, "choice: is empty: give a text, or leave it out"),
        ({"length": "5"}, "length=5: write a number or a range and its unit"),
        ({"length": "5-3c"}, "length=5-3c: must be at least 1, and a range must ascend"),
        ({"length": "0c"}, "length=0c: must be at least 1"),
        ({"json_schema": "{a: 1}"}, "json_schema: line 1, column 2: not valid JSON"),
        ({"json_schema": "nowhere.json"}, "nowhere.json: no such file"),
        ({"lark": Path("nowhere.lark")}, "nowhere.lark: no such file"),
        ({"require": 3.5j}, "require"),
    ],
)
def test_what_no_text_can_meet_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(WenmoError) as caught:
        split_options(options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_errors_in_a_file_have_its_line(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text('{"type":\n "object",}', encoding="utf-8")
    with pytest.raises(WenmoError, match=r"s.json: line 2, column 11?: not valid JSON"):
        split_options({"json_schema": path})
    path.write_text("[1]")
    with pytest.raises(WenmoError, match="a JSON Schema is an object, true or false"):
        split_options({"json_schema": path})
