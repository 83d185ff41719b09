"""Line charts as SVG and as terminal text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TypeAlias

Points: TypeAlias = "Sequence[tuple[float, float]]"

WIDTH, HEIGHT, MARGIN, FONT_SIZE = 640, 440, 64, 13  # pixels
COLOURS = ("#143c78", "#c0392b", "#1e8449", "#8e44ad", "#b9770e", "#117a8b")


def chart_svg(
    lines: Mapping[str, Points],
    x_label: str,
    y_label: str,
    labels: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """A line chart as SVG.

    Args:
        lines: points of each line by name; at least one point in all.
        x_label: label of the x axis.
        y_label: label of the y axis.
        labels: labels of the points of each line.
    """
    scales = (
        _Scale([point[axis] for points in lines.values() for point in points], *pixel_range)
        for axis, pixel_range in enumerate(
            ((MARGIN, WIDTH - MARGIN / 2), (HEIGHT - MARGIN, MARGIN / 2))
        )
    )
    x_of, y_of = scales
    elements = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="{FONT_SIZE}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *_axes(x_of, y_of, x_label, y_label),
    ]
    for index, (name, points) in enumerate(lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        pixels = [(x_of(x), y_of(y)) for x, y in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
        elements.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        for x, y in pixels:
            elements.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
        for (x, y), label in zip(pixels, (labels or {}).get(name, ()), strict=False):
            elements.append(
                f'<text x="{x + 6:.1f}" y="{y - 6:.1f}" fill="{colour}">{escape(label)}</text>'
            )
        y = MARGIN / 2 + FONT_SIZE * 1.4 * (index + 1)
        elements.append(
            f'<text x="{WIDTH - MARGIN / 2 - 6}" y="{y:.1f}" text-anchor="end" fill="{colour}">'
            f"{escape(name)}</text>"
        )
    return "\n".join([*elements, "</svg>\n"])


def chart_text(points: Points, width: int, height: int = 8) -> list[str]:
    """A line chart in ``height`` rows of at most ``width`` characters, with y values at the left.

    Args:
        points: at least one point, x ascending.
    """
    low, high = min(y for _, y in points), max(y for _, y in points)
    columns = max(width - 8, 2)
    first_x, last_x = points[0][0], points[-1][0]
    rows = [[" "] * columns for _ in range(height)]
    for column in range(columns):
        x = first_x + (last_x - first_x) * column / (columns - 1)
        y = _interpolate(points, x)
        fraction = (high - y) / (high - low) if high > low else 1.0
        rows[round(fraction * (height - 1))][column] = "•"
    y_labels = {0: f"{high:.3f}", height - 1: f"{low:.3f}"}
    return [f"{y_labels.get(n, ''):>6} │{''.join(row).rstrip()}" for n, row in enumerate(rows)]


def _interpolate(points: Points, x: float) -> float:
    """Linear interpolation between points at ``x``."""
    left = points[0]
    for right in points:
        if right[0] >= x:
            run = right[0] - left[0]
            fraction = (x - left[0]) / run if run else 1.0
            return left[1] + fraction * (right[1] - left[1])
        left = right
    return left[1]


def _axes(x_of: _Scale, y_of: _Scale, x_label: str, y_label: str) -> list[str]:
    """Grid lines at round values, and axis labels."""
    bottom, elements = HEIGHT - MARGIN, []
    for value in x_of.ticks():
        x = x_of(value)
        elements.append(f'<path d="M{x:.1f} {MARGIN / 2}V{bottom}" stroke="#ddd"/>')
        elements.append(
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">'
            f"{x_of.format_tick(value)}</text>"
        )
    for value in y_of.ticks():
        y = y_of(value)
        elements.append(f'<path d="M{MARGIN} {y:.1f}H{WIDTH - MARGIN / 2}" stroke="#ddd"/>')
        elements.append(
            f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{y_of.format_tick(value)}</text>"
        )
    middle = f'transform="rotate(-90 16 {HEIGHT / 2})" text-anchor="middle"'
    return [
        *elements,
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 16}" text-anchor="middle">{escape(x_label)}</text>',
        f'<text x="16" y="{HEIGHT / 2}" {middle}>{escape(y_label)}</text>',
    ]


class _Scale:
    """Maps values to pixels between two ends, with a margin around the values."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        margin = 0.1 * (max(values) - min(values)) or 0.05
        self.low, self.high = min(values) - margin, max(values) + margin
        self.start, self.end = start, end
        raw_step = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(raw_step))
        self.step = min((power * n for n in (1, 2, 5, 10)), key=lambda n: abs(n - raw_step))

    def __call__(self, value: float) -> float:
        fraction = (value - self.low) / (self.high - self.low)
        return self.start + fraction * (self.end - self.start)

    def ticks(self) -> list[float]:
        """About five round values."""
        first, last = math.ceil(self.low / self.step), math.floor(self.high / self.step)
        return [self.step * n for n in range(first, last + 1)]

    def format_tick(self, value: float) -> str:
        """A tick with enough decimals to distinguish it from the next."""
        decimals = max(2 if self.step < 1 else 0, -math.floor(math.log10(self.step)))
        return f"{value:.{decimals}f}"
