"""Inspection of data before training, and words for missing values."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wenmo.text.config import ReadConfig
from wenmo.text.inspection import Inspection, inspect
from wenmo.text.readers import Reader
from wenmo.types import WenmoError


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


TABLE = "id,text\n1,good\n2,NULL\n3, N/A \n4,nan\n5,none of it\n6,无\n7,\n8,fine\n"


def test_words_for_missing_values(tmp_path: Path) -> None:
    reader = Reader(write(tmp_path, "a.csv", TABLE))
    assert [record.text for record in reader] == ["good", "none of it", "fine"]
    assert reader.counts.missing == 5
    assert dict(reader.counts.missing_values) == {"NULL": 1, "N/A": 1, "nan": 1, "无": 1}
    every = Reader(tmp_path / "a.csv", ReadConfig(missing_values=()))
    assert [record.text for record in every][1:3] == ["NULL", " N/A "]
    assert every.counts.missing == 1
    own = Reader(tmp_path / "a.csv", ReadConfig(missing_values=("good",)))
    assert next(iter(own)).text == "NULL"
    rows = write(tmp_path, "a.jsonl", '{"text": "NULL"}\n{"text": null}\n')  # JSON says null itself
    assert [record.text for record in Reader(rows)] == ["NULL"]


def test_missing_values_of_pairs_and_control_codes(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "source\ttarget\tform\na\tb\tN/A\nNULL\td\tx\n")
    reader = Reader(path, ReadConfig(source_field="source", text_field="target"), control=("form",))
    assert [(record.source, record.text, record.attributes) for record in reader] == [
        ("a", "b", ())
    ]
    assert reader.counts.missing_values.total() == 2


def test_summary_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", TABLE)
    found = inspect(path, settings=["unit=line"])
    assert found.lines == [
        f"{path}: utf-8, CSV; text: text; not used: id",
        "3 records in 1 file; left out: 5 without a text, or that give no example; read as "
        "missing: 1 × NULL, 1 × N/A, 1 × nan, 1 × 无 (missing_values=[] reads them as text)",
    ]
    assert found.fields == {"text": "text"}
    assert found.unused_fields == ["id"]
    assert "5 of 8 records are left out" in found.warnings


def test_pairs(tmp_path: Path) -> None:
    rows = [{"instruction": f"do {n}", "input": "", "output": f"done {n}"} for n in range(30)]
    path = write(tmp_path, "a.json", json.dumps({"data": rows}))
    found = inspect(path, task="paraphrase")
    assert found.samples[0] == {"source": "do 0", "target": "done 0"}
    assert len(found.samples) == 3
    assert found.split is not None
    assert found.split["train"]["records"] + found.split["valid"]["records"] == 30
    assert found.counts["records"] == found.counts["examples"] == 30
    assert found.counts["characters"] == sum(len(row["output"]) for row in rows)
    assert found.lines[1].endswith("records under 'data'")
    assert found.encodings == [{"name": "utf-8", "guessed": False, "files": 1}]
    assert found.to_dict() == json.loads(json.dumps(found.to_dict()))


def test_suggestions(tmp_path: Path) -> None:
    def suggested(name: str, content: str, task: str | None = None) -> str:
        return "; ".join(inspect(write(tmp_path, name, content), task=task).suggestions)

    lines = "".join(f"春眠不觉晓{n}\n" for n in range(30))
    assert suggested("a.txt", lines).startswith("--unit line")
    assert suggested("b.txt", lines.replace("5\n", "5\n\n")) == suggested("c.txt", "a\n\n" * 30)
    assert "the lines have columns" in suggested("d.txt", "Go.\t走。\nHi.\t嗨。\n" * 3)
    chat = "".join(f"1/2/20, 9:1{n} PM - Ann: Hello {n}\n" for n in range(9))
    assert suggested("e.txt", chat).startswith("--task dialogue: this is a chat")
    words = "The old mill by the river has stood still since the flood of that year. " * 2000
    assert "--tokenizer words" in suggested("f.txt", words)


def test_warnings(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "春眠不觉晓 \ufffd 夜来\n" * 30)
    found = inspect(path, settings=["read.unit=line"])
    told = "; ".join(found.warnings)
    assert "30 × U+FFFD" in told
    assert (
        "29 of the first 30 texts repeat an earlier one: text 2 is text 1 again (春眠不觉晓" in told
    )
    small = inspect(write(tmp_path, "b.txt", "a"))
    assert small.split is None
    assert "too short to hold anything out" in small.warnings[0]


def test_data_that_cannot_be_inspected(tmp_path: Path) -> None:
    with pytest.raises(WenmoError, match="did you mean"):
        inspect(write(tmp_path, "a.txt", "a"), settings=["read.unitt=line"])
    with pytest.raises(WenmoError, match="unknown setting 'hidden_size'"):
        inspect(tmp_path / "a.txt", settings=["hidden_size=3"])


def test_command_does_not_import_torch(tmp_path: Path) -> None:
    """And prints one JSON object, or lines that fit."""
    path = write(tmp_path, "a.tsv", "source\ttarget\n" + "春眠不觉晓" * 40 + "\t处处闻啼鸟\n")
    script = (
        "import sys\nfrom wenmo.apps.cli.main import run\n"
        f"sys.argv = ['wenmo', 'inspect', {str(path)!r}, '--task', 'translation', *sys.argv[1:]]\n"
        "code = run()\nassert 'torch' not in sys.modules\nsys.exit(code)\n"
    )

    def told(*arguments: str) -> str:
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert json.loads(told("--json"))["fields"] == {"source": "source", "target": "target"}
    sample = next(line for line in told().splitlines() if "→" in line)
    assert sum(1 + (character > "⺀") for character in sample) <= 80


def test_csv_on_the_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no suffix: CSV with a known header is told from prose, other data by ``format=``."""

    def piped(content: str, **options: Any) -> Inspection:
        stream = io.TextIOWrapper(io.BytesIO(content.encode()))
        monkeypatch.setattr("sys.stdin", stream)
        return inspect("-", **options)

    rows = "".join(f'name[Mill {n}],"A mill, old: {n}."\n' for n in range(30))
    found = piped(f"mr,ref\n{rows}", task="data-to-text")
    assert found.lines[0] == "standard input: utf-8, CSV; source: mr; target: ref"
    assert found.counts["records"] == 30
    with pytest.raises(WenmoError, match=r"pass format=csv \(or tsv, jsonl, json\)"):
        piped(f"a,b\n{rows}", task="data-to-text")
    given = ["format=csv", "source_field=a", "text_field=b"]
    assert piped(f"a,b\n{rows}", task="data-to-text", settings=given).counts["records"] == 30
    assert piped("Well, source\nOnce, a mill\n" * 20).format == "plain text"


def test_accepts_the_same_data_as_fit(tmp_path: Path) -> None:
    """Settings by their short names, and records in memory."""
    path = write(tmp_path, "a.csv", "id,words\n1,a mill stands\n2,still it turns\n")
    found = inspect(path, text_field="words")
    assert found.fields["text"] == "words"
    rows = [{"id": 1, "words": "a mill stands"}, {"id": 2, "words": "still it turns"}]
    assert inspect(rows, text_field="words").samples == found.samples
    with pytest.raises(WenmoError, match="text_feld"):
        inspect(path, text_feld="words")
