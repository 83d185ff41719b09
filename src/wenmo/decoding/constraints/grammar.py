"""A text of a grammar: only tokens may follow with which some text of the grammar continues.

Any tokenizer will do, since tokens are walked through the grammar by the bytes that they spell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from wenmo.decoding.constraints.base import only_token
from wenmo.grammar.chart import Chart, Column
from wenmo.types import END, WenmoError

MAX_TRANSITIONS = 20_000  # that are cached
MASK_BYTES = 64 << 20  # that cached masks take at most
SPACE = b" "


class TrieNode:
    """Tokens with a common prefix of bytes: those that end here, and the node after each byte."""

    __slots__ = ("after", "tokens")

    def __init__(self) -> None:
        self.after: dict[int, TrieNode] = {}
        self.tokens: list[int] = []


class ParserState(NamedTuple):
    """How far a text has been parsed.

    Attributes:
        column: after its whole characters.
        pending: the first bytes of the next character.
        started: some bytes were written.
    """

    column: Column
    pending: bytes = b""
    started: bool = False


class TokenGrammar:
    """A grammar over the tokens of a vocabulary: its states, and what each allows.

    Texts that begin alike share states, which are computed once.

    Args:
        chart: of the grammar.
        table: the bytes of each token.
        strip_space: a space at the beginning is not shown, and so is no part of the text.
    """

    def __init__(self, chart: Chart, table: Sequence[bytes], *, strip_space: bool = False) -> None:
        self.chart, self.table, self.strip_space = chart, table, strip_space
        self._trie = _trie(table)
        self._next: dict[tuple[ParserState, int], ParserState] = {}
        self._masks: dict[ParserState, Tensor] = {}
        self._max_masks = max(64, MASK_BYTES // len(table))

    def start(self) -> GrammarConstraint:
        """The constraint of a text from its beginning."""
        return GrammarConstraint(self, ParserState(self.chart.start))

    def mask(self, state: ParserState) -> Tensor:
        """The tokens that may follow, bool (vocab_size,); none is a valid answer."""
        if state not in self._masks:
            if len(self._masks) >= self._max_masks:
                self._masks.clear()
            mask = torch.zeros(len(self.table), dtype=torch.bool)
            mask[self._tokens(state)] = True
            mask[END] = not state.pending and state.column.end_prob > 0
            self._masks[state] = mask
        return self._masks[state]

    def advance(self, state: ParserState, token: int) -> ParserState:
        """The state after one more token.

        Raises:
            WenmoError: the grammar does not allow it.
        """
        key = state, token
        if key not in self._next:
            if len(self._next) >= MAX_TRANSITIONS:
                self._next.clear()
            spelled = self.table[token]
            started = state.started or bool(spelled)
            if self.strip_space and not state.started:
                spelled = spelled.removeprefix(SPACE)
            self._next[key] = self._parse(state, spelled)._replace(started=started)
        return self._next[key]

    def _parse(self, state: ParserState, spelled: bytes) -> ParserState:
        column, pending = state.column, state.pending
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

    def _tokens(self, state: ParserState) -> list[int]:
        """The tokens of which every byte may follow."""
        found: list[int] = []
        todo = [(state.column, state.pending, self._trie)]
        strips = self.strip_space and not state.started
        if strips and (after_space := self._trie.after.get(SPACE[0])) is not None:
            found += after_space.tokens
            todo.append((state.column, b"", after_space))
        while todo:
            column, pending, node = todo.pop()
            for character in self.chart.next_char_probs(column):
                spelled = character.encode("utf-8", "surrogatepass")
                if not spelled.startswith(pending):
                    continue
                if strips and node is self._trie and spelled == SPACE:
                    continue  # it would not be shown
                ahead: TrieNode | None = node
                for byte in spelled[len(pending) :]:
                    ahead = ahead.after.get(byte) if ahead is not None else None
                    found += ahead.tokens if ahead is not None else []
                if ahead is not None and ahead.after:
                    after = self.chart.advance(column, character)
                    if after is not None:
                        todo.append((after, b"", ahead))
        return found


class GrammarConstraint:
    """A text that is being written under a grammar."""

    def __init__(self, grammar: TokenGrammar, state: ParserState, text: bytes = b"") -> None:
        self._grammar, self._state = grammar, state
        self._text = text  # its last bytes, for messages

    def allowed(self) -> Tensor:
        """The tokens with which some text of the grammar continues."""
        mask = self._grammar.mask(self._state)
        if not mask.any():
            text = self._text.decode("utf-8", "replace")
            raise WenmoError(
                f"after {text[-40:]!r} the model has no token for what the grammar asks for: its "
                "tokenizer cannot spell it"
            )
        return mask

    def forced(self) -> int | None:
        """The one token that may follow, if no other may."""
        return only_token(self._grammar.mask(self._state))

    def advance(self, token: int) -> None:
        """Append a token."""
        self._state = self._grammar.advance(self._state, token)
        self._text = (self._text + self._grammar.table[token])[-160:]

    def fork(self) -> GrammarConstraint:
        """An independent copy."""
        return GrammarConstraint(self._grammar, self._state, self._text)


def _trie(table: Sequence[bytes]) -> TrieNode:
    root = TrieNode()
    for token, spelled in enumerate(table):
        node = root
        for byte in spelled:
            node = node.after.setdefault(byte, TrieNode())
        if spelled:
            node.tokens.append(token)
    return root
