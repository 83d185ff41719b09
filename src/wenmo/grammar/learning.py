"""Maximum-likelihood estimation of alternative weights from texts.

Expectation-maximisation (Dempster et al. 1977) over parse forests. Where conditions exclude some of
a rule's alternatives, the M-step is that of Hunter (2004, "MM algorithms for generalized
Bradley-Terry models", section 4); without conditions it reduces to relative counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wenmo.grammar.ast import Grammar
from wenmo.grammar.cfg import START, Cfg
from wenmo.grammar.chart import Chart
from wenmo.grammar.fixpoint import path_sums
from wenmo.grammar.forests import Floats, Forests
from wenmo.grammar.weights import flatten, probabilities, with_weights
from wenmo.types import WenmoError

MIN_IMPROVEMENT = 1e-7  # nats per text; training stops at a smaller improvement


@dataclass(frozen=True)
class Iteration:
    """The result of one iteration.

    Attributes:
        grammar: the grammar with the weights before the iteration.
        nats: negative log-probability of the texts under it, in nats.
    """

    grammar: Grammar
    nats: float


def build_forests(
    chart: Chart, texts: Mapping[str, int], progress: Callable[[float], None] | None = None
) -> Forests:
    """The parse forests of texts.

    Args:
        texts: count of each text.
        progress: called with the fraction done.

    Raises:
        WenmoError: the grammar cannot generate a text.
    """
    forests = Forests(chart)
    for number, (text, count) in enumerate(texts.items(), 1):
        if not forests.add(text, count):
            raise WenmoError(_impossible_text(chart, text))
        if progress is not None:
            progress(number / len(texts))
    return forests


def learn_weights(
    grammar: Grammar,
    forests: Forests,
    *,
    rounds: int,
    prior: float,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Iteration]:
    """Estimate weights; each iteration's grammar is at least as good as the one before.

    Args:
        grammar: grammar with the initial weights.
        forests: parse forests of the texts under it; the weights of their chart are changed.
        rounds: maximum number of iterations.
        prior: pseudo-count of each rule, distributed by the initial weights.
        progress: called with the fraction done.
    """
    cfg, packed = forests.chart.cfg, forests.pack()
    initial = flatten(probabilities(grammar))
    total, before = float(packed.counts.sum()) + forests.empty, math.inf
    for number in range(rounds + 1):
        logs, counts = packed.inside_outside(_log_weights(cfg, forests))
        nats = _nats(cfg, forests, float(logs @ packed.counts), float(packed.counts.sum()))
        yield Iteration(grammar, nats)
        if number == rounds or before - nats < MIN_IMPROVEMENT * total:
            return
        before = nats
        choices = _choice_counts(cfg, forests, counts)
        grammar = with_weights(grammar, _maximise(cfg, grammar, choices, initial, prior))
        cfg.set_weights(grammar)
        if progress is not None:
            progress((number + 1) / rounds)


def _nats(cfg: Cfg, forests: Forests, logprob: float, count: float) -> float:
    """The negative log-probability of all texts; those of the forests are conditioned on not being
    empty.
    """
    empty = cfg.empty_prob[START]
    nats = -logprob - (count * math.log1p(-empty) if count else 0.0)
    return nats - (forests.empty * math.log(empty) if forests.empty else 0.0)


def _log_weights(cfg: Cfg, forests: Forests) -> Floats:
    chains = [
        cfg.unit_closure.get(above, {above: 1.0}).get(end, 0.0) for above, end in forests.chains
    ]
    with np.errstate(divide="ignore"):
        return np.log(np.array([*cfg.variant_weights, *chains]))


def _choice_counts(cfg: Cfg, forests: Forests, counts: Floats) -> Floats:
    """The expected count of each choice, from those of variants and chains."""
    variants = counts[: len(cfg.variants)].copy()
    for (above, end), number in forests.chains.items():
        _add_unit_counts(cfg, above, end, float(counts[len(cfg.variants) + number]), variants)
    productions = np.zeros(len(cfg.productions))
    empty = {START: forests.empty}
    for variant, count in zip(cfg.variants, variants.tolist(), strict=True):
        if count > 0:
            productions[variant.production] += count
            for symbol in variant.dropped:
                empty[symbol] = empty.get(symbol, 0.0) + count
    _add_empty_counts(cfg, empty, productions)
    choices = np.zeros(len(cfg.expanded.choices))
    for production, count in zip(cfg.productions, productions.tolist(), strict=True):
        for choice in production.choices:
            choices[choice] += count
    return choices


def _add_unit_counts(cfg: Cfg, above: int, end: int, count: float, variants: Floats) -> None:
    """Add the expected counts of the unit productions in a chain with count ``count``."""
    closure = cfg.unit_closure
    if count <= 0 or above not in closure:
        return
    reached = closure[above]
    chain_weight = reached.get(end, 0.0)
    for head, symbol, variant in cfg.unit_productions:
        if head in reached:
            rest = closure.get(symbol, {symbol: 1.0}).get(end, 0.0)
            variants[variant] += (
                count * reached[head] * cfg.variant_weights[variant] * rest / chain_weight
            )


def _add_empty_counts(cfg: Cfg, empty: Mapping[int, float], productions: Floats) -> None:
    """Add the expected counts of the productions in derivations of the empty string."""
    empty_productions: dict[int, list[tuple[int, float]]] = {}
    edges: dict[int, dict[int, float]] = {}
    for number, production in enumerate(cfg.productions):
        head, body = production.head, production.body
        weight = cfg.weights[number] / cfg.empty_prob[head] if cfg.empty_prob[head] > 0 else 0.0
        for item in body:
            weight *= cfg.empty_prob[item] if isinstance(item, int) else 0.0
        if weight > 0:
            empty_productions.setdefault(head, []).append((number, weight))
            row = edges.setdefault(head, {})
            for item in body:
                row[int(item)] = row.get(int(item), 0.0) + weight
    closure = path_sums(edges)
    for symbol, count in empty.items():
        for within, expected in closure.get(symbol, {symbol: 1.0}).items() if count > 0 else ():
            for number, weight in empty_productions.get(within, ()):
                productions[number] += count * expected * weight


def _maximise(
    cfg: Cfg, grammar: Grammar, counts: Floats, initial: Sequence[float], prior: float
) -> list[float]:
    """The weights that maximise the likelihood of the counts and the prior."""
    current = flatten(probabilities(grammar))
    chosen, normalisers = np.zeros(len(current)), np.zeros(len(current))
    uses: dict[tuple[int, ...], float] = {}
    for choice, count in zip(cfg.expanded.choices, counts.tolist(), strict=True):
        chosen[choice.alternative] += count
        uses[choice.candidates] = uses.get(choice.candidates, 0.0) + count
    for candidates, count in uses.items():
        total = sum(current[index] for index in candidates)
        for index in candidates if total > 0 else ():
            normalisers[index] += count / total
    weights: list[float] = []
    for rule in grammar.rules.values():
        indices = range(len(weights), len(weights) + len(rule))
        new = [
            float((chosen[index] + prior * initial[index]) / (normalisers[index] + prior))
            if normalisers[index] + prior
            else 0.0
            for index in indices
        ]
        weights += new if sum(new) > 0 else [current[index] for index in indices]
    return weights


def _impossible_text(chart: Chart, text: str) -> str:
    """An error message with the position where a text leaves the grammar."""
    column, index = chart.start, 0
    while index < len(text) and (after := chart.advance(column, text[index])) is not None:
        column, index = after, index + 1
    shown = text if len(text) <= 60 else text[:57] + "..."
    where = (
        f"at {text[index : index + 10]!r}, character {index + 1}"
        if index < len(text)
        else "at its end"
    )
    return f"the grammar cannot generate the text {shown!r}: it fails {where}"
