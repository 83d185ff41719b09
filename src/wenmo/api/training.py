"""Train a run on a text."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wenmo.api.notebook import PlainProgress, in_notebook
from wenmo.api.run import Run, load
from wenmo.config import as_settings
from wenmo.effects import without_effect
from wenmo.models import MODELS, can_stand_on_counts, conditional
from wenmo.models.shapes import shapes_only
from wenmo.pipeline.autoconfig import autoconfigure
from wenmo.pipeline.initialize import inherited, match_config, open_givers
from wenmo.pipeline.session import Session, check_folder
from wenmo.progress import ProgressCallback
from wenmo.runs.effects import TRAINING, Training
from wenmo.runs.recipe import make_recipe, over, read_recipe
from wenmo.runs.store import always_same_length, load_run, talk_of
from wenmo.text import corpus as corpora
from wenmo.text.choosing import choose
from wenmo.text.config import ReadConfig, TokenizerConfig
from wenmo.text.corpus import Corpus
from wenmo.text.inputs import Source
from wenmo.text.objects import as_source
from wenmo.text.tasks import open_records
from wenmo.text.telling import counts_line, reading_line, replies_line
from wenmo.text.tokenizers import Tokenizer
from wenmo.training.loop import Event
from wenmo.training.stop import StopRequest
from wenmo.training.threads import avoid_busy_cores
from wenmo.types import WenmoError, amount

DEFAULT_MODEL = "lstm"


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
    named, recipes = (None, []) if recipe is None else read_recipe(Path(recipe))
    given = [*as_settings(settings), *as_settings(more), *([f"task.name={task}"] if task else [])]
    opened = None
    if base is None:
        model = model or named or DEFAULT_MODEL
        made = make_recipe(model, over(recipes, given))
        if made.init.base is not None:
            raise WenmoError(f"init.base: say it as --from {made.init.base}, without a --model")
    else:
        if model is not None:
            raise WenmoError("--model and --from cannot be had at once: leave one out")
        opened = load_run(Path(base))
        begun = opened[0].recipe
        made = make_recipe(
            model := Path(base).stem, over(recipes, given), (begun.family, begun.model)
        )
        prior = inherited(made.ngram_prior, begun.ngram_prior, str(base))
        if made.train.per_record is None:  # as it has learnt to read
            train = replace(made.train, per_record=begun.train.per_record)
            made = replace(made, train=train)
        made = replace(made, init=replace(made.init, base=str(base)), ngram_prior=prior)
    pretrained_sides = open_givers(made)
    made = match_config(made, pretrained_sides)
    if (
        "decoder" in pretrained_sides
        and (counts := pretrained_sides["decoder"][0].recipe.ngram_prior).enabled
    ):
        made = replace(
            made, ngram_prior=inherited(made.ngram_prior, counts, str(made.init.decoder))
        )
    wholes = MODELS[made.family].kind.record_level
    if reference is not None and (base is None or made.task.paired or wholes):
        raise WenmoError("--reference is for plain text that is trained on --from another model")
    folder = Path(out or Path("runs") / f"{_stem(data)}-{model.replace(':', '-')}")
    if made.task.paired and not conditional(made.family):
        raise WenmoError(
            f"{made.family} cannot answer to a source: leave --task and --control out, or choose "
            "another --model"
        )
    if made.ngram_prior.enabled and not can_stand_on_counts(made.family):
        raise WenmoError(f"{made.family} cannot stand on counts: leave --prior out")
    if wholes and "read.unit" not in made.given:
        made = replace(made, read=replace(made.read, unit="line"))
    data = as_source(data)
    target, valid, valid_target = (
        path if path is None else as_source(path) for path in (target, valid, valid_target)
    )
    choice = choose(data, made.read, made.task, target)
    read = choice.read
    made = replace(made, read=read)
    reader = open_records(data, read, made.task, target)  # what is amiss is told first
    reading = [reading_line(reader, read, choice.note)]
    reading += [f"try {hint}" for hint in choice.hints if choice.plain]
    before = check_folder(folder, made)
    known = [each[2] for each in (opened, *pretrained_sides.values()) if each is not None]
    tokenizer: Tokenizer | TokenizerConfig = known[0] if known else made.tokenizer
    talk = None
    if opened is not None and made.task.name == "dialogue":
        with shapes_only():  # as it will be: the context may be a shorter one
            talk = talk_of(opened[0], made.model.build(opened[2].vocab_size), opened[2])
    corpus = corpora.build(
        data,
        read=made.read,
        tokenizer=tokenizer if talk is None else talk.tokenizer,
        split=made.split,
        task=made.task,
        target=target,
        valid_path=valid,
        valid_target=valid_target,
        talk=talk,
        progress=on_progress and (lambda what, share: on_progress(what, share)),
    )
    busy = None if made.train.minutes is None else avoid_busy_cores()
    derived, chosen = autoconfigure(made, corpus) if before is None else (before.recipe, [])
    situation = Training(derived, has_valid=valid is not None)
    chosen += without_effect(made.given, TRAINING, situation)
    if on_progress is not None:
        for line in [*reading, *_about(corpus), *([busy] if busy else []), *chosen]:
            on_progress(line, None)
    kept = None
    if reference is not None:
        kept = corpora.encode_text(reference, ReadConfig(), corpus.tokenizer).ids
    session = Session(
        folder,
        derived,
        made,
        corpus,
        before,
        opened,
        pretrained_sides,
        kept,
        on_event,
        on_progress,
        started,
        stop,
    )
    best = session.run()
    return load(folder) if best is None else Run(folder, session.card, best, session.tokenizer)


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
