"""Which fields a task reads, where the user does not say: by names, by what rows hold, or asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from wenmo.text import sniffing
from wenmo.text.field_names import (
    GROUP_COLUMNS,
    MESSAGE_COLUMNS,
    SPEAKER_COLUMNS,
    TURN_NAMES,
    find_pair,
    known_field,
)
from wenmo.text.fields import names_of
from wenmo.text.formats import HINT, ReadConfig, by_number, listed, spread
from wenmo.text.inputs import Source, check_path
from wenmo.text.readers import CHATS, Reader, without_fields
from wenmo.text.tasks import PAIRS, TaskConfig
from wenmo.types import WenmoError

SAMPLE_ROWS = 50
SAMPLE_LINES = 200
TABLES = (".csv", ".tsv")

Rows = Sequence[Mapping[str, Any]]
Sample = tuple[str, str, Rows]
Chosen = tuple[ReadConfig, str | None]


def choose_fields(
    path: Source, read: ReadConfig, task: TaskConfig, target: Source | None
) -> Chosen:
    """Name the fields that a task needs, by those the file has, as far as the user did not.

    Args:
        path: the data.
        read: how it is read; what is chosen there stays.
        task: what is to be learnt from it.
        target: parallel files: the other one, which leaves nothing to choose.

    Returns:
        How the data is read, and a line for the user where something was assumed.

    Raises:
        WenmoError: the file holds nothing of the kind, or it is not clear which field does.
    """
    check_path(path)
    if target is not None:
        _check_parallel(read, task)
        return read, None
    if task.name == "dialogue":
        if read.text_field and not read.group_field:
            return read, None
    elif task.name not in PAIRS or (read.source_field and read.text_field):
        return read, None
    sampled = None
    if str(path) != "-":  # what comes through a pipe comes once
        sampled, read = _sampled(path, read)
    if task.name == "dialogue":
        return _choose_turns(path, read, sampled)
    if sampled is None:
        raise WenmoError(f"{path}: no pairs, only {_no_pairs(read)}")
    place, kind, rows = sampled
    if kind in TABLES:
        return _choose_columns(read, place, rows, task.control)
    return _choose_pair(read, place, [*names_in(rows)], task.control)


def _sampled(path: Source, read: ReadConfig) -> tuple[Sample | None, ReadConfig]:
    """The first rows, and how the data is read: a plain text may turn out to be something else."""
    reader = Reader(path, replace(without_fields(read), format=read.format))
    sampled = reader.first_rows(SAMPLE_ROWS)
    if sampled is not None or read.format is not None:
        return sampled, read
    read = replace(read, format=sniffing.sniff(reader.first_lines(SAMPLE_LINES)))
    if read.format == "tsv":
        sampled = Reader(path, replace(without_fields(read), format="tsv")).first_rows(SAMPLE_ROWS)
    return sampled, read


def names_in(rows: Rows) -> dict[str, None]:
    """Every field of some rows, those of nested objects with dots, in their order."""
    return {name: None for row in rows for name in names_of(row)}


def unused(names: Sequence[str], read: ReadConfig, control: Sequence[str]) -> list[str]:
    """The fields that are not read."""
    used = {each for field in (*read.fields, *control) for each in spread(field, names)}
    return [name for name in names if not any(_covers(field, name) for field in used)]


def _covers(field: str, name: str) -> bool:
    return name == field or name.startswith(f"{field}.")


def _no_pairs(read: ReadConfig) -> str:
    if f".{read.format}" in CHATS:
        return "a chat: pass --task dialogue"
    return (
        "texts: give the lines that answer it (--target FILE), or a file with both sides (.jsonl, "
        ".csv, .tsv, .parquet, .tmx)"
    )


def _check_parallel(read: ReadConfig, task: TaskConfig) -> None:
    if task.name not in PAIRS:
        raise WenmoError(
            f"a target file belongs to pairs, not to {task.name}: say --task {' or '.join(PAIRS)}"
        )
    if read.fields:
        raise WenmoError(
            "parallel files have no fields: leave out --source-field and --text-field, or the "
            "target file"
        )


# -- conversations -------------------------------------------------------------------------------


def _choose_turns(path: Source, read: ReadConfig, sampled: Sample | None) -> Chosen:
    if f".{read.format}" in CHATS:
        program = "WhatsApp" if read.format == "whatsapp" else "WeChat"
        return read, f"{path}: a chat exported from {program}"
    if sampled is None:
        raise WenmoError(
            f"{path}: no conversations: give JSONL, JSON or Parquet in which a field holds a list "
            "of turns, a table with a message a row, or a chat exported from WhatsApp or WeChat"
        )
    place, kind, rows = sampled
    if kind in TABLES:
        rows = _with_header(rows)
    names = [*names_in(rows)]
    turns = known_field(names, TURN_NAMES)
    if turns and not read.group_field and kind not in TABLES:
        return _told(replace(read, text_field=turns), place, names, f"turns: {turns}")
    group = read.group_field or known_field(names, GROUP_COLUMNS)
    if group is not None:
        return _choose_messages(read, place, names, group)
    pair = find_pair(names, read.source_field, read.text_field)
    if pair is not None:
        chosen = replace(read, source_field=pair[0], text_field=pair[1])
        return _told(chosen, place, names, f"user: {_and(pair[0])}; assistant: {pair[1]}")
    raise WenmoError(
        f"{place}: which field holds the turns? pass --text-field NAME, one of: {listed(names)}; "
        "for a message a row, pass --group-field NAME with the field that names the conversation"
    )


def _choose_messages(read: ReadConfig, place: str, names: Sequence[str], group: str) -> Chosen:
    left = [name for name in names if name != group]
    text = read.text_field or known_field(left, MESSAGE_COLUMNS)
    if text is None:
        raise WenmoError(
            f"{place}: which field holds the messages of {group}? pass --text-field NAME, one of: "
            f"{listed(left)}"
        )
    speakers = [name for name in left if name != text]
    speaker = read.speaker_field or known_field(speakers, SPEAKER_COLUMNS)
    chosen = replace(read, group_field=group, text_field=text, speaker_field=speaker)
    said = f"a message a row, conversations by {group}; message: {text}"
    return _told(chosen, place, names, said + (f"; speaker: {speaker}" if speaker else ""))


def _with_header(rows: Rows) -> Rows:
    """Rows of a table whose columns are numbered, by the names in its first row."""
    names = [str(cell) for cell in rows[0].values()]
    return [dict(zip(names, row.values(), strict=False)) for row in rows[1:] or rows]


# -- pairs ---------------------------------------------------------------------------------------


def _choose_pair(
    read: ReadConfig, place: str, names: Sequence[str], control: tuple[str, ...]
) -> Chosen:
    sides = [name for name in names if name not in control]
    found = find_pair(sides, read.source_field, read.text_field)
    if found is None:
        raise WenmoError(f"{place}: {_which_sides(names)}")
    return _pair(read, place, names, found, control)


def _choose_columns(read: ReadConfig, place: str, rows: Rows, control: tuple[str, ...]) -> Chosen:
    """The columns of a table, whose first row may be a header or a pair."""
    cells = [[str(cell) for cell in row.values()] for row in rows]
    numbered = by_number(read.fields)
    names = list(rows[0]) if numbered else cells[0]
    sides = [name for name in names if name not in control]
    found = find_pair(sides, read.source_field, read.text_field)
    if found is not None:
        return _pair(read, place, names, found, control)
    columns = sniffing.text_columns(cells)
    if len(columns) != 2 or read.fields or control:
        raise WenmoError(f"{place}: {_which_sides(names)}; {HINT}")
    source, text = columns
    first = [cells[0][column] for column in columns]
    has_header = sniffing.header([[row[column] for column in columns] for row in cells])
    if has_header is None:
        raise WenmoError(
            f"{place}: is the first line a header, or a pair ({listed(first)})? a header: "
            f"--source-field {_quoted(first[0])} --text-field {_quoted(first[1])}; a pair: "
            f"--source-field {source + 1} --text-field {text + 1}"
        )
    if has_header:
        return _pair(read, place, names, (first[0], first[1]), control)
    chosen = replace(read, source_field=str(source + 1), text_field=str(text + 1))
    left = [f"column {number}" for number in unused(list(rows[0]), chosen, control)]
    note = f"no header line; source: column {source + 1}; target: column {text + 1}"
    return chosen, f"{place}: {note}{_not_used(left)}"


def _pair(
    read: ReadConfig,
    place: str,
    names: Sequence[str],
    found: tuple[str, str],
    control: tuple[str, ...],
) -> Chosen:
    chosen = replace(read, source_field=found[0], text_field=found[1])
    return _told(chosen, place, names, f"source: {_and(found[0])}; target: {found[1]}", control)


def _told(
    read: ReadConfig,
    place: str,
    names: Sequence[str],
    said: str,
    control: tuple[str, ...] = (),
) -> Chosen:
    """The choice, and the line that tells of it and of the fields that are left."""
    return read, f"{place}: {said}{_not_used(unused(names, read, control))}"


def _not_used(names: Sequence[str]) -> str:
    return f"; not used: {listed(names)}" if names else ""


def _which_sides(names: Sequence[str]) -> str:
    return (
        "which fields hold source and target? pass --source-field NAME and --text-field NAME, two "
        f"of: {listed(names)}"
    )


def _and(field: str) -> str:
    return field.replace(",", " and ")


def _quoted(name: str) -> str:
    return f'"{name}"' if " " in name else name
