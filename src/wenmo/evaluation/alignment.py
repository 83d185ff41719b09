"""Source attention of each target token: as numbers, and as an SVG picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import torch
from torch import Tensor

from wenmo.models.base import LanguageModel
from wenmo.types import END, WenmoError

CELL, FONT_SIZE = 26, 13  # pixels


@torch.inference_mode()
def alignment(model: LanguageModel, source: Sequence[int], target: Sequence[int]) -> Tensor:
    """The attention weights of each target token over the source tokens.

    Args:
        source: ids, without END.
        target: ids, with END if the text ended with it.

    Returns:
        float32 (target tokens, source tokens and END); each row sums to 1.

    Raises:
        WenmoError: the model has no attention over a source.
    """
    state = model.eval().initial_state(
        1, source=_batch_of([*source, END], model), capacity=len(target) + 1
    )
    if "coverage" not in state:
        raise WenmoError(
            "this model has no alignment, because it has no attention over a source: "
            "train --model transformer or seq2seq with attention"
        )
    rows = []
    for token in [END, *target[:-1]]:
        _, after = model(_batch_of([token], model), state)
        rows.append(after["coverage"][0] - state["coverage"][0])
        state = after
    return torch.stack(rows).cpu()


def _batch_of(ids: Sequence[int], model: LanguageModel) -> Tensor:
    return torch.tensor([list(ids)], device=model.device)


def alignment_svg(
    source: Sequence[str], target: Sequence[str], weights: Sequence[Sequence[float]]
) -> str:
    """An SVG picture of an alignment: source tokens at the top, target tokens at the left.

    Each pair of tokens has a square, darker for a larger weight; the weight is its tooltip.

    Args:
        source, target: tokens as text.
        weights: a row for each target token, with a weight from 0 to 1 for each source token.
    """
    left, top = (_label_width(labels) + FONT_SIZE for labels in (target, source))
    width, height = (
        left + CELL * len(source) + FONT_SIZE,
        top + CELL * len(target) + FONT_SIZE,
    )
    elements = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="{FONT_SIZE}">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for column, label in enumerate(source):
        x, y = left + CELL * column + CELL * 0.7, top - FONT_SIZE / 2
        rotation = f'transform="rotate(-90 {x} {y})"'
        elements.append(f'<text x="{x}" y="{y}" {rotation}>{_visible(label)}</text>')
    for row, label in enumerate(target):
        y = top + CELL * row
        x = left - FONT_SIZE / 2
        elements.append(
            f'<text x="{x}" y="{y + CELL * 0.7}" text-anchor="end">{_visible(label)}</text>'
        )
        for column, weight in enumerate(weights[row]):
            tooltip = f"{_visible(label)} ← {_visible(source[column])}: {weight:.3f}"
            elements.append(
                f'<rect x="{left + CELL * column}" y="{y}" width="{CELL - 1}" height="{CELL - 1}" '
                f'fill="rgb(20,60,120)" fill-opacity="{weight:.3f}" stroke="#ddd">'
                f"<title>{tooltip}</title></rect>"
            )
    return "\n".join([*elements, "</svg>\n"])


def _visible(label: str) -> str:
    """A token with visible spaces and newlines, escaped for XML."""
    return escape(label.replace("\n", "⏎").replace(" ", "␣"))


def _label_width(labels: Sequence[str]) -> int:
    """Estimated width of the widest label in pixels; full-width characters are square."""
    widest = max(
        (sum(1.0 if ord(c) > 0x2E7F else 0.6 for c in label) for label in labels), default=0
    )
    return round(widest * FONT_SIZE)
