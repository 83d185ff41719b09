"""Tokenizers in two steps, as some programs have them: text is cut into pieces, and these are
looked up in a vocabulary that numbers them in a way of its own, and may lack some.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tokenizers import Tokenizer as Library

from wenmo.files import atomic
from wenmo.text.pretrained import Pretrained
from wenmo.types import WenmoError

Cut: TypeAlias = "Callable[[str], list[str]]"
"""From a text to its pieces."""

UNKNOWN = "<unk>"
"""Stands for every piece that a vocabulary lacks."""


@dataclass(frozen=True)
class Cutting:
    """How text is cut into pieces, and what these stand for.

    Attributes:
        target: cuts what a model writes.
        source: cuts what a model answers to.
        marks: what is looked up as it stands, before anything is cut.
        spell: the text that a piece stands for, the space of a word with it.
        space_after: that space stands after a word, not before it.
        origin: the ``model_type`` of the models that come with such files.
        files: the content of the other program's files, by name.
    """

    target: Cut
    source: Cut
    marks: re.Pattern[str]
    spell: Callable[[str], str]
    space_after: bool
    origin: str
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Vocabulary:
    """What the files of another program's tokenizer hold.

    Attributes:
        path: where they lie.
        library: its tokens and their ids; it cuts text, too, unless something else does.
        cutting: that, where it does.
    """

    path: Path
    library: Library
    cutting: Cutting | None = None

    def tokenizer(
        self, end: int, size: int, beginning: str | None = None, prefix: list[int] | None = None
    ) -> Pretrained:
        """The tokenizer of a model.

        Args:
            end: the id there of the mark that ends a text.
            size: the number of ids that the model has.
            beginning: the name of the mark that begins one, as of `Pretrained`.
            prefix: our ids before every text that is written; None: as before what it answers to.

        Raises:
            WenmoError: they do not belong together.
        """
        try:
            if self.cutting is None:
                made = Pretrained(self.library, end=end, size=size, beginning=beginning)
            else:
                made = Lookup(self.library, self.cutting, end=end, size=size)
        except WenmoError as error:
            raise WenmoError(f"{self.path}: {error}") from None
        made.prefix = made.prefix if prefix is None else prefix
        return made


class Lookup(Pretrained):
    """Another program's tokenizer in two steps.

    Args:
        library: the vocabulary, with the marks in it; one is `UNKNOWN`.
        cutting: what comes before it.
        end, size: as of `Pretrained`.
    """

    def __init__(self, library: Library, cutting: Cutting, *, end: int, size: int) -> None:
        self._cutting = cutting
        super().__init__(library, end=end, size=size)
        self.origin = cutting.origin
        self.prefix_space, self.suffix_space = not cutting.space_after, cutting.space_after
        self._numbers = library.get_vocab()
        self._unknown = self._numbers[UNKNOWN]

    def save(self, path: str | Path) -> None:
        """Write the other program's files, as they were, beside ``path``; each whole or not at all.

        Raises:
            WenmoError: one cannot be written.
        """
        for name, content in self._cutting.files.items():
            with atomic(Path(path).with_name(name)) as temporary:
                temporary.write_bytes(content)

    def _told(self) -> bytes:
        return b"".join([super()._told(), *self._cutting.files.values()])

    def _spelled(self, token: str) -> bytes:
        return self._cutting.spell(token).encode()

    def _ids(self, text: str, *, source: bool, goes_on: bool) -> list[int]:
        cut = self._cutting.source if source else self._cutting.target
        pieces: list[str] = []
        at = 0
        for mark in self._cutting.marks.finditer(text):
            pieces += [*cut(text[at : mark.start()]), mark[0]]
            at = mark.end()
        pieces += cut(text[at:])
        return self._swapped(self._numbers.get(piece, self._unknown) for piece in pieces)
