"""Commands on run folders: runs, show, compare and rm."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree

import pytest
from rich.cells import cell_len


@pytest.fixture
def folder(runs, tmp_path):
    """Two finished runs below ``runs``, one with an unusual name, and a damaged one."""
    shutil.copytree(runs["lstm"], tmp_path / "runs" / "lstm")
    shutil.copytree(runs["ngram"], tmp_path / "runs" / "old" / "my 文件 run")
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "wenmo.json").write_text("{")
    return tmp_path


def test_runs_lists_every_run_below_a_folder(wenmo, folder):
    rows = json.loads(wenmo("runs", "--json", cwd=folder).stdout)["runs"]
    assert [row["run"] for row in rows] == ["runs/broken", "runs/lstm", "runs/old/my 文件 run"]
    broken, lstm, ngram = rows
    assert "damaged" in broken["problem"]
    assert (lstm["family"], ngram["family"]) == ("lstm", "ngram")
    for row in (lstm, ngram):
        assert row["task"] == "completion"
        assert row["finished"]
        assert 0 < row["bits_per_byte"] < 8
        assert row["minutes"] >= 0
        assert row["bytes"] > 1000
        assert row["sample"]
    shown = wenmo("runs", cwd=folder).stdout
    assert all(name in shown for name in ("runs/lstm", "my 文件 run", "bits/byte", "damaged"))
    assert max(map(cell_len, shown.splitlines())) <= 80
    only = json.loads(wenmo("runs", "runs/old", "--json", cwd=folder).stdout)["runs"]
    assert [row["run"] for row in only] == ["runs/old/my 文件 run"]


def test_show_prints_one_run(wenmo, folder):
    result = json.loads(wenmo("show", "runs/lstm", "--json", cwd=folder).stdout)
    assert result["settings"]["model.hidden_size"] == 64
    assert result["settings"]["train.steps"] == 150
    assert result["samples"][-1]["step"] == 150
    assert any("heldout_bits_per_byte" in row for row in result["history"])
    assert result["data"]["train"]["bytes"] > 0
    done = wenmo("show", "runs/lstm", "--plot", "curve.svg", cwd=folder)
    for text in ("bits per byte", "model.hidden_size=64", "wenmo generate runs/lstm", "•"):
        assert text in done.stdout
    assert "plot written: curve.svg" in done.stderr
    assert ElementTree.parse(folder / "curve.svg").getroot().tag.endswith("svg")


def test_samples_after_the_kept_step_are_not_shown(wenmo, folder):
    card = folder / "runs" / "lstm" / "wenmo.json"
    content = json.loads(card.read_text(encoding="utf-8"))
    content["results"] |= {"best_step": 45, "sample": "the text of the kept weights"}
    card.write_text(json.dumps(content), encoding="utf-8")
    shown = wenmo("show", "runs/lstm", cwd=folder).stdout
    steps = [line for line in shown.splitlines() if line.startswith("step ")]
    assert [int(line.split()[1]) for line in steps] == [30, 45]
    assert "150; the best weights, of step 45, are kept" in shown
    assert "the text of the kept weights" in shown


def test_commands_are_quoted_for_the_shell(wenmo, folder):
    shown = wenmo("show", "runs/old/my 文件 run", cwd=folder).stdout
    assert "wenmo evaluate 'runs/old/my 文件 run' DATA" in shown


def test_rm_moves_runs_to_a_trash_folder(wenmo, folder):
    stderr = wenmo("rm", "runs/old/my 文件 run", "runs/broken", cwd=folder).stderr
    rows = json.loads(wenmo("runs", "--json", cwd=folder).stdout)["runs"]
    assert [row["run"] for row in rows] == ["runs/lstm"]
    [kept] = (folder / "runs" / "old" / ".trash").iterdir()
    assert (kept / "model.safetensors").is_file()
    assert f"mv '{kept}' '{folder / 'runs' / 'old' / 'my 文件 run'}'" in stderr
    assert len(stderr.splitlines()) == 2


def test_rm_removes_all_or_none(wenmo, folder):
    (folder / "runs" / "notes").mkdir()
    for bad in ("runs", "runs/notes", "runs/none"):
        wenmo("rm", "runs/lstm", bad, cwd=folder, code=2)
    assert (folder / "runs" / "lstm").is_dir()
    (folder / "link").symlink_to(folder / "runs" / "lstm")
    assert "link" in wenmo("rm", "link", cwd=folder, code=2).stderr


def test_compare_sorts_runs_and_reports_those_not_scored(wenmo, folder, text):
    command = ("compare", "runs/lstm", "runs/broken", "runs/old/my 文件 run", "--data", text)
    rows = json.loads(wenmo(*command, "--json", cwd=folder).stdout)["runs"]
    assert [row["run"] for row in rows][-1] == "runs/broken"
    assert "damaged" in rows[-1]["problem"]
    figures = [row["bits_per_byte"] for row in rows[:-1]]
    assert figures == sorted(figures)
    done = wenmo(*command, cwd=folder)
    assert done.stdout.count("\n") == 3
    assert "not scored" in done.stderr
    assert "damaged" in wenmo("compare", "runs/broken", "--data", text, cwd=folder, code=2).stderr


def test_compare_prints_a_note_on_the_data_once(wenmo, folder, text):
    (folder / "notes.md").write_text(f"# Head\n\n{text.read_text()[:3000]}")
    command = ("compare", "runs/lstm", "runs/old/my 文件 run", "--data", "notes.md")
    assert wenmo(*command, cwd=folder).stderr.count("markup is removed") == 1


def test_samples_are_read_back(tmp_path):
    from wenmo.runs.folders import samples

    (tmp_path / "samples.md").write_text(
        "## Step 3\n\n    one\n    \n    ## Step 9\n\n## Step 10\n\n    三\n\n", encoding="utf-8"
    )
    assert samples(tmp_path) == [
        {"step": 3, "text": "one\n\n## Step 9"},
        {"step": 10, "text": "三"},
    ]
