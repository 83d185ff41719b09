"""Beams under constraints with goals: required phrases in any order, and the best text there is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.decoding.constraints.automaton import AutomatonConstraint, AutomatonTable
from wenmo.decoding.constraints.goals import advancing_tokens, missing_after
from wenmo.decoding.constraints.lengths import CharacterLength
from wenmo.decoding.constraints.phrases import RequiredPhrases
from wenmo.decoding.constraints.product import Product
from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.decoding.constraints.trie import TokenTrie
from wenmo.decoding.engines.autoregressive import AutoregressiveEngine
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.decoding.search.banks import share_out
from wenmo.models import MODELS
from wenmo.models.base import LanguageModel
from wenmo.models.ngram_config import NgramConfig
from wenmo.models.recurrent_config import RecurrentConfig
from wenmo.models.seq2seq_config import Seq2seqConfig
from wenmo.models.transformer.config import TransformerConfig
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import END

Make = Callable[..., LanguageModel]
LETTERS = "abcde"
BEAM = Sampling(method="beam", beam_width=3, max_tokens=12)


def constraint(groups: Sequence[Sequence[str]], size: int, *more: Any) -> AutomatonConstraint:
    """Required phrases over a vocabulary of END and letters."""
    table = [b"", *(letter.encode() for letter in LETTERS[: size - 1])]
    product = Product([RequiredPhrases(groups), *more], LETTERS[: size - 1])
    return AutomatonTable(product, TokenTrie(table)).start()


def write(
    model: LanguageModel, sampling: Sampling, own: AutomatonConstraint, n: int = 1
) -> list[tuple[str, float]]:
    """Texts and scores of a beam."""
    engine = AutoregressiveEngine(model)
    engine.submit(Request([], sampling, n=n, constraint=own))
    texts: dict[int, tuple[str, float]] = {}
    for event in engine.run():
        text, _ = texts.get(event.rank, ("", 0.0))
        shown = "" if event.token == END else LETTERS[event.token - 1]
        texts[event.rank] = text + shown, event.score or 0.0
    return list(texts.values())


@torch.inference_mode()
def best_texts(
    model: LanguageModel, valid: Callable[[str], bool], size: int, longest: int, penalty: float
) -> list[tuple[str, float]]:
    """All valid texts of at most so many letters that end, best first."""
    found = []
    for length in range(longest + 1):
        for ids in itertools.product(range(1, size), repeat=length):
            text = "".join(LETTERS[token - 1] for token in ids)
            if valid(text):
                generator = torch.Generator().manual_seed(0)
                state = model.initial_state(1, generator=generator)
                logp = model(torch.tensor([[END, *ids]]), state)[0][0].log_softmax(1)
                total = float(logp[range(length + 1), [*ids, END]].sum())
                found.append((text, total / (length + 1) ** penalty))
    return sorted(found, key=lambda each: -each[1])


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize(
    ("size", "groups", "longest"),
    [(4, [["ab"], ["ca", "cc"]], 5), (6, [["ab"], ["bd"]], 3), (3, [["aab"], ["bb"]], 6)],
)
def test_a_wide_beam_finds_the_best_of_all_texts_with_the_phrases(
    cache: Make, size: int, groups: list[list[str]], longest: int, penalty: float
) -> None:
    """The largest of the constrained model, as at temperature 0 with all ways in view."""
    model = cache(size)
    own = constraint(groups, size, CharacterLength(0, longest))
    wide = Sampling(method="beam", beam_width=300, max_tokens=longest + 1, length_penalty=penalty)
    expected = best_texts(
        model,
        lambda text: all(any(p in text for p in group) for group in groups),
        size,
        longest,
        penalty,
    )
    found = write(model, wide, own, n=3)
    assert [text for text, _ in found] == [text for text, _ in expected[:3]]
    assert [score for _, score in found] == pytest.approx([s for _, s in expected[:3]], rel=1e-4)


# -- banks ---------------------------------------------------------------------------------------


def test_banks_choose_in_turn_those_first_that_miss_least() -> None:
    assert share_out("abcdef", [2, 2, 2, 0, 2, 1]) == list("dfabce")
    assert share_out("abc", [1, 1, 1]) == list("abc")


def test_a_narrow_beam_meets_what_the_model_avoids(table: Make) -> None:
    """The phrase has probability 0.01 at each of its letters, and nothing forces it."""
    p = torch.tensor([[0.01, 0.49, 0.49, 0.01], [0.1, 0.44, 0.45, 0.01]] * 2)
    sampling = replace(BEAM, length_penalty=0.0)
    [(text, _)] = write(table(p.log()), sampling, constraint([["cca"], ["bcb"]], 4))
    assert "cca" in text
    assert "bcb" in text
    assert len(text) < 12  # it ends by itself


phrases = st.lists(st.text("abcd", min_size=1, max_size=3), min_size=1, max_size=3)


@settings(max_examples=12, deadline=None)
@given(
    phrases,
    st.integers(2, 4),
    st.sampled_from(["exact", "never", "true"]),
    st.integers(0, 99),
)
def test_required_phrases_are_always_written(
    cache: Make, required: list[str], width: int, rule: Any, seed: int
) -> None:
    own = constraint([[phrase] for phrase in required], 6)
    sampling = Sampling(
        method="beam",
        beam_width=width,
        max_tokens=sum(map(len, required)) + 4,
        early_stopping=rule,
        seed=seed,
    )
    for text, _ in write(cache(6), sampling, own)[:1]:
        assert all(phrase in text for phrase in required)


# -- goals ---------------------------------------------------------------------------------------


def test_what_is_missing_and_what_brings_it_nearer() -> None:
    own = constraint([["ab"], ["cd", "ca"]], 6)
    assert own.missing() == 4 * 3  # cab, or two phrases that share a letter
    mask = own.advancing()
    assert mask is not None
    assert mask.nonzero()[:, 0].tolist() == [3]  # c
    own.advance(3)
    assert missing_after(own, [1, 4, 2, 5], [0.0, 0.0, 0.0, -math.inf]) == [4, 8, 12, 0]
    for token in (1, 2):
        own.advance(token)
    assert own.missing() == 0
    assert own.advancing() is None
    assert advancing_tokens(own) is None
    assert missing_after(own, [1], [0.0]) == []
    assert advancing_tokens(None) is None


def test_tokens_of_bytes_and_of_several_characters_bring_goals_nearer() -> None:
    table = [b"", *(bytes([byte]) for byte in range(256)), "明月".encode(), b" ab", b"abc", b"ab "]
    trie = TokenTrie(table)

    def start(phrase: str) -> AutomatonConstraint:
        return AutomatonTable(Product([RequiredPhrases([[phrase]])], None), trie).start()

    def needed(own: AutomatonConstraint) -> list[bytes]:
        mask = own.advancing()
        return [] if mask is None else [table[token] for token in mask.nonzero()[:, 0].tolist()]

    own, (first, second, third) = start("明月"), "明".encode()
    assert needed(own) == [bytes([first]), "明月".encode()]
    own.advance(1 + first)
    assert own.missing() == 7
    assert needed(own) == [bytes([second])]
    own.advance(1 + second)
    own.advance(1 + third)
    assert own.missing() == 4
    assert needed(start("ab")) == [b"a", b" ab", b"ab "]


# -- families and tokenizers ---------------------------------------------------------------------

TEXT = ["the cat and the dog", "a dog and a cat", "春眠不觉晓，处处闻啼鸟"]


def family(name: str, vocab_size: int) -> LanguageModel:
    torch.manual_seed(0)
    small: dict[str, Any] = {"hidden_size": 16, "context_length": 96}
    config: Any = {
        "lstm": RecurrentConfig(embedding_size=8, hidden_size=12),
        "seq2seq": Seq2seqConfig(embedding_size=8, hidden_size=12),
        "gpt": TransformerConfig(heads=2, layers=1, **small),
        "transformer": TransformerConfig(heads=2, layers=1, encoder_layers=1, **small),
        "ngram": NgramConfig(3),
    }.get(name) or MODELS[name].config
    return config.build(vocab_size).eval()


@pytest.mark.parametrize("kind", ["bytes", "characters", "words", "bpe"])
@pytest.mark.parametrize("name", ["ngram", "lstm", "gpt", "seq2seq", "transformer"])
def test_families_and_tokenizers_write_required_phrases(name: str, kind: Any) -> None:
    tokenizer = Tokenizer.train(TEXT * 3, TokenizerConfig(kind, vocab_size=300))
    model = family(name, tokenizer.vocab_size)
    if name == "ngram":
        ids = [id_ for text in TEXT for id_ in (*tokenizer.encode(text).tolist(), END)]
        model.fit(np.array([END, *ids], np.uint16))
    writer = TextGenerator(model, tokenizer, alphabet=set("".join(TEXT)))
    required = ("dog", "啼鸟|闻", "cat")
    sources = ["a dog"] if name in ("seq2seq", "transformer") else None
    sampling = Sampling(method="beam", beam_width=4, max_tokens=40)
    [[output]] = writer.generate(
        [""], sampling, sources=sources, constraints=ConstraintSettings(require=required)
    )
    assert "dog" in output.text
    assert "cat" in output.text
    assert "闻" in output.text or "啼鸟" in output.text
