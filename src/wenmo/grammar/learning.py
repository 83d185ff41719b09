"""Weights learnt from texts by counting: how often each alternative is expected to have been taken.

Expectation–maximisation (Dempster et al. 1977) over the forests of the texts. Where conditions
leave only some of a rule's alternatives, the step that maximises is that of Hunter (2004, "MM
algorithms for generalized Bradley-Terry models", section 4), which is the plain share of the counts
where they leave all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wenmo.grammar.ast import Grammar
from wenmo.grammar.cfg import START, Cfg
from wenmo.grammar.chart import Chart
from wenmo.grammar.fixpoint import paths
from wenmo.grammar.forests import Floats, Forests
from wenmo.grammar.weights import flat, probabilities, reweighted
from wenmo.types import WenmoError

ENOUGH = 1e-7  # nats a text that a round must gain


@dataclass(frozen=True)
class Round:
    """What one round of learning came to.

    Attributes:
        grammar: with the weights before the round.
        nats: of the texts under it, minus their log-probability.
    """

    grammar: Grammar
    nats: float


def gather(
    chart: Chart, texts: Mapping[str, int], progress: Callable[[float], None] | None = None
) -> Forests:
    """The derivations of texts.

    Args:
        texts: how often each was seen.
        progress: told the share that is done.

    Raises:
        WenmoError: the grammar cannot write one of them.
    """
    forests = Forests(chart)
    for number, (text, count) in enumerate(texts.items(), 1):
        if not forests.add(text, count):
            raise WenmoError(_impossible(chart, text))
        if progress is not None:
            progress(number / len(texts))
    return forests


def learn(
    grammar: Grammar,
    forests: Forests,
    *,
    rounds: int,
    prior: float,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Round]:
    """Learn weights, round after round; the last grammar is the best.

    Args:
        grammar: with the weights to begin from.
        forests: the derivations of the texts under it; their chart takes other weights.
        rounds: at most so many; fewer where nothing more is gained.
        prior: as how many uses of each rule the weights that it has now count.
        progress: told the share that is done.
    """
    cfg, frozen = forests.chart.cfg, forests.freeze()
    first = flat(probabilities(grammar))
    total, before = float(frozen.counts.sum()) + forests.empty, math.inf
    for number in range(rounds + 1):
        logs, counts = frozen.expect(_log_weights(cfg, forests))
        nats = _nats(cfg, forests, float(logs @ frozen.counts), float(frozen.counts.sum()))
        yield Round(grammar, nats)
        if number == rounds or before - nats < ENOUGH * total:
            return
        before = nats
        takings = _counts_of_takings(cfg, forests, counts)
        grammar = reweighted(grammar, _maximised(cfg, grammar, takings, first, prior))
        cfg.weigh_as(grammar)
        if progress is not None:
            progress((number + 1) / rounds)


def _nats(cfg: Cfg, forests: Forests, logprob: float, count: float) -> float:
    """Of all texts; the forests are of those that are not empty, given that."""
    empty = cfg.nothing[START]
    nats = -logprob - (count * math.log1p(-empty) if count else 0.0)
    return nats - (forests.empty * math.log(empty) if forests.empty else 0.0)


def _log_weights(cfg: Cfg, forests: Forests) -> Floats:
    chains = [cfg.chains.get(above, {above: 1.0}).get(end, 0.0) for above, end in forests.chains]
    with np.errstate(divide="ignore"):
        return np.log(np.array([*cfg.variant_weights, *chains]))


def _counts_of_takings(cfg: Cfg, forests: Forests, counts: Floats) -> Floats:
    """How often each taking is expected, from how often variants and chains are."""
    variants = counts[: len(cfg.variants)].copy()
    for (above, end), number in forests.chains.items():
        _count_links(cfg, above, end, float(counts[len(cfg.variants) + number]), variants)
    productions = np.zeros(len(cfg.productions))
    empty = {START: forests.empty}
    for variant, count in zip(cfg.variants, variants.tolist(), strict=True):
        if count > 0:
            productions[variant.production] += count
            for symbol in variant.dropped:
                empty[symbol] = empty.get(symbol, 0.0) + count
    _count_nothing(cfg, empty, productions)
    takings = np.zeros(len(cfg.expansion.takings))
    for production, count in zip(cfg.productions, productions.tolist(), strict=True):
        for taking in production.takings:
            takings[taking] += count
    return takings


def _count_links(cfg: Cfg, above: int, end: int, count: float, variants: Floats) -> None:
    """Add how often each link has a part in a chain that is expected ``count`` times."""
    rows, whole = cfg.chains, cfg.chains.get(above, {above: 1.0}).get(end, 0.0)
    if count <= 0 or above not in rows:
        return
    reached = rows[above]
    for head, symbol, variant in cfg.links:
        if head in reached:
            rest = rows.get(symbol, {symbol: 1.0}).get(end, 0.0)
            variants[variant] += count * reached[head] * cfg.variant_weights[variant] * rest / whole


def _count_nothing(cfg: Cfg, empty: Mapping[int, float], productions: Floats) -> None:
    """Add how often each production is expected where symbols write nothing."""
    silent: dict[int, list[tuple[int, float]]] = {}
    inside: dict[int, dict[int, float]] = {}
    for number, production in enumerate(cfg.productions):
        head, body = production.head, production.body
        weight = cfg.weights[number] / cfg.nothing[head] if cfg.nothing[head] > 0 else 0.0
        for part in body:
            weight *= cfg.nothing[part] if isinstance(part, int) else 0.0
        if weight > 0:
            silent.setdefault(head, []).append((number, weight))
            own = inside.setdefault(head, {})
            for part in body:
                own[int(part)] = own.get(int(part), 0.0) + weight
    rows = paths(inside)
    for symbol, count in empty.items():
        for within, times in rows.get(symbol, {symbol: 1.0}).items() if count > 0 else ():
            for number, weight in silent.get(within, ()):
                productions[number] += count * times * weight


def _maximised(
    cfg: Cfg, grammar: Grammar, counts: Floats, first: Sequence[float], prior: float
) -> list[float]:
    """The weights that these counts, and the prior's, make likeliest."""
    now = flat(probabilities(grammar))
    taken_of, asked = np.zeros(len(now)), np.zeros(len(now))
    uses: dict[tuple[int, ...], float] = {}
    for taking, count in zip(cfg.expansion.takings, counts.tolist(), strict=True):
        taken_of[taking.alternative] += count
        uses[taking.among] = uses.get(taking.among, 0.0) + count
    for among, count in uses.items():
        total = sum(now[at] for at in among)
        for at in among if total > 0 else ():
            asked[at] += count / total
    weights: list[float] = []
    for rule in grammar.rules.values():
        places = range(len(weights), len(weights) + len(rule))
        new = [
            float((taken_of[at] + prior * first[at]) / (asked[at] + prior))
            if asked[at] + prior
            else 0.0
            for at in places
        ]
        weights += new if sum(new) > 0 else [now[at] for at in places]
    return weights


def _impossible(chart: Chart, text: str) -> str:
    """Where a text leaves the grammar, in a line."""
    column, at = chart.start, 0
    while at < len(text) and (after := chart.advance(column, text[at])) is not None:
        column, at = after, at + 1
    shown = text if len(text) <= 60 else text[:57] + "..."
    where = f"at {text[at : at + 10]!r}, character {at + 1}" if at < len(text) else "where it ends"
    return f"the grammar cannot write the text {shown!r}: it leaves it {where}"
