"""What the terminal shows fits its width."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from wenmo.apps.cli import show


@pytest.mark.parametrize("width", [1, 7, 20, 80])
@pytest.mark.parametrize(
    "text",
    [
        "short",
        "The quick brown fox " * 9,
        "春眠不觉晓，处处闻啼鸟。" * 9,
        "e\u0301" * 99,
        "a\tb\n" * 60,
    ],
)
def test_a_text_is_cut_by_the_columns_it_takes(text: str, width: int) -> None:
    line = show.cut(text, width)
    assert cell_len(line) <= width
    assert "\n" not in line
    assert "\t" not in line
    assert line.endswith("…") or line == text


def test_a_text_that_fits_is_kept() -> None:
    assert show.cut("春眠不觉晓", 10) == "春眠不觉晓"
    assert show.cut("春眠不觉晓", 9) == "春眠不觉…"
    assert show.cut("one\n\n two\n", 20) == "one ⏎ two"
