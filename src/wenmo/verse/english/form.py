"""Forms of English verse: syllables or metre of each line, and which lines rhyme.

The keys of a form file:

- ``rhyme``: a letter for each line, such as ``ABAB CDCD EFEF GG``; lines with one letter rhyme, a
  line with ``.`` rhymes with none. Spaces do not matter.
- ``metre``: ``x`` for an unstressed syllable, ``/`` for a stressed one, ``|`` between alternatives.
- ``syllables``: their number, or a range such as ``"8-10"``, for lines without a metre.
- ``licences``: deviations (see `LICENCES`) that are accepted with a warning, and never written.
- ``words``: a text file, by its path from the form file; only its words are written.

``metre`` and ``syllables`` have one value for all lines, a list with one for each line, or a table
with one for each letter of ``rhyme``.

Metre: a word of several syllables stands with its stressed syllables (primary and secondary alike)
on beats, and with the others off beats; a word of one syllable may stand anywhere (the monosyllable
rule of Kiparsky 1977, "The rhythmic structure of English verse"). Rhyme: see `Pronunciation.rhyme`;
the stressed vowel of a rhyme stands on a beat.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from wenmo.types import WenmoError
from wenmo.verse.english.automaton import VerseAutomaton
from wenmo.verse.english.line import ANY, BEAT, OFF_BEAT, Line
from wenmo.verse.english.pronunciation import Pronunciation, dictionary, pronounce, words_of
from wenmo.verse.form import FormFile, Verdict

UNRHYMED = "."
LICENCES = {
    "promotion": "an unstressed syllable on a beat",
    "inversion": "a stressed syllable before the unstressed one in the first foot",
    "feminine": "one more unstressed syllable at the end of a line",
}
MAX_LINES, MAX_SYLLABLES, MAX_PATTERNS = 200, 40, 32
KEYS = ("language", "aliases", "rhyme", "metre", "syllables", "licences", "words")
CHARACTERS = frozenset({*map(chr, range(32, 127)), "\n"})
T = TypeVar("T")


class Word(NamedTuple):
    """A word of a line.

    Attributes:
        start: index of its first character in the line.
        text: as written.
        sound: None: it is unknown.
    """

    start: int
    text: str
    sound: Pronunciation | None


class Fit(NamedTuple):
    """How the words of a line fit a pattern.

    Attributes:
        faults: what the form does not allow, by the index of a character.
        licences: what it forgives.
        pattern: the pattern, or a licensed variant of it.
    """

    faults: list[tuple[int, str]]
    licences: list[tuple[int, str]]
    pattern: str


@dataclass(frozen=True)
class EnglishForm:
    """A form of English verse.

    Attributes:
        lines: of the poem.
        licences: names of `LICENCES`.
        words: the only words that are written; None: those of the dictionary.
    """

    name: str
    lines: tuple[Line, ...]
    licences: frozenset[str] = frozenset()
    words: frozenset[str] | None = None
    language: str = "en"

    @classmethod
    def read(cls, file: FormFile) -> EnglishForm:
        """Read a form file.

        Raises:
            WenmoError: an error in it.
        """
        file.only(KEYS)
        licences = file.get("licences", list, [])
        for licence in licences:
            if licence not in LICENCES:
                known = ", ".join(LICENCES)
                message = f"licence {licence!r} is not one of: {known}"
                raise file.error(message, key="licences")
        words = _read_words(file) if "words" in file.values else None
        return cls(file.path.stem, _read_lines(file), frozenset(licences), words)

    def check(self, text: str) -> Verdict:
        """Judge a text with one verse a line, or all verses in one line, separated by `` / ``.

        A word of unknown sound makes the text invalid where its sound matters: in lines with a
        metre or a number of syllables, and at the end of lines that rhyme. The reason names it.

        Raises:
            WenmoError: the dictionary is not installed.
        """
        dictionary()
        rows = _rows(text)
        reasons, warnings = [], []
        if len(rows) != len(self.lines):
            reasons.append(f"has {_count(len(rows), 'line')}, not {len(self.lines)}")
        read = [[Word(n, word, pronounce(word)) for n, word in words_of(row)] for _, row in rows]
        fits = []
        for (number, _), line, words in zip(rows, self.lines, read, strict=False):
            fit = self._fit(line, words)
            fits.append(fit)
            reasons += [f"line {number}, character {n + 1}: {fault}" for n, fault in fit.faults]
            warnings += [f"line {number}, character {n + 1}: {what}" for n, what in fit.licences]
        faults, doubts = self._rhymes([number for number, _ in rows], read, fits)
        return Verdict(not (reasons or faults), reasons + faults, warnings + doubts)

    def has_shape(self, text: str) -> bool:
        """Whether a text has the number of lines of the form."""
        return len(_rows(text)) == len(self.lines)

    def automaton(
        self,
        alphabet: Collection[str] | None,
        *,
        fixed: Mapping[tuple[int, int], str] | None = None,
        beginning: str = "",
        words: Collection[str] | None = None,
    ) -> VerseAutomaton:
        """The texts of the form over an alphabet; every word is one of known pronunciation.

        Args:
            alphabet: the characters that can be written; None: all.
            fixed: the first letters of lines (index 0), and the last letters of the last words of
                lines (index -1).
            beginning: how the poem begins. The states are those of the text that continues it.
            words: the only words that can be written; None: those of the form, or of the
                dictionary.

        Raises:
            WenmoError: no text over this alphabet has the form and what is given.
        """
        if not all(line.patterns for line in self.lines):
            raise WenmoError(
                f"{self.name}: writing needs a metre or a number of syllables for each line"
            )
        only = self.words if words is None else frozenset(words)
        characters = CHARACTERS if alphabet is None else frozenset(alphabet)
        return VerseAutomaton(self.name, self.lines, characters, fixed or {}, beginning, only)

    def _fit(self, line: Line, words: list[Word]) -> Fit:
        """How a line fits best: with the fewest faults, then the fewest licences."""
        unknown = [word for word in words if word.sound is None]
        if unknown and line.patterns:
            return Fit([(word.start, _unknown(word)) for word in unknown], [], "")
        if not line.patterns:
            return Fit([], [(word.start, _unknown(word)) for word in unknown], "")
        length = sum(word.sound.syllables for word in words if word.sound)
        candidates = [*self._variants(line)]
        same = [(pattern, used) for pattern, used in candidates if len(pattern) == length]
        if not same:
            lengths = sorted({len(pattern) for pattern in line.patterns})
            expected = f"{lengths[0]}" + f" to {lengths[-1]}" * (len(lengths) > 1)
            return Fit([(0, f"has {_count(length, 'syllable')}, not {expected}")], [], "")
        fits = [self._scan(pattern, used, line, words) for pattern, used in same]
        return min(fits, key=lambda fit: (len(fit.faults), len(fit.licences)))

    def _variants(self, line: Line) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The patterns of a line and those that licences add, each with its licences."""
        for pattern in line.patterns:
            inverted = "inversion" in self.licences and pattern.startswith(OFF_BEAT + BEAT)
            heads: list[tuple[str, tuple[str, ...]]] = [(pattern, ())]
            if inverted:
                heads.append((BEAT + OFF_BEAT + pattern[2:], ("inversion",)))
            for head, used in heads:
                yield head, used
                if "feminine" in self.licences and head.endswith(BEAT):
                    yield head + OFF_BEAT, (*used, "feminine")

    def _scan(self, pattern: str, used: tuple[str, ...], line: Line, words: list[Word]) -> Fit:
        """How words with as many syllables as a pattern fit it."""
        faults: list[tuple[int, str]] = []
        licences = [(0, LICENCES[licence]) for licence in used]
        start = 0
        for word in words:
            stresses = word.sound.stresses if word.sound else ""
            for n, (stress, place) in enumerate(zip(stresses, pattern[start:], strict=False)):
                if len(stresses) == 1 or place == ANY:
                    continue
                which = f"syllable {n + 1} of {word.text!r}"
                if stress == "0" and place == BEAT:
                    kind = licences if "promotion" in self.licences else faults
                    kind.append((word.start, f"{which} is unstressed, but on a beat"))
                elif stress != "0" and place == OFF_BEAT:
                    faults.append((word.start, f"{which} is stressed, but not on a beat"))
            start += len(stresses)
        if line.rhyme and words and pattern[-1] == OFF_BEAT:
            last = words[-1]
            if last.sound and last.sound.syllables == 1:
                faults.append((last.start, f"the rhyme of {last.text!r} is not on a beat"))
        return Fit(faults, licences, pattern)

    def _rhymes(
        self, numbers: list[int], read: list[list[Word]], fits: list[Fit]
    ) -> tuple[list[str], list[str]]:
        """The faults of the rhymes, and warnings."""
        faults: list[str] = []
        groups: dict[str, list[tuple[int, Word]]] = {}
        for number, line, words in zip(numbers, self.lines, read, strict=False):
            if line.rhyme and words:
                last = words[-1]
                if last.sound is None:
                    if not line.patterns:
                        faults.append(
                            f"line {number}, character {last.start + 1}: {_unknown(last)}"
                        )
                else:
                    groups.setdefault(line.rhyme, []).append((number, last))
        for members in groups.values():
            for place, (number, word) in enumerate(members):
                if problem := _rhyme_fault(word, members[:place]):
                    faults.append(f"line {number}, character {word.start + 1}: {problem}")
        sounds = {letter: _tail(members[0][1]) for letter, members in groups.items()}
        doubts = [
            f"the rhymes {first} and {second} are the same"
            for first in sounds
            for second in sounds
            if first < second and sounds[first] and sounds[first] == sounds[second]
        ]
        return faults, doubts


