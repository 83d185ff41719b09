"""Long texts, written by a writer whose texts tell what it was given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from wenmo.decoding.output import Output
from wenmo.longform.context import first_sentence, last_sentences
from wenmo.longform.draft import read_draft
from wenmo.longform.outline import Outline, read_outline
from wenmo.longform.writer import LongTextWriter
from wenmo.types import WenmoError

OUTLINE = """\
# One

About rain.

# Two

```toml
seed = 70
length = "4c"
```

# Three
"""


class FakeModel:
    """Writes its seed, and keeps what it was asked for. A token is a character."""

    name, infills = "fake", False

    def __init__(self, context: int | None = None, *, is_chat: bool = False) -> None:
        self.context, self.is_chat = context, is_chat
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.fails_at: int | None = None

    def count(self, text: str) -> int:
        return len(text)

    def write(
        self, before: str, begin: str, options: Mapping[str, Any], after: str | None = None
    ) -> Output:
        if len(self.requests) == self.fails_at:
            raise KeyboardInterrupt
        self.requests.append((before, begin, dict(options)))
        text = f"Text {options.get('seed', 'greedy')}."
        return Output(
            text, len(text), -1.0, "end", False, -1.0, (), (), seed=options.get("seed", 0)
        )


@pytest.fixture
def outline(tmp_path: Path) -> Outline:
    (tmp_path / "plan.md").write_text(OUTLINE, "utf-8")
    return read_outline(tmp_path / "plan.md")


def writer_of(outline: Outline, writer: FakeModel, **options: Any) -> LongTextWriter:
    return LongTextWriter(writer, outline, outline.path.with_name("out.md"), options)


def test_each_section_sees_what_stands_before_it(outline: Outline) -> None:
    writer = FakeModel()
    draft = writer_of(outline, writer, seed=10, top_p=0.9).write_all()
    assert [each.text for each in draft.sections] == ["Text 11.", "Text 70.", "Text 13."]
    befores = [before for before, _, _ in writer.requests]
    assert befores == ["About rain.\n\n", "Text 11.\n\n", "Text 11.\n\nText 70.\n\n"]
    assert writer.requests[1][2] == {"seed": 70, "length": "4c", "top_p": 0.9}
    content = outline.path.with_name("out.md").read_text("utf-8")
    assert content.startswith(
        "<!-- section 1 -->\n# One\n\nText 11.\n\n<!-- end of section 1 -->\n"
    )


def test_what_a_model_reads_stays_within_its_context(outline: Outline) -> None:
    writer = FakeModel(context=24)
    writer_of(outline, writer, seed=10).write_all()
    assert all(len(before.strip()) <= 18 for before, _, _ in writer.requests)
    assert writer.requests[2][0] == "Text 70.\n\n"  # the last passage; the first is left out


def test_a_draft_is_resumed_as_if_it_had_not_been_stopped(outline: Outline) -> None:
    whole = writer_of(outline, FakeModel(), seed=5).write_all()
    out = outline.path.with_name("out.md")
    out.unlink()
    out.with_name("out.md.json").unlink()
    writer = FakeModel()
    writer.fails_at = 1
    with pytest.raises(KeyboardInterrupt):
        writer_of(outline, writer, seed=5).write_all()
    assert "Text 6." in out.read_text("utf-8")
    resumed = FakeModel()
    assert writer_of(outline, resumed).write_all().sections == whole.sections
    assert len(resumed.requests) == 2


def test_only_changed_sections_are_written_again(outline: Outline) -> None:
    first = writer_of(outline, FakeModel(), seed=5).write_all()
    outline.path.write_text(OUTLINE.replace("rain", "snow"), "utf-8")
    writer = FakeModel()
    second = writer_of(read_outline(outline.path), writer).write_all()
    assert [before for before, _, _ in writer.requests] == ["About snow.\n\n"]
    assert second.sections[1:] == first.sections[1:]
    assert second.sections[0].earlier == ["Text 6."]


def test_what_the_user_edits_stays(outline: Outline) -> None:
    writer_of(outline, FakeModel(), seed=5).write_all()
    out = outline.path.with_name("out.md")
    out.write_text(out.read_text("utf-8").replace("Text 6.", "My own.\n\nWords."), "utf-8")
    outline.path.write_text(OUTLINE.replace("rain", "snow"), "utf-8")
    writer = FakeModel()
    composer = writer_of(read_outline(outline.path), writer)
    draft = composer.write_all()
    assert (draft.sections[0].text, draft.sections[0].edited) == ("My own.\n\nWords.", True)
    assert writer.requests == []
    assert "My own.\n\nWords." in out.read_text("utf-8")
    out.write_text("# One\n", "utf-8")
    with pytest.raises(WenmoError, match="section 1 is not found: restore the lines"):
        read_draft(out)


@pytest.mark.parametrize(
    ("revision", "before", "text"),
    [
        ("rewrite", "About rain.\n\n", "Text 9."),
        ("continue", "About rain.\n\nText 6.", "Text 6.Text 9."),
        ("expand", "About rain.\n\nText 6.", "Text 6.Text 9."),
    ],
)
def test_one_section_is_revised(outline: Outline, revision: Any, before: str, text: str) -> None:
    first = writer_of(outline, FakeModel(), seed=5).write_all()
    writer = FakeModel()
    draft = writer_of(outline, writer, seed=5).revise(outline.find("One"), revision)
    assert writer.requests[0][0] == before
    assert draft.sections[0].text == text
    assert draft.sections[1:] == first.sections[1:]
    assert draft.sections[0].earlier == ["Text 6."]


def test_a_constraint_is_not_broken_by_a_longer_text(outline: Outline) -> None:
    writer_of(outline, FakeModel(), seed=5).write_all()
    with pytest.raises(WenmoError, match="section 2 has length, which a longer text would break"):
        writer_of(outline, FakeModel()).revise(outline.find("Two"), "expand")


def test_a_chat_model_is_asked_in_the_language_of_the_outline(tmp_path: Path) -> None:
    (tmp_path / "plan.md").write_text(
        '```toml\ncarry = "summary"\n```\n# 雨\n\n写雨。\n\n# 雪\n\n# 晴\n', "utf-8"
    )
    writer = FakeModel(is_chat=True)
    draft = writer_of(read_outline(tmp_path / "plan.md"), writer, seed=1).write_all()
    asked = [before for before, _, _ in writer.requests]
    titles = "这是一篇文章，各节依次是：“雨”、“雪”、“晴”。"
    assert asked[0] == f"{titles}\n\n请写接下来的一节“雨”。写雨。"
    assert asked[1] == "请用一句话概括这一段：\nText 2."
    assert asked[4] == (
        f"{titles}\n\n前情：Text greedy.\n\n上文的结尾是：\nText 2.\n\nText 3.\n\n"
        "请写接下来的一节“晴”。"
    )
    assert draft.sections[0].summary == "Text greedy."


def test_passages_are_whole_sentences() -> None:
    text = "雨下了一夜。他说：“走吧。”\nThe end. 3.5 metres!"
    assert first_sentence(text) == "雨下了一夜。"
    assert last_sentences(text, len, 22) == "The end. 3.5 metres!"
    assert last_sentences(text, len, 200) == text
    assert last_sentences(text, len, 5) == "tres!"
    assert last_sentences(text, len, 0) == ""
