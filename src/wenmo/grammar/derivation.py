"""Generation of one text, and its derivation.

Alternatives are compiled beforehand: each is a tuple of texts, rule indices, and the few types of
steps below, which save, pop and modify.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import log
from struct import pack, unpack
from typing import Any, NamedTuple, Protocol, TypeAlias

from wenmo.grammar.modifiers import Modifier
from wenmo.types import WenmoError

MAX_RULES = 100_000  # choices of a text
MAX_CHARACTERS = 1_000_000  # of a text

Saved: TypeAlias = "dict[str, list[tuple[str, ...]]]"
"""A stack for each name; an entry is the texts saved together, of which a call picks one."""


class Choice(NamedTuple):
    """An alternative that was chosen, or a saved text.

    Attributes:
        rule: name of the rule, or the name under which the text was saved.
        items: texts, rule indices and `Step` objects, in order.
        text: the text, if no rule is called; otherwise None.
        unit_rule: index of the only rule that is called, if there is nothing else; otherwise None.
        logprob: natural log-probability of the choice.
        source: the text in the grammar file.
    """

    rule: str
    items: tuple[str | int | Step, ...]
    text: str | None
    unit_rule: int | None
    logprob: float
    source: str


class ChoiceTable(NamedTuple):
    """The alternatives of a rule with their cumulative probabilities.

    Attributes:
        select_table: for a rule with conditions, returns the table for the saved texts.
    """

    cumulative_probs: Sequence[float]
    choices: Sequence[Choice]
    select_table: Callable[[Saved], ChoiceTable] | None = None


@dataclass(frozen=True, slots=True)
class Derivation:
    """A node of a derivation tree: a rule with its alternative and text.

    Attributes:
        rule: name of the rule, or the name under which the text was saved.
        alternative: the alternative, as in the grammar file.
        text: its text, before the caller's modifiers.
        children: derivations of the rules that it called, in order, including those in actions.
    """

    rule: str
    alternative: str
    text: str
    children: tuple[Derivation, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "rule": self.rule,
            "alternative": self.alternative,
            "text": self.text,
            "inside": [child.to_dict() for child in self.children],
        }


class RuleExpander:
    """Generates a text.

    Args:
        levels: choice tables by nesting depth and rule index.
        saved: saved texts at the start.
        seed: seed of the random numbers.

    Attributes:
        trace: the choices made so far.
    """

    __slots__ = ("levels", "random", "saved", "trace")

    def __init__(
        self, levels: Sequence[Mapping[int, ChoiceTable]], saved: Saved, seed: int
    ) -> None:
        self.levels = levels
        self.random = _uniform_numbers(seed).__next__
        self.saved: Saved = {name: stack[:] for name, stack in saved.items()}
        self.trace: list[Choice] = []

    def expand_rule(self, index: int, depth: int) -> str:
        """A text of a rule at a nesting depth."""
        trace, random, levels = self.trace, self.random, self.levels
        while True:  # follow unit rules without recursion
            table = levels[depth][index]
            if table.select_table is not None:
                table = table.select_table(self.saved)
            choices = table.choices
            choice = (
                choices[bisect(table.cumulative_probs, random())]
                if len(choices) > 1
                else choices[0]
            )
            trace.append(choice)
            text = choice.text
            if text is not None:
                return text
            depth += 1
            if choice.unit_rule is None:
                break
            index = choice.unit_rule
        if len(trace) > MAX_RULES:
            raise WenmoError(
                f"the grammar needs more than {MAX_RULES:,} rules for a text: lower its depth, or "
                "the weights of recursive alternatives"
            )
        return self.expand_items(choice.items, depth)

    def expand_items(self, items: Sequence[str | int | Step], depth: int) -> str:
        """The concatenated texts of items."""
        texts = []
        for item in items:
            item_type = item.__class__
            if item_type is str:
                texts.append(item)
            elif item_type is int:
                texts.append(self.expand_rule(item, depth))  # type: ignore[arg-type]
            else:
                texts.append(item.run(self, depth))  # type: ignore[union-attr]
        return check_length("".join(texts))  # type: ignore[arg-type]

    def pick_saved(self, name: str, texts: Sequence[str]) -> str:
        """One of the texts saved under a name."""
        text = texts[0] if len(texts) == 1 else texts[int(self.random() * len(texts))]
        self.trace.append(Choice(name, (text,), text, None, -log(len(texts)), text))
        return text


class Step(Protocol):
    """An item that is neither a text nor a plain call."""

    def run(self, expander: RuleExpander, depth: int) -> str:
        """Run the step; returns its text."""
        ...

    def replay(self, choices: Iterator[Choice], children: list[Derivation]) -> str:
        """The text again, from the recorded choices; appends the derivations of its calls to
        ``children``.
        """
        ...


@dataclass(frozen=True)
class CallStep:
    """A call of a rule or of saved texts, with modifiers and actions."""

    rule: int | None
    name: str
    modifiers: tuple[Modifier, ...]
    actions: tuple[SaveStep | PopStep | EvaluateStep, ...]

    def run(self, expander: RuleExpander, depth: int) -> str:
        for action in self.actions:
            action.run(expander, depth)
        stack = expander.saved.get(self.name)
        if stack:
            text = expander.pick_saved(self.name, stack[-1])
        elif self.rule is not None:
            text = expander.expand_rule(self.rule, depth)
        elif self.name:
            raise WenmoError(
                f"the grammar calls #{self.name}# before anything is saved under that name"
            )
        else:
            text = ""
        for action in self.actions:
            action.undo(expander.saved)
        return self.modify(text)

    def replay(self, choices: Iterator[Choice], children: list[Derivation]) -> str:
        for action in self.actions:
            action.replay(choices, children)
        if not self.name:
            return ""
        children.append(replay_derivation(choices))
        return self.modify(children[-1].text)

    def modify(self, text: str) -> str:
        for modifier in self.modifiers:
            text = check_length(modifier(text))
        return text


@dataclass(frozen=True)
class SaveStep:
    """``[name:a,b]``: push texts."""

    name: str
    values: tuple[tuple[str | int | Step, ...], ...]

    def run(self, expander: RuleExpander, depth: int) -> str:
        texts = tuple([expander.expand_items(value, depth) for value in self.values])
        expander.saved.setdefault(self.name, []).append(texts)
        return ""

    def undo(self, saved: Saved) -> None:
        """Pop the texts that were pushed for a call."""
        if saved[self.name]:
            saved[self.name].pop()

    def replay(self, choices: Iterator[Choice], children: list[Derivation]) -> str:
        for value in self.values:
            replay_items(value, choices, children)
        return ""


@dataclass(frozen=True)
class PopStep:
    """``[name:POP]``; no effect on an empty stack."""

    name: str

    def run(self, expander: RuleExpander, depth: int) -> str:
        if expander.saved.get(self.name):
            expander.saved[self.name].pop()
        return ""

    def undo(self, saved: Saved) -> None:
        """A pop is not undone."""

    def replay(self, choices: Iterator[Choice], children: list[Derivation]) -> str:
        return ""


@dataclass(frozen=True)
class EvaluateStep:
    """``[#rule#]``: expand for the saved texts."""

    items: tuple[str | int | Step, ...]

    def run(self, expander: RuleExpander, depth: int) -> str:
        expander.expand_items(self.items, depth)
        return ""

    def undo(self, saved: Saved) -> None:
        """What rules saved remains, as in Tracery."""

    def replay(self, choices: Iterator[Choice], children: list[Derivation]) -> str:
        replay_items(self.items, choices, children)
        return ""


def replay_derivation(choices: Iterator[Choice]) -> Derivation:
    """The derivation recorded in a sequence of choices."""
    choice = next(choices)
    children: list[Derivation] = []
    text = replay_items(choice.items, choices, children)
    return Derivation(choice.rule, choice.source, text, tuple(children))


def replay_items(
    items: Sequence[str | int | Step], choices: Iterator[Choice], children: list[Derivation]
) -> str:
    """The text of items, from the recorded choices; appends the derivations of its calls to
    ``children``.
    """
    texts = []
    for item in items:
        if isinstance(item, str):
            texts.append(item)
        elif isinstance(item, int):
            children.append(replay_derivation(choices))
            texts.append(children[-1].text)
        else:
            texts.append(item.replay(choices, children))
    return "".join(texts)


def check_length(text: str) -> str:
    """The text, if it is short enough: saving a text and calling it twice, repeatedly, grows
    exponentially.
    """
    if len(text) > MAX_CHARACTERS:
        raise WenmoError(f"the grammar generated a text of more than {MAX_CHARACTERS:,} characters")
    return text


def conditions_hold(
    conditions: Sequence[tuple[str, Sequence[str]]], saved: Mapping[str, Sequence[tuple[str, ...]]]
) -> bool:
    """Whether each name has exactly one saved text on top of its stack, and it is among those
    wanted.
    """
    return all(
        saved.get(name) and len(saved[name][-1]) == 1 and saved[name][-1][0] in wanted
        for name, wanted in conditions
    )


def _uniform_numbers(seed: int) -> Iterator[float]:
    """Uniform random numbers in [0, 1), the same on every platform: hashes of seed and block
    number, without a setup cost.
    """
    block = 0
    while True:
        for word in unpack("<8Q", blake2b(pack("<QQ", seed, block)).digest()):
            yield (word >> 11) * 2.0**-53
        block += 1
