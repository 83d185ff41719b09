"""Texts that a model draws whole, and not token by token, as rules do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from wenmo.decoding.engines.base import StoppedBy
from wenmo.decoding.logits import chain
from wenmo.decoding.noise import fold_in
from wenmo.decoding.params import Sampling
from wenmo.grammar.sampler import Drawn
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import SamplesTexts, capability
from wenmo.types import WenmoError


def draw(
    model: LanguageModel, prompts: Sequence[str], sampling: Sampling, n: int, *, bare: bool
) -> Iterable[Iterable[Drawn]] | None:
    """n texts for each prompt; None where the model is to write token by token.

    Args:
        bare: there is neither a source nor a constraint.

    Raises:
        WenmoError: what is asked for is only for texts that are drawn whole.
    """
    sampler = capability(model, SamplesTexts)
    if sampler is not None and bare and not any(prompts) and draws_whole(sampling):
        uniform, depth = sampling.method == "uniform", sampling.max_depth
        drawn = sampler.sample_texts(seeds(sampling, n), uniform=uniform, depth=depth)
        drawn = list(drawn) if len(prompts) > 1 else drawn
        return [drawn for _ in prompts]
    if sampling.method == "uniform" or sampling.max_depth is not None:
        asked = "method uniform" if sampling.method == "uniform" else "depth"
        raise WenmoError(
            f"{asked} is for texts that a grammar writes alone: ask one, without a prompt, and "
            "with nothing that changes its probabilities"
        )
    return None


def draws_whole(sampling: Sampling) -> bool:
    """Whether texts are asked for as a model has them, so that it may draw them at once."""
    plain = sampling.method == "uniform" or (sampling.method == "sample" and not sampling.greedy)
    return plain and not chain(sampling).steps


def kept(text: str, sampling: Sampling) -> tuple[str, StoppedBy]:
    """What is left of a text that was drawn whole, and what ended it."""
    met = [place for place in map(text.find, sampling.stop) if place >= 0]
    stopped_by: StoppedBy = "end"
    if met:
        text, stopped_by = text[: min(met)], "stop"
    if len(text) > sampling.max_tokens:  # no token is more than a character here
        text, stopped_by = text[: sampling.max_tokens], "length"
    return text, stopped_by


def seeds(sampling: Sampling, n: int) -> list[int]:
    """The seeds of n texts of a request; the first are the same for every n."""
    found: list[int] = (
        fold_in(torch.tensor(sampling.seed), torch.arange(n)) & (2**63 - 1)
    ).tolist()
    return found