def _tail(word: Word) -> str:
    rhyme = word.sound.rhyme if word.sound else None
    return rhyme[1] if rhyme else ""


def _rhyme_fault(word: Word, before: list[tuple[int, Word]]) -> str:
    """Why a word does not rhyme with those at the ends of lines before it; "": it does."""
    assert word.sound is not None
    rhyme = word.sound.rhyme
    if rhyme is None:
        return f"{word.text!r} has no stressed vowel, so it rhymes with nothing"
    for number, other in before:
        assert other.sound is not None
        found = other.sound.rhyme
        if found is None:
            continue
        if found[1] != rhyme[1]:
            return f"{word.text!r} does not rhyme with {other.text!r} (line {number})"
        if found[0] == rhyme[0]:
            same = word.sound.phones == other.sound.phones
            what = "sounds the same as" if same else "has the same stressed syllable as"
            return f"{word.text!r} {what} {other.text!r} (line {number}), which is no rhyme"
    return ""


def _unknown(word: Word) -> str:
    return f"the pronunciation of {word.text!r} is unknown"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _rows(text: str) -> list[tuple[int, str]]:
    """The lines of a poem that are not empty, with their numbers from 1."""
    rows = text.strip().splitlines()
    if len(rows) == 1:
        rows = rows[0].split(" / ")
    return [(number, row) for number, row in enumerate(rows, start=1) if row.strip()]


