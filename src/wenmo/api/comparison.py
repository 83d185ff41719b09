"""Several runs on the same text: how likely they find it, and how good and varied they write."""

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
    """Score the same text with several runs, whatever their families and tokenizers.

    Args:
        runs: to compare.
        data: the text.
        target: the texts that answer the lines of ``data``, a line each.
        stride: as of `Run.evaluate`.
        encoding: of the text; ``None`` detects it.
        on_progress: is told the share that is done.

    Returns:
        The runs, the best (fewest bits per byte) first; at the end those that cannot score this
        text, with the ``problem``.

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
    if rows and rows[0].problem and not any(row.evaluation for row in rows):
        raise WenmoError(rows[0].problem)
    return sorted(rows, key=_bits_per_byte)


def _bits_per_byte(row: ComparedRun) -> float:
    return math.inf if row.evaluation is None else row.evaluation.bits_per_byte


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


def _scored(run: Run | str | Path, data: Source, **options: Any) -> ComparedRun:
    """What a run makes of a text, or why it cannot score it."""
    name = str(run.folder if isinstance(run, Run) else run)
    try:
        opened = run if isinstance(run, Run) else load(run)
        evaluation = opened.evaluate(data, **options)
    except WenmoError as error:
        return ComparedRun(name, problem=str(error))
    return ComparedRun(name, opened.card.recipe.family, evaluation)


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
    curves: dict[str, Curve] = {}
    verdicts: dict[str, TradeoffVerdict] = {}
    for run in opened:
        own = run.evaluator.tradeoff(references, temperatures, texts, on_progress, **sampling)
        curves |= own.curves
        verdicts |= own.verdicts
    return Tradeoff(curves, verdicts)
