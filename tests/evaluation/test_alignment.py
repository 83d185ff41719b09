"""Alignments of a model with known attention, and their SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
import torch
from torch import Tensor

from wenmo.config import override
from wenmo.evaluation.alignment import alignment, alignment_svg
from wenmo.models import MODELS, find
from wenmo.models.base import LanguageModel
from wenmo.types import END, Logits, State, Tokens, WenmoError

SVG = "{http://www.w3.org/2000/svg}"


class Walker(LanguageModel):
    """Attends to source position 0 in the first step, to position 1 in the second, and so on."""

    conditioning = "encoder"

    def __init__(self) -> None:
        super().__init__()
        self.vocab_size, self.context = 9, None

    def initial_state(self, batch_size, *, source=None, capacity=0, generator=None) -> State:
        places = torch.zeros(batch_size, 1 if source is None else source.shape[1])
        return {"coverage": places, "read": torch.zeros(batch_size, dtype=torch.long)}

    def forward(self, tokens: Tokens, state: State | None = None) -> tuple[Logits, State]:
        state = state or self.initial_state(len(tokens))
        places = state["read"][:, None] + torch.arange(tokens.shape[1])
        looked = torch.nn.functional.one_hot(places, state["coverage"].shape[1]).sum(1)
        logits = torch.zeros(*tokens.shape, self.vocab_size)
        return logits, {"coverage": state["coverage"] + looked, "read": places[:, -1] + 1}


def test_rows_are_attention_weights() -> None:
    weights = alignment(Walker(), [5, 6, 7], [8, 3, END])
    assert torch.equal(weights, torch.eye(3, 4))


@pytest.mark.parametrize("family", ["seq2seq", "transformer"])
def test_rows_are_distributions_over_the_source(family: str) -> None:
    torch.manual_seed(0)
    model = find(f"{family}:tiny")[1].build(20)
    weights: Tensor = alignment(model, [5, 6, 7, 8], [9, 3])
    assert weights.shape == (2, 5)
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    assert (weights >= 0).all()


@pytest.mark.parametrize(
    ("family", "settings"),
    [("gpt", ["hidden_size=16"]), ("lstm", []), ("seq2seq", ["attention=none"])],
)
def test_error_for_model_without_source_attention(family: str, settings: list[str]) -> None:
    model = override(MODELS[family].config, settings).build(20)
    with pytest.raises(WenmoError, match="has no alignment"):
        alignment(model, [5], [6])


def test_svg_has_all_weights_and_labels() -> None:
    source, target = ["<&", " 狗", "\n"], ["The", '"dog"']
    weights = [[0.25, 0.5, 0.25], [0.0, 1.0, 0.0]]
    picture = ElementTree.fromstring(alignment_svg(source, target, weights))
    labels = [text.text for text in picture.iter(f"{SVG}text")]
    assert labels == ["<&", "␣狗", "⏎", "The", '"dog"']
    squares = [rect for rect in picture.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]
    assert [float(s.attrib["fill-opacity"]) for s in squares] == [w for row in weights for w in row]
    assert squares[4].find(f"{SVG}title").text == '"dog" ← ␣狗: 1.000'
    width, height = (float(picture.attrib[side]) for side in ("width", "height"))
    for square in squares:
        x, y, size = (float(square.attrib[name]) for name in ("x", "y", "width"))
        assert 0 <= x <= width - size
        assert 0 <= y <= height - size
