"""TMX, the exchange format of translation memories: texts in, a segment in each language out.

XML is read piece by piece. A document that declares entities is refused (they can be made to grow
without bounds), and nothing outside the file is ever opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from wenmo.types import WenmoError

MARKUP = ("bpt", "ept", "it", "ph", "ut")
"""Elements inside a segment that hold another program's markup, and no text."""


def tmx(texts: Iterator[str], place: str) -> Iterator[tuple[str, object]]:
    """Each unit as an object: its segments by the code of their language, as in the file.

    Raises:
        WenmoError: not valid XML, not TMX, or the document declares entities.
    """
    units = _Units(place)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    units.listen(parser)
    try:
        for text in texts:
            parser.Parse(text, False)
            yield from units.taken()
        parser.Parse("", True)
    except expat.ExpatError as error:
        reason = expat.errors.messages[error.code]
        raise WenmoError(
            f"{place}:{error.lineno}: not valid XML: {reason}; mend the file"
        ) from None
    yield from units.taken()


class _Units:
    """Collects units from the events of a parser."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.done: list[tuple[str, object]] = []
        self.unit: dict[str, str] = {}
        self.language = ""
        self.rooted, self.inside, self.muted, self.begun = False, False, 0, 0
        self.segment: list[str] = []

    def listen(self, parser: Any) -> None:
        self.parser = parser
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.characters
        parser.EntityDeclHandler = self.refuse

    def taken(self) -> list[tuple[str, object]]:
        done, self.done = self.done, []
        return done

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self.rooted and name != "tmx":
            raise WenmoError(f"{self.place}: XML, but not TMX: its first element is {name!r}")
        self.rooted = True
        if name == "tu":
            self.unit, self.begun = {}, self.parser.CurrentLineNumber
        elif name == "tuv":
            self.language = attributes.get("xml:lang", attributes.get("lang", ""))
        elif name == "seg":
            self.segment, self.inside = [], True
        elif name in MARKUP:
            self.muted += 1

    def end(self, name: str) -> None:
        if name == "seg":
            self.inside = False
            self.unit.setdefault(self.language or "?", "".join(self.segment).strip())
        elif name == "tu" and self.unit:
            self.done.append((f"{self.place}:{self.begun}", self.unit))
        elif name in MARKUP:
            self.muted -= 1

    def characters(self, text: str) -> None:
        if self.inside and not self.muted:
            self.segment.append(text)

    def refuse(self, name: str, *_: object) -> None:
        raise WenmoError(
            f"{self.place}:{self.parser.CurrentLineNumber}: declares the entity {name!r}, which "
            "may grow without bounds: write its text in its place"
        )
