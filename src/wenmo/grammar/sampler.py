"""Texts drawn from a grammar, each with the choices that made it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from wenmo.grammar.ast import Alternative, Call, Do, Forget, Grammar, Part, Save, calls
from wenmo.grammar.checks import TALLEST, alternative_height, heights, reachable, saved_names
from wenmo.grammar.fixpoint import components
from wenmo.grammar.weights import probabilities
from wenmo.grammar.writing import (
    Calling,
    Choice,
    Derivation,
    Doing,
    Forgetting,
    Saved,
    Saving,
    Table,
    Writing,
    holds,
    retold,
)
from wenmo.types import WenmoError


class Drawn(NamedTuple):
    """A text, and the choices that made it."""

    text: str
    trace: Sequence[Choice]

    @property
    def logprob(self) -> float:
        """Of the derivation: the text may have others."""
        return math.fsum(choice.logprob for choice in self.trace)

    @property
    def derivation(self) -> Derivation | None:
        """Which rules made it, if rules did."""
        return retold(iter(self.trace)) if self.trace else None


class Sampler:
    """Draws texts by a grammar's weights, or all derivations alike.

    A text depends on its seed alone. Where rules are ``depth`` deep within one another, only what
    ends soonest is taken.

    Args:
        uniform: make every derivation of at most ``depth`` rules within one another as likely as
            any other, whatever the weights.
        depth: in place of the grammar's own.

    Raises:
        WenmoError: uniform, where texts are saved, or where a rule comes back to itself and no
            depth was given; or nothing ends within the depth.
    """

    def __init__(
        self, grammar: Grammar, *, uniform: bool = False, depth: int | None = None
    ) -> None:
        self._start = list(grammar.rules).index(grammar.start)
        self._saved: Saved = {name: [(text,)] for name, text in grammar.saved.items()}
        limit = grammar.depth if depth is None else depth
        if uniform:
            _check_countable(grammar, depth)
            self._levels: Sequence[dict[int, Table]] = _uniform_levels(grammar, limit)
        else:
            self._levels = _weighed_levels(grammar, limit)

    def draw(self, seed: int) -> Drawn:
        """The text of a seed, from 0 to 2**64 - 1.

        Raises:
            WenmoError: it is too long, or a rule has no alternative that may be taken.
        """
        writing = Writing(self._levels, self._saved, seed)
        return Drawn(writing.rule(self._start, 0), writing.trace)


class _Level(dict[int, Table]):
    """The tables of the rules at one depth, each made when it is first asked for.

    Args:
        shares: how likely each rule's alternatives are.
        tall: how many rules within one another each takes; where given, only those alternatives are
            taken that take the fewest.
    """

    def __init__(
        self,
        grammar: Grammar,
        shares: dict[str, list[float]],
        tall: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.grammar, self.shares, self.tall = grammar, shares, tall
        self.names = list(grammar.rules)
        self.compile = _Compiler(grammar)

    def __missing__(self, number: int) -> Table:
        name = self.names[number]
        rule = self.grammar.rules[name]
        if any(alternative.when for alternative in rule):
            tables: dict[tuple[int, ...], Table] = {}
            self[number] = Table((), (), partial(self.allowed, name, tables))
        else:
            self[number] = self.table(name, range(len(rule)))
        return self[number]

    def allowed(self, name: str, tables: dict[tuple[int, ...], Table], saved: Saved) -> Table:
        """The alternatives of a rule whose conditions hold."""
        rule = self.grammar.rules[name]
        kept = tuple(at for at, a in enumerate(rule) if holds(a.when, saved))
        if kept not in tables:
            tables[kept] = self.table(name, kept)
        if not tables[kept].choices:
            now = ", ".join(f"{key}: {' or '.join(s[-1])}" for key, s in saved.items() if s)
            raise WenmoError(
                f"rule {self.grammar.shown(name)!r} has no alternative for what is saved "
                f"({now or 'nothing'}): give it one without conditions"
            )
        return tables[kept]

    def table(self, name: str, kept: Sequence[int]) -> Table:
        """Of some of a rule's alternatives alone."""
        rule, shares = self.grammar.rules[name], self.shares[name]
        likely = [at for at in kept if shares[at]]
        if self.tall is not None and likely:
            heights_of = {at: alternative_height(rule[at], self.tall) for at in likely}
            soonest = min(heights_of.values())
            likely = [at for at in likely if heights_of[at] == soonest]
        total, running = math.fsum(shares[at] for at in likely), 0.0
        sums, choices = [], []
        for at in likely:
            running += shares[at] / total
            sums.append(running)
            choices.append(self.compile.choice(name, rule[at], math.log(shares[at] / total)))
        return Table([*sums[:-1], 1.0], choices)


