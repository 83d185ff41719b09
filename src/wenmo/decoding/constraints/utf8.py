"""What is written is UTF-8 and, where an alphabet is given, has no character outside it.

A model that spells rare characters in bytes gives a little probability to bytes that make no
character, or one that its training text does not contain: the bytes of two rare characters combine
to a third. Without this, such bytes would be drawn now and then.

The characters that may be written make a trie of their bytes: a text that ends with whole
characters is at its root, one that ends within a character at an inner node. A token may follow
where its bytes lead from that node to another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wenmo.types import END

WHOLE, NEVER = 0, -1  # the root; and where a byte may not come
# The trie of all characters, with like nodes merged (RFC 3629, section 4): the bytes that begin a
# character, and the node that each leads to; for each node the bytes that may follow, and where
# they lead.
FIRST = [
    *((range(0x80), WHOLE), (range(0xC2, 0xE0), 1), (range(0xE1, 0xF0), 2)),
    *((range(0xF1, 0xF4), 3), ((0xE0,), 4), ((0xED,), 5), ((0xF0,), 6), ((0xF4,), 7)),
]
NEXT = {
    1: (range(0x80, 0xC0), WHOLE),
    2: (range(0x80, 0xC0), 1),
    3: (range(0x80, 0xC0), 2),
    4: (range(0xA0, 0xC0), 1),
    5: (range(0x80, 0xA0), 1),
    6: (range(0x90, 0xC0), 2),
    7: (range(0x80, 0x90), 2),
}
CONTINUATION = range(0x80, 0xC0)  # the bytes of a character behind its first
LONGEST = 4  # bytes of a character
MAX_ALPHABETS = 256  # extended alphabets that are cached
MAX_MASKS = 64


class Utf8Vocabulary:
    """The bytes of a vocabulary's tokens and the characters that may be written.

    The characters make a trie of bytes. A text is at its root (node 0) between characters, and at
    an inner node within one.

    Args:
        table: the bytes of each token; none for END.
        alphabet: the characters that may be written; None: all.

    Attributes:
        table: the bytes of each token; none for END.
        spells: the tokens that spell anything, or end the text, bool (vocab_size,).
    """

    def __init__(self, table: Sequence[bytes], alphabet: Iterable[str] | None = None) -> None:
        self.table = table
        self._lengths = np.array([len(spelled) for spelled in table], np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        self.spells = torch.from_numpy(self._lengths > 0)
        self.spells[END] = True
        self._bytes = np.frombuffer(b"".join(table), np.uint8)
        heads = np.array([spelled[0] if spelled else 0 for spelled in table])
        within = (heads >= CONTINUATION.start) & (heads < CONTINUATION.stop)
        self._tails = torch.from_numpy(np.flatnonzero(within))
        self.alphabet = None if alphabet is None else frozenset(alphabet)
        self._extended: dict[frozenset[str], Utf8Vocabulary] = {}
        nodes = all_characters() if self.alphabet is None else trie(self.alphabet)
        self._set_trie(nodes, self._walk(nodes, WHOLE, np.arange(len(table))) != NEVER)

    def _set_trie(self, nodes: NDArray[np.int32], whole: NDArray[np.bool_]) -> None:
        """Use a trie, at whose root these tokens may follow, bool (vocab_size,)."""
        self._nodes = nodes
        self._whole = torch.from_numpy(whole)
        self._free = bool(whole.all())
        self._within = torch.zeros(len(nodes), len(self._tails), dtype=torch.bool)
        self._known: set[int] = {WHOLE}
        self._masks: dict[int, Tensor] = {}
        self._usable: Tensor | None = None

    def extended(self, characters: Iterable[str]) -> Utf8Vocabulary:
        """The same vocabulary with more characters in its alphabet.

        Only tokens that the alphabet forbids are looked at again.
        """
        more = frozenset() if self.alphabet is None else frozenset(characters) - self.alphabet
        if not more:
            return self
        if more not in self._extended:
            if len(self._extended) >= MAX_ALPHABETS:
                self._extended.clear()
            other = copy(self)
            other.alphabet, other._extended = (self.alphabet or frozenset()) | more, {}
            nodes, whole = trie(more, self._nodes), self._whole.numpy().copy()
            forbidden = np.flatnonzero(~whole)
            whole[forbidden] = self._walk(nodes, WHOLE, forbidden) != NEVER
            other._set_trie(nodes, whole)
            self._extended[more] = other
        return self._extended[more]

    @property
    def usable(self) -> Tensor:
        """Which tokens can be a part of a text over the alphabet, bool (vocabulary,)."""
        if self._usable is None:
            for node in range(1, len(self._nodes)):
                self._look_at(node)
            usable = self._whole & self.spells
            usable[self._tails] |= self._within.any(0)
            self._usable = usable
        return self._usable

    def start(self, ids: Sequence[int] = ()) -> Utf8Constraint:
        """The constraint of a text that continues these ids."""
        return Utf8Constraint(self, self._node(ids))

    def mask(self, node: int) -> Tensor | None:
        """The tokens that may follow at a node, bool (vocab_size,); None: all."""
        if node == WHOLE:
            return None if self._free else self._whole
        if node not in self._masks:
            if len(self._masks) >= MAX_MASKS:
                self._masks.clear()
            self._look_at(node)
            mask = torch.zeros(len(self.table), dtype=torch.bool)
            mask[self._tails] = self._within[node]
            self._masks[node] = mask
        return self._masks[node]

    def after(self, node: int, token: int) -> int:
        """The node after one more token."""
        reached = self._after(node, self.table[token])
        return self._node([token]) if reached == NEVER else reached

    def allows(self, text: Sequence[int], token: int) -> bool:
        """Whether a token may follow these ids."""
        mask = self.mask(self._node(text))
        return mask is None or bool(mask[token])

    def _look_at(self, node: int) -> None:
        """Find what may follow within a character, unless it is known."""
        if node not in self._known:
            ends = self._walk(self._nodes, node, self._tails.numpy())
            self._within[node] = torch.from_numpy(ends != NEVER)
            self._known.add(node)

    def _node(self, ids: Sequence[int]) -> int:
        """Where a text ends; at the root, too, if it is no UTF-8 before its end, or ends with the
        beginning of a character that is not in the alphabet.
        """
        tail = b"".join([self.table[id_] for id_ in ids[-LONGEST:]])[-LONGEST:]
        for start in range(len(tail) - 1, -1, -1):
            if tail[start] not in CONTINUATION:  # the first byte of the last character
                return max(WHOLE, self._after(WHOLE, tail[start:]))
        return WHOLE

    def _after(self, node: int, spelled: bytes) -> int:
        for byte in spelled:
            node = int(self._nodes[node, byte])
            if node == NEVER:
                return NEVER
        return node

    def _walk(
        self, nodes: NDArray[np.int32], node: int, tokens: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Where each token leads from a node of a trie."""
        ends = np.full(len(tokens), node, np.int32)
        going, place = np.flatnonzero(self._lengths[tokens] > 0), 0
        while len(going):
            ends[going] = nodes[ends[going], self._bytes[self._starts[tokens[going]] + place]]
            place += 1
            going = going[(self._lengths[tokens[going]] > place) & (ends[going] != NEVER)]
        return ends


