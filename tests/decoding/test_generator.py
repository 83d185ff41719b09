from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wenmo.decoding.detokenize import Detokenizer
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.models.base import LanguageModel
from wenmo.types import WenmoError

Make = Callable[..., LanguageModel]
few = settings(max_examples=60, deadline=None)


class Bytes:
    """END and the 256 bytes: a Chinese character is three tokens."""

    table = (b"", *(bytes([value]) for value in range(256)))
    prefix = ()
    suffix_space = False

    def __init__(self, *, prefix_space: bool = False) -> None:
        self.prefix_space = prefix_space

    def encode(self, text: str) -> NDArray[np.int32]:
        text = " " * self.prefix_space + text
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int32) + 1

    encode_source = encode

    def decode(self, ids: list[int]) -> str:
        return bytes(id_ - 1 for id_ in ids if id_ < 257).decode()


def spelling(script: Make, text: str | bytes, *, prefix_space: bool = False) -> TextGenerator:
    """A writer that spells ``text`` and then ends."""
    data = text if isinstance(text, bytes) else text.encode()
    model = script([value + 1 for value in data], 257)
    return TextGenerator(model, Bytes(prefix_space=prefix_space))


GREEDY = Sampling(method="greedy")


def test_a_text_is_spelled_to_its_end(script: Make) -> None:
    [[output]] = spelling(script, "床前明月光。").generate([""], GREEDY)
    assert output.text == "床前明月光。"
    assert output.tokens == 19  # six characters of three bytes, and END
    assert output.stopped_by == "end"
    assert output.logprob == pytest.approx(0, abs=1e-4)
    assert not output.truncated


def test_the_stream_is_of_whole_characters(script: Make) -> None:
    pieces = list(spelling(script, "春眠 a不觉").stream("", GREEDY))
    assert pieces == ["春", "眠", " ", "a", "不", "觉"]


def test_half_a_character_at_the_end_is_dropped(script: Make) -> None:
    writer = spelling(script, "春眠")
    for length, text in ((2, ""), (3, "春"), (4, "春"), (5, "春"), (6, "春眠")):
        sampling = Sampling(method="greedy", max_tokens=length)
        [[output]] = writer.generate([""], sampling)
        assert (output.text, output.stopped_by) == (text, "length")
        assert "".join(writer.stream("", sampling)) == text


def test_bytes_that_are_no_utf8_are_never_written(script: Make) -> None:
    for text in (b"a\xffb", b"\xe6b", "床".encode()[:2], b"\x80", b"\xed\xa0\x80"):
        for method in ("greedy", "sample", "beam"):
            sampling = Sampling(method=method, max_tokens=6)
            for [output] in spelling(script, text).generate(["", "春"], sampling):
                assert "\ufffd" not in output.text


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    pieces = Detokenizer()
    assert "".join(map(pieces.feed, (b"a", b"\xff", b"b"))) == "a\ufffdb"


@pytest.mark.parametrize(
    ("stop", "text", "stopped_by"),
    [
        (("月光",), "床前明", "stop"),
        (("前", "月"), "床", "stop"),
        (("床",), "", "stop"),
        (("光。\n",), "床前明月光。", "end"),  # held back as a possible beginning, then given
        (("光。", "。"), "床前明月", "stop"),
        (("星",), "床前明月光。", "end"),
    ],
)
def test_stop_strings(script: Make, stop: tuple[str, ...], text: str, stopped_by: str) -> None:
    sampling = Sampling(method="greedy", stop=stop)
    writer = spelling(script, "床前明月光。")
    [[output]] = writer.generate([""], sampling)
    assert (output.text, output.stopped_by) == (text, stopped_by)
    assert "".join(writer.stream("", sampling)) == text


def test_a_stop_string_ends_its_own_row_alone(script: Make) -> None:
    model = script([value + 1 for value in "一二三四".encode()], 257)
    writer = TextGenerator(model, Bytes(), rows=2)
    sampling = Sampling(method="greedy", stop=("三",))
    outputs = writer.generate(["", "一", "一二三"], sampling)
    assert [output.text for [output] in outputs] == ["一二", "二", "四"]
    assert [output.stopped_by for [output] in outputs] == ["stop", "stop", "end"]
    assert outputs[0][0].tokens == 9


@pytest.mark.parametrize(("prompt", "text"), [("", "ab"), (" ab", " ab")])
def test_the_tokenizers_own_space_is_taken_from_a_text_but_not_from_its_continuation(
    script: Make, prompt: str, text: str
) -> None:
    writer = spelling(script, " ab" if not prompt else "  ab ab", prefix_space=True)
    assert writer.generate([prompt], GREEDY)[0][0].text == text


