"""Texts that a grammar draws at once, and not token by token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from wenmo.decoding.engines.base import StoppedBy
from wenmo.decoding.logits import chain
from wenmo.decoding.noise import fold_in
from wenmo.decoding.params import Sampling
from wenmo.grammar.sampler import SampledText
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import SamplesTexts, capability
from wenmo.types import WenmoError


def draw_texts(
    model: LanguageModel, prompts: Sequence[str], sampling: Sampling, n: int, *, bare: bool
) -> Iterable[Iterable[SampledText]] | None:
    """Draw n texts for each prompt at once.

    Args:
        bare: there is neither a source nor a constraint.

    Returns:
        The texts; None where the model must generate them token by token.

    Raises:
        WenmoError: a setting applies only to texts that are drawn at once.
    """
    sampler = capability(model, SamplesTexts)
    if sampler is not None and bare and not any(prompts) and draws_whole(sampling):
        uniform, depth = sampling.method == "uniform", sampling.max_depth
        drawn = sampler.sample_texts(sample_seeds(sampling, n), uniform=uniform, depth=depth)
        drawn = list(drawn) if len(prompts) > 1 else drawn
        return [drawn for _ in prompts]
    if sampling.method == "uniform" or sampling.max_depth is not None:
        setting = "method uniform" if sampling.method == "uniform" else "depth"
        raise WenmoError(
            f"{setting} is for texts that a grammar writes alone: ask one, without a prompt, and "
            "with nothing that changes its probabilities"
        )
    return None


def draws_whole(sampling: Sampling) -> bool:
    """Whether nothing changes the distribution of the model, so that it may draw texts at once."""
    plain = sampling.method == "uniform" or (sampling.method == "sample" and not sampling.greedy)
    return plain and not chain(sampling).steps


def truncate_text(text: str, sampling: Sampling) -> tuple[str, StoppedBy]:
    """A text up to its first stop string and max_tokens, and what ended it."""
    found = [index for index in map(text.find, sampling.stop) if index >= 0]
    stopped_by: StoppedBy = "end"
    if found:
        text, stopped_by = text[: min(found)], "stop"
    if len(text) > sampling.max_tokens:  # no token is more than a character here
        text, stopped_by = text[: sampling.max_tokens], "length"
    return text, stopped_by


def sample_seeds(sampling: Sampling, n: int) -> list[int]:
    """The seeds of the n texts of a request; the first are the same for every n."""
    found: list[int] = (
        fold_in(torch.tensor(sampling.seed), torch.arange(n)) & (2**63 - 1)
    ).tolist()
    return found
