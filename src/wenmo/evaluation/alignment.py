"""What each token of a text looked at in its source: as numbers, and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import torch
from torch import Tensor

from wenmo.models.base import LanguageModel
from wenmo.types import END, WenmoError

CELL, LABEL = 26, 13  # a square of the picture, and the height of its letters, in pixels


@torch.inference_mode()
def alignment(model: LanguageModel, source: Sequence[int], target: Sequence[int]) -> Tensor:
    """The attention that each token of a text gave to each of its source when it was written.

    Args:
        source: ids, without END.
        target: ids, with END where the text ended by it.

    Returns:
        float32 (target tokens, source tokens and END); a row sums to one.

    Raises:
        WenmoError: the model keeps no attention to a source.
    """
    state = model.eval().initial_state(
        1, source=_row([*source, END], model), capacity=len(target) + 1
    )
    if "coverage" not in state:
        raise WenmoError(
            "this model keeps no alignment: it has no attention between a source and "
            "its text; train --model transformer or seq2seq with attention"
        )
    rows = []
    for token in [END, *target[:-1]]:
        _, after = model(_row([token], model), state)
        rows.append(after["coverage"][0] - state["coverage"][0])
        state = after
    return torch.stack(rows).cpu()


def _row(ids: Sequence[int], model: LanguageModel) -> Tensor:
    return torch.tensor([list(ids)], device=model.device)


def alignment_svg(
    source: Sequence[str], target: Sequence[str], weights: Sequence[Sequence[float]]
) -> str:
    """A picture of an alignment: the source along the top, the text down the side, and a square for
    each pair of tokens, the darker the more attention; its number shows when it is pointed at.

    Args:
        source, target: the tokens as text.
        weights: a row for each token of the target, a number from 0 to 1 for each of the source.
    """
    left, top = (_width(labels) + LABEL for labels in (target, source))
    width, height = left + CELL * len(source) + LABEL, top + CELL * len(target) + LABEL
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="{LABEL}">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for column, label in enumerate(source):
        x, y = left + CELL * column + CELL * 0.7, top - LABEL / 2
        turned = f'transform="rotate(-90 {x} {y})"'
        parts.append(f'<text x="{x}" y="{y}" {turned}>{_shown(label)}</text>')
    for row, label in enumerate(target):
        y = top + CELL * row
        x = left - LABEL / 2
        parts.append(f'<text x="{x}" y="{y + CELL * 0.7}" text-anchor="end">{_shown(label)}</text>')
        for column, weight in enumerate(weights[row]):
            told = f"{_shown(label)} ← {_shown(source[column])}: {weight:.3f}"
            parts.append(
                f'<rect x="{left + CELL * column}" y="{y}" width="{CELL - 1}" height="{CELL - 1}" '
                f'fill="rgb(20,60,120)" fill-opacity="{weight:.3f}" stroke="#ddd">'
                f"<title>{told}</title></rect>"
            )
    return "\n".join([*parts, "</svg>\n"])


def _shown(label: str) -> str:
    """A token as it can be seen: spaces and newlines by signs."""
    return escape(label.replace("\n", "⏎").replace(" ", "␣"))


def _width(labels: Sequence[str]) -> int:
    """Pixels that the widest label takes: full-width characters are as wide as they are high."""
    widest = max(
        (sum(1.0 if ord(c) > 0x2E7F else 0.6 for c in label) for label in labels), default=0
    )
    return round(widest * LABEL)
