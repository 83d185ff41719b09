"""Natural order of file names."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from wenmo.text.inputs import files_below
from wenmo.text.natural_order import chinese_number, natural_key


@pytest.mark.parametrize(
    "names",
    [
        ["1.txt", "2.txt", "10.txt", "a.txt"],
        [
            "第一回.txt",
            "第二回.txt",
            "第三回.txt",
            "第十回.txt",
            "第十二回.txt",
            "第一百零五回.txt",
        ],
        ["book 1/chapter 9.txt", "book 1/chapter 11.txt", "book 2/chapter 1.txt"],
    ],
)
def test_numbers_sort_by_value(names: list[str], tmp_path: Path) -> None:
    mixed = random.Random(0).sample(names, len(names))
    for name in mixed:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("text", encoding="utf-8")
    assert [str(path.relative_to(tmp_path)) for path in files_below(tmp_path)] == names
    assert sorted(map(Path, mixed), key=natural_key) == list(map(Path, names))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("十", 10),
        ("十九", 19),
        ("二十", 20),
        ("廿三", 23),
        ("一百零五", 105),
        ("两千三百一十", 2310),
        ("二〇二六", 2026),
        ("回", None),
        ("", None),
    ],
)
def test_chinese_numbers(text: str, value: int | None) -> None:
    assert chinese_number(text) == value
