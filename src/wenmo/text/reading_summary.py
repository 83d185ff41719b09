"""Summaries of how data was read: lines for users, and plain values."""

from __future__ import annotations

from typing import Any

from wenmo.text.config import ReadConfig
from wenmo.text.conversations import group_by_role, rows_left_out
from wenmo.text.formats import listed
from wenmo.text.readers import Reader
from wenmo.types import amount

FORMAT_NAMES = {
    ".txt": "plain text",
    ".md": "Markdown",
    ".markdown": "Markdown",
    ".htm": "HTML",
    ".xhtml": "HTML",
    ".docx": "Word",
    ".xlsx": "Excel",
    ".xls": "Excel",
    ".ods": "OpenDocument",
    ".jsonl": "JSONL",
    ".ndjson": "JSONL",
    ".json": "JSON",
    ".csv": "CSV",
    ".tsv": "TSV",
    ".parquet": "Parquet",
    ".tmx": "TMX",
    ".whatsapp": "a chat exported from WhatsApp",
    ".wechat": "a chat exported from WeChat",
}
MAX_SPEAKERS = 8
"""Maximum number of speakers shown."""

PLAIN = ("plain text", "Markdown", "HTML", "Word", "EPUB", "PDF")


def format_of(reader: Reader) -> str:
    """The formats of the files, in words."""
    names = dict.fromkeys(
        FORMAT_NAMES.get(suffix, suffix[1:].upper() or "plain text") for suffix in reader.suffixes
    )
    return " and ".join(names) + (", two files side by side" if reader.parallel else "")


def encoding_of(reader: Reader) -> str:
    """The encodings of the files, in words; empty without text files."""
    return " and ".join(
        dict.fromkeys(
            each.name + (" (guessed)" if each.guessed else "") for each in reader.encodings.values()
        )
    )


def reading_line(reader: Reader, read: ReadConfig, fields: str | None) -> str:
    """Encoding, format and fields in one line."""
    format_ = format_of(reader)
    lines = [encoding_of(reader), format_]
    if any(format_.startswith(name) for name in PLAIN) and not reader.parallel:
        lines.append(f"a {read.unit} is a record")
    line = f"{reader.name}: {', '.join(filter(None, lines))}"
    return f"{line}; {fields}" if fields else line


def counts_of(reader: Reader) -> dict[str, Any]:
    """The counts of the latest pass, as plain values."""
    counts = reader.counts
    return {
        "files": counts.files,
        "bytes": counts.bytes,
        "records": counts.records,
        "missing": counts.missing,
        "missing_values": dict(counts.missing_values),
        "system_lines": counts.system_lines,
        "nuls": counts.nuls,
        "skipped_files": dict(reader.skipped_files),
        "findings": list(reader.findings),
        "rows": counts.rows,
        "rows_left_out": group_by_role(counts.rows_left_out),
        "replies": [name for name, _ in counts.replies.most_common(MAX_SPEAKERS)],
        "speakers": [name for name, _ in counts.speakers.most_common(MAX_SPEAKERS)],
    }


def counts_line(counts: dict[str, Any]) -> str:
    """What was read, what was left out and why, in one line.

    Args:
        counts: from `counts_of`.
    """
    if counts["rows"]:
        return "; ".join(_row_counts(counts))
    left_out = []
    if counts["missing"]:
        left_out.append(f"{counts['missing']:,} without a text, or that give no example")
    if counts["system_lines"]:
        left_out.append(
            f"{amount(counts['system_lines'], 'message')} without text, or that nobody wrote"
        )
    if counts["nuls"]:
        left_out.append(amount(counts["nuls"], "NUL character"))
    line = f"{amount(counts['records'], 'record')} in {amount(counts['files'], 'file')}"
    if left_out:
        line += f"; left out: {', '.join(left_out)}"
    if counts["missing_values"]:
        words = ", ".join(f"{n:,} × {word}" for word, n in counts["missing_values"].items())
        line += f"; read as missing: {words} (missing_values=[] reads them as text)"
    return "; ".join([line, *(_finding(each) for each in counts["findings"])])


def _row_counts(counts: dict[str, Any]) -> list[str]:
    """The counts of a table with one message per row; messages and omitted rows add up to all
    rows.
    """
    left_out = counts["rows_left_out"]
    messages = counts["rows"] - sum(sum(words.values()) for words in left_out.values())
    line = (
        f"{amount(counts['rows'], 'row')}: {amount(messages, 'message')} in "
        f"{amount(counts['records'], 'conversation')} in {amount(counts['files'], 'file')}"
    )
    if counts["missing"]:
        line += f" ({counts['missing']:,} without a reply)"
    lines = [line]
    if left_out:
        lines.append(f"left out: {', '.join(rows_left_out(left_out))}")
    if counts["nuls"]:
        lines.append(f"left out: {amount(counts['nuls'], 'NUL character')}")
    if any(word != "empty" for words in left_out.values() for word in words):
        lines.append("missing_values=[] reads such words as text")
    return [*lines, *map(_finding, counts["findings"])]


def replies_line(counts: dict[str, Any]) -> str | None:
    """Which turns of conversations are learned, in one line; ``None`` if there are none.

    Args:
        counts: from `counts_of`.
    """
    named = [name for name in counts["replies"] if name]
    if named and "" in counts["replies"]:
        remark = "where they say nothing, every turn after the first is a reply"
        return f"learnt: replies of: {listed(named)}; {remark}"
    if named:
        return f"learnt: replies of: {listed(named)}"
    if not counts["replies"]:
        return None
    line = "learnt: every turn after the first is a reply"
    if len(counts["speakers"]) > 1:
        line += f"; speakers: {listed(counts['speakers'])} (reply_speakers=NAME learns one's alone)"
    return line


def _finding(line: str) -> str:
    return line.rpartition(": ")[2] if line.count(": ") == 1 else line
