"""Length, phrases and acrostics: what they allow, against all texts over a small alphabet."""

from __future__ import annotations

import re
from itertools import product as tuples

import pytest
import torch
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from wenmo.decoding.constraints.acrostic import parse_acrostic
from wenmo.decoding.constraints.forms import beginning_of
from wenmo.decoding.constraints.product import Product
from wenmo.decoding.constraints.settings import ConstraintSettings, parse_lengths
from wenmo.decoding.constraints.texts import check_possible, parts_of, start_of
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError

ALPHABET = "ab \n"
LONGEST = 5  # characters of the texts that are listed


def holds(text: str, constraints: ConstraintSettings, prompt: str = "") -> bool:
    """Whether a text meets its constraints, by their definitions."""
    whole = prompt + text
    for least, most, unit in parse_lengths(constraints.length) if constraints.length else ():
        lines = text.split("\n")
        counts = {"c": len(text), "w": len(text.split()), "l": len(lines)}
        if not least <= counts[unit] <= most or (unit == "l" and not all(map(str.strip, lines))):
            return False
        if text[-1].isspace() and unit != "l":
            return False
        if text[0].isspace() and (not prompt or prompt[-1] == "\n"):
            return False
    if constraints.length is not None and re.search(r"\s{5}", text):
        return False
    for required in constraints.require:
        if not any(phrase in text for phrase in required.split("|")):
            return False
    for phrase in constraints.forbid:
        start = max(0, len(prompt) - len(phrase) + 1)  # it ends in the text
        if phrase in whole[start:]:
            return False
    if constraints.acrostic is not None:
        characters, last = parse_acrostic(constraints.acrostic)
        lines = (prompt.rpartition("\n")[2] + text).split("\n")
        if last:
            given = zip(lines, characters, strict=False)
            inside = any(character in line.rstrip(",.，。")[:-1] for line, character in given)
            return not inside and [line.rstrip(",.，。")[-1:] for line in lines] == list(characters)
        return [line[:1] for line in lines] == list(characters) and text != ""
    return True


TEXTS = ["".join(each) for n in range(LONGEST + 1) for each in tuples(ALPHABET, repeat=n)]
phrases = st.text("ab", min_size=1, max_size=3)
bounded = st.tuples(st.integers(1, 3), st.integers(0, 2)).map(lambda n: f"{n[0]}-{sum(n)}")


@st.composite
def constraints(draw: st.DrawFn) -> ConstraintSettings:
    """Some constraints whose texts are short enough to be listed."""
    lengths = [draw(bounded) + "c"]
    lengths += [draw(st.sampled_from(["1-2l", "2l", "2w", "1-2w", "2-w"]))] * draw(st.booleans())
    alternatives = st.lists(phrases, min_size=1, max_size=2).map("|".join)
    return ConstraintSettings(
        length=",".join(lengths),
        require=tuple(draw(st.lists(alternatives, max_size=2))),
        forbid=tuple(draw(st.lists(phrases, max_size=2))),
        acrostic=draw(st.none() | st.sampled_from(["a", "ab", "尾:a", "end:bb"])),
    )


@settings(max_examples=30, deadline=None, phases=[Phase.generate])
@given(constraints(), st.sampled_from(["", "a", "ba", "b\n"]), st.data())
def test_what_is_allowed_is_what_some_text_continues_with(asked, prompt, data):
    found = [text for text in TEXTS if holds(text, asked, prompt)]
    product = Product([part.automaton for part in parts_of(asked)], ALPHABET)
    try:
        state = start_of(asked, product, prompt)
    except WenmoError:
        assert not found
        return
    assert found
    text = data.draw(st.sampled_from(found))
    for index in range(len(text) + 1):
        ahead = [each[index:] for each in found if each.startswith(text[:index])]
        allowed = product.allowed(state)
        assert {c for c in ALPHABET if allowed.admits(c)} == {each[0] for each in ahead if each}
        assert product.may_end(state) == ("" in ahead)
        assert product.remaining(state)[0] == min(map(len, ahead))
        state = product.advance(state, text[index]) if index < len(text) else state


