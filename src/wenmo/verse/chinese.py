"""Chinese verse: forms with tone patterns and rhymes (格律诗, 词)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import get_args

from wenmo.text.automaton import TextAutomaton
from wenmo.types import WenmoError
from wenmo.verse.chinese_check import Rules, check_poem
from wenmo.verse.form import FormFile, Verdict
from wenmo.verse.patterns import Pattern, read_patterns
from wenmo.verse.rhyme_books import BookName, load_book

KEYS = (
    "language",
    "aliases",
    "rhyme_book",
    "loose_first_rhyme",
    "pattern",
    "orders",
    "types",
    "faults",
)


@dataclass(frozen=True)
class ChineseForm:
    """A form of Chinese verse.

    Attributes:
        patterns: alternative patterns.
        rhyme_book: the rhyme book that says what rhymes.
        loose_first_rhyme: whether the first line may rhyme with a neighbouring group (邻韵).
        faults: tone patterns with a name of their own, for messages.
    """

    name: str
    patterns: tuple[Pattern, ...]
    rhyme_book: BookName = "pingshui"
    loose_first_rhyme: bool = False
    faults: Mapping[str, str] = field(default_factory=dict)
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
        )

    def check(self, text: str) -> Verdict:
        """Judge a text.

        Raises:
            WenmoError: the packages with the rhyme book are not installed.
        """
        return check_poem(text, self.rules)

    @property
    def rules(self) -> Rules:
        """What poems are judged by."""
        return Rules(
            self.patterns,
            self.faults,
            load_book(self.rhyme_book),
            self.loose_first_rhyme,
            links_lines=any(pattern.name for pattern in self.patterns),
        )

    def automaton(
        self,
        alphabet: Collection[str],
        *,
        fixed: Mapping[tuple[int, int], str] | None = None,
        seed: int = 0,
    ) -> TextAutomaton:
        """The texts of the form over an alphabet."""
        raise WenmoError(f"{self.name}: writing is not implemented yet")