class Utf8Constraint:
    """A text whose bytes are UTF-8 and whose characters are in the alphabet."""

    def __init__(self, vocabulary: Utf8Vocabulary, node: int) -> None:
        self._vocabulary, self._node = vocabulary, node

    def allowed(self) -> Tensor | None:
        """The tokens that may follow."""
        return self._vocabulary.mask(self._node)

    def forced(self) -> None:
        """Finding out whether one token alone may follow costs more than it saves."""
        return

    def advance(self, token: int) -> None:
        """Append a token."""
        self._node = self._vocabulary.after(self._node, token)

    def fork(self) -> Utf8Constraint:
        """An independent copy."""
        return Utf8Constraint(self._vocabulary, self._node)


def all_characters() -> NDArray[np.int32]:
    """The trie of all characters: for each node and byte the next node, or NEVER, (nodes, 256)."""
    nodes = np.full((1 + len(NEXT), 256), NEVER, np.int32)
    for values, after in FIRST:
        nodes[WHOLE, list(values)] = after
    for node, (values, after) in NEXT.items():
        nodes[node, list(values)] = after
    return nodes


def trie(characters: Iterable[str], begun: NDArray[np.int32] | None = None) -> NDArray[np.int32]:
    """The trie of certain characters, as that of `all_characters`.

    Args:
        begun: the trie that they are added to; None: an empty one.
    """
    spelled = [character.encode() for character in characters]
    beginnings = {each[:length] for each in spelled for length in range(1, len(each))}
    free = 1 if begun is None else len(begun)
    nodes = np.full((free + len(beginnings), 256), NEVER, np.int32)
    if begun is not None:
        nodes[:free] = begun
    for each in spelled:
        node = WHOLE
        for byte in each[:-1]:
            if nodes[node, byte] == NEVER:
                nodes[node, byte], free = free, free + 1
            node = int(nodes[node, byte])
        nodes[node, each[-1]] = WHOLE
    return nodes[:free]
