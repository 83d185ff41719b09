r"""ARPA files: n-gram models as text, read and written by KenLM, SRILM, IRSTLM and Sphinx.

Each line of the file is an n-gram: log10 of its probability, its words, log10 of its back-off
weight. The id END is ``<s>`` at the start of an n-gram and ``</s>`` at its end.

White space separates the words. White space inside a word (such as the space in a character model)
is therefore escaped as ``\u`` and four hexadecimal digits: ``\u0020``. Control characters, the
backslash, and the ``<`` of words that look like the special words ``<s>``, ``</s>`` and ``<unk>``
are escaped too. Reading replaces every ``\uXXXX`` by its character. To score a text with another
program, escape its words with ``escape``.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn, TextIO

import numpy as np
import torch
from numpy.typing import NDArray

from wenmo.files import atomic
from wenmo.models.ngram import Ngram
from wenmo.models.ngram_config import NgramConfig
from wenmo.types import END, WenmoError

BOS_WORD, EOS_WORD, UNK_WORD = "<s>", "</s>", "<unk>"
IMPOSSIBLE = -99.0  # the format's log10 probability of a word that is never predicted
NEEDS_ESCAPE = re.compile(r"[\s\\\x00-\x1f\x7f\ud800-\udfff]|^<(?=(?:s|/s|unk)>\Z)")
ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
GZIP_MAGIC = b"\x1f\x8b"  # the first bytes of a gzip file
BOS_BYTES, EOS_BYTES = BOS_WORD.encode(), EOS_WORD.encode()
COUNT_LINE = re.compile(rb"ngram\s+(\d+)\s*=\s*(\d+)")


def escape(word: str) -> str:
    """Escape white space, control characters, backslashes and the format's special words."""
    return NEEDS_ESCAPE.sub(lambda match: f"\\u{ord(match[0]):04x}", word)


def unescape(word: str) -> str:
    """The inverse of ``escape``."""
    return ESCAPED.sub(lambda match: chr(int(match[1], 16)), word)


