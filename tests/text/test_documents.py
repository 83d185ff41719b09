"""The text of documents in each format."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from wenmo.text import documents
from wenmo.text.config import ReadConfig
from wenmo.text.documents import html_text, markdown_text
from wenmo.text.readers import Reader
from wenmo.types import WenmoError

HTML = """<html><head><title>no</title><style>p { x }</style></head><body><h1>春晓</h1>
<p>春眠不觉晓，
处处闻啼鸟。<br>夜来 &amp; <b>风雨</b>声</p><script>no()</script>
<ul><li>one</li><li>two
three</li></ul></body></html>
"""
SEEN = "春晓\n\n春眠不觉晓，处处闻啼鸟。\n夜来 & 风雨声\n\none\ntwo three"


def write_zip(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def only_text(path: Path, **options: str) -> str:
    [record] = Reader(path, ReadConfig(**options))
    return record.text


def docx(path: Path) -> Path:
    main = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    types = "http://schemas.openxmlformats.org/package/2006/content-types"
    links = "http://schemas.openxmlformats.org/package/2006/relationships"
    document = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    members = {
        "[Content_Types].xml": f'<Types xmlns="{types}"><Override PartName="/word/document.xml" '
        f'ContentType="{kind}"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{links}"><Relationship Id="r1" Type="{document}" '
        'Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{main}"><w:body>'
        "<w:p><w:r><w:t>春眠不觉晓</w:t></w:r></w:p><w:p><w:r><w:t>second</w:t></w:r></w:p>"
        "</w:body></w:document>",
    }
    return write_zip(path, **members)


def epub(path: Path) -> Path:
    members = {
        "META-INF/container.xml": '<c xmlns="urn:c"><rootfile full-path="in/book.opf"/></c>',
        "in/book.opf": '<package xmlns="urn:p"><manifest>'
        '<item id="b" href="b.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="a" href="a%20one.xhtml" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="a"/><itemref idref="b"/></spine></package>',
        "in/a one.xhtml": "<html><body><p>first chapter</p></body></html>",
        "in/b.xhtml": "<html><body><p>第二章</p></body></html>",
    }
    return write_zip(path, **members)


def xlsx(path: Path, *sheets: list[list[str]]) -> Path:
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    links = "http://schemas.openxmlformats.org/package/2006/relationships"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    numbers = range(1, len(sheets) + 1)
    named = "".join(f'<sheet name="S{n}" sheetId="{n}" r:id="r{n}"/>' for n in numbers)
    linked = "".join(
        f'<Relationship Id="r{n}" Type="{office}/worksheet" Target="worksheets/s{n}.xml"/>'
        for n in numbers
    )
    members = {
        "_rels/.rels": f'<Relationships xmlns="{links}"><Relationship Id="r" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>{named}</sheets>'
        "</workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{links}">{linked}</Relationships>',
    }
    for number, rows in enumerate(sheets, 1):
        cells = "".join(
            "<row>"
            + "".join(f'<c t="inlineStr"><is><t>{cell}</t></is></c>' for cell in row)
            + "</row>"
            for row in rows
        )
        members[f"xl/worksheets/s{number}.xml"] = (
            f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>'
        )
    return write_zip(path, **members)


def pdf(path: Path) -> Path:
    stream = b"BT /F1 12 Tf 72 700 Td (The mill stands.) Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    content, starts = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        starts.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    end = b"xref\n0 6\n0000000000 65535 f \n%strailer\n<< /Size 6 /Root 1 0 R >>\n" % table
    path.write_bytes(content + end + b"startxref\n%d\n%%%%EOF\n" % len(content))
    return path


def test_visible_text_of_html(tmp_path: Path) -> None:
    assert html_text(HTML) == SEEN
    path = tmp_path / "a.HTML"
    path.write_text(HTML)
    assert only_text(path) == SEEN + "\n"
    assert only_text(path, markup="keep") == HTML
    assert Reader(path).notes == [f"{path}: markup is removed (markup=keep keeps it)"]
    assert Reader(path, ReadConfig(markup="keep")).notes == []


def test_visible_text_of_markdown() -> None:
    source = "---\ntitle: x\n---\n# 春晓\n\n春眠**不觉**晓，\n处处[闻](u)啼鸟。\n\n- `a*b`\n- two\n"
    assert markdown_text(source) == "春晓\n\n春眠不觉晓，\n处处闻啼鸟。\n\na*b\ntwo"
    assert markdown_text("| a | b |\n| - | - |\n| 1 | 2 |\n") == "a\tb\n1\t2"


def test_word_epub_and_pdf(tmp_path: Path) -> None:
    assert only_text(docx(tmp_path / "a.docx")) == "春眠不觉晓\n\nsecond"
    assert only_text(epub(tmp_path / "a.epub")) == "first chapter\n\n第二章"
    assert only_text(pdf(tmp_path / "a.pdf")) == "The mill stands."


def test_spreadsheet_is_a_table(tmp_path: Path) -> None:
    rows = [["title", "text"], ["a", "春眠，不觉晓"], ["b", "two \n lines"]]
    path = xlsx(tmp_path / "a.xlsx", rows, [["other"]])
    reader = Reader(path, ReadConfig(text_field="text"))
    assert [record.text for record in reader] == ["春眠，不觉晓", "two \n lines"]
    assert reader.notes == [f"{path}: sheets that are not read: S2"]


@pytest.mark.parametrize("suffix", [".docx", ".epub", ".pdf", ".xlsx"])
def test_damaged_document_is_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"PK\x03\x04 not such a file")
    with pytest.raises(WenmoError, match=f"not a readable {suffix} file: ") as caught:
        list(Reader(path, ReadConfig(text_field="text" if suffix == ".xlsx" else None)))
    assert "\n" not in str(caught.value)


def test_format_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "find_spec", lambda _: None)
    path = docx(tmp_path / "a.docx")
    with pytest.raises(WenmoError, match=r"reading \.docx files requires: pip install"):
        list(Reader(path))
    (tmp_path / "b.txt").write_text("The mill stands.")
    reader = Reader(tmp_path)
    assert len(list(reader)) == 1
    [note] = reader.notes
    assert note.endswith("not read: 1 .docx (read with pip install 'wenmo[documents]')")
