"""What a chat model is told, in the language of the outline."""

from __future__ import annotations

from wenmo.longform.context import Context, is_chinese
from wenmo.longform.outline import Outline, Section

ENGLISH = {
    "outline": "This is the outline of a text:",
    "summary": "What happens before:",
    "passage": "The text so far ends like this:",
    "write": "Write section {number}, “{title}”. Write only its text, without a heading.",
    "notes": "It is about this:",
    "expand": "Rewrite this section at twice its length. Write only its text.",
    "continue": "Continue this section. Write only what follows.",
    "summarize": "Summarize this text in one sentence:",
}
CHINESE = {
    "outline": "这是一篇文章的提纲：",
    "summary": "前情：",
    "passage": "上文的结尾：",
    "write": "请写第 {number} 节“{title}”的正文。只写正文，不要写标题。",
    "notes": "这一节的内容：",
    "expand": "请把这一节扩写为两倍的长度。只写正文。",
    "continue": "请续写这一节。只写接下去的内容。",
    "summarize": "请用一句话概括这段文字：",
}


def section_message(outline: Outline, section: Section, context: Context) -> str:
    """The message that asks for a section's text."""
    words = _words(outline)
    headings = "\n".join(f"{'#' * each.level} {each.title}" for each in outline.headings)
    blocks = [f"{words['outline']}\n{headings}"]
    if context.summary:
        blocks.append("\n".join([words["summary"], *context.summary]))
    if context.passage:
        blocks.append(f"{words['passage']}\n{context.passage}")
    blocks.append(words["write"].format(number=section.number, title=section.title))
    if section.notes:
        blocks.append(f"{words['notes']}\n{section.notes}")
    return "\n\n".join(blocks)


def revision_message(outline: Outline, text: str, revision: str) -> str:
    """The message that asks for a longer text, or for what follows it."""
    return f"{_words(outline)[revision]}\n\n{text}"


def summary_message(outline: Outline, text: str) -> str:
    """The message that asks for a summary."""
    return f"{_words(outline)['summarize']}\n\n{text}"


def _words(outline: Outline) -> dict[str, str]:
    titles = [heading.title for heading in outline.headings]
    notes = [section.notes for section in outline.sections]
    return CHINESE if is_chinese(" ".join([*titles, *notes])) else ENGLISH
