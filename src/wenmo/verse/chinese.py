"""Chinese verse: forms with tone patterns and rhymes (格律诗, 词)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import get_args

from wenmo.verse.chinese_automaton import ChineseAutomaton
from wenmo.verse.chinese_check import Rules, check_poem
from wenmo.verse.chinese_text import chunks_of, has_shape
from wenmo.verse.couplet import answer_to, check_couplet
from wenmo.verse.form import FormFile, Verdict
from wenmo.verse.patterns import Pattern, read_patterns
from wenmo.verse.rhyme_books import BookName, load_book

MARKS = frozenset("\n，。、；！？")
KEYS = (
    "language",
    "aliases",
    "rhyme_book",
    "loose_first_rhyme",
    "pattern",
    "orders",
    "types",
    "faults",
    "couplet",
)


@dataclass(frozen=True)
class ChineseForm:
    """A form of Chinese verse.

    Attributes:
        patterns: alternative patterns.
        rhyme_book: the rhyme book that says what rhymes.
        loose_first_rhyme: whether the first line may rhyme with a neighbouring group (邻韵).
        faults: tone patterns with a name of their own, for messages.
        couplet: whether it is a couplet, whose lines are opposed.
    """

    name: str
    patterns: tuple[Pattern, ...]
    rhyme_book: BookName = "pingshui"
    loose_first_rhyme: bool = False
    faults: Mapping[str, str] = field(default_factory=dict)
    couplet: bool = False
    language: str = "zh"

    @classmethod
    def read(cls, file: FormFile) -> ChineseForm:
        """Read a form file.

        Raises:
            WenmoError: an error in it.
        """
        file.only(KEYS)
        book = file.get("rhyme_book", str, "pingshui")
        if book not in get_args(BookName):
            known = ", ".join(get_args(BookName))
            raise file.error(f"rhyme_book {book!r} is not one of: {known}", key="rhyme_book")
        return cls(
            file.path.stem,
            read_patterns(file),
            book,
            file.get("loose_first_rhyme", bool, False),
            file.get("faults", dict, {}),
            file.get("couplet", bool, False),
        )

    def check(self, text: str) -> Verdict:
        """Judge a text.

        Raises:
            WenmoError: the packages with the rhyme book are not installed.
        """
        if self.couplet:
            return check_couplet(text, load_book(self.rhyme_book))
        return check_poem(text, self.rules)

    def has_shape(self, text: str) -> bool:
        """Whether a text has the number of lines of the form, or of characters."""
        if self.couplet:
            return len(chunks_of(text)) == 2
        return any(has_shape(text, pattern.lengths) for pattern in self.patterns)

    @property
    def rules(self) -> Rules:
        """What poems are judged by."""
        return Rules(
            self.patterns,
            self.faults,
            load_book(self.rhyme_book),
            self.loose_first_rhyme,
            no_shared_characters=self.couplet,
            links_lines=any(pattern.name for pattern in self.patterns),
        )

    def automaton(
        self,
        alphabet: Collection[str] | None,
        *,
        fixed: Mapping[tuple[int, int], str] | None = None,
        beginning: str = "",
    ) -> ChineseAutomaton:
        """The poems of the form over an alphabet.

        Args:
            alphabet: the characters that can be written; None: those of the rhyme book.
            fixed: characters that are given, by line and index in the line, both from 0; an index
                of -1 is the last of a line.
            beginning: how the poem begins. The states are those of the text that continues it.

        Raises:
            WenmoError: no poem over this alphabet has the form and what is given.
        """
        rules = self.rules
        if alphabet is None:
            alphabet = rules.book.readings.keys() | MARKS
        chunks = chunks_of(beginning)
        if self.couplet and chunks and chunks[0].mark:
            rules = rules._replace(patterns=(answer_to(chunks[0].characters, rules.book),))
        return ChineseAutomaton(self.name, rules, alphabet, fixed or {}, beginning)
