"""What a model begins with that another run learnt: a side of it, or its embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from wenmo.models import MODELS
from wenmo.models.base import LanguageModel
from wenmo.recipe import Recipe
from wenmo.runs import CARD, Card, load_run
from wenmo.text.tokenizers import Tokenizer
from wenmo.text.vectors import read_vectors
from wenmo.types import WenmoError

Side: TypeAlias = Literal["encoder", "decoder"]
Loaded: TypeAlias = tuple[Card, LanguageModel, Tokenizer]


def open_givers(recipe: Recipe) -> dict[Side, Loaded]:
    """The runs that the sides of an encoder–decoder begin with.

    Raises:
        WenmoError: they are not there, or they cut text in different ways; the model has no sides,
            or begins from a base.
    """
    named: dict[Side, str | None] = {
        "encoder": recipe.start.encoder,
        "decoder": recipe.start.decoder,
    }
    if recipe.start.base is not None and any(named.values()):
        raise WenmoError("a model begins from a base, or its sides from runs: not both")
    givers: dict[Side, Loaded] = {s: load_run(Path(name)) for s, name in named.items() if name}
    if givers and MODELS[recipe.family].like is None:
        raise WenmoError(
            f"{recipe.family} has no encoder and decoder: to go on from a run, say --from RUN"
        )
    if len({tokenizer.fingerprint for _, _, tokenizer in givers.values()}) > 1:
        raise WenmoError(
            f"{named['encoder']} and {named['decoder']} have different tokenizers: both sides of a "
            "model have the same"
        )
    return givers


def like_givers(recipe: Recipe, givers: Mapping[Side, Loaded]) -> Recipe:
    """A recipe in which what was left open of the model's settings goes with their weights.

    Raises:
        WenmoError: what was given does not go with them.
    """
    like = MODELS[recipe.family].like
    if like is None:
        return recipe
    suits: dict[str, Any] = {}
    for side, (card, _, _) in givers.items():
        suits |= like(card.recipe.model, side)
    open_ = {name: value for name, value in suits.items() if f"model.{name}" not in recipe.given}
    try:
        return replace(recipe, model=replace(recipe.model, **open_))  # type: ignore[type-var]
    except ValueError as error:
        raise WenmoError(f"beside the settings of what it begins with: {error}") from None


@torch.no_grad()
def take_side(model: LanguageModel, side: Side, giver: LanguageModel, name: str) -> str:
    """Let a side of a model begin with the weights that another model has under the same names:
    those of its own such side, or, where it has no encoder, of the whole of it. Say how many.

    Raises:
        WenmoError: there are none, or one has another shape.
    """
    ours = _network(model).side(side)
    theirs = _network(giver).side(side) or _network(giver).side("decoder")
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
    return (
        f"{count:,} of {model.parameter_count():,} weights begin as those of {name}: the {side}'s"
    )


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


def _network(model: LanguageModel) -> LanguageModel:
    """Of a network on counts the network alone."""
    return model.parts().get("network", model)


def _embedding(model: LanguageModel) -> nn.Embedding | None:
    embedding = getattr(_network(model), "embedding", None)
    return embedding if isinstance(embedding, nn.Embedding) else None
