"""Tokenizers of GGUF files with SentencePiece pieces match SentencePiece."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.interchange import gguf_export
from wenmo.interchange.gguf_export import write_gguf
from wenmo.interchange.loaded_model import LoadedModel
from wenmo.interchange.pretrained import open_pretrained
from wenmo.models.transformer.config import TransformerConfig
from wenmo.text.pretrained import PretrainedTokenizer, byte_level
from wenmo.text.vocabularies import byte_alphabet

pytest.importorskip("gguf", reason="needs the gguf package")
sentencepiece = pytest.importorskip("sentencepiece", reason="needs the sentencepiece package")

TEXTS = [
    "The quick brown fox jumps over the lazy dog, 1234 times.",
    "She sells sea shells by the sea shore; the shells she sells are surely seashells.",
    "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。",
    "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。",
] * 8
CONFIG = TransformerConfig(hidden_size=32, layers=1, heads=2, context_length=32, qk_norm=False)
some_text = st.lists(
    st.one_of(
        st.sampled_from(["The", " quick", "fox", "  ", " ", "\n", "\t", "shells", "1234", "。"]),
        st.text("the quick sea shell 春眠不觉晓，白日依山尽", max_size=8),
        st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), max_size=3),
    ),
    max_size=6,
).map("".join)


def trained() -> Any:
    """A SentencePiece model with Llama's settings."""
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=made,
        minloglevel=2,
        model_type="bpe",
        vocab_size=420,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=["<tool>"],
    )
    return sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())


def type_of(reference: Any, id_: int) -> int:
    """The GGUF type of a piece."""
    if reference.is_unknown(id_):
        return 2
    if reference.is_control(id_):
        return 3
    return 6 if reference.is_byte(id_) else 4 if reference.id_to_piece(id_) == "<tool>" else 1


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, LoadedModel]:
    """The SentencePiece tokenizer, and the model loaded from a GGUF file with its pieces."""
    reference, path = trained(), tmp_path_factory.mktemp("gguf") / "my.gguf"
    size = reference.get_piece_size()

    def replacement(
        writer: Any, tokenizer: PretrainedTokenizer, found: Any, template: str | None
    ) -> None:
        writer.add_tokenizer_model("llama")
        writer.add_token_list([reference.id_to_piece(id_) for id_ in range(size)])
        writer.add_token_scores([reference.get_score(id_) for id_ in range(size)])
        writer.add_token_types([type_of(reference, id_) for id_ in range(size)])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)

    letters = {letter: id_ for id_, letter in enumerate(byte_alphabet())}
    model = replace(CONFIG, zero_init_residual=False).build(size).eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf_export, "_write_tokenizer", replacement)
        write_gguf(
            path, model, CONFIG, PretrainedTokenizer(byte_level(letters, []), end=0, size=size)
        )
    return reference, open_pretrained(path)


@given(some_text)
@settings(max_examples=80, deadline=None)
def test_tokens_match_sentencepiece(both: tuple[Any, LoadedModel], text: str) -> None:
    reference, loaded = both
    ids = loaded.tokenizer.encode(text)
    assert loaded.tokenizer.external_ids(ids.tolist()) == [1, *reference.encode(text)]
    if not text.startswith(" "):  # there, too, the first space is that of the first word
        assert loaded.tokenizer.decode(ids).removeprefix(" ") == text


def test_text_starts_with_begin_token(both: tuple[Any, LoadedModel]) -> None:
    _, loaded = both
    assert loaded.tokenizer.external_ids(loaded.tokenizer.prefix) == [1]
    assert loaded.tokenizer.bos_token == "<s>"
    assert loaded.tokenizer.end == 2
