"""The language of what stands in a rule, which is Tracery's (Compton et al. 2015, "Tracery: an
author-focused generative text tool").

    text \\# more        a backslash takes the next character as it is
    #rule#               what the rule writes
    #rule.s.replace(a,b)#    modified, from left to right
    [name:#rule#,text]   saved under a name, as choices between commas
    [name:POP]           forgotten again
    [#rule#]             written for what it saves alone
    #[name:#rule#]rule#  saved for the time of this call

The native form has two things more: parts of a ``#rule@group#`` agree, and ``#@group.feature#``
writes what they agree on.
"""

from __future__ import annotations

from wenmo.config import nearest
from wenmo.grammar.ast import Action, Call, Do, Feature, Forget, Part, Save
from wenmo.grammar.modifiers import MODIFIERS, Modifier
from wenmo.types import WenmoError

DEEPEST = 30  # actions within actions


def parse(text: str, where: str, *, native: bool = False) -> tuple[Part, ...]:
    """The parts that a text is written of.

    Args:
        where: what an error says first: the file, the rule, and which alternative.
        native: whether ``@`` has a meaning.

    Raises:
        WenmoError: a tag or an action that does not end, one too many, or an unknown modifier.
    """
    return _Parser(text, where, native).whole()


class _Parser:
    """A cursor over a text."""

    def __init__(self, text: str, where: str, native: bool) -> None:
        self.text, self.where, self.native = text, where, native
        self.at, self.depth = 0, 0

    def whole(self) -> tuple[Part, ...]:
        parts = self.parts("")
        if self.at < len(self.text):
            raise self.error("a ] without its [ (write \\] for the sign itself)")
        return parts

    def parts(self, stops: str) -> tuple[Part, ...]:
        """Parts up to one of the stops, or a bracket that closes."""
        found: list[Part] = []
        literal: list[str] = []

        def add(part: Part) -> None:
            if literal:
                found.append("".join(literal))
                literal.clear()
            found.append(part)

        while (sign := self.peek()) and sign != "]" and sign not in stops:
            if sign == "#":
                add(self.tag())
            elif sign == "[":
                add(self.action())
            else:
                literal.append(self.character())
        if literal:
            found.append("".join(literal))
        return tuple(found)

    def tag(self) -> Call | Feature:
        begun = self.at
        self.at += 1
        before: list[Action] = []
        symbol = ""
        while self.peek() not in ("#", ".", "@" if self.native else "#"):
            if self.peek() == "[":
                before.append(self.action())
            else:
                symbol += self.until(".#[@" if self.native else ".#[", begun)
        group = None
        if self.native and self.peek() == "@":
            self.at += 1
            group = self.until(".#", begun)
        names: list[tuple[str, tuple[str, ...]]] = []
        while self.peek() == ".":
            self.at += 1
            names.append((self.until(".#(", begun), self.arguments(begun)))
        if self.peek() != "#":
            raise self.error(f"{self.text[begun : self.at + 1]!r}: a # or . is missing in this tag")
        self.at += 1
        if group is not None and not symbol:
            if not names or before:
                raise self.error("#@group.feature# needs the name of a feature")
            return Feature(group, names[0][0], self.modifiers(names[1:]))
        if not symbol and not before:
            raise self.error("an empty tag (write \\# for the sign itself)")
        return Call(symbol, self.modifiers(names), tuple(before), group)

    def arguments(self, begun: int) -> tuple[str, ...]:
        if self.peek() != "(":
            return ()
        given: list[str] = []
        while self.peek() != ")":
            self.at += 1
            given.append(self.until(",)", begun))
        self.at += 1
        return tuple(given)

    def modifiers(self, names: list[tuple[str, tuple[str, ...]]]) -> tuple[Modifier, ...]:
        for name, given in names:
            if name not in MODIFIERS:
                raise self.error(f"unknown modifier {name!r}{nearest(name, MODIFIERS)}")
            if len(given) != (wanted := MODIFIERS[name].arguments):
                raise self.error(f"modifier {name!r} takes {wanted} arguments, not {len(given)}")
        return tuple(Modifier(name, given) for name, given in names)

    def action(self) -> Action:
        begun = self.at
        self.at += 1
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.error(f"more than {DEEPEST} actions within one another")
        name = self.name()
        made: Action
        if name is None:
            made = Do(self.parts(""))
        elif self.text.startswith("POP]", self.at):
            self.at += 3
            made = Forget(name)
        else:
            values = [self.parts(",")]
            while self.peek() == ",":
                self.at += 1
                values.append(self.parts(","))
            made = Save(name, tuple(values))
        if self.peek() != "]":
            raise self.error(f"[ at character {begun + 1} is not closed (write \\[ for the sign)")
        self.at += 1
        self.depth -= 1
        return made

    def name(self) -> str | None:
        """What stands before a colon, which is passed over; None where there is no name."""
        end = self.at
        while end < len(self.text) and self.text[end] not in "#[]:\\":
            end += 1
        if end == self.at or not self.text.startswith(":", end):
            return None
        name, self.at = self.text[self.at : end], end + 1
        return name

    def until(self, stops: str, begun: int) -> str:
        """Characters up to one of the stops, of what began at an earlier place."""
        found: list[str] = []
        while (sign := self.peek()) not in stops:
            found.append(self.character())
        if not sign:
            raise self.error(
                f"# at character {begun + 1} is not closed (write \\# for the sign itself)"
            )
        return "".join(found)

    def character(self) -> str:
        """The next character; a backslash gives the one behind it."""
        if self.text[self.at] == "\\" and self.at + 1 < len(self.text):
            self.at += 1
        self.at += 1
        return self.text[self.at - 1]

    def peek(self) -> str:
        """The character at the cursor; empty at the end."""
        return self.text[self.at : self.at + 1]

    def error(self, what: str) -> WenmoError:
        return WenmoError(f"{self.where}: {what}")
