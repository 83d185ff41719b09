"""The result of a training as a table, with the next command."""

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
    print_tradeoff,
)
from wenmo.apps.cli.show.terminal import OUT, format_duration
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

RAW_BITS = 8.0  # per byte, of a uniform distribution over bytes
MIN_ANSWERS = 16  # BLEU of fewer pairs means little


def print_training_result(run: Run) -> None:
    """Print the result of a training and the next command."""
    result = TrainingResult.from_dict(run.card.results)
    table = Table(show_header=False, box=None)
    for row in [*heldout_rows(result.heldout), *_training_rows(result)]:
        table.add_row(*row)
    table.add_row("run folder", str(run.folder))
    OUT.print(table)
    if result.tradeoff is not None:
        print_tradeoff(result.tradeoff)
        OUT.print(f"plot written: {run.folder / 'tradeoff.svg'}")
    OUT.print(f"\nNext: {usage_command(run.folder, run.task.name)}", markup=False)


def heldout_rows(result: Evaluation) -> Iterator[tuple[str, str]]:
    """The rows of the evaluation on held-out text: name and value."""
    yield "held out", likelihood_line(result)
    if result.sample is not None:
        yield "", _sample_line(result, result.sample)
    if isinstance(result, RecordEvaluation) and result.latent_usage is not None:
        yield "latents", latents_line(result.latent_usage)
    if isinstance(result, PairEvaluation):
        yield from _answer_rows(result)


def _training_rows(result: TrainingResult) -> Iterator[tuple[str, str]]:
    """The rows of everything else: forgetting, time, speed, sampling and verdict."""
    if result.forgetting is not None:
        before, after = result.forgetting.before, result.forgetting.after
        yield "reference", f"{before:.4f} bits per byte before, {after:.4f} after"
    if isinstance(result.heldout, RecordEvaluation):
        for name, baseline in result.heldout.baselines.items():
            yield f"and {name}", likelihood_line(baseline)
    seconds = result.time.get("total", result.seconds)  # evaluations included
    yield "training", f"{format_duration(seconds)}, {amount(result.steps, 'step')}"
    yield "parameters", f"{result.parameters:,}"
    if result.characters_per_second is not None:
        yield "writing", f"{result.characters_per_second:,.0f} characters/s"
    if result.sampling is not None:
        yield "writes at", sampling_line(result.sampling)
    if result.verdict is not None:
        yield from verdict_rows(result.verdict)


def _answer_rows(result: PairEvaluation) -> list[tuple[str, str]]:
    """The rows of the answers' metrics, or one row if there were too few answers to measure."""
    answered = min((metric.texts for metric in result.metrics.values()), default=0)
    if result.metrics and answered < min(MIN_ANSWERS, result.pairs):
        pairs = amount(result.pairs, "held-out pair")
        line = f"{answered} of {pairs} written in time: too few to measure"
        return [("answers", f"{line} (full_evaluation=true: all)")]
    return [(METRIC_NAMES[name], metric_line(metric)) for name, metric in result.metrics.items()]


def _sample_line(result: Evaluation, sample: Sample) -> str:
    """The interval of a figure on a sample of the held-out text, and the sample's size."""
    interval = "" if result.low is None else f"{result.low:.3f}–{result.high:.3f} (95%), "
    return f"{interval}{sample.share:.1%} of it; all: full_evaluation=true"


def usage_command(folder: Path, task: str) -> str:
    """The command that uses a run: ``chat`` or ``generate``."""
    name = quote(str(folder))
    return f"wenmo chat {name}" if task == "dialogue" else f'wenmo generate {name} --prompt "..."'


def sampling_line(chosen: ChosenSampling) -> str:
    """Temperature and top-p of a run with a novelty figure beside that of held-out text.

    The figure, new words or new pairs of words, is the one that exceeds held-out text the most.
    """
    line = f"temperature {chosen.temperature:g}"
    if chosen.top_p < 1:
        line += f", top-p {chosen.top_p:g}"
    written, heldout = chosen.written, chosen.heldout
    if written is None or heldout is None:
        return f"{line} ({chosen.reason})"
    nonzero = [name for name in ("new_words", "new_pairs") if written[name] or heldout[name]]
    name = max(nonzero or ["new_words"], key=lambda each: written[each] - heldout[each])
    novelty = f"{name.replace('_', ' ')} {written[name]:.1%} (held-out text {heldout[name]:.1%})"
    return f"{line}: {novelty}"


def verdict_rows(result: Verdict) -> list[tuple[str, str]]:
    """The rows of the verdict on a run: quality, samples, more time and advice."""
    rows = []
    model_bits, count_bits = result.bits_per_byte, result.counts_bits_per_byte
    if model_bits is not None and model_bits > RAW_BITS:
        line = f"worse than raw bytes: {model_bits:.3f} bits per byte, those take 8"
        rows.append(("quality", line))
    elif model_bits is not None and count_bits is not None:
        fraction = result.counts_share
        counts = f"counts of {fraction:.0%} of the text" if fraction < 1 else "plain counts"
        figures = f"{counts} ({model_bits:.3f}, {count_bits:.3f})"
        if model_bits <= count_bits:
            line = f"{count_bits - model_bits:.3f} bits per byte below {figures}"
        else:
            line = f"worse: {model_bits - count_bits:.3f} bits per byte above {figures}"
        rows.append(("quality", line))
    if result.originality is not None:
        rows.append(("samples", _originality_line(result.originality)))
    if result.forecast is not None:
        rows.append(("more time", _forecast_line(result.forecast)))
    return [*rows, ("to try", result.advice)]


def _originality_line(result: Originality) -> str:
    figures = []
    if result.invented_words is not None:
        figures.append(f"new words {result.invented_words:.1%}")
        figures.append(f"new characters {result.invented_characters:.1%}")
    figures.append(f"repeated {result.repeated:.0%}")
    figures.append(f"longest copy {result.longest_copy}")
    return ", ".join(figures)


def _forecast_line(forecast: Forecast) -> str:
    """The expected gain of twice the training time."""
    if forecast.overfits:
        return f"gains nothing: best at {forecast.best_at:.0%}, then learnt by heart"
    gain, low, high = forecast.gain, forecast.low, forecast.high
    return f"twice as much: {gain:.3f} bits per byte less ({low:.3f}–{high:.3f})"
