"""What could be done otherwise with some data, and what should be looked at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from statistics import median
from textwrap import shorten
from typing import Any

from wenmo.text.choosing import Choice
from wenmo.text.config import TaskConfig
from wenmo.types import amount

SHORT_LINE = 60
"""Lines of at most so many characters may be records of their own."""

FEWEST_LINES = 20
FEW_RECORDS = 20
WORDS_FROM, WORDS_TO = 20_000, 2_000_000  # measured in docs/experiments.md
"""Between so many words of prose, a tokenizer of words invents none where characters do."""

MOST_MISSING = 0.1
MOST_TWICE = 0.05
SHOWN_CHARACTERS = 40  # of a text that is repeated


@dataclass(frozen=True)
class Sample:
    """The beginning of a text: its first records, and the characters of all of it."""

    texts: list[str]
    characters: int


def suggestions(choice: Choice, task: TaskConfig, sample: Sample) -> list[str]:
    """What could be done otherwise, a line each.

    Args:
        choice: how the data is read.
        task: what is learnt from it.
        sample: of its text.
    """
    found = list(choice.hints)
    if choice.plain and choice.read.unit == "document":
        found += _unit(sample)
    words = len(re.findall(r"[^\W\d_]+", "".join(sample.texts)))
    spaced = sum(text.count(" ") for text in sample.texts) > 0.1 * sum(map(len, sample.texts))
    seen = sum(map(len, sample.texts)) or 1
    estimated = words * sample.characters / seen
    if spaced and WORDS_FROM <= estimated <= WORDS_TO and task.name == "completion":
        found.append(
            "--tokenizer words min_count=1: of prose of this size, a model of characters invents "
            "3 to 15 words in a hundred"  # docs/experiments.md
        )
    return found


def _unit(sample: Sample) -> list[str]:
    lines = [line for text in sample.texts for line in text.split("\n")]
    filled = [line for line in lines if line.strip()]
    if len(filled) < FEWEST_LINES or median(map(len, filled)) > SHORT_LINE:
        return []
    blanks = len(lines) - len(filled)
    if blanks > 0.1 * len(filled):
        return ["--unit paragraph: blank lines part short blocks, which may be records"]
    return ["--unit line: the lines are short, and each may be a record"]


def warnings(counts: dict[str, Any], sample: Sample) -> list[str]:
    """What should be looked at, a line each.

    Args:
        counts: see `wenmo.text.reading_summary.counts_of`.
        sample: of the text.
    """
    found = []
    records, missing = counts["records"], counts["missing"]
    rows = counts["rows"]
    rows_left_out = sum(sum(words.values()) for words in counts["rows_left_out"].values())
    if rows_left_out > MOST_MISSING * rows:
        found.append(f"{rows_left_out:,} of {rows:,} rows are left out")
    if not rows and missing > MOST_MISSING * (records + missing):
        found.append(f"{missing:,} of {records + missing:,} records are left out")
    if 1 < records < FEW_RECORDS:
        found.append(f"only {amount(records, 'record')}: held-out figures will say little")
    text = "".join(sample.texts)
    if bad := text.count("\ufffd"):
        found.append(f"{bad:,} × U+FFFD: characters were lost before wenmo read the file")
    return found + _repeated(sample.texts)


def _repeated(texts: list[str]) -> list[str]:
    """How many texts repeat an earlier one, with the first that does."""
    first: dict[str, int] = {}
    repeats = [
        (number, first[text])
        for number, text in enumerate(texts, 1)
        if first.setdefault(text, number) < number
    ]
    if len(repeats) <= MOST_TWICE * len(texts):
        return []
    number, earlier = repeats[0]
    shown = shorten(texts[number - 1], SHOWN_CHARACTERS, placeholder="…")
    return [
        f"{len(repeats):,} of the first {len(texts):,} texts repeat an earlier one: "
        f"text {number:,} is text {earlier:,} again ({shown})"
    ]
