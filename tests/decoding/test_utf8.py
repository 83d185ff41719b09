"""Tokens are offered after a text exactly if Python's decoder can take them there."""

from __future__ import annotations

import codecs

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.decoding.constraints.utf8 import Utf8Vocabulary

BYTES = [b"", *(bytes([value]) for value in range(256))]
MORE = ["春".encode(), b"ab", b"\xa5c", "\U0001f600".encode()[:3], b"\x80\x80", b"x\xe6\x98"]


def goes_on(data: bytes) -> bool:
    """Whether UTF-8 text can begin with these bytes.

    The decoder alone would wait for more after ``ed a0``, which begins a surrogate and can become
    no character.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(data)
    except UnicodeDecodeError:
        return False
    pending = decoder.getstate()[0]
    return not pending or any(_is_utf8(pending + more) for more in COMPLETIONS)


COMPLETIONS = [byte * count for byte in (b"\x80", b"\xbf") for count in (1, 2, 3)]


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_the_beginning_of_a_surrogate_is_no_utf8() -> None:
    assert goes_on(b"\xed\x9f")
    assert not goes_on(b"\xed\xa0")
    assert offered(BYTES, [1 + 0xED])[1 + 0x9F]
    assert not offered(BYTES, [1 + 0xED])[1 + 0xA0]


def spells(data: bytes, alphabet: set[str]) -> bool:
    """Whether text over an alphabet can begin with these bytes."""
    whole = data.decode(errors="ignore")
    rest = data.removeprefix(whole.encode())
    return set(whole) <= alphabet and any(c.encode().startswith(rest) for c in alphabet)


def offered(
    table: list[bytes], ids: list[int], spelling: Utf8Vocabulary | None = None
) -> list[bool]:
    spelling = spelling or Utf8Vocabulary(table)
    mask = spelling.start(ids).allowed()
    stepped = spelling.start()
    for token in ids:
        stepped.advance(token)
    again = stepped.allowed()
    assert (mask is None) == (again is None)
    assert mask is None or torch.equal(mask, again)  # as if the ids had been written
    return [True] * len(table) if mask is None else mask.tolist()


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=3), st.characters(min_codepoint=0x80, exclude_categories=["Cs"]), st.data())
def test_it_agrees_with_the_decoder(before: str, broken: str, data: st.DataObject) -> None:
    table = BYTES + MORE
    part = broken.encode()
    text = before.encode() + part[: data.draw(st.integers(0, len(part) - 1))]
    for token, allowed in enumerate(offered(table, [byte + 1 for byte in text])):
        if token:
            assert allowed == goes_on(text + table[token]), (text, table[token])
        else:
            assert allowed == (text == text.decode(errors="ignore").encode())


def test_it_leaves_whole_tokens_alone() -> None:
    assert Utf8Vocabulary([b"", b"a", "春".encode(), b" "]).start([1]).allowed() is None


def test_a_text_that_is_broken_already_is_whole() -> None:
    assert offered(BYTES, [1 + 0x80]) == offered(BYTES, [])
    assert offered(BYTES, [1 + 0xE6, 1 + 0x41]) == offered(BYTES, [])


ALPHABETS = st.sets(st.sampled_from("ab春昨晓\U0001f600é谸ἑ"), min_size=1)


@settings(max_examples=80, deadline=None)
@given(ALPHABETS, ALPHABETS, st.data())
def test_nothing_outside_the_alphabet_is_offered(
    own: set[str], more: set[str], data: st.DataObject
) -> None:
    """Nor within a character, nor by tokens of several; and with more characters as if they had
    been there from the beginning.
    """
    table = BYTES + MORE
    alphabet = own | more
    spelling = Utf8Vocabulary(table, own).extended(more)
    text = "".join(data.draw(st.lists(st.sampled_from(sorted(alphabet)), max_size=3))).encode()
    last = data.draw(st.sampled_from(sorted(alphabet))).encode()
    text += last[: data.draw(st.integers(0, len(last) - 1))]
    ids = [byte + 1 for byte in text]
    allowed = offered(table, ids, spelling)
    for token in range(1, len(table)):
        assert allowed[token] == spells(text + table[token], alphabet), (text, table[token])
        assert spelling.allows(ids, token) == allowed[token]
    assert allowed[0] == (text == text.decode(errors="ignore").encode())


def test_rows_with_alphabets_of_their_own_are_independent() -> None:
    spelling = Utf8Vocabulary(BYTES, "春")
    masks = [spelling.start(ids).allowed() for ids in ([], [1 + 0xE6], [1 + 0xE6, 1 + 0x98])]
    assert [mask.nonzero().flatten().tolist() for mask in masks] == [
        [0, 1 + 0xE6],
        [1 + 0x98],
        [1 + 0xA5],
    ]
    assert spelling.extended("春") is spelling
    assert spelling.extended("昨") is spelling.extended("昨春")
    assert not spelling.allows([], 1 + ord("a"))  # what another text may have is not there for all


def test_tokens_that_no_text_of_an_alphabet_contains_are_not_usable() -> None:
    usable = Utf8Vocabulary([b"", *MORE, "谸".encode()], "春a").usable
    assert usable.tolist() == [True, True, *[False] * 6]
    byte_by_byte = Utf8Vocabulary(BYTES, "春").usable.nonzero().flatten().tolist()
    assert byte_by_byte == sorted([0, *(byte + 1 for byte in "春".encode())])
