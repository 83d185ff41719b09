"""What a chat model is told, in the language of the outline.

The messages are short, without Markdown, and end with what is to be done: small models repeat the
structure of what they are shown.
"""

from __future__ import annotations

from wenmo.longform.context import Context, is_chinese
from wenmo.longform.outline import Outline, Section

ENGLISH = {
    "text": "This is from a text with the sections {titles}.",
    "summary": "What happened before: {summary}",
    "passage": "It has just said:\n{passage}",
    "write": "Write the next passage, “{title}”. {notes}",
    "expand": "Write this passage again at twice its length:\n{text}",
    "continue": "Continue this passage:\n{text}",
    "summarize": "Summarize this passage in one sentence:\n{text}",
    "separator": ", ",
    "space": " ",
}
CHINESE = {
    "text": "这是一篇文章，各节依次是：{titles}。",
    "summary": "前情：{summary}",
    "passage": "上文的结尾是：\n{passage}",
    "write": "请写接下来的一节“{title}”。{notes}",
    "expand": "请把这一段扩写为两倍的长度：\n{text}",
    "continue": "请续写这一段：\n{text}",
    "summarize": "请用一句话概括这一段：\n{text}",
    "separator": "、",
    "space": "",
}


def section_message(outline: Outline, section: Section, context: Context) -> str:
    """The message that asks for a section's text."""
    words = _words(outline)
    titles = words["separator"].join(f"“{each.title}”" for each in outline.sections)
    blocks = [words["text"].format(titles=titles)]
    if context.summary:
        blocks.append(words["summary"].format(summary=words["space"].join(context.summary)))
    if context.passage:
        blocks.append(words["passage"].format(passage=context.passage))
    blocks.append(words["write"].format(title=section.title, notes=section.notes).rstrip())
    return "\n\n".join(blocks)


def revision_message(outline: Outline, text: str, revision: str) -> str:
    """The message that asks for a longer text, or for what follows it."""
    return _words(outline)[revision].format(text=text)


def summary_message(outline: Outline, text: str) -> str:
    """The message that asks for a summary."""
    return _words(outline)["summarize"].format(text=text)


def _words(outline: Outline) -> dict[str, str]:
    titles = [heading.title for heading in outline.headings]
    notes = [section.notes for section in outline.sections]
    return CHINESE if is_chinese(" ".join([*titles, *notes])) else ENGLISH
