"""SentencePiece's models (Kudo & Richardson 2018), read, and made into tokenizers of the
`tokenizers` library: unigram, and BPE by scores as in Llama.
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
class Pieces:
    """What a model holds.

    Attributes:
        pieces: text, score and type of each, by id.
        bpe: merged by scores, and not the likeliest whole.
        prefix: a space is put before the text.
        squeeze: several spaces are one, and none stands at either end.
        charsmap: the normalisation as compiled there, empty if there is none.
    """

    pieces: list[tuple[str, float, int]] = field(default_factory=list)
    bpe: bool = False
    prefix: bool = True
    squeeze: bool = True
    charsmap: bytes = b""


def read_pieces(path: Path) -> Pieces:
    """Read a ``.model`` file.

    Raises:
        WenmoError: it is none, or damaged.
    """
    found = Pieces()
    try:
        for number, value in _fields(path.read_bytes()):
            if number == 1:
                piece = dict(_fields(_bytes(value)))
                score = struct.unpack("<f", _bytes(piece[2]))[0] if 2 in piece else 0.0
                kind = piece.get(3, NORMAL)
                found.pieces.append((_bytes(piece[1]).decode(), score, int(kind)))
            elif number == 2:
                found.bpe = dict(_fields(_bytes(value))).get(3, UNIGRAM) == BPE
            elif number == 3:
                rules = dict(_fields(_bytes(value)))
                found.charsmap = _bytes(rules.get(2, b""))
                found.prefix, found.squeeze = bool(rules.get(3, 1)), bool(rules.get(4, 1))
    except OSError as error:
        raise WenmoError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, IndexError, struct.error, UnicodeDecodeError):
        raise WenmoError(f"{path}: damaged, not a whole SentencePiece model") from None
    if not found.pieces:
        raise WenmoError(f"{path}: damaged, a SentencePiece model without pieces")
    return found


def without_marks(found: Pieces) -> Pieces:
    """The model without its own marks, whose names in a text are then plain text. Other pieces have
    other ids.
    """
    return replace(found, pieces=[piece for piece in found.pieces if piece[2] != CONTROL])


def make_library(found: Pieces) -> Library:
    """The tokenizer that cuts text as the pieces do."""
    unknown = next((i for i, (_, _, kind) in enumerate(found.pieces) if kind == UNKNOWN), None)
    spelled = any(kind == BYTE for _, _, kind in found.pieces)
    if found.bpe:
        library = Library(_bpe(found, spelled))
    else:
        scored = [(text, score) for text, score, _ in found.pieces]
        library = Library(models.Unigram(scored, unknown, spelled))
    steps: list[normalizers.Normalizer] = []
    if found.charsmap:
        steps.append(normalizers.Precompiled(found.charsmap))
    if found.squeeze:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if found.bpe:
        steps += [*([normalizers.Prepend(SPACE)] if found.prefix else [])]
        steps.append(normalizers.Replace(" ", SPACE))
    else:
        scheme = "always" if found.prefix else "never"
        library.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, scheme)
    after = [decoders.Strip(" ", 1, 0)] if found.prefix else []
    spaces = decoders.Replace(SPACE, " ")
    library.decoder = decoders.Sequence([spaces, decoders.ByteFallback(), decoders.Fuse(), *after])
    if steps:
        library.normalizer = normalizers.Sequence(steps)
    marks = [text for text, _, kind in found.pieces if kind in (CONTROL, UNKNOWN)]
    library.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    own = [text for text, _, kind in found.pieces if kind == USER_DEFINED]
    library.add_tokens([AddedToken(text, normalized=False) for text in own])
    return library


def _bpe(found: Pieces, spelled: bool) -> models.BPE:
    """Merges in the order of the scores of what they make: every pair of pieces that makes one."""
    vocabulary = {text: id_ for id_, (text, _, _) in enumerate(found.pieces)}
    ranked: list[tuple[float, int, tuple[str, str]]] = []
    for id_, (text, score, kind) in enumerate(found.pieces):
        if kind != NORMAL:
            continue
        for cut in range(1, len(text)):
            pair = (text[:cut], text[cut:])
            if pair[0] in vocabulary and pair[1] in vocabulary:
                ranked.append((-score, id_, pair))
    ranked.sort(key=lambda entry: entry[:2])
    unknown = next((text for text, _, kind in found.pieces if kind == UNKNOWN), None)
    return models.BPE(
        vocab=vocabulary,
        merges=[pair for _, _, pair in ranked],
        unk_token=unknown,
        fuse_unk=True,
        byte_fallback=spelled,
    )


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer message: numbers, and values by their wire type.

    Raises:
        ValueError: the message is damaged.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire not in (1, 2, 5):
            raise ValueError("an unknown wire type")
        size, at = _varint(data, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
        if size > len(data) - at:
            raise ValueError("a field beyond the end")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number without end")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where bytes are due")
    return value
