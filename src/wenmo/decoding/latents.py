"""Generation from latents: reconstruction, interpolation between two texts, and edits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wenmo.config import from_dict, to_dict
from wenmo.decoding.generator import Output, TextGenerator
from wenmo.decoding.noise import draw_seed
from wenmo.decoding.params import DRAWING, Sampling
from wenmo.models.capabilities import HasLatents, capability
from wenmo.models.state import select
from wenmo.text.batches import pad
from wenmo.types import END, IGNORE, Batch, WenmoError, strings

AT_ONCE = 64  # texts encoded together


class Latents:
    """The latents of a model, and what it writes from them.

    Args:
        defaults: how texts are drawn, if they are, where nothing is asked for.

    Raises:
        WenmoError: the model has none.
    """

    def __init__(self, writer: TextGenerator, defaults: Sampling | None = None) -> None:
        self.writer, self.model = writer, writer.model
        self._defaults = defaults or Sampling()
        latents = capability(self.model, HasLatents)
        if latents is None:
            raise WenmoError("this model has no latents to write from: train a vae")
        self._latents = latents
        self.model.eval()

    @torch.no_grad()
    def infer(self, texts: Sequence[str], *, draw: int | None = None) -> Tensor:
        """The latents of texts, float32 (texts, latents): the mean of their posterior or, with the
        seed ``draw``, a draw from it.

        Raises:
            WenmoError: a text is empty, or longer than the model can hold.
        """
        device = self.model.device
        generator = None if draw is None else torch.Generator(device).manual_seed(draw)
        found, texts = [], strings(texts, "texts")
        for at in range(0, len(texts), AT_ONCE):
            rows = [[*self._encode(text), END] for text in texts[at : at + AT_ONCE]]
            batch = Batch(pad([[END, *row[:-1]] for row in rows], END), pad(rows, IGNORE))
            posterior = self._latents.infer(batch.to(device))
            found.append(posterior.mean if generator is None else posterior.draw(generator))
        return torch.cat(found)

    @torch.inference_mode()
    def write(self, latents: Tensor, **sampling: Any) -> list[Output]:
        """A text for each of ``latents`` (texts, latents).

        Args:
            **sampling: any setting of ``Sampling``; where neither a method nor a setting of drawing
                is said, texts are written greedily, so that what differs between two comes from
                their latents alone. Where no seed is said, one is drawn.
        """
        states = self._latents.state_at(latents.to(self.model.device))
        each = [select(states, [row]) for row in range(len(latents))]
        method = "sample" if DRAWING & sampling.keys() else "greedy"
        asked = {"method": method, "seed": draw_seed(), **sampling}
        chosen = from_dict(Sampling, {**to_dict(self._defaults), **asked})
        written = self.writer.generate([""] * len(each), chosen, states=each)
        return [outputs[0] for outputs in written]

    def reconstruct(
        self, texts: Sequence[str], *, draw: int | None = None, **sampling: Any
    ) -> list[Output]:
        """Each text as it is written again from its own latents; see ``infer`` and ``write``."""
        return self.write(self.infer(texts, draw=draw), **sampling)

    def walk(self, first: str, last: str, steps: int = 7, **sampling: Any) -> list[Output]:
        """Texts at equal distances on the straight line between two; the ends are those that
        ``reconstruct`` writes (Bowman et al. 2016, section 4.4).

        Raises:
            WenmoError: fewer than two steps.
        """
        if steps < 2:
            raise WenmoError(f"a walk has at least 2 steps, its ends, not {steps}")
        begin, end = self.infer([first, last])
        shares = torch.linspace(0, 1, steps, device=begin.device)[:, None]
        return self.write(torch.lerp(begin[None], end[None], shares), **sampling)

    def edit(
        self,
        texts: Sequence[str],
        toward: Sequence[str],
        away: Sequence[str],
        scale: float = 1.0,
        **sampling: Any,
    ) -> list[Output]:
        """Texts moved along an attribute's direction: from the mean latents of texts without it to
        those of texts that have it (as in Larsen et al. 2016, section 4.2).

        Args:
            toward, away: texts with the attribute, and without it.
            scale: how far; 1: by the distance between the two means, below 0: the other way.
        """
        direction = self.infer(toward).mean(0) - self.infer(away).mean(0)
        return self.write(self.infer(texts) + scale * direction, **sampling)

    def _encode(self, text: str) -> list[int]:
        if not text.strip():
            raise WenmoError("no text to find the latents of: give some")
        ids: list[int] = self.writer.tokenizer.encode(text).tolist()
        context = self.model.context
        if context is not None and len(ids) >= context:
            raise WenmoError(
                f"a text has {len(ids)} tokens, but the model holds {context - 1}: shorten it: "
                f"{text[:30]!r}"
            )
        return ids
