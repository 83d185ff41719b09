"""Agreement: parts that must have the same features, compiled into rules that need none.

A rule is parted into one for each set of features that what it writes can have, and an alternative
with parts that agree into one for each way in which they can. Of an alternative's weight each way
gets a share that is proportional to the product of how likely its parts are to have those features.
So with one measure word for each class of nouns, nouns are as frequent as their weights say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

from wenmo.grammar.ast import Alternative, Call, Do, Feature, Features, Grammar, Part, Save, walk
from wenmo.types import WenmoError

MOST_WAYS = 1_000_000  # that are tried
ROUNDS = 1000
NONE: Features = frozenset()
HEAD = ""  # the group whose features are the alternative's own


def agreed(grammar: Grammar, where: str) -> Grammar:
    """The same grammar without features; as it is where it has none.

    Raises:
        WenmoError: parts that never agree, a feature that is not always there, or too many ways.
    """
    alternatives = [a for rule in grammar.rules.values() for a in rule]
    asks = any(
        isinstance(part, Feature) or (isinstance(part, Call) and part.group is not None)
        for a in alternatives
        for part in walk(a.parts)
    )
    return _Agreement(grammar, where).parted() if asks else grammar


@dataclass(frozen=True)
class _Way:
    """How an alternative's parts can agree.

    Attributes:
        alternative: where its features are written out already.
        asked: the features that its part at a place must have.
        features: of what it writes.
    """

    alternative: Alternative
    asked: tuple[tuple[int, Features], ...]
    features: Features


class _Agreement:
    def __init__(self, grammar: Grammar, where: str) -> None:
        self.grammar, self.where = grammar, where
        self.sets: dict[str, set[Features]] = {name: set() for name in grammar.rules}
        self.ways: dict[str, list[list[_Way]]] = {}
        self.tried = 0
        self._find_sets()
        self.ways = {name: self._ways_of(name) for name in grammar.rules}
        self.shares = self._find_shares()

    def parted(self) -> Grammar:
        """The rules that the start needs, each for the features that are asked of it."""
        start = (self.grammar.start, None)
        todo: list[tuple[str, Features | None]] = [start]
        rules: dict[str, tuple[Alternative, ...]] = {}
        names: dict[str, str] = {}
        while todo:
            rule, features = todo.pop()
            name = self._name(rule, features)
            if name in rules:
                continue
            rules[name], names[name] = tuple(self._alternatives(rule, features, todo)), rule
            if not rules[name]:
                raise WenmoError(f"{self.where}: rule {rule!r} has no parts that agree and end")
        grammar = self.grammar
        return Grammar(rules, grammar.start, grammar.depth, grammar.saved, names)

    # -- which features a rule can have ----------------------------------------------------------

    def _find_sets(self) -> None:
        """What a rule writes has the features of its alternatives, and these of their parts."""
        changed = True
        while changed:
            changed = False
            for name, rule in self.grammar.rules.items():
                for alternative in rule:
                    found = {way.features for way in self._agreeing(name, alternative)}
                    changed = changed or not found <= self.sets[name]
                    self.sets[name] |= found

    def _ways_of(self, name: str) -> list[list[_Way]]:
        """For each alternative of a rule, in which ways its parts can agree."""
        every = []
        for alternative in self.grammar.rules[name]:
            ways = list(self._agreeing(name, alternative))
            if not ways and alternative.weight:
                raise WenmoError(
                    f"{self.where}: rule {name!r}: the parts of {alternative.source!r} never agree"
                )
            every.append([replace(way, alternative=self._spelled(name, way)) for way in ways])
        return every

    def _agreeing(self, name: str, alternative: Alternative) -> Iterator[_Way]:
        groups: dict[str, list[int]] = {}
        for place, part in enumerate(alternative.parts):
            if isinstance(part, Call) and part.group is not None:
                groups.setdefault(part.group, []).append(place)
        places = [place for group in groups.values() for place in group]
        sets = [self._sets_of(alternative.parts[place]) for place in places]
        self.tried += prod(map(len, sets)) - 1
        if self.tried > MOST_WAYS:
            raise WenmoError(
                f"{self.where}: rule {name!r}: {alternative.source!r} can agree in too many ways"
            )
        for chosen in product(*sets):
            asked = dict(zip(places, chosen, strict=True))
            united = {
                group: _union([asked[place] for place in own]) for group, own in groups.items()
            }
            head = _union([alternative.features, united.get(HEAD, NONE) or NONE])
            if head is not None and None not in united.values():
                yield _Way(alternative, tuple(asked.items()), head)

    def _sets_of(self, part: Part) -> Sequence[Features]:
        return sorted(self.sets.get(_symbol(part), {NONE}), key=sorted)

    def _spelled(self, name: str, way: _Way) -> Alternative:
        """The alternative with its features written out."""
        asked = dict(way.asked)
        parts: list[Part] = []
        for part in way.alternative.parts:
            if isinstance(part, Save | Do) and any(map(_agrees, walk((part,)))):
                raise WenmoError(f"{self.where}: rule {name!r}: @ cannot stand within an action")
            if not isinstance(part, Feature):
                parts.append(part)
                continue
            own = [
                features
                for place, features in asked.items()
                if getattr(way.alternative.parts[place], "group", None) == part.group
            ]
            known = dict(way.features if part.group == HEAD else _union(own) or NONE)
            if part.name not in known:
                raise WenmoError(
                    f"{self.where}: rule {name!r} writes the feature {part.name!r} in "
                    f"{way.alternative.source!r}, and not all that it agrees with has one"
                )
            text = known[part.name]
            for modifier in part.modifiers:
                text = modifier(text)
            parts.append(text)
        # The places of calls must stay: nothing is dropped or joined.
        return replace(way.alternative, parts=tuple(parts))

    # -- how likely a rule is to have them -------------------------------------------------------

    def _find_shares(self) -> dict[tuple[str, Features], float]:
        """The share of a rule's weight that has certain features."""
        shares = {(rule, own): 1.0 / len(all_) for rule, all_ in self.sets.items() for own in all_}
        self.shares = shares
        for _ in range(ROUNDS):
            found = dict.fromkeys(shares, 0.0)
            for rule in self.sets:
                weighed = [pair for pairs in self._weighed(rule) for pair in pairs]
                total = sum(weight for _, weight in weighed)
                for way, weight in weighed:
                    found[rule, way.features] += weight / total if total else 0.0
            changed = max(abs(found[key] - shares[key]) for key in shares)
            self.shares = shares = found
            if changed < 1e-14:
                break
        return shares

    def _weighed(self, rule: str) -> Iterator[list[tuple[_Way, float]]]:
        """For each alternative, its ways and the weight that each has of the alternative's."""
        for ways in self.ways[rule]:
            likely = [self._likely(way) for way in ways]
            total = sum(likely)
            yield [
                (way, way.alternative.weight * part / total)
                for way, part in zip(ways, likely, strict=True)
                if part
            ]

    def _likely(self, way: _Way) -> float:
        parts = way.alternative.parts
        return prod(
            self.shares.get((_symbol(parts[place]), features), 1.0) for place, features in way.asked
        )

    # -- the rules without features --------------------------------------------------------------

    def _alternatives(
        self, rule: str, features: Features | None, todo: list[tuple[str, Features | None]]
    ) -> Iterator[Alternative]:
        for weighed in self._weighed(rule):
            for way, weight in weighed:
                if features is not None and way.features != features:
                    continue
                asked = dict(way.asked)
                parts: list[Part] = []
                for place, part in enumerate(way.alternative.parts):
                    within = (inner for inner in walk((part,)) if inner is not part)
                    todo += [(s, None) for s in map(_symbol, within) if s in self.sets]
                    if isinstance(part, Call):
                        wanted, symbol = asked.get(place), part.symbol
                        if symbol in self.sets:
                            todo.append((symbol, wanted))
                            symbol = self._name(symbol, wanted)
                        part = part._replace(symbol=symbol, group=None)
                    parts.append(part)
                yield replace(way.alternative, parts=tuple(parts), weight=weight)

    def _name(self, rule: str, features: Features | None) -> str:
        if features is None or len(self.sets[rule]) == 1:
            return rule
        name = f"{rule}|{','.join(f'{key}={value}' for key, value in sorted(features))}"
        while name in self.grammar.rules:
            name += "|"
        return name


def _symbol(part: Part) -> str:
    return part.symbol if isinstance(part, Call) else ""


def _agrees(part: Part) -> bool:
    return isinstance(part, Feature) or (isinstance(part, Call) and part.group is not None)


def _union(sets: Sequence[Features]) -> Features | None:
    """All features of the sets; None where two differ."""
    united: dict[str, str] = {}
    for features in sets:
        for name, value in features:
            if united.setdefault(name, value) != value:
                return None
    return frozenset(united.items())
