"""Corpora: splits, counts, cache and errors."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.config import override
from wenmo.text import corpus, spool
from wenmo.text.config import ReadConfig, SplitConfig, TokenizerConfig
from wenmo.text.corpus import Corpus, build, encode_text
from wenmo.text.spool import Spool
from wenmo.text.tokenizers import END, Tokenizer
from wenmo.types import WenmoError

LINES = ReadConfig(unit="line")
NUMBERED = [f"第{number}行 line number {number} of the text" for number in range(100)]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def write(folder: Path, records: list[str], name: str = "text.txt") -> Path:
    path = folder / name
    path.write_text("\n".join(records) + "\n", encoding="utf-8")
    return path


def make(path: Path, cache: Path, read: ReadConfig = LINES, **changes: object) -> Corpus:
    settings = {"tokenizer": TokenizerConfig("bytes"), "split": SplitConfig(), **changes}
    return build(path, read=read, cache=cache, **settings)  # type: ignore[arg-type]


def records(ids: np.ndarray, tokenizer: Tokenizer) -> list[str]:
    """The texts between the end marks."""
    assert ids[0] == ids[-1] == END
    parts = np.split(ids, np.flatnonzero(ids == END))
    return [tokenizer.decode(part.tolist()) for part in parts[1:-1]]


@pytest.mark.parametrize("kind", ["characters", "bytes", "words", "bpe", "unigram"])
def test_every_record_is_in_one_split(tmp_path: Path, cache: Path, kind: str) -> None:
    path = write(tmp_path, NUMBERED)
    built = make(path, cache, tokenizer=TokenizerConfig(kind))  # type: ignore[arg-type]
    train = records(built.train, built.tokenizer)
    valid = records(built.valid, built.tokenizer)
    assert sorted(train + valid) == sorted(NUMBERED)
    assert 8 <= len(valid) <= 12
    assert built.train.dtype == np.uint16
    for part, texts in (("train", train), ("valid", valid)):
        assert built.summary[part] == {
            "records": len(texts),
            "characters": sum(map(len, texts)),
            "bytes": sum(len(text.encode()) + 1 for text in texts),
            "tokens": len(getattr(built, part)) - 1,
        }
    assert built.summary["valid_bytes"] == built.summary["valid"]["bytes"]
    assert built.summary["missing"] == 0


def test_split_depends_on_the_seed_alone(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path, NUMBERED)
    first = make(path, cache)
    assert np.array_equal(make(path, tmp_path / "other").valid, first.valid)
    other = make(path, cache, split=SplitConfig(seed=1))
    assert not np.array_equal(other.valid, first.valid)
    assert other.fingerprint != first.fingerprint


def test_explicit_validation_fraction(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path, ["0123456789"] * 40)
    built = make(path, cache, split=SplitConfig(valid=0.25))
    assert built.summary["valid"]["records"] == 10


def test_default_validation_split_is_bounded(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "DEFAULT_SPLIT", (0.1, 22))
    built = make(write(tmp_path, ["0123456789"] * 40), cache)
    assert built.summary["valid_bytes"] == 22
    assert built.summary["held_out"] == "2 of 40 records, drawn at random"


def test_end_of_a_single_document_is_held_out(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "PIECE", 7)  # not a multiple of the bytes of a character
    text = "甲乙丙丁戊己庚辛壬癸" * 10
    path = write(tmp_path, [text])
    content = path.read_text(encoding="utf-8")
    built = make(path, cache, ReadConfig())
    train, valid = records(built.train, built.tokenizer), records(built.valid, built.tokenizer)
    assert (len(train), len(valid)) == (1, 1)
    assert train[0] + valid[0] == content
    assert len(train[0]) == int(len(content) * 0.9)


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.text("a文é😀\n", min_size=1, max_size=9), min_size=1, max_size=6),
    share=st.floats(0.05, 0.95),
    piece=st.integers(4, 9),
)
def test_split_at_end_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], share: float, piece: int
) -> None:
    path = tmp_path_factory.mktemp("spool") / "spool"
    path.write_bytes("".join(texts).encode())
    bounds = np.cumsum([0, *(len(text.encode()) for text in texts)])
    spool_records = Spool(path, bounds[:-1], bounds[1:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "PIECE", piece)
        train, valid = (
            "".join(p for p, _ in part.pieces()) for part in spool_records.split_at_end(share)
        )
        assert [p for p, ends in spool_records.pieces() if ends] != []
    text = "".join(texts)
    assert train + valid == text
    expected = text[: int(len(text) * (1 - share))].encode()
    distances = [abs(int(bound) - len(expected)) for bound in bounds[1:-1]]
    if distances and min(distances) <= len(text.encode()) - len(expected):
        assert len(train.encode()) == bounds[1 + distances.index(min(distances))]
    else:
        assert train.encode() == expected


def test_few_short_records_are_split_between_records(tmp_path: Path, cache: Path) -> None:
    lines = [f"我买了{number}本书。" for number in "一二三四五六七八九十"]
    built = make(write(tmp_path, lines), cache)
    assert records(built.train, built.tokenizer) == lines[:9]
    assert records(built.valid, built.tokenizer) == lines[9:]


def test_separate_validation_text(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path, NUMBERED)
    other = write(tmp_path, ["one held-out line", "and another"], "valid.txt")
    built = make(path, cache, valid_path=other)
    assert records(built.train, built.tokenizer) == NUMBERED
    assert records(built.valid, built.tokenizer) == ["one held-out line", "and another"]


def test_tokenizer_is_trained_on_the_training_split_alone(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path, NUMBERED)
    other = write(tmp_path, ["龘龘龘龘"], "valid.txt")
    built = make(path, cache, tokenizer=TokenizerConfig("characters"), valid_path=other)
    assert "龘".encode() not in built.tokenizer.table
    assert records(built.valid, built.tokenizer) == ["龘龘龘龘"]
    assert len(built.valid) == 1 + 4 * 3 + 1
    again = make(path, cache, tokenizer=built.tokenizer)
    assert again.tokenizer.fingerprint == built.tokenizer.fingerprint


def entry_of(cache: Path) -> Path:
    (entry,) = (cache / "texts").iterdir()
    return entry


def test_second_build_uses_the_cache(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, NUMBERED)
    first = make(path, cache)
    assert sorted(p.name for p in entry_of(cache).iterdir()) == [
        "meta.json",
        "tokenizer.json",
        "train.bin",
        "valid.bin",
    ]
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "write", None)
        renamed = path.rename(tmp_path / "renamed.txt")
        second = make(renamed, cache)
    assert second.fingerprint == first.fingerprint
    assert second.summary == first.summary
    assert np.array_equal(second.train, first.train)
    write(tmp_path, [*NUMBERED, "more"], "renamed.txt")
    assert make(renamed, cache).fingerprint != first.fingerprint
    assert make(renamed, cache, tokenizer=TokenizerConfig()).tokenizer.kind == "characters"
    assert len(list((cache / "texts").iterdir())) == 3


@pytest.mark.parametrize("name", ["meta.json", "tokenizer.json", "train.bin", "valid.bin"])
@pytest.mark.parametrize("harm", ["remove", "truncate", "change"])
def test_damaged_cache_entry_is_rebuilt(tmp_path: Path, cache: Path, name: str, harm: str) -> None:
    path = write(tmp_path, NUMBERED)
    before = np.array(make(path, cache).train)
    broken = entry_of(cache) / name
    content = broken.read_bytes()
    if harm == "remove":
        broken.unlink()
    else:
        half = len(content) // 2
        broken.write_bytes(content[:half] + (b"\xff" * half if harm == "change" else b""))
    after = make(path, cache)
    assert np.array_equal(after.train, before)
    assert (entry_of(cache) / name).read_bytes() == content


def test_full_disk_is_an_error_and_leaves_no_files(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(corpus, "_encode", full)
    with pytest.raises(WenmoError, match=r"the disk is full.*WENMO_CACHE") as caught:
        make(write(tmp_path, NUMBERED), cache)
    assert "\n" not in str(caught.value)
    assert list((cache / "texts").iterdir()) == []


def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, NUMBERED)
    tokenizer = TokenizerConfig("bytes")
    monkeypatch.setenv("WENMO_CACHE", str(tmp_path / "named"))
    build(path, read=LINES, tokenizer=tokenizer, split=SplitConfig())
    monkeypatch.delenv("WENMO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    build(path, read=LINES, tokenizer=tokenizer, split=SplitConfig())
    keys = [
        [p.name for p in (tmp_path / name / "texts").iterdir()] for name in ("named", "xdg/wenmo")
    ]
    assert keys[0] == keys[1] != []


def test_leakage_warning(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path, NUMBERED)
    valid = [NUMBERED[3], "  " + NUMBERED[5], "short", "a line that only stands here, nowhere else"]
    built = make(path, cache, valid_path=write(tmp_path, valid, "valid.txt"))
    assert built.notes == [
        "2 of the 3 held-out lines long enough to compare (66.7%) also occur in the training text: "
        "held-out scores are too good"
    ]
    assert make(path, cache).notes == []


def test_leakage_warning_for_records(tmp_path: Path, cache: Path) -> None:
    poems = [f"春眠不觉晓\n处处闻啼鸟{number}" for number in range(30)]
    path = tmp_path / "poems.jsonl"
    path.write_text("\n".join(json.dumps({"text": poem}) for poem in poems), encoding="utf-8")
    valid = tmp_path / "held.jsonl"
    valid.write_text(
        "\n".join(json.dumps({"text": poem}) for poem in [*poems[:10], *map(str, range(15))]),
        encoding="utf-8",
    )
    (note,) = make(path, cache, ReadConfig(), valid_path=valid).notes
    assert note.startswith("10 of the 10 held-out records long")


@pytest.mark.parametrize("text", ["a", "short", "0123456789"])
def test_too_little_text(tmp_path: Path, cache: Path, text: str) -> None:
    with pytest.raises(WenmoError, match=r"text\.txt: .*give more text"):
        make(write(tmp_path, [text]), cache, ReadConfig(), tokenizer=TokenizerConfig())
    assert list((cache / "texts").iterdir()) == []


def test_impossible_validation_fraction() -> None:
    with pytest.raises(WenmoError, match="valid=2"):
        override(SplitConfig(), ["valid=2"])


def test_unpaired_surrogate(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "fine"}\n{"text": "a\\ud800"}\n')
    with pytest.raises(WenmoError, match=r"x\.jsonl.*surrogate"):
        make(path, cache, ReadConfig())


def test_encode_text(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path, ["春眠", "", "ab"])
    tokenizer = Tokenizer.train([], TokenizerConfig("bytes"))
    for _ in range(2):
        encoded = encode_text(path, LINES, tokenizer, cache=cache)
        assert records(encoded.ids, tokenizer) == ["春眠", "ab"]
        assert (encoded.bytes, encoded.records, encoded.characters) == (10, 2, 4)
        assert encoded.tokens == 10


def test_tiny_shakespeare_has_the_usual_split(data: Path, cache: Path) -> None:
    path = data / "lm/tinyshakespeare.txt"
    built = make(path, cache, ReadConfig(), tokenizer=TokenizerConfig("characters", min_count=1))
    assert built.summary["train"]["characters"] == 1_003_854
    assert built.summary["valid"]["characters"] == 111_540
    assert built.tokenizer.vocab_size == 257 + 65


def test_poems(data: Path, cache: Path) -> None:
    read = ReadConfig(text_field="lines")
    built = make(
        data / "zh/poems_train.jsonl.gz",
        cache,
        read,
        tokenizer=TokenizerConfig("characters"),
        valid_path=data / "zh/poems_valid.jsonl",
    )
    assert built.summary["train"]["records"] == 34_276
    assert built.summary["valid"]["records"] == 637
    assert built.notes == []
    assert all(poem.count("\n") in (3, 7) for poem in records(built.valid, built.tokenizer))
    train = built.summary["train"]
    assert train["tokens"] == train["characters"] + train["records"] + spelled(built.train)


def spelled(ids: np.ndarray) -> int:
    """How many ids more than characters there are: a rare character takes two to four bytes."""
    spelled_bytes = ids[(ids > 0) & (ids <= 256)] - 1
    return int(np.count_nonzero((spelled_bytes & 0xC0) == 0x80))
