"""Train a run on a text."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wenmo.api.notebook import PlainProgress, in_notebook
from wenmo.api.run import Run, load
from wenmo.config import to_settings
from wenmo.effects import ineffective_settings
from wenmo.models import MODELS
from wenmo.models.shapes import shapes_only
from wenmo.pipeline.autoconfig import autoconfigure
from wenmo.pipeline.initialize import Loaded, Side, inherited, match_config, open_givers
from wenmo.pipeline.prepare import check_folder, prepare
from wenmo.pipeline.session import Session
from wenmo.progress import ProgressCallback
from wenmo.runs.effects import TRAINING_EFFECTS, TrainingSituation
from wenmo.runs.recipe import DEFAULT_MODEL, Recipe, make_recipe, merge_settings, read_recipe
from wenmo.runs.store import (
    Card,
    always_same_length,
    chat_formatter_of,
    load_run,
    open_tokenizer,
)
from wenmo.text import corpus as corpora
from wenmo.text.choosing import choose
from wenmo.text.config import ReadConfig, TokenizerConfig
from wenmo.text.corpus import Corpus
from wenmo.text.inputs import Source
from wenmo.text.objects import as_source
from wenmo.text.reading_summary import counts_line, reading_line, replies_line
from wenmo.text.tasks import open_records
from wenmo.text.tokenizers import Tokenizer
from wenmo.training.loop import Event
from wenmo.training.stop import StopRequest
from wenmo.training.threads import avoid_busy_cores
from wenmo.types import WenmoError, amount


def fit(
    data: Source | Iterable[Any],
    *,
    model: str | None = None,
    task: str | None = None,
    out: str | Path | None = None,
    target: Source | None = None,
    valid: Source | Iterable[Any] | None = None,
    valid_target: Source | None = None,
    recipe: str | Path | None = None,
    base: str | Path | None = None,
    reference: Source | None = None,
    settings: Sequence[str] | Mapping[str, Any] = (),
    on_event: Callable[[Event], None] | None = None,
    on_progress: ProgressCallback | None = None,
    started: float | None = None,
    stop: StopRequest | None = None,
    **more: Any,
) -> Run:
    """Train a generator on a text, or go on where the same call was interrupted.

    Args:
        data: a file or folder of txt, JSONL, CSV, TSV or Parquet, packed or not; ``-`` is standard
            input. Or records in memory: a list or pandas Series of texts, of pairs or of dicts, or
            a pandas DataFrame.
        model: a family, or a family and a size: ``lstm`` (the default), ``gpt:tiny``.
        task: what to learn: ``completion`` (the default), ``translation``, ``dialogue`` and so on.
        out: the run folder; by default ``runs/NAME-MODEL``.
        target: the texts that answer the lines of ``data``, a line each.
        valid: held-out text; by default a part of ``data`` is held out.
        valid_target: the same as ``target``, for ``valid``.
        recipe: a TOML file with settings; what else is given here goes before it.
        base: a model that others trained, or a run, to begin from; then ``model`` is not given.
        reference: a plain text that is scored before and after, to see what is forgotten.
        settings: what should differ from the defaults, as ``key=value`` or as a dict.
        on_event: is called with every event of training. In a notebook, where neither this nor
            ``on_progress`` is given, progress is printed.
        on_progress: is told of what comes before and after training.
        started: when the command started, as `time.perf_counter` tells it; None: now. ``minutes``
            are counted from there.
        stop: stops training when another thread requests it: a checkpoint is saved, and the same
            call goes on from there.
        **more: further settings by their short names: ``minutes=2, hidden_size=512``.

    Raises:
        WenmoError: the user's input is at fault.
        Interrupted: the user pressed Ctrl-C, or ``stop`` was requested; all is saved.
    """
    started = time.perf_counter() if started is None else started
    if on_event is None and on_progress is None and in_notebook():
        on_event, on_progress = (progress := PlainProgress()).on_event, progress.on_progress
    if task:
        more["task.name"] = task
    given = [*to_settings(settings), *to_settings(more)]
    opened = None if base is None else load_run(Path(base))
    name, requested = _requested(model, recipe, given, base, opened)
    pretrained_sides = open_givers(requested)
    requested = _match_sides(requested, pretrained_sides)
    _check_family(requested, has_base=base is not None, has_reference=reference is not None)
    if MODELS[requested.family].model_class.record_level and "read.unit" not in requested.given:
        requested = replace(requested, read=replace(requested.read, unit="line"))
    folder = Path(out or Path("runs") / f"{_stem(data)}-{name.replace(':', '-')}")
    sources = _Sources(*(_as_source(each) for each in (data, target, valid, valid_target)))
    requested, reading = _choose_fields(requested, sources)
    before = check_folder(folder, requested)
    donors = [opened, *pretrained_sides.values(), _tokenizer_run(requested, base)]
    known = [(each[0], each[2]) for each in donors if each is not None]
    tokenizer = known[0][1] if known else requested.tokenizer
    corpus = _read_corpus(requested, sources, tokenizer, opened, on_progress)
    busy = None if requested.train.minutes is None else avoid_busy_cores()
    derived, chosen = autoconfigure(requested, corpus) if before is None else (before.recipe, [])
    situation = TrainingSituation(derived, has_valid=valid is not None)
    chosen += ineffective_settings(requested.given, TRAINING_EFFECTS, situation)
    if on_progress is not None:
        for line in [*reading, *_about(corpus), *([busy] if busy else []), *chosen]:
            on_progress(line, None)
    job = prepare(
        folder,
        derived,
        requested,
        corpus,
        before=before,
        base=opened,
        pretrained_sides=pretrained_sides,
        tokenizer_card=known[0][0] if known else None,
        reference=None if reference is None else _encode(reference, corpus.tokenizer),
        on_progress=on_progress,
        started=started,
    )
    best = Session(job, on_event=on_event, stop=stop).run()
    return load(folder) if best is None else Run(folder, job.card, best, job.tokenizer)


def _requested(
    model: str | None,
    recipe: str | Path | None,
    given: list[str],
    base: str | Path | None,
    opened: Loaded | None,
) -> tuple[str, Recipe]:
    """The settings that the caller asks for, with those of the base, and a name for the run folder.

    Args:
        given: settings as ``key=value``, which replace those of the recipe file.
        opened: the base, loaded.
    """
    family, settings = (None, []) if recipe is None else read_recipe(Path(recipe))
    settings = merge_settings(settings, given)
    if base is None or opened is None:
        model = model or family or DEFAULT_MODEL
        requested = make_recipe(model, settings)
        if requested.init.base is not None:
            raise WenmoError(
                f"init.base: say it as --from {requested.init.base}, without a --model"
            )
        return model, requested
    if model is not None:
        raise WenmoError("--model and --from cannot be had at once: leave one out")
    name, of_base = Path(base).stem, opened[0].recipe
    requested = make_recipe(name, settings, (of_base.family, of_base.model))
    train = requested.train
    if train.per_record is None:  # the base was trained so
        train = replace(train, per_record=of_base.train.per_record)
    return name, replace(
        requested,
        train=train,
        init=replace(requested.init, base=str(base)),
        ngram_prior=inherited(requested.ngram_prior, of_base.ngram_prior, str(base)),
    )


def _tokenizer_run(
    requested: Recipe, base: str | Path | None
) -> tuple[Card, None, Tokenizer] | None:
    """The card and the tokenizer of the run whose tokenizer is requested.

    Raises:
        WenmoError: weights come from another run, which has its own tokenizer.
    """
    run, init = requested.tokenizer.run, requested.init
    if run is None:
        return None
    if base is not None or init.encoder or init.decoder:
        raise WenmoError(
            f"--tokenizer-from {run}: the weights come with the tokenizer of their own run: leave "
            "it out"
        )
    card, tokenizer = open_tokenizer(Path(run))
    return card, None, tokenizer


def _match_sides(requested: Recipe, pretrained_sides: Mapping[Side, Loaded]) -> Recipe:
    """The settings with those that go with pretrained weights of an encoder or decoder."""
    requested = match_config(requested, pretrained_sides)
    if "decoder" not in pretrained_sides:
        return requested
    prior = pretrained_sides["decoder"][0].recipe.ngram_prior
    if not prior.enabled:
        return requested
    kept = inherited(requested.ngram_prior, prior, str(requested.init.decoder))
    return replace(requested, ngram_prior=kept)


def _check_family(requested: Recipe, *, has_base: bool, has_reference: bool) -> None:
    """Refuse what the family of models cannot do.

    Raises:
        WenmoError: with the options to leave out.
    """
    family, is_paired = requested.family, requested.task.paired
    is_stream = not (is_paired or MODELS[family].model_class.record_level)
    if has_reference and not (has_base and is_stream):
        raise WenmoError("--reference is for plain text that is trained on --from another model")
    if is_paired and not MODELS[family].is_conditional:
        raise WenmoError(
            f"{family} cannot answer to a source: leave --task and --control out, or choose "
            "another --model"
        )
    if requested.ngram_prior.enabled and not MODELS[family].supports_ngram_prior:
        raise WenmoError(f"{family} cannot stand on counts: leave --prior out")


@dataclass(frozen=True)
class _Sources:
    """The texts of a training, each with its targets if these lie apart."""

    data: Source
    target: Source | None
    valid: Source | None
    valid_target: Source | None


def _as_source(data: Any) -> Any:
    return None if data is None else as_source(data)


def _choose_fields(requested: Recipe, sources: _Sources) -> tuple[Recipe, list[str]]:
    """The settings with the fields that are read of each record, and lines that tell the user.

    Raises:
        WenmoError: the file cannot be read as that.
    """
    choice = choose(sources.data, requested.read, requested.task, sources.target)
    requested = replace(requested, read=choice.read)
    reader = open_records(sources.data, choice.read, requested.task, sources.target)
    hints = [f"try {hint}" for hint in choice.hints if choice.plain]
    return requested, [reading_line(reader, choice.read, choice.note), *hints]


def _read_corpus(
    requested: Recipe,
    sources: _Sources,
    tokenizer: Tokenizer | TokenizerConfig,
    base: Loaded | None,
    on_progress: ProgressCallback | None,
) -> Corpus:
    """Read, tokenize and split the text; conversations by the chat template of the base."""
    chat = None
    if base is not None and requested.task.name == "dialogue":
        with shapes_only():  # with the context that is requested, which may be shorter
            chat = chat_formatter_of(base[0], requested.model.build(base[2].vocab_size), base[2])
    return corpora.build(
        sources.data,
        read=requested.read,
        tokenizer=tokenizer if chat is None else chat.tokenizer,
        split=requested.split,
        task=requested.task,
        target=sources.target,
        valid_path=sources.valid,
        valid_target=sources.valid_target,
        formatter=chat,
        progress=on_progress,
    )


def _encode(reference: Source, tokenizer: Tokenizer) -> NDArray[np.unsignedinteger]:
    return corpora.encode_text(reference, ReadConfig(), tokenizer).ids


def _about(corpus: Corpus) -> list[str]:
    """What the user should know of the text before training."""
    train, valid = corpus.summary["train"], corpus.summary["valid"]
    read = (
        f"{amount(train['tokens'], 'token')} to train on ({amount(train['bytes'], 'byte')}), "
        f"{valid['tokens']:,} held out: {corpus.summary['held_out']}"
    )
    held = (
        "targets are as long as their sources, in characters, and so will answers be, unless "
        "--no-same-length is said"
    )
    notes = [*([held] if always_same_length(train) else []), *corpus.notes]
    reading = corpus.summary["reading"]
    return [counts_line(reading), *filter(None, [replies_line(reading)]), read, *notes]


def _stem(data: Any) -> str:
    if not isinstance(data, str | os.PathLike):
        return "data"
    name = "stdin" if str(data) == "-" else Path(data).name
    return name.split(".")[0] or "run"
