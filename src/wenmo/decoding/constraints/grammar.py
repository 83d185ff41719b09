"""What is written is a text of a grammar: after what was written only tokens may follow with which
some text of the grammar goes on.

Any tokenizer will do, for tokens are walked through the grammar by the bytes that they stand for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wenmo.grammar.chart import Chart, Column
from wenmo.types import END, WenmoError

KEPT = 20_000  # texts whose places are kept
SPACE = b" "


class TrieNode:
    """Tokens with a common beginning: those that end here, and where each further byte leads."""

    __slots__ = ("after", "tokens")

    def __init__(self) -> None:
        self.after: dict[int, TrieNode] = {}
        self.tokens: list[int] = []


class ParserState(NamedTuple):
    """How far a text has come: whole characters, and the first bytes of the next."""

    column: Column
    pending: bytes = b""


class GrammarConstraint:
    """Holds what is written to a grammar.

    Args:
        chart: of the grammar.
        table: the bytes that each id stands for.
        strip_space: a space at the beginning is not shown, and so is no part of the text.
    """

    def __init__(self, chart: Chart, table: Sequence[bytes], *, strip_space: bool = False) -> None:
        self.chart, self.table, self.strip_space = chart, table, strip_space
        self.tree = TrieNode()
        for token, spelled in enumerate(table):
            branch = self.tree
            for byte in spelled:
                branch = branch.after.setdefault(byte, TrieNode())
            if spelled:
                branch.tokens.append(token)
        self._places: dict[tuple[int, ...], ParserState] = {}

    def allowed(self, written: Sequence[int]) -> list[int]:
        place = self._place(tuple(written))
        found = self._tokens(place, self.tree, skipping=not any(map(self._spelled, written)))
        if not place.pending and place.column.end > 0:
            found.append(END)
        if not found:
            text = b"".join(map(self._spelled, written)).decode("utf-8", "replace")
            raise WenmoError(
                f"after {text[-40:]!r} the model has no token for what the grammar asks for: its "
                "tokenizer cannot spell it"
            )
        return found

    def _spelled(self, token: int) -> bytes:
        return self.table[token]

    def _place(self, written: tuple[int, ...]) -> ParserState:
        """Where a text of allowed tokens leads."""
        if not written:
            return ParserState(self.chart.start)
        if written not in self._places:
            if len(self._places) >= KEPT:
                self._places.clear()
            before, spelled = self._place_before(written), self._spelled(written[-1])
            if self.strip_space and not any(map(self._spelled, written[:-1])):
                spelled = spelled.removeprefix(SPACE)
            self._places[written] = self._read(before, spelled)
        return self._places[written]

    def _place_before(self, written: tuple[int, ...]) -> ParserState:
        """Of all but the last token, made step by step where it is not known."""
        known = len(written) - 1
        while known and written[:known] not in self._places:
            known -= 1
        for length in range(known + 1, len(written)):
            self._place(written[:length])
        return self._place(written[:-1])

    def _read(self, place: ParserState, spelled: bytes) -> ParserState:
        column, pending = place
        for byte in spelled:
            pending += bytes([byte])
            try:
                character = pending.decode()
            except UnicodeDecodeError:
                continue
            after = self.chart.advance(column, character)
            if after is None:
                raise WenmoError(f"the grammar does not allow {character!r} there")
            column, pending = after, b""
        return ParserState(column, pending)

    def _tokens(self, place: ParserState, tree: TrieNode, *, skipping: bool) -> list[int]:
        """The tokens of which every byte may follow."""
        found: list[int] = []
        todo = [(place.column, place.pending, tree)]
        strips = skipping and self.strip_space
        if strips and (spaced := tree.after.get(SPACE[0])) is not None:
            found += spaced.tokens
            todo.append((place.column, b"", spaced))
        while todo:
            column, pending, branch = todo.pop()
            for character in self.chart.following(column):
                spelled = character.encode("utf-8", "surrogatepass")
                if not spelled.startswith(pending):
                    continue
                if strips and branch is tree and spelled == SPACE:
                    continue  # it would not be shown
                ahead: TrieNode | None = branch
                for byte in spelled[len(pending) :]:
                    ahead = ahead.after.get(byte) if ahead is not None else None
                    found += ahead.tokens if ahead is not None else []
                if ahead is not None and ahead.after:
                    after = self.chart.advance(column, character)
                    if after is not None:
                        todo.append((after, b"", ahead))
        return list(dict.fromkeys(found))
