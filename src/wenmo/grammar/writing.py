"""One text being written: rules that take alternatives, and the actions between them.

What can be decided beforehand is: an alternative is a tuple of texts, of numbers of rules, and of
the few kinds of parts below, which save, forget and modify.
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

MOST_RULES = 100_000  # that one text may be written by
MOST_CHARACTERS = 1_000_000  # of a text

Saved: TypeAlias = "dict[str, list[tuple[str, ...]]]"
"""What is saved under each name: the choices, those that were saved last behind."""


class Choice(NamedTuple):
    """An alternative that was taken, or a saved text.

    Attributes:
        rule: whose alternative it is, or the name it was saved under.
        parts: what is to be written: texts, numbers of rules, and `Step`.
        text: what is written, where no rule is called.
        other: the rule that writes all of it, where that is one alone.
        logprob: of taking it.
        source: as the file spells it.
    """

    rule: str
    parts: tuple[str | int | Step, ...]
    text: str | None
    other: int | None
    logprob: float
    source: str


class Table(NamedTuple):
    """The alternatives of a rule, and the running sums of their probabilities.

    Attributes:
        allowed: of a rule with conditions, what gives the table that holds for what is saved.
    """

    sums: Sequence[float]
    choices: Sequence[Choice]
    allowed: Callable[[Saved], Table] | None = None


@dataclass(frozen=True, slots=True)
class Derivation:
    """Which rules made a text, and what of it each wrote.

    Attributes:
        rule: its name, or that under which a text was saved.
        alternative: the one that was taken, as the file spells it.
        text: what it wrote, before its caller modified it.
        inside: the rules that it called, in their order, also those in actions.
    """

    rule: str
    alternative: str
    text: str
    inside: tuple[Derivation, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        own = {"rule": self.rule, "alternative": self.alternative, "text": self.text}
        return {**own, "inside": [inner.plain() for inner in self.inside]}


class Writing:
    """A text under way.

    Args:
        levels: the tables of the rules, by how many rules they stand within and their number.
        saved: what is saved before the text begins.
        seed: of all that is drawn.

    Attributes:
        trace: the choices, in their order.
    """

    __slots__ = ("levels", "random", "saved", "trace")

    def __init__(self, levels: Sequence[Mapping[int, Table]], saved: Saved, seed: int) -> None:
        self.levels = levels
        self.random = _noise(seed).__next__
        self.saved: Saved = {name: stack[:] for name, stack in saved.items()}
        self.trace: list[Choice] = []

    def rule(self, number: int, depth: int) -> str:
        """What a rule writes that stands within ``depth`` others."""
        trace, noise, levels = self.trace, self.random, self.levels
        while True:  # along rules that only call another
            table = levels[depth][number]
            if table.allowed is not None:
                table = table.allowed(self.saved)
            choices = table.choices
            choice = choices[bisect(table.sums, noise())] if len(choices) > 1 else choices[0]
            trace.append(choice)
            text = choice.text
            if text is not None:
                return text
            depth += 1
            if choice.other is None:
                break
            number = choice.other
        if len(trace) > MOST_RULES:
            raise WenmoError(
                f"the grammar writes a text by more than {MOST_RULES:,} rules: lower its depth, or "
                "the weights of what comes back to itself"
            )
        return self.parts(choice.parts, depth)

    def parts(self, parts: Sequence[str | int | Step], depth: int) -> str:
        """What parts write, joined."""
        pieces = []
        for part in parts:
            kind = part.__class__
            if kind is str:
                pieces.append(part)
            elif kind is int:
                pieces.append(self.rule(part, depth))  # type: ignore[arg-type]
            else:
                pieces.append(part.write(self, depth))  # type: ignore[union-attr]
        return bounded("".join(pieces))  # type: ignore[arg-type]

    def pick(self, name: str, texts: Sequence[str]) -> str:
        """One of the texts saved under a name."""
        text = texts[0] if len(texts) == 1 else texts[int(self.random() * len(texts))]
        self.trace.append(Choice(name, (text,), text, None, -log(len(texts)), text))
        return text


class Step(Protocol):
    """A part that does more than to write a text or a rule."""

    def write(self, writing: Writing, depth: int) -> str:
        """Do it, and give the text."""
        ...

    def retell(self, taken: Iterator[Choice], inside: list[Derivation]) -> str:
        """The text again, and the rules within, from the choices that were taken."""
        ...


@dataclass(frozen=True)
class Calling:
    """A rule, or what is saved under its name, with modifiers and actions."""

    rule: int | None
    name: str
    modifiers: tuple[Modifier, ...]
    before: tuple[Saving | Forgetting | Doing, ...]

    def write(self, writing: Writing, depth: int) -> str:
        for action in self.before:
            action.write(writing, depth)
        stack = writing.saved.get(self.name)
        if stack:
            text = writing.pick(self.name, stack[-1])
        elif self.rule is not None:
            text = writing.rule(self.rule, depth)
        elif self.name:
            raise WenmoError(f"the grammar calls #{self.name}# before anything is saved under it")
        else:
            text = ""
        for action in self.before:
            action.undo(writing.saved)
        return self.modified(text)

    def retell(self, taken: Iterator[Choice], inside: list[Derivation]) -> str:
        for action in self.before:
            action.retell(taken, inside)
        if not self.name:
            return ""
        inside.append(retold(taken))
        return self.modified(inside[-1].text)

    def modified(self, text: str) -> str:
        for modifier in self.modifiers:
            text = bounded(modifier(text))
        return text


@dataclass(frozen=True)
class Saving:
    """``[name:a,b]``."""

    name: str
    values: tuple[tuple[str | int | Step, ...], ...]

    def write(self, writing: Writing, depth: int) -> str:
        texts = tuple([writing.parts(value, depth) for value in self.values])
        writing.saved.setdefault(self.name, []).append(texts)
        return ""

    def undo(self, saved: Saved) -> None:
        """After a call, what it saved for that time is forgotten."""
        if saved[self.name]:
            saved[self.name].pop()

    def retell(self, taken: Iterator[Choice], inside: list[Derivation]) -> str:
        for value in self.values:
            retold_parts(value, taken, inside)
        return ""


@dataclass(frozen=True)
class Forgetting:
    """``[name:POP]``; nothing happens where nothing is saved."""

    name: str

    def write(self, writing: Writing, depth: int) -> str:
        if writing.saved.get(self.name):
            writing.saved[self.name].pop()
        return ""

    def undo(self, saved: Saved) -> None:
        """What is forgotten stays so."""

    def retell(self, taken: Iterator[Choice], inside: list[Derivation]) -> str:
        return ""


@dataclass(frozen=True)
class Doing:
    """``[#rule#]``: what it saves stays saved."""

    parts: tuple[str | int | Step, ...]

    def write(self, writing: Writing, depth: int) -> str:
        writing.parts(self.parts, depth)
        return ""

    def undo(self, saved: Saved) -> None:
        """What rules saved stays saved, as in Tracery."""

    def retell(self, taken: Iterator[Choice], inside: list[Derivation]) -> str:
        retold_parts(self.parts, taken, inside)
        return ""


def retold(taken: Iterator[Choice]) -> Derivation:
    """The derivation that a trace tells of."""
    choice = next(taken)
    inside: list[Derivation] = []
    text = retold_parts(choice.parts, taken, inside)
    return Derivation(choice.rule, choice.source, text, tuple(inside))


def retold_parts(
    parts: Sequence[str | int | Step], taken: Iterator[Choice], inside: list[Derivation]
) -> str:
    """The text of parts again, and the rules within."""
    pieces = []
    for part in parts:
        if isinstance(part, str):
            pieces.append(part)
        elif isinstance(part, int):
            inside.append(retold(taken))
            pieces.append(inside[-1].text)
        else:
            pieces.append(part.retell(taken, inside))
    return "".join(pieces)


def bounded(text: str) -> str:
    """A text, if it is not too long: what is saved and used twice, again and again, soon is."""
    if len(text) > MOST_CHARACTERS:
        raise WenmoError(f"the grammar writes a text of more than {MOST_CHARACTERS:,} characters")
    return text


def holds(
    when: Sequence[tuple[str, Sequence[str]]], saved: Mapping[str, Sequence[tuple[str, ...]]]
) -> bool:
    """Whether one of the wanted texts is saved, alone, under each name."""
    return all(
        saved.get(name) and len(saved[name][-1]) == 1 and saved[name][-1][0] in wanted
        for name, wanted in when
    )


def _noise(seed: int) -> Iterator[float]:
    """Uniform numbers from 0 up to 1, the same for a seed everywhere: hashes of seed and place,
    which need no time to begin.
    """
    block = 0
    while True:
        for word in unpack("<8Q", blake2b(pack("<QQ", seed, block)).digest()):
            yield (word >> 11) * 2.0**-53
        block += 1
