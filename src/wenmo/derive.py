"""What a user leaves open is derived from the text and the time: what a network stands on."""

from __future__ import annotations

from dataclasses import replace

from wenmo.models import can_stand_on_counts
from wenmo.recipe import DEFAULT_ORDERS, PriorConfig, Recipe
from wenmo.text.corpus import Corpus

# Counting and cross-fitting take about so long for each token, order and fold, on one core (see
# docs/experiments.md); they may take a fifth of the time that is given.
SECONDS_PER_COUNT = 1e-7
SHARE_FOR_COUNTS = 0.2
FEW_TOKENS = 5_000  # fewer, and each fold's counts know next to nothing of the others
LETTERS = 1.5  # bytes a token, up to which tokens are letters, and long contexts are worth counting
ORDERS_OF_LETTERS = 7


def derive(recipe: Recipe, corpus: Corpus) -> tuple[Recipe, list[str]]:
    """A recipe with what was left open filled in, and lines that tell the user of it."""
    prior, notes = _prior(recipe, corpus)
    return replace(recipe, prior=prior), notes


def _prior(recipe: Recipe, corpus: Corpus) -> tuple[PriorConfig, list[str]]:
    prior = recipe.prior
    if not can_stand_on_counts(recipe.family) or prior.counts == "none":
        return replace(prior, counts="none"), []
    train = corpus.summary["train"]
    tokens = int(train["tokens"])
    letters = train["bytes"] < LETTERS * tokens
    orders = prior.orders or (ORDERS_OF_LETTERS if letters else DEFAULT_ORDERS)
    chosen = replace(prior, counts="ngram", orders=orders)
    told = [f"standing on counts of up to {orders} tokens (--prior none to do without)"]
    if prior.counts == "ngram":
        return chosen, told
    without = replace(prior, counts="none")
    if recipe.task.paired:
        return without, []
    if tokens < FEW_TOKENS:
        return without, [f"no counts to stand on: {tokens:,} tokens are too few to divide"]
    seconds = SECONDS_PER_COUNT * tokens * orders * prior.folds
    allowed = SHARE_FOR_COUNTS * 60 * (recipe.train.minutes or float("inf"))
    if seconds > allowed:
        reason = f"counting would take about {seconds:,.0f} seconds: give more minutes"
        return without, [f"no counts to stand on: {reason}, or ask for --prior ngram"]
    return chosen, told
