"""A text automaton lifted to the tokens of a vocabulary.

An automaton knows characters; a token may spell several of them, or a part of one. A token is
allowed if all of its bytes are: each whole character by the automaton, and the first bytes of
another if some allowed character begins with them.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wenmo.decoding.constraints.base import RedirectedTokens, only_token
from wenmo.decoding.constraints.trie import (
    MAX_TAIL,
    TAIL,
    Bools,
    Ints,
    TokenTrie,
    TrieLevel,
    size_of_character,
)
from wenmo.text.automaton import CharacterSet, Classes, HasClasses, Redirection, TextAutomaton
from wenmo.types import END, WenmoError

__all__ = ["AutomatonConstraint", "AutomatonTable", "CharacterSet", "TextAutomaton", "TokenTrie"]

NEVER = 1 << 40  # tokens that a text needs after one that is not allowed
MASK_BYTES = 64 << 20  # that cached masks take at most
MAX_STATES = 50_000  # that are numbered
MAX_CLASSES = 256  # partitions of the characters that are kept
SPACE = b" "
PARTS = 4  # a character has at most so many bytes
MAX_PATHS = 256  # texts on the way to goals that are looked at


@runtime_checkable
class HasTextGoals(Protocol):
    """An automaton with goals that a text meets one by one, as phrases that are required."""

    def missing(self, state: Any) -> int:
        """The least number of characters that are missing until all goals are met."""
        ...

    def advancing(self, state: Any) -> frozenset[str]:
        """The characters after which fewer are missing."""
        ...


@runtime_checkable
class RedirectsCharacters(Protocol):
    """An automaton that asks for other characters than those a text would go on with."""

    def redirected(self, state: Any) -> Redirection | None:
        """What has the probability of which characters; None: nothing."""
        ...


class TextState(NamedTuple):
    """How far a text has come.

    Attributes:
        state: of the automaton, after the whole characters.
        pending: the first bytes of the next character; a space whose word has not come yet, where
            the tokenizer puts one after each word.
        started: something was written.
    """

    state: Hashable
    pending: bytes = b""
    started: bool = False


class AutomatonTable:
    """An automaton over the tokens of a vocabulary. All of its texts share what is cached.

    Args:
        automaton: over characters.
        trie: of the vocabulary.
        strip_space: a space at the beginning is not shown, and so is no part of the text.
        suffix_space: the tokenizer puts a space after each word; one at the end is not shown.
    """

    def __init__(
        self,
        automaton: TextAutomaton,
        trie: TokenTrie,
        *,
        strip_space: bool = False,
        suffix_space: bool = False,
    ) -> None:
        self.automaton, self.trie = automaton, trie
        self.strip_space, self.suffix_space = strip_space, suffix_space
        self._classes = automaton.classes if isinstance(automaton, HasClasses) else None
        self._class_numbers: dict[Classes, Ints] = {}
        self._masks: dict[Hashable, Tensor] = {}
        self._redirected: dict[Redirection, RedirectedTokens | None] = {}
        self._advancing: dict[TextState, Tensor] = {}
        self._max_masks = max(64, MASK_BYTES // trie.vocab_size)
        self._numbers: dict[Hashable, int] = {}
        self._states: list[Hashable] = []
        self._after: dict[tuple[int, int], int] = {}
        self._least = automaton.remaining(automaton.start)[0]
        self._spaced = np.array([spelled.endswith(SPACE) for spelled in trie.table])

    def start(
        self, state: Hashable = None, pending: bytes = b"", tokens: float = math.inf
    ) -> AutomatonConstraint:
        """The constraint of a text from its beginning.

        Args:
            state: of the automaton; None: its start.
            pending: the space after the prompt's last word, with ``suffix_space``.
            tokens: the most that the text may have.
        """
        state = self.automaton.start if state is None else state
        return AutomatonConstraint(self, TextState(state, pending), tokens)

    def mask(self, at: TextState) -> Tensor:
        """The tokens that may follow, bool (vocab_size,); none is a valid answer."""
        key: Hashable = at
        if not at.pending and len(self.trie.levels) == 1 and not self._strips(at):
            # Tokens of one character: states with the same characters share a mask.
            key = self.automaton.allowed(at.state), self.automaton.may_end(at.state)
        if key not in self._masks:
            if len(self._masks) >= self._max_masks:
                self._masks.clear()
            self._masks[key] = self._find_mask(at)
        return self._masks[key]

    def mask_within(self, at: TextState, tokens: float) -> Tensor:
        """The tokens that may follow where so many can be written, bool (vocab_size,).

        Where they become scarce, a token is allowed only if the text can be completed with the
        tokens that are left behind it, each character with as many as most characters take. Where
        no token is, those are allowed after which the text needs the fewest.
        """
        least = max(self._least, self.automaton.remaining(at.state)[0])
        if tokens > (least + 2) * self.trie.usual_cost + MAX_TAIL:
            return self.mask(at)
        key = at, tokens
        if key not in self._masks:
            mask, needs = self.mask(at), self._needs(at)
            within = needs < tokens
            if not within.any() and not mask[END]:
                within = needs == needs[1:].min()
            within[END] = bool(mask[END])
            self._masks[key] = torch.from_numpy(within) & mask
        return self._masks[key]

    def redirected(self, at: TextState) -> RedirectedTokens | None:
        """The tokens whose probability another one has; None: there are none."""
        if at.pending or not isinstance(self.automaton, RedirectsCharacters):
            return None
        found = self.automaton.redirected(at.state)
        if found is None:
            return None
        if found not in self._redirected:
            edges = [self.trie.edge(character) for character in found.characters]
            tokens = np.isin(self.trie.first_edges, [edge for edge in edges if edge >= 0])
            to = self.trie.first_token(found.to) if found.to else END
            usable = RedirectedTokens(torch.from_numpy(tokens), to) if tokens.any() else None
            self._redirected[found] = usable
        return self._redirected[found]

    def advance(self, at: TextState, token: int) -> TextState:
        """The state after one more token.

        Raises:
            WenmoError: the automaton does not allow it.
        """
        spelled = self.trie.table[token]
        started = at.started or bool(spelled)
        if self._strips(at):
            spelled = spelled.removeprefix(SPACE)
        spelled = at.pending + spelled
        held = self.suffix_space and spelled.endswith(SPACE)
        spelled = spelled[:-1] if held else spelled
        size = _whole_size(spelled)
        state = at.state
        for character in spelled[:size].decode():
            if not self.automaton.allowed(state).admits(character):
                raise WenmoError(f"the constraint does not allow {character!r} there")
            state = self.automaton.advance(state, character)
        return TextState(state, SPACE if held else spelled[size:], started)

    # -- goals -----------------------------------------------------------------------------------

    def missing(self, at: TextState) -> int:
        """What is missing until all goals are met: `PARTS` for each character, less one for each
        byte of one that has begun.
        """
        if not isinstance(self.automaton, HasTextGoals):
            return 0
        missing = self.automaton.missing(at.state)
        begun = len(at.pending) if missing and self._is_advancing(at) else 0
        return PARTS * missing - begun

    def _is_advancing(self, at: TextState) -> bool:
        """Whether the bytes that wait for others begin a character that some goal needs."""
        assert isinstance(self.automaton, HasTextGoals)
        if not at.pending:
            return False
        needed = self.automaton.advancing(at.state)
        return any(character.encode().startswith(at.pending) for character in needed)

    def advancing(self, at: TextState) -> Tensor | None:
        """The tokens after which less is missing, bool (vocab_size,); None: nothing is."""
        if not self.missing(at):
            return None
        if at not in self._advancing:
            if len(self._advancing) >= self._max_masks:
                self._advancing.clear()
            mask = torch.zeros(self.trie.vocab_size, dtype=torch.bool)
            for spelled in self._needed(at):
                mask[self.trie.spelling(spelled)] = True
            self._advancing[at] = mask
        return self._advancing[at]

    def _needed(self, at: TextState) -> Iterator[bytes]:
        """The bytes that may follow on the way to a goal: all beginnings of what it needs, with the
        spaces that a tokenizer puts beside words.
        """
        state, pending = at.state, at.pending
        if self.suffix_space and pending == SPACE:
            state, pending = self._after_shown_space(at), b""
        ways = [(b"", state)]
        if not pending and self.automaton.allowed(state).admits(" "):
            ways.append((SPACE, self.automaton.advance(state, " ")))
        for before, begun in ways:
            for text in self._paths(begun):
                spelled = text.encode()
                if spelled.startswith(pending):
                    spelled = spelled[len(pending) :]
                    yield from (before + spelled[:end] for end in range(1, len(spelled) + 1))
                    yield before + spelled + SPACE

    def _after_shown_space(self, at: TextState) -> Hashable:
        allowed = self.automaton.allowed(at.state).admits(" ")
        return self.automaton.advance(at.state, " ") if allowed else at.state

    def _paths(self, state: Hashable) -> list[str]:
        """The longest texts of characters that bring some goal nearer each."""
        assert isinstance(self.automaton, HasTextGoals)
        paths: list[str] = []
        unfinished = [("", state)]
        while unfinished and len(paths) < MAX_PATHS:
            text, here = unfinished.pop()
            needed = self.automaton.advancing(here) if len(text) < self.trie.longest else ()
            characters = sorted(c for c in needed if self.automaton.allowed(here).admits(c))
            unfinished += [(text + c, self.automaton.advance(here, c)) for c in characters]
            if text and not characters:
                paths.append(text)
        return paths

    def _strips(self, at: TextState) -> bool:
        return self.strip_space and not at.started

    # -- masks -----------------------------------------------------------------------------------

    def _find_mask(self, at: TextState) -> Tensor:
        if len(self._numbers) > MAX_STATES:
            self._numbers, self._states, self._after = {}, [], {}
        if at.pending == SPACE:
            return self._after_space(at)
        alive, states = self._walk(at, self.trie.inner)
        nodes = self.trie.token_nodes
        allowed = alive[nodes] & (nodes >= 0)
        if self.suffix_space:  # a text may end with a space that is not shown
            allowed |= self._spaced & self._ends_before_space(alive, states)[nodes] & (nodes >= 0)
        mask = torch.from_numpy(allowed)
        mask[END] = not at.pending and self.automaton.may_end(at.state)
        return mask

    def _after_space(self, at: TextState) -> Tensor:
        """The mask of a text after a word and its space, which is shown if another word follows."""
        if self.automaton.allowed(at.state).admits(" "):
            spaced = self.automaton.advance(at.state, " ")
            mask = self.mask(TextState(spaced, started=at.started)).clone()
        else:
            mask = torch.zeros(self.trie.vocab_size, dtype=torch.bool)
        mask[END] = self.automaton.may_end(at.state)
        return mask

    def _needs(self, at: TextState) -> Ints:
        """The tokens that the text needs after each token, int64 (vocab_size,)."""
        if at.pending == SPACE and self.automaton.allowed(at.state).admits(" "):
            at = TextState(self.automaton.advance(at.state, " "), started=at.started)
        trie, cost = self.trie, self.trie.usual_cost
        alive, states = self._walk(at, trie.inner | trie.whole)
        needs = np.full(len(alive), NEVER)
        known = np.flatnonzero(alive & (states >= 0))
        for number, members in _groups(states[known]):
            needs[known[members]] = cost * self.automaton.remaining(self._states[number])[0]
        for level in trie.levels:  # and within characters
            for part in np.flatnonzero(alive[level.nodes] & (states[level.nodes] < 0)):
                spelled = trie.names[level.edges[part]]
                assert isinstance(spelled, bytes)
                begun = at.pending + spelled if spelled[0] in TAIL else spelled
                least = self.automaton.remaining(self._states[states[level.parents[part]]])[0]
                missing = size_of_character(begun[0]) - len(begun)
                needs[level.nodes[part]] = missing + cost * max(0, least - 1)
        return np.where(trie.token_nodes >= 0, needs[trie.token_nodes], NEVER)

    def _walk(self, at: TextState, wanted: Bools) -> tuple[Bools, Ints]:
        """Which nodes of the trie can be reached, bool (nodes,), and with what states.

        Args:
            wanted: the nodes whose states are found, at least the inner ones, bool (nodes,).

        Returns:
            Also the number of the state at these nodes, int64 (nodes,).
        """
        trie = self.trie
        alive = np.zeros(len(trie.inner), np.bool_)
        states = np.full(len(trie.inner), -1)
        alive[0], states[0] = True, self._number(at.state)
        if not trie.levels:
            return alive, states
        if at.pending:
            self._complete(at, trie.levels[0], alive, states)
        else:
            self._step(trie.levels[0], alive, states, wanted)
        if self._strips(at):
            self._skip_space(at, trie.levels[0], alive, states)
        for level in trie.levels[1:]:
            self._step(level, alive, states, wanted)
        return alive, states

    def _step(self, level: TrieLevel, alive: Bools, states: Ints, wanted: Bools) -> None:
        """Go from the reached nodes to those of the level below."""
        reached = np.flatnonzero(alive[level.parents] & (states[level.parents] >= 0))
        for number, members in _groups(states[level.parents[reached]]):
            here = reached[members]
            allowed, _ = self.trie.allowed(self.automaton.allowed(self._states[number]))
            here = here[allowed[level.edges[here]]]
            alive[level.nodes[here]] = True
            here = here[wanted[level.nodes[here]]]
            states[level.nodes[here]] = self._successors(number, level.edges[here])

    def _successors(self, number: int, edges: Ints) -> Ints:
        """The states after a state and each of these characters, int64 (edges,)."""
        found = np.empty(len(edges), np.int64)
        alike = edges
        if self._classes is not None:
            alike = self._numbers_of(self._classes(self._states[number]))[edges]
        for _, members in _groups(alike):
            found[members] = self._successor(number, int(edges[members[0]]))
        return found

    def _numbers_of(self, classes: Classes) -> Ints:
        """The number of each character's class, by edge; 0 for those in none."""
        if classes not in self._class_numbers:
            if len(self._class_numbers) >= MAX_CLASSES:
                self._class_numbers.clear()
            numbers = np.zeros(len(self.trie.names), np.int64)
            for number, members in enumerate(classes, 1):
                edges = (self.trie.edge(character) for character in members)
                numbers[[edge for edge in edges if edge >= 0]] = number
            self._class_numbers[classes] = numbers
        return self._class_numbers[classes]

    def _successor(self, number: int, edge: int) -> int:
        key = number, edge
        if key not in self._after:
            character = self.trie.names[edge]
            assert isinstance(character, str)
            after = self.automaton.advance(self._states[number], character)
            self._after[key] = self._number(after)
        return self._after[key]

    def _complete(self, at: TextState, level: TrieLevel, alive: Bools, states: Ints) -> None:
        """Go from the root by the tails that continue the bytes of a character."""
        characters = self.automaton.allowed(at.state)
        _, spelled = self.trie.allowed(characters)
        size = size_of_character(at.pending[0])
        for node, edge in zip(level.nodes.tolist(), level.edges.tolist(), strict=True):
            tail = self.trie.tails.get(edge)
            if tail is None:
                continue
            together = at.pending + tail
            if len(together) < size:
                alive[node] = spelled.has(together)
                continue
            character = _decoded(together)
            if character is not None and character in spelled:
                alive[node] = True
                states[node] = self._number(self.automaton.advance(at.state, character))

    def _skip_space(self, at: TextState, level: TrieLevel, alive: Bools, states: Ints) -> None:
        """A first space that is not shown leads nowhere."""
        nodes = level.nodes[level.edges == self.trie.edge(" ")]
        alive[nodes], states[nodes] = True, self._number(at.state)

    def _ends_before_space(self, alive: Bools, states: Ints) -> Bools:
        """The nodes after a space before which the text may end, bool (nodes,)."""
        ends = np.zeros_like(alive)
        for level in self.trie.levels:
            here = (level.edges == self.trie.edge(" ")) & alive[level.parents]
            for number, members in _groups(states[level.parents[here]]):
                nodes = level.nodes[here][members]
                ends[nodes] = self.automaton.may_end(self._states[number])
        return ends

    def _number(self, state: Hashable) -> int:
        if state not in self._numbers:
            self._numbers[state] = len(self._states)
            self._states.append(state)
        return self._numbers[state]


