"""The tokens of a vocabulary as paths of characters.

A token spells the last bytes of a character (its tail), whole characters, and the first bytes of
another (its head); each may be missing. The tokens make a trie whose edges are tails, characters
and heads, so that an automaton over characters is asked once for all tokens that begin alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from copy import copy
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wenmo.text.automaton import CharacterSet

SETS_BYTES = 16 << 20  # that cached sets take at most
MAX_TAIL = 3  # bytes of a character behind its first
TAIL = range(0x80, 0xC0)  # the bytes of a character behind its first

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class TrieLevel(NamedTuple):
    """The nodes at one depth of a trie, int64 (nodes of the level,) each.

    Attributes:
        nodes: their numbers.
        parents: the node above each.
        edges: the edge from there.
    """

    nodes: Ints
    parents: Ints
    edges: Ints


class TokenTrie:
    """The trie of a vocabulary, and the characters that can be written with it.

    A character that has a token of its own is written with that token or within a longer one, and
    never spelled in bytes.

    Args:
        table: the bytes of each token; none for END and other special tokens.
        alphabet: the characters that may be written; None: all.

    Attributes:
        vocab_size: number of tokens.
        alphabet: the characters that may be written and can be spelled; None: all.
        token_nodes: the node at which each token ends, int64 (vocab_size,); -1: it is never valid.
        first_edges: the first edge of each token, int64 (vocab_size,); -1: it has none.
        inner: which nodes have nodes below them, bool (nodes,).
        whole: which nodes end with a whole character, bool (nodes,).
        levels: the nodes below the root, by depth.
        names: the character, head or tail of each edge.
        characters: the edge of each character.
        heads, tails: the bytes of these edges, by edge.
    """

    def __init__(self, table: Sequence[bytes], alphabet: Collection[str] | None = None) -> None:
        self.vocab_size = len(table)
        self.table = table
        paths = [_split(spelled) for spelled in table]
        parts = dict.fromkeys(part for path in paths for part in path)
        self.names = list(parts)
        self._edges = {part: edge for edge, part in enumerate(self.names)}
        self.characters: dict[str, int] = {}
        self.heads: dict[int, bytes] = {}
        self.tails: dict[int, bytes] = {}
        for edge, part in enumerate(self.names):
            if isinstance(part, str):
                self.characters[part] = edge
            else:
                (self.tails if part[0] in TAIL else self.heads)[edge] = part
        self._own = frozenset(
            part for part, *more in filter(None, paths) if not more and part in self.characters
        )
        self._own_counts = _count_heads(self._own)
        self._set_alphabet(alphabet)
        self._build([[self._edges[part] for part in path] for path in paths])
        self._max_sets = max(16, SETS_BYTES // max(1, len(self._edges)))

    def over(self, alphabet: Collection[str] | None) -> TokenTrie:
        """The same vocabulary with another alphabet."""
        other = copy(self)
        other.__dict__.pop("usual_cost", None)
        other._set_alphabet(alphabet)
        return other

    def _set_alphabet(self, alphabet: Collection[str] | None) -> None:
        self.alphabet = self._spellable(alphabet)
        self._sets: dict[CharacterSet, tuple[Bools, Spelled]] = {}
        self._writable = np.zeros(len(self.names), np.bool_)
        self._rare = frozenset() if self.alphabet is None else self.alphabet - self._own
        for character, edge in self.characters.items():
            self._writable[edge] = self.alphabet is None or character in self.alphabet

    def _spellable(self, alphabet: Collection[str] | None) -> frozenset[str] | None:
        """The characters of an alphabet that have a token, or one for each of their bytes."""
        single = {spelled for spelled in self.table if len(spelled) == 1}
        if len(single) == 256:
            return None if alphabet is None else frozenset(alphabet)
        characters = self.characters if alphabet is None else alphabet
        return frozenset(
            each
            for each in characters
            if each in self._own or all(bytes([byte]) in single for byte in each.encode())
        )

    def _build(self, paths: Sequence[Sequence[int]]) -> None:
        self.first_edges = np.array([path[0] if path else -1 for path in paths], np.int64)
        nodes: dict[tuple[int, int], int] = {}  # (parent, edge) to node
        depths = [0]
        token_nodes = []
        for path in paths:
            node = 0
            for edge in path:
                key = node, edge
                if key not in nodes:
                    nodes[key] = len(depths)
                    depths.append(depths[node] + 1)
                node = nodes[key]
            token_nodes.append(node or -1)
        self.token_nodes = np.array(token_nodes, np.int64)
        numbers = np.fromiter(nodes.values(), np.int64, len(nodes))
        keys = np.array(list(nodes), np.int64).reshape(-1, 2)
        by_depth = np.array(depths, np.int64)[numbers]
        self.levels = [
            TrieLevel(numbers[at], keys[at, 0], keys[at, 1])
            for depth in range(1, max(depths) + 1)
            for at in [np.flatnonzero(by_depth == depth)]
        ]
        self.inner = np.zeros(len(depths), np.bool_)
        self.inner[keys[:, 0]] = True
        self.whole = np.zeros(len(depths), np.bool_)
        self.whole[numbers] = np.isin(keys[:, 1], list(self.characters.values()))

    @property
    def one_token(self) -> frozenset[str]:
        """The characters of the alphabet that have a token of their own."""
        return self._own if self.alphabet is None else self._own & self.alphabet

    @cached_property
    def usual_cost(self) -> int:
        """The tokens that the median character of the alphabet takes."""
        characters = self.characters if self.alphabet is None else self.alphabet
        costs = sorted(1 if each in self._own else len(each.encode()) for each in characters)
        return costs[len(costs) // 2] if costs else 1

    @cached_property
    def _by_spelling(self) -> dict[bytes, list[int]]:
        found: dict[bytes, list[int]] = {}
        for token, spelled in enumerate(self.table):
            found.setdefault(spelled, []).append(token)
        return found

    def spelling(self, spelled: bytes) -> list[int]:
        """The tokens with exactly these bytes."""
        return self._by_spelling.get(spelled, [])

    @cached_property
    def longest(self) -> int:
        """The number of bytes of the longest token."""
        return max(map(len, self.table), default=0)

    def first_token(self, character: str) -> int:
        """The token of a character, or that of its first byte."""
        spelled = character.encode()
        return self.table.index(spelled if character in self._own else spelled[:1])

    def edge(self, part: str | bytes) -> int:
        """The edge of a character, a head or a tail; -1: no token has it."""
        return self._edges.get(part, -1)

    def allowed(self, characters: CharacterSet) -> tuple[Bools, Spelled]:
        """The edges, bool (edges,), that may follow a whole character where these characters may,
        and those of them that are spelled in bytes.
        """
        if characters not in self._sets:
            if len(self._sets) >= self._max_sets:
                self._sets.clear()
            self._sets[characters] = self._find(characters)
        return self._sets[characters]

    def _find(self, characters: CharacterSet) -> tuple[Bools, Spelled]:
        given, edges = characters.characters, self.characters
        if characters.negated:
            allowed = self._writable.copy()
            allowed[[edges[each] for each in given if each in edges]] = False
        else:
            allowed = np.zeros(len(self.names), np.bool_)
            allowed[[edges[each] for each in given if each in edges]] = True
            allowed &= self._writable
        spelled = self._spelled(characters)
        for edge, head in self.heads.items():
            allowed[edge] = spelled.has(head)
        return allowed, spelled

    def _spelled(self, characters: CharacterSet) -> Spelled:
        """The characters of a set that have no token of their own."""
        given = characters.characters
        if self.alphabet is not None:
            return Spelled({each for each in self._rare if characters.admits(each)})
        if characters.negated:
            return Spelled(given - self._own, self._own, self._own_counts)
        return Spelled(given - self._own)


class Spelled:
    """A set of characters that are spelled in bytes, by their first bytes.

    Args:
        characters: in the set; with ``others``, not in the set.
        others: characters that are not in the set, either; None: there are none.
        counts: of the first bytes of the others.
    """

    def __init__(
        self,
        characters: Collection[str],
        others: Collection[str] | None = None,
        counts: Counter[bytes] | None = None,
    ) -> None:
        self._characters, self._others = characters, others
        self._counts, self._other_counts = _count_heads(characters), counts

    def has(self, head: bytes) -> bool:
        """Whether a character begins with these bytes and has more."""
        if self._other_counts is None:
            return self._counts[head] > 0
        return _count_characters(head) > self._counts[head] + self._other_counts[head]

    def __contains__(self, character: str) -> bool:
        if self._others is None:
            return character in self._characters
        return character not in self._characters and character not in self._others


def _count_heads(characters: Collection[str]) -> Counter[bytes]:
    """How many characters begin with some bytes and have more."""
    spelled = [each.encode("utf-8", "surrogatepass") for each in characters]
    return Counter(each[:n] for each in spelled for n in range(1, len(each)))


def _split(spelled: bytes) -> list[str | bytes]:
    """The tail, characters and head of a token; none where no text contains it."""
    tail = next((n for n, byte in enumerate(spelled) if byte not in TAIL), len(spelled))
    rest, head = spelled[tail:], b""
    try:
        text = rest.decode()
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            return []
        head = rest[error.start :]
        text = rest[: error.start].decode()
    if tail > MAX_TAIL:
        return []
    return [*([spelled[:tail]] if tail else []), *text, *([head] if head else [])]


def size_of_character(first: int) -> int:
    """The number of bytes of a character with this first byte."""
    return 1 + (first >= 0xC0) + (first >= 0xE0) + (first >= 0xF0)


def _count_characters(head: bytes) -> int:
    """The number of characters that begin with these bytes (RFC 3629, section 4)."""
    size = size_of_character(head[0])
    missing = size - len(head)
    code = head[0] & (0x7F >> size)
    for byte in head[1:]:
        code = code << 6 | byte & 0x3F
    first, last = code << 6 * missing, ((code + 1) << 6 * missing) - 1
    first, last = max(first, (0, 0, 0x80, 0x800, 0x10000)[size]), min(last, 0x10FFFF)
    surrogates = max(0, min(last, 0xDFFF) - max(first, 0xD800) + 1)
    return max(0, last - first + 1 - surrogates)
