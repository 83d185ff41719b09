"""What tokenizers are made of: how text is cut, and vocabularies found by counting."""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Library

from wenmo.text.config import TokenizerConfig
from wenmo.types import END, WenmoError

END_TOKEN = "<|end|>"
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
FIRST_BYTE = 1
BASE = [END_TOKEN, *BYTE_TOKENS]
CODE_POINTS = 0x110000

SAMPLE = 1 << 24
"""The most characters that words, BPE and unigram are trained on: blocks spread over the text."""

BLOCK = 1 << 20
"""Characters that are encoded, counted or sampled together."""

LOOKAHEAD = 8
"""No pattern below looks further ahead than this many characters."""

# Every pattern has these properties, on which `Tokenizer.encode_pieces` rests: a match depends only
# on its own characters and the next few, it is of bounded length, and a newline is always a match
# of its own. The first alternative keeps a literal "<|end|>" or "<0x41>" in a text from being
# looked up as the token of that name.
_LITERAL = r"<(?=0x[0-9A-F]{2}>|\|end\|>)"
_LETTERS = r"[\p{L}\p{M}&&[^\p{Han}]]"
_MARK = r" ?([^\s\p{L}\p{M}\p{N}])\1{0,15}"  # one punctuation mark, perhaps repeated: …… -- !!!
_SPACES = r"\n|[^\S\n]{1,16}(?!\S)|\s"  # of several spaces, the last belongs to the word after it
_WORDS = (
    rf"{_LITERAL}|['’]\p{{L}}{{1,2}}(?!\p{{L}})| ?{_LETTERS}{{1,64}}|\p{{Han}}{{1,64}}"
    rf"| ?\p{{N}}{{1,%d}}|{_MARK}|{_SPACES}"
)
PATTERNS = {
    "spaces": rf"{_LITERAL}| ?\S{{1,128}}|\s",
    "words": _WORDS % 64,
    "bpe": _WORDS % 3,
    "unigram": _WORDS % 3,
}
_HAN = re.compile(r"[々〇㐀-\u9fff豈-\ufaff\U00020000-\U0003ffff]")


def make_model(texts: Iterable[str], config: TokenizerConfig) -> tuple[str, models.Model]:
    """Find the vocabulary for the texts: the form of its pipeline, and the library's model.

    Raises:
        WenmoError: no text, or an impossible ``vocab_size``.
    """
    if config.vocab_size is not None and config.vocab_size < len(BASE):
        raise WenmoError(
            f"vocab_size={config.vocab_size} is too small: the 256 bytes and the end mark "
            f"alone are {len(BASE)}"
        )
    form = config.split if config.kind == "words" else config.kind
    if form == "bytes":
        return "characters", _plain_model(BASE)
    if form == "characters":
        return form, _plain_model(BASE + _characters(texts, config.min_count, _room(config)))
    sample = _sample(texts)
    if not sample:
        raise WenmoError("there is no text to make a tokenizer from")
    makers = {
        "words": _train_words,
        "spaces": _train_words,
        "bpe": _train_bpe,
        "unigram": _train_unigram,
    }
    return form, makers[form](sample, config)


def assemble(form: str, model: models.Model) -> Library:
    """The pipeline of each form around a model: all that differs but the vocabulary."""
    library = Library(model)
    if form == "spaces":
        library.normalizer = normalizers.Prepend(" ")
    elif form in ("words", "unigram"):
        # A match of nothing: the library puts the space in before it.
        library.normalizer = normalizers.Replace(Regex(r"\A(?=\P{Han})"), " ")
    if form != "characters":
        library.pre_tokenizer = pre_tokenizers.Split(Regex(PATTERNS[form]), "isolated")
    if form == "bpe":
        to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        library.pre_tokenizer = pre_tokenizers.Sequence([library.pre_tokenizer, to_bytes])
        library.decoder = decoders.ByteLevel()
    else:
        steps: list[Any] = [decoders.ByteFallback(), decoders.Fuse()]
        if library.normalizer is not None:
            steps.append(decoders.Strip(" ", 1, 0))
        library.decoder = decoders.Sequence(steps)
    library.add_special_tokens([AddedToken(END_TOKEN, special=True, normalized=False)])
    library.encode_special_tokens = True
    return library


def empty_model(form: str) -> models.Model:
    if form == "bpe":
        return models.BPE(vocab={END_TOKEN: END}, merges=[])
    return (
        _scored_model([], -1.0)
        if form in ("words", "unigram")
        else _plain_model(BASE, form == "spaces")
    )


def _plain_model(tokens: list[str], whole_words: bool = False) -> models.Model:
    """Whole words where asked for and known, otherwise characters, otherwise bytes."""
    vocabulary = {token: id_ for id_, token in enumerate(tokens)}
    return models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, ignore_merges=whole_words)


def _scored_model(scored: list[tuple[str, float]], floor: float) -> models.Model:
    """The likeliest sequence of tokens by Viterbi search, bytes where there is none."""
    # The library reads back only short decimals exactly.
    rounded = [(token, round(score, 6)) for token, score in scored]
    return models.Unigram([*((token, round(floor, 6)) for token in BASE), *rounded], END, True)


def byte_alphabet() -> list[str]:
    """The visible character by which byte-level BPE writes each byte (Radford et al. 2019)."""
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in visible else next(others)) for byte in range(256)]


