"""What a user leaves open is derived from the text, the time and the machine's speed: the model's
size and dropout, and what a network stands on.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

import torch

from wenmo.models import MODELS
from wenmo.models.base import device
from wenmo.models.capabilities import Infills
from wenmo.models.config import Budget, ModelConfig
from wenmo.models.shapes import shapes_only
from wenmo.runs.config import NgramPriorConfig
from wenmo.runs.recipe import DEFAULT_ORDER, Recipe
from wenmo.text.corpus import Corpus
from wenmo.text.records import Records
from wenmo.train_config import TrainConfig
from wenmo.training.learners import Count, Gradient
from wenmo.training.selection import learner_for
from wenmo.types import END, WenmoError, amount

# Counting and cross-fitting take about so long for each token, order and fold, on one core; they
# may take most of the time: counts learn more in it than a network does (docs/experiments.md).
SECONDS_PER_COUNT = 1e-7
SHARE_FOR_COUNTS = 0.6
AMPLY = 3  # times what is reckoned that a network reads
FEW_TOKENS = 5_000  # fewer, and each fold's counts know next to nothing of the others
MANY_RECORDS = 200
LETTERS = 1.5  # bytes a token, up to which tokens are letters, and long contexts are worth counting
ORDERS_OF_LETTERS = 7
FURTHER_RATE, ADAPTERS_RATE = 5e-5, 1e-3
PROBE = (1024, 512)  # a batch of hidden states, and the side of a matrix
PROBES = 8


def autoconfigure(recipe: Recipe, corpus: Corpus) -> tuple[Recipe, list[str]]:
    """A recipe with what was left open filled in, and lines that tell the user of it."""
    if learner_for(MODELS[recipe.family].model_class) is Count:
        return replace(recipe, ngram_prior=replace(recipe.ngram_prior, enabled=False)), []
    if recipe.init.base is not None:
        train, told = _gently(recipe)
        prior = recipe.ngram_prior
        if prior.enabled and prior.folds_used is None:
            minutes = recipe.train.minutes
            tokens = int(corpus.summary["train"]["tokens"])
            budget = Budget(tokens, 60 * minutes, speed()) if minutes else None
            prior = replace(prior, folds_used=_parts(recipe, corpus, budget))
        return replace(recipe, train=train, ngram_prior=prior), told
    # With a number of steps the machine does not matter: they mean the same model everywhere.
    tokens, minutes = int(corpus.summary["train"]["tokens"]), recipe.train.minutes
    budget = Budget(tokens, 60 * minutes, speed()) if minutes is not None else None
    model, sized = _model(recipe, budget if recipe.task.name == "completion" else None)
    recipe = replace(recipe, model=model)
    prior, standing = _prior(recipe, corpus, budget)
    per_record = recipe.train.per_record
    if per_record is None and _has_short_records(recipe, corpus):
        per_record = True
    train = replace(recipe.train, per_record=per_record)
    return replace(recipe, ngram_prior=prior, train=train), [*sized, *standing]


def _has_short_records(recipe: Recipe, corpus: Corpus) -> bool:
    """Whether a model that reads a bounded context has each record in it as a whole. It then learns
    records one by one, each from its beginning: what stands where in a record is what such a model
    sees best (docs/experiments.md).
    """
    kind = MODELS[recipe.family].model_class
    in_pieces = learner_for(kind) is Gradient and not issubclass(kind, Infills)
    if recipe.task.paired or kind.record_level or not in_pieces:
        return False
    with shapes_only():
        context = recipe.model.build(corpus.tokenizer.vocab_size).context
    if context is None or int(corpus.summary["train"]["records"]) < MANY_RECORDS:
        return False
    return all(not Records(ids, context).skipped for ids in (corpus.train, corpus.valid))


def _gently(recipe: Recipe) -> tuple[TrainConfig, list[str]]:
    """How a model is trained further that knows much already: small steps on a few short rows, and
    fewer looks at held-out text, for it may be large.
    """
    rate = ADAPTERS_RATE if recipe.init.lora_rank else FURTHER_RATE
    suits: dict[str, Any] = {
        "learning_rate": rate,
        "weight_decay": 0.0,
        "batch_size": 4,
        "sequence_length": 256,
    }
    suits |= {"eval_count": 4, "eval_tokens": 4096, "warmup_ratio": 0.05}
    if not recipe.init.lora_rank:
        suits["checkpoint_seconds"] = 120.0  # a checkpoint is three times the model
    open_ = {k: v for k, v in suits.items() if f"train.{k}" not in recipe.given}
    told = ", ".join(f"{name}={value:g}" for name, value in open_.items())
    return replace(recipe.train, **open_), [f"to go on from {recipe.init.base}: {told}"]


def _model(recipe: Recipe, budget: Budget | None) -> tuple[ModelConfig, list[str]]:
    suggest_config = MODELS[recipe.family].suggest_config
    if suggest_config is None or budget is None:
        return recipe.model, []
    asked = asdict(recipe.model)
    open_ = {
        name: value
        for name, value in suggest_config(recipe.model, budget).items()
        if f"model.{name}" not in recipe.given and asked[name] != value
    }
    try:
        chosen = replace(recipe.model, **open_)
    except ValueError:  # what was given does not go with what suits
        return recipe.model, []
    told = ", ".join(f"{name}={value}" for name, value in open_.items())
    if not told:
        return chosen, []
    return chosen, [f"for this text and {amount(recipe.train.minutes or 0, 'minute')}: {told}"]


def speed() -> float:
    """How many multiplications and additions a second the machine does in float32 products."""
    rows, side = PROBE
    x, weights = torch.ones(rows, side, device=device()), torch.ones(side, side, device=device())
    taken = []
    for _ in range(PROBES):
        begun = time.perf_counter()
        float((x @ weights)[0, 0])  # asks for the result, so that a GPU has to be done
        taken.append(time.perf_counter() - begun)
    return rows * side * side / min(taken)


def _prior(
    recipe: Recipe, corpus: Corpus, budget: Budget | None
) -> tuple[NgramPriorConfig, list[str]]:
    prior = recipe.ngram_prior
    if not MODELS[recipe.family].supports_ngram_prior or prior.enabled is False:
        return replace(prior, enabled=False), []
    train = corpus.summary["train"]
    tokens = int(train["tokens"])
    letters = train["bytes"] < LETTERS * tokens
    orders = prior.order or (ORDERS_OF_LETTERS if letters else DEFAULT_ORDER)
    parts = (
        prior.folds if recipe.task.paired else prior.folds_used or _parts(recipe, corpus, budget)
    )
    chosen = replace(prior, enabled=True, order=orders, folds_used=parts)
    if prior.extensible is None:
        chosen = replace(chosen, extensible=True)
    if prior.breaks is None:
        chosen = replace(chosen, breaks=_breaks(corpus))
    elif (last := max(prior.breaks, default=0)) >= (size := corpus.tokenizer.vocab_size):
        raise WenmoError(
            f"ngram_prior.breaks: there is no token {last:,}; the last is {size - 1:,}"
        )
    told = [f"standing on counts of up to {amount(orders, 'token')} (--prior none to do without)"]
    if parts < prior.folds:
        told.append(
            f"the network will read {parts} of {prior.folds} parts of the text: time is short"
        )
    if prior.enabled:
        return chosen, told
    without = replace(prior, enabled=False)
    if MODELS[recipe.family].model_class.record_level:
        return without, []
    if tokens < FEW_TOKENS:
        return without, [f"no counts to stand on: {tokens:,} tokens are too few to divide"]
    seconds = SECONDS_PER_COUNT * tokens * orders * (1 + parts)
    if budget is not None and seconds > SHARE_FOR_COUNTS * budget.seconds:
        reason = f"counting would take about {amount(round(seconds), 'second')}: give more minutes"
        return without, [f"no counts to stand on: {reason}, or ask for --prior ngram"]
    return chosen, told


def _breaks(corpus: Corpus) -> tuple[int, ...]:
    """The ids of the tokens that end a text, or a line of the training text."""
    table = enumerate(corpus.tokenizer.table)
    breaking = (i for i, token in table if token and not token.strip(b"\r\n"))
    return (END, *(i for i in breaking if (corpus.train == i).any()))


def _parts(recipe: Recipe, corpus: Corpus, budget: Budget | None) -> int:
    """How many folds of a long text the network has time to read, amply reckoned."""
    folds = recipe.ngram_prior.folds
    if budget is None:
        return folds
    with shapes_only():
        network = recipe.model.build(corpus.tokenizer.vocab_size)
    matrices = sum(p.numel() for p in network.parameters() if p.dim() == 2)
    return min(folds, 1 + int(folds * AMPLY * budget.trainable_tokens(matrices) / budget.tokens))
