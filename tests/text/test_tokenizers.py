"""Losslessness, streaming and parity with the ``tokenizers`` library, for every kind."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library

from wenmo.text import chunks, tokenizers, vocabularies
from wenmo.text.config import TokenizerConfig
from wenmo.text.tokenizers import END, Tokenizer
from wenmo.types import WenmoError

TEXTS = [
    "The cat sat on the mat, and the dog didn't like it. The end -- 1234 times!\n" * 5,
    "春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少……\n" * 5,
    "我们今天学习 Python 语言,\tcafé 😀 e\u0301\r\n  def f(x):\n      return x\n" * 5,
]
KINDS = ["characters", "bytes", "words", "spaces", "bpe", "unigram"]
TRICKS = [
    "<|end|>",
    "<0x41>",
    "+<|end|>",
    "\n<0x41>",
    "<",
    "|end|>",
    " ",
    "  ",
    "\n",
    "'s",
    "春",
    "…",
]


def config_of(kind: str) -> TokenizerConfig:
    if kind == "spaces":
        return TokenizerConfig("words", split="spaces")
    return TokenizerConfig(kind)  # type: ignore[arg-type]


TRAINED = {kind: Tokenizer.train(TEXTS, config_of(kind)) for kind in KINDS}

any_text = st.lists(
    st.one_of(
        st.text(max_size=12),
        st.sampled_from(TRICKS),
        st.text("春眠不觉晓，。们今天学 \n", max_size=12),
        st.text("the catdog'’ \n\t1234.,!", max_size=20),
    ),
    max_size=8,
).map("".join)


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return TRAINED[request.param]


@settings(max_examples=60, deadline=None)
@given(text=any_text)
def test_round_trip_and_parity_with_the_library(text: str) -> None:
    for kind, tokenizer in TRAINED.items():
        ids = tokenizer.encode(text)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(chunks, "MAX_NEW", 1.0)  # use the cache for any text
            assert ids.tolist() == tokenizer.encode(text).tolist(), kind
        assert END not in ids, kind
        assert tokenizer.decode(ids) == text, kind
        library = Library.from_str(tokenizer.to_json())
        library.encode_special_tokens = True
        assert ids.tolist() == library.encode(text).ids, kind
        assert library.decode(ids.tolist()) == text, kind


@settings(max_examples=60, deadline=None)
@given(records=st.lists(any_text, max_size=4), data=st.data())
def test_ids_do_not_depend_on_where_pieces_are_cut(records: list[str], data: st.DataObject) -> None:
    pieces = []
    for record in records:
        cuts = data.draw(st.lists(st.integers(0, len(record)), max_size=4).map(sorted))
        bounds = [0, *cuts, len(record)]
        pieces_of_record = [record[start:stop] for start, stop in pairwise(bounds)]
        pieces += [
            (piece, number == len(pieces_of_record) - 1)
            for number, piece in enumerate(pieces_of_record)
        ]
    for kind, tokenizer in TRAINED.items():
        expected = [END]
        for record in records:
            expected += [*tokenizer.encode(record).tolist(), END]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tokenizers, "CHUNK", 12)
            patch.setattr(tokenizers, "BLOCK", 20)
            patch.setattr(chunks, "MAX_NEW", 1.0)  # use the cache for any text
            streamed = np.concatenate([ids for ids, _ in tokenizer.encode_pieces(pieces)])
        assert streamed.tolist() == expected, kind


@pytest.mark.parametrize("unit", ["春眠", "ab", " ", "<|end|>", "1", "——", "\t", "的", "\n "])
def test_long_lines_are_streamed(
    tokenizer: Tokenizer, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = unit * 700
    ids = tokenizer._library.encode(text).ids
    monkeypatch.setattr(tokenizers, "CHUNK", 200)
    assert tokenizer.encode(text).tolist() == ids
    segments = (
        list(tokenizer._segments([(text, True)]))
        if tokenizer.kind not in ("characters", "bytes")
        else []
    )
    assert all(len(segment) < 400 for segment, _ in segments)


def test_chunk_cache_changes_no_ids_and_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "To be, or not to be: that\tis  the question. 床前明月光 \n" * 3
    for kind in KINDS:
        tokenizer = Tokenizer.from_json(TRAINED[kind].to_json())
        first = tokenizer.encode(text).tolist()
        assert tokenizer.encode(text).tolist() == first
        for share in (0.0, 1.0):  # bypass, and always use the cache
            monkeypatch.setattr(chunks, "MAX_NEW", share)
            again = Tokenizer.from_json(TRAINED[kind].to_json())
            assert again.encode(text).tolist() == first
        monkeypatch.setattr(chunks, "MAX_CHUNKS", 3)
        assert tokenizer.encode(text).tolist() == first
        if kind not in ("characters", "bytes"):
            assert len(tokenizer._cache._indices) < 20
        monkeypatch.undo()


def test_table(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.table) == tokenizer.vocab_size
    assert tokenizer.table[END] == b""
    assert all(tokenizer.table[1:])
    assert {bytes([byte]) for byte in range(256)} <= set(tokenizer.table)
    joined = b"".join(tokenizer.table[id_] for id_ in tokenizer.encode(TEXTS[0]))
    assert joined.decode() == " " * tokenizer.prefix_space + TEXTS[0]


def test_save_and_load(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["tokenizer.json"]
    loaded = Tokenizer.load(path)
    for name in ("kind", "vocab_size", "table", "prefix_space", "fingerprint"):
        assert getattr(loaded, name) == getattr(tokenizer, name)
    text = "<|end|>" + TEXTS[2]
    assert loaded.encode(text).tolist() == tokenizer.encode(text).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_reproducible(kind: str) -> None:
    again = Tokenizer.train(iter(TEXTS), config_of(kind))
    assert again.fingerprint == TRAINED[kind].fingerprint
    other = Tokenizer.train([*TEXTS, "另外的文字 quite different " * 9], config_of(kind))
    assert (other.fingerprint == again.fingerprint) == (kind == "bytes")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [257, 258, 270, 330])
def test_vocab_size_is_respected(kind: str, size: int) -> None:
    config = config_of(kind)
    tokenizer = Tokenizer.train(TEXTS, TokenizerConfig(config.kind, size, split=config.split))
    assert tokenizer.vocab_size <= size
    assert tokenizer.decode(tokenizer.encode(TEXTS[1])) == TEXTS[1]


def test_characters_against_hand_worked_example() -> None:
    tokenizer = Tokenizer.train(["aab", "abé"], TokenizerConfig("characters", min_count=2))
    assert tokenizer.table[257:] == [b"a", b"b"]  # é is seen once
    assert tokenizer.encode("abé").tolist() == [257, 258, 1 + 0xC3, 1 + 0xA9]
    stream = tokenizer.encode_pieces([("a", False), ("é", True), ("", True), ("b", True)])
    (begun, first), (ids, ends) = stream
    assert [*begun.tolist(), *ids.tolist()] == [0, 257, 196, 170, 0, 0, 258, 0]
    assert [first.tolist(), ends.tolist()] == [[0], [3, 4, 6]]


def test_bytes() -> None:
    assert TRAINED["bytes"].encode("a文").tolist() == [byte + 1 for byte in "a文".encode()]


def test_words_are_single_tokens() -> None:
    tokenizer = TRAINED["words"]
    spelled = [tokenizer.table[id_].decode() for id_ in tokenizer.encode("The cat didn't like it.")]
    assert spelled == [" The", " cat", " didn", "'t", " like", " it", "."]
    spelled = [tokenizer.table[id_].decode() for id_ in tokenizer.encode("我们今天学习,")]
    assert spelled == ["我们", "今天", "学习", ","]


def test_han_text_has_no_prefix_space() -> None:
    for kind in ("words", "unigram"):
        tokenizer = TRAINED[kind]
        assert tokenizer.table[tokenizer.encode("春")[0]] == "春".encode()
        assert tokenizer.decode(tokenizer.encode(" 春")) == " 春"


def test_penn_treebank_words(data: Path) -> None:
    with gzip.open(data / "lm/ptb/train.txt.gz", "rt", encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    tokenizer = Tokenizer.train(lines, TokenizerConfig("words", min_count=1, split="spaces"))
    assert sum(spelled.startswith(b" ") and len(spelled) > 1 for spelled in tokenizer.table) == 9999
    ids = np.concatenate(
        [ids for ids, _ in tokenizer.encode_pieces((line, True) for line in lines)]
    )
    assert len(ids) - 1 == 929_589
    assert len(np.unique(ids)) == 10_000


def test_chinese_words_are_found(data: Path) -> None:
    dialogues = (data / "dialogue/zh_task_train.jsonl").read_text(encoding="utf-8").splitlines()
    texts = ["\n".join(json.loads(line)["turns"]) for line in dialogues[:200]]
    tokenizer = Tokenizer.train(texts, TokenizerConfig("words"))
    spelled = [tokenizer.table[id_].decode() for id_ in tokenizer.encode("我想找一个评分高的酒店")]
    assert "酒店" in spelled
    assert "评分" in spelled
    assert "".join(spelled) == "我想找一个评分高的酒店"


def test_training_sample_is_bounded_and_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabularies, "BLOCK", 10)
    monkeypatch.setattr(vocabularies, "SAMPLE", 80)
    sample = vocabularies._sample(f"{number:05d}" for number in range(1000))
    assert sum(map(len, sample)) <= 80
    assert int(sample[0]) == 0
    assert int(sample[-1]) > 700


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bytes"])
@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_no_text(kind: str, texts: list[str]) -> None:
    with pytest.raises(WenmoError, match="no text"):
        Tokenizer.train(texts, config_of(kind))


def test_impossible_vocab_size() -> None:
    with pytest.raises(WenmoError, match="vocab_size=100 is too small"):
        Tokenizer.train(TEXTS, TokenizerConfig(vocab_size=100))


def test_unpaired_surrogate(tokenizer: Tokenizer) -> None:
    with pytest.raises(WenmoError, match="surrogate"):
        tokenizer.encode("a\ud800")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": "1.0"}', b"\xff\xfe", b"text"])
def test_broken_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(WenmoError, match=r"tokenizer\.json") as caught:
        Tokenizer.load(path)
    assert "\n" not in str(caught.value)


def test_files_of_other_programs_and_missing_files(tmp_path: Path) -> None:
    from tokenizers import models

    path = tmp_path / "tokenizer.json"
    Library(models.BPE(vocab={"a": 0}, merges=[])).save(str(path))
    with pytest.raises(WenmoError, match="another program"):
        Tokenizer.load(path)
    with pytest.raises(WenmoError, match="cannot be read"):
        Tokenizer.load(tmp_path / "none.json")
    (tmp_path / "file").write_text("here")
    with pytest.raises(WenmoError, match="a file exists where a folder is needed"):
        TRAINED["bytes"].save(tmp_path / "file" / "tokenizer.json")
