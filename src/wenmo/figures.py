"""Line charts: as SVG, and in the characters of a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TypeAlias

Points: TypeAlias = "Sequence[tuple[float, float]]"

WIDTH, HEIGHT, EDGE, LETTERS = 640, 440, 64, 13  # pixels
COLOURS = ("#143c78", "#c0392b", "#1e8449", "#8e44ad", "#b9770e", "#117a8b")


def chart_svg(
    lines: Mapping[str, Points],
    across: str,
    up: str,
    labels: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """An SVG picture of lines over two axes.

    Args:
        lines: the points of each line, by its name; there is at least one point.
        across: what the horizontal axis shows.
        up: what the vertical axis shows.
        labels: what stands beside each point.
    """
    scales = (
        _Scale([point[axis] for points in lines.values() for point in points], *ends)
        for axis, ends in enumerate(((EDGE, WIDTH - EDGE / 2), (HEIGHT - EDGE, EDGE / 2)))
    )
    x_of, y_of = scales
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="{LETTERS}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *_axes(x_of, y_of, across, up),
    ]
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [(x_of(x), y_of(y)) for x, y in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in places:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
        for (x, y), label in zip(places, (labels or {}).get(name, ()), strict=False):
            parts.append(
                f'<text x="{x + 6:.1f}" y="{y - 6:.1f}" fill="{colour}">{escape(label)}</text>'
            )
        y = EDGE / 2 + LETTERS * 1.4 * (number + 1)
        parts.append(
            f'<text x="{WIDTH - EDGE / 2 - 6}" y="{y:.1f}" text-anchor="end" fill="{colour}">'
            f"{escape(name)}</text>"
        )
    return "\n".join([*parts, "</svg>\n"])


def chart_text(points: Points, width: int, height: int = 8) -> list[str]:
    """A line over its points in so many rows of at most ``width`` characters, the values of its top
    and bottom rows at the left.

    Args:
        points: at least one, their x in ascending order.
    """
    low, high = min(y for _, y in points), max(y for _, y in points)
    room = max(width - 8, 2)
    begin, end = points[0][0], points[-1][0]
    rows = [[" "] * room for _ in range(height)]
    for column in range(room):
        x = begin + (end - begin) * column / (room - 1)
        y = _between(points, x)
        share = (high - y) / (high - low) if high > low else 1.0
        rows[round(share * (height - 1))][column] = "•"
    marks = {0: f"{high:.3f}", height - 1: f"{low:.3f}"}
    return [f"{marks.get(n, ''):>6} │{''.join(row).rstrip()}" for n, row in enumerate(rows)]


def _between(points: Points, x: float) -> float:
    """The value at ``x`` of straight lines through points."""
    before = points[0]
    for after in points:
        if after[0] >= x:
            run = after[0] - before[0]
            share = (x - before[0]) / run if run else 1.0
            return before[1] + share * (after[1] - before[1])
        before = after
    return before[1]


def _axes(x_of: _Scale, y_of: _Scale, across: str, up: str) -> list[str]:
    """A grid with round values, and what the axes show."""
    floor, parts = HEIGHT - EDGE, []
    for value in x_of.ticks():
        x = x_of(value)
        parts.append(f'<path d="M{x:.1f} {EDGE / 2}V{floor}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{x_of.shown(value)}</text>'
        )
    for value in y_of.ticks():
        y = y_of(value)
        parts.append(f'<path d="M{EDGE} {y:.1f}H{WIDTH - EDGE / 2}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{EDGE - 6}" y="{y + 4:.1f}" text-anchor="end">{y_of.shown(value)}</text>'
        )
    middle = f'transform="rotate(-90 16 {HEIGHT / 2})" text-anchor="middle"'
    return [
        *parts,
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 16}" text-anchor="middle">{escape(across)}</text>',
        f'<text x="16" y="{HEIGHT / 2}" {middle}>{escape(up)}</text>',
    ]


class _Scale:
    """Where values lie between two ends in pixels, with some room around them."""

    def __init__(self, values: Sequence[float], begin: float, end: float) -> None:
        room = 0.1 * (max(values) - min(values)) or 0.05
        self.low, self.high = min(values) - room, max(values) + room
        self.begin, self.end = begin, end
        rough = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        self.step = min((power * n for n in (1, 2, 5, 10)), key=lambda n: abs(n - rough))

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.begin + share * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """Round values, about five."""
        first, last = math.ceil(self.low / self.step), math.floor(self.high / self.step)
        return [self.step * n for n in range(first, last + 1)]

    def shown(self, value: float) -> str:
        """A tick with as many decimals as tell it from the next."""
        decimals = max(2 if self.step < 1 else 0, -math.floor(math.log10(self.step)))
        return f"{value:.{decimals}f}"
