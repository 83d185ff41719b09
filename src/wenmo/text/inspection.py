"""What training would read of some data, found out without any training."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from wenmo.config import override, split_table, to_dict, to_settings
from wenmo.results import Result
from wenmo.text import corpus as corpora
from wenmo.text.choosing import choose
from wenmo.text.config import ReadConfig, SplitConfig, TaskConfig
from wenmo.text.inputs import Source, rereadable
from wenmo.text.objects import as_source
from wenmo.text.readers import Reader
from wenmo.text.reading_summary import counts_line, counts_of, format_of, reading_line, replies_line
from wenmo.text.spool import Spool
from wenmo.text.suggestions import Sample, suggestions, warnings
from wenmo.text.tasks import Example, examples, open_records

SAMPLES = 3
LONGEST_SAMPLE = 500
SAMPLE_TEXT = 1 << 20
"""Characters of the text on which suggestions rest."""


@dataclass(frozen=True)
class Inspection(Result):
    """What training would read.

    Attributes:
        data: what the user calls it.
        task: what would be learnt from it.
        format: of the files, in words.
        encodings: the name of each encoding, whether it was guessed, and how many files have it.
        fields: which field holds the text, the source and so on, by its role.
        unused_fields: the others.
        counts: what was met: see `wenmo.text.reading_summary.counts_of`; and ``examples`` and
            ``characters`` (of the texts, or of the targets).
        split: ``train`` and ``valid``, each with its ``records`` (or examples) and ``bytes``, and
            ``held_out``, in words; ``None`` where the data is too small to be split.
        samples: the first examples: ``source`` and ``target``, or ``text``.
        suggestions: what could be done otherwise, a line each.
        warnings: what should be looked at, a line each.
        lines: how it is read, in the lines that training prints, too.
    """

    data: str
    task: str
    format: str
    encodings: list[dict[str, Any]]
    fields: dict[str, str]
    unused_fields: list[str]
    counts: dict[str, Any]
    split: dict[str, Any] | None
    samples: list[dict[str, str]]
    suggestions: list[str]
    warnings: list[str]
    lines: list[str]


def inspect(
    data: Source | Iterable[Any],
    *,
    task: str | None = None,
    target: Source | None = None,
    settings: Sequence[str] | Mapping[str, Any] = (),
    **more: Any,
) -> Inspection:
    """Find out what training would read: encoding, format, fields, counts, split and samples.

    Args:
        data: a file, a folder or records in memory, as `wenmo.fit` takes them.
        task: what to learn; ``None``: completion.
        target: the texts that answer the lines of ``data``, a line each.
        settings: how to read and split it, as ``key=value`` of the tables ``read``, ``task`` and
            ``split``.
        **more: further settings by their short names: ``text_field="text", encoding="gb18030"``.

    Raises:
        WenmoError: it cannot be read, or it is not clear which field holds what.
    """
    given = [*to_settings(settings), *to_settings(more), *([f"task.name={task}"] if task else [])]
    read, learnt, split = _configs(given)
    data = as_source(data)
    target = target and rereadable(target)
    choice = choose(data, read, learnt, target)
    reader = open_records(data, choice.read, learnt, target)
    with tempfile.TemporaryDirectory(prefix="wenmo-") as folder:
        whole = corpora.spool_records(Path(folder), reader, learnt)
        characters, sample = _measured(whole)
        parts, notes = _parts(whole, learnt, split)
    counts = counts_of(reader) | {"characters": characters, "examples": whole.records}
    made = [*islice(_examples(reader, learnt), SAMPLES)]
    return Inspection(
        data=reader.name,
        task=learnt.name,
        format=format_of(reader),
        encodings=_encodings(reader),
        fields=dict(choice.roles),
        unused_fields=list(choice.unused),
        counts=counts,
        split=parts,
        samples=[_shown(each, learnt) for each in made],
        suggestions=suggestions(choice, learnt, sample),
        warnings=[*reader.notes, *notes, *warnings(counts, sample)],
        lines=[
            reading_line(reader, choice.read, choice.note),
            counts_line(counts),
            *filter(None, [replies_line(counts)]),
        ],
    )


def _configs(settings: Sequence[str]) -> tuple[ReadConfig, TaskConfig, SplitConfig]:
    """The settings of reading, task and split."""
    read, task, split = ReadConfig(), TaskConfig(), SplitConfig()
    tables = {"read": to_dict(read), "task": to_dict(task), "split": to_dict(split)}
    changes: dict[str, list[str]] = {name: [] for name in tables}
    for setting in settings:
        table, rest = split_table(setting, {name: list(keys) for name, keys in tables.items()})
        changes[table].append(rest)
    return (
        override(read, changes["read"], prefix="read."),
        override(task, changes["task"], prefix="task."),
        override(split, changes["split"], prefix="split."),
    )


def _parts(
    whole: Spool, task: TaskConfig, split: SplitConfig
) -> tuple[dict[str, Any] | None, list[str]]:
    """The split, and what is to be said of it."""
    train, valid, held_out, _ = corpora.split_spool(whole, task, split)
    if valid.records == 0 or train.records == 0:
        return None, [corpora.nothing_held_out(whole)]
    parts = {
        "train": {"records": train.records, "bytes": train.bytes},
        "valid": {"records": valid.records, "bytes": valid.bytes},
        "held_out": held_out,
    }
    return parts, corpora.leakage_notes(train, valid)


def _measured(whole: Spool) -> tuple[int, Sample]:
    """The characters of the records, or of the targets, and the beginning of them."""
    characters, texts, held, in_source = 0, [], "", whole.groups is not None
    for piece, ends in whole.pieces():
        if not in_source:
            characters += len(piece)
            if characters <= SAMPLE_TEXT:
                held += piece
                if ends:
                    texts.append(held)
                    held = ""
        in_source ^= ends and whole.groups is not None
    return characters, Sample([*texts, held] if held else texts, characters)


def _examples(reader: Reader, task: TaskConfig) -> Any:
    return (each for record in reader for each in examples(record, task))


def _shown(example: Example, task: TaskConfig) -> dict[str, str]:
    source, target = (
        text if len(text) <= LONGEST_SAMPLE else text[:LONGEST_SAMPLE] + "…" for text in example
    )
    return {"source": source, "target": target} if task.paired else {"text": target}


def _encodings(reader: Reader) -> list[dict[str, Any]]:
    found = list(reader.encodings.values())
    return [
        {"name": each.name, "guessed": each.guessed, "files": found.count(each)}
        for each in dict.fromkeys(found)
    ]
