"""What a model begins with that another run learnt: counts, a side of it, or its embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from json import dumps
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from wenmo.models import MODELS
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import (
    ContinuesCounts,
    FitsCounts,
    HasMixture,
    HasSides,
    capability,
    has_capability,
    network_of,
    parameter_count,
)
from wenmo.runs.config import NgramPriorConfig
from wenmo.runs.folders import CARD
from wenmo.runs.recipe import Recipe
from wenmo.runs.store import Card, load_run
from wenmo.text.sketch import overlap
from wenmo.text.tokenizers import Tokenizer
from wenmo.text.vectors import read_vectors
from wenmo.types import WenmoError

COMMON = 0.1  # of a text: less may well be common phrases
ALL_OF_IT = 0.9

Side: TypeAlias = Literal["encoder", "decoder"]
Loaded: TypeAlias = tuple[Card, LanguageModel, Tokenizer]


def open_givers(recipe: Recipe) -> dict[Side, Loaded]:
    """The runs that the sides of an encoder–decoder begin with.

    Raises:
        WenmoError: they are not there, or they cut text in different ways; the model has no sides,
            or begins from a base.
    """
    named: dict[Side, str | None] = {
        "encoder": recipe.init.encoder,
        "decoder": recipe.init.decoder,
    }
    if recipe.init.base is not None and any(named.values()):
        raise WenmoError("a model begins from a base, or its sides from runs: not both")
    pretrained_sides: dict[Side, Loaded] = {
        s: load_run(Path(name)) for s, name in named.items() if name
    }
    if pretrained_sides and MODELS[recipe.family].match_side is None:
        raise WenmoError(
            f"{recipe.family} has no encoder and decoder: to go on from a run, say --from RUN"
        )
    if len({tokenizer.fingerprint for _, _, tokenizer in pretrained_sides.values()}) > 1:
        raise WenmoError(
            f"{named['encoder']} and {named['decoder']} have different tokenizers: both sides of a "
            "model have the same"
        )
    return pretrained_sides


def match_config(recipe: Recipe, pretrained_sides: Mapping[Side, Loaded]) -> Recipe:
    """A recipe in which what was left open of the model's settings goes with their weights.

    Raises:
        WenmoError: what was given does not go with them.
    """
    match_side = MODELS[recipe.family].match_side
    if match_side is None:
        return recipe
    suits: dict[str, Any] = {}
    for side, (card, _, _) in pretrained_sides.items():
        suits |= match_side(card.recipe.model, side)
    open_ = {name: value for name, value in suits.items() if f"model.{name}" not in recipe.given}
    try:
        return replace(recipe, model=replace(recipe.model, **open_))
    except ValueError as error:
        raise WenmoError(f"beside the settings of what it begins with: {error}") from None


def inherited(asked: NgramPriorConfig, base: NgramPriorConfig, run: str) -> NgramPriorConfig:
    """What a network that begins from a run stands on: the run's counts, unless none are asked for.

    Raises:
        WenmoError: counts are asked for, and the run has none, or others.
    """
    if not base.enabled:
        if asked.enabled:
            raise WenmoError(f"{run} stands on no counts to continue from: omit --prior")
        return replace(asked, enabled=False)
    if asked.enabled is False:
        return asked
    if asked.order not in (None, base.order):
        raise WenmoError(
            f"the counts of {run} have {base.order} orders: leave ngram_prior.order out"
        )
    kept = {"extensible": bool(base.extensible), "breaks": base.breaks or ()}
    for name, value in kept.items():
        if getattr(asked, name) not in (None, value):
            setting = f"ngram_prior.{name}"
            raise WenmoError(f"{setting} of {run} is {dumps(value)}: leave {setting} out")
    return replace(asked, enabled=True, order=base.order, **kept)  # type: ignore[arg-type]


def continue_counts(
    model: LanguageModel, recipe: Recipe, run: str, base: Card, summary: Mapping[str, Any]
) -> str | None:
    """Let the counts of a model, which are those of a run, continue from there; say how.

    A network may not learn beside counts that have seen its text: it would trust them too much.

    Args:
        run, base: the run's name and card.
        summary: of the corpus that the model is trained on.

    Raises:
        WenmoError: the run's counts have seen a part of that corpus.
    """
    counts = capability(model, ContinuesCounts)
    if counts is None:
        return None
    counted = has_capability(model, FitsCounts)
    new, old = overlap(summary["sketch"], base.data.get("sketch", ""))
    seen = new > COMMON and old >= ALL_OF_IT
    if new > COMMON and not seen:
        without = "" if counted else ", or leave the counts out (--prior none)"
        raise WenmoError(
            f"about {new:.0%} of this text is in the counts of {run} already: give text that is "
            f"new to it, or old and new text together{without}"
        )
    known = counted or base.recipe.ngram_prior.extensible
    extend = not recipe.init.lora_rank and bool(known or seen)
    counts.keep_counts(extend=extend, seen=seen)
    if extend and seen:
        return f"this text holds that of {run}: its counts are made anew, of all of it"
    if extend:
        return f"the counts of {run} are kept, and those of this text added"
    reason = "adapters leave them alone" if recipe.init.lora_rank else "an older version made them"
    return f"the counts of {run} are kept as they are: {reason}"


def take_counts(
    model: LanguageModel, recipe: Recipe, giver: Loaded, summary: Mapping[str, Any]
) -> str | None:
    """Let a model that writes as a run does stand on that run's counts; as `continue_counts`."""
    card, of_run, _ = giver
    ours, theirs = capability(model, HasMixture), capability(of_run, HasMixture)
    if ours is None or theirs is None:
        return None
    counts = theirs.mixture_components()["counts"].state_dict()
    ours.mixture_components()["counts"].load_state_dict(counts)
    return continue_counts(model, recipe, str(recipe.init.decoder), card, summary)


