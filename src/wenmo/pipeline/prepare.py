"""Before training: the run folder, the card, and the model with its initial weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wenmo.budget import TimeBudget
from wenmo.models.base import LanguageModel, device
from wenmo.models.capabilities import BindsVocabulary, capability
from wenmo.models.transformer.stack import blocks_of
from wenmo.pipeline.further import adapted, fresh_start
from wenmo.pipeline.initialize import (
    Loaded,
    Side,
    continue_counts,
    embed_words,
    load_side,
    take_counts,
)
from wenmo.pipeline.job import Job, make_dataset
from wenmo.progress import ProgressCallback
from wenmo.runs.folders import CARD
from wenmo.runs.preflight import check_out
from wenmo.runs.recipe import Recipe
from wenmo.runs.store import Card, initialize_from_base, special_tokens_of, union_alphabet
from wenmo.text.corpus import Corpus
from wenmo.text.sketch import union
from wenmo.types import WenmoError


def check_folder(folder: Path, recipe: Recipe) -> Card | None:
    """The card of the run that training continues, if there is one.

    Raises:
        WenmoError: the folder holds something else, or a run with other settings.
    """
    check_out(folder)
    if not (folder / CARD).exists():
        return None
    card = Card.read(folder)
    return adapted(folder, card, recipe)


def prepare(
    folder: Path,
    recipe: Recipe,
    requested: Recipe,
    corpus: Corpus,
    *,
    before: Card | None,
    base: Loaded | None,
    pretrained_sides: Mapping[Side, Loaded],
    tokenizer_card: Card | None,
    reference: NDArray[np.unsignedinteger] | None,
    on_progress: ProgressCallback | None,
    started: float,
) -> Job:
    """The training of a model on a corpus, up to its first step.

    Args:
        folder: the run folder, which need not exist yet.
        recipe: all settings, derived ones included.
        requested: the settings before any were derived.
        before: the card of the run that training continues.
        base: the card, model and tokenizer that training starts from.
        pretrained_sides: those whose weights an encoder or decoder starts with.
        tokenizer_card: of the run or pretrained model that the tokenizer comes from.
        reference: ids of a text on which forgetting is measured.
        on_progress: receives notes for the user, and the progress of what is not training.
        started: when the command started, in seconds of `time.perf_counter`.

    Raises:
        WenmoError: the run that training continues was trained on other text.
    """
    if before is not None and before.data["fingerprint"] != corpus.fingerprint:
        raise WenmoError(
            f"{folder}: was trained on other text (its fingerprint differs): "
            f"{fresh_start(folder)}, or choose another --out"
        )
    teachers = [loaded[0] for loaded in (base, pretrained_sides.get("decoder")) if loaded]
    corpus = replace(corpus, alphabet=union_alphabet(corpus.alphabet, teachers))
    card = before or Card(recipe, _about_data(corpus, base), requested=requested)
    if tokenizer_card is not None:
        card.external = tokenizer_card.external

    def note(text: str | None) -> None:
        if on_progress is not None and text is not None:
            on_progress(text, None)

    model = _initial_model(recipe, corpus, card, base, pretrained_sides, note).to(device())
    for block in blocks_of(model):
        block.recompute = recipe.train.gradient_checkpointing
    minutes = recipe.train.minutes
    return Job(
        folder=folder,
        is_new=before is None,
        recipe=recipe,
        corpus=corpus,
        card=card,
        model=model,
        dataset=make_dataset(recipe, corpus, card, model),
        time=TimeBudget(60 * minutes if minutes else math.inf, started),
        on_progress=on_progress,
        reference=reference,
    )


def _about_data(corpus: Corpus, base: Loaded | None) -> dict[str, Any]:
    """What the card says of the text."""
    data = {"fingerprint": corpus.fingerprint, **corpus.summary, "alphabet": corpus.alphabet}
    if base is not None:  # the text of the base is text that this run has seen
        data["sketch"] = union(data["sketch"], base[0].data.get("sketch", ""))
    return data


def _initial_model(
    recipe: Recipe,
    corpus: Corpus,
    card: Card,
    base: Loaded | None,
    pretrained_sides: Mapping[Side, Loaded],
    note: Callable[[str | None], None],
) -> LanguageModel:
    """The model before the first step. Where training continues, a checkpoint replaces its weights.

    The card receives what comes with pretrained weights: a template, special tokens.
    """
    torch.manual_seed(recipe.train.seed)
    if base is None:
        model = recipe.build(corpus.tokenizer.vocab_size)
        bound = capability(model, BindsVocabulary)
        if bound is not None and (not card.finished or card.continues):
            bound.bind_vocabulary(corpus.tokenizer.table)
    else:
        card.template = base[0].template
        model = initialize_from_base(base[1], recipe)
        if not card.finished:
            name = str(recipe.init.base)
            note(continue_counts(model, recipe, name, base[0], corpus.summary))
        if card.is_chat and model.conditioning == "prefix":  # the template has all special tokens
            model.special_tokens = replace(model.special_tokens, bos=(), separator=())
        card.special_tokens = special_tokens_of(model)
    for side, loaded in pretrained_sides.items():
        note(load_side(model, side, loaded[1], str(getattr(recipe.init, side))))
        if side == "decoder" and not card.finished:
            note(take_counts(model, recipe, loaded, corpus.summary))
    if recipe.init.word_vectors is not None:
        note(embed_words(model, corpus.tokenizer, Path(recipe.init.word_vectors)))
    return model
