"""Evaluations in lines and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import singledispatch

from rich.table import Table
from rich.text import Text

from wenmo.apps.cli.show.terminal import OUT, aligned, note, number
from wenmo.evaluation.results import (
    ComparedRun,
    Evaluation,
    ExplainedToken,
    LatentUsage,
    Metric,
    PairEvaluation,
    RecordEvaluation,
    Tradeoff,
    Voice,
)
from wenmo.types import amount

METRIC_NAMES = {
    "bleu": "BLEU",
    "bleu_lowercase": "BLEU lower-cased",
    "chrf": "chrF",
    "ter": "TER",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "exact": "exact",
    "distinct1": "distinct-1",
    "distinct2": "distinct-2",
}
LOUD = 0.01  # the share of a token's probability from which a component is named


@singledispatch
def evaluation(found: Evaluation) -> None:
    """The figures of an evaluation."""
    _likelihood(found)


@evaluation.register
def _(found: RecordEvaluation) -> None:
    _likelihood(found)
    OUT.print(f"{amount(found.records, 'record')}, {found.nats_per_record:.2f} nats each")
    if found.latent_usage is not None:
        OUT.print(latents_line(found.latent_usage))
    if found.importance_weighted is not None:
        weighted = found.importance_weighted
        OUT.print(
            f"by {amount(weighted.samples, 'importance-weighted draw')}: "
            f"{likelihood_line(weighted)}, {weighted.nats_per_record:.2f} nats a record"
        )
    if found.records_left_out:
        note(f"too long for the model: {amount(found.records_left_out, 'record')} left out")
    for name, baseline in found.baselines.items():
        OUT.print(f"{name}: {likelihood_line(baseline)}")


@evaluation.register
def _(found: PairEvaluation) -> None:
    _likelihood(found)
    for line in aligned([(METRIC_NAMES[n], metric_line(m)) for n, m in found.metrics.items()]):
        OUT.print(line)
    if found.pairs_left_out or found.sources_cut:
        left_out = amount(found.pairs_left_out, "target")
        shortened = amount(found.sources_cut, "source")
        note(f"too long for the model: {left_out} left out, {shortened} cut")


def _likelihood(found: Evaluation) -> None:
    OUT.print(likelihood_line(found))
    OUT.print(f"{amount(found.tokens, 'token')}, {amount(found.bytes, 'byte')}")


def likelihood_line(found: Evaluation) -> str:
    """Bits per byte, nats per token and perplexity."""
    if found.bits_per_byte == math.inf:
        return "impossible: some of the text has no probability at all (wenmo explain tells where)"
    sign = "≤ " if found.bound else ""
    return (
        f"{sign}{found.bits_per_byte:.4f} bits per byte, {found.nats_per_token:.4f} nats per "
        f"token, perplexity {number(found.perplexity, 2)}"
    )


def latents_line(usage: LatentUsage) -> str:
    """What the latents of a model hold."""
    return (
        f"KL {usage.kl:.2f}, mutual information {usage.mutual_information:.2f}, "
        f"{usage.active_latents} of {usage.latents} latents active"
    )


def metric_line(metric: Metric) -> str:
    """A metric with its interval, or with how few texts it was measured on."""
    if metric.low is None or metric.high is None:
        return f"{metric.value:.2f} ({amount(metric.texts, 'pair')})"
    return f"{metric.value:.2f} ({metric.low:.2f} to {metric.high:.2f})"


def compared(rows: Sequence[ComparedRun]) -> None:
    """Runs beside each other on one text, and why some could not be scored."""
    scored = [(row, row.evaluation) for row in rows if row.evaluation is not None]
    bounded = any(found.low is not None for _, found in scored)
    cells = [("run", "model", "bits/byte", "95 %" if bounded else "", "nats/token", "tokens")]
    for row, found in scored:
        cells.append(
            (
                row.run,
                row.model or "",
                f"{'≤ ' if found.bound else ''}{number(found.bits_per_byte, 4)}",
                "" if found.low is None else f"{found.low:.4f} to {found.high:.4f}",
                number(found.nats_per_token, 4),
                f"{found.tokens:,}",
            )
        )
    for line in aligned(cells, right={2, 3, 4, 5}) if scored else []:
        OUT.print(Text(line))
    for row in rows:
        if row.problem is not None:
            note(f"{row.run}: not scored: {row.problem}")


def tradeoff(found: Tradeoff) -> None:
    """Quality and diversity at each temperature, and who wins."""
    table = Table(box=None, pad_edge=False)
    for column in ("", "temperature", "BLEU-2 to 5", "Self-BLEU-2 to 5"):
        table.add_column(column, justify="right" if column else "left", overflow="fold")
    for name, curve in found.curves.items():
        for place, point in enumerate(curve):
            told = (
                " ".join(f"{value:.3f}" for value in scores.values())
                for scores in (point.bleu, point.self_bleu)
            )
            table.add_row("" if place else Text(name), f"{point.temperature:g}", *told)
    OUT.print(table)
    for name, verdict in found.verdicts.items():
        OUT.print(Text(f"beside {name}: {verdict.text}"))


def explained(rows: Sequence[ExplainedToken]) -> None:
    """A text token by token, each with what was expected and who said it."""
    mixed = any(row.voices is not None for row in rows)
    table = Table(box=None, pad_edge=False)
    for column in ("token", "probability", "rank", "expected", *(["said by"] if mixed else [])):
        right = column in ("probability", "rank")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in rows:
        expected = f"{_visible(row.likeliest)} {row.likeliest_probability:.0%}"
        figures = (f"{row.probability:.2%}", str(row.rank), "" if row.rank == 1 else expected)
        loudest = [] if row.voices is None else [_loudest(row.voices)]
        table.add_row(Text(_visible(row.token)), *map(Text, figures), *loudest)
    OUT.print(table)


def _loudest(voices: Sequence[Voice]) -> str:
    """The two components that gave most of a token's probability."""
    first = sorted(voices, key=lambda voice: -voice.share)[:2]
    return ", ".join(f"{each.name} {each.share:.0%}" for each in first if each.share >= LOUD)


def _visible(token: str) -> str:
    """A token with its blanks to be seen."""
    return token.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")