class AutomatonConstraint:
    """A text that is being written under an automaton."""

    def __init__(
        self, table: AutomatonTable, at: TextState, tokens: float = math.inf, text: bytes = b""
    ) -> None:
        self._table, self._at = table, at
        self._tokens = tokens  # that can be written
        self._text = text  # its last bytes, for messages

    def allowed(self) -> Tensor:
        """The tokens after which the text can still be completed."""
        mask = self._table.mask_within(self._at, self._tokens)
        if not mask.any():
            text = self._text.decode("utf-8", "replace")
            raise WenmoError(
                f"after {text[-40:]!r} the model has no token for what the constraint asks for: "
                "its tokenizer cannot spell it"
            )
        return mask

    def forced(self) -> int | None:
        """The one token that may follow, if no other may."""
        return only_token(self._table.mask_within(self._at, self._tokens))

    def redirected(self) -> RedirectedTokens | None:
        """The tokens whose probability another one has; see `AutomatonTable.redirected`."""
        return self._table.redirected(self._at)

    def advance(self, token: int) -> None:
        """Append a token."""
        self._at = self._table.advance(self._at, token)
        self._tokens -= 1
        self._text = (self._text + self._table.trie.table[token])[-160:]

    def fork(self) -> AutomatonConstraint:
        """An independent copy."""
        return AutomatonConstraint(self._table, self._at, self._tokens, self._text)

    def missing(self) -> int:
        """What is missing until all goals are met, in parts of a character (`PARTS`)."""
        return self._table.missing(self._at)

    def advancing(self) -> Tensor | None:
        """The tokens after which less is missing; None: all goals are met."""
        return self._table.advancing(self._at)


def _groups(values: Ints) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Each different value, and where it stands."""
    if not len(values):
        return
    if (values == values[0]).all():
        yield int(values[0]), np.arange(len(values))
        return
    order = np.argsort(values, kind="stable")
    numbers, starts = np.unique(values[order], return_index=True)
    for number, members in zip(numbers, np.split(order, starts[1:]), strict=True):
        yield int(number), members


def _whole_size(spelled: bytes) -> int:
    """The number of bytes of the whole characters at the beginning."""
    for start in range(len(spelled) - 1, max(-1, len(spelled) - 4), -1):
        if spelled[start] >= 0xC0:
            return (
                start if size_of_character(spelled[start]) > len(spelled) - start else len(spelled)
            )
    return len(spelled)


def _decoded(spelled: bytes) -> str | None:
    try:
        return spelled.decode()
    except UnicodeDecodeError:
        return None
