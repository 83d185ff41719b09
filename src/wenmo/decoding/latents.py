"""Generation from latents: reconstruction, interpolation between two texts, and edits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wenmo.config import from_dict, to_dict
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.noise import draw_seed
from wenmo.decoding.output import Output
from wenmo.decoding.params import DRAWING, Sampling
from wenmo.models.capabilities import HasLatents, capability
from wenmo.models.state import select
from wenmo.text.batches import pad
from wenmo.types import END, IGNORE, Batch, WenmoError, strings

BATCH_SIZE = 64  # of encoding


class Latents:
    """Encodes texts to latents, and generates texts from latents.

    Args:
        generator: of a model with latents.
        defaults: the settings of sampling that a call does not name (default `Sampling()`).

    Raises:
        WenmoError: the model has no latents.
    """

    def __init__(self, generator: TextGenerator, defaults: Sampling | None = None) -> None:
        self.generator, self.model = generator, generator.model
        self._defaults = defaults or Sampling()
        latents = capability(self.model, HasLatents)
        if latents is None:
            raise WenmoError("this model has no latents to write from: train a vae")
        self._latents = latents
        self.model.eval()

    @torch.no_grad()
    def infer(self, texts: Sequence[str], *, draw: int | None = None) -> Tensor:
        """The latents of texts, float32 (texts, latents).

        Args:
            draw: the seed of a draw from the posterior; None: the posterior's mean.

        Raises:
            WenmoError: a text is empty, or longer than the model's context.
        """
        device = self.model.device
        generator = None if draw is None else torch.Generator(device).manual_seed(draw)
        found, texts = [], strings(texts, "texts")
        for at in range(0, len(texts), BATCH_SIZE):
            rows = [[*self._encode(text), END] for text in texts[at : at + BATCH_SIZE]]
            batch = Batch(pad([[END, *row[:-1]] for row in rows], END), pad(rows, IGNORE))
            posterior = self._latents.infer(batch.to(device))
            found.append(posterior.mean if generator is None else posterior.draw(generator))
        return torch.cat(found)

    @torch.inference_mode()
    def write(self, latents: Tensor, **sampling: Any) -> list[Output]:
        """Generate a text from each row of latents, float32 (texts, latents).

        Args:
            **sampling: settings of `Sampling`. The method is greedy unless a method or a setting of
                sampling is named, so that texts differ by their latents alone. Without a seed, one
                is drawn.
        """
        states = self._latents.state_at(latents.to(self.model.device))
        each = [select(states, [row]) for row in range(len(latents))]
        method = "sample" if DRAWING & sampling.keys() else "greedy"
        named = {"method": method, "seed": draw_seed(), **sampling}
        settings = from_dict(Sampling, {**to_dict(self._defaults), **named})
        outputs = self.generator.generate([""] * len(each), settings, states=each)
        return [output for [output] in outputs]

    def reconstruct(
        self, texts: Sequence[str], *, draw: int | None = None, **sampling: Any
    ) -> list[Output]:
        """Encode each text and generate it again; see `infer` and `write`."""
        return self.write(self.infer(texts, draw=draw), **sampling)

    def walk(self, first: str, last: str, steps: int = 7, **sampling: Any) -> list[Output]:
        """Interpolate between two texts: texts at equal distances on the line of their latents,
        both ends included (Bowman et al. 2016, section 4.4).

        Raises:
            WenmoError: fewer than two steps.
        """
        if steps < 2:
            raise WenmoError(f"a walk has at least 2 steps, its ends, not {steps}")
        begin, end = self.infer([first, last])
        weights = torch.linspace(0, 1, steps, device=begin.device)[:, None]
        return self.write(torch.lerp(begin[None], end[None], weights), **sampling)

    def edit(
        self,
        texts: Sequence[str],
        toward: Sequence[str],
        away: Sequence[str],
        scale: float = 1.0,
        **sampling: Any,
    ) -> list[Output]:
        """Move texts along the direction of an attribute: the difference of the mean latents of
        texts with and without it (Larsen et al. 2016, section 4.2).

        Args:
            toward, away: texts with the attribute, and without it.
            scale: the factor of the difference; below 0, texts lose the attribute.
        """
        direction = self.infer(toward).mean(0) - self.infer(away).mean(0)
        return self.write(self.infer(texts) + scale * direction, **sampling)

    def _encode(self, text: str) -> list[int]:
        if not text.strip():
            raise WenmoError("an empty text has no latents: give a text")
        ids: list[int] = self.generator.tokenizer.encode(text).tolist()
        context = self.model.context
        if context is not None and len(ids) >= context:
            raise WenmoError(
                f"a text has {len(ids)} tokens, but the model holds {context - 1}: shorten it: "
                f"{text[:30]!r}"
            )
        return ids
