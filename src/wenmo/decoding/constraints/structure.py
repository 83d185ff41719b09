"""Texts of a regular expression, a JSON Schema, a choice or a grammar, through llguidance.

llguidance (https://github.com/guidance-ai/llguidance) parses by Earley's algorithm over a lexer of
regular-expression derivatives, and walks the trie of a vocabulary to find which tokens may follow.
It reads the bytes of tokens, so that any tokenizer will do.

Where a structure leaves one text only (``{"name": "``), the tokens of its usual encoding are
written, and other spellings of it are not allowed: a model has seldom read them, and what it says
after one differs. The last tokens are left open where a longer token may begin there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from wenmo.decoding.constraints.notation import with_leading_space
from wenmo.decoding.constraints.utf8 import Utf8Constraint
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import END, WenmoError

if TYPE_CHECKING:
    from llguidance import LLMatcher

SHOWN = 40  # characters of a text in messages
NO_EXTENSION = "NoExtension"  # the library's error where no token may follow


class StructureVocabulary:
    """The vocabulary of a tokenizer as llguidance reads it. Made once: 150,000 tokens take half a
    second.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        from llguidance import LLTokenizer, TokenizerWrapper

        self.tokenizer, self.table = tokenizer, tokenizer.table
        self._tokens: dict[bytes, int] = {}
        for token, spelled in enumerate(self.table):
            if spelled:
                self._tokens.setdefault(spelled, token)
        self._longest = max(map(len, self.table))
        self._joined = b"\xff".join(self.table)
        self.library = LLTokenizer(TokenizerWrapper(_Encoder(self)))

    def encode(self, text: bytes) -> list[int]:
        """The usual tokens of a text within another; if it has none, the longest ones."""
        try:
            ids = self.tokenizer.encode_inside(text.decode())
        except (UnicodeDecodeError, WenmoError):
            ids = []
        if b"".join([self.table[id_] for id_ in ids]) == text:
            return ids
        return self._longest_tokens(text)

    def lacks(self, character: str) -> bool:
        """Whether no tokens spell a character."""
        spelled = character.encode()
        return spelled not in self._joined and not all(
            bytes([byte]) in self._tokens for byte in spelled
        )

    def _longest_tokens(self, text: bytes) -> list[int]:
        ids: list[int] = []
        while text:
            lengths = range(min(self._longest, len(text)), 0, -1)
            length = next((n for n in lengths if text[:n] in self._tokens), 0)
            if not length:
                return []
            ids.append(self._tokens[text[:length]])
            text = text[length:]
        return ids


class _Encoder:
    """What llguidance asks of a tokenizer."""

    def __init__(self, vocabulary: StructureVocabulary) -> None:
        self._vocabulary = vocabulary
        self.eos_token_id, self.bos_token_id = END, None
        self.tokens, self.special_token_ids = vocabulary.table, [END]

    def __call__(self, text: bytes | str) -> list[int]:
        return self._vocabulary.encode(text.encode() if isinstance(text, str) else text)


