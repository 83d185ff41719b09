"""Where output goes: results to standard output, all else to standard error."""

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
ANSWER = "\n→ "  # stands between source and answer in the sample of a run
INDENT = 4  # columns, of what follows the first line of a long note


def columns() -> int:
    """How many columns a line of notes may fill: those of the terminal, at most 100."""
    return min(ERR.width, 100)


def in_lines(parts: Sequence[str]) -> list[str]:
    """Parts with dots between them: on a terminal in lines of its width, else in one line."""
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]} · {part}"
        if ERR.is_terminal and cell_len(longer) > ERR.width:
            lines.append(f"    {part}")
        else:
            lines[-1] = longer
    return lines


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Rows of cells as lines, with two columns of space between the widest cells.

    Args:
        right: the columns whose cells stand at the right.
    """
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        filled = (
            " " * (width - cell_len(cell)) + cell
            if number in right
            else cell + " " * (width - cell_len(cell))
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(filled).rstrip())
    return lines


def cut(text: str, width: int) -> str:
    """A text in one line of at most ``width`` terminal columns, with an ellipsis where it is cut.

    A Chinese character takes two columns, a combining mark none.
    """
    line = Text(" ⏎ ".join(line.strip() for line in text.splitlines() if line.strip()))
    line.expand_tabs(1)
    line.truncate(width, overflow="ellipsis")
    return line.plain


def cut_sample(text: str, width: int) -> str:
    """A sample of a run in one line, as `cut`; of a pair, the source is cut before the answer.

    Where both are long, the source takes a third of the width.
    """
    source, arrow, answer = text.rpartition(ANSWER)
    room = width - cell_len(" → ")
    if not arrow or room < 2:
        return cut(text, width)
    needed = min(cell_len(cut(answer, width)), room - room // 3)
    source = cut(source, room - needed)
    return f"{source} → {cut(answer, room - cell_len(source))}"


def note(text: str) -> None:
    """Something the user should know, apart from the result."""
    print_line(text, style="yellow")


def print_line(text: str, style: str = "") -> None:
    """Print a line on standard error: on a terminal, a long one is wrapped between words, and what
    follows is indented; elsewhere it stays one line.
    """
    if not ERR.is_terminal or cell_len(text) <= ERR.width:
        ERR.print(Text(text, style), soft_wrap=True)
        return
    first = Text(text).wrap(ERR, ERR.width)[0].plain
    ERR.print(Text(first, style))
    rest = Text(text[len(first) :].lstrip(), style).wrap(ERR, max(1, ERR.width - INDENT))
    for each in rest:
        ERR.print(Text(" " * INDENT).append_text(each))


def print_json(value: Any) -> None:
    """A result, or a dict that holds some, as one JSON object on standard output; figures that are
    not numbers become null.
    """
    value = _finite(plain(value))
    text = json.dumps(value, ensure_ascii=False)
    print(json.dumps(value) if re.search("[\ud800-\udfff]", text) else text)


def number(value: float, decimals: int) -> str:
    """A figure with so many decimals; with an exponent where it would fill the line."""
    if not math.isfinite(value):
        return "infinite"
    return f"{value:.{decimals}f}" if abs(value) < 1e6 else f"{value:.2e}"


def clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
    )


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
