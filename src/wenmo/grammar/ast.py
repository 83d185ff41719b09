"""A grammar as data: rules, the alternatives of each, and the parts that an alternative is made of.

The language of the parts is Tracery's: ``#animal.s#`` calls a rule and modifies what it writes,
``[hero:#name#]`` saves what a rule writes under a name, ``[hero:POP]`` forgets it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from wenmo.grammar.modifiers import Modifier


class Call(NamedTuple):
    """What a rule writes, or what is saved under its name.

    Attributes:
        symbol: the rule; empty where there are only actions.
        modifiers: applied from left to right to what it writes.
        before: actions that go before it; what they save is forgotten again after it.
        group: parts of one alternative with the same group agree; those of the group ``""`` give
            the alternative their features, too. None: it agrees with nothing.
    """

    symbol: str
    modifiers: tuple[Modifier, ...] = ()
    before: tuple[Action, ...] = ()
    group: str | None = None


class Save(NamedTuple):
    """Write each of the values once, and keep them under a name: its calls choose one of them."""

    name: str
    values: tuple[tuple[Part, ...], ...]


class Forget(NamedTuple):
    """Drop what was last saved under a name, so that what was saved before it is back."""

    name: str


class Do(NamedTuple):
    """Write something for what it saves alone; its text is dropped."""

    parts: tuple[Part, ...]


class Feature(NamedTuple):
    """The value of a feature on which the parts of a group agree, such as a measure word."""

    group: str
    name: str
    modifiers: tuple[Modifier, ...] = ()


Action: TypeAlias = "Save | Forget | Do"
Part: TypeAlias = "str | Call | Save | Forget | Do | Feature"
Features: TypeAlias = "frozenset[tuple[str, str]]"


@dataclass(frozen=True)
class Alternative:
    """One way to write what a rule stands for.

    Attributes:
        parts: what is written, one after another.
        weight: how often it is taken beside the other alternatives, 0 or more.
        when: names and the values one of which must be saved under each for it to be taken.
        features: what it is, as names and values.
        source: as the file spells it.
    """

    parts: tuple[Part, ...]
    weight: float = 1.0
    when: tuple[tuple[str, tuple[str, ...]], ...] = ()
    features: Features = frozenset()
    source: str = ""


@dataclass(frozen=True)
class Grammar:
    """Rules that write texts.

    Attributes:
        rules: the alternatives of each, by its name.
        start: the rule that a text is written by.
        depth: so many rules may write within one another; deeper, only what ends soonest is taken.
        saved: what is saved, under which name, before a text begins.
        names: how a rule is called where it is shown, if otherwise than by its name.
    """

    rules: Mapping[str, tuple[Alternative, ...]]
    start: str
    depth: int = 100
    saved: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def shown(self, rule: str) -> str:
        """How a rule is called."""
        return self.names.get(rule, rule)

    @property
    def stateful(self) -> bool:
        """Whether what is saved can matter to what is written."""
        alternatives = [a for rule in self.rules.values() for a in rule]
        acts = any(isinstance(part, Save | Forget) for a in alternatives for part in walk(a.parts))
        return acts or bool(self.saved) or any(a.when for a in alternatives)


def walk(parts: tuple[Part, ...]) -> Iterator[Part]:
    """All parts, and those within their actions, in the order in which they are written."""
    for part in parts:
        if isinstance(part, Call):
            yield from walk(part.before)
        yield part
        if isinstance(part, Save):
            for value in part.values:
                yield from walk(value)
        elif isinstance(part, Do):
            yield from walk(part.parts)


def calls(parts: tuple[Part, ...]) -> list[str]:
    """The rules that are called by parts, as often as they are."""
    return [part.symbol for part in walk(parts) if isinstance(part, Call) and part.symbol]