TRAINING = "the cats ran. 小明跑了。春眠不觉晓，\n处处闻啼鸟。the dog ran\nover a hill " * 8
TOKENIZERS = {
    kind: Tokenizer.train([TRAINING], TokenizerConfig(kind, vocab_size=size, min_count=1))
    for kind, size in {"characters": None, "bytes": None, "words": None, "bpe": 320}.items()
}


@st.composite
def requests(draw: st.DrawFn) -> ConstraintSettings:
    """Constraints on texts of the tokenizers above."""
    words = st.sampled_from(["cat", "dog|cats", "春眠", "觉晓", "the", "ran.", "a", "处", "n\no"])
    return ConstraintSettings(
        length=draw(st.sampled_from([None, "12c", "5-9w", "3l", "20-40c,2l", "6-w"])),
        require=tuple(draw(st.lists(words, max_size=3))),
        forbid=tuple(draw(st.lists(words.map(lambda each: each.split("|")[0]), max_size=2))),
        acrostic=draw(st.none() | st.sampled_from(["春a", "th", "尾:晓n"])),
    )


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=4, deadline=None, phases=[Phase.generate])
@given(
    asked=requests(),
    prompt=st.sampled_from(["", "the do", "春\n"]),
    method=st.sampled_from(["sample", "greedy", "beam", "beam-sample", "stochastic-beam"]),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
    cut=st.sampled_from([{}, {"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.3}, {"no_repeat_ngram": 2}]),
    seed=st.integers(0, 99),
)
def test_what_is_written_meets_its_constraints(
    table, kind, asked, prompt, method, temperature, cut, seed
):
    assume(asked.given)
    tokenizer = TOKENIZERS[kind]
    size = tokenizer.vocab_size
    logits = 3 * torch.randn(size, size, generator=torch.Generator().manual_seed(seed))
    generator = TextGenerator(table(logits), tokenizer, alphabet=set(TRAINING))
    sampling = Sampling(
        method, max_tokens=120, temperature=temperature, seed=seed, beam_width=3, **cut
    )
    try:
        [outputs] = generator.generate([prompt], sampling, 2, constraints=asked)
    except WenmoError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    for output in outputs:
        if output.stopped_by in ("end", "constraint"):
            assert holds(output.text, asked, prompt), output.text
        only = ConstraintSettings(forbid=asked.forbid)
        assert holds(output.text, only, prompt), output.text


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("method", ["sample", "greedy", "beam"])
def test_a_text_is_complete_within_max_tokens(table, kind, method):
    """However little there is left of the budget, and whatever the model would rather write."""
    tokenizer = TOKENIZERS[kind]
    size = tokenizer.vocab_size
    logits = 3 * torch.randn(size, size, generator=torch.Generator().manual_seed(1))
    logits[:, 0] = -5.0  # it seldom ends by itself
    generator = TextGenerator(table(logits), tokenizer, alphabet=set("the cats ran. dog\nover"))
    for asked, tokens in [({"length": "2l"}, 4), ({"length": "9c"}, 9), ({"length": "4-6w"}, 8)]:
        constraints = ConstraintSettings(**asked, require=("t",))
        sampling = Sampling(method, max_tokens=tokens, beam_width=3)
        for output in generator.generate([""], sampling, 3, constraints=constraints)[0]:
            assert holds(output.text, constraints), output.text


@pytest.mark.parametrize("kind", ["characters", "bpe"])
def test_syllables_are_chinese_characters(table, kind):
    tokenizer = TOKENIZERS[kind]
    size = tokenizer.vocab_size
    logits = torch.randn(size, size, generator=torch.Generator().manual_seed(2))
    generator = TextGenerator(table(logits), tokenizer, alphabet=set(TRAINING))
    constraints = ConstraintSettings(length="7s", require=("晓，",))
    for output in generator.generate([""], Sampling(), 2, constraints=constraints)[0]:
        assert sum("一" <= character <= "鿿" for character in output.text) == 7, output.text
        assert not any(character.isascii() and character.isalnum() for character in output.text)
    generator = TextGenerator(table(logits), tokenizer, alphabet=set("the cats"))
    with pytest.raises(WenmoError, match="length=7s: syllables are counted in Chinese"):
        generator.generate([""], Sampling(), constraints=ConstraintSettings(length="7s"))


def test_a_text_ends_where_its_last_word_would(table):
    """END has the probability of the space and the line end that would end the word."""
    tokenizer = TOKENIZERS["characters"]
    size = tokenizer.vocab_size
    logits = torch.full((size, size), -30.0)
    a, space, line, t = tokenizer.encode("a \nt").tolist()
    logits[:, a], logits[:, space], logits[:, line], logits[:, t] = 0.0, 1.0, 1.0, 0.5
    generator = TextGenerator(table(logits), tokenizer)
    constraints = ConstraintSettings(length="1w")
    [outputs] = generator.generate([""], Sampling(), 200, constraints=constraints)
    longer = sum(len(output.text) > 1 for output in outputs) / 200
    weights = torch.tensor([0.0, 0.5, 1.0, 1.0]).exp()  # of a, t, space and line end
    assert longer == pytest.approx(float(weights[:2].sum() / weights.sum()), abs=0.1)
    for method in ("greedy", "beam"):
        [[output, *_]] = generator.generate([""], Sampling(method), 1, constraints=constraints)
        assert output.text == "t"
        assert output.stopped_by == "end"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"length": "3c", "require": ("春眠不觉晓",)},
            "length=3c and require=春眠不觉晓: no text has all of it: change one of them",
        ),
        (
            {"length": "20c", "require": ("春眠",), "forbid": ("春",)},
            "require=春眠 and forbid=春: no text has all of it: change one of them",
        ),
        (
            {"length": "3c,4c"},
            "length=3c and length=4c: no text has all of it: change one of them",
        ),
        (
            {"length": "3l", "acrostic": "春夏秋冬"},
            "length=3l and acrostic=春夏秋冬: no text has all of it: change one of them",
        ),
        ({"acrostic": "尾: "}, "acrostic=尾: : has no characters: give some"),
    ],
)
def test_what_no_text_can_meet_is_refused_without_a_model(options, message):
    with pytest.raises(WenmoError) as caught:
        check_possible(ConstraintSettings(**options))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"require": ("龘",)}, "require=龘: '龘' is not in the characters that the model writes"),
        ({"acrostic": "春龘"}, "acrostic=春龘: '龘' is not in the characters"),
        ({"acrostic": "春a", "prompt": "a b"}, "acrostic: the first line begins with 'a' of the"),
        ({"length": "300c"}, "max_tokens=256: the text needs at least 300: raise it"),
        ({"length": "3c", "stop": ("a",)}, "stop: may end a text before it is what it must be"),
    ],
)
def test_what_a_vocabulary_cannot_meet_is_refused(table, options, message):
    tokenizer = TOKENIZERS["characters"]
    size = tokenizer.vocab_size
    generator = TextGenerator(table(torch.zeros(size, size)), tokenizer, alphabet=set(TRAINING))
    sampling = Sampling(stop=options.pop("stop", ()))
    prompt = options.pop("prompt", "")
    with pytest.raises(WenmoError) as caught:
        generator.generate([prompt], sampling, constraints=ConstraintSettings(**options))
    assert message in str(caught.value)


def test_a_line_end_before_a_poem_is_no_part_of_it() -> None:
    assert beginning_of("\n") == ""
    assert beginning_of("title\n\n") == ""
    assert beginning_of("title\n\n春眠不觉晓") == "春眠不觉晓"
