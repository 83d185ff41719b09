"""Text of documents: HTML, Markdown, Word, EPUB, PDF, and spreadsheets.

HTML and Markdown need no extra packages; the other formats need those of ``wenmo[documents]``,
which are imported on use.
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
"""The package required for a format, if any."""

INSTALL = "pip install 'wenmo[documents]'"
LARGEST = 1 << 26
"""Maximum size in bytes of an unpacked member of a document, to bound memory."""


def is_readable(suffix: str) -> bool:
    """Whether the package for a format is installed."""
    return suffix not in PACKAGES or find_spec(PACKAGES[suffix]) is not None


def strip_markup(text: str, suffix: str) -> str:
    """The text of HTML or Markdown: blocks separated by blank lines, lists and tables by lines."""
    stripped = html_text(text) if suffix in HTML else markdown_text(text)
    return stripped + "\n" if stripped and text.endswith("\n") else stripped


def markdown_text(text: str) -> str:
    """The text of Markdown, with the line breaks of the source."""
    from markdown_it import MarkdownIt

    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)  # YAML front matter
    return html_text(MarkdownIt("commonmark", {"breaks": True}).enable("table").render(text))


def html_text(text: str) -> str:
    """The text of HTML, without scripts, styles and the head."""
    parser = _Text()
    parser.feed(text)
    parser.close()
    return parser.text()


def document_text(path: Path, location: str, suffix: str) -> str:
    """The text of a Word, EPUB or PDF file.

    Raises:
        WenmoError: it is damaged or encrypted, or the required package is not installed.
    """
    read = {".docx": _docx, ".epub": _epub, ".pdf": _pdf}[suffix]
    with _document(path, location, suffix) as file:
        return read(file)


def sheet_texts(path: Path, location: str, suffix: str) -> Iterator[str]:
    """The first nonempty sheet of a spreadsheet, as CSV.

    Raises:
        WenmoError: as ``document_text``.
    """
    with _document(path, location, suffix) as file:
        _, rows = _sheets(file)[0]
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(map(_cell, row))
        yield line.getvalue()


def other_sheets(path: Path, location: str, suffix: str) -> list[str]:
    """The names of the nonempty sheets that are not read."""
    with _document(path, location, suffix) as file:
        return [name for name, _ in _sheets(file)[1:]]


@contextmanager
def _document(path: Path, location: str, suffix: str) -> Iterator[IO[bytes]]:
    """The bytes of a document; any library error becomes a one-line error."""
    if not is_readable(suffix):
        raise WenmoError(f"{location}: reading {suffix} files requires: {INSTALL}")
    try:
        with opened(path, location) as stream, seekable(stream) as file:
            yield file
    except WenmoError:
        raise
    except Exception as error:  # the libraries raise errors of many types
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise WenmoError(f"{location}: not a readable {suffix} file: {reason}") from None


def _docx(file: IO[bytes]) -> str:
    import mammoth

    no_images = mammoth.images.img_element(lambda _: {"src": ""})
    return html_text(mammoth.convert_to_html(file, convert_image=no_images).value)


def _pdf(file: IO[bytes]) -> str:
    from pypdf import PdfReader

    return "\n\n".join(page.extract_text() for page in PdfReader(file).pages)


def _epub(file: IO[bytes]) -> str:
    """The chapters in reading order (EPUB 3.3: the container names the package document, whose
    spine lists them).
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
    """The nonempty sheets, by name."""
    from python_calamine import CalamineWorkbook

    book = CalamineWorkbook.from_filelike(file)
    sheets = [(name, book.get_sheet_by_name(name).to_python()) for name in book.sheet_names]
    found = [(name, rows) for name, rows in sheets if rows]
    if not found:
        raise ValueError("all sheets are empty")
    return found


def _cell(value: Any) -> str:
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if is_whole else value)


class _Text(HTMLParser):
    """Collects the visible text of HTML."""

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
        self.newlines = 2  # at the end of the collected text

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.hidden += tag in self.HIDDEN
        self.verbatim += tag == "pre"
        self._break(tag)
        if tag in ("td", "th"):
            self.parts.append("\t")

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.HIDDEN:
            self.hidden = max(0, self.hidden - 1)
        if tag == "pre":
            self.verbatim = max(0, self.verbatim - 1)
        if tag != "br":
            self._break(tag)

    def _break(self, tag: str) -> None:
        needed = 2 if tag in self.BLOCKS else 1 if tag in self.LINES else 0
        if tag == "br":
            needed = self.newlines + 1
        self.parts.append("\n" * (needed - self.newlines))
        self.newlines = max(needed, self.newlines)

    def handle_data(self, data: str) -> None:
        if self.hidden:
            return
        if not self.verbatim:  # a line break is a space, except between CJK characters
            data = re.sub(rf"(?<=[{self._wide}])[ \t]*\n[ \t]*(?=[{self._wide}])", "", data)
            data = re.sub(r"[ \t\r\n\f]+", " ", data)
        self.parts.append(data)
        if data.strip():
            self.newlines = 0

    def text(self) -> str:
        """The collected text, with stripped lines and at most one blank line in a row."""
        cells = re.sub(r" *\t *", "\t", "".join(self.parts))
        lines = (line.strip(" \t") for line in cells.split("\n"))
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
