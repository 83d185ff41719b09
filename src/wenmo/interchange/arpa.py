r"""ARPA files: n-gram models as text, read and written by KenLM, SRILM, IRSTLM and Sphinx.

A line of the file is an n-gram: log10 of its probability, its words, log10 of its back-off weight.
The id END is ``<s>`` where it begins an n-gram and ``</s>`` where it ends one.

White space parts the words, so the white space inside a word, a space in a model of characters
above all, is written as ``\u`` and four hexadecimal digits: ``\u0020``. So are control characters,
the backslash itself, and the ``<`` of words that only look like ``<s>``, ``</s>`` and ``<unk>``,
which programs give a meaning of their own. Reading turns every ``\uXXXX`` back. To score a text
with another program, spell its words with ``escape``.
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

BEGIN_WORD, END_WORD, UNKNOWN_WORD = "<s>", "</s>", "<unk>"
IMPOSSIBLE = -99.0  # the log10 probability that the format gives to what is never predicted
SPECIAL = re.compile(r"[\s\\\x00-\x1f\x7f\ud800-\udfff]|^<(?=(?:s|/s|unk)>\Z)")
ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
GZIP = b"\x1f\x8b"  # the first bytes of a compressed file
BEGIN, FINISH = BEGIN_WORD.encode(), END_WORD.encode()
COUNT_LINE = re.compile(rb"ngram\s+(\d+)\s*=\s*(\d+)")


def escape(word: str) -> str:
    """Spell a word without white space, and unlike the words that have a meaning of their own."""
    return SPECIAL.sub(lambda match: f"\\u{ord(match[0]):04x}", word)


def unescape(word: str) -> str:
    """Undo ``escape``."""
    return ESCAPED.sub(lambda match: chr(int(match[1], 16)), word)


def write_arpa(model: Ngram, path: Path, words: Sequence[str]) -> None:
    """Write a model as an ARPA file, which appears complete or not at all; compressed, where its
    name ends in ``.gz``.

    Every id has a probability of its own; the entry ``<unk>``, which programs expect, has none
    to speak of.

    Args:
        model: of any order.
        path: of the file; one that exists is replaced.
        words: the text of each id, all different and none empty; that of END is not used.

    Raises:
        WenmoError: the words do not fit the model, or the file cannot be written.
    """
    if len(words) != model.vocab_size:
        raise WenmoError(f"{path}: {len(words)} words for a vocabulary of {model.vocab_size}")
    names = [END_WORD, *map(escape, words[END + 1 :])]
    name, times = Counter(names).most_common(1)[0]
    if times > 1 or "" in names:
        problem = f"{times} ids have the word {name!r}" if times > 1 else "a word is empty"
        raise WenmoError(f"{path}: {problem}, but an ARPA file tells ids apart by their words")
    tables = {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
    orders = range(1, model.config.order + 1)
    packed = Path(path).suffix.lower() == ".gz"
    with atomic(Path(path)) as temporary, _written(temporary, packed=packed) as file:
        file.write("\\data\\\n")
        for n in orders:  # at order 1 END is two words, and there is <unk>
            file.write(f"ngram {n}={len(tables[f'prob_{n}']) + 2 * (n == 1)}\n")
        texts = names
        for n in orders:
            prob, backoff = tables[f"prob_{n}"], tables.get(f"backoff_{n}")
            file.write(f"\n\\{n}-grams:\n")
            if n == 1:
                file.writelines(_unigram_lines(names, prob, backoff))
                continue
            contexts = [BEGIN_WORD, *texts[1:]] if n == 2 else texts
            context, word = np.divmod(tables[f"keys_{n}"], len(names))
            pairs = zip(context.tolist(), word.tolist(), strict=True)
            texts = [f"{contexts[i]} {names[j]}" for i, j in pairs]
            file.writelines(_lines(texts, prob, backoff))
        file.write("\n\\end\\\n")


def read_arpa(path: Path) -> tuple[Ngram, list[str]]:
    """Read an ARPA file of any program, compressed with gzip or not.

    The ids follow the order of the unigrams, so that a file written by ``write_arpa`` gives the
    model back as it was. ``<unk>`` is a word as any other, unless it is as good as impossible
    (log10 probability of -99 or less).

    Args:
        path: of the file, UTF-8.

    Returns:
        The model, and the text of each id: END (0) has ``</s>``.

    Raises:
        WenmoError: the file cannot be read, or a line is not what the format asks for.
    """
    parser = _Parser(Path(path))
    try:
        with open(path, "rb") as file:
            lines = iter(_unpacked(file))
            parser.parse(lines)
            deque(lines, 0)  # a compressed file ends with its checksum
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise WenmoError(f"{path}: damaged, not a whole gzip file") from None
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


def _unpacked(file: BinaryIO) -> Iterable[bytes]:
    """The lines of a file, whether or not it is compressed."""
    packed = file.read(len(GZIP)) == GZIP
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if packed else file


@contextmanager
def _written(path: Path, *, packed: bool) -> Iterator[TextIO]:
    """A file to write lines to; the same lines make the same bytes, compressed or not."""
    with path.open("wb") as whole:
        target = gzip.GzipFile("", "wb", fileobj=whole, mtime=0) if packed else whole
        with io.TextIOWrapper(target, "utf-8", newline="\n") as file:
            yield file


def _unigram_lines(
    names: list[str], prob: NDArray[np.float32], backoff: NDArray[np.float32] | None
) -> Iterator[str]:
    """As a context END is <s>, which is never predicted; as a word it is </s>, which ends all."""
    texts = [UNKNOWN_WORD, BEGIN_WORD, *names]
    prob = np.concatenate([np.full(2, IMPOSSIBLE * np.log(10)), prob])
    if backoff is not None:
        backoff = np.concatenate([[0, backoff[END], 0], backoff[END + 1 :]])
    return _lines(texts, prob, backoff)


def _lines(
    texts: list[str], prob: NDArray[np.floating], backoff: NDArray[np.floating] | None
) -> Iterator[str]:
    """The lines of n-grams, from natural logarithms; the highest order has no back-off weights."""
    scale = np.float64(1 / np.log(10))
    if backoff is None:
        for p, text in zip((prob * scale).tolist(), texts, strict=True):
            yield f"{p:.7g}\t{text}\n"
        return
    for p, text, b in zip((prob * scale).tolist(), texts, (backoff * scale).tolist(), strict=True):
        yield f"{p:.7g}\t{text}\t{b:.7g}\n"


@dataclass
class _Section:
    """The n-grams of one order as the file has them, in log10; their ids stand in one long row."""

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
    """Reads the lines, which stay bytes: only ASCII white space parts words, as for KenLM.

    Attributes:
        words: the text of each id so far.
        sections: the n-grams of each order so far; the first of order 1 is END.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.words = [END_WORD]
        self.sections: list[_Section] = []
        self._ids = {BEGIN: END, FINISH: END}
        self._promised: list[int] = []
        self._entries: list[int] = []

    def parse(self, file: Iterable[bytes]) -> None:
        numbered, number = enumerate(file, 1), 0
        if not any(line.strip() == b"\\data\\" for _, line in numbered):
            raise WenmoError(f"{self.path}: no line is \\data\\: this is not an ARPA file")
        for number, line in numbered:
            fields = line.split()
            if not fields:
                continue
            if fields[0].startswith(b"\\"):
                if self._begin_section(number, fields[0]):
                    return
            elif self.sections:
                self._entry(number, fields)
            else:
                self._header(number, line)
        self.fail(number, "the file stops before its \\end\\")

    def fail(self, number: int, problem: str) -> NoReturn:
        raise WenmoError(f"{self.path}:{number}: {problem}")

    def _header(self, number: int, line: bytes) -> None:
        match = COUNT_LINE.fullmatch(line.strip())
        if not match or int(match[1]) != len(self._promised) + 1:
            self.fail(number, f"expected 'ngram {len(self._promised) + 1}=COUNT'")
        self._promised.append(int(match[2]))

    def _begin_section(self, number: int, title: bytes) -> bool:
        """Begin the next order; true at the end of the last."""
        n = len(self.sections)
        if n and self._entries[-1] != self._promised[n - 1]:
            found, promised = self._entries[-1], self._promised[n - 1]
            self.fail(number, f"{found} n-grams of order {n}, but the header promises {promised}")
        end = n > 0 and n == len(self._promised)
        expected = "\\end\\" if end else f"\\{n + 1}-grams:"
        if not self._promised or title != expected.encode():
            self.fail(number, f"expected {expected if self._promised else 'ngram 1=COUNT'}")
        if not end:
            self.sections.append(_Section())
            self._entries.append(0)
            if n == 0:
                self.sections[0].add([END], IMPOSSIBLE, 0.0, number)
        return end

    def _entry(self, number: int, fields: list[bytes]) -> None:
        n, section = len(self.sections), self.sections[-1]
        words = fields[1 : n + 1]
        try:
            prob = float(fields[0])
            backoff = float(fields[n + 1]) if len(fields) > n + 1 else 0.0
            valid = n < len(fields) <= n + 2 and prob <= 0 and not math.isnan(backoff)
        except ValueError:
            valid = False
        if not valid:
            many = "1 word" if n == 1 else f"{n} words"
            self.fail(number, f"expected a log10 probability, {many}, and maybe a back-off weight")
        self._entries[-1] += 1
        if n == 1:
            self._unigram(number, words[0], prob, backoff)
            return
        if BEGIN in words[1:] or FINISH in words[:-1]:
            self.fail(number, "<s> can only begin an n-gram, and </s> only end it")
        try:
            section.add([self._ids[word] for word in words], prob, backoff, number)
        except KeyError as error:
            unknown = error.args[0].decode(errors="replace")
            self.fail(number, f"{unknown!r} is not among the 1-grams")

    def _unigram(self, number: int, word: bytes, prob: float, backoff: float) -> None:
        section = self.sections[0]
        if word == BEGIN:
            section.backoff[END] = backoff
        elif word == FINISH:
            section.prob[END] = prob
        elif word in self._ids:
            self.fail(number, f"{word.decode()!r} stands twice among the 1-grams")
        elif word != UNKNOWN_WORD.encode() or prob > IMPOSSIBLE:
            try:
                self.words.append(unescape(word.decode()))
            except UnicodeDecodeError:
                self.fail(number, "the word is not valid UTF-8")
            self._ids[word] = len(self._ids) - 1  # <s> and </s> share an id
            section.add([self._ids[word]], prob, backoff, number)


def _sort(
    parser: _Parser, n: int, keys: list[NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The sorted keys of the n-grams of order ``n``, given those of the orders below.

    Also where each stood in the file.
    """
    section, vocab_size = parser.sections[n - 1], len(parser.words)
    ids = np.array(section.ids, np.int64).reshape(-1, n)
    context = np.zeros(len(ids), np.int64)  # the empty one
    for k in range(1, n):
        wanted = context * vocab_size + ids[:, k - 1]
        context = np.searchsorted(keys[k - 1], wanted)
        missing = np.flatnonzero(np.append(keys[k - 1], -1)[context] != wanted)
        if len(missing):
            words = " ".join(escape(parser.words[i]) for i in ids[missing[0], :k])
            parser.fail(section.lines[missing[0]], f"its context {words!r} is not an n-gram before")
    gram = context * vocab_size + ids[:, n - 1]
    order = np.argsort(gram, kind="stable")
    twice = np.flatnonzero(np.diff(gram[order]) == 0)
    if len(twice):
        parser.fail(section.lines[order[twice[0] + 1]], "the n-gram stands twice")
    return gram[order], order