def test_samples_are_the_same_in_every_company(cache: Make) -> None:
    writer = TextGenerator(cache(257), Bytes(), rows=3)
    sampling = Sampling(max_tokens=12, seed=5)
    together = writer.generate(["春", "", "spring"], sampling, n=4)
    assert len({output.text for output in together[0]}) == 4
    assert writer.generate(["spring"], sampling) == [[together[2][0]]]
    assert writer.generate(["", ""], sampling, n=2) == [together[1][:2]] * 2
    assert "".join(writer.stream("春", sampling)) == together[0][0].text
    assert writer.generate(["春"], Sampling(max_tokens=12, seed=6)) != [[together[0][0]]]


def test_a_truncated_prompt_is_told(cache: Make) -> None:
    writer = TextGenerator(cache(257, context=8), Bytes())
    outputs = writer.generate(["abcdef", "abcdefg"], Sampling(max_tokens=20, min_tokens=20))
    assert [output.truncated for [output] in outputs] == [False, True]
    assert [output.tokens for [output] in outputs] == [20, 20]


def test_nothing_is_asked_and_nothing_is_written(script: Make) -> None:
    assert spelling(script, "a").generate([]) == []
    assert spelling(script, "a").generate(["", ""], n=0) == [[], []]


def test_another_models_tokenizer_is_refused(script: Make) -> None:
    with pytest.raises(WenmoError, match="the tokenizer has 257 tokens and the model 300"):
        TextGenerator(script([1], 300), Bytes())


letters = st.text("ab光。", max_size=12)


@few
@given(letters, st.text("ab光。", min_size=1, max_size=4), st.data())
def test_one_stop_string_cuts_as_partition_does(text: str, stop: str, data: st.DataObject) -> None:
    pieces, encoded, out = Detokenizer([stop]), text.encode(), ""
    while encoded and not pieces.stopped:
        size = data.draw(st.integers(1, len(encoded)))
        out += pieces.feed(encoded[:size])
        encoded = encoded[size:]
    before, met, _ = text.partition(stop)
    assert pieces.stopped == bool(met)
    assert out + pieces.rest() == before


@few
@given(st.text(max_size=12), st.lists(letters.filter(bool), max_size=3))
def test_text_is_held_back_no_longer_than_needed(text: str, stop: list[str]) -> None:
    pieces, out = Detokenizer(stop), ""
    for n, char in enumerate(text, 1):
        out += pieces.feed(char.encode())
        if pieces.stopped:
            break
        held = text[len(out) : n]
        assert text.startswith(out)
        assert not held or any(s.startswith(held) for s in stop)
    whole = out + pieces.rest()
    assert text.startswith(whole)
    assert not any(s in whole for s in stop)


@few
@given(
    st.lists(st.tuples(st.sampled_from(["fox", "春眠", "a"]), st.sampled_from([" ", "", "\n"]))),
    st.sampled_from(["", " "]),
)
def test_a_space_after_a_word_is_shown_before_the_next(
    words: list[tuple[str, str]], lag: str
) -> None:
    pieces = Detokenizer(["fox 春眠"], pending_space=lag)
    fed = (pieces.feed("".join(word).encode()) for word in words if not pieces.stopped)
    shown = "".join(fed) + pieces.rest()
    whole = lag + "".join(word + space for word, space in words)
    assert shown == (whole.removesuffix(" ") if words else "").partition("fox 春眠")[0]
    assert pieces.stopped == ("fox 春眠" in whole)


def test_streams_that_are_read_by_turns_share_an_engine(cache: Make) -> None:
    """And one that is given up leaves nothing behind."""
    generator = TextGenerator(cache(257), Bytes(), rows=4)
    asked = [Sampling(max_tokens=12, min_tokens=12, seed=seed) for seed in (1, 2, 3)]
    alone = ["".join(TextGenerator(cache(257), Bytes()).stream("a", each)) for each in asked]
    first, second, third = (generator.stream("a", each) for each in asked)
    begun = next(third)
    third.close()
    pieces: list[list[str]] = [[], []]
    for one, two in zip_longest(first, second, fillvalue=""):
        pieces[0].append(one)
        pieces[1].append(two)
    assert ["".join(each) for each in pieces] == alone[:2]
    assert alone[2].startswith(begun)
    assert generator._engine.is_idle
    assert not generator._inbox


def test_a_batch_of_which_one_is_refused_leaves_nothing_open(cache: Make) -> None:
    generator = TextGenerator(cache(257), Bytes())
    with pytest.raises(WenmoError, match="the model's ids end at 256"):
        generator.generate(["a", "b"], sources=[[1], [999]])
    assert generator._engine.is_idle
    [[output]] = generator.generate(["a"], Sampling(max_tokens=3, min_tokens=3))
    assert output.tokens == 3
