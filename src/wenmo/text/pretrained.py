"""Tokenizers that other programs made: their ids, with the end mark moved to id 0.

Two ids change places, that of the mark which ends a text there, and 0: everything in this house
knows a text's end as `END`. Whoever reads the weights lets the same two rows change places.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Library

from wenmo.text.chunks import Ids
from wenmo.text.tokenizers import CHUNK, Tokenizer
from wenmo.text.vocabularies import byte_alphabet
from wenmo.types import END, WenmoError

SPACE = "▁"  # SentencePiece's space
# Marks before which WordPiece's words are joined without a space.
CLOSING = frozenset(".,!?;:%)]}'’”。，！？；：、…）】》」』")


class Pretrained(Tokenizer):
    """Another program's tokenizer.

    Args:
        library: the tokenizer, as the `tokenizers` library has it.
        end: the id there of the mark that ends a text.
        size: the number of ids that the model has; more than the tokenizer's where its table was
            rounded up.

    Attributes:
        prefix: our ids that stand before every text: a beginning mark, where there is one.
        suffix: our ids that stand after every source that is read by an encoder.
    """

    def __init__(self, library: Library, *, end: int, size: int | None = None) -> None:
        library.no_padding()
        library.no_truncation()
        self._library, self.end, self.kind = library, end, "pretrained"
        known = library.get_vocab_size()
        self.vocab_size = max(size or known, known)
        if not 0 <= end < self.vocab_size:
            raise WenmoError(f"the end mark {end} is not among the {self.vocab_size} tokens")
        whole = json.loads(library.to_str())
        kinds = set(_types(whole["decoder"])) if whole.get("decoder") else set()
        self._newlines = "ByteLevel" in kinds  # where text can be cut, see `_segments`
        self.prefix_space = bool(kinds & {"WordPiece", "Metaspace", "Strip"})
        table = _table(library, kinds, self.vocab_size)
        table[END], table[end] = b"", table[END]
        self.table, self.mark = table, library.id_to_token(end) or ""
        self.prefix, self.suffix = self._marks()

    def encode_pieces(self, pieces: Iterable[tuple[str, bool]]) -> Iterator[Ids]:
        yield np.array([END], np.int32)
        begun = False
        for text, ends in self._segments(pieces):
            try:
                ids = self._library.encode(text, add_special_tokens=False).ids
            except TypeError:  # how the library takes half a surrogate pair
                raise WenmoError("the text holds half a surrogate pair, no character") from None
            marks = [] if begun else self.prefix
            yield np.array([*marks, *self._swapped(ids), *([END] if ends else [])], np.int32)
            begun = not ends

    def theirs(self, ids: Iterable[int]) -> list[int]:
        """Our ids as the other program's."""
        return self._swapped(ids)

    def _segments(self, pieces: Iterable[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
        """Whole records; those for byte-level tokenizers cut where a line begins with no space:
        their patterns match a newline and what follows it apart.
        """
        rest: list[str] = []
        size = 0
        for piece, ends in pieces:
            rest.append(piece)
            size += len(piece)
            if ends or (self._newlines and size >= CHUNK):
                text = "".join(rest)
                cut = len(text) if ends else _line_begins(text)
                if cut:
                    yield text[:cut], ends
                rest, size = [text[cut:]], len(text) - cut

    def _swapped(self, ids: Iterable[int]) -> list[int]:
        swap = {END: self.end, self.end: END}
        return [swap.get(id_, id_) for id_ in ids]

    def _marks(self) -> tuple[list[int], list[int]]:
        """What the other program puts around a text."""
        bare = self._library.encode("a", add_special_tokens=False).ids
        full = self._library.encode("a").ids
        if not bare or len(full) == len(bare):
            return [], [END]
        at = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
        suffix = self._swapped(full[at + len(bare) :])
        return self._swapped(full[:at]), suffix or [END]


def library_of(text: str) -> Library:
    """The tokenizer that a ``tokenizer.json`` holds.

    Raises:
        WenmoError: it holds none.
    """
    try:
        return Library.from_str(text)
    except Exception as error:  # the library raises nothing more precise
        raise WenmoError(f"not a tokenizer.json, or a damaged one: {error}") from None


def byte_level(
    vocabulary: dict[str, int],
    merges: list[tuple[str, str]],
    *,
    special: Iterable[str] = (),
    added: Iterable[str] = (),
    pattern: str | None = None,
    digits: bool = False,
    compose: bool = False,
    whole_words: bool = False,
) -> Library:
    """A byte-level BPE as in GPT-2 (Radford et al. 2019) and its kin.

    Args:
        special: tokens that are marks, not text.
        added: tokens that are taken as they stand, before anything else is looked at.
        pattern: how text is cut into words; None: as GPT-2 does.
        digits: every digit is a word.
        compose: text is brought into Unicode's form NFC first.
        whole_words: a word that is a token is not merged up from its letters.

    Raises:
        WenmoError: a merge is of tokens, or makes one, that the vocabulary lacks.
    """
    for first, second in merges:  # the library would panic
        if not {first, second, first + second} <= vocabulary.keys():
            raise WenmoError(f"the merge of {first!r} and {second!r} is of tokens that are missing")
    library = Library(models.BPE(vocabulary, merges, ignore_merges=whole_words))
    if compose:
        library.normalizer = normalizers.NFC()
    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    if pattern is not None:
        steps.append(pre_tokenizers.Split(Regex(pattern), "isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None))
    library.pre_tokenizer = pre_tokenizers.Sequence(steps)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    library.add_tokens([AddedToken(t, special=False, normalized=False) for t in added])
    return library


def opened_by(library: Library, mark: str) -> Library:
    """The same tokenizer, with a mark before every text."""
    id_ = library.token_to_id(mark)
    library.post_processor = processors.TemplateProcessing(
        single=f"{mark} $A", pair=f"{mark} $A {mark} $B", special_tokens=[(mark, id_)]
    )
    return library


def enclosed(library: Library, before: str, after: str) -> Library:
    """The same tokenizer, with marks before and after every text.

    Raises:
        WenmoError: it has no such marks.
    """
    marks = [(mark, library.token_to_id(mark)) for mark in (before, after)]
    if any(id_ is None for _, id_ in marks):
        raise WenmoError(f"the vocabulary lacks {before} or {after}")
    library.post_processor = processors.TemplateProcessing(
        single=f"{before} $A {after}",
        pair=f"{before} $A {after} $B {after}",
        special_tokens=marks,
    )
    return library


def _table(library: Library, kinds: set[str], size: int) -> list[bytes]:
    """The bytes of every token, by the other program's ids."""
    alphabet = {character: byte for byte, character in enumerate(byte_alphabet())}
    added = library.get_added_tokens_decoder()
    table = [b""] * size
    for token, id_ in library.get_vocab().items():
        if id_ in added:
            table[id_] = b"" if added[id_].special else added[id_].content.encode()
        elif "ByteLevel" in kinds and all(c in alphabet for c in token):
            table[id_] = bytes(alphabet[c] for c in token)
        elif "WordPiece" in kinds:
            table[id_] = _piece(token).encode()
        elif "ByteFallback" in kinds and _is_byte(token):
            table[id_] = bytes([int(token[3:5], 16)])
        else:
            table[id_] = token.replace(SPACE, " ").encode()
    return table


def _piece(token: str) -> str:
    """A WordPiece with the space before it, if it begins a word of letters."""
    if token.startswith("##"):
        return token[2:]
    joins = token[:1] in CLOSING or "一" <= token[:1] <= "鿿"
    return token if joins else " " + token


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _types(step: dict[str, Any]) -> Iterator[str]:
    """The types of a pipeline's steps."""
    yield step["type"]
    for inner in step.get("decoders", []):
        yield from _types(inner)


def _line_begins(text: str) -> int:
    """The last place where a line begins with no space; 0: there is none."""
    at = len(text) - 1
    while (at := text.rfind("\n", 0, at)) >= 0:
        if not text[at + 1].isspace():
            return at + 1
    return 0
