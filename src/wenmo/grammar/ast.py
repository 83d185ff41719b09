"""The syntax tree of a grammar: rules, their alternatives, and the nodes of an alternative.

The notation is Tracery's: ``#animal.s#`` calls a rule and modifies its text, ``[hero:#name#]``
pushes a text onto the stack of a name, ``[hero:POP]`` pops it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from wenmo.grammar.modifiers import Modifier


class Call(NamedTuple):
    """A call of a rule, or of the texts saved under its name.

    Attributes:
        symbol: name of the rule; empty if the call has only actions.
        modifiers: functions applied to the text, from left to right.
        actions: actions run before the call; what they save is popped after it.
        group: agreement group: calls of the same group within an alternative agree in their
            features, and the features of group ``""`` are also those of the alternative. None: no
            agreement.
    """

    symbol: str
    modifiers: tuple[Modifier, ...] = ()
    actions: tuple[Action, ...] = ()
    group: str | None = None


class Save(NamedTuple):
    """Expand each value once and push the texts under a name; a call of the name picks one of
    them.
    """

    name: str
    values: tuple[tuple[Node, ...], ...]


class Pop(NamedTuple):
    """Pop the texts that were saved last under a name."""

    name: str


class Evaluate(NamedTuple):
    """Expand nodes for the texts they save; their own text is dropped."""

    nodes: tuple[Node, ...]


class Feature(NamedTuple):
    """The value of a feature that the calls of a group share, such as a measure word."""

    group: str
    name: str
    modifiers: tuple[Modifier, ...] = ()


Action: TypeAlias = "Save | Pop | Evaluate"
Node: TypeAlias = "str | Call | Save | Pop | Evaluate | Feature"
Features: TypeAlias = "frozenset[tuple[str, str]]"


@dataclass(frozen=True)
class Alternative:
    """One right-hand side of a rule.

    Attributes:
        nodes: its nodes, in order.
        weight: relative frequency among the rule's alternatives, at least 0.
        conditions: names, and the texts of which one must be saved under each.
        features: names and values, for agreement.
        source: the text in the grammar file.
    """

    nodes: tuple[Node, ...]
    weight: float = 1.0
    conditions: tuple[tuple[str, tuple[str, ...]], ...] = ()
    features: Features = frozenset()
    source: str = ""


@dataclass(frozen=True)
class Grammar:
    """A set of rules that generate texts.

    Attributes:
        rules: the alternatives of each rule, by its name.
        start: name of the start rule.
        depth: nesting depth from which only the alternatives that end soonest are used (default
            100).
        saved: texts saved at the start of each derivation, by name.
        display_names: display names of rules, where they differ from their names.
    """

    rules: Mapping[str, tuple[Alternative, ...]]
    start: str
    depth: int = 100
    saved: Mapping[str, str] = field(default_factory=dict)
    display_names: Mapping[str, str] = field(default_factory=dict)

    def display_name(self, rule: str) -> str:
        """The display name of a rule."""
        return self.display_names.get(rule, rule)

    @property
    def is_stateful(self) -> bool:
        """Whether saved texts can affect what is generated."""
        alternatives = [a for rule in self.rules.values() for a in rule]
        has_actions = any(
            isinstance(node, Save | Pop) for a in alternatives for node in walk(a.nodes)
        )
        return has_actions or bool(self.saved) or any(a.conditions for a in alternatives)


def walk(nodes: tuple[Node, ...]) -> Iterator[Node]:
    """All nodes in order, those nested in actions included."""
    for node in nodes:
        if isinstance(node, Call):
            yield from walk(node.actions)
        yield node
        if isinstance(node, Save):
            for value in node.values:
                yield from walk(value)
        elif isinstance(node, Evaluate):
            yield from walk(node.nodes)


def called_rules(nodes: tuple[Node, ...]) -> list[str]:
    """The names of the called rules, once for each call."""
    return [node.symbol for node in walk(nodes) if isinstance(node, Call) and node.symbol]
