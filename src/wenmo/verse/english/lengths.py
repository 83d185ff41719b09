"""How many characters a poem still has, at least and at most."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wenmo.verse.english.feasibility import Feasibility, Place, Position, bits_of
from wenmo.verse.english.line import Line

SHORTEST_GAP, LONGEST_GAP = 1, 2  # characters between words: a space; a mark and a space
LONGEST_MARK = 2  # characters between the last word of a line and its end: a dash


class Lengths:
    """Bounds of the number of characters from a place of a poem to its end.

    Of lines that rhyme, each is taken to end with any word that rhymes, so that the bounds may be
    wider than the lengths of the poems.
    """

    def __init__(self, feasibility: Feasibility) -> None:
        self._verse = feasibility
        self._inner = self._sizes(np.arange(len(feasibility.lexicon.words)))

    def within(self, place: Place, low: int, high: int) -> tuple[int, int]:
        """Bounds from the start of a word, one of the words [low, high) of the lexicon."""
        return self._verse.cached(
            ("within", place, low, high), lambda: self._within(place, low, high)
        )

    def _within(self, place: Place, low: int, high: int) -> tuple[int, int]:
        verse = self._verse
        shape, sizes = verse.lexicon.shape[low:high], verse.lexicon.lengths[low:high]
        least, most = self._behind_word(place)
        going, ending = (span.mask(low, high) for span in verse.spans(place))
        after_least, after_most = self.after_line(place)
        shortest = np.where(going, sizes + least[shape], np.inf)
        longest = np.where(going, sizes + most[shape], 0)
        shortest = np.where(ending, np.minimum(shortest, sizes + after_least), shortest)
        longest = np.where(ending, np.maximum(longest, sizes + LONGEST_MARK + after_most), longest)
        return int(shortest.min()), int(longest.max())

    def after_line(self, place: Place) -> tuple[int, int]:
        """Bounds of the lines after a place's line, with their line breaks."""
        verse = self._verse

        def total() -> tuple[int, int]:
            least = most = 0
            for number in range(place.line + 1, len(verse.lines)):
                known = verse.known_rhyme(number, place.rhymes)
                low, high = self._line(number, None if known is None else known[0])
                least, most = least + 1 + low, most + 1 + high
            return least, most

        return verse.cached(("after line", place.line, place.rhymes), total)

    def _behind_word(self, place: Place) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bounds behind a word that is not the last of its line, by its stress pattern."""
        verse = self._verse

        def rest() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            known = verse.known_rhyme(place.line, place.rhymes)
            finals = verse.finals(place.line, place.rhymes).words
            costs = verse.cached(
                ("costs", place.line, known), lambda: self._costs(verse.lines[place.line], finals)
            )
            after_least, after_most = self.after_line(place)
            least = np.full(len(verse.lexicon.shapes), np.inf)
            most = np.zeros(len(verse.lexicon.shapes))
            for shape in bits_of(verse.going(place)):
                after = verse.after_shape(place, shape).positions
                least[shape] = SHORTEST_GAP + after_least + min(costs[each][0] for each in after)
                most[shape] = LONGEST_GAP + after_most + max(costs[each][1] for each in after)
            return least, most

        return verse.cached(("behind word", place), rest)

    def _line(self, number: int, tail: int | None) -> tuple[int, int]:
        """Bounds of a whole line, which ends with a word of this tail, or of any."""
        verse = self._verse

        def bounds() -> tuple[int, int]:
            words = np.flatnonzero(verse.enders[number])
            if tail is not None:
                words = words[verse.lexicon.tail[words] == tail]
            costs = self._costs(verse.lines[number], words)
            starts = [costs[q, 0] for q in range(len(verse.lines[number].patterns))]
            return int(min(low for low, _ in starts)), int(max(high for _, high in starts))

        return verse.cached(("line", number, tail), bounds)

    def _costs(self, line: Line, finals: NDArray[np.int64]) -> dict[Position, tuple[float, float]]:
        """Bounds from each position of a line to its end, where these words may end it."""
        inner = self._inner
        last = self._sizes(finals)
        costs: dict[Position, tuple[float, float]] = {}

        def lengths(q: int, p: int) -> Iterator[tuple[float, float]]:
            for end, bits in self._verse.steps[line][q, p]:
                ends = end == len(line.patterns[q])
                sizes = last if ends else inner
                rest = (0.0, LONGEST_MARK) if ends else costs[q, end]
                gap = (0, 0) if ends else (SHORTEST_GAP, LONGEST_GAP)
                for shape in bits_of(bits):
                    yield sizes[0][shape] + gap[0] + rest[0], sizes[1][shape] + gap[1] + rest[1]

        for q, pattern in enumerate(line.patterns):
            for p in range(len(pattern) - 1, -1, -1):
                found = list(lengths(q, p))
                costs[q, p] = (
                    min((low for low, _ in found), default=np.inf),
                    max((high for _, high in found), default=-np.inf),
                )
        return costs

    def _sizes(self, words: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The lengths of the shortest and the longest of some words, by their stress pattern."""
        lexicon = self._verse.lexicon
        least = np.full(len(lexicon.shapes), np.inf)
        most = np.full(len(lexicon.shapes), -np.inf)
        np.minimum.at(least, lexicon.shape[words], lexicon.lengths[words])
        np.maximum.at(most, lexicon.shape[words], lexicon.lengths[words])
        return least, most
