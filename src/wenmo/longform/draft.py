"""The draft of a long text: a Markdown file, and beside it a JSON file of how it was written.

The Markdown file is the user's: what is changed in it stays. Comments around each section tell
where its text begins and ends. Both files are written after every section, so that a process that
is killed loses at most the section it was writing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wenmo.files import read_json, write_json, write_text
from wenmo.longform.outline import Outline
from wenmo.results import Result
from wenmo.types import WenmoError

SECTION = re.compile(
    r"^<!-- section (\d+) -->\n#{1,6} [^\n]*\n(.*?)^<!-- end of section \1 -->$",
    re.MULTILINE | re.DOTALL,
)
FORMAT = 1


@dataclass(frozen=True)
class WrittenSection(Result):
    """A section of a draft.

    Attributes:
        number: from 1.
        title: of its heading.
        text: its text.
        seed: that the text was sampled with.
        tokens: number of tokens.
        logprob: sum of their natural log-probabilities.
        stopped_by: what ended the text.
        fingerprint: of the outline's words and settings for it.
        summary: a line on it, for the sections after it.
        edited: whether the user has changed the text in the Markdown file.
        earlier: texts that were replaced, oldest first.
    """

    number: int
    title: str
    text: str
    seed: int
    tokens: int
    logprob: float
    stopped_by: str
    fingerprint: str
    summary: str = ""
    edited: bool = False
    earlier: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Draft(Result):
    """A long text.

    Attributes:
        path: the Markdown file.
        model: the run that wrote it.
        seed: sections without a seed of their own have this one plus their number.
        sections: those that are written, in order.
    """

    path: str
    model: str
    seed: int
    sections: list[WrittenSection] = field(default_factory=list)

    def get(self, number: int) -> WrittenSection | None:
        """The section with a number, if it is written."""
        return next((each for each in self.sections if each.number == number), None)

    def put(self, section: WrittenSection) -> Draft:
        """The draft with a section in place of the one with its number."""
        others = [each for each in self.sections if each.number != section.number]
        return replace(self, sections=sorted([*others, section], key=lambda each: each.number))


def record_path(path: Path) -> Path:
    """The JSON file beside a draft."""
    return path.with_name(f"{path.name}.json")


def read_draft(path: Path) -> Draft | None:
    """The draft of a file, with the user's changes; None if there is no such file.

    Raises:
        WenmoError: the file is not a draft, or has lost the comments before its sections.
    """
    record = record_path(path)
    if not record.exists():
        if path.exists():
            raise WenmoError(f"{path}: exists and is not a draft of wenmo: name another with --out")
        return None
    content = read_json(record)
    try:
        draft = Draft.from_dict(content)
    except (KeyError, TypeError, AttributeError):
        raise WenmoError(f"{record}: damaged: remove it to start the draft anew") from None
    if not path.exists():
        return draft
    texts = _texts(path)
    missing = [each.number for each in draft.sections if each.number not in texts]
    if missing:
        raise WenmoError(
            f"{path}: section {missing[0]} is not found: restore the lines '<!-- section "
            f"{missing[0]} -->', its heading and '<!-- end of section {missing[0]} -->'"
        )
    sections = [
        each
        if texts[each.number] == each.text.strip()
        else replace(each, text=texts[each.number], edited=True, earlier=[*each.earlier, each.text])
        for each in draft.sections
    ]
    return replace(draft, sections=sections)


def _texts(path: Path) -> dict[int, str]:
    """The text of each section in a draft's file."""
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise WenmoError(f"{path}: not UTF-8 at byte {error.start}") from None
    return {int(number): text.strip() for number, text in SECTION.findall(content)}


def write_draft(path: Path, outline: Outline, draft: Draft) -> None:
    """Write both files of a draft."""
    write_json(record_path(path), {"format": FORMAT, **draft.to_dict()})
    write_text(path, render(outline, draft))


def render(outline: Outline, draft: Draft) -> str:
    """The draft as Markdown."""
    blocks = []
    for heading in outline.headings:
        title = f"{'#' * heading.level} {heading.title}"
        number = 0 if heading.section is None else heading.section.number
        written = draft.get(number)
        if written is not None:
            title = f"<!-- section {number} -->\n{title}\n\n{written.text.strip()}"
            title += f"\n\n<!-- end of section {number} -->"
        blocks.append(title)
    return "\n\n".join(blocks) + "\n"


def section_dict(section: WrittenSection, state: str) -> dict[str, Any]:
    """A section for the output of a command: without its fingerprint and earlier texts."""
    content = section.to_dict()
    for name in ("fingerprint", "earlier", "edited", "summary"):
        content.pop(name)
    return {**content, "state": state}
