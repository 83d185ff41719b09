"""``wenmo generate --plan``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, wenmo) -> Path:
    folder = tmp_path_factory.mktemp("longform")
    (folder / "text.txt").write_text("雨落在山上，人走在路上。松下有鹤，鹤鸣云中。\n" * 40, "utf-8")
    wenmo("train", "text.txt", "--model", "ngram", "--out", "ng", cwd=folder)
    (folder / "plan.md").write_text(
        '# 入山\n\n```toml\nlength = "10c"\n```\n\n# 出山\n\n```toml\nlength = "12c"\n```\n',
        "utf-8",
    )
    return folder


def test_sections_are_written_kept_and_revised(wenmo, folder: Path) -> None:
    command = ("generate", "ng", "--plan", "plan.md", "--seed", "3")
    draft = json.loads(wenmo(*command, "--json", cwd=folder).stdout)
    assert [len(each["text"]) for each in draft["sections"]] == [10, 12]
    content = (folder / "plan.draft.md").read_text("utf-8")
    assert all(each["text"] in content for each in draft["sections"])
    assert "2 sections" in wenmo(*command, cwd=folder).stderr
    assert (folder / "plan.draft.md").read_text("utf-8") == content
    revised = wenmo(*command, "--section", "出山", "--revise", "rewrite", "--json", cwd=folder)
    after = json.loads(revised.stdout)
    assert after["sections"][0] == draft["sections"][0]
    assert after["sections"][1]["earlier"] == [draft["sections"][1]["text"]]
    assert len(after["sections"][1]["text"]) == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--plan", "none.md"], "none.md: no such file"),
        (["--plan", "plan.md", "--prompt", "雨"], "--prompt: not with --plan"),
        (["--plan", "plan.md", "--section", "9"], "plan.md: no section '9'"),
        (["--plan", "plan.md", "--revise", "expand"], "revise=expand: name the section"),
        (["--plan", "plan.md", "--section", "1", "--revise", "x"], "revise=x: must be rewrite"),
        (["--plan", "plan.md", "--out", "plan.md"], "is the outline itself"),
        (["--plan", "plan.md", "--out", "text.txt"], "exists and is not a draft"),
        (["--section", "1"], "give --plan OUTLINE"),
    ],
)
def test_invalid_options(wenmo, folder: Path, options: list[str], message: str) -> None:
    assert message in wenmo("generate", "ng", *options, cwd=folder, code=2).stderr
