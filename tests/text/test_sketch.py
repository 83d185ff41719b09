"""Sketches estimate the overlap of two texts."""

from __future__ import annotations

from pathlib import Path

from wenmo.text import sketch as sketches
from wenmo.text.config import ReadConfig
from wenmo.text.readers import Reader
from wenmo.text.sketch import overlap, sketch, union
from wenmo.text.spool import Spool
from wenmo.text.tasks import COMPLETION


def of(folder: Path, lines: list[str], unit: str = "line") -> str:
    (folder / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    reader = Reader(folder / "text.txt", ReadConfig(unit=unit))
    return sketch(Spool.write(folder / "spool", reader, COMPLETION, lambda *_: None))


def test_overlap_of_texts_of_any_size(tmp_path: Path) -> None:
    lines = [f"line number {n} of a text of many lines" for n in range(5000)]
    every = of(tmp_path, lines)
    assert overlap(every, every) == (1, 1)
    assert overlap(every, of(tmp_path, [line.upper() for line in lines])) == (0, 0)
    half = of(tmp_path, lines[:2500])
    part, whole = overlap(half, every)
    assert part == 1
    assert 0.4 < whole < 0.6
    assert overlap(union(half, of(tmp_path, lines[2500:])), every) == (1, 1)


def test_long_records_are_split_into_lines(tmp_path: Path) -> None:
    lines = [f"line number {n} of a text of many lines" for n in range(60)]
    document = of(tmp_path, lines, unit="document")
    assert overlap(document, of(tmp_path, lines)) == (1, 1)


def test_short_lines_are_ignored(tmp_path: Path) -> None:
    names = of(tmp_path, ["emma", "olivia", "王维"])
    assert overlap(names, names) == (0, 0)
    assert sketches.is_distinctive("春眠不觉晓处处闻啼鸟")
