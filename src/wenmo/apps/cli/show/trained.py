"""What a training came to, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from rich.table import Table

from wenmo.apps.cli.show.evaluations import (
    METRIC_NAMES,
    latents_line,
    likelihood_line,
    metric_line,
    tradeoff,
)
from wenmo.apps.cli.show.terminal import OUT, clock
from wenmo.evaluation.results import (
    ChosenSampling,
    Evaluation,
    Forecast,
    Originality,
    PairEvaluation,
    RecordEvaluation,
    Sample,
    Verdict,
)
from wenmo.runs.results import TrainingResult
from wenmo.types import amount

if TYPE_CHECKING:
    from wenmo.api import Run

RAW_BITS = 8.0  # per byte, of text as it is stored
FEW_ANSWERS = 16  # fewer pairs, and BLEU says next to nothing


def trained(run: Run) -> None:
    """What a training came to, and what to do next."""
    result = TrainingResult.from_dict(run.card.results)
    table = Table(show_header=False, box=None)
    for row in [*heldout_rows(result.heldout), *_training_rows(result)]:
        table.add_row(*row)
    table.add_row("run folder", str(run.folder))
    OUT.print(table)
    if result.tradeoff is not None:
        tradeoff(result.tradeoff)
        OUT.print(f"drawn: {run.folder / 'tradeoff.svg'}")
    OUT.print(f"\nNext: {use(run.folder, run.task.name)}", markup=False)


def heldout_rows(found: Evaluation) -> Iterator[tuple[str, str]]:
    """The evaluation of held-out text, in short lines, each with its name."""
    yield "held out", likelihood_line(found)
    if found.sample is not None:
        yield "", _sample_line(found, found.sample)
    if isinstance(found, RecordEvaluation) and found.latent_usage is not None:
        yield "latents", latents_line(found.latent_usage)
    if isinstance(found, PairEvaluation):
        yield from _answer_rows(found)


def _training_rows(result: TrainingResult) -> Iterator[tuple[str, str]]:
    """What followed the evaluation."""
    if result.forgetting is not None:
        before, after = result.forgetting.before, result.forgetting.after
        yield "reference", f"{before:.4f} bits per byte before, {after:.4f} after"
    if isinstance(result.heldout, RecordEvaluation):
        for name, baseline in result.heldout.baselines.items():
            yield f"and {name}", likelihood_line(baseline)
    seconds = result.time.get("total", result.seconds)  # with all evaluations
    yield "training", f"{clock(seconds)}, {amount(result.steps, 'step')}"
    yield "parameters", f"{result.parameters:,}"
    if result.characters_per_second is not None:
        yield "writing", f"{result.characters_per_second:,.0f} characters/s"
    if result.sampling is not None:
        yield "writes at", sampling_line(result.sampling)
    if result.verdict is not None:
        yield from verdict_rows(result.verdict)


def _answer_rows(found: PairEvaluation) -> list[tuple[str, str]]:
    """The metrics of what pairs were answered, or that time was too short to measure any."""
    answered = min((metric.texts for metric in found.metrics.values()), default=0)
    if found.metrics and answered < min(FEW_ANSWERS, found.pairs):
        told = f"{answered} of {amount(found.pairs, 'held-out pair')} written in time: "
        return [("answers", f"{told}too few to measure (full_evaluation=true: all)")]
    return [(METRIC_NAMES[name], metric_line(metric)) for name, metric in found.metrics.items()]


def _sample_line(found: Evaluation, sample: Sample) -> str:
    """What a sample of the held-out text tells of all of it."""
    interval = "" if found.low is None else f"{found.low:.3f}–{found.high:.3f} (95%), "
    return f"{interval}{sample.share:.1%} of it; all: full_evaluation=true"


def use(folder: Path, task: str) -> str:
    """The command that uses a run: to chat, or to generate."""
    name = quote(str(folder))
    return f"wenmo chat {name}" if task == "dialogue" else f'wenmo generate {name} --prompt "..."'


def sampling_line(chosen: ChosenSampling) -> str:
    """Temperature and top-p of a run, and the share of what is new that is highest beside that of
    held-out text.
    """
    told = f"temperature {chosen.temperature:g}"
    if chosen.top_p < 1:
        told += f", top-p {chosen.top_p:g}"
    written, heldout = chosen.written, chosen.heldout
    if written is None or heldout is None:
        return f"{told} ({chosen.reason})"
    told_of = [name for name in ("new_words", "new_pairs") if written[name] or heldout[name]]
    name = max(told_of or ["new_words"], key=lambda each: written[each] - heldout[each])
    shares = f"{name.replace('_', ' ')} {written[name]:.1%} (held-out text {heldout[name]:.1%})"
    return f"{told}: {shares}"


def verdict_rows(found: Verdict) -> list[tuple[str, str]]:
    """What a run is worth, in short lines, each with its name."""
    lines = []
    own, counts = found.bits_per_byte, found.counts_bits_per_byte
    if own is not None and own > RAW_BITS:
        lines.append(("quality", f"worse than raw bytes: {own:.3f} bits per byte, those take 8"))
    elif own is not None and counts is not None:
        share = found.counts_share
        of = f" of {share:.0%} of the text" if share < 1 else ""
        beside = f"bits per byte {{}} {'' if of else 'plain '}counts{of} ({own:.3f}, {counts:.3f})"
        if own <= counts:
            lines.append(("quality", f"{counts - own:.3f} {beside.format('below')}"))
        else:
            lines.append(("quality", f"worse: {own - counts:.3f} {beside.format('above')}"))
    if found.originality is not None:
        lines.append(("samples", _originality_line(found.originality)))
    if found.forecast is not None:
        lines.append(("more time", _forecast_line(found.forecast)))
    return [*lines, ("to try", found.advice)]


def _originality_line(found: Originality) -> str:
    told = []
    if found.invented_words is not None:
        told.append(f"new words {found.invented_words:.1%}")
        told.append(f"new characters {found.invented_characters:.1%}")
    told.append(f"repeated {found.repeated:.0%}")
    told.append(f"longest copy {found.longest_copy}")
    return ", ".join(told)


def _forecast_line(ahead: Forecast) -> str:
    """What twice the time would gain."""
    if ahead.overfits:
        return f"gains nothing: best at {ahead.best_at:.0%}, then learnt by heart"
    gain, low, high = ahead.gain, ahead.low, ahead.high
    return f"twice as much: {gain:.3f} bits per byte less ({low:.3f}–{high:.3f})"
