"""The words that a poem can have: a sorted list, in which words with one prefix are neighbours."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from wenmo.verse.english.pronunciation import APOSTROPHES, dictionary, pronounce

SPELLED = re.compile(r"'?[a-z]+(?:'[a-z]+)*'?")
VOWEL_LETTER = re.compile("[aeiouy]")
SINGLE_LETTERS = frozenset("aio")  # the other letters are words of the dictionary, too
CAPITALS = ("i", "i'd", "i'll", "i'm", "i've")
"""Words that are never written with a small letter."""

FREE = "*"
NO_RHYME = -1
MAX_NODES = 200_000


class Lexicon:
    """Words with their sounds.

    Attributes:
        words: in small letters, sorted.
        lengths: their numbers of characters, int64 (words,).
        shapes: the distinct stress patterns, of ``1`` and ``0``; ``*`` for one syllable, which
            stands anywhere.
        shape: index of each word's pattern, int64 (words,).
        tail: id of the sounds from the last stressed vowel on, int64 (words,); -1: no rhyme.
        onset: id of the consonants before that vowel, int64 (words,).
        apostrophe: how the vocabulary writes it.
    """

    def __init__(self, words: Collection[str], apostrophe: str = "'") -> None:
        self.apostrophe = apostrophe
        sounds = {word: sound for word in words if (sound := pronounce(word)) is not None}
        self.words = sorted(word for word, sound in sounds.items() if sound.syllables)
        self.lengths = np.array([len(word) for word in self.words], np.int64)
        shapes: dict[str, int] = {}
        tails: dict[str, int] = {}
        onsets: dict[str, int] = {}
        rows = []
        for word in self.words:
            sound = sounds[word]
            stresses = sound.stresses.replace("2", "1")
            stresses = stresses if len(stresses) > 1 else FREE
            onset, tail = sound.rhyme or ("", "")
            rows.append(
                (
                    shapes.setdefault(stresses, len(shapes)),
                    tails.setdefault(tail, len(tails)) if tail else NO_RHYME,
                    onsets.setdefault(onset, len(onsets)),
                )
            )
        self.shapes = list(shapes)
        table = np.array(rows, np.int64).reshape(-1, 3)
        self.shape, self.tail, self.onset = (np.ascontiguousarray(part) for part in table.T)
        order = np.argsort(self.tail, kind="stable")
        starts = np.searchsorted(self.tail[order], np.arange(len(tails) + 1))
        self._by_tail = [order[a:b] for a, b in pairwise(starts)]
        self._children: dict[tuple[int, int, int], dict[str, tuple[int, int]]] = {}

    def rhyming(self, tail: int) -> NDArray[np.int64]:
        """The indices of the words that end with these sounds, ascending."""
        return self._by_tail[tail]

    def children(self, low: int, high: int, depth: int) -> dict[str, tuple[int, int]]:
        """The next characters of the words [low, high), which share ``depth`` characters.

        Returns:
            The range of words by their next character.
        """
        key = low, high, depth
        if key not in self._children:
            if len(self._children) >= MAX_NODES:
                self._children.clear()
            found: dict[str, tuple[int, int]] = {}
            start = low + (low < high and len(self.words[low]) == depth)
            while start < high:
                character = self.words[start][depth]
                prefix = self.words[start][:depth] + chr(ord(character) + 1)
                end = bisect_left(self.words, prefix, start, high)
                found[character] = (start, end)
                start = end
            self._children[key] = found
        return self._children[key]

    def capitals(self) -> tuple[int, int]:
        """The range of the words that are always written with a capital letter."""
        start = bisect_left(self.words, CAPITALS[0])
        end = start
        while end < len(self.words) and self.words[end] in CAPITALS:
            end += 1
        return start, end


@lru_cache(maxsize=4)
def lexicon(alphabet: frozenset[str], words: frozenset[str] | None = None) -> Lexicon:
    """The words of known pronunciation that an alphabet can spell, with a capital or without.

    Args:
        words: the only words; None: those of the dictionary, and its pasts with *-'d*.

    Raises:
        WenmoError: the dictionary is not installed.
    """
    if words is None:
        names = [word for word in dictionary() if _is_word(word)]
        names += [word[:-2] + "'d" for word in names if word.endswith("ed") and len(word) > 4]
    else:
        names = [word.lower().translate(APOSTROPHES) for word in words]
        names = [word for word in names if SPELLED.fullmatch(word)]
    apostrophe = "'" if "'" in alphabet or "’" not in alphabet else "’"
    letters = {*alphabet, "'"} if apostrophe in alphabet else alphabet - {"'"}
    return Lexicon({word for word in names if _can_spell(word, letters)}, apostrophe)


def _is_word(word: str) -> bool:
    """Not a single letter or an abbreviation."""
    if len(word) == 1:
        return word in SINGLE_LETTERS
    return SPELLED.fullmatch(word) is not None and VOWEL_LETTER.search(word) is not None


def _can_spell(word: str, letters: Collection[str]) -> bool:
    """Whether all characters of a word can be written, the first letter at least as a capital."""
    start = word.startswith("'")
    first, rest = word[start], word[:start] + word[start + 1 :]
    capital = first.upper() in letters
    return (capital or (first in letters and word not in CAPITALS)) and set(rest) <= set(letters)
