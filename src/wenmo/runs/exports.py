"""Export models to the formats of other programs, and check which formats support a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wenmo.files import write_text
from wenmo.grammar.printing import to_toml
from wenmo.interchange.arpa import write_arpa
from wenmo.interchange.gguf_export import check_gguf, write_gguf
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
    """For each format the reason why it does not support a model, or None if it does."""
    return {to: _reason(exporter, model, recipe, tokenizer) for to, exporter in EXPORTERS.items()}


def describe_exports(model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer) -> list[str]:
    """The export formats of a run, in lines of at most 80 columns, shown before training."""
    names = _supported_formats(model, recipe, tokenizer)
    if names:
        return [f"other programs can run it: wenmo export --to {' or '.join(names)}"]
    formats = network_exports(model, recipe, tokenizer)
    if not formats:
        return ["no other program can run this model: wenmo export has no format for it"]
    return [
        "this run mixes a network with n-gram counts: only wenmo can run it whole",
        f"to export it to {' or '.join(formats)}, train with --prior none",
        "or export the network alone, which predicts less well: --network-only",
    ]


def network_exports(model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer) -> list[str]:
    """The formats that support the network of a mixture without its n-gram counts."""
    if not has_capability(model, HasMixture):
        return []
    return _supported_formats(_network_of(model), without_counts(recipe), tokenizer)


def without_counts(recipe: Recipe) -> Recipe:
    """The recipe without the n-gram prior."""
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
    """Export a model, atomically.

    Args:
        to: name of the format, one of `EXPORTERS`.
        path: folder or file, which must not exist.
        precision: data type of GGUF matrices: float32, float16 (default) or q8_0.
        network_only: export the network of a mixture without its n-gram counts.
        sampling: default sampling settings, for formats that support them.

    Returns:
        A note for the user, or None.

    Raises:
        WenmoError: the format does not support the model, or there is no such format.
    """
    to, recipe, note = check_format(to), card.recipe, None
    if precision is not None and to != "gguf":
        raise WenmoError("--precision is for GGUF files; leave it out")
    if precision not in (None, *PRECISIONS):
        raise WenmoError(f"--precision {precision}: choose one of {', '.join(PRECISIONS)}")
    if path.exists() and (path.is_file() or any(path.iterdir())):
        raise WenmoError(f"{path}: already exists: choose another --out")
    if network_only:
        model, recipe = _network_of(model), without_counts(recipe)
        note = f"the network without its counts: {_network_quality(card)}"
    elif has_capability(model, HasMixture):
        _raise_for_counts(to, model, card, tokenizer)
    merge_adapters(model)
    exporter = EXPORTERS[to]
    exporter.check(model, recipe, tokenizer)
    card = replace(card, recipe=recipe)
    exporter.write(path, Export(model, card, tokenizer, sampling or {}, precision or "float16"))
    return note


# -- networks with an n-gram prior -----------------------------------------------------------------


def _network_of(model: LanguageModel) -> LanguageModel:
    if not has_capability(model, HasMixture):
        raise WenmoError("--network-only is for networks with n-gram counts; leave it out")
    network = network_of(model)
    network.special_tokens = model.special_tokens
    return network


def _raise_for_counts(to: str, model: LanguageModel, card: Card, tokenizer: Tokenizer) -> None:
    """Raise an error that names the alternatives to exporting a mixture with n-gram counts."""
    formats = network_exports(model, card.recipe, tokenizer)
    if to in formats:
        advice = f"add --network-only to export the network without them ({_network_quality(card)})"
    elif formats:
        advice = (
            f"the network without them can be exported to {', '.join(formats)} with --network-only"
        )
    else:
        advice = "no format supports the network without them either"
    raise WenmoError(f"{to} does not support the n-gram counts of this run: {advice}")


def _network_quality(card: Card) -> str:
    """Bits per byte with and without the n-gram counts, if the card has them."""
    bits = card.results.get("parts", {})
    if "network" not in bits:
        return "its quality was not measured: evaluate the exported model"
    return (
        f"held out {bits['network']:.3f} bits per byte, {bits['mixture']:.3f} with the counts; "
        "for a better one train with --prior none"
    )


# -- checks ----------------------------------------------------------------------------------------


def _reason(
    exporter: Exporter, model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer
) -> str | None:
    try:
        exporter.check(model, recipe, tokenizer)
    except WenmoError as error:
        return str(error)
    return None


def _supported_formats(model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer) -> list[str]:
    reasons = possible_exports(model, recipe, tokenizer)
    return [to for to, reason in reasons.items() if reason is None]


def _check_huggingface(model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer) -> None:
    config = replace(recipe, init=InitConfig()).generator
    if layout_of(config, model.vocab_size, tokenizer.end) is None:
        raise WenmoError("transformers has no architecture for this model")


def _check_gguf(model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer) -> None:
    check_gguf(recipe.generator, model.vocab_size, tokenizer)


def _check_onnx(model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer) -> None:
    check_onnx(_generator_of(model))


def _check_arpa(model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer) -> None:
    if not isinstance(model, Ngram):
        raise WenmoError("ARPA files support only n-gram models")


def _check_grammar(model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer) -> None:
    if not isinstance(model, GrammarModel):
        raise WenmoError("grammar files support only grammars")


def _generator_of(model: LanguageModel) -> LanguageModel:
    """The generator of an adversarial model; of other models the model itself."""
    generative = capability(model, HasGenerator)
    return model if generative is None else generative.generator


# -- writing ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Export:
    """The arguments of an exporter; see `write_export`."""

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
    has_source = export.card.recipe.task.paired
    write_onnx(path, _generator_of(export.model), export.tokenizer, has_source=has_source)


def _write_arpa(path: Path, export: Export) -> None:
    assert isinstance(export.model, Ngram)
    names = map(export.tokenizer.name_of, range(export.tokenizer.vocab_size))
    write_arpa(export.model, path, list(names))


def _write_grammar(path: Path, export: Export) -> None:
    assert isinstance(export.model, GrammarModel)
    write_text(path, to_toml(export.model.grammar))


@dataclass(frozen=True)
class Exporter:
    """An export format.

    Attributes:
        check: raises `WenmoError` if the format does not support a model.
        write: writes a model that `check` accepts to a file or folder.
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