def write_arpa(model: Ngram, path: Path, words: Sequence[str]) -> None:
    """Write a model as an ARPA file atomically; with gzip if its name ends in ``.gz``.

    Every id has its own probability. Other programs expect an entry ``<unk>``; it is written with
    the probability ``IMPOSSIBLE``.

    Args:
        model: an n-gram model of any order.
        path: the file; an existing one is replaced.
        words: the text of each id, all different and none empty; the text of END is not used.

    Raises:
        WenmoError: the words do not fit the model, or the file cannot be written.
    """
    if len(words) != model.vocab_size:
        raise WenmoError(f"{path}: {len(words)} words for a vocabulary of {model.vocab_size}")
    names = [EOS_WORD, *map(escape, words[END + 1 :])]
    name, occurrences = Counter(names).most_common(1)[0]
    if occurrences > 1 or "" in names:
        problem = (
            f"{occurrences} ids have the word {name!r}" if occurrences > 1 else "a word is empty"
        )
        raise WenmoError(f"{path}: {problem}, but an ARPA file needs a different word for each id")
    tables = {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
    orders = range(1, model.config.order + 1)
    compressed = Path(path).suffix.lower() == ".gz"
    with atomic(Path(path)) as temporary, _open_text(temporary, compressed=compressed) as file:
        file.write("\\data\\\n")
        for n in orders:  # END is two words among the unigrams, and <unk> is added
            file.write(f"ngram {n}={len(tables[f'prob_{n}']) + 2 * (n == 1)}\n")
        ngrams = names
        for n in orders:
            prob, backoff = tables[f"prob_{n}"], tables.get(f"backoff_{n}")
            file.write(f"\n\\{n}-grams:\n")
            if n == 1:
                file.writelines(_unigram_lines(names, prob, backoff))
                continue
            contexts = [BOS_WORD, *ngrams[1:]] if n == 2 else ngrams
            context, word = np.divmod(tables[f"keys_{n}"], len(names))
            pairs = zip(context.tolist(), word.tolist(), strict=True)
            ngrams = [f"{contexts[i]} {names[j]}" for i, j in pairs]
            file.writelines(_lines(ngrams, prob, backoff))
        file.write("\n\\end\\\n")


def read_arpa(path: Path) -> tuple[Ngram, list[str]]:
    """Read an ARPA file of any program, with or without gzip compression.

    The ids follow the order of the unigrams, so that a file written by ``write_arpa`` is read back
    as the same model. ``<unk>`` is an ordinary word, unless its log10 probability is -99 or less.

    Args:
        path: the file, UTF-8.

    Returns:
        The model, and the text of each id; the text of END (0) is ``</s>``.

    Raises:
        WenmoError: the file cannot be read, or a line is not valid in this format.
    """
    parser = _Parser(Path(path))
    try:
        with open(path, "rb") as file:
            lines = iter(_open_lines(file))
            parser.parse(lines)
            deque(lines, 0)  # read to the end, where gzip checks the checksum
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise WenmoError(f"{path}: damaged, not a complete gzip file") from None
    except OSError as error:
        raise WenmoError(f"{path}: {error.strerror}") from None
    model = Ngram(NgramConfig(order=len(parser.sections)), len(parser.words))
    keys: list[NDArray[np.int64]] = []
    tables = {}
    for n, section in enumerate(parser.sections, 1):
        grams, order = _sort(parser, n, keys)
        keys.append(grams)
        tables[f"keys_{n}"] = torch.from_numpy(grams)
        for name, log10 in (("prob", section.prob), ("backoff", section.backoff)):
            tables[f"{name}_{n}"] = torch.from_numpy(np.array(log10)[order] * np.log(10)).float()
    model.load_state_dict({name: tables[name] for name in model.state_dict()})
    return model, parser.words


def _open_lines(file: BinaryIO) -> Iterable[bytes]:
    """The lines of a file, decompressed if it is a gzip file."""
    compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if compressed else file


@contextmanager
def _open_text(path: Path, *, compressed: bool) -> Iterator[TextIO]:
    """A text file to write to; the same lines always give the same bytes, also compressed."""
    with path.open("wb") as raw:
        target = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if compressed else raw
        with io.TextIOWrapper(target, "utf-8", newline="\n") as file:
            yield file


def _unigram_lines(
    names: list[str], prob: NDArray[np.float32], backoff: NDArray[np.float32] | None
) -> Iterator[str]:
    """The unigram lines: END is <s> as a context, which is never predicted, and </s> as a word."""
    words = [UNK_WORD, BOS_WORD, *names]
    prob = np.concatenate([np.full(2, IMPOSSIBLE * np.log(10)), prob])
    if backoff is not None:
        backoff = np.concatenate([[0, backoff[END], 0], backoff[END + 1 :]])
    return _lines(words, prob, backoff)


def _lines(
    ngrams: list[str], prob: NDArray[np.floating], backoff: NDArray[np.floating] | None
) -> Iterator[str]:
    """The lines of n-grams, from natural logarithms; ``backoff`` is None for the highest order."""
    scale = np.float64(1 / np.log(10))
    if backoff is None:
        for p, ngram in zip((prob * scale).tolist(), ngrams, strict=True):
            yield f"{p:.7g}\t{ngram}\n"
        return
    for p, ngram, b in zip(
        (prob * scale).tolist(), ngrams, (backoff * scale).tolist(), strict=True
    ):
        yield f"{p:.7g}\t{ngram}\t{b:.7g}\n"


@dataclass
class _Section:
    """The n-grams of one order in file order, in log10; ``ids`` is flat, ``n`` ids per n-gram."""

    ids: list[int] = field(default_factory=list)
    prob: list[float] = field(default_factory=list)
    backoff: list[float] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    def add(self, ids: list[int], prob: float, backoff: float, line: int) -> None:
        self.ids += ids
        self.prob.append(max(prob, IMPOSSIBLE))  # some programs write -inf
        self.backoff.append(max(backoff, IMPOSSIBLE))
        self.lines.append(line)


class _Parser:
    """Parses lines as bytes, so that only ASCII white space separates words, as in KenLM.

    Attributes:
        words: the text of each id read so far.
        sections: the n-grams of each order read so far; the first unigram is END.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.words = [EOS_WORD]
        self.sections: list[_Section] = []
        self._ids = {BOS_BYTES: END, EOS_BYTES: END}
        self._declared_counts: list[int] = []
        self._entry_counts: list[int] = []

    def parse(self, file: Iterable[bytes]) -> None:
        numbered_lines, line_number = enumerate(file, 1), 0
        if not any(line.strip() == b"\\data\\" for _, line in numbered_lines):
            raise WenmoError(f"{self.path}: not an ARPA file: no line is \\data\\")
        for line_number, line in numbered_lines:
            fields = line.split()
            if not fields:
                continue
            if fields[0].startswith(b"\\"):
                if self._begin_section(line_number, fields[0]):
                    return
            elif self.sections:
                self._entry(line_number, fields)
            else:
                self._header(line_number, line)
        self.fail(line_number, "the file ends without \\end\\")

    def fail(self, line_number: int, problem: str) -> NoReturn:
        raise WenmoError(f"{self.path}:{line_number}: {problem}")

    def _header(self, line_number: int, line: bytes) -> None:
        match = COUNT_LINE.fullmatch(line.strip())
        if not match or int(match[1]) != len(self._declared_counts) + 1:
            self.fail(line_number, f"expected 'ngram {len(self._declared_counts) + 1}=COUNT'")
        self._declared_counts.append(int(match[2]))

    def _begin_section(self, line_number: int, title: bytes) -> bool:
        """Start the section of the next order; returns True at ``\\end\\``."""
        n = len(self.sections)
        if n and self._entry_counts[-1] != self._declared_counts[n - 1]:
            counted, declared = self._entry_counts[-1], self._declared_counts[n - 1]
            self.fail(
                line_number, f"{counted} n-grams of order {n}, but the header declares {declared}"
            )
        end = n > 0 and n == len(self._declared_counts)
        expected = "\\end\\" if end else f"\\{n + 1}-grams:"
        if not self._declared_counts or title != expected.encode():
            self.fail(
                line_number, f"expected {expected if self._declared_counts else 'ngram 1=COUNT'}"
            )
        if not end:
            self.sections.append(_Section())
            self._entry_counts.append(0)
            if n == 0:
                self.sections[0].add([END], IMPOSSIBLE, 0.0, line_number)
        return end

    def _entry(self, line_number: int, fields: list[bytes]) -> None:
        n, section = len(self.sections), self.sections[-1]
        words = fields[1 : n + 1]
        try:
            prob = float(fields[0])
            backoff = float(fields[n + 1]) if len(fields) > n + 1 else 0.0
            valid = n < len(fields) <= n + 2 and prob <= 0 and not math.isnan(backoff)
        except ValueError:
            valid = False
        if not valid:
            word_count = "1 word" if n == 1 else f"{n} words"
            self.fail(
                line_number,
                f"expected a log10 probability, {word_count}, and maybe a back-off weight",
            )
        self._entry_counts[-1] += 1
        if n == 1:
            self._unigram(line_number, words[0], prob, backoff)
            return
        if BOS_BYTES in words[1:] or EOS_BYTES in words[:-1]:
            self.fail(
                line_number, "<s> can only be the first word of an n-gram, and </s> only the last"
            )
        try:
            section.add([self._ids[word] for word in words], prob, backoff, line_number)
        except KeyError as error:
            unknown = error.args[0].decode(errors="replace")
            self.fail(line_number, f"{unknown!r} is not among the 1-grams")

    def _unigram(self, line_number: int, word: bytes, prob: float, backoff: float) -> None:
        section = self.sections[0]
        if word == BOS_BYTES:
            section.backoff[END] = backoff
        elif word == EOS_BYTES:
            section.prob[END] = prob
        elif word in self._ids:
            self.fail(line_number, f"{word.decode()!r} occurs twice among the 1-grams")
        elif word != UNK_WORD.encode() or prob > IMPOSSIBLE:
            try:
                self.words.append(unescape(word.decode()))
            except UnicodeDecodeError:
                self.fail(line_number, "the word is not valid UTF-8")
            self._ids[word] = len(self._ids) - 1  # <s> and </s> share an id
            section.add([self._ids[word]], prob, backoff, line_number)


def _sort(
    parser: _Parser, n: int, keys: list[NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The sorted keys of the n-grams of order ``n``, and the index of each in the file.

    Args:
        keys: the sorted keys of the lower orders.
    """
    section, vocab_size = parser.sections[n - 1], len(parser.words)
    ids = np.array(section.ids, np.int64).reshape(-1, n)
    context = np.zeros(len(ids), np.int64)  # the empty one
    for k in range(1, n):
        context_keys = context * vocab_size + ids[:, k - 1]
        context = np.searchsorted(keys[k - 1], context_keys)
        missing = np.flatnonzero(np.append(keys[k - 1], -1)[context] != context_keys)
        if len(missing):
            words = " ".join(escape(parser.words[i]) for i in ids[missing[0], :k])
            parser.fail(
                section.lines[missing[0]],
                f"its context {words!r} is not an n-gram of the lower order",
            )
    ngram = context * vocab_size + ids[:, n - 1]
    order = np.argsort(ngram, kind="stable")
    duplicates = np.flatnonzero(np.diff(ngram[order]) == 0)
    if len(duplicates):
        parser.fail(section.lines[order[duplicates[0] + 1]], "the n-gram occurs twice")
    return ngram[order], order