@torch.no_grad()
def load_side(model: LanguageModel, side: Side, giver: LanguageModel, name: str) -> str:
    """Let a side of a model begin with the weights that another model has under the same names:
    those of its own such side, or, where it has no encoder, of the whole of it. Say how many.

    Raises:
        WenmoError: there are none, or one has another shape.
    """
    ours = side_weights(network_of(model), side)
    theirs = side_weights(network_of(giver), side) or side_weights(network_of(giver), "decoder")
    taken = {weight: theirs[weight] for weight in ours if weight in theirs}
    if not taken:
        raise WenmoError(f"{name}: has no weights that a {side} of this kind can begin with")
    for weight, tensor in taken.items():
        if tensor.shape != ours[weight].shape:
            there, here = (" × ".join(map(str, t.shape)) for t in (tensor, ours[weight]))
            raise WenmoError(
                f"{name}: {weight} is {there} there and {here} here: leave the sizes of the model "
                f"out, or give those of its {CARD}"
            )
        ours[weight].copy_(tensor)
    count = sum(tensor.numel() for tensor in taken.values())
    return f"{count:,} of {parameter_count(model):,} weights begin as those of {name}: the {side}'s"


@torch.no_grad()
def embed_words(model: LanguageModel, tokenizer: Tokenizer, path: Path) -> str:
    """Let the embeddings of tokens begin with those of another run, or with vectors of words from
    a file; say how many do.

    Raises:
        WenmoError: the vectors have another width, or the model embeds no tokens.
    """
    embedding = _embedding(model)
    if embedding is None:
        raise WenmoError(f"{path}: this model has no embeddings to begin with vectors")
    found = _learnt(path, tokenizer) if path.is_dir() else _read(path, tokenizer)
    width = embedding.embedding_dim
    for id_, vector in found.items():
        if len(vector) != width:
            raise WenmoError(
                f"{path}: vectors of {len(vector)} numbers do not fit embeddings {width} wide"
            )
        embedding.weight[id_] = vector
    return f"{len(found):,} of {tokenizer.vocab_size:,} tokens begin with a vector of {path.name}"


def _read(path: Path, tokenizer: Tokenizer) -> dict[int, Tensor]:
    """The vectors that a file has of our tokens, by their ids."""
    words = [spelled.decode("utf-8", "replace").strip() for spelled in tokenizer.table]
    found = read_vectors(path, set(words) - {""})
    return {id_: torch.from_numpy(found[w]) for id_, w in enumerate(words) if w in found}


def _learnt(path: Path, tokenizer: Tokenizer) -> dict[int, Tensor]:
    """The embeddings that a run has of our tokens, by our ids: those spelled the same."""
    _, model, theirs = load_run(path)
    embedding = _embedding(model)
    if embedding is None:
        raise WenmoError(f"{path}: this run has no embeddings")
    learnt = {spelled: id_ for id_, spelled in enumerate(theirs.table) if spelled}
    return {
        id_: embedding.weight[learnt[spelled]]
        for id_, spelled in enumerate(tokenizer.table)
        if spelled in learnt
    }


def side_weights(model: LanguageModel, side: Side) -> dict[str, Tensor]:
    """The weights of a side of a model; one without an encoder is a decoder as a whole."""
    sides = capability(model, HasSides)
    if sides is not None:
        return sides.side(side)
    return dict(model.named_parameters()) if side == "decoder" else {}


def _embedding(model: LanguageModel) -> nn.Embedding | None:
    embedding = getattr(network_of(model), "embedding", None)
    return embedding if isinstance(embedding, nn.Embedding) else None
