"""Two-step tokenizers of other programs: text is segmented into pieces, which are looked up in a
separate vocabulary that may lack some.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tokenizers import Tokenizer as Library

from wenmo.files import atomic
from wenmo.text.pretrained import PretrainedTokenizer
from wenmo.types import WenmoError

SegmentFunction: TypeAlias = "Callable[[str], list[str]]"
"""Segments a text into pieces."""

UNKNOWN = "<unk>"
"""The token of pieces outside the vocabulary."""


@dataclass(frozen=True)
class Segmentation:
    """How text is segmented into pieces, and the text of each piece.

    Attributes:
        target: segments targets.
        source: segments sources.
        special_pattern: pattern of special tokens, which are looked up before segmentation.
        text_of: text of a piece, with its space.
        has_trailing_spaces: whether that space follows the word instead of preceding it.
        origin: ``model_type`` of the models with such files.
        files: content of the other program's files, by name.
    """

    target: SegmentFunction
    source: SegmentFunction
    special_pattern: re.Pattern[str]
    text_of: Callable[[str], str]
    has_trailing_spaces: bool
    origin: str
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Vocabulary:
    """The files of another program's tokenizer.

    Attributes:
        path: their location.
        library: tokens and ids; also segments text if ``segmentation`` is None.
        segmentation: separate segmentation, if any.
    """

    path: Path
    library: Library
    segmentation: Segmentation | None = None

    def tokenizer(
        self, end: int, size: int, bos_token: str | None = None, prefix: list[int] | None = None
    ) -> PretrainedTokenizer:
        """The tokenizer of a model.

        Args:
            end: id of the end token in the library.
            size: vocabulary size of the model.
            bos_token: name of the beginning-of-text token, as in `PretrainedTokenizer`.
            prefix: ids before every target (default: as before every source).

        Raises:
            WenmoError: model and tokenizer do not fit.
        """
        try:
            if self.segmentation is None:
                tokenizer = PretrainedTokenizer(
                    self.library, end=end, size=size, bos_token=bos_token
                )
            else:
                tokenizer = VocabularyTokenizer(self.library, self.segmentation, end=end, size=size)
        except WenmoError as error:
            raise WenmoError(f"{self.path}: {error}") from None
        tokenizer.prefix = tokenizer.prefix if prefix is None else prefix
        return tokenizer


class VocabularyTokenizer(PretrainedTokenizer):
    """A two-step tokenizer of another program.

    Args:
        library: the vocabulary with its special tokens, `UNKNOWN` among them.
        segmentation: the segmentation.
        end, size: as in `PretrainedTokenizer`.
    """

    def __init__(
        self, library: Library, segmentation: Segmentation, *, end: int, size: int
    ) -> None:
        self._segmentation = segmentation
        super().__init__(library, end=end, size=size)
        self.origin = segmentation.origin
        self.prefix_space, self.suffix_space = (
            not segmentation.has_trailing_spaces,
            segmentation.has_trailing_spaces,
        )
        self._vocabulary = library.get_vocab()
        self._unknown_id = self._vocabulary[UNKNOWN]

    def save(self, path: str | Path) -> None:
        """Write the other program's files, unchanged, beside ``path``, each atomically.

        Raises:
            WenmoError: a file cannot be written.
        """
        for name, content in self._segmentation.files.items():
            with atomic(Path(path).with_name(name)) as temporary:
                temporary.write_bytes(content)

    def _identity(self) -> bytes:
        return b"".join([super()._identity(), *self._segmentation.files.values()])

    def _token_bytes(self, token: str) -> bytes:
        return self._segmentation.text_of(token).encode()

    def _ids(self, text: str, *, source: bool, continues: bool) -> list[int]:
        segment = self._segmentation.source if source else self._segmentation.target
        pieces: list[str] = []
        start = 0
        for token in self._segmentation.special_pattern.finditer(text):
            pieces += [*segment(text[start : token.start()]), token[0]]
            start = token.end()
        pieces += segment(text[start:])
        return self._swap_ids(self._vocabulary.get(piece, self._unknown_id) for piece in pieces)
