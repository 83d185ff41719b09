"""Parser of rule texts in Tracery's notation (Compton et al. 2015, "Tracery: an author-focused
generative text tool").

    text \\# more        a backslash escapes the next character
    #rule#               a text of the rule
    #rule.s.replace(a,b)#    with modifiers, from left to right
    [name:#rule#,text]   push one of several texts, separated by commas, under a name
    [name:POP]           pop it
    [#rule#]             expand a rule for the texts it saves, and drop its own text
    #[name:#rule#]rule#  push for the duration of this call

The native format adds agreement: calls ``#rule@group#`` of a group agree in their features, and
``#@group.feature#`` inserts the value of a feature.
"""

from __future__ import annotations

from wenmo.config import did_you_mean
from wenmo.grammar.ast import Action, Call, Evaluate, Feature, Node, Pop, Save
from wenmo.grammar.modifiers import MODIFIERS, Modifier
from wenmo.types import WenmoError

MAX_DEPTH = 30  # of nested actions


def parse(text: str, where: str, *, native: bool = False) -> tuple[Node, ...]:
    """The nodes of a rule text.

    Args:
        where: prefix of error messages: the file, the rule and the alternative.
        native: whether ``@`` has a meaning.

    Raises:
        WenmoError: a tag or an action is not closed, a bracket is unbalanced, actions are nested
            too deeply, or a modifier is unknown.
    """
    return _Parser(text, where, native).parse_all()


class _Parser:
    """A recursive-descent parser with a cursor."""

    def __init__(self, text: str, where: str, native: bool) -> None:
        self.text, self.where, self.native = text, where, native
        self.position, self.depth = 0, 0

    def parse_all(self) -> tuple[Node, ...]:
        nodes = self.nodes("")
        if self.position < len(self.text):
            raise self.error("unmatched ] (write \\] for a literal ])")
        return nodes

    def nodes(self, stops: str) -> tuple[Node, ...]:
        """Nodes up to one of the stop characters or a closing bracket."""
        nodes: list[Node] = []
        literal: list[str] = []

        def add(node: Node) -> None:
            if literal:
                nodes.append("".join(literal))
                literal.clear()
            nodes.append(node)

        while (char := self.peek()) and char != "]" and char not in stops:
            if char == "#":
                add(self.tag())
            elif char == "[":
                add(self.action())
            else:
                literal.append(self.character())
        if literal:
            nodes.append("".join(literal))
        return tuple(nodes)

    def tag(self) -> Call | Feature:
        start = self.position
        self.position += 1
        actions: list[Action] = []
        symbol = ""
        while self.peek() not in ("#", ".", "@" if self.native else "#"):
            if self.peek() == "[":
                actions.append(self.action())
            else:
                symbol += self.until(".#[@" if self.native else ".#[", start)
        group = None
        if self.native and self.peek() == "@":
            self.position += 1
            group = self.until(".#", start)
        calls: list[tuple[str, tuple[str, ...]]] = []
        while self.peek() == ".":
            self.position += 1
            calls.append((self.until(".#(", start), self.arguments(start)))
        if self.peek() != "#":
            raise self.error(
                f"{self.text[start : self.position + 1]!r}: expected # or . in this tag"
            )
        self.position += 1
        if group is not None and not symbol:
            if not calls or actions:
                raise self.error("#@group.feature# needs the name of a feature")
            return Feature(group, calls[0][0], self.modifiers(calls[1:]))
        if not symbol and not actions:
            raise self.error("empty tag (write \\# for a literal #)")
        return Call(symbol, self.modifiers(calls), tuple(actions), group)

    def arguments(self, start: int) -> tuple[str, ...]:
        if self.peek() != "(":
            return ()
        args: list[str] = []
        while self.peek() != ")":
            self.position += 1
            args.append(self.until(",)", start))
        self.position += 1
        return tuple(args)

    def modifiers(self, calls: list[tuple[str, tuple[str, ...]]]) -> tuple[Modifier, ...]:
        for name, args in calls:
            if name not in MODIFIERS:
                raise self.error(f"unknown modifier {name!r}{did_you_mean(name, MODIFIERS)}")
            if len(args) != (arity := MODIFIERS[name].arity):
                raise self.error(f"modifier {name!r} takes {arity} arguments, not {len(args)}")
        return tuple(Modifier(name, args) for name, args in calls)

    def action(self) -> Action:
        start = self.position
        self.position += 1
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"more than {MAX_DEPTH} nested actions")
        name = self.name()
        action: Action
        if name is None:
            action = Evaluate(self.nodes(""))
        elif self.text.startswith("POP]", self.position):
            self.position += 3
            action = Pop(name)
        else:
            values = [self.nodes(",")]
            while self.peek() == ",":
                self.position += 1
                values.append(self.nodes(","))
            action = Save(name, tuple(values))
        if self.peek() != "]":
            raise self.error(
                f"[ at character {start + 1} is not closed (write \\[ for a literal [)"
            )
        self.position += 1
        self.depth -= 1
        return action

    def name(self) -> str | None:
        """Consume a name and the colon after it; None if there is none."""
        end = self.position
        while end < len(self.text) and self.text[end] not in "#[]:\\":
            end += 1
        if end == self.position or not self.text.startswith(":", end):
            return None
        name, self.position = self.text[self.position : end], end + 1
        return name

    def until(self, stops: str, start: int) -> str:
        """Consume characters up to one of the stop characters; ``start`` is the position of the
        enclosing tag.
        """
        chars: list[str] = []
        while (char := self.peek()) not in stops:
            chars.append(self.character())
        if not char:
            raise self.error(
                f"# at character {start + 1} is not closed (write \\# for a literal #)"
            )
        return "".join(chars)

    def character(self) -> str:
        """Consume a character; a backslash escapes the next one."""
        if self.text[self.position] == "\\" and self.position + 1 < len(self.text):
            self.position += 1
        self.position += 1
        return self.text[self.position - 1]

    def peek(self) -> str:
        """The character at the cursor; empty at the end."""
        return self.text[self.position : self.position + 1]

    def error(self, message: str) -> WenmoError:
        return WenmoError(f"{self.where}: {message}")