class Structure:
    """A grammar that is compiled for a vocabulary.

    Args:
        vocabulary: of the model.
        grammar: in the notation of llguidance.
        name: of the option that asks for it, for messages.
        strip_space: a space at the beginning of a text is not shown, and is no part of it.

    Attributes:
        required: the characters with which every text begins.

    Raises:
        WenmoError: the tokens spell no text of the grammar, or it is too large.
    """

    def __init__(
        self, vocabulary: StructureVocabulary, grammar: str, name: str, *, strip_space: bool = False
    ) -> None:
        self.vocabulary, self.name = vocabulary, name
        self._matcher = self._compile(grammar)
        if strip_space:
            tokens = _tokens(self.mask(self._matcher))
            begins = any(self.vocabulary.table[token][:1] == b" " for token in tokens)
            self._matcher = self._compile(with_leading_space(grammar, optional=not begins))
        self.required = self._matcher.compute_ff_bytes().decode("utf-8", "ignore")
        self._first = self.mask(self._matcher)
        if self._first is None:
            lacking = "".join(each for each in self.required if vocabulary.lacks(each))
            raise WenmoError(
                f"{name}: the vocabulary has no token for {lacking or 'such a text'!r}"
            )

    def start(self, preferred: Utf8Constraint | None = None) -> StructureConstraint:
        """The constraint of a text.

        Args:
            preferred: the characters that are written where the structure leaves a choice.
        """
        return StructureConstraint(self, self._matcher.deep_copy(), preferred, self._first)

    def allows(self, characters: Utf8Constraint) -> bool:
        """Whether some text begins with allowed characters, or is empty."""
        mask = characters.allowed()
        return mask is None or self._first is None or bool((self._first & mask).any())

    def mask(self, matcher: LLMatcher) -> Tensor | None:
        """The tokens that may follow, bool (vocab_size,), END only where the text may end; None:
        there are none.
        """
        size = len(self.vocabulary.table)
        bits = np.empty((size + 31) // 32, np.int32)
        matcher.unsafe_compute_mask_ptr(bits.ctypes.data, bits.nbytes)
        if matcher.is_error():
            if matcher.get_error().startswith(NO_EXTENSION):
                return None
            self.check(matcher)
        if bits[0] & 1 and not matcher.is_accepting():
            bits[0] &= -2  # without END
        if not bits.any():
            return None
        allowed = np.unpackbits(bits.view(np.uint8), count=size, bitorder="little").view(np.bool_)
        return torch.from_numpy(allowed)

    def check(self, matcher: LLMatcher) -> None:
        """Raise the error of a matcher, if it has one."""
        if not matcher.is_error():
            return
        [reason, *_] = str(matcher.get_error()).splitlines() or [""]
        raise WenmoError(f"{self.name}: too complex, or wrong: {reason}")

    def _compile(self, grammar: str) -> LLMatcher:
        from llguidance import LLMatcher, LLParserLimits

        limits = LLParserLimits(verbose_errors=False)
        matcher = LLMatcher(self.vocabulary.library, grammar, log_level=0, limits=limits)
        self.check(matcher)
        return matcher


class StructureConstraint:
    """A text that is being written with a structure."""

    def __init__(
        self,
        structure: Structure,
        matcher: LLMatcher,
        preferred: Utf8Constraint | None,
        mask: Tensor | None,
        text: bytes = b"",
    ) -> None:
        self._structure, self._matcher, self._preferred = structure, matcher, preferred
        self._structural = mask  # without regard to preferred characters; None: not yet computed
        self._mask: Tensor | None = None
        self._forced: list[int] | None = None
        self._text = text  # its last bytes, for messages

    def allowed(self) -> Tensor:
        """The tokens with which some text of the structure continues.

        Of these, only tokens of preferred characters, if there are any.
        """
        if self._mask is None:
            if self._structural is None:
                self._structural = self._structure.mask(self._matcher)
            mask = self._structural
            if mask is None:
                raise self._stuck()
            preferred = None if self._preferred is None else self._preferred.allowed()
            if preferred is not None and (both := mask & preferred).any():
                mask = both
            self._mask = mask
        return self._mask

    def forced(self) -> int | None:
        """The next token of the usual encoding of what must follow, if it is certain."""
        if self._forced is None:
            self._forced = self._matcher.compute_ff_tokens()
        return self._forced[0] if self._forced else None

    def advance(self, token: int) -> None:
        """Append a token."""
        if token == END:
            return
        if not self._matcher.consume_token(token):
            self._structure.check(self._matcher)
        if self._preferred is not None:
            self._preferred.advance(token)
        ahead = self._forced or []
        self._forced = ahead[1:] or None if ahead[:1] == [token] else None
        self._structural = self._mask = None
        self._text = (self._text + self._structure.vocabulary.table[token])[-4 * SHOWN :]

    def fork(self) -> StructureConstraint:
        """An independent copy."""
        preferred = None if self._preferred is None else self._preferred.fork()
        matcher = self._matcher.deep_copy()
        copy = StructureConstraint(
            self._structure, matcher, preferred, self._structural, self._text
        )
        copy._mask, copy._forced = self._mask, self._forced
        return copy

    def _stuck(self) -> WenmoError:
        text = self._text.decode("utf-8", "ignore")[-SHOWN:]
        needed = self._matcher.compute_ff_bytes().decode("utf-8", "ignore")
        wanted = f"{needed[:1]!r}" if needed else "what must follow"
        return WenmoError(
            f"{self._structure.name}: after {text!r} the model has no token for {wanted}: its "
            "tokenizer cannot spell it"
        )


def _tokens(mask: Tensor | None) -> list[int]:
    found: list[int] = [] if mask is None else mask.nonzero().flatten().tolist()
    return found
