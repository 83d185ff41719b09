"""Documents in, plain text out: HTML, Markdown, Word, EPUB, PDF, and spreadsheets.

HTML and Markdown are read with what wenmo always brings; the other formats need the packages of
``wenmo[documents]``, which are imported where they are used.
"""

from __future__ import annotations

import csv
import io
import posixpath
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote
from xml.etree import ElementTree

from wenmo.text.encodings import opened, seekable
from wenmo.types import WenmoError

HTML = (".html", ".htm", ".xhtml")
MARKDOWN = (".md", ".markdown")
MARKUP = HTML + MARKDOWN
DOCUMENTS = (".docx", ".epub", ".pdf")
SHEETS = (".xlsx", ".xls", ".ods")
PACKAGES = {".docx": "mammoth", ".pdf": "pypdf"} | dict.fromkeys(SHEETS, "python_calamine")
"""The package that reads a format; the formats without one need none."""

INSTALL = "pip install 'wenmo[documents]'"
LARGEST = 1 << 26
"""The most bytes of one part of a document once it is unpacked, so that memory stays bounded."""


def is_readable(kind: str) -> bool:
    """Whether the package is installed that a format needs."""
    return kind not in PACKAGES or find_spec(PACKAGES[kind]) is not None


def strip_markup(text: str, kind: str) -> str:
    """The text of HTML or Markdown: blocks apart by a blank line, lists and tables line by line."""
    stripped = html_text(text) if kind in HTML else markdown_text(text)
    return stripped + "\n" if stripped and text.endswith("\n") else stripped


def markdown_text(text: str) -> str:
    """The text of Markdown; lines end where they end in the source."""
    from markdown_it import MarkdownIt

    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)  # YAML with facts on the text
    return html_text(MarkdownIt("commonmark", {"breaks": True}).enable("table").render(text))


def html_text(text: str) -> str:
    """The text of HTML, without scripts, styles and the head."""
    parser = _Text()
    parser.feed(text)
    parser.close()
    return parser.text()


def document_text(path: Path, place: str, kind: str) -> str:
    """The text of a Word, EPUB or PDF file.

    Raises:
        WenmoError: it is damaged or locked, or the package that reads it is not installed.
    """
    read = {".docx": _docx, ".epub": _epub, ".pdf": _pdf}[kind]
    with _document(path, place, kind) as file:
        return read(file)


def sheet_texts(path: Path, place: str, kind: str) -> Iterator[str]:
    """The first sheet of a spreadsheet that holds something, as CSV.

    Raises:
        WenmoError: as ``document_text``.
    """
    with _document(path, place, kind) as file:
        _, rows = _sheets(file)[0]
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(map(_cell, row))
        yield line.getvalue()


def other_sheets(path: Path, place: str, kind: str) -> list[str]:
    """The names of the sheets that hold something and are not read."""
    with _document(path, place, kind) as file:
        return [name for name, _ in _sheets(file)[1:]]


@contextmanager
def _document(path: Path, place: str, kind: str) -> Iterator[IO[bytes]]:
    """The bytes of a document; whatever its library says against them is told in one line."""
    if not is_readable(kind):
        raise WenmoError(f"{place}: a {kind} file is read with {INSTALL}")
    try:
        with opened(path, place) as stream, seekable(stream) as file:
            yield file
    except WenmoError:
        raise
    except Exception as error:  # the libraries raise errors of many kinds
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise WenmoError(f"{place}: not a readable {kind} file: {reason}") from None


def _docx(file: IO[bytes]) -> str:
    import mammoth

    no_images = mammoth.images.img_element(lambda _: {"src": ""})
    return html_text(mammoth.convert_to_html(file, convert_image=no_images).value)


def _pdf(file: IO[bytes]) -> str:
    from pypdf import PdfReader

    return "\n\n".join(page.extract_text() for page in PdfReader(file).pages)


def _epub(file: IO[bytes]) -> str:
    """The chapters in the order of reading (EPUB 3.3: the container names the package document,
    whose spine lists them).
    """
    with zipfile.ZipFile(file) as book:
        container = ElementTree.fromstring(_member(book, "META-INF/container.xml"))
        package = next(e.attrib["full-path"] for e in container.iter() if "full-path" in e.attrib)
        tree = ElementTree.fromstring(_member(book, package))
        items = {e.attrib["id"]: e.attrib for e in tree.iter() if e.tag.endswith("}item")}
        spine = [e.attrib["idref"] for e in tree.iter() if e.tag.endswith("}itemref")]
        chapters = []
        for item in (items[id_] for id_ in spine if id_ in items):
            if "html" in item.get("media-type", ""):
                name = posixpath.join(posixpath.dirname(package), unquote(item["href"]))
                chapters.append(html_text(_member(book, posixpath.normpath(name)).decode()))
    return "\n\n".join(filter(None, chapters))


def _member(book: zipfile.ZipFile, name: str) -> bytes:
    with book.open(name) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"{name} has over {LARGEST} bytes")
    return content


def _sheets(file: IO[bytes]) -> list[tuple[str, list[list[Any]]]]:
    """The sheets that hold something, by name."""
    from python_calamine import CalamineWorkbook

    book = CalamineWorkbook.from_filelike(file)
    sheets = [(name, book.get_sheet_by_name(name).to_python()) for name in book.sheet_names]
    found = [(name, rows) for name, rows in sheets if rows]
    if not found:
        raise ValueError("all sheets are empty")
    return found


def _cell(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)


class _Text(HTMLParser):
    """Collects the text of HTML as a reader would see it."""

    BLOCKS = frozenset(
        [
            "address",
            "article",
            "aside",
            "blockquote",
            "body",
            "div",
            "dl",
            "fieldset",
            "figure",
            "footer",
            "form",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "header",
            "hr",
            "main",
            "nav",
            "ol",
            "p",
            "pre",
            "section",
            "table",
            "ul",
        ]
    )
    LINES = frozenset(("br", "dd", "dt", "li", "tr", "option", "caption", "figcaption"))
    HIDDEN = frozenset(("head", "script", "style", "template", "noscript"))
    _wide = "\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef"

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.hidden = self.verbatim = 0
        self.newlines = 2  # at the end of what was collected

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.hidden += tag in self.HIDDEN
        self.verbatim += tag == "pre"
        self._part(tag)
        if tag in ("td", "th"):
            self.parts.append("\t")

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self._part(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.HIDDEN:
            self.hidden = max(0, self.hidden - 1)
        if tag == "pre":
            self.verbatim = max(0, self.verbatim - 1)
        if tag != "br":
            self._part(tag)

    def _part(self, tag: str) -> None:
        wanted = 2 if tag in self.BLOCKS else 1 if tag in self.LINES else 0
        if tag == "br":
            wanted = self.newlines + 1
        self.parts.append("\n" * (wanted - self.newlines))
        self.newlines = max(wanted, self.newlines)

    def handle_data(self, data: str) -> None:
        if self.hidden:
            return
        if not self.verbatim:  # a line break in the source is a space, but not in Chinese
            data = re.sub(rf"(?<=[{self._wide}])[ \t]*\n[ \t]*(?=[{self._wide}])", "", data)
            data = re.sub(r"[ \t\r\n\f]+", " ", data)
        self.parts.append(data)
        if data.strip():
            self.newlines = 0

    def text(self) -> str:
        """What was collected: blanks around lines cut, and at most one blank line in a row."""
        cells = re.sub(r" *\t *", "\t", "".join(self.parts))
        lines = (line.strip(" \t") for line in cells.split("\n"))
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
