"""The search of each method."""

from __future__ import annotations

from wenmo.decoding.params import Sampling
from wenmo.decoding.search.base import Search
from wenmo.decoding.search.beam import BeamSearch
from wenmo.decoding.search.beam_sampling import DRAWN, SampledBeamSearch
from wenmo.decoding.search.early_stopping import EarlyStoppingBeamSearch
from wenmo.decoding.search.stochastic import StochasticBeamSearch


def search_of(sampling: Sampling, limit: int) -> Search | None:
    """A new search for one request; None where tokens are chosen one by one.

    Args:
        limit: the largest number of tokens of a text.
    """
    if sampling.method == "beam":
        exact = sampling.early_stopping == "exact" or sampling.beam_width == 1
        return (BeamSearch if exact else EarlyStoppingBeamSearch)(sampling, limit)
    if sampling.method == "beam-sample":
        return SampledBeamSearch(sampling, limit)
    if sampling.method == "stochastic-beam":
        return StochasticBeamSearch(sampling, limit)
    return None


def candidate_count(sampling: Sampling) -> int:
    """How many tokens of a row a search that draws must be given."""
    return (
        DRAWN * sampling.beam_width if sampling.method == "beam-sample" else sampling.beam_width + 1
    )
