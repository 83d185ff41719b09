"""Tokens are offered after a text exactly if Python's decoder can take them there."""

from __future__ import annotations

import codecs

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.decoding.spelling import Spelling

BYTES = [b"", *(bytes([value]) for value in range(256))]
MORE = ["春".encode(), b"ab", b"\xa5c", "\U0001f600".encode()[:3], b"\x80\x80", b"x\xe6\x98"]


def goes_on(data: bytes) -> bool:
    """Whether UTF-8 text can begin with these bytes."""
    try:
        codecs.getincrementaldecoder("utf-8")(errors="strict").decode(data)
    except UnicodeDecodeError:
        return False
    return True


def offered(table: list[bytes], ids: list[int]) -> list[bool]:
    return Spelling(table).keep(torch.zeros(1, len(table)), [ids]).isfinite()[0].tolist()


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
    logits = torch.randn(2, 4)
    assert Spelling([b"", b"a", "春".encode(), b" "]).keep(logits, [[1], [2]]) is logits


def test_a_text_that_is_broken_already_is_whole() -> None:
    assert offered(BYTES, [1 + 0x80]) == offered(BYTES, [])
    assert offered(BYTES, [1 + 0xE6, 1 + 0x41]) == offered(BYTES, [])
