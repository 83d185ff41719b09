"""Checks of a command's arguments before PyTorch is imported: paths, names, types of settings.

Nothing here loads PyTorch, so that a mistake is reported at once. What needs a model or the text is
checked later.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wenmo.config import coerce, did_you_mean, from_dict, key_of, match_name, override, split_table
from wenmo.decoding.chain_text import expand_chain
from wenmo.decoding.combination.classifier_file import check_header
from wenmo.decoding.combination.settings import split_combination
from wenmo.decoding.constraints.forms import check_form
from wenmo.decoding.constraints.notation import compile_structure, structure_of
from wenmo.decoding.constraints.settings import split_options
from wenmo.decoding.constraints.texts import check_possible
from wenmo.decoding.drafts.settings import NGRAM, NO_DRAFT, PROMPT, split_draft
from wenmo.decoding.params import Sampling
from wenmo.files import read_json
from wenmo.grammar.reading import SUFFIXES
from wenmo.interchange.hub import PACKAGED_MODELS, PREFIX
from wenmo.options import options_of
from wenmo.runs.config import TABLES
from wenmo.runs.folders import CARD, TOKENIZER, read_card
from wenmo.runs.locks import check_unlocked, is_empty
from wenmo.text.config import ReadConfig
from wenmo.text.inputs import check_path
from wenmo.types import WenmoError

MODEL_FILES = (".gguf", ".bin")
"""Suffixes of single-file models of other programs."""

DEPENDENT: tuple[set[str], ...] = (
    {"method", "mbr"},
    {"temperature", "mbr"},
    {"method", "temperature"},
    {"beam_width", "beam_groups"},
    {"min_tokens", "max_tokens"},
)
"""Settings of writing that can contradict each other if they are given together."""

PRIOR_VALUES = {"ngram": "true", "none": "false", "auto": "null"}
FORMATS = ("huggingface", "gguf", "onnx", "arpa", "grammar")


def check_training(
    data: str | Path,
    other_files: Sequence[str | Path | None],
    *,
    model: str | None,
    base: str | None,
    recipe: Path | None,
    out: Path | None,
    settings: Sequence[str],
) -> None:
    """Check the arguments of ``wenmo train``.

    Args:
        data: path of the training text.
        other_files: paths of further input files.
        model: family, or family and size.
        base: run or pretrained model that training starts from.
        recipe: path of a recipe.
        out: run folder.
        settings: ``key=value`` strings.

    Raises:
        WenmoError: something is missing, has a name that is not known, or a value that does not
            fit.
    """
    # Imported here, for the settings of all families take some time to declare.
    from wenmo.runs.recipe import DEFAULT_MODEL, make_recipe, merge_settings, read_recipe

    named, stored = (None, []) if recipe is None else read_recipe(recipe)
    if base is not None:
        check_run(base)
        _check_tables(merge_settings(stored, settings))
    else:
        made = make_recipe(model or named or DEFAULT_MODEL, merge_settings(stored, settings))
        if made.tokenizer.run is not None:
            check_run(made.tokenizer.run)
    check_paths(data, *other_files)
    if out is not None:
        check_out(out)


def check_run(run: str | Path) -> None:
    """Check that a path or name can be loaded: a run folder, a grammar or a pretrained model.

    Raises:
        WenmoError: it does not exist, or is not a model.
    """
    path = Path(run)
    if str(run).startswith(PREFIX) or str(run) in PACKAGED_MODELS:
        return
    if not path.exists():
        if path.suffix in SUFFIXES:
            raise WenmoError(f"{path}: no such file{did_you_mean(path.name, _siblings(path))}")
        if offer := did_you_mean(str(run), PACKAGED_MODELS):
            raise WenmoError(f"{path}: no such run folder{offer}")
        read_card(path)
    elif (path / CARD).exists() or not _may_hold_model(path):
        read_card(path)


def check_paths(*paths: str | Path | None) -> None:
    """Check that files or folders exist.

    Raises:
        WenmoError: one does not exist; the message suggests the closest match.
    """
    for path in paths:
        if path is not None:
            check_path(path)


def check_constraints(options: Mapping[str, Any]) -> None:
    """Check constraints on texts: those that no text can meet, and files that cannot be read.

    Raises:
        WenmoError: one that is wrong; the message names it, and in a file the line.
    """
    settings, _ = split_options(options)
    if structure_of(settings):
        compile_structure(settings)
    check_form(settings)
    check_possible(settings)


def check_sampling(options: Mapping[str, Any]) -> None:
    """Check the text of a chain, every value in it, and settings that contradict each other.

    Raises:
        WenmoError: not a chain, or a value that does not fit; the message names the setting.
    """
    together = {name for names in DEPENDENT if options.keys() >= names for name in names}
    from_dict(Sampling, {name: options[name] for name in sorted(together)})
    if options.get("chain"):
        chain = expand_chain({"chain": options["chain"]})
        declared = options_of(Sampling)
        for name, value in chain.items():
            if not declared[name].admits(coerce(value, declared[name].type, name)):
                raise WenmoError(f"chain: {name} must be {declared[name].wanted}")
        expand_chain(options)


def check_combination(run: str | Path, options: Mapping[str, Any]) -> None:
    """Check what is to steer a run: weights, and runs that exist and have its vocabulary.

    Raises:
        WenmoError: one of them does not fit.
    """
    settings, _ = split_combination(options)
    for path, _ in settings.classifiers:
        check_header(Path(path))
    for path, _ in settings.experts:
        check_run(path)
        _check_vocabulary(run, path)


def check_draft(run: str | Path, options: Mapping[str, Any], sampling: Mapping[str, Any]) -> None:
    """Check what is to propose tokens: a run that exists and has the vocabulary of the other, and
    a method of sampling that a draft can speed up.

    Raises:
        WenmoError: one of them does not fit.
    """
    settings, _ = split_draft(options)
    name, method = settings.draft, sampling.get("method", "")
    if name is None:
        return
    if method in NO_DRAFT:
        raise WenmoError(f"draft: {NO_DRAFT[method]}")
    if name not in (PROMPT, NGRAM):
        if not Path(name).exists() and (offer := did_you_mean(name, (PROMPT, NGRAM))):
            raise WenmoError(f"draft={name}: no such run folder{offer}")
        check_run(name)
        _check_vocabulary(run, name)


def _check_vocabulary(run: str | Path, path: str | Path) -> None:
    own, others = _vocabulary(Path(run)), _vocabulary(Path(path))
    if own is not None and others is not None and own != others:
        raise other_vocabulary(path, run, len(own - others) or len(others - own), len(own))


def check_file(path: Path) -> None:
    """Check that a file can be written.

    Raises:
        WenmoError: it is a folder, or its folder does not exist.
    """
    if path.is_dir():
        raise WenmoError(f"{path}: is a folder: name a file")
    if not path.parent.is_dir():
        raise WenmoError(f"{path}: no such folder {path.parent}: make it first")


def other_vocabulary(path: str | Path, run: str | Path, differing: int, size: int) -> WenmoError:
    """The error of a run that has another vocabulary than the run that it writes with."""
    return WenmoError(
        f"{path}: its vocabulary is not that of {run} ({differing:,} of {size:,} tokens differ): "
        f"train it with --tokenizer-from {run}"
    )


def _vocabulary(run: Path) -> frozenset[str] | None:
    """The tokens of a run folder; None: they are not known before it is loaded."""
    if not (run / CARD).is_file() or read_card(run).get("external") is not None:
        return None
    if not (run / TOKENIZER).is_file():
        return None
    tokens = read_json(run / TOKENIZER).get("model", {}).get("vocab", {})
    return frozenset(token if isinstance(token, str) else token[0] for token in tokens)


def check_out(folder: Path) -> None:
    """Check that a run folder can be created, or exists and is not in use.

    Raises:
        WenmoError: the path is something else, or another process trains there.
    """
    if folder.exists() and not folder.is_dir():
        raise WenmoError(f"{folder}: is a file: choose another --out")
    parent = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise WenmoError(f"{folder}: cannot be made in {parent}: choose another --out")
    check_unlocked(folder)
    if folder.is_dir() and not (folder / CARD).exists() and not is_empty(folder):
        raise WenmoError(f"{folder}: not empty and not a run folder: choose another --out")


def check_reading(settings: Sequence[str]) -> None:
    """Check ``key=value`` settings of how a text is read.

    Raises:
        WenmoError: no ``=``, an unknown name, or a value that does not fit.
    """
    override(ReadConfig(), settings, prefix="read.")


def check_family(name: str) -> str:
    """The family of a model name.

    Raises:
        WenmoError: no such family; the message suggests the closest match.
    """
    from wenmo.models import find

    return find(name.partition(":")[0])[0]


def prior_value(prior: str) -> str:
    """The value of ``ngram_prior.enabled`` for a value of ``--prior``.

    Raises:
        WenmoError: no such prior.
    """
    known = match_name(prior, PRIOR_VALUES)
    if known is None:
        raise WenmoError(f"--prior {prior}: choose one of {', '.join(PRIOR_VALUES)}")
    return PRIOR_VALUES[known]


def check_format(name: str) -> str:
    """The export format of a name, which may differ in case.

    Raises:
        WenmoError: no such format; the message suggests the closest match.
    """
    known = match_name(name, FORMATS)
    if known is None:
        offer = did_you_mean(name, FORMATS)
        raise WenmoError(f"unknown format {name!r}{offer} (valid: {', '.join(FORMATS)})")
    return known


def _check_tables(settings: Sequence[str]) -> None:
    """Check the settings that name a table beside the model's. What the model has is not known
    before it is opened, and a key without a table may be its own.
    """
    names = {table: list(options_of(declared)) for table, declared in TABLES.items()}
    changes: dict[str, list[str]] = {table: [] for table in TABLES}
    for setting in settings:
        key = key_of(setting)
        if "." in key and not key.startswith("model."):
            table, change = split_table(setting, names)
            changes[table].append(change)
    for table, changed in changes.items():
        override(TABLES[table](), changed, prefix=f"{table}.")


def _may_hold_model(path: Path) -> bool:
    """Whether a file may be a grammar, or a file or folder a model of another program."""
    if not path.is_dir():
        return path.suffix.lower() in (*SUFFIXES, *MODEL_FILES)
    suffixes = (".json", ".safetensors", ".gguf", ".bin")
    return any(name.lower().endswith(suffixes) for name in os.listdir(path))


def _siblings(path: Path) -> list[str]:
    return [other.name for other in path.parent.glob("*")]
