from __future__ import annotations

import numpy as np
import pytest
import torch

from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.decoding.constraints.token_healing import HealedPrefixes
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.models.ngram_config import NgramConfig
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError

TABLE = [b"", b"a", b"ab", b"abc", b"b", b"c", b"bc", b"abcc"]


class Only:
    """A text of certain tokens."""

    def __init__(self, *tokens: int) -> None:
        self.mask = torch.zeros(len(TABLE), dtype=torch.bool)
        self.mask[list(tokens)] = True
        self.seen: list[int] = []

    def allowed(self) -> torch.Tensor:
        return self.mask

    def forced(self) -> None:
        return None

    def advance(self, token: int) -> None:
        assert self.mask[token]
        self.seen.append(token)

    def fork(self) -> Only:
        copy = Only(*self.mask.nonzero()[:, 0].tolist())
        copy.seen = [*self.seen]
        return copy


def allowed(constraint: object) -> list[int] | None:
    mask = constraint.allowed()  # type: ignore[attr-defined]
    return None if mask is None else mask.nonzero()[:, 0].tolist()


def test_a_text_begins_with_the_bytes_in_any_tokens() -> None:
    constraint = HealedPrefixes(TABLE).start(b"ab")
    assert allowed(constraint) == [1, 2, 3, 7]
    other = constraint.fork()
    constraint.advance(1)
    assert allowed(constraint) == [4, 6]
    constraint.advance(6)
    assert allowed(constraint) is None
    assert allowed(other) == [1, 2, 3, 7]
    assert HealedPrefixes(TABLE).start(b"abcc").fork().forced() is None
    single = HealedPrefixes([b"", b"xy", b"z"]).start(b"x")
    assert single.forced() == 1
    with pytest.raises(WenmoError, match="no token begins with b'q'"):
        HealedPrefixes(TABLE).start(b"q").allowed()


def test_what_reaches_beyond_the_bytes_meets_the_other_constraint() -> None:
    table = HealedPrefixes(TABLE)
    assert allowed(table.start(b"ab", Only(5))) == [1, 2, 3, 7]  # c, and cc as c and c
    assert allowed(table.start(b"ab", Only(4))) == [1, 2]
    constraint = table.start(b"ab", Only(5))
    constraint.advance(7)
    assert constraint._following.seen == [5, 5]  # type: ignore[union-attr]
    assert allowed(constraint) == [5]


TEXT = "http://example.org/ the cat and the dogs\n"


def generator(kind: str) -> TextGenerator:
    tokenizer = Tokenizer.train([TEXT * 40], TokenizerConfig(kind, vocab_size=300))
    model = NgramConfig(6).build(tokenizer.vocab_size)
    model.fit(np.array([0, *tokenizer.encode(TEXT * 3).tolist(), 0], np.uint16))
    return TextGenerator(model, tokenizer)


@pytest.mark.parametrize("kind", ["bytes", "characters", "words", "bpe"])
@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
def test_a_prompt_that_ends_within_a_token_is_continued(kind: str, method: str) -> None:
    writer = generator(kind)
    for prompt, rest in (("http:", "//e"), ("http://example.org/ the ca", "t and")):
        sampling = Sampling(method=method, max_tokens=12, token_healing=True, temperature=0.2)
        [[output]] = writer.generate([prompt], sampling)
        assert output.text.startswith(rest), output.text
        [streamed] = [[*writer.stream(prompt, sampling)]]
        assert "".join(streamed) == output.text


def test_other_constraints_hold_for_what_is_shown() -> None:
    writer = generator("bpe")
    sampling = Sampling(max_tokens=9, token_healing=True, seed=2)
    choice = ConstraintSettings(choice=("t and", "r."))
    [[output]] = writer.generate(["http://example.org/ the ca"], sampling, constraints=choice)
    assert output.text in ("t and", "r.")
    assert output.stopped_by != "length"
