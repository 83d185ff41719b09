"""Which words may follow in a poem, so that it can be completed.

Within a line, a text is at one or more positions of the line's patterns. Which words may follow
depends on their stress patterns alone, of which there are some hundred, except for the last word of
a line. So it is computed for sets of stress patterns (as bits of an integer), and for rhymes only
over the words that rhyme.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from wenmo.types import WenmoError
from wenmo.verse.english.lexicon import FREE, NO_RHYME, Lexicon
from wenmo.verse.english.line import ANY, BEAT, Line
from wenmo.verse.english.spans import Span, SparseSpan

Position: TypeAlias = tuple[int, int]
"""A place in a line: index of the pattern, number of its syllables so far."""

Rhymes: TypeAlias = tuple[tuple[int, frozenset[int]] | None, ...]
"""Of each group of rhymes the tail and the onsets so far; None: not begun, or complete."""

MAX_CACHED = 20_000
MAX_DENSE = 96  # cached spans over the whole lexicon, of some hundred kilobytes each
T = TypeVar("T")


class Place(NamedTuple):
    """A text between two words: its line, its positions in the line, the open rhymes."""

    line: int
    positions: frozenset[Position]
    rhymes: Rhymes


class Finals(NamedTuple):
    """The words that may end a line: their indices, ascending; their stress patterns, as bits."""

    words: NDArray[np.int64]
    shapes: int


class Feasibility:
    """Which words may follow at each place of a poem.

    Args:
        name: of the form, for messages.
        first: the first letter of lines where it is given.
        last: the last letter of lines where it is given.

    Attributes:
        start: the place before the first word.

    Raises:
        WenmoError: there is no such poem.
    """

    def __init__(
        self,
        name: str,
        lines: Sequence[Line],
        lexicon: Lexicon,
        first: Mapping[int, str],
        last: Mapping[int, str],
    ) -> None:
        self.lines, self.lexicon = tuple(lines), lexicon
        self.first, self.last = dict(first), dict(last)
        letters = sorted({line.rhyme for line in lines if line.rhyme})
        self._groups = [letters.index(line.rhyme) if line.rhyme else None for line in lines]
        self._cache: dict[Hashable, object] = {}
        self._facts: dict[Hashable, object] = {}
        self._dense: dict[Hashable, Span] = {}
        self._spans: dict[Place, tuple[Span, Span]] = {}
        self._all = (1 << len(lexicon.shapes)) - 1
        self.steps = {line: self._pattern_steps(line) for line in self.lines}
        self.enders = [self._line_enders(number) for number in range(len(lines))]
        self.start = self._line_start(0, (None,) * len(letters))
        self._check(name)

    def spans(self, place: Place) -> tuple[Span, Span]:
        """The words that may follow: with more words behind them in the line, and as its last."""
        if place not in self._spans:
            if len(self._spans) >= MAX_CACHED:
                self._spans.clear()
            self._spans[place] = self._go(place), self._end(place)
        return self._spans[place]

    def _go(self, place: Place) -> Span:
        first = self._first_letter(place)
        shapes = self.going(place)

        def mask() -> NDArray[np.bool_]:
            found = self._table(shapes)[self.lexicon.shape]
            return found if first is None else found & self._begin_with(first)

        return self._dense_span(("go", shapes, first), mask)

    def _end(self, place: Place) -> Span:
        words = self.finals(place.line, place.rhymes).words
        first, shapes = self._first_letter(place), self._ending(place)

        def fitting() -> NDArray[np.int64]:
            fit = self._table(shapes)[self.lexicon.shape[words]]
            return words[fit if first is None else fit & self._begin_with(first)[words]]

        if self.known_rhyme(place.line, place.rhymes) is not None:
            return SparseSpan(fitting())

        def mask() -> NDArray[np.bool_]:
            found = np.zeros(len(self.lexicon.words), np.bool_)
            found[fitting()] = True
            return found

        return self._dense_span(("end", place.line, shapes, first), mask)

    def after_word(self, place: Place, word: int) -> Place:
        """The place after a word that is not the last of its line."""
        shape = int(self.lexicon.shape[word])
        return self.cached(("after", place, shape), lambda: self.after_shape(place, shape))

    def after_line(self, place: Place, word: int) -> Place:
        """The place at the beginning of the next line, after the last word of a line."""
        number, rhymes = place.line, list(place.rhymes)
        group = self._groups[number]
        if group is not None:
            known = place.rhymes[group]
            tail, onsets = known or (int(self.lexicon.tail[word]), frozenset())
            onsets |= {int(self.lexicon.onset[word])}
            rhymes[group] = (tail, onsets) if self._later(number) else None
        return self._line_start(number + 1, tuple(rhymes))

    def going(self, place: Place) -> int:
        """The stress patterns of words that may follow with more words behind them, as bits."""
        line = self.lines[place.line]
        ready = self._completable(place)
        return _union(
            bits
            for q, p in place.positions
            for end, bits in self.steps[line][q, p]
            if (q, end) in ready
        )

    def _ending(self, place: Place) -> int:
        """The stress patterns of words that may end the line, as bits."""
        line = self.lines[place.line]
        return _union(
            bits
            for q, p in place.positions
            for end, bits in self.steps[line][q, p]
            if end == len(line.patterns[q])
        )

    def after_shape(self, place: Place, shape: int) -> Place:
        line, ready = self.lines[place.line], self._completable(place)
        positions = frozenset(
            (q, end)
            for q, p in place.positions
            for end, bits in self.steps[line][q, p]
            if bits >> shape & 1 and (q, end) in ready
        )
        return place._replace(positions=positions)

    def _completable(self, place: Place) -> frozenset[Position]:
        """The positions within the line of a place from which it can be completed."""
        line, finals = self.lines[place.line], self.finals(place.line, place.rhymes).shapes

        def solve() -> frozenset[Position]:
            ready: set[Position] = set()
            for q, pattern in enumerate(line.patterns):
                for p in range(len(pattern) - 1, -1, -1):
                    for end, bits in self.steps[line][q, p]:
                        if (bits & finals) if end == len(pattern) else (q, end) in ready:
                            ready.add((q, p))
            return frozenset(ready)

        return self.cached(("ready", line, finals), solve)

    def _pattern_steps(self, line: Line) -> dict[Position, list[tuple[int, int]]]:
        """Where words lead: by position the next positions, each with stress patterns, as bits."""
        steps: dict[Position, list[tuple[int, int]]] = {}
        for q, pattern in enumerate(line.patterns):
            for p in range(len(pattern)):
                ends: dict[int, int] = {}
                for number, shape in enumerate(self.lexicon.shapes):
                    if _fits(shape, pattern, p, rhymes=bool(line.rhyme)):
                        end = p + len(shape)
                        ends[end] = ends.get(end, 0) | 1 << number
                steps[q, p] = sorted(ends.items())
        return steps

    def _line_start(self, number: int, rhymes: Rhymes) -> Place:
        positions = frozenset((q, 0) for q in range(len(self.lines[number].patterns)))
        return Place(number, positions, rhymes)

    def _line_enders(self, number: int) -> NDArray[np.bool_]:
        """The words that some line can end with, bool (words,), whatever it rhymes with."""
        line, first = self.lines[number], self.first.get(number)

        def solve() -> NDArray[np.bool_]:
            shape = self.lexicon.shape
            begins = None if first is None else self._begin_with(first)
            openers = self._all if begins is None else _union(1 << int(n) for n in shape[begins])
            alone = later = 0
            reached = {(q, 0) for q in range(len(line.patterns))}
            for q, pattern in enumerate(line.patterns):
                for p in range(len(pattern)):
                    for end, bits in self.steps[line][q, p] if (q, p) in reached else ():
                        usable = bits & openers if p == 0 else bits
                        if end < len(pattern) and usable:
                            reached.add((q, end))
                        elif p == 0:
                            alone |= usable
                        else:
                            later |= usable
            single = self._table(alone)[shape]
            enders = self._table(later)[shape] | (single if begins is None else single & begins)
            if number in self.last:
                enders &= self._end_with(self.last[number])
            return enders & (self.lexicon.tail != NO_RHYME) if line.rhyme else enders

        return self._kept(("enders", self._alike(number)), solve)

    def finals(self, number: int, rhymes: Rhymes) -> Finals:
        """The words that may end a line, as far as rhymes are concerned."""
        known = self.known_rhyme(number, rhymes)
        if known is not None:
            key = "finals", number, known
            return self.cached(key, lambda: self._known_finals(number, *known))
        alike = self._alike(number), *map(self._alike, self._later(number))
        return self._kept(("finals", alike), lambda: self._first_finals(number))

    def _known_finals(self, number: int, tail: int, onsets: frozenset[int]) -> Finals:
        """Words that rhyme with those of lines before, and leave words for those of lines after."""
        words = self.lexicon.rhyming(tail)
        words = words[self.enders[number][words]]
        free = [n not in onsets for n in self.lexicon.onset[words].tolist()]
        words = words[np.array(free, np.bool_)]
        later = self._later(number)
        if later:
            fit = [
                self._completes(later, tail, onsets | {n})
                for n in self.lexicon.onset[words].tolist()
            ]
            words = words[np.array(fit, np.bool_)]
        return self._with_shapes(words)

    def _first_finals(self, number: int) -> Finals:
        """The words with which enough others rhyme to end the later lines of the group."""
        later = self._later(number)
        words = np.flatnonzero(self.enders[number])
        if not later:  # it rhymes with no other
            return self._with_shapes(words)
        rhymes = [(tail, onset) for tail, onset in self._rhymes(words).tolist()]
        fit = {
            (tail, onset): self._completes(later, tail, frozenset({onset}))
            for tail, onset in set(rhymes)
        }
        return self._with_shapes(words[np.array([fit[each] for each in rhymes], np.bool_)])

    def _with_shapes(self, words: NDArray[np.int64]) -> Finals:
        return Finals(words, _union(1 << int(n) for n in np.unique(self.lexicon.shape[words])))

    def _completes(self, later: tuple[int, ...], tail: int, onsets: frozenset[int]) -> bool:
        """Whether lines can end with words of a tail, of which all onsets differ (a matching)."""
        choices = [self._onsets(number).get(tail, frozenset()) - onsets for number in later]
        sizes = sorted(map(len, choices))
        if all(size > n for n, size in enumerate(sizes)):
            return True  # line by line, the one with the fewest first
        taken: dict[int, int] = {}

        def assign(index: int, seen: set[int]) -> bool:
            for onset in choices[index] - seen:
                seen.add(onset)
                if onset not in taken or assign(taken[onset], seen):
                    taken[onset] = index
                    return True
            return False

        return all(assign(index, set()) for index in range(len(choices)))

    def _onsets(self, number: int) -> dict[int, frozenset[int]]:
        """The onsets of the words that can end a line, by tail."""

        def find() -> dict[int, frozenset[int]]:
            onsets: dict[int, set[int]] = {}
            for tail, onset in self._rhymes(np.flatnonzero(self.enders[number])).tolist():
                onsets.setdefault(tail, set()).add(onset)
            return {tail: frozenset(found) for tail, found in onsets.items()}

        return self._kept(("onsets", self._alike(number)), find)

    def _rhymes(self, words: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tail and onset of words, int64 (words, 2)."""
        return np.stack([self.lexicon.tail[words], self.lexicon.onset[words]], axis=1)

    def _alike(self, number: int) -> Hashable:
        """What decides which words can end a line; lines with the same share what is cached."""
        line = self.lines[number]
        return line.patterns, bool(line.rhyme), self.first.get(number), self.last.get(number)

    def known_rhyme(self, number: int, rhymes: Rhymes) -> tuple[int, frozenset[int]] | None:
        group = self._groups[number]
        return None if group is None else rhymes[group]

    def _later(self, number: int) -> tuple[int, ...]:
        """The lines after a line that rhyme with it."""
        letter = self.lines[number].rhyme
        if not letter:
            return ()
        return tuple(n for n in range(number + 1, len(self.lines)) if self.lines[n].rhyme == letter)

    def _first_letter(self, place: Place) -> str | None:
        at_start = (0, 0) in place.positions
        return self.first.get(place.line) if at_start else None

    def _begin_with(self, letter: str) -> NDArray[np.bool_]:
        """The words whose first character it is, bool (words,)."""

        def find() -> NDArray[np.bool_]:
            return np.array([word.startswith(letter) for word in self.lexicon.words])

        return self._kept(("begin", letter), find)

    def _end_with(self, letter: str) -> NDArray[np.bool_]:
        """The words whose last character it is, bool (words,)."""
        return np.array([word.endswith(letter) for word in self.lexicon.words])

    def _table(self, bits: int) -> NDArray[np.bool_]:
        """Bits as bool (stress patterns,)."""
        return np.array([bits >> n & 1 for n in range(len(self.lexicon.shapes))], np.bool_)

    def _dense_span(self, key: Hashable, make: Callable[[], NDArray[np.bool_]]) -> Span:
        if key not in self._dense:
            if len(self._dense) >= MAX_DENSE:
                self._dense.clear()
                self._spans.clear()
            self._dense[key] = Span(make())
        return self._dense[key]

    def _kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """What a function returns, computed once: for what depends on a line of the form alone."""
        if key not in self._facts:
            self._facts[key] = make()
        found: T = self._facts[key]  # type: ignore[assignment]
        return found

    def cached(self, key: Hashable, make: Callable[[], T]) -> T:
        """What a function returns, kept as long as there is room: for what depends on a text."""
        if key not in self._cache:
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            self._cache[key] = make()
        found: T = self._cache[key]  # type: ignore[assignment]
        return found

    def _check(self, name: str) -> None:
        for number, line in enumerate(self.lines):
            if not self.enders[number].any():
                given = f" that begin with {self.first[number]!r}" if number in self.first else ""
                given += f" that end with {self.last[number]!r}" if number in self.last else ""
                raise WenmoError(f"{name}: line {number + 1}: no words{given} have its metre")
            group = [n for n, other in enumerate(self.lines) if other.rhyme == line.rhyme]
            first = line.rhyme and number == group[0]
            if first and not len(self.finals(number, self.start.rhymes).words):
                numbers = ", ".join(str(n + 1) for n in group)
                raise WenmoError(f"{name}: lines {numbers}: no words that can end them rhyme")


def _fits(shape: str, pattern: str, start: int, *, rhymes: bool) -> bool:
    """Whether a word may stand in a pattern: the rules of metre in `wenmo.verse.english.form`."""
    end = start + len(shape)
    if end > len(pattern):
        return False
    if shape == FREE:
        return not (rhymes and end == len(pattern)) or pattern[start] in (BEAT, ANY)
    places = pattern[start:end]
    return all(p == ANY or (s == "1") == (p == BEAT) for s, p in zip(shape, places, strict=True))


def bits_of(bits: int) -> list[int]:
    return [n for n in range(bits.bit_length()) if bits >> n & 1]


def _union(bits: Iterable[int]) -> int:
    return reduce(or_, bits, 0)
