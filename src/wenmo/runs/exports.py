"""Models written for other programs: what each format can hold, and the writing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wenmo.files import write_text
from wenmo.grammar.printing import to_toml
from wenmo.interchange.arpa import write_arpa
from wenmo.interchange.gguf_out import check_gguf, write_gguf
from wenmo.interchange.huggingface import layout_of
from wenmo.interchange.onnx import check_onnx, write_onnx
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import (
    HasGenerator,
    HasMixture,
    capability,
    has_capability,
    network_of,
)
from wenmo.models.grammar import GrammarModel
from wenmo.models.lora import merge_adapters
from wenmo.models.ngram import Ngram
from wenmo.runs.config import InitConfig, NgramPriorConfig
from wenmo.runs.folders import TOKENIZER
from wenmo.runs.preflight import check_format
from wenmo.runs.recipe import Recipe
from wenmo.runs.store import Card, save_model
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError

PRECISIONS = ("float32", "float16", "q8_0")


def possible_exports(
    model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer
) -> dict[str, str | None]:
    """For each format the reason why it cannot hold a model, or ``None`` where it can."""
    return {to: _reason(exporter, model, recipe, tokenizer) for to, exporter in EXPORTERS.items()}


def about_exports(model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer) -> list[str]:
    """What a run can be exported to, in lines of at most 80 columns, told before it is trained."""
    names = _possible(model, recipe, tokenizer)
    if names:
        return [f"other programs can run it: wenmo export --to {' or '.join(names)}"]
    alone = network_exports(model, recipe, tokenizer)
    if not alone:
        return ["no other program can run this model: wenmo export has no format for it"]
    return [
        "this run combines a network with n-gram counts: only wenmo can run it whole",
        f"to export it to {' or '.join(alone)}, train with --prior none",
        "or export the network alone, which predicts less well: --network-only",
    ]


def network_exports(model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer) -> list[str]:
    """The formats that hold the network of a network on counts without them; of others none."""
    if not has_capability(model, HasMixture):
        return []
    return _possible(_network_of(model), without_counts(recipe), tokenizer)


def without_counts(recipe: Recipe) -> Recipe:
    """The settings of the network alone of a network on counts."""
    return replace(recipe, ngram_prior=NgramPriorConfig(enabled=False))


def write_export(
    to: str,
    path: Path,
    model: LanguageModel,
    card: Card,
    tokenizer: Tokenizer,
    *,
    precision: str | None = None,
    network_only: bool = False,
    sampling: Mapping[str, Any] | None = None,
) -> str | None:
    """Write a model for another program, whole or not at all.

    Args:
        to: the format, one of `EXPORTERS`.
        path: the folder or file, which must not be there yet.
        precision: of GGUF's matrices: float32, float16 (the default) or q8_0.
        network_only: write the network of a network on counts without them.
        sampling: how the run writes, for formats that hold that.

    Returns:
        What the user should know of what was written; ``None``: nothing.

    Raises:
        WenmoError: the format cannot hold this model, or there is no such format.
    """
    to, recipe, note = check_format(to), card.recipe, None
    if precision is not None and to != "gguf":
        raise WenmoError("--precision is for GGUF files; leave it out")
    if precision not in (None, *PRECISIONS):
        raise WenmoError(f"--precision {precision}: say {', '.join(PRECISIONS)}")
    if path.exists() and (path.is_file() or any(path.iterdir())):
        raise WenmoError(f"{path}: there already: choose another --out")
    if network_only:
        model, recipe = _network_of(model), without_counts(recipe)
        note = f"the network without its counts: {_figures(card)}"
    elif has_capability(model, HasMixture):
        _refuse_counts(to, model, card, tokenizer)
    merge_adapters(model)
    exporter = EXPORTERS[to]
    exporter.check(model, recipe, tokenizer)
    card = replace(card, recipe=recipe)
    exporter.write(path, Export(model, card, tokenizer, sampling or {}, precision or "float16"))
    return note


# -- networks on counts ----------------------------------------------------------------------------


def _network_of(model: LanguageModel) -> LanguageModel:
    if not has_capability(model, HasMixture):
        raise WenmoError("--network-only is for networks on counts; leave it out")
    network = network_of(model)
    network.special_tokens = model.special_tokens
    return network


def _refuse_counts(to: str, model: LanguageModel, card: Card, tokenizer: Tokenizer) -> None:
    """Say what is possible where a format cannot hold the counts that a network stands on."""
    alone = network_exports(model, card.recipe, tokenizer)
    if to in alone:
        way = f"add --network-only to write the network without them ({_figures(card)})"
    elif alone:
        way = f"the network without them can be written to {', '.join(alone)} with --network-only"
    else:
        way = "no format holds the network without them either"
    raise WenmoError(f"{to} cannot hold the counts that this run stands on: {way}")


def _figures(card: Card) -> str:
    """What leaving the counts out costs, as far as the card knows."""
    parts = card.results.get("parts", {})
    if "network" not in parts:
        return "how good it is alone was not measured: evaluate what is written"
    return (
        f"held out {parts['network']:.3f} bits per byte, {parts['mixture']:.3f} with the counts; "
        "for a better one train with --prior none"
    )


# -- what each format can hold ---------------------------------------------------------------------


def _reason(
    exporter: Exporter, model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer
) -> str | None:
    try:
        exporter.check(model, recipe, tokenizer)
    except WenmoError as error:
        return str(error)
    return None


def _possible(model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer) -> list[str]:
    reasons = possible_exports(model, recipe, tokenizer)
    return [to for to, reason in reasons.items() if reason is None]


def _check_huggingface(model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer) -> None:
    config = replace(recipe, init=InitConfig()).generator
    if layout_of(config, model.vocab_size, tokenizer.end) is None:
        raise WenmoError("transformers has no arrangement of such a model")


def _check_gguf(model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer) -> None:
    check_gguf(recipe.generator, model.vocab_size, tokenizer)


def _check_onnx(model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer) -> None:
    check_onnx(_generator_of(model))


def _check_arpa(model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer) -> None:
    if not isinstance(model, Ngram):
        raise WenmoError("ARPA files hold n-gram models alone")


def _check_grammar(model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer) -> None:
    if not isinstance(model, GrammarModel):
        raise WenmoError("a grammar's file holds rules alone")


def _generator_of(model: LanguageModel) -> LanguageModel:
    """The part of a model that writes; nearly always all of it."""
    own = capability(model, HasGenerator)
    return model if own is None else own.generator


# -- the writing -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Export:
    """What is written; see `write_export`."""

    model: LanguageModel
    card: Card
    tokenizer: Tokenizer
    sampling: Mapping[str, Any]
    precision: Any


def _write_huggingface(path: Path, export: Export) -> None:
    recipe, template = replace(export.card.recipe, init=InitConfig()), export.card.template
    save_model(path, recipe, export.model, export.tokenizer, template, export.sampling)
    export.tokenizer.save(path / TOKENIZER)


def _write_gguf(path: Path, export: Export) -> None:
    write_gguf(
        path,
        export.model,
        export.card.recipe.generator,
        export.tokenizer,
        precision=export.precision,
        template=export.card.template,
        sampling=export.sampling,
    )


def _write_onnx(path: Path, export: Export) -> None:
    answers = export.card.recipe.task.paired
    write_onnx(path, _generator_of(export.model), export.tokenizer, answers=answers)


def _write_arpa(path: Path, export: Export) -> None:
    assert isinstance(export.model, Ngram)
    names = map(export.tokenizer.name_of, range(export.tokenizer.vocab_size))
    write_arpa(export.model, path, list(names))


def _write_grammar(path: Path, export: Export) -> None:
    assert isinstance(export.model, GrammarModel)
    write_text(path, to_toml(export.model.grammar))


@dataclass(frozen=True)
class Exporter:
    """A format of other programs.

    Attributes:
        check: raises a `WenmoError` where the format cannot hold such a model.
        write: writes what `check` let pass into a file or folder.
    """

    check: Callable[[LanguageModel, Recipe, Tokenizer], None]
    write: Callable[[Path, Export], None]


EXPORTERS: Mapping[str, Exporter] = {
    "huggingface": Exporter(_check_huggingface, _write_huggingface),
    "gguf": Exporter(_check_gguf, _write_gguf),
    "onnx": Exporter(_check_onnx, _write_onnx),
    "arpa": Exporter(_check_arpa, _write_arpa),
    "grammar": Exporter(_check_grammar, _write_grammar),
}
