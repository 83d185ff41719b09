"""Pre-tokenization patterns, and vocabularies trained on texts."""

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
"""Maximum number of characters for training words, BPE and unigram: blocks spread over the text."""

BLOCK = 1 << 20
"""Characters that are encoded, counted or sampled together."""

LOOKAHEAD = 8
"""Maximum lookahead of the patterns below, in characters."""

# `Tokenizer.encode_pieces` relies on these properties of every pattern: a match depends only on its
# own characters and the next few, its length is bounded, and a newline is a match by itself. The
# first alternative prevents a literal "<|end|>" or "<0x41>" in a text from matching that token.
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
    """Train a vocabulary on texts.

    Returns:
        The form of the pipeline, and the library's model.

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
        return form, _plain_model(BASE + _characters(texts, config.min_count, _free_slots(config)))
    sample = _sample(texts)
    if not sample:
        raise WenmoError("no text to train a tokenizer on")
    makers = {
        "words": _train_words,
        "spaces": _train_words,
        "bpe": _train_bpe,
        "unigram": _train_unigram,
    }
    return form, makers[form](sample, config)


def assemble(form: str, model: models.Model) -> Library:
    """The tokenizer of a form around a model: everything but the vocabulary."""
    library = Library(model)
    if form == "spaces":
        library.normalizer = normalizers.Prepend(" ")
    elif form in ("words", "unigram"):
        # An empty match, at which the library inserts the space.
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
    """Words if requested and known, otherwise characters, otherwise bytes."""
    vocabulary = {token: id_ for id_, token in enumerate(tokens)}
    return models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, ignore_merges=whole_words)


def _scored_model(scored: list[tuple[str, float]], floor: float) -> models.Model:
    """The likeliest sequence of tokens by Viterbi search; bytes for unknown characters."""
    # The library restores only short decimals exactly.
    rounded = [(token, round(score, 6)) for token, score in scored]
    return models.Unigram([*((token, round(floor, 6)) for token in BASE), *rounded], END, True)


def byte_alphabet() -> list[str]:
    """The visible character of each byte in byte-level BPE (Radford et al. 2019)."""
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in visible else next(others)) for byte in range(256)]


def _free_slots(config: TokenizerConfig) -> int:
    """The number of tokens that may be added to the 257 fixed ones."""
    return sys.maxsize if config.vocab_size is None else config.vocab_size - len(BASE)


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in groups of about ``BLOCK`` characters; longer texts are cut."""
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
    sampled: list[list[str]] = []
    stride = 1
    for number, block in enumerate(_blocks(texts)):
        if number % stride == 0:
            sampled.append(block)
        if len(sampled) > max(1, SAMPLE // BLOCK // 2 * 2):
            sampled, stride = sampled[::2], stride * 2
    return [text for block in sampled for text in block]


def _characters(texts: Iterable[str], min_count: int, max_size: int) -> list[str]:
    """The characters with at least ``min_count`` occurrences, the most frequent first."""
    counts = np.zeros(CODE_POINTS, np.int64)
    for block in _blocks(texts):
        codes = np.frombuffer("".join(block).encode("utf-32-le"), "<u4")
        counts += np.bincount(codes, minlength=CODE_POINTS)
    if not counts.any():
        raise WenmoError("no text to train a tokenizer on")
    seen = np.flatnonzero(counts >= max(min_count, 1))
    ranked = seen[np.argsort(-counts[seen], kind="stable")][:max_size]
    return [chr(code) for code in ranked]


def _train_words(sample: list[str], config: TokenizerConfig) -> models.Model:
    """A vocabulary of characters and words, by frequency.

    Words split at spaces are looked up. Otherwise a run of Han characters is segmented into the
    likeliest words, as in jieba's dictionary segmentation, with the log-frequencies of the words
    that jieba finds in the sample; any other word has a constant score, so that one token always
    beats two or more.
    """
    counts = _count_words(sample, config.split)
    is_limited = config.vocab_size is not None
    free_slots = _free_slots(config)
    characters = _characters(
        sample, config.min_count, free_slots // 2 if is_limited else free_slots
    )
    words = [word for word, n in counts.items() if n >= config.min_count and len(word) > 1]
    words.sort(key=lambda word: (-counts[word], word))
    words = words[: free_slots - len(characters)]
    if config.split == "spaces":
        return _plain_model(BASE + characters + words, whole_words=True)
    total = 1 + sum(n for word, n in counts.items() if _HAN.match(word))
    floor = math.log(0.5 / total)
    scores = [math.log(max(counts[c], 0.5) / total) if _HAN.match(c) else floor for c in characters]
    scores += [math.log(counts[word] / total) if _HAN.match(word) else -0.5 for word in words]
    return _scored_model(list(zip(characters + words, scores, strict=True)), floor)


def _count_words(sample: list[str], form: str) -> Counter[str]:
    import rjieba  # takes 0.2 s to load its dictionary

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
    its scores; its choice of pieces is stable. Our scores come from three iterations of Viterbi
    training that start from the fewest pieces, so that the same text gives the same tokenizer.
    """
    free_slots = _free_slots(config)
    is_limited = config.vocab_size is not None
    characters = _characters(
        sample, config.min_count, free_slots // 2 if is_limited else free_slots
    )
    if not is_limited:
        free_slots = _default_size(sample) + len(characters)
    rare = set().union(*sample) - set(characters)
    cleaned = [text.translate(dict.fromkeys(map(ord, rare), "\n")) for text in sample]
    pieces = set(characters)
    if free_slots > len(characters) + 1:
        pieces |= set(_unigram_pieces(cleaned, free_slots)) - rare
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


def _unigram_pieces(sample: list[str], max_size: int) -> list[str]:
    library = assemble("unigram", empty_model("unigram"))
    trainer = trainers.UnigramTrainer(vocab_size=max_size, show_progress=False, special_tokens=[])
    library.train_from_iterator(sample, trainer)
    return [piece for piece, _ in json.loads(library.to_str())["model"]["vocab"]]