def _room(config: TokenizerConfig) -> int:
    """How many tokens may be added to the 257."""
    return sys.maxsize if config.vocab_size is None else config.vocab_size - len(BASE)


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in groups of about ``BLOCK`` characters, longer ones cut."""
    block: list[str] = []
    size = 0
    for text in texts:
        for start in range(0, len(text), BLOCK):
            block.append(text[start : start + BLOCK])
            size += len(block[-1])
            if size >= BLOCK:
                yield block
                block, size = [], 0
    if block:
        yield block


def _sample(texts: Iterable[str]) -> list[str]:
    """At most ``SAMPLE`` characters: every block, then every second, every fourth, ... block."""
    kept: list[list[str]] = []
    every = 1
    for number, block in enumerate(_blocks(texts)):
        if number % every == 0:
            kept.append(block)
        if len(kept) > max(1, SAMPLE // BLOCK // 2 * 2):
            kept, every = kept[::2], every * 2
    return [text for block in kept for text in block]


def _characters(texts: Iterable[str], min_count: int, most: int) -> list[str]:
    """The characters seen at least ``min_count`` times, the most frequent first."""
    counts = np.zeros(CODE_POINTS, np.int64)
    for block in _blocks(texts):
        codes = np.frombuffer("".join(block).encode("utf-32-le"), "<u4")
        counts += np.bincount(codes, minlength=CODE_POINTS)
    if not counts.any():
        raise WenmoError("there is no text to make a tokenizer from")
    seen = np.flatnonzero(counts >= max(min_count, 1))
    ranked = seen[np.argsort(-counts[seen], kind="stable")][:most]
    return [chr(code) for code in ranked]


def _train_words(sample: list[str], config: TokenizerConfig) -> models.Model:
    """Characters and words by count.

    Words split at spaces are looked up. Otherwise a run of Han characters is cut into the likeliest
    words, as in jieba's dictionary segmentation, by the log-frequencies of the words that jieba
    finds in the sample; any other word counts 1, so that one token always beats two or more.
    """
    counts = _count_words(sample, config.split)
    limited = config.vocab_size is not None
    room = _room(config)
    characters = _characters(sample, config.min_count, room // 2 if limited else room)
    words = [word for word, n in counts.items() if n >= config.min_count and len(word) > 1]
    words.sort(key=lambda word: (-counts[word], word))
    words = words[: room - len(characters)]
    if config.split == "spaces":
        return _plain_model(BASE + characters + words, whole_words=True)
    total = 1 + sum(n for word, n in counts.items() if _HAN.match(word))
    floor = math.log(0.5 / total)
    scores = [math.log(max(counts[c], 0.5) / total) if _HAN.match(c) else floor for c in characters]
    scores += [math.log(counts[word] / total) if _HAN.match(word) else -0.5 for word in words]
    return _scored_model(list(zip(characters + words, scores, strict=True)), floor)


def _count_words(sample: list[str], form: str) -> Counter[str]:
    import rjieba  # takes 0.2 s, for its dictionary

    empty = assemble(form, empty_model(form))
    counts: Counter[str] = Counter()
    for text in sample:
        matches = empty.pre_tokenizer.pre_tokenize_str(empty.normalizer.normalize_str(text))
        words = [word for word, _ in matches]
        if form == "words":
            runs = [rjieba.cut(word, False) if _HAN.match(word) else [word] for word in words]
            words = [word for run in runs for word in run]
        counts.update(words)
    return counts


def _default_size(sample: list[str]) -> int:
    size = sum(len(text.encode()) for text in sample)
    return int(min(8192, max(512, 2 ** round(math.log2(size / 256)))))


def _train_bpe(sample: list[str], config: TokenizerConfig) -> models.Model:
    library = assemble("bpe", empty_model("bpe"))
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size or _default_size(sample),
        min_frequency=config.min_count,
        special_tokens=[AddedToken(END_TOKEN, special=True, normalized=False)],
        initial_alphabet=sorted(byte_alphabet()),
        show_progress=False,
    )
    library.train_from_iterator(sample, trainer)
    model: models.Model = library.model
    return model


def _train_unigram(sample: list[str], config: TokenizerConfig) -> models.Model:
    """The library's pieces, with scores of our own.

    The library's expectation-maximisation sums in an order that changes from run to run, and so do
    its scores; its choice of pieces holds. Ours come from three rounds of Viterbi training that
    begin with the fewest pieces, so that the same text gives the same tokenizer.
    """
    room = _room(config)
    limited = config.vocab_size is not None
    characters = _characters(sample, config.min_count, room // 2 if limited else room)
    if not limited:
        room = _default_size(sample) + len(characters)
    rare = set().union(*sample) - set(characters)
    cleaned = [text.translate(dict.fromkeys(map(ord, rare), "\n")) for text in sample]
    pieces = set(characters)
    if room > len(characters) + 1:
        pieces |= set(_unigram_pieces(cleaned, room)) - rare
    ordered = sorted(pieces)
    scores = [-1.0] * len(ordered)
    floor = -1.0
    for _ in range(3):
        library = assemble("unigram", _scored_model(list(zip(ordered, scores, strict=True)), floor))
        counts = np.full(len(BASE) + len(ordered), 0.5)
        for encoding in library.encode_batch_fast(cleaned):
            counts += np.bincount(encoding.ids, minlength=len(counts))
        log_frequencies = np.log(counts / counts.sum())
        scores = log_frequencies[len(BASE) :].tolist()
        floor = float(log_frequencies.min())
    ranked = sorted(zip(ordered, scores, strict=True), key=lambda scored: (-scored[1], scored[0]))
    return _scored_model(ranked, floor)


def _unigram_pieces(sample: list[str], most: int) -> list[str]:
    library = assemble("unigram", empty_model("unigram"))
    trainer = trainers.UnigramTrainer(vocab_size=most, show_progress=False, special_tokens=[])
    library.train_from_iterator(sample, trainer)
    return [piece for piece, _ in json.loads(library.to_str())["model"]["vocab"]]
