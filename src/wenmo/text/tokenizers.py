"""Lossless tokenizers: characters, bytes, words, BPE and unigram.

Every id stands for fixed bytes (``Tokenizer.table``), and decoding concatenates them: streaming,
bits per byte and losslessness follow from that. A symbol outside the vocabulary is encoded as its
UTF-8 bytes, so that a model pays for unknown symbols.

All kinds are saved as ``tokenizer.json``, the format of the ``tokenizers`` library, which encodes
and decodes alike. One property is not in the format: here ``<|end|>`` in a text is plain text,
while other programs read it as the end token unless they set ``encode_special_tokens``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, pre_tokenizers
from tokenizers import Tokenizer as Library

from wenmo.files import atomic
from wenmo.text.chunks import ChunkCache, Ids
from wenmo.text.config import TokenizerConfig
from wenmo.text.vocabularies import (
    BASE,
    BLOCK,
    CODE_POINTS,
    END_TOKEN,
    FIRST_BYTE,
    LOOKAHEAD,
    PATTERNS,
    assemble,
    byte_alphabet,
    empty_model,
    make_model,
)
from wenmo.types import END, WenmoError

__all__ = ["END", "Ids", "Tokenizer", "TokenizerConfig"]

CHUNK = 1 << 16
"""Characters of a record passed to the library at once."""

# Unlike the library's, Python's \s contains the separators U+001C to U+001F.
_WORD_NEXT = re.compile(r"[^\S\x1c-\x1f][\S\x1c-\x1f]")


class Tokenizer:
    """A tokenizer with a vocabulary.

    Attributes:
        kind: one of ``TokenizerConfig.kind``.
        vocab_size: number of ids.
        table: bytes of each id; empty for ``END``.
        prefix_space: a space is put before the text, so that the first word is encoded like the
            others; ``decode`` removes it. (Not before a Han character, unless words are split at
            spaces.)
        suffix_space: likewise, a space is put after the text.
        end, eos_token: id and name of the end token in the file.
        bos_token: name of the beginning-of-text token in the file; empty if there is none.
        prefix: ids before every text.
        origin: ``model_type`` of the program whose own files ``save`` writes; empty for
            ``tokenizer.json``.
    """

    end, eos_token, bos_token = END, END_TOKEN, ""
    prefix: Sequence[int] = ()
    origin = ""
    suffix_space = False

    def __init__(self, library: Library, form: str) -> None:
        """Use ``train`` or ``load`` instead."""
        self._library, self._form = library, form
        vocabulary = library.get_vocab()
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
        self.vocab_size = len(tokens)
        self.prefix_space = library.normalizer is not None
        self.kind = "words" if form == "spaces" else form
        if form == "characters" and len(tokens) == len(BASE):
            self.kind = "bytes"
        if form == "bpe":
            alphabet = {character: byte for byte, character in enumerate(byte_alphabet())}
            self.table = [b"", *(bytes(alphabet[c] for c in token) for token in tokens[1:])]
        else:
            byte_strings = [bytes([byte]) for byte in range(256)]
            self.table = [b"", *byte_strings, *(token.encode() for token in tokens[len(BASE) :])]
        if form == "characters":
            self._lookup = np.full(CODE_POINTS, -1, np.int32)
            self._lookup[[ord(c) for c in tokens[len(BASE) :]]] = np.arange(len(BASE), len(tokens))
        else:
            self._splitter = pre_tokenizers.Split(Regex(PATTERNS[form]), "isolated")
            # The prefix space is added once per record; the library would add it at every call.
            self._inner = _load_library(library.to_str())
            self._inner.normalizer = None
            self._cache = ChunkCache(self._inner)

    @classmethod
    def train(cls, texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
        """Train a tokenizer on texts, in one pass.

        Characters are counted in the whole text; other vocabularies are trained on a sample of at
        most ``SAMPLE`` characters spread over it.

        Args:
            texts: records, or pieces of them.
            config: settings of the tokenizer.

        Raises:
            WenmoError: no text, or an impossible ``vocab_size``.
        """
        form, model = make_model(texts, config)
        return cls(assemble(form, model), form)

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Load a ``tokenizer.json`` written by ``save``.

        Raises:
            WenmoError: no such file, not a tokenizer, or one of another program.
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise WenmoError(f"{path}: cannot be read: {error.strerror}") from None
        except (UnicodeDecodeError, WenmoError) as error:
            raise WenmoError(f"{path}: {error}") from None

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """The tokenizer of a ``to_json`` text.

        Raises:
            WenmoError: not a tokenizer, or one of another program.
        """
        try:
            library = _load_library(text)
        except Exception as error:  # the library raises nothing more precise
            raise WenmoError(f"not a tokenizer.json, or a damaged one: {error}") from None
        vocabulary = library.get_vocab()
        for form in ("characters", *PATTERNS):
            base = [END_TOKEN] if form == "bpe" else BASE
            if (
                _skeleton(library) == _skeleton(assemble(form, empty_model(form)))
                and all(vocabulary.get(token) == id_ for id_, token in enumerate(base))
                and sorted(vocabulary.values()) == list(range(len(vocabulary)))
            ):
                return cls(library, form)
        raise WenmoError("made by another program: only tokenizers saved by wenmo can be loaded")

    def save(self, path: str | Path) -> None:
        """Write ``tokenizer.json`` atomically.

        Raises:
            WenmoError: the file cannot be written.
        """
        with atomic(Path(path)) as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")

    def to_json(self) -> str:
        """The tokenizer in the Hugging Face format."""
        return str(self._library.to_str(pretty=True))

    @property
    def fingerprint(self) -> str:
        """A hash of the tokenizer, 16 hexadecimal digits."""
        return hashlib.blake2b(self._identity(), digest_size=8).hexdigest()

    def _identity(self) -> bytes:
        """Everything that determines the ids of a text."""
        return str(self._library.to_str()).encode()

    def external_ids(self, ids: Iterable[int]) -> list[int]:
        """The ids in the file for our ids; the same for our own tokenizers."""
        return list(ids)

    def name_of(self, id_: int) -> str:
        """The name of a token in the file."""
        return str(self._library.id_to_token(id_))

    def id_of(self, name: str) -> int | None:
        """The id in the file of a token name; None if there is none."""
        id_: int | None = self._library.token_to_id(name)
        return id_

    def encode(self, text: str) -> Ids:
        """The ids of a whole record, without ``END``: int32 (time,).

        Raises:
            WenmoError: the text contains an unpaired surrogate.
        """
        return np.concatenate([ids for ids, _ in self.encode_pieces([(text, True)])])[1:-1]

    def encode_inside(self, text: str) -> list[int]:
        """The ids of a text within a record: nothing is put before or after it.

        Raises:
            WenmoError: the text contains an unpaired surrogate.
        """
        try:
            ids: list[int] = self._encode_batch([(text, False)]).tolist()
        except UnicodeEncodeError:
            raise WenmoError("the text contains an unpaired surrogate") from None
        return ids

    def encode_pieces(
        self, pieces: Iterable[tuple[str, bool]]
    ) -> Iterator[tuple[Ids, NDArray[np.int64]]]:
        """The ids of a stream of records, in bounded memory.

        Args:
            pieces: pieces of records, cut anywhere, each with whether its record ends with it.

        Yields:
            int32 arrays whose concatenation is ``END``, record, ``END``, record, ``END``, ..., each
                with the indices of these ``END``s in it, int64 (ends,): a pretrained tokenizer may
                encode a special token within a record as ``END``, too. The ids do not depend on
                where pieces are cut.

        Raises:
            WenmoError: a text contains an unpaired surrogate.
        """
        yield np.array([END], np.int32), np.zeros(1, np.int64)
        batch: list[tuple[str, bool]] = []
        size = 0
        try:
            for segment in pieces if self._form == "characters" else self._segments(pieces):
                batch.append(segment)
                size += len(segment[0]) + 1
                if size >= BLOCK:
                    yield _with_ends(self._encode_batch(batch))
                    batch, size = [], 0
            if batch:
                yield _with_ends(self._encode_batch(batch))
        except UnicodeEncodeError:
            raise WenmoError("the text contains an unpaired surrogate") from None

    def encode_source(self, text: str) -> Ids:
        """The ids of a source, as `encode`. Some pretrained models tokenize sources and targets
        differently.
        """
        return self.encode(text)

    def encode_pairs(
        self, pieces: Iterable[tuple[str, bool]]
    ) -> Iterator[tuple[Ids, NDArray[np.int64]]]:
        """As `encode_pieces`, for records that alternate between source and target."""
        return self.encode_pieces(pieces)

    def count_bytes(self, ids: NDArray[Any]) -> int:
        """The number of UTF-8 bytes of the text in a stream that starts with ``END``.

        The end of each record counts as one byte, for the separator after it.
        """
        lengths = np.array([len(token) for token in self.table], np.int64)
        lengths[END] = 1
        total = int(lengths[ids[1:]].sum())
        if self.prefix_space:
            spaced = np.array([token.startswith(b" ") for token in self.table])
            total -= int(spaced[ids[1:][ids[:-1] == END]].sum())
        if self.suffix_space:
            spaced = np.array([token.endswith(b" ") for token in self.table])
            total -= int(spaced[ids[:-1][ids[1:] == END]].sum())
        return total

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; invalid UTF-8 becomes U+FFFD."""
        text = b"".join([self.table[id_] for id_ in ids]).decode("utf-8", errors="replace")
        text = text.removeprefix(" ") if self.prefix_space else text
        return text.removesuffix(" ") if self.suffix_space else text

    def _segments(self, pieces: Iterable[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
        """The records with their prefix space; long ones are cut where cutting does not change the
        ids.
        """
        rest, started = "", False
        for piece, ends in pieces:
            if piece and not started and self.prefix_space:
                piece = self._library.normalizer.normalize_str(piece[0]) + piece[1:]
            started = not ends and (started or bool(piece))
            for start in range(0, len(piece), CHUNK):
                rest += piece[start : start + CHUNK]
                if len(rest) >= CHUNK:
                    cut = self._safe_cut(rest)
                    yield rest[:cut], False
                    rest = rest[cut:]
            if ends:
                yield rest, True
                rest = ""

    def _safe_cut(self, text: str) -> int:
        """The last position where a match starts, whatever follows the text."""
        last = len(text) - LOOKAHEAD
        after_newline = text.rfind("\n", 0, last) + 1
        if after_newline > 0:
            return after_newline
        starts = [start for _, (start, _) in self._splitter.pre_tokenize_str(text)]
        # Spaces are matched differently before a word and before an end: do not cut between.
        safe = (i for i in reversed(starts) if i <= last and not _WORD_NEXT.match(text, i - 1))
        return next(safe, 0)

    def _encode_batch(self, batch: list[tuple[str, bool]]) -> Ids:
        texts = [text for text, _ in batch]
        ends = [ends for _, ends in batch]
        if self._form == "characters":
            return _encode_characters(texts, ends, self._lookup)
        "".join(
            texts
        ).encode()  # raises at an unpaired surrogate; the library's error is not specific
        return self._cache.encode(texts, ends)


def _with_ends(ids: Ids) -> tuple[Ids, NDArray[np.int64]]:
    return ids, np.flatnonzero(ids == END)


def _encode_characters(texts: list[str], ends: list[bool], lookup: Ids) -> Ids:
    """Look characters up by code point; those without an id become UTF-8 bytes."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le"), "<u4")
    stops = np.cumsum([len(text) for text in texts])[np.array(ends, bool)]
    ids = lookup[codes]
    is_unknown = ids < 0
    if is_unknown.any():
        sizes = np.where(is_unknown, 1 + (codes > 0x7F) + (codes > 0x7FF) + (codes > 0xFFFF), 1)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        utf8 = codes[is_unknown].tobytes().decode("utf-32-le").encode()
        known_ids = ids[~is_unknown]
        ids = np.full(starts[-1], -1, np.int32)
        ids[starts[:-1][~is_unknown]] = known_ids
        ids[ids < 0] = np.frombuffer(utf8, np.uint8).astype(np.int32) + FIRST_BYTE
        stops = starts[stops]
    return np.insert(ids, stops, END)


def _load_library(text: str) -> Library:
    library = Library.from_str(text)
    library.encode_special_tokens = True  # not saved in the file format
    return library


def _skeleton(library: Library) -> Any:
    """A tokenizer.json without its vocabulary."""
    content = json.loads(library.to_str())
    return content | {"model": content["model"] | {"vocab": None, "merges": None}}
