"""TMX, the exchange format of translation memories: one row per unit, with a segment in each
language.

XML is parsed incrementally. A document that declares entities is refused (they can expand
exponentially), and no external file is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from wenmo.types import WenmoError

MARKUP = ("bpt", "ept", "it", "ph", "ut")
"""Elements within a segment that contain other markup, not text."""


def tmx(texts: Iterator[str], location: str) -> Iterator[tuple[str, object]]:
    """Each unit as an object: its segments by language code.

    Raises:
        WenmoError: not valid XML, not TMX, or the document declares entities.
    """
    units = _Units(location)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    units.attach(parser)
    try:
        for text in texts:
            parser.Parse(text, False)
            yield from units.take()
        parser.Parse("", True)
    except expat.ExpatError as error:
        reason = expat.errors.messages[error.code]
        raise WenmoError(
            f"{location}:{error.lineno}: not valid XML: {reason}; fix the file"
        ) from None
    yield from units.take()


class _Units:
    """Collects units from parser events."""

    def __init__(self, location: str) -> None:
        self.location = location
        self.units: list[tuple[str, object]] = []
        self.unit: dict[str, str] = {}
        self.language = ""
        self.has_root, self.in_segment, self.markup_depth, self.line = False, False, 0, 0
        self.segment: list[str] = []

    def attach(self, parser: Any) -> None:
        self.parser = parser
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.characters
        parser.EntityDeclHandler = self.refuse

    def take(self) -> list[tuple[str, object]]:
        units, self.units = self.units, []
        return units

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self.has_root and name != "tmx":
            raise WenmoError(f"{self.location}: XML, but not TMX: its first element is {name!r}")
        self.has_root = True
        if name == "tu":
            self.unit, self.line = {}, self.parser.CurrentLineNumber
        elif name == "tuv":
            self.language = attributes.get("xml:lang", attributes.get("lang", ""))
        elif name == "seg":
            self.segment, self.in_segment = [], True
        elif name in MARKUP:
            self.markup_depth += 1

    def end(self, name: str) -> None:
        if name == "seg":
            self.in_segment = False
            self.unit.setdefault(self.language or "?", "".join(self.segment).strip())
        elif name == "tu" and self.unit:
            self.units.append((f"{self.location}:{self.line}", self.unit))
        elif name in MARKUP:
            self.markup_depth -= 1

    def characters(self, text: str) -> None:
        if self.in_segment and not self.markup_depth:
            self.segment.append(text)

    def refuse(self, name: str, *_: object) -> None:
        raise WenmoError(
            f"{self.location}:{self.parser.CurrentLineNumber}: declares the entity {name!r}, which "
            "may expand without bounds: replace it with its text"
        )
