"""The facade: fit, load, generate, evaluate, compare. Apps know nothing below this."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wenmo.api import plan as planning
from wenmo.api.notebook import PlainProgress, in_notebook
from wenmo.api.run import Run
from wenmo.config import as_settings, to_dict
from wenmo.decoding.generator import Output
from wenmo.decoding.noise import draw_seed
from wenmo.effects import without_effect
from wenmo.evaluation.alignment import alignment_svg
from wenmo.evaluation.tradeoff import TEMPERATURES, tradeoff_svg
from wenmo.files import atomic
from wenmo.grammar.writing import Derivation
from wenmo.models import MODELS, can_stand_on_counts, conditional, find
from wenmo.models.shapes import shapes_only
from wenmo.models.transformer.config import TransformerConfig
from wenmo.pipeline.autoconfig import autoconfigure
from wenmo.pipeline.initialize import inherited, match_config, open_givers
from wenmo.pipeline.session import ProgressCallback, Session, check_folder
from wenmo.runs.effects import TRAINING, Training
from wenmo.runs.recipe import make_recipe, over, read_recipe
from wenmo.runs.store import always_same_length, load_run, talk_of
from wenmo.text import corpus as corpora
from wenmo.text.choosing import choose
from wenmo.text.config import ReadConfig, TokenizerConfig
from wenmo.text.corpus import Corpus
from wenmo.text.inputs import Source, rereadable
from wenmo.text.objects import as_source
from wenmo.text.readers import Reader, for_other_data, has_fields
from wenmo.text.tasks import open_records
from wenmo.text.telling import counts_line, reading_line, replies_line
from wenmo.text.tokenizers import Tokenizer
from wenmo.training.loop import Event
from wenmo.training.threads import avoid_busy_cores
from wenmo.types import WenmoError, amount

__all__ = [
    "Derivation",
    "Event",
    "Output",
    "Run",
    "alignment_svg",
    "catalogue",
    "compare",
    "draw_seed",
    "fit",
    "load",
    "plan",
    "read_prompts",
    "read_texts",
    "tradeoff",
    "tradeoff_svg",
    "write_file",
]


DEFAULT_MODEL = "lstm"


def load(folder: str | Path) -> Run:
    """Open a run folder.

    Raises:
        WenmoError: not a run folder, damaged, or from a newer version.
    """
    path = Path(folder)
    return Run(path, *load_run(path))


def compare(
    runs: Sequence[Run | str | Path],
    data: Source | Iterable[Any],
    *,
    target: Source | None = None,
    stride: int | None = None,
    encoding: str | None = None,
    on_progress: ProgressCallback | None = None,
) -> list[dict[str, Any]]:
    """Score the same text with several runs, whatever their families and tokenizers.

    Args:
        runs: to compare.
        data: the text.
        target: the texts that answer the lines of ``data``, a line each.
        stride: as of `Run.evaluate`.
        encoding: of the text; ``None`` detects it.
        on_progress: is told the share that is done.

    Returns:
        A row for each run, the best (fewest bits per byte) first: ``run``, ``model``, and the
        figures of `Run.evaluate`; or, at the end, ``run`` and ``problem`` where a run cannot score
        this text.

    Raises:
        WenmoError: there is no such text, or no run can score it.
    """
    data = as_source(data)
    options = {
        "stride": stride,
        "encoding": encoding,
        "on_progress": on_progress and _notes_once(on_progress),
    }
    target = None if target is None else rereadable(target)
    rows = [_scored(run, data, target=target, **options) for run in runs]
    if rows and all("problem" in row for row in rows):
        raise WenmoError(rows[0]["problem"])
    return sorted(rows, key=lambda row: row.get("bits_per_byte", math.inf))


def _notes_once(on_progress: ProgressCallback) -> ProgressCallback:
    """Pass progress on, and each note the first time only: every run reads the same data."""
    notes: set[str] = set()

    def pass_on(what: str, share: float | None) -> None:
        if share is None and what in notes:
            return
        if share is None:
            notes.add(what)
        on_progress(what, share)

    return pass_on


def _scored(run: Run | str | Path, data: Source, **options: Any) -> dict[str, Any]:
    """What a run makes of a text, or why it cannot score it."""
    name = str(run.folder if isinstance(run, Run) else run)
    try:
        opened = run if isinstance(run, Run) else load(run)
        figures = opened.evaluate(data, **options)
    except WenmoError as error:
        return {"run": name, "problem": str(error)}
    return {"run": name, "model": opened.card.recipe.family} | figures


def tradeoff(
    runs: Sequence[Run | str | Path],
    data: Source,
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    texts: int = 200,
    encoding: str | None = None,
    on_progress: ProgressCallback | None = None,
    **sampling: Any,
) -> dict[str, Any]:
    """Quality against diversity of what runs write, over temperatures, beside the texts of a file;
    see `wenmo.evaluation.tradeoff`.

    Args:
        runs: that write by themselves, without a source. One that has baselines, as the same
            generator trained by likelihood alone, is shown beside them.
        data: what texts should be like: a record each, read as the first run reads its own.
        texts: how many each writes at each temperature.
        encoding: of the file; ``None`` detects it.
        on_progress: is told the share that is done.
        **sampling: how they are written, but for the temperature.

    Returns:
        ``curves``: by the name of each run, and of each baseline, its points; and ``verdicts`` on
        runs that have baselines, by the baseline's name.

    Raises:
        WenmoError: a run answers to sources; there is no text; temperatures that make no sense.
    """
    if not temperatures or not all(0 < t < 100 for t in temperatures):
        raise WenmoError("temperatures must be numbers above 0, as in 0.7,1.0")
    if texts < 2:
        raise WenmoError(f"texts are set beside each other: write at least 2, not {texts}")
    opened = [run if isinstance(run, Run) else load(run) for run in runs]
    references = read_texts(data, opened[0], encoding=encoding, on_progress=on_progress)
    if not any(text.strip() for text in references):
        raise WenmoError(f"{data}: no text to set others beside")
    curves: dict[str, Any] = {}
    verdicts: dict[str, Any] = {}
    for run in opened:
        of_run, told = run.tradeoff(references, temperatures, texts, on_progress, **sampling)
        curves |= of_run
        verdicts |= told
    return {"curves": curves, "verdicts": verdicts}


def catalogue(family: str | None = None) -> list[dict[str, Any]]:
    """Every family, or one: what it is good for, its settings with their defaults, its sizes.

    Raises:
        WenmoError: no such family.
    """
    if family is not None:
        family, _ = find(family)
    return [
        {
            "name": name,
            "good_for": entry.good_for,
            "settings": to_dict(entry.config),
            "sizes": list(entry.sizes),
            "size_settings": {
                size: _changes(to_dict(entry.config), to_dict(config))
                for size, config in entry.sizes.items()
            },
        }
        for name, entry in MODELS.items()
        if family in (None, name)
    ]


def plan(
    model: str,
    settings: Sequence[str] = (),
    *,
    vocab_size: int = 50_257,
    gpu: str = "h100",
    gpus: int = 8,
    tokens: float | None = None,
    utilization: float = 0.4,
    rows: int = 1,
    price: float | None = None,
) -> dict[str, Any]:
    """What training a Transformer of any size would take: see `wenmo.api.plan.plan`.

    Args:
        model: a family, or a family and a size; ``gpt3-175b`` is short for ``gpt:gpt3-175b``.
        settings: what should differ, as ``key=value``.
        tokens: to train on; by default 20 for each weight (Hoffmann et al. 2022).

    Raises:
        WenmoError: no such model, or no Transformer.
    """
    name = f"gpt:{model}" if model in MODELS["gpt"].sizes else model
    config = make_recipe(name, settings).model
    if not isinstance(config, TransformerConfig):
        raise WenmoError(f"{model} is no Transformer: plans are made for gpt and transformer")
    asked = 20.0 * planning.count_weights(config, vocab_size) if tokens is None else tokens
    return planning.plan(
        config,
        vocab_size=vocab_size,
        gpu=gpu,
        gpus=gpus,
        tokens=asked,
        utilization=utilization,
        rows=rows,
        price=price,
    )


def read_prompts(
    path: Source,
    run: Run,
    *,
    encoding: str | None = None,
    on_progress: ProgressCallback | None = None,
) -> list[str]:
    """What to write for: a line each of a plain text, or records of another format.

    For a run that was trained on pairs these are the sources, and an empty line stays in its place.

    Args:
        encoding: of the file; ``None`` detects it.
        on_progress: receives what the user should know of how the file was read.
    """
    paired = run.task.paired and run.task.name != "completion"
    if paired and not has_fields(path):
        reader = Reader(path, ReadConfig(encoding=encoding), aligned=True)
        text = "".join(record.text for record in reader)
        prompts = text.removesuffix("\n").split("\n")
    else:
        field = run.card.recipe.read.source_field if paired else None
        reader = Reader(path, ReadConfig(unit="line", text_field=field, encoding=encoding))
        prompts = [record.text for record in reader]
    _tell_notes(reader, on_progress)
    return prompts


def read_texts(
    path: Source,
    run: Run,
    *,
    encoding: str | None = None,
    on_progress: ProgressCallback | None = None,
) -> list[str]:
    """Texts of a kind, read as the run reads those it is trained on.

    Args:
        encoding: of the file; ``None`` detects it.
        on_progress: receives what the user should know of how the file was read.
    """
    read = replace(run.card.recipe.read, encoding=encoding)
    reader = Reader(path, for_other_data(read, plain=not has_fields(path)))
    texts = [record.text for record in reader]
    _tell_notes(reader, on_progress)
    return texts


def _tell_notes(reader: Reader, on_progress: ProgressCallback | None) -> None:
    if on_progress is not None:
        for note in reader.notes:
            on_progress(note, None)


def write_file(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
        **more: further settings by their short names: ``minutes=2, hidden_size=512``.

    Raises:
        WenmoError: the user's input is at fault.
        Interrupted: the user pressed Ctrl-C; all is saved.
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


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in after.items() if before[key] != value}


def _stem(data: Any) -> str:
    if not isinstance(data, str | os.PathLike):
        return "data"
    name = "stdin" if str(data) == "-" else Path(data).name
    return name.split(".")[0] or "run"
