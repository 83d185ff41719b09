"""Tokenizers of other programs, with the end token moved to id 0.

The ids of the end token and of 0 are swapped, since wenmo reserves 0 for `END`. The loaders of
weights swap the same two rows.

A special token in a text is encoded as that token, as in other programs. For conversations, where
untrusted text must not contain special tokens, see `PretrainedTokenizer.for_chat_template`.
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

SPACE = "▁"  # SentencePiece's symbol for a space
NUL = "\0"  # readers remove it from texts; see `PretrainedTokenizer.escape_special_tokens`
CONTEXT = 20  # characters of context around a token in messages
LEADING_LINE = "\n"  # encoded before a continuation, and removed again
BYTES = {character: byte for byte, character in enumerate(byte_alphabet())}
# Punctuation before which WordPiece inserts no space.
CLOSING_PUNCTUATION = frozenset(".,!?;:%)]}'’”。，！？；：、…）】》」』")


class PretrainedTokenizer(Tokenizer):
    """A tokenizer of another program.

    Args:
        library: tokenizer of the `tokenizers` library.
        end: id of the end token in the library.
        size: vocabulary size of the model (default: the tokenizer's). It is larger if the embedding
            table was padded, and smaller if tokens were added to the tokenizer alone; a text with
            such a token is refused.
        bos_token: name of the beginning-of-text token (default: the token before every text, if
            any).

    Attributes:
        prefix: ids before every text, such as a beginning-of-text token.
        source_prefix: ids before every source; can differ from `prefix`.
        suffix: ids after every source that an encoder reads.
        bos_token: name of the beginning-of-text token; empty if there is none.
        special_pattern: pattern of the names of special tokens in a text, each with the NUL before
            it, if any.
    """

    _escaped_ids: dict[int, int] | None = None  # for chat templates: ids of escaped special tokens

    def __init__(
        self, library: Library, *, end: int, size: int | None = None, bos_token: str | None = None
    ) -> None:
        library.no_padding()
        library.no_truncation()
        self._library, self.end, self.kind = library, end, "pretrained"
        library_size = library.get_vocab_size()
        self.vocab_size = size or library_size
        vocabulary = library.get_vocab()
        last = max(vocabulary, key=vocabulary.__getitem__)
        # The library would allocate a table of the size of the largest id.
        if vocabulary[last] >= max(library_size, self.vocab_size):
            raise WenmoError(
                f"the token {last!r} has the id {vocabulary[last]:,}, but the last of "
                f"{self.vocab_size:,} is {self.vocab_size - 1:,}"
            )
        if not 0 <= end < self.vocab_size:
            raise WenmoError(f"the end token {end} is not among the {self.vocab_size} tokens")
        self._has_extra_tokens = vocabulary[last] >= self.vocab_size
        content = json.loads(library.to_str())
        decoder = content.get("decoder")
        self._decoder_types = set(_decoder_types(decoder)) if decoder else set()
        self._cut_at_newlines = "ByteLevel" in self._decoder_types  # see `_segments`
        self.prefix_space = bool(self._decoder_types & {"WordPiece", "Metaspace", "Strip"})
        self.table, self.eos_token = self._table(), library.id_to_token(end) or ""
        self.prefix, self.suffix = self._affixes()
        for id_ in (*self.prefix, *self.suffix):
            self._check_known(id_)
        self.source_prefix = self.prefix
        if bos_token is None and self.prefix:
            bos_token = library.id_to_token(self.external_ids(self.prefix)[0])
        self.bos_token = bos_token or ""
        self._encoder = library
        names = [t.content for t in library.get_added_tokens_decoder().values() if t.special]
        longest_first = sorted(filter(None, names), key=len, reverse=True)
        pattern = "|".join(map(re.escape, longest_first)) or "(?!)"
        self.special_pattern = re.compile(f"{NUL}?(?:{pattern})")

    def encode_inside(self, text: str) -> list[int]:
        leading = LEADING_LINE if self.prefix_space else ""
        ids = self._encoder.encode(leading + text, add_special_tokens=False).ids
        if leading:
            ids = ids[len(self._encoder.encode(leading, add_special_tokens=False).ids) :]
        return self._swap_ids(ids)

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

    def for_chat_template(self) -> PretrainedTokenizer:
        """The same tokenizer for the output of a chat template: alternating sources and targets.

        Nothing is put before a text, since the template contains all special tokens, and a target
        continues its source. Untrusted text must be escaped; see `escape_special_tokens`.
        """
        tokenizer = copy(self)
        tokenizer.prefix = tokenizer.source_prefix = []
        tokenizer._encoder, tokenizer._escaped_ids = _with_escaped_special_tokens(self._library)
        return tokenizer

    def escape_special_tokens(self, text: str) -> str:
        """Escape special tokens: a NUL before each name makes it plain text for tokenizers that are
        `for_chat_template`.
        """
        return self.special_pattern.sub(lambda token: NUL + token[0], text.replace(NUL, ""))

    def external_ids(self, ids: Iterable[int]) -> list[int]:
        return self._swap_ids(ids)

    def _encode(
        self, pieces: Iterable[tuple[str, bool]], sources: Sequence[bool]
    ) -> Iterator[tuple[Ids, NDArray[np.int64]]]:
        """The ids of records; ``sources`` tells cyclically which records are sources."""
        yield np.array([END], np.int32), np.zeros(1, np.int64)
        source_flags = cycle(sources)
        source, started = next(source_flags), False
        for text, ends in self._segments(pieces):
            continues = self._escaped_ids is not None and len(sources) > 1 and not source
            try:
                ids = self._ids(text, source=source, continues=continues)
            except TypeError:  # the library's error for an unpaired surrogate
                raise WenmoError("the text contains an unpaired surrogate") from None
            if self._has_extra_tokens and ids:
                self._check_known(max(ids), text)
            prefix = [] if started else self.source_prefix if source else self.prefix
            joined = np.array([*prefix, *ids, *([END] if ends else [])], np.int32)
            yield joined, np.array([len(joined) - 1] if ends else [], np.int64)
            started = not ends
            if ends:
                source = next(source_flags)

    def _check_known(self, id_: int, text: str = "") -> None:
        """Check that the model has a token.

        Args:
            text: text that contains it; empty for a token before or after every text.

        Raises:
            WenmoError: only the tokenizer has it.
        """
        if id_ < self.vocab_size:
            return
        token = str(self._library.id_to_token(id_))
        start = max(text.find(token) - CONTEXT, 0)
        context = f" (in {text[start : start + len(token) + 2 * CONTEXT]!r})" if text else ""
        raise WenmoError(
            f"the text contains {token!r}{context}, which is token {id_:,} of the tokenizer, "
            f"but the model has {self.vocab_size:,} tokens: remove it"
        )

    def _identity(self) -> bytes:
        numbers = (self.end, self.prefix, self.source_prefix)
        return super()._identity() + json.dumps(numbers).encode()

    def _ids(self, text: str, *, source: bool, continues: bool) -> list[int]:
        """The ids of a text; no prefix space is added if the text continues another."""
        if self._escaped_ids is not None:
            text = self.special_pattern.sub(_toggle_escape, text)
        leading = LEADING_LINE if continues and self.prefix_space else ""
        ids = self._encoder.encode(leading + text, add_special_tokens=False).ids
        if leading:
            ids = ids[len(self._encoder.encode(leading, add_special_tokens=False).ids) :]
        special_ids = self._escaped_ids or {}
        return self._swap_ids(special_ids.get(id_, id_) for id_ in ids)

    def _segments(self, pieces: Iterable[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
        """Whole records; for byte-level tokenizers, long records are cut before lines without
        leading space, since their patterns never match across that position.
        """
        rest: list[str] = []
        size = 0
        for piece, ends in pieces:
            rest.append(piece)
            size += len(piece)
            if ends or (self._cut_at_newlines and size >= CHUNK):
                text = "".join(rest)
                cut = len(text) if ends else _last_line_start(text)
                if cut or ends:
                    yield text[:cut], ends
                rest, size = [text[cut:]], len(text) - cut

    def _swap_ids(self, ids: Iterable[int]) -> list[int]:
        swapped = {END: self.end, self.end: END}
        return [swapped.get(id_, id_) for id_ in ids]

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
                table[id_] = self._token_bytes(token)
        table[END], table[self.end] = b"", table[END]
        return table

    def _token_bytes(self, token: str) -> bytes:
        """The bytes of a token that is not special."""
        if "ByteLevel" in self._decoder_types and all(c in BYTES for c in token):
            return bytes(BYTES[c] for c in token)
        if "WordPiece" in self._decoder_types:
            return _piece(token).encode()
        if "ByteFallback" in self._decoder_types and _is_byte(token):
            return bytes([int(token[3:5], 16)])
        return token.replace(SPACE, " ").encode()

    def _affixes(self) -> tuple[list[int], list[int]]:
        """The ids that the other program puts before and after a text."""
        bare = self._library.encode("a", add_special_tokens=False).ids
        full = self._library.encode("a").ids
        if not bare or len(full) == len(bare):
            return [], [END]
        start = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
        suffix = self._swap_ids(full[start + len(bare) :])
        return self._swap_ids(full[:start]), suffix or [END]


def _toggle_escape(token: re.Match[str]) -> str:
    """The replacement of a special token's name: escape an unescaped name, and restore an escaped
    one.
    """
    return token[0][1:] if token[0].startswith(NUL) else NUL + token[0]


def _with_escaped_special_tokens(library: Library) -> tuple[Library, dict[int, int]]:
    """A tokenizer in which the name of a special token is plain text and NUL plus the name is the
    token; with the original ids of these tokens.
    """
    plain = Library.from_str(library.to_str())
    plain.encode_special_tokens = True
    added = library.get_added_tokens_decoder().items()
    special = {id_: token for id_, token in added if token.special and token.content}
    plain.add_tokens(
        [
            AddedToken(
                NUL + token.content,
                lstrip=token.lstrip,
                rstrip=token.rstrip,
                normalized=token.normalized,
                special=False,
            )
            for token in special.values()
        ]
    )
    vocabulary = plain.get_vocab()
    return plain, {vocabulary[NUL + token.content]: id_ for id_, token in special.items()}


def parse_library(text: str) -> Library:
    """The tokenizer in the text of a ``tokenizer.json``.

    Raises:
        WenmoError: it is not one.
    """
    try:
        return Library.from_str(text)
    except Exception as error:  # the library has no specific error
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
    """A byte-level BPE tokenizer as in GPT-2 (Radford et al. 2019) and similar models.

    Args:
        vocabulary: id of each token.
        merges: pairs of tokens, the first merge first.
        special: special tokens.
        added: tokens matched literally before pre-tokenization.
        pattern: regular expression for pre-tokenization (default: GPT-2's).
        digits: split numbers into digits (default False).
        compose: normalize to Unicode NFC (default False).
        whole_words: look words up in the vocabulary before merging (default False).

    Raises:
        WenmoError: a merge has tokens that are not in the vocabulary.
    """
    for first, second in merges:  # otherwise the library panics
        if not {first, second, first + second} <= vocabulary.keys():
            raise WenmoError(
                f"the vocabulary lacks tokens of the merge of {first!r} and {second!r}"
            )
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


def with_bos(library: Library, token: str) -> Library:
    """The tokenizer with a special token before every text."""
    id_ = library.token_to_id(token)
    library.post_processor = processors.TemplateProcessing(
        single=f"{token} $A", pair=f"{token} $A {token} $B", special_tokens=[(token, id_)]
    )
    return library


def with_bos_eos(library: Library, prefix: str, suffix: str) -> Library:
    """The tokenizer with special tokens before and after every text.

    Raises:
        WenmoError: the vocabulary lacks one of them.
    """
    tokens = [(token, library.token_to_id(token)) for token in (prefix, suffix)]
    if any(id_ is None for _, id_ in tokens):
        raise WenmoError(f"the vocabulary lacks {prefix} or {suffix}")
    library.post_processor = processors.TemplateProcessing(
        single=f"{prefix} $A {suffix}",
        pair=f"{prefix} $A {suffix} $B {suffix}",
        special_tokens=tokens,
    )
    return library


def _piece(token: str) -> str:
    """A WordPiece with the space before it, if it begins a word of letters."""
    if token.startswith("##"):
        return token[2:]
    joins = token[:1] in CLOSING_PUNCTUATION or "一" <= token[:1] <= "鿿"
    return token if joins else " " + token


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _decoder_types(step: dict[str, Any]) -> Iterator[str]:
    """The types of a pipeline's steps."""
    yield step["type"]
    for inner in step.get("decoders", []):
        yield from _decoder_types(inner)


def _last_line_start(text: str) -> int:
    """The last position where a line starts without white space; 0 if there is none."""
    start = len(text) - 1
    while (start := text.rfind("\n", 0, start)) >= 0:
        if not text[start + 1].isspace():
            return start + 1
    return 0
