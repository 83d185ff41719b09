"""Outlines: sections, notes and settings of a Markdown file."""

from __future__ import annotations

from pathlib import Path

import pytest

from wenmo.longform.outline import read_outline
from wenmo.types import WenmoError

OUTLINE = """\
```toml
temperature = 0.7
carry = "summary"
```

# 山中十日

## 第一章 入山

写雨中登山。

- 松
- 鹤

```toml
length = "20-40c"
begin = "雨"
```

# 尾声

The end
=======
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "plan.md"


def test_headings_notes_and_settings(path: Path) -> None:
    path.write_text(OUTLINE, "utf-8")
    outline = read_outline(path)
    assert outline.options == {"temperature": 0.7}
    assert outline.settings.carry == "summary"
    assert [heading.title for heading in outline.headings] == [
        *("山中十日", "第一章 入山", "尾声", "The end")
    ]
    assert outline.headings[0].section is None  # it only stands above the next one
    first, *others = outline.sections
    assert (first.number, first.level, first.title, first.line) == (1, 2, "第一章 入山", 8)
    assert first.notes == "写雨中登山。\n\n- 松\n- 鹤"
    assert first.options == {"length": "20-40c"}
    assert first.settings.begin == "雨"
    assert [each.number for each in others] == [2, 3]
    assert outline.find("2") == outline.find("尾声") == others[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no heading"),
        ("# A\n\n```toml\ntemperature = \n```\n", "plan.md:3: not valid TOML"),
        ("# A\n\n```toml\ntemprature = 1\n```\n", "plan.md:3: unknown setting 'temprature'"),
        ("# A\n\n\n```toml\nlength = 'many'\n```\n", "plan.md:4: length"),
        ("```toml\ntop_p = 2\n```\n# A\n", "plan.md:1: top_p=2.0: must be"),
        ("```toml\ncarry = 'all'\n```\n# A\n", "plan.md:1: carry"),
    ],
)
def test_errors_name_the_line(path: Path, text: str, message: str) -> None:
    path.write_text(text, "utf-8")
    with pytest.raises(WenmoError) as caught:
        read_outline(path)
    assert message in str(caught.value)


def test_a_section_that_is_not_there(path: Path) -> None:
    path.write_text("# One\n\n# Two\n\n# Two\n", "utf-8")
    outline = read_outline(path)
    with pytest.raises(WenmoError, match="no section '4'; name one by number: 1 One, 2 Two, 3 Two"):
        outline.find("4")
    with pytest.raises(WenmoError, match="more than one section 'Two'"):
        outline.find("Two")
