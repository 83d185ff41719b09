"""Agreement between the features of calls, compiled into plain rules.

A rule becomes one rule for each set of features that its texts can have, and an alternative with
agreeing calls one alternative for each consistent assignment of features to them. The weight of an
alternative is divided among its assignments in proportion to the product of the probabilities that
its calls have those features. So with one measure word for each class of nouns, nouns are as
frequent as their weights say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

from wenmo.grammar.ast import (
    Alternative,
    Call,
    Evaluate,
    Feature,
    Features,
    Grammar,
    Node,
    Save,
    walk,
)
from wenmo.types import WenmoError

MAX_ASSIGNMENTS = 1_000_000  # tried in all
MAX_ITERATIONS = 1000
NO_FEATURES: Features = frozenset()
HEAD_GROUP = ""  # the group whose features the alternative has, too


def compile_agreement(grammar: Grammar, where: str) -> Grammar:
    """The equivalent grammar without features; the grammar itself if it has none.

    Raises:
        WenmoError: calls that never agree, a feature without a value, or too many assignments.
    """
    alternatives = [a for rule in grammar.rules.values() for a in rule]
    has_agreement = any(_has_agreement(node) for a in alternatives for node in walk(a.nodes))
    return _Agreement(grammar, where).compile() if has_agreement else grammar


@dataclass(frozen=True)
class _Assignment:
    """A consistent assignment of features to the calls of an alternative.

    Attributes:
        alternative: the alternative, with the values of its features filled in.
        required: index of each agreeing call, and the features that it must have.
        features: features of the resulting text.
    """

    alternative: Alternative
    required: tuple[tuple[int, Features], ...]
    features: Features


class _Agreement:
    def __init__(self, grammar: Grammar, where: str) -> None:
        self.grammar, self.where = grammar, where
        self.feature_sets: dict[str, set[Features]] = {name: set() for name in grammar.rules}
        self.assignments: dict[str, list[list[_Assignment]]] = {}
        self.tried = 0
        self._find_feature_sets()
        self.assignments = {name: self._assignments_of(name) for name in grammar.rules}
        self.probs = self._find_probs()

    def compile(self) -> Grammar:
        """The rules reachable from the start, one for each set of features that is required."""
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
                raise WenmoError(
                    f"{self.where}: rule {rule!r} has no alternative that agrees and ends"
                )
        grammar = self.grammar
        return Grammar(rules, grammar.start, grammar.depth, grammar.saved, names)

    # -- feature sets ---------------------------------------------------------------------------

    def _find_feature_sets(self) -> None:
        """Find the feature sets of each rule: a fixed point over alternatives and their calls."""
        changed = True
        while changed:
            changed = False
            for name, rule in self.grammar.rules.items():
                for alternative in rule:
                    found = {
                        assignment.features for assignment in self._assignments(name, alternative)
                    }
                    changed = changed or not found <= self.feature_sets[name]
                    self.feature_sets[name] |= found

    def _assignments_of(self, name: str) -> list[list[_Assignment]]:
        """The assignments of each alternative of a rule."""
        found = []
        for alternative in self.grammar.rules[name]:
            assignments = list(self._assignments(name, alternative))
            if not assignments and alternative.weight:
                raise WenmoError(
                    f"{self.where}: rule {name!r}: the calls of {alternative.source!r} never agree"
                )
            found.append(
                [
                    replace(assignment, alternative=self._fill_in(name, assignment))
                    for assignment in assignments
                ]
            )
        return found

    def _assignments(self, name: str, alternative: Alternative) -> Iterator[_Assignment]:
        """The consistent assignments of an alternative."""
        groups: dict[str, list[int]] = {}
        for index, node in enumerate(alternative.nodes):
            if isinstance(node, Call) and node.group is not None:
                groups.setdefault(node.group, []).append(index)
        indices = [index for group in groups.values() for index in group]
        sets = [self._sets_of(alternative.nodes[index]) for index in indices]
        self.tried += prod(map(len, sets)) - 1
        if self.tried > MAX_ASSIGNMENTS:
            raise WenmoError(
                f"{self.where}: rule {name!r}: {alternative.source!r} has too many "
                "combinations of features"
            )
        for chosen in product(*sets):
            required = dict(zip(indices, chosen, strict=True))
            united = {
                group: _union([required[index] for index in members])
                for group, members in groups.items()
            }
            head = _union(
                [alternative.features, united.get(HEAD_GROUP, NO_FEATURES) or NO_FEATURES]
            )
            if head is not None and None not in united.values():
                yield _Assignment(alternative, tuple(required.items()), head)

    def _sets_of(self, node: Node) -> Sequence[Features]:
        return sorted(self.feature_sets.get(_symbol(node), {NO_FEATURES}), key=sorted)

    def _fill_in(self, name: str, assignment: _Assignment) -> Alternative:
        """The alternative with the values of its features filled in."""
        required = dict(assignment.required)
        nodes: list[Node] = []
        for node in assignment.alternative.nodes:
            if isinstance(node, Save | Evaluate) and any(map(_has_agreement, walk((node,)))):
                raise WenmoError(f"{self.where}: rule {name!r}: @ is not allowed in an action")
            if not isinstance(node, Feature):
                nodes.append(node)
                continue
            members = [
                features
                for index, features in required.items()
                if getattr(assignment.alternative.nodes[index], "group", None) == node.group
            ]
            known = dict(
                assignment.features if node.group == HEAD_GROUP else _union(members) or NO_FEATURES
            )
            if node.name not in known:
                raise WenmoError(
                    f"{self.where}: rule {name!r} uses the feature {node.name!r} in "
                    f"{assignment.alternative.source!r}, but not every alternative it agrees with "
                    "has it"
                )
            text = known[node.name]
            for modifier in node.modifiers:
                text = modifier(text)
            nodes.append(text)
        # Indices of calls must not change, so no node is dropped or joined.
        return replace(assignment.alternative, nodes=tuple(nodes))

    # -- probabilities of feature sets ----------------------------------------------------------

    def _find_probs(self) -> dict[tuple[str, Features], float]:
        """The probability of each feature set among the texts of a rule."""
        probs = {
            (rule, features): 1.0 / len(sets)
            for rule, sets in self.feature_sets.items()
            for features in sets
        }
        self.probs = probs
        for _ in range(MAX_ITERATIONS):
            found = dict.fromkeys(probs, 0.0)
            for rule in self.feature_sets:
                weighted = [pair for pairs in self._split_weights(rule) for pair in pairs]
                total = sum(weight for _, weight in weighted)
                for assignment, weight in weighted:
                    found[rule, assignment.features] += weight / total if total else 0.0
            changed = max(abs(found[key] - probs[key]) for key in probs)
            self.probs = probs = found
            if changed < 1e-14:
                break
        return probs

    def _split_weights(self, rule: str) -> Iterator[list[tuple[_Assignment, float]]]:
        """For each alternative, its assignments with their parts of its weight."""
        for assignments in self.assignments[rule]:
            probs = [self._prob_of(assignment) for assignment in assignments]
            total = sum(probs)
            yield [
                (assignment, assignment.alternative.weight * prob / total)
                for assignment, prob in zip(assignments, probs, strict=True)
                if prob
            ]

    def _prob_of(self, assignment: _Assignment) -> float:
        nodes = assignment.alternative.nodes
        return prod(
            self.probs.get((_symbol(nodes[index]), features), 1.0)
            for index, features in assignment.required
        )

    # -- rules without features -----------------------------------------------------------------

    def _alternatives(
        self, rule: str, features: Features | None, todo: list[tuple[str, Features | None]]
    ) -> Iterator[Alternative]:
        for weighted in self._split_weights(rule):
            for assignment, weight in weighted:
                if features is not None and assignment.features != features:
                    continue
                required = dict(assignment.required)
                nodes: list[Node] = []
                for index, node in enumerate(assignment.alternative.nodes):
                    nested = (inner for inner in walk((node,)) if inner is not node)
                    todo += [(s, None) for s in map(_symbol, nested) if s in self.feature_sets]
                    if isinstance(node, Call):
                        own_features, symbol = required.get(index), node.symbol
                        if symbol in self.feature_sets:
                            todo.append((symbol, own_features))
                            symbol = self._name(symbol, own_features)
                        node = node._replace(symbol=symbol, group=None)
                    nodes.append(node)
                yield replace(assignment.alternative, nodes=tuple(nodes), weight=weight)

    def _name(self, rule: str, features: Features | None) -> str:
        if features is None or len(self.feature_sets[rule]) == 1:
            return rule
        name = f"{rule}|{','.join(f'{key}={value}' for key, value in sorted(features))}"
        while name in self.grammar.rules:
            name += "|"
        return name


def _symbol(node: Node) -> str:
    return node.symbol if isinstance(node, Call) else ""


def _has_agreement(node: Node) -> bool:
    return isinstance(node, Feature) or (isinstance(node, Call) and node.group is not None)


def _union(sets: Sequence[Features]) -> Features | None:
    """The union of feature sets; None if two values of a feature differ."""
    united: dict[str, str] = {}
    for features in sets:
        for name, value in features:
            if united.setdefault(name, value) != value:
                return None
    return frozenset(united.items())
