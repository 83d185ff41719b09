"""Corpora of pairs: one stream of ids, splits without leakage, counts of targets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wenmo.text.choosing import choose_fields
from wenmo.text.config import ReadConfig, SplitConfig, TaskConfig, TokenizerConfig
from wenmo.text.corpus import Corpus, build, encode_text
from wenmo.text.spool import Spool
from wenmo.text.tokenizers import END, Tokenizer
from wenmo.types import WenmoError

NUMBERED = [f"第{number}行 line number {number} of the text" for number in range(100)]
LINES = ReadConfig(unit="line")
TRANSLATION, DIALOGUE = TaskConfig("translation"), TaskConfig("dialogue")
SIDES = ReadConfig(source_field="source", text_field="targets")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def write(folder: Path, lines: list[str], name: str = "text.txt") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def make(path: Path, cache: Path, read: ReadConfig = LINES, **changes: object) -> Corpus:
    settings = {"tokenizer": TokenizerConfig("bytes"), "split": SplitConfig(), **changes}
    return build(path, read=read, cache=cache, **settings)  # type: ignore[arg-type]


def write_rows(folder: Path, rows: list[dict[str, object]], name: str = "rows.jsonl") -> Path:
    return write(folder, [json.dumps(row, ensure_ascii=False) for row in rows], name)


def pairs(ids: np.ndarray, tokenizer: Tokenizer) -> list[tuple[str, str]]:
    """The texts between the end marks, two by two."""
    assert ids[0] == ids[-1] == END
    parts = np.split(ids, np.flatnonzero(ids == END))[1:-1]
    texts = [tokenizer.decode(part.tolist()) for part in parts]
    return list(zip(texts[::2], texts[1::2], strict=True))


def numbered(count: int) -> list[dict[str, object]]:
    return [{"source": f"line {n}", "targets": [f"第{n}行", f"行{n}"]} for n in range(count)]


@pytest.mark.parametrize("kind", ["characters", "words", "bpe", "unigram"])
def test_pairs_form_one_stream(tmp_path: Path, cache: Path, kind: str) -> None:
    path = write_rows(tmp_path, numbered(60))
    tokenizer = TokenizerConfig(kind)  # type: ignore[arg-type]
    built = make(path, cache, SIDES, tokenizer=tokenizer, task=TRANSLATION)
    train = pairs(built.train, built.tokenizer)
    valid = pairs(built.valid, built.tokenizer)
    wanted = [(row["source"], text) for row in numbered(60) for text in row["targets"]]  # type: ignore[attr-defined]
    assert sorted(train + valid) == sorted(wanted)
    assert {source for source, _ in train}.isdisjoint(source for source, _ in valid)
    assert built.summary["held_out"] == f"{len(valid)} of 120 pairs, drawn at random"
    for part, both in (("train", train), ("valid", valid)):
        ids = getattr(built, part)
        lengths = [len(built.tokenizer.encode(target)) + 1 for _, target in both]
        assert built.summary[part] == {
            "records": len(both),
            "characters": sum(len(target) for _, target in both),
            "bytes": sum(len(target.encode()) + 1 for _, target in both),
            "tokens": sum(lengths),
            "source_tokens": len(ids) - 1 - sum(lengths),
            "longest_target": max(lengths),
            "same_length": sum(len(source) == len(target) for source, target in both),
        }
    encoded = encode_text(path, SIDES, built.tokenizer, task=TRANSLATION, cache=cache)
    assert pairs(encoded.ids, built.tokenizer) == wanted
    assert (encoded.records, encoded.tokens) == (120, len(encoded.ids) - 1 - encoded.source_tokens)
    longest = [built.summary[part]["longest_target"] for part in ("train", "valid")]
    assert encoded.longest_target == max(longest)


@settings(max_examples=30, deadline=None)
@given(
    groups=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 99),
)
def test_split_keeps_groups_together(groups: list[int], fraction: float, seed: int) -> None:
    bounds = np.arange(2 * len(groups) + 1, dtype=np.int64)
    spool = Spool(Path("none"), bounds[:-1], bounds[1:], np.array(groups, np.uint64))
    train, valid = spool.split_at_random(fraction, seed)
    assert train.groups is not None
    assert valid.groups is not None
    assert set(train.groups.tolist()).isdisjoint(valid.groups.tolist())
    assert sorted([*train.starts, *valid.starts]) == spool.starts.tolist()
    assert train.records + valid.records == len(groups)
    assert train.records > 0
    assert (valid.records > 0) == (len(set(groups)) > 1)


def test_split_keeps_conversations_together(tmp_path: Path, cache: Path) -> None:
    rows = [{"turns": ["Hi."] + [f"{n}: {i}" for i in range(4)]} for n in range(10)]
    read = ReadConfig(text_field="turns")
    built = make(write_rows(tmp_path, rows), cache, read, task=DIALOGUE)  # type: ignore[arg-type]
    valid = pairs(built.valid, built.tokenizer)
    assert len(valid) == 4
    assert len({target.partition(":")[0] for _, target in valid}) == 1
    assert built.summary["train"]["records"] == 36


def test_pairs_without_a_source(tmp_path: Path, cache: Path) -> None:
    poems = [{"text": f"春眠不觉晓{n}", "form": "五言" if n % 2 else None} for n in range(30)]
    config = TaskConfig(control=("form",))
    built = make(write_rows(tmp_path, poems), cache, ReadConfig(), task=config)  # type: ignore[arg-type]
    both = pairs(built.train, built.tokenizer) + pairs(built.valid, built.tokenizer)
    assert sorted(both) == sorted(
        ("form=五言\n" if n % 2 else "", f"春眠不觉晓{n}") for n in range(30)
    )


def test_no_validation_text_possible(tmp_path: Path, cache: Path) -> None:
    path = write_rows(tmp_path, [{"turns": list("abcdefgh")}])
    with pytest.raises(WenmoError, match="all its pairs come from one record") as caught:
        make(path, cache, ReadConfig(text_field="turns"), task=DIALOGUE)
    assert "\n" not in str(caught.value)
    path = write_rows(tmp_path, [{"turns": ["alone"]}, {"turns": ["too"]}])
    with pytest.raises(WenmoError, match=r"rows\.jsonl: none of its 2 records gives an example of"):
        make(path, cache, ReadConfig(text_field="turns"), task=DIALOGUE)


def test_records_without_examples_are_counted(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path, [*NUMBERED, "word", "a ____ b"])
    built = make(path, cache, task=TaskConfig("infilling"))
    assert built.summary["missing"] == 2
    joined = [
        source.replace("____", target) for source, target in pairs(built.valid, built.tokenizer)
    ]
    assert set(joined) < set(NUMBERED)
    train = {source.replace("____", t) for source, t in pairs(built.train, built.tokenizer)}
    assert train.isdisjoint(joined)


def test_parallel_files_have_separate_cache_entries(tmp_path: Path, cache: Path) -> None:
    sources, targets = write(tmp_path, NUMBERED, "a.en"), write(tmp_path, NUMBERED[::-1], "a.zh")
    other = write(tmp_path, ["x 1", "x 2"], "b.en"), write(tmp_path, ["y 1", "y 2"], "b.zh")
    first = make(sources, cache, task=TRANSLATION, target=targets)
    assert first.summary["train"]["records"] + first.summary["valid"]["records"] == 100
    swapped = make(targets, cache, task=TRANSLATION, target=sources)
    assert swapped.fingerprint != first.fingerprint
    made = make(
        sources, cache, task=TRANSLATION, target=targets, valid_path=other[0], valid_target=other[1]
    )
    assert pairs(made.valid, made.tokenizer) == [("x 1", "y 1"), ("x 2", "y 2")]
    assert len(list((cache / "texts").iterdir())) == 3
    with pytest.raises(WenmoError, match="held-out targets need their sources"):
        make(sources, cache, task=TRANSLATION, target=targets, valid_target=other[1])


def test_leakage_warning_for_pairs(tmp_path: Path, cache: Path) -> None:
    path = write_rows(tmp_path, [{"source": text, "targets": text} for text in NUMBERED])
    held = [{"source": NUMBERED[1], "targets": NUMBERED[n]} for n in (1, 2)]
    valid = write_rows(tmp_path, held, "valid.jsonl")  # type: ignore[arg-type]
    built = make(path, cache, SIDES, task=TRANSLATION, valid_path=valid)
    assert built.notes == [
        "1 of the 2 held-out pairs long enough to compare (50.0%) also occur in the training text: "
        "held-out scores are too good"
    ]


def test_references_of_a_source_stay_together(data: Path, cache: Path) -> None:
    path = data / "d2t/e2e_dev.csv"
    task = TaskConfig("data-to-text")
    read, _ = choose_fields(path, ReadConfig(), task, None)
    built = make(path, cache, read, task=task)
    train = {source for source, _ in pairs(built.train, built.tokenizer)}
    valid = {source for source, _ in pairs(built.valid, built.tokenizer)}
    assert train.isdisjoint(valid)
    assert len(train) + len(valid) == 547
    assert 0.08 < built.summary["valid"]["records"] / 4_672 < 0.12
