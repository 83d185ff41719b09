"""Evaluations, comparisons and explanations as lines and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import singledispatch

from rich.table import Table
from rich.text import Text

from wenmo.apps.cli.show.terminal import OUT, align_columns, format_number, print_note, visible
from wenmo.evaluation.results import (
    ComparedRun,
    Evaluation,
    ExplainedToken,
    LatentUsage,
    Metric,
    MixtureComponent,
    PairEvaluation,
    RecordEvaluation,
    Tradeoff,
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
MIN_SHARE = 0.01  # components with less of a token's probability are not named


@singledispatch
def print_evaluation(result: Evaluation) -> None:
    """Print the figures of an evaluation."""
    _print_likelihood(result)


@print_evaluation.register
def _(result: RecordEvaluation) -> None:
    _print_likelihood(result)
    OUT.print(f"{amount(result.records, 'record')}, {result.nats_per_record:.2f} nats each")
    if result.latent_usage is not None:
        OUT.print(latents_line(result.latent_usage))
    if result.importance_weighted is not None:
        weighted = result.importance_weighted
        OUT.print(
            f"by {amount(weighted.samples, 'importance-weighted draw')}: "
            f"{likelihood_line(weighted)}, {weighted.nats_per_record:.2f} nats a record"
        )
    if result.records_left_out:
        print_note(f"too long for the model: {amount(result.records_left_out, 'record')} left out")
    for name, baseline in result.baselines.items():
        OUT.print(f"{name}: {likelihood_line(baseline)}")


@print_evaluation.register
def _(result: PairEvaluation) -> None:
    _print_likelihood(result)
    for line in align_columns(
        [(METRIC_NAMES[n], metric_line(m)) for n, m in result.metrics.items()]
    ):
        OUT.print(line)
    if result.pairs_left_out or result.sources_cut:
        left_out = amount(result.pairs_left_out, "target")
        shortened = amount(result.sources_cut, "source")
        print_note(f"too long for the model: {left_out} left out, {shortened} cut")


def _print_likelihood(result: Evaluation) -> None:
    OUT.print(likelihood_line(result))
    OUT.print(f"{amount(result.tokens, 'token')}, {amount(result.bytes, 'byte')}")


def likelihood_line(result: Evaluation) -> str:
    """Bits per byte, nats per token and perplexity."""
    if result.bits_per_byte == math.inf:
        return "impossible: a token has probability 0 (wenmo explain shows where)"
    sign = "≤ " if result.bound else ""
    return (
        f"{sign}{result.bits_per_byte:.4f} bits per byte, {result.nats_per_token:.4f} nats per "
        f"token, perplexity {format_number(result.perplexity, 2)}"
    )


def latents_line(usage: LatentUsage) -> str:
    """The use of the latents: KL divergence, mutual information, active latents."""
    return (
        f"KL {usage.kl:.2f}, mutual information {usage.mutual_information:.2f}, "
        f"{usage.active_latents} of {usage.latents} latents active"
    )


def metric_line(metric: Metric) -> str:
    """A metric with its interval; without one, with its number of texts."""
    if metric.low is None or metric.high is None:
        return f"{metric.value:.2f} ({amount(metric.texts, 'pair')})"
    return f"{metric.value:.2f} ({metric.low:.2f} to {metric.high:.2f})"


def print_comparison(rows: Sequence[ComparedRun]) -> None:
    """Print a table of runs on one text, and the reasons why some were not scored."""
    scored = [(row, row.evaluation) for row in rows if row.evaluation is not None]
    has_intervals = any(result.low is not None for _, result in scored)
    cells = [("run", "model", "bits/byte", "95 %" if has_intervals else "", "nats/token", "tokens")]
    for row, result in scored:
        cells.append(
            (
                row.run,
                row.model or "",
                f"{'≤ ' if result.bound else ''}{format_number(result.bits_per_byte, 4)}",
                "" if result.low is None else f"{result.low:.4f} to {result.high:.4f}",
                format_number(result.nats_per_token, 4),
                f"{result.tokens:,}",
            )
        )
    for line in align_columns(cells, right={2, 3, 4, 5}) if scored else []:
        OUT.print(Text(line))
    for row in rows:
        if row.problem is not None:
            print_note(f"{row.run}: not scored: {row.problem}")


def print_tradeoff(result: Tradeoff) -> None:
    """Print quality and diversity at each temperature, and the verdicts."""
    table = Table(box=None, pad_edge=False)
    for column in ("", "temperature", "BLEU-2 to 5", "Self-BLEU-2 to 5"):
        table.add_column(column, justify="right" if column else "left", overflow="fold")
    for name, curve in result.curves.items():
        for row, point in enumerate(curve):
            figures = (
                " ".join(f"{value:.3f}" for value in scores.values())
                for scores in (point.bleu, point.self_bleu)
            )
            table.add_row("" if row else Text(name), f"{point.temperature:g}", *figures)
    OUT.print(table)
    for name, verdict in result.verdicts.items():
        OUT.print(Text(f"beside {name}: {verdict.text}"))


def print_explanation(rows: Sequence[ExplainedToken]) -> None:
    """Print a text token by token: probability, rank, likeliest token, mixture components."""
    is_mixture = any(row.mixture_components is not None for row in rows)
    table = Table(box=None, pad_edge=False)
    for column in (
        "token",
        "probability",
        "rank",
        "expected",
        *(["components"] if is_mixture else []),
    ):
        right = column in ("probability", "rank")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in rows:
        expected = f"{visible(row.likeliest)} {row.likeliest_probability:.0%}"
        figures = (f"{row.probability:.2%}", str(row.rank), "" if row.rank == 1 else expected)
        components = (
            [] if row.mixture_components is None else [_top_components(row.mixture_components)]
        )
        table.add_row(Text(visible(row.token)), *map(Text, figures), *components)
    OUT.print(table)


def _top_components(components: Sequence[MixtureComponent]) -> str:
    """The two components that gave most of a token's probability."""
    top = sorted(components, key=lambda component: -component.share)[:2]
    return ", ".join(f"{each.name} {each.share:.0%}" for each in top if each.share >= MIN_SHARE)
