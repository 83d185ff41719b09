"""The texts of an English form, character by character, without dead ends.

A line is words of the lexicon, separated by a space, a punctuation mark and a space, a hyphen or a
dash; a line may end with one mark or dash. A character may follow exactly if some poem of the form
continues so: the rest of the word, the rest of the line (its syllables and stresses, and a last
word that rhymes), and the lines that rhyme with it later (see `Feasibility`).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import NamedTuple

from wenmo.text.automaton import CharacterSet, Classes
from wenmo.types import WenmoError
from wenmo.verse.english.feasibility import Feasibility, Place
from wenmo.verse.english.lengths import Lengths
from wenmo.verse.english.lexicon import lexicon
from wenmo.verse.english.line import Line

MARKS, MARK = frozenset(",;:.!?"), "."
HYPHEN, DASH, EM_DASH = "-", "--", "—"
LINE_BREAK, SPACE, APOSTROPHE = "\n", " ", "'"
MAX_CACHED = 50_000


class VerseState(NamedTuple):
    """A text.

    Attributes:
        place: before the current word.
        low, high: the words [low, high) of the lexicon have the first characters of this word.
        depth: the number of these characters.
        mark: what follows the word, which is then ``low``: ``.`` (some punctuation mark), ``-``
            or ``--``.
    """

    place: Place
    low: int
    high: int
    depth: int = 0
    mark: str = ""


class VerseAutomaton:
    """The texts of a form over an alphabet (see `TextAutomaton`).

    Args:
        name: of the form, for messages.
        alphabet: the characters that can be written.
        fixed: the first letters of lines, by (line, 0), and the last ones, by (line, -1); case
            does not matter.
        beginning: how the poem begins.
        words: the only words that can be written; None: those of the dictionary.

    Attributes:
        start: the text so far: the beginning.

    Raises:
        WenmoError: there is no such text.
    """

    def __init__(
        self,
        name: str,
        lines: Sequence[Line],
        alphabet: Collection[str],
        fixed: Mapping[tuple[int, int], str],
        beginning: str = "",
        words: frozenset[str] | None = None,
    ) -> None:
        self._alphabet = frozenset(alphabet)
        first, last = (_fixed_letters(name, fixed, len(lines), place) for place in (0, -1))
        for character in (SPACE, LINE_BREAK) if len(lines) > 1 else (SPACE,):
            if character not in self._alphabet:
                raise WenmoError(f"{name}: the vocabulary has no {character!r}")
        self._lexicon = lexicon(self._alphabet, words)
        if not self._lexicon.words:
            raise WenmoError(
                f"{name}: the vocabulary spells no English word of known pronunciation"
            )
        self._feasibility = Feasibility(name, lines, self._lexicon, first, last)
        self._lengths = Lengths(self._feasibility)
        self._last = len(lines) - 1
        self._capitals = self._lexicon.capitals()
        self._marks = MARKS & self._alphabet
        self._allowed: dict[VerseState, CharacterSet] = {}
        self._next_letters: dict[VerseState, dict[str, tuple[int, int]]] = {}
        self.start: Hashable = self._after(name, beginning.lstrip("\n"))

    def draw(self, seed: int) -> Hashable:
        """The start: rhymes are not drawn, but chosen by what is written."""
        return self.start

    def allowed(self, state: Hashable) -> CharacterSet:
        """The characters after which a poem can be completed; all of them are in the alphabet."""
        assert isinstance(state, VerseState)
        if state not in self._allowed:
            if len(self._allowed) >= MAX_CACHED:
                self._allowed.clear()
            found = self._letters(state) if not state.mark else {}
            characters = {*found, *self._after_word(state)} & self._alphabet
            self._allowed[state] = CharacterSet(frozenset(characters))
        return self._allowed[state]

    def advance(self, state: Hashable, character: str) -> VerseState:
        """The state after a character that is allowed."""
        assert isinstance(state, VerseState)
        place, word = state.place, state.low
        if not state.mark:
            letters = self._letters(state)
            if character in letters:
                low, high = letters[character]
                return VerseState(place, low, high, state.depth + 1)
        if character == LINE_BREAK:
            return self._before_word(self._feasibility.after_line(place, word))
        if character == SPACE:
            return self._before_word(self._feasibility.after_word(place, word))
        if character in self._marks:
            return state._replace(mark=MARK)  # all of them lead to the same
        if character == EM_DASH or (character, state.mark) == (HYPHEN, HYPHEN):
            return state._replace(mark=DASH)
        if character == HYPHEN:
            return state._replace(mark=HYPHEN)
        return self.advance(self._before_word(self._feasibility.after_word(place, word)), character)

    def classes(self, state: Hashable) -> Classes:
        """The characters that lead to the same state: a capital and its small letter, most of the
        time; punctuation marks.
        """
        assert isinstance(state, VerseState)
        together: dict[tuple[int, int], set[str]] = {}
        if not state.mark:
            for character, words in self._letters(state).items():
                together.setdefault(words, set()).add(character)
        others = self.allowed(state).characters - self._marks - set().union(*together.values())
        single = (frozenset({character}) for character in sorted(others))
        return (*map(frozenset, together.values()), self._marks, *single)

    def may_end(self, state: Hashable) -> bool:
        """Whether the poem is complete."""
        assert isinstance(state, VerseState)
        complete = state.place.line == self._last and self._is_word(state) and state.mark != HYPHEN
        return complete and self._feasibility.spans(state.place)[1].any(state.low, state.low + 1)

    def remaining(self, state: Hashable) -> tuple[int, float]:
        """Bounds of the number of characters until the poem may end."""
        assert isinstance(state, VerseState)
        high = state.low + 1 if state.mark else state.high
        least, most = self._lengths.within(state.place, state.low, high)
        least = 0 if self.may_end(state) else max(1, least - state.depth - len(state.mark))
        return least, most - state.depth

    def _after(self, name: str, beginning: str) -> VerseState:
        """The state after a given beginning."""
        state = self._before_word(self._feasibility.start)
        for index, character in enumerate(beginning):
            if not self.allowed(state).admits(character):
                before = beginning[:index].rpartition("\n")[2]
                where = f"after {before!r} in line" if before else "in line"
                number = beginning[:index].count(LINE_BREAK) + 1
                raise WenmoError(
                    f"{name}: the prompt does not begin such a poem: {character!r} cannot follow "
                    f"{where} {number}; an empty line ends what is before the poem"
                )
            state = self.advance(state, character)
        return state

    def _before_word(self, place: Place) -> VerseState:
        return VerseState(place, 0, len(self._lexicon.words))

    def _is_word(self, state: VerseState) -> bool:
        """Whether the first characters are a word."""
        return 0 < state.depth == len(self._lexicon.words[state.low])

    def _letters(self, state: VerseState) -> dict[str, tuple[int, int]]:
        """The characters that may follow within a word, and the words that then are possible.

        Only the first letter of a word may be a capital, and that of *I* must be one.
        """
        if state not in self._next_letters:
            if len(self._next_letters) >= MAX_CACHED:
                self._next_letters.clear()
            self._next_letters[state] = self._find_letters(state)
        return self._next_letters[state]

    def _find_letters(self, state: VerseState) -> dict[str, tuple[int, int]]:
        place, low, high, depth, _ = state
        go, end = self._feasibility.spans(place)
        first = depth == 0 or (depth == 1 and self._lexicon.words[low][0] == APOSTROPHE)
        found: dict[str, tuple[int, int]] = {}
        for character, (start, stop) in self._lexicon.children(low, high, depth).items():
            if not (go.any(start, stop) or end.any(start, stop)):
                continue
            if character == APOSTROPHE:
                found[self._lexicon.apostrophe] = start, stop
                continue
            if first and character.upper() in self._alphabet:
                found[character.upper()] = start, stop
            if depth == 0 and start == self._capitals[0] < self._capitals[1]:
                start = self._capitals[1]
                if not (go.any(start, stop) or end.any(start, stop)):
                    continue
            if character in self._alphabet:
                found[character] = start, stop
        return found

    def _after_word(self, state: VerseState) -> set[str]:
        """The characters that may follow a word and the mark behind it."""
        if not self._is_word(state):
            return set()
        place, word = state.place, state.low
        goes, ends = (span.any(word, word + 1) for span in self._feasibility.spans(place))
        found: set[str] = set()
        if not (goes or ends):
            return found
        if not state.mark:
            dash = HYPHEN in self._alphabet
            found |= {*self._marks, EM_DASH, *([HYPHEN] if dash else [])}
        if state.mark == HYPHEN:
            found.add(HYPHEN)
        elif ends and place.line < self._last:
            found.add(LINE_BREAK)
        if goes and state.mark in (HYPHEN, DASH):
            found |= self._letters(
                self._before_word(self._feasibility.after_word(place, word))
            ).keys()
        elif goes:
            found.add(SPACE)
        return found


def _fixed_letters(
    name: str, fixed: Mapping[tuple[int, int], str], lines: int, place: int
) -> dict[int, str]:
    """The given first (place 0) or last (place -1) letters of lines, in small letters."""
    letters = {}
    for (line, index), character in fixed.items():
        if line >= lines:
            count = f"{lines} line{'s' * (lines != 1)}"
            raise WenmoError(f"{name}: has {count}: line {line + 1} cannot have {character!r}")
        if index not in (0, -1):
            raise WenmoError(
                f"{name}: line {line + 1}, character {index + 1}: only the first and the last "
                "letter of a line of English verse can be given"
            )
        if not (character.isascii() and character.isalpha()):
            where = "ends" if index else "begins"
            raise WenmoError(f"{name}: line {line + 1}: no English word {where} with {character!r}")
        if index == place:
            letters[line] = character.lower()
    return letters
