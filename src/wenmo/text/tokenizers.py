"""Text to ids and back without loss: characters, bytes, words, BPE and unigram.

Every id stands for certain bytes (``Tokenizer.table``), and decoding joins them: streaming, bits
per byte and losslessness all follow from that. A symbol that the vocabulary lacks is spelled in its
UTF-8 bytes, so that a model learns what the unknown costs, and is never spared it.

All kinds are kept as ``tokenizer.json``, the format of the ``tokenizers`` library, whose encoding
and decoding agree with these. One thing that format cannot hold: here ``<|end|>`` in a text is
plain text, while other programs read it as the end mark unless they set ``encode_special_tokens``.
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
from wenmo.text.chunks import Chunks, Ids
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
"""Characters of a record that the library is given at once."""

# Unlike the library's, Python's \s holds the separators U+001C to U+001F.
_WORD_NEXT = re.compile(r"[^\S\x1c-\x1f][\S\x1c-\x1f]")


class Tokenizer:
    """A vocabulary, and how text is cut into it.

    Attributes:
        kind: one of ``TokenizerConfig.kind``.
        vocab_size: the number of ids.
        table: the bytes each id stands for; none for ``END``.
        prefix_space: a space is put before the text, so that the first word equals the others;
            ``decode`` takes it away. (Before a first Han character only where words are split at
            spaces.)
        suffix_space: a space stands after the text's last word, as after every other, in the same
            way.
        end, mark: the id and the name that the end of a text has in the file.
        beginning: the name that the mark of a text's beginning has in the file; empty if there is
            none.
        prefix: ids that stand before every text.
        origin: whose own files ``save`` writes, by the ``model_type`` of the models that come with
            them; empty: ``tokenizer.json``.
    """

    end, mark, beginning = END, END_TOKEN, ""
    prefix: Sequence[int] = ()
    origin = ""
    suffix_space = False

    def __init__(self, library: Library, form: str) -> None:
        """For ``train`` and ``load``."""
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
            spelled = [bytes([byte]) for byte in range(256)]
            self.table = [b"", *spelled, *(token.encode() for token in tokens[len(BASE) :])]
        if form == "characters":
            self._lookup = np.full(CODE_POINTS, -1, np.int32)
            self._lookup[[ord(c) for c in tokens[len(BASE) :]]] = np.arange(len(BASE), len(tokens))
        else:
            self._splitter = pre_tokenizers.Split(Regex(PATTERNS[form]), "isolated")
            # The prefix is put in front by us, once a record: the library would do it every call.
            self._inner = _load_library(library.to_str())
            self._inner.normalizer = None
            self._known = Chunks(self._inner)

    @classmethod
    def train(cls, texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
        """Make a tokenizer for the texts, which are read once.

        Characters are counted in all of the text, everything else in a sample of at most ``SAMPLE``
        characters spread over it.

        Args:
            texts: records, or pieces of them: where a piece is cut hardly matters.
            config: what to make.

        Raises:
            WenmoError: no text, or an impossible ``vocab_size``.
        """
        form, model = make_model(texts, config)
        return cls(assemble(form, model), form)

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read a ``tokenizer.json`` that ``save`` wrote.

        Raises:
            WenmoError: no such file, not a tokenizer, or one that another program made.
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise WenmoError(f"{path}: cannot be read: {error.strerror}") from None
        except (UnicodeDecodeError, WenmoError) as error:
            raise WenmoError(f"{path}: {error}") from None

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """The tokenizer that ``to_json`` gave.

        Raises:
            WenmoError: not a tokenizer, or one that another program made.
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
        raise WenmoError("made by another program: only a tokenizer that wenmo saved can be loaded")

    def save(self, path: str | Path) -> None:
        """Write ``tokenizer.json``, whole or not at all.

        Raises:
            WenmoError: the file cannot be written.
        """
        with atomic(Path(path)) as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")

    def to_json(self) -> str:
        """The whole tokenizer in the Hugging Face format."""
        return str(self._library.to_str(pretty=True))

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell this tokenizer from any other."""
        return hashlib.blake2b(self._told(), digest_size=8).hexdigest()

    def _told(self) -> bytes:
        """All that decides which ids a text has."""
        return str(self._library.to_str()).encode()

    def external_ids(self, ids: Iterable[int]) -> list[int]:
        """The ids that the file has for our ids; of our own tokenizers the same."""
        return list(ids)

    def name_of(self, id_: int) -> str:
        """How the file spells a token."""
        return str(self._library.id_to_token(id_))

    def id_of(self, name: str) -> int | None:
        """The id that the file has for a token of this name; None: it has none."""
        id_: int | None = self._library.token_to_id(name)
        return id_

    def encode(self, text: str) -> Ids:
        """The ids of one whole record, without any ``END``: int32 (time,).

        Raises:
            WenmoError: the text holds half a surrogate pair, which is no character.
        """
        return np.concatenate([ids for ids, _ in self.encode_pieces([(text, True)])])[1:-1]

    def encode_pieces(
        self, pieces: Iterable[tuple[str, bool]]
    ) -> Iterator[tuple[Ids, NDArray[np.int64]]]:
        """The ids of a stream of records, in bounded memory.

        Args:
            pieces: parts of records, cut anywhere, each with whether its record ends with it.

        Yields:
            int32 arrays that joined are ``END``, record, ``END``, record, ``END``, ..., each with
            the places of these ``END``s in it, int64 (ends,): in a tokenizer that another program
            made, a mark within a record may be ``END``, too. Where the pieces are cut changes
            nothing.

        Raises:
            WenmoError: a text holds half a surrogate pair, which is no character.
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
            raise WenmoError("the text holds half a surrogate pair, no character") from None

    def encode_source(self, text: str) -> Ids:
        """The ids of a text to answer to, as `encode` gives them. Some of the models that others
        trained have such a text cut in another way than those that they write.
        """
        return self.encode(text)

    def encode_pairs(
        self, pieces: Iterable[tuple[str, bool]]
    ) -> Iterator[tuple[Ids, NDArray[np.int64]]]:
        """As `encode_pieces`, of records that are by turns a text to answer to and its answer."""
        return self.encode_pieces(pieces)

    def count_bytes(self, ids: NDArray[Any]) -> int:
        """The UTF-8 bytes of the text in a stream that begins with ``END``.

        The end of each record counts as one byte: it stands for the separator after it.
        """
        lengths = np.array([len(spelled) for spelled in self.table], np.int64)
        lengths[END] = 1
        total = int(lengths[ids[1:]].sum())
        if self.prefix_space:
            spaced = np.array([spelled.startswith(b" ") for spelled in self.table])
            total -= int(spaced[ids[1:][ids[:-1] == END]].sum())
        if self.suffix_space:
            spaced = np.array([spelled.endswith(b" ") for spelled in self.table])
            total -= int(spaced[ids[:-1][ids[1:] == END]].sum())
        return total

    def decode(self, ids: Iterable[int]) -> str:
        """The text that ids stand for; bytes that are no UTF-8 become U+FFFD."""
        text = b"".join([self.table[id_] for id_ in ids]).decode("utf-8", errors="replace")
        text = text.removeprefix(" ") if self.prefix_space else text
        return text.removesuffix(" ") if self.suffix_space else text

    def _segments(self, pieces: Iterable[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
        """The records with their prefix, long ones cut where cutting does not change the ids."""
        rest, begun = "", False
        for piece, ends in pieces:
            if piece and not begun and self.prefix_space:
                piece = self._library.normalizer.normalize_str(piece[0]) + piece[1:]
            begun = not ends and (begun or bool(piece))
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
        """The last place where a match begins whatever may follow the text."""
        last = len(text) - LOOKAHEAD
        after_newline = text.rfind("\n", 0, last) + 1
        if after_newline > 0:
            return after_newline
        starts = [start for _, (start, _) in self._splitter.pre_tokenize_str(text)]
        # Spaces are matched otherwise before a word than before an end: not between the two.
        safe = (at for at in reversed(starts) if at <= last and not _WORD_NEXT.match(text, at - 1))
        return next(safe, 0)

    def _encode_batch(self, batch: list[tuple[str, bool]]) -> Ids:
        texts = [text for text, _ in batch]
        ends = [ends for _, ends in batch]
        if self._form == "characters":
            return _encode_characters(texts, ends, self._lookup)
        "".join(texts).encode()  # tells half a surrogate pair; the library's error would not
        return self._known.encode(texts, ends)


def _with_ends(ids: Ids) -> tuple[Ids, NDArray[np.int64]]:
    return ids, np.flatnonzero(ids == END)


def _encode_characters(texts: list[str], ends: list[bool], lookup: Ids) -> Ids:
    """Look characters up by code point, spelling those without an id in UTF-8 bytes."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le"), "<u4")
    stops = np.cumsum([len(text) for text in texts])[np.array(ends, bool)]
    ids = lookup[codes]
    unknown = ids < 0
    if unknown.any():
        sizes = np.where(unknown, 1 + (codes > 0x7F) + (codes > 0x7FF) + (codes > 0xFFFF), 1)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        spelled = codes[unknown].tobytes().decode("utf-32-le").encode()
        known = ids[~unknown]
        ids = np.full(starts[-1], -1, np.int32)
        ids[starts[:-1][~unknown]] = known
        ids[ids < 0] = np.frombuffer(spelled, np.uint8).astype(np.int32) + FIRST_BYTE
        stops = starts[stops]
    return np.insert(ids, stops, END)


def _load_library(text: str) -> Library:
    library = Library.from_str(text)
    library.encode_special_tokens = True  # the file format does not keep it
    return library


def _skeleton(library: Library) -> Any:
    """A tokenizer.json without its vocabulary."""
    whole = json.loads(library.to_str())
    return whole | {"model": whole["model"] | {"vocab": None, "merges": None}}
