"""Tokenizers that other programs made: their ids, with the end mark moved to id 0.

Two ids change places, that of the mark which ends a text there, and 0: everything in this house
knows a text's end as `END`. Whoever reads the weights lets the same two rows change places.

A mark that stands in a text is that mark, as other programs have it. Where it matters who wrote it,
in conversations, see `Pretrained.templated`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Library

from wenmo.text.chunks import Ids
from wenmo.text.tokenizers import CHUNK, Tokenizer
from wenmo.text.vocabularies import byte_alphabet
from wenmo.types import END, WenmoError

SPACE = "▁"  # SentencePiece's space
NUL = "\0"  # stands in no text that was read; see `Pretrained.shield`
AROUND = 20  # characters before and after a token that are shown in a message
LEAD = "\n"  # what stands before it is no beginning
BYTES = {character: byte for byte, character in enumerate(byte_alphabet())}
# Marks before which WordPiece's words are joined without a space.
CLOSING = frozenset(".,!?;:%)]}'’”。，！？；：、…）】》」』")


class Pretrained(Tokenizer):
    """Another program's tokenizer.

    Args:
        library: the tokenizer, as the `tokenizers` library has it.
        end: the id there of the mark that ends a text.
        size: the number of ids that the model has; more than the tokenizer's where its table was
            rounded up, and fewer where tokens were added to the tokenizer alone. A text that holds
            such a token is refused.
        beginning: the name of the mark that begins a text; None: of the one that stands before
            every text, if there is one.

    Attributes:
        prefix: our ids that stand before every text: a beginning mark, where there is one.
        source_prefix: those before every text to answer to; not always the same.
        suffix: our ids that stand after every source that is read by an encoder.
        beginning: the name of the mark that begins a text; empty if there is none.
        marks: finds the names of marks in a text, each with the NUL before it if there is one.
    """

    _private: dict[int, int] | None = None  # of a templated one, our ids of what marks are there

    def __init__(
        self, library: Library, *, end: int, size: int | None = None, beginning: str | None = None
    ) -> None:
        library.no_padding()
        library.no_truncation()
        self._library, self.end, self.kind = library, end, "pretrained"
        known = library.get_vocab_size()
        self.vocab_size = size or known
        vocabulary = library.get_vocab()
        last = max(vocabulary, key=vocabulary.__getitem__)
        if vocabulary[last] >= max(known, self.vocab_size):  # the library would go through them all
            raise WenmoError(
                f"the token {last!r} has the id {vocabulary[last]:,}, but the last of "
                f"{self.vocab_size:,} is {self.vocab_size - 1:,}"
            )
        if not 0 <= end < self.vocab_size:
            raise WenmoError(f"the end mark {end} is not among the {self.vocab_size} tokens")
        self._beyond = vocabulary[last] >= self.vocab_size
        whole = json.loads(library.to_str())
        self._kinds = set(_types(whole["decoder"])) if whole.get("decoder") else set()
        self._newlines = "ByteLevel" in self._kinds  # where text can be cut, see `_segments`
        self.prefix_space = bool(self._kinds & {"WordPiece", "Metaspace", "Strip"})
        self.table, self.mark = self._table(), library.id_to_token(end) or ""
        self.prefix, self.suffix = self._around()
        for id_ in (*self.prefix, *self.suffix):
            self._check_known(id_)
        self.source_prefix = self.prefix
        if beginning is None and self.prefix:
            beginning = library.id_to_token(self.external_ids(self.prefix)[0])
        self.beginning = beginning or ""
        self._encoder = library
        names = [t.content for t in library.get_added_tokens_decoder().values() if t.special]
        longest_first = sorted(filter(None, names), key=len, reverse=True)
        either = "|".join(map(re.escape, longest_first)) or "(?!)"
        self.marks = re.compile(f"{NUL}?(?:{either})")

    def encode_pieces(
        self, pieces: Iterable[tuple[str, bool]]
    ) -> Iterator[tuple[Ids, NDArray[np.int64]]]:
        return self._encode(pieces, [False])

    def encode_source(self, text: str) -> Ids:
        return np.concatenate([ids for ids, _ in self._encode([(text, True)], [True])])[1:-1]

    def encode_pairs(
        self, pieces: Iterable[tuple[str, bool]]
    ) -> Iterator[tuple[Ids, NDArray[np.int64]]]:
        return self._encode(pieces, [True, False])

    def templated(self) -> Pretrained:
        """The same tokenizer, for what a chat template writes: sources and targets by turns.

        Nothing is put before a text, for a template writes all its marks itself, and a target goes
        on from its source. What other people wrote in a text must be shielded; see `shield`.
        """
        other = copy(self)
        other.prefix = other.source_prefix = []
        other._encoder, other._private = _unmarked(self._library)
        return other

    def shield(self, text: str) -> str:
        """The same text, in which a NUL before every mark tells that it is only spelled like one;
        for tokenizers that are `templated`.
        """
        return self.marks.sub(lambda mark: NUL + mark[0], text.replace(NUL, ""))

    def external_ids(self, ids: Iterable[int]) -> list[int]:
        return self._swapped(ids)

    def _encode(
        self, pieces: Iterable[tuple[str, bool]], sources: Sequence[bool]
    ) -> Iterator[tuple[Ids, NDArray[np.int64]]]:
        """The ids of records; whether each is a source comes by turns."""
        yield np.array([END], np.int32), np.zeros(1, np.int64)
        turns = cycle(sources)
        source, begun = next(turns), False
        for text, ends in self._segments(pieces):
            goes_on = self._private is not None and len(sources) > 1 and not source
            try:
                ids = self._ids(text, source=source, goes_on=goes_on)
            except TypeError:  # how the library takes half a surrogate pair
                raise WenmoError("the text holds half a surrogate pair, no character") from None
            if self._beyond and ids:
                self._check_known(max(ids), text)
            before = [] if begun else self.source_prefix if source else self.prefix
            joined = np.array([*before, *ids, *([END] if ends else [])], np.int32)
            yield joined, np.array([len(joined) - 1] if ends else [], np.int64)
            begun = not ends
            if ends:
                source = next(turns)

    def _check_known(self, id_: int, text: str = "") -> None:
        """Make sure that the model has a token.

        Args:
            text: where it stands; empty: before or after every text.

        Raises:
            WenmoError: the tokenizer alone has it.
        """
        if id_ < self.vocab_size:
            return
        token = str(self._library.id_to_token(id_))
        at = max(text.find(token) - AROUND, 0)
        place = f" (in {text[at : at + len(token) + 2 * AROUND]!r})" if text else ""
        raise WenmoError(
            f"the text holds {token!r}{place}, which the tokenizer knows as token {id_:,}, but the "
            f"model has {self.vocab_size:,} tokens: remove it"
        )

    def _told(self) -> bytes:
        numbers = (self.end, self.prefix, self.source_prefix)
        return super()._told() + json.dumps(numbers).encode()

    def _ids(self, text: str, *, source: bool, goes_on: bool) -> list[int]:
        """Our ids of a text, before which no space is put where it goes on from another."""
        if self._private is not None:
            text = self.marks.sub(_respelled, text)
        lead = LEAD if goes_on and self.prefix_space else ""
        ids = self._encoder.encode(lead + text, add_special_tokens=False).ids
        if lead:
            ids = ids[len(self._encoder.encode(lead, add_special_tokens=False).ids) :]
        known = self._private or {}
        return self._swapped(known.get(id_, id_) for id_ in ids)

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
                if cut or ends:
                    yield text[:cut], ends
                rest, size = [text[cut:]], len(text) - cut

    def _swapped(self, ids: Iterable[int]) -> list[int]:
        swap = {END: self.end, self.end: END}
        return [swap.get(id_, id_) for id_ in ids]

    def _table(self) -> list[bytes]:
        """The bytes of every token, by our ids."""
        added = self._library.get_added_tokens_decoder()
        table = [b""] * self.vocab_size
        for token, id_ in self._library.get_vocab().items():
            if id_ >= self.vocab_size:
                continue
            if id_ in added:
                table[id_] = b"" if added[id_].special else added[id_].content.encode()
            else:
                table[id_] = self._spelled(token)
        table[END], table[self.end] = b"", table[END]
        return table

    def _spelled(self, token: str) -> bytes:
        """The bytes of a token that is no mark."""
        if "ByteLevel" in self._kinds and all(c in BYTES for c in token):
            return bytes(BYTES[c] for c in token)
        if "WordPiece" in self._kinds:
            return _piece(token).encode()
        if "ByteFallback" in self._kinds and _is_byte(token):
            return bytes([int(token[3:5], 16)])
        return token.replace(SPACE, " ").encode()

    def _around(self) -> tuple[list[int], list[int]]:
        """What the other program puts around a text."""
        bare = self._library.encode("a", add_special_tokens=False).ids
        full = self._library.encode("a").ids
        if not bare or len(full) == len(bare):
            return [], [END]
        at = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
        suffix = self._swapped(full[at + len(bare) :])
        return self._swapped(full[:at]), suffix or [END]


def _respelled(mark: re.Match[str]) -> str:
    """A mark as `_unmarked` knows it, or one that is only spelled like one as the text it is."""
    return mark[0][1:] if mark[0].startswith(NUL) else NUL + mark[0]


def _unmarked(library: Library) -> tuple[Library, dict[int, int]]:
    """A tokenizer to which a mark's name is plain text, and means the mark only behind a NUL; and
    the true ids of what it makes of that.
    """
    plain = Library.from_str(library.to_str())
    plain.encode_special_tokens = True
    added = library.get_added_tokens_decoder().items()
    marks = {id_: mark for id_, mark in added if mark.special and mark.content}
    plain.add_tokens(
        [
            AddedToken(
                NUL + mark.content,
                lstrip=mark.lstrip,
                rstrip=mark.rstrip,
                normalized=mark.normalized,
                special=False,
            )
            for mark in marks.values()
        ]
    )
    known = plain.get_vocab()
    return plain, {known[NUL + mark.content]: id_ for id_, mark in marks.items()}


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
