"""The consoles, for results (standard output) and notes (standard error), and text layout."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from wenmo.results import plain

OUT = Console(highlight=False, soft_wrap=True)
ERR = Console(highlight=False, stderr=True, soft_wrap=not sys.stderr.isatty())
ANSWER_ARROW = "\n→ "  # separates source and answer in the sample of a run
INDENT = 4  # columns, of the lines of a note after its first


def line_width() -> int:
    """The largest width of a printed line in columns: that of the terminal, at most 100."""
    return min(ERR.width, 100)


def join_items(items: Sequence[str]) -> list[str]:
    """Items joined by dots: on a terminal in lines of its width, elsewhere in one line."""
    lines = [items[0]]
    for item in items[1:]:
        longer = f"{lines[-1]} · {item}"
        if ERR.is_terminal and cell_len(longer) > ERR.width:
            lines.append(f"    {item}")
        else:
            lines[-1] = longer
    return lines


def align_columns(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Format rows of cells as lines, with two spaces between the widest cells.

    Args:
        rows: rows with the same number of cells.
        right: indices of the right-aligned columns.
    """
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        padded = (
            " " * (width - cell_len(cell)) + cell
            if column in right
            else cell + " " * (width - cell_len(cell))
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(padded).rstrip())
    return lines


def truncate(text: str, width: int) -> str:
    """Format a text as one line of at most ``width`` terminal columns; a cut text ends with "…".

    A Chinese character takes two columns, a combining mark none.
    """
    line = Text(" ⏎ ".join(line.strip() for line in text.splitlines() if line.strip()))
    line.expand_tabs(1)
    line.truncate(width, overflow="ellipsis")
    return line.plain


def truncate_sample(text: str, width: int) -> str:
    """Format a sample of a run as one line, as `truncate`; of a pair, the source is cut first.

    If source and answer are both long, the source takes a third of the width.
    """
    source, arrow, answer = text.rpartition(ANSWER_ARROW)
    available = width - cell_len(" → ")
    if not arrow or available < 2:
        return truncate(text, width)
    answer_width = min(cell_len(truncate(answer, width)), available - available // 3)
    source = truncate(source, available - answer_width)
    return f"{source} → {truncate(answer, available - cell_len(source))}"


def print_note(text: str) -> None:
    """Print a note to the user, apart from the result, on standard error."""
    print_line(text, style="yellow")


def print_line(text: str, style: str = "") -> None:
    """Print a line on standard error.

    On a terminal, a long line is wrapped between words with a hanging indent; elsewhere it stays
    one line.
    """
    if not ERR.is_terminal or cell_len(text) <= ERR.width:
        ERR.print(Text(text, style), soft_wrap=True)
        return
    first = Text(text).wrap(ERR, ERR.width)[0].plain
    ERR.print(Text(first, style))
    rest = Text(text[len(first) :].lstrip(), style).wrap(ERR, max(1, ERR.width - INDENT))
    for line in rest:
        ERR.print(Text(" " * INDENT).append_text(line))


def print_json(value: Any) -> None:
    """Print a result, or a dict of results, as one JSON object on standard output.

    Infinite numbers and NaN become null.
    """
    value = _replace_non_finite(plain(value))
    text = json.dumps(value, ensure_ascii=False)
    print(json.dumps(value) if re.search("[\ud800-\udfff]", text) else text)


def format_number(value: float, decimals: int) -> str:
    """A number with ``decimals`` decimals; from a million on with an exponent."""
    if not math.isfinite(value):
        return "infinite"
    return f"{value:.{decimals}f}" if abs(value) < 1e6 else f"{value:.2e}"


def format_duration(seconds: float) -> str:
    """A duration in seconds, minutes or hours, such as ``2 min 05 s``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
    )


def _replace_non_finite(value: Any) -> Any:
    """A JSON value in which None replaces infinite numbers and NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace_non_finite(item) for item in value]
    return value


def visible(token: str) -> str:
    """A token with visible whitespace."""
    return token.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")
