"""SentencePiece models tokenize as in their own library."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.text.sentencepiece import make_library, read_sentencepiece
from wenmo.types import WenmoError

sentencepiece = pytest.importorskip("sentencepiece", reason="needs the sentencepiece package")

TEXTS = [
    "The quick brown fox jumps over the lazy dog, 1234 times.",
    "She sells sea shells by the sea shore; the shells she sells are surely seashells.",
    "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。",
    "ｆｕｌｌ width, café, naïve, ﬁne print",
] * 30
KINDS: dict[str, dict[str, Any]] = {
    "unigram, as T5's": {"model_type": "unigram", "normalization_rule_name": "nmt_nfkc"},
    "unigram with bytes": {"model_type": "unigram", "byte_fallback": True, "vocab_size": 400},
    "BPE, as Llama's": {
        "model_type": "bpe",
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "vocab_size": 400,
    },
}
some_text = st.lists(
    st.one_of(
        st.sampled_from(["The", " quick", "fox", "  ", " ", "sea", "shells", "1234", ".", "，"]),
        st.text("the quick sea shell 春眠不觉晓，café", max_size=8),
        st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), max_size=2),
    ),
    max_size=6,
).map("".join)


def trained(kind: str) -> bytes:
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=made,
        minloglevel=2,
        hard_vocab_limit=False,
        **{"vocab_size": 120, **KINDS[kind]},
    )
    return made.getvalue()


MODELS = {kind: trained(kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def path(kind: str, tmp_path: Path) -> Path:
    path = tmp_path / "spiece.model"
    path.write_bytes(MODELS[kind])
    return path


def test_pieces_equal_the_model(kind: str, path: Path) -> None:
    theirs = sentencepiece.SentencePieceProcessor(model_proto=MODELS[kind])
    found = read_sentencepiece(path)
    assert [text for text, _, _ in found.pieces] == [
        theirs.id_to_piece(id_) for id_ in range(theirs.get_piece_size())
    ]
    assert found.bpe == ("BPE" in kind)


def test_tokenization_equals_sentencepiece(kind: str, path: Path) -> None:
    theirs = sentencepiece.SentencePieceProcessor(model_proto=MODELS[kind])
    ours = make_library(read_sentencepiece(path))

    @settings(max_examples=150, deadline=None)
    @given(some_text)
    def same(text: str) -> None:
        expected = theirs.encode(text)
        assert ours.encode(text, add_special_tokens=False).ids == expected
        if theirs.unk_id() not in expected:
            assert ours.decode(expected) == theirs.decode(expected)

    for text in TEXTS[:4]:
        assert ours.encode(text, add_special_tokens=False).ids == theirs.encode(text)
    same()


def test_damaged_models_are_refused(path: Path) -> None:
    whole = path.read_bytes()
    for size in (0, 1, 7, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(WenmoError, match="damaged") as error:
            read_sentencepiece(path)
        assert "\n" not in str(error.value)
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(WenmoError, match="damaged"):
        read_sentencepiece(path)
