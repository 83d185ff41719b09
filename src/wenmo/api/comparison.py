"""Several runs on the same text: likelihood, and quality against diversity of what they write."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from wenmo.api.prompts import read_texts
from wenmo.api.run import Run, load
from wenmo.evaluation.results import ComparedRun, Curve, Tradeoff, TradeoffVerdict
from wenmo.evaluation.tradeoff import TEMPERATURES
from wenmo.progress import ProgressCallback
from wenmo.text.inputs import Source, rereadable
from wenmo.text.objects import as_source
from wenmo.types import WenmoError


def compare(
    runs: Sequence[Run | str | Path],
    data: Source | Iterable[Any],
    *,
    target: Source | None = None,
    stride: int | None = None,
    encoding: str | None = None,
    on_progress: ProgressCallback | None = None,
) -> list[ComparedRun]:
    """Score the same text with several runs; their families and tokenizers may differ.

    Args:
        runs: runs or run folders.
        data: the text.
        target: a file with the target of each line of ``data``, one a line.
        stride: see `Run.evaluate`.
        encoding: encoding of the text; ``None`` detects it.
        on_progress: called with an activity and its completed fraction.

    Returns:
        The runs by bits per byte, the best first. Runs that cannot score the text are at the end,
        each with its ``problem``.

    Raises:
        WenmoError: the text does not exist, or no run can score it.
    """
    data = as_source(data)
    options = {
        "stride": stride,
        "encoding": encoding,
        "on_progress": on_progress and _without_repeated_notes(on_progress),
    }
    target = None if target is None else rereadable(target)
    rows = [_evaluate_run(run, data, target=target, **options) for run in runs]
    if rows and rows[0].problem and not any(row.evaluation for row in rows):
        raise WenmoError(rows[0].problem)
    return sorted(rows, key=_bits_per_byte)


def _bits_per_byte(row: ComparedRun) -> float:
    return math.inf if row.evaluation is None else row.evaluation.bits_per_byte


def _without_repeated_notes(on_progress: ProgressCallback) -> ProgressCallback:
    """A callback that drops repeated notes: every run reads the same data."""
    notes: set[str] = set()

    def forward(activity: str, fraction: float | None) -> None:
        if fraction is None and activity in notes:
            return
        if fraction is None:
            notes.add(activity)
        on_progress(activity, fraction)

    return forward


def _evaluate_run(run: Run | str | Path, data: Source, **options: Any) -> ComparedRun:
    """The evaluation of a run on a text, or the reason why it cannot score it."""
    name = str(run.folder if isinstance(run, Run) else run)
    try:
        loaded = run if isinstance(run, Run) else load(run)
        evaluation = loaded.evaluate(data, **options)
    except WenmoError as error:
        return ComparedRun(name, problem=str(error))
    return ComparedRun(name, loaded.card.recipe.family, evaluation)


def tradeoff(
    runs: Sequence[Run | str | Path],
    data: Source,
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    texts: int = 200,
    encoding: str | None = None,
    on_progress: ProgressCallback | None = None,
    **sampling: Any,
) -> Tradeoff:
    """Measure quality against diversity of generated texts over temperatures.

    The references are the texts of a file; see `wenmo.evaluation.tradeoff`.

    Args:
        runs: runs or run folders, of models that generate without a source. If a model has
            baselines, such as the same generator trained by likelihood alone, these get curves too.
        data: the reference texts, one a record, read with the settings of the first run.
        temperatures: sampling temperatures, above 0.
        texts: number of texts for each run and temperature (default 200).
        encoding: encoding of the file; ``None`` detects it.
        on_progress: called with an activity and its completed fraction.
        **sampling: further settings of ``Sampling``.

    Raises:
        WenmoError: a run needs sources, there are no reference texts, or ``temperatures`` or
            ``texts`` is out of range.
    """
    if not temperatures or not all(0 < t < 100 for t in temperatures):
        raise WenmoError("temperatures must be numbers above 0, as in 0.7,1.0")
    if texts < 2:
        raise WenmoError(f"diversity compares texts: at least 2 are needed, not {texts}")
    loaded = [run if isinstance(run, Run) else load(run) for run in runs]
    references = read_texts(data, loaded[0], encoding=encoding, on_progress=on_progress)
    if not any(text.strip() for text in references):
        raise WenmoError(f"{data}: no reference text")
    curves: dict[str, Curve] = {}
    verdicts: dict[str, TradeoffVerdict] = {}
    for run in loaded:
        result = run.evaluator.tradeoff(references, temperatures, texts, on_progress, **sampling)
        curves |= result.curves
        verdicts |= result.verdicts
    return Tradeoff(curves, verdicts)
