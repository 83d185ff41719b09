"""What can be wrong with a command before anything is computed: paths, names, types of settings.

Nothing here loads PyTorch, so that a mistake is reported at once. What needs a model or the text is
checked later.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from wenmo.config import key_of, match, nearest, override, table_of
from wenmo.grammar.reading import SUFFIXES
from wenmo.interchange.hub import PACKAGED, PREFIX
from wenmo.options import options_of
from wenmo.runs.config import TABLES
from wenmo.runs.folders import CARD, read_card
from wenmo.runs.locks import check_unlocked, is_free
from wenmo.text.config import ReadConfig
from wenmo.text.inputs import check_path
from wenmo.types import WenmoError

MODEL_FILES = (".gguf", ".bin")
"""Files of other programs that hold a whole model."""

PRIORS = {"ngram": "true", "none": "false", "auto": "null"}
FORMATS = ("huggingface", "gguf", "onnx", "arpa", "grammar")


def check_training(
    data: str | Path,
    others: Sequence[str | Path | None],
    *,
    model: str | None,
    base: str | None,
    recipe: Path | None,
    out: Path | None,
    settings: Sequence[str],
) -> None:
    """Check what ``wenmo train`` is given.

    Args:
        data: the text.
        others: further files that are read.
        model: a family, or a family and a size.
        base: what training begins from.
        recipe: a file of settings.
        out: the run folder.
        settings: ``key=value`` strings.

    Raises:
        WenmoError: something is missing, has a name that is not known, or a value that does not
            fit.
    """
    # Imported here, for the settings of all families take some time to declare.
    from wenmo.runs.recipe import DEFAULT_MODEL, make_recipe, over, read_recipe

    named, stored = (None, []) if recipe is None else read_recipe(recipe)
    if base is not None:
        check_run(base)
        _check_tables(over(stored, settings))
    else:
        make_recipe(model or named or DEFAULT_MODEL, over(stored, settings))
    check_paths(data, *others)
    if out is not None:
        check_out(out)


def check_run(run: str | Path) -> None:
    """Check that something can be opened as a run: a run folder, a grammar, a pretrained model.

    Raises:
        WenmoError: nothing is there, or a folder that holds no model.
    """
    path = Path(run)
    if str(run).startswith(PREFIX) or str(run) in PACKAGED:
        return
    if not path.exists():
        if path.suffix in SUFFIXES:
            raise WenmoError(f"{path}: no such file{nearest(path.name, _siblings(path))}")
        if offer := nearest(str(run), PACKAGED):
            raise WenmoError(f"{path}: no such run folder{offer}")
        read_card(path)
    elif (path / CARD).exists() or not _holds_model(path):
        read_card(path)


def check_paths(*paths: str | Path | None) -> None:
    """Check that files or folders are there.

    Raises:
        WenmoError: one is not; the nearest name is offered.
    """
    for path in paths:
        if path is not None:
            check_path(path)


def check_out(folder: Path) -> None:
    """Check that a run folder can be made, or is one in which nobody trains.

    Raises:
        WenmoError: something else is there, or another process is at work.
    """
    if folder.exists() and not folder.is_dir():
        raise WenmoError(f"{folder}: a file stands here: choose another --out")
    parent = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise WenmoError(f"{folder}: cannot be made in {parent}: choose another --out")
    check_unlocked(folder)
    if folder.is_dir() and not (folder / CARD).exists() and not is_free(folder):
        raise WenmoError(f"{folder}: not empty and not a run folder: choose another --out")


def check_reading(settings: Sequence[str]) -> None:
    """Check ``key=value`` settings of how a text is read.

    Raises:
        WenmoError: no ``=``, an unknown name, or a value that does not fit.
    """
    override(ReadConfig(), settings, where="read.")


def check_family(name: str) -> str:
    """The family that a name means.

    Raises:
        WenmoError: there is no such family; the nearest is offered.
    """
    from wenmo.models import find

    return find(name.partition(":")[0])[0]


def enabled_of(prior: str) -> str:
    """The value of ``ngram_prior.enabled`` that ``--prior`` asks for.

    Raises:
        WenmoError: there is no such prior.
    """
    known = match(prior, PRIORS)
    if known is None:
        raise WenmoError(f"--prior {prior}: choose one of {', '.join(PRIORS)}")
    return PRIORS[known]


def check_format(name: str) -> str:
    """The format of an export that a name means.

    Raises:
        WenmoError: there is no such format; the nearest is offered.
    """
    known = match(name, FORMATS)
    if known is None:
        offer = nearest(name, FORMATS)
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
            table, change = table_of(setting, names)
            changes[table].append(change)
    for table, changed in changes.items():
        override(TABLES[table](), changed, where=f"{table}.")


def _holds_model(path: Path) -> bool:
    """Whether a file may be a grammar, or a file or folder a model of another program."""
    if not path.is_dir():
        return path.suffix.lower() in (*SUFFIXES, *MODEL_FILES)
    kinds = (".json", ".safetensors", ".gguf", ".bin")
    return any(name.lower().endswith(kinds) for name in os.listdir(path))


def _siblings(path: Path) -> list[str]:
    return [other.name for other in path.parent.glob("*")]
