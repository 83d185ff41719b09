"""Reader of SentencePiece models (Kudo & Richardson 2018), and their conversion to the `tokenizers`
library: unigram, and BPE with scores as in Llama.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Library

from wenmo.types import WenmoError

SPACE = "▁"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # types of pieces
UNIGRAM, BPE = 1, 2  # types of models


@dataclass
class SentencePieceModel:
    """The content of a model.

    Attributes:
        pieces: text, score and type of each piece, by id.
        bpe: whether pieces are merged by score, instead of found by Viterbi search.
        prefix: whether a space is put before the text.
        squeeze: whether runs of spaces become one, and spaces at both ends are removed.
        charsmap: the compiled normalization rules; empty if there are none.
    """

    pieces: list[tuple[str, float, int]] = field(default_factory=list)
    bpe: bool = False
    prefix: bool = True
    squeeze: bool = True
    charsmap: bytes = b""


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Read a ``.model`` file.

    Raises:
        WenmoError: it is not one, or damaged.
    """
    model = SentencePieceModel()
    try:
        for number, value in _fields(path.read_bytes()):
            if number == 1:
                piece = dict(_fields(_bytes(value)))
                score = struct.unpack("<f", _bytes(piece[2]))[0] if 2 in piece else 0.0
                type_ = piece.get(3, NORMAL)
                model.pieces.append((_bytes(piece[1]).decode(), score, int(type_)))
            elif number == 2:
                model.bpe = dict(_fields(_bytes(value))).get(3, UNIGRAM) == BPE
            elif number == 3:
                rules = dict(_fields(_bytes(value)))
                model.charsmap = _bytes(rules.get(2, b""))
                model.prefix, model.squeeze = bool(rules.get(3, 1)), bool(rules.get(4, 1))
    except OSError as error:
        raise WenmoError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, IndexError, struct.error, UnicodeDecodeError):
        raise WenmoError(f"{path}: damaged, or not a SentencePiece model") from None
    if not model.pieces:
        raise WenmoError(f"{path}: damaged, a SentencePiece model without pieces")
    return model


def without_control_pieces(model: SentencePieceModel) -> SentencePieceModel:
    """The model without control pieces, whose names in a text become plain text. The other ids
    change.
    """
    return replace(model, pieces=[piece for piece in model.pieces if piece[2] != CONTROL])


def make_library(model: SentencePieceModel) -> Library:
    """The equivalent tokenizer of the `tokenizers` library."""
    unknown = next((i for i, (_, _, type_) in enumerate(model.pieces) if type_ == UNKNOWN), None)
    byte_fallback = any(type_ == BYTE for _, _, type_ in model.pieces)
    if model.bpe:
        library = Library(_bpe(model, byte_fallback))
    else:
        scored = [(text, score) for text, score, _ in model.pieces]
        library = Library(models.Unigram(scored, unknown, byte_fallback))
    steps: list[normalizers.Normalizer] = []
    if model.charsmap:
        steps.append(normalizers.Precompiled(model.charsmap))
    if model.squeeze:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if model.bpe:
        steps += [*([normalizers.Prepend(SPACE)] if model.prefix else [])]
        steps.append(normalizers.Replace(" ", SPACE))
    else:
        scheme = "always" if model.prefix else "never"
        library.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, scheme)
    after = [decoders.Strip(" ", 1, 0)] if model.prefix else []
    spaces = decoders.Replace(SPACE, " ")
    library.decoder = decoders.Sequence([spaces, decoders.ByteFallback(), decoders.Fuse(), *after])
    if steps:
        library.normalizer = normalizers.Sequence(steps)
    marks = [text for text, _, type_ in model.pieces if type_ in (CONTROL, UNKNOWN)]
    library.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    user_defined = [text for text, _, type_ in model.pieces if type_ == USER_DEFINED]
    library.add_tokens([AddedToken(text, normalized=False) for text in user_defined])
    return library


def _bpe(model: SentencePieceModel, byte_fallback: bool) -> models.BPE:
    """A BPE model whose merges are all pairs of pieces that form a piece, ordered by its score."""
    vocabulary = {text: id_ for id_, (text, _, _) in enumerate(model.pieces)}
    ranked: list[tuple[float, int, tuple[str, str]]] = []
    for id_, (text, score, type_) in enumerate(model.pieces):
        if type_ != NORMAL:
            continue
        for cut in range(1, len(text)):
            pair = (text[:cut], text[cut:])
            if pair[0] in vocabulary and pair[1] in vocabulary:
                ranked.append((-score, id_, pair))
    ranked.sort(key=lambda entry: entry[:2])
    unknown = next((text for text, _, type_ in model.pieces if type_ == UNKNOWN), None)
    return models.BPE(
        vocab=vocabulary,
        merges=[pair for _, _, pair in ranked],
        unk_token=unknown,
        fuse_unk=True,
        byte_fallback=byte_fallback,
    )


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer message: numbers, and values by wire type.

    Raises:
        ValueError: the message is damaged.
    """
    offset = 0
    while offset < len(data):
        key, offset = _varint(data, offset)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, offset = _varint(data, offset)
            yield number, value
            continue
        if wire not in (1, 2, 5):
            raise ValueError("an unknown wire type")
        size, offset = _varint(data, offset) if wire == 2 else ({1: 8, 5: 4}[wire], offset)
        if size > len(data) - offset:
            raise ValueError("a field exceeds the message")
        yield number, data[offset : offset + size]
        offset += size


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
        if byte < 0x80:
            return value, offset
        if shift > 63:
            raise ValueError("an unterminated varint")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number instead of bytes")
    return value
