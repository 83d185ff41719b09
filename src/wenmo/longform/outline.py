"""Outlines of long texts: a Markdown file whose headings are the sections.

Below a heading stand notes on what the section is about, and its settings in a fenced block of
TOML. A block before the first heading holds the settings of all sections::

    # The lighthouse

    ## The storm

    The keeper hears a voice in the rain.

    ```toml
    length = "200-400w"
    seed = 3
    ```
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from wenmo.config import from_dict
from wenmo.decoding.constraints.settings import CONSTRAINTS, ConstraintSettings
from wenmo.decoding.params import Sampling
from wenmo.types import WenmoError

MAX_FILE = 4 << 20  # bytes


@dataclass(frozen=True)
class OutlineSettings:
    """Settings of an outline that are not those of decoding.

    Attributes:
        carry: what a section sees of the sections before it: ``passages``, the text just before
            it, or ``summary``, also a line on each earlier section.
        carry_tokens: the most tokens that it sees of them; 0: half of the model's context, or 1,024
            where that is unbounded.
    """

    carry: Literal["passages", "summary"] = "passages"
    carry_tokens: int = 0

    def __post_init__(self) -> None:
        if self.carry_tokens < 0:
            raise ValueError(f"carry_tokens={self.carry_tokens}: must be at least 0")


@dataclass(frozen=True)
class SectionSettings:
    """Settings of a section that are not those of decoding.

    Attributes:
        begin: how the section's text begins.
        summary: a line on the section for those after it; "": its first sentence, or for a chat
            model, what the model says of it.
    """

    begin: str = ""
    summary: str = ""


@dataclass(frozen=True)
class Section:
    """A section that is to be written.

    Attributes:
        number: from 1, over the sections that have text.
        level: of its heading, 1 to 6.
        title: text of its heading.
        notes: what it is about.
        options: settings of its decoding, by name: constraints and sampling.
        settings: its other settings.
        line: of its heading, from 1.
    """

    number: int
    level: int
    title: str
    notes: str
    options: Mapping[str, Any]
    settings: SectionSettings
    line: int


@dataclass(frozen=True)
class Heading:
    """A heading of the outline; ``section`` is None where it only stands above other headings."""

    level: int
    title: str
    section: Section | None


@dataclass(frozen=True)
class Outline:
    """A plan of a long text.

    Attributes:
        path: its file.
        settings: how sections see each other.
        options: settings of the decoding of all sections, by name.
        headings: in order.
    """

    path: Path
    settings: OutlineSettings
    options: Mapping[str, Any]
    headings: tuple[Heading, ...]

    @property
    def sections(self) -> list[Section]:
        """The sections that have text, in order."""
        return [heading.section for heading in self.headings if heading.section is not None]

    def find(self, name: str) -> Section:
        """The section with a number or a title.

        Raises:
            WenmoError: there is none, or several have the title.
        """
        found = [each for each in self.sections if name in (str(each.number), each.title)]
        if len(found) != 1:
            titles = ", ".join(f"{each.number} {each.title}" for each in self.sections)
            what = "no section" if not found else "more than one section"
            raise WenmoError(f"{self.path}: {what} {name!r}; name one by number: {titles}")
        return found[0]


@dataclass
class _Part:
    """A heading with what stands below it; the part before the first heading has level 0."""

    level: int
    title: str
    line: int
    notes: list[str] = field(default_factory=list)
    toml: list[tuple[int, str]] = field(default_factory=list)


def read_outline(path: Path) -> Outline:
    """Read and check an outline.

    Raises:
        WenmoError: no such file, no section in it, or wrong settings; the message has the line.
    """
    preamble, *parts = _parts(_read(path))
    shared = _toml(path, preamble)
    own: dict[str, Any] = {
        name: shared.pop(name) for name in ("carry", "carry_tokens") if name in shared
    }
    where = f"{path}:{preamble.toml[0][0]}" if preamble.toml else str(path)
    settings = _checked(where, OutlineSettings, own)
    options, _ = _split(where, shared)
    if not parts:
        raise WenmoError(f"{path}: has no heading: write one, such as '# Title', for each section")
    headings, number = [], 0
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        section = None
        if part.notes or part.toml or following is None or following.level <= part.level:
            number += 1
            section = _section(path, part, number)
        headings.append(Heading(part.level, part.title, section))
    return Outline(path, settings, options, tuple(headings))


def _section(path: Path, part: _Part, number: int) -> Section:
    where = f"{path}:{part.toml[0][0] if part.toml else part.line}"
    options, own = _split(where, _toml(path, part))
    settings = _checked(where, SectionSettings, own)
    notes = "\n\n".join(part.notes)
    return Section(number, part.level, part.title, notes, options, settings, part.line)


def _split(where: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of decoding, checked, and the other values."""
    own = {name: values[name] for name in ("begin", "summary") if name in values}
    options = {name: value for name, value in values.items() if name not in own}
    constraints = {name: value for name, value in options.items() if name in CONSTRAINTS}
    sampling = {
        name: value
        for name, value in options.items()
        if name not in constraints and name not in ("chain", "logit_bias")
    }
    _checked(where, ConstraintSettings, constraints)
    _checked(where, Sampling, sampling)
    return options, own


def _checked(where: str, cls: type[Any], values: Mapping[str, Any]) -> Any:
    try:
        return from_dict(cls, values)
    except WenmoError as error:
        raise WenmoError(f"{where}: {error}") from None


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE:
            raise WenmoError(f"{path}: larger than {MAX_FILE >> 20} MiB: split the outline")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise WenmoError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise WenmoError(f"{path}: is a folder: name an outline in Markdown") from None
    except UnicodeDecodeError as error:
        raise WenmoError(f"{path}: not UTF-8 at byte {error.start}") from None


def _toml(path: Path, part: _Part) -> dict[str, Any]:
    """The values of a part's blocks of TOML."""
    values: dict[str, Any] = {}
    for line, text in part.toml:
        try:
            values |= tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise WenmoError(f"{path}:{line}: not valid TOML: {error}") from None
    return values


def _parts(text: str) -> Iterator[_Part]:
    """The part before the first heading, and one for each heading."""
    from markdown_it import MarkdownIt

    lines = text.splitlines()
    part = _Part(0, "", 1)
    tokens = MarkdownIt("commonmark").parse(text)
    for number, token in enumerate(tokens):
        if token.level or token.map is None:
            continue
        first, last = token.map
        if token.type == "heading_open":
            yield part
            part = _Part(int(token.tag[1:]), tokens[number + 1].content.strip(), first + 1)
        elif token.type == "fence" and token.info.strip().lower() == "toml":
            part.toml.append((first + 1, token.content))
        else:
            part.notes.append("\n".join(lines[first:last]).strip())
    yield part
