"""What a section sees of the text before it, within a number of tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wenmo.longform.draft import Draft
from wenmo.longform.outline import Outline, Section

SENTENCE = re.compile(r".+?(?:[。！？!?…]+[”’」』]*|\.(?=\s|$)|\n|$)", re.DOTALL)
HAN = re.compile(r"[㐀-鿿]")

Count = Callable[[str], int]
"""The number of tokens of a text."""


@dataclass(frozen=True)
class Context:
    """What stands before a section.

    Attributes:
        summary: a line on each earlier section, the first one first.
        passage: the text just before the section.
    """

    summary: tuple[str, ...]
    passage: str


def context_of(
    outline: Outline, draft: Draft, section: Section, count: Count, budget: int
) -> Context:
    """The context of a section, of at most ``budget`` tokens.

    A summary takes at most half of them; the lines of the nearest sections are kept.
    """
    before = [each for each in draft.sections if each.number < section.number]
    summary: tuple[str, ...] = ()
    if outline.settings.carry == "summary":
        lines = [each.summary or first_sentence(each.text) for each in before[:-1]]
        summary = tuple(last_that_fit(lines, count, budget // 2))
    left = budget - sum(map(count, summary))
    text = "\n\n".join(each.text.strip() for each in before)
    return Context(summary, last_sentences(text, count, left))


def last_that_fit(texts: Sequence[str], count: Count, budget: int) -> list[str]:
    """The longest end of a list whose tokens are within the budget."""
    kept: list[str] = []
    for text in reversed(texts):
        budget -= count(text)
        if budget < 0:
            break
        kept.insert(0, text)
    return kept


def last_sentences(text: str, count: Count, budget: int) -> str:
    """The end of a text, of whole sentences; where not even one fits, its last characters."""
    sentences = SENTENCE.findall(text)
    kept = "".join(last_that_fit(sentences, count, budget)).lstrip()
    if kept or not sentences or budget <= 0:
        return kept
    last = sentences[-1]
    while last and count(last) > budget:
        last = last[max(1, len(last) // 8) :]
    return last


def first_sentence(text: str) -> str:
    """The first sentence of a text, in one line."""
    found = SENTENCE.match(text.strip())
    return " ".join(found[0].split()) if found else ""


def is_chinese(text: str) -> bool:
    """Whether a text has more Chinese characters than words in other scripts."""
    return len(HAN.findall(text)) > len(re.findall(r"[A-Za-z]+", text))