class _Compiler:
    """From alternatives to choices."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.numbers = {name: number for number, name in enumerate(grammar.rules)}
        self.saved = frozenset(saved_names(grammar))

    def choice(self, name: str, alternative: Alternative, logprob: float) -> Choice:
        parts = tuple(map(self.part, alternative.parts))
        text = "".join(parts) if all(type(part) is str for part in parts) else None
        other = parts[0] if len(parts) == 1 and isinstance(parts[0], int) else None
        return Choice(self.grammar.shown(name), parts, text, other, logprob, alternative.source)

    def part(self, part: Part) -> Any:
        if isinstance(part, Call):
            return self.call(part)
        if isinstance(part, Save):
            return Saving(part.name, tuple(tuple(map(self.part, v)) for v in part.values))
        if isinstance(part, Forget):
            return Forgetting(part.name)
        return Doing(tuple(map(self.part, part.parts))) if isinstance(part, Do) else part

    def call(self, part: Call) -> int | Calling:
        number = self.numbers.get(part.symbol)
        simple = not (part.modifiers or part.before or part.symbol in self.saved)
        if simple and number is not None:
            return number
        return Calling(number, part.symbol, part.modifiers, tuple(map(self.part, part.before)))


class _Beyond(dict[int, Table]):
    """Deeper than any rule needs: conditions have left none of what ends."""

    def __missing__(self, number: int) -> Table:
        raise WenmoError("the grammar's conditions leave it no way to end a text")


def _weighed_levels(grammar: Grammar, limit: int) -> list[dict[int, Table]]:
    """By weight up to the limit, and what ends soonest from there on."""
    shares, tall = probabilities(grammar), heights(grammar)
    levels: list[dict[int, Table]] = [_Level(grammar, shares)] * limit
    levels += [_Level(grammar, shares, tall)] * (TALLEST + 1)
    return [*levels, _Beyond()]


def _uniform_levels(grammar: Grammar, limit: int) -> list[_Level]:
    """Level n chooses among derivations of which ``limit - n`` rules within one another are left:
    an alternative by how many ways there are to write it.
    """
    inside = {
        name: [calls(a.parts) if a.weight else None for a in grammar.rules[name]]
        for name in reachable(grammar)
    }
    counts = dict.fromkeys(inside, -math.inf)  # logarithms of how many there are
    levels: list[_Level] = []
    for _ in range(limit):
        ways = {
            name: [
                -math.inf if called is None else sum(counts[other] for other in called)
                for called in rule
            ]
            for name, rule in inside.items()
        }
        before, counts = counts, {name: _log_sum(each) for name, each in ways.items()}
        shares = {
            name: [math.exp(n - counts[name]) if n > -math.inf else 0.0 for n in each]
            for name, each in ways.items()
        }
        levels.append(levels[-1] if counts == before else _Level(grammar, shares))
    if counts[grammar.start] == -math.inf:
        needed = heights(grammar)[grammar.start]
        raise WenmoError(f"no text ends within depth {limit}: the first takes {needed}")
    return levels[::-1]


def _check_countable(grammar: Grammar, depth: int | None) -> None:
    if grammar.stateful:
        raise WenmoError(
            "derivations cannot be drawn alike where texts are saved, since what may be written "
            "depends on them: sample by weight"
        )
    called = {
        name: [called for a in rule if a.weight for called in calls(a.parts)]
        for name, rule in grammar.rules.items()
    }
    again = [part for part in components(called) if len(part) > 1 or part[0] in called[part[0]]]
    known = set(reachable(grammar))
    endless = [name for part in again for name in part if name in known]
    if endless and depth is None:
        raise WenmoError(
            f"there are derivations without end, since rule {grammar.shown(endless[0])!r} comes "
            "back to itself: give a depth up to which they are drawn alike"
        )


def _log_sum(terms: Sequence[float]) -> float:
    most = max(terms)
    if most == -math.inf:
        return most
    return most + math.log(math.fsum(math.exp(term - most) for term in terms))