def _read_lines(file: FormFile) -> tuple[Line, ...]:
    """The lines of a form from its keys."""
    scheme = re.sub(r"\s", "", file.get("rhyme", str, ""))
    written = file.get("rhyme", str, "")
    for index, letter in enumerate(written):
        if not (letter.isalpha() or letter.isspace() or letter == UNRHYMED):
            message = f"{letter!r} is no rhyme: write a letter for each line, or . for none"
            raise file.error(message, value=written, index=index)
    sizes = [
        len(value)
        for key in ("metre", "syllables")
        if isinstance(value := file.values.get(key), list)
    ]
    count = len(scheme) or (sizes[0] if sizes else 0)
    if not count:
        raise file.error("how many lines has a poem? Write 'rhyme', a letter for each, or lists")
    if count > MAX_LINES:
        raise file.error(f"has {count} lines, more than {MAX_LINES}", key="rhyme")
    scheme = scheme or UNRHYMED * count
    metres = _each(file, "metre", scheme, _read_metre)
    lengths = _each(file, "syllables", scheme, _read_syllables)
    lines = []
    for letter, metre, length in zip(scheme, metres, lengths, strict=True):
        if metre and length:
            raise file.error(
                "lines have a metre or a number of syllables, not both", key="syllables"
            )
        rhymes = letter != UNRHYMED and scheme.count(letter) > 1
        lines.append(Line(metre or length or (), letter if rhymes else ""))
    return tuple(lines)


def _each(
    file: FormFile, key: str, scheme: str, read: Callable[[FormFile, Any], tuple[str, ...]]
) -> list[tuple[str, ...] | None]:
    """What a key says of each line."""
    value = file.values.get(key)
    if value is None:
        return [None] * len(scheme)
    if isinstance(value, list):
        if len(value) != len(scheme):
            message = f"{key} has {_count(len(value), 'value')} for {_count(len(scheme), 'line')}"
            raise file.error(message, key=key)
        return [read(file, each) for each in value]
    if isinstance(value, Mapping):
        for letter in value:
            if letter not in scheme:
                raise file.error(f"no line has the rhyme {letter!r}", key=letter)
        table = {letter: read(file, each) for letter, each in value.items()}
        return [table.get(letter) for letter in scheme]
    return [read(file, value)] * len(scheme)


def _read_words(file: FormFile) -> frozenset[str]:
    path = file.path.parent / file.get("words", str)
    try:
        return _words_in(path, path.stat().st_mtime_ns)
    except (OSError, UnicodeDecodeError) as error:
        raise file.error(f"words: {path} cannot be read: {error}", key="words") from None


@lru_cache(maxsize=8)
def _words_in(path: Path, changed: int) -> frozenset[str]:
    """The words of a text file, in small letters; read again when it has changed."""
    text = path.read_text(encoding="utf-8")
    return frozenset(word.lower() for _, word in words_of(text))


def _read_metre(file: FormFile, value: Any) -> tuple[str, ...]:
    if not isinstance(value, str):
        raise file.error('a metre is a string, such as "x/x/x/x/x/"', key="metre")
    for index, letter in enumerate(value):
        if letter not in f"{BEAT}{OFF_BEAT}| ":
            message = f"{letter!r} is no syllable: write x (unstressed), / (stressed) or |"
            raise file.error(message, value=value, index=index)
    patterns = tuple(dict.fromkeys(value.replace(" ", "").split("|")))
    if not all(patterns):
        raise file.error("a metre without syllables", value=value)
    if max(map(len, patterns)) > MAX_SYLLABLES or len(patterns) > MAX_PATTERNS:
        message = f"a line has at most {MAX_SYLLABLES} syllables and {MAX_PATTERNS} metres"
        raise file.error(message, value=value)
    return patterns


def _read_syllables(file: FormFile, value: Any) -> tuple[str, ...]:
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", str(value))
    if not found or isinstance(value, bool):
        raise file.error('a number of syllables is like 7 or "8-10"', key="syllables")
    least, most = int(found[1]), int(found[2] or found[1])
    if not 0 < least <= most <= MAX_SYLLABLES:
        raise file.error(f"{value}: a line has 1 to {MAX_SYLLABLES} syllables", key="syllables")
    return tuple(ANY * length for length in range(least, most + 1))
