"""Selection of the fields for a task: by name, by content of the rows, or an error that asks the
user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from wenmo.text import sniffing
from wenmo.text.config import ReadConfig, TaskConfig
from wenmo.text.conversations import check_options
from wenmo.text.field_names import (
    GROUP_COLUMNS,
    MESSAGE_COLUMNS,
    SPEAKER_COLUMNS,
    TURN_NAMES,
    find_pair,
    known_field,
    task_of_pair,
)
from wenmo.text.fields import Fields, names_of
from wenmo.text.formats import HINT, ReadCounts, by_number, listed, split_fields
from wenmo.text.inputs import STANDARD_INPUT, Source, check_path
from wenmo.text.readers import CHAT_SUFFIXES, Reader, without_fields
from wenmo.text.tasks import PAIRS
from wenmo.types import WenmoError

SAMPLE_ROWS = 50
SAMPLE_LINES = 200
TABLES = (".csv", ".tsv")

Rows = Sequence[Mapping[str, Any]]
Sample = tuple[str, str, Rows]


class Choice(NamedTuple):
    """How data is read for a task.

    Attributes:
        read: settings with the selected fields.
        note: description of the selection in one line; ``None``: nothing was selected.
        roles: the field of each role: text, source and so on.
        unused: fields that are not read.
        hints: alternatives, one per line.
        plain: whether the data is text without fields.
    """

    read: ReadConfig
    note: str | None = None
    roles: Mapping[str, str] = {}
    unused: Sequence[str] = ()
    hints: Sequence[str] = ()
    plain: bool = False


def choose_fields(
    path: Source, read: ReadConfig, task: TaskConfig, target: Source | None
) -> tuple[ReadConfig, str | None]:
    """Settings of reading, and a line for the user if fields were selected; see `choose`."""
    return choose(path, read, task, target)[:2]


def choose(path: Source, read: ReadConfig, task: TaskConfig, target: Source | None) -> Choice:
    """Select the fields that a task needs, unless the user did.

    Args:
        path: the data.
        read: settings of reading; fields set there are kept.
        task: settings of the task.
        target: file with the targets of parallel text, which has no fields.

    Raises:
        WenmoError: the file has no such data, or the fields are ambiguous.
    """
    check_path(path)
    check_options(read, turns=task.name == "dialogue")
    if target is not None:
        _check_parallel(read, task)
        return Choice(read)
    sampled = None
    settings = read
    if str(path) != "-":  # a pipe can be read only once
        sampled, read = _sample(path, read)
    if task.name == "dialogue":
        if read.text_field and not read.group_field:
            return _describe(settings, sampled, {"turns": read.text_field}, ())
        return _choose_turns(path, read, sampled)
    if task.name not in PAIRS:
        return _choose_text(settings, read.format, sampled, task)
    if read.source_field and read.text_field:
        roles = {"source": read.source_field, "target": read.text_field}
        return _describe(settings, sampled, roles, task.control)
    if sampled is None:
        raise WenmoError(f"{path}: no pairs, only {_no_pairs(read)}{_no_suffix(path)}")
    location, suffix, rows = sampled
    if suffix in TABLES:
        return _choose_columns(read, location, rows, task.control)
    return _choose_pair(read, location, [*names_in(rows)], task.control)


def _sample(path: Source, read: ReadConfig) -> tuple[Sample | None, ReadConfig]:
    """The first rows, and settings with the detected format of a plain text."""
    reader = Reader(path, replace(without_fields(read), format=read.format))
    sampled = reader.first_rows(SAMPLE_ROWS)
    if sampled is not None or read.format is not None:
        return sampled, read
    lines = reader.first_lines(SAMPLE_LINES)
    read = replace(read, format=sniffing.sniff(lines))
    if read.format is None and str(path) == STANDARD_INPUT and sniffing.is_csv(lines):
        read = replace(read, format="csv")  # a file would have a suffix
    if read.format in ("csv", "tsv"):
        sampled = Reader(path, replace(without_fields(read), format=read.format)).first_rows(
            SAMPLE_ROWS
        )
    return sampled, read


def names_in(rows: Rows) -> dict[str, None]:
    """All fields of rows, nested ones with dots, in order."""
    return {name: None for row in rows for name in names_of(row)}


def unused(names: Sequence[str], read: ReadConfig, control: Sequence[str]) -> list[str]:
    """The fields that are not read."""
    used = {each for field in (*read.fields, *control) for each in split_fields(field, names)}
    return [name for name in names if not any(_covers(field, name) for field in used)]


def _covers(field: str, name: str) -> bool:
    return name == field or name.startswith(f"{field}.")


def _no_pairs(read: ReadConfig) -> str:
    if f".{read.format}" in CHAT_SUFFIXES:
        return "a chat: pass --task dialogue"
    return (
        "texts: give the lines that answer it (--target FILE), or a file with both sides (.jsonl, "
        ".csv, .tsv, .parquet, .tmx)"
    )


def _no_suffix(path: Source) -> str:
    """Advice if the format of standard input is unknown."""
    if str(path) not in ("-", STANDARD_INPUT):
        return ""
    return "; standard input has no suffix: pass format=csv (or tsv, jsonl, json) for a table"


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


def _choose_turns(path: Source, read: ReadConfig, sampled: Sample | None) -> Choice:
    if f".{read.format}" in CHAT_SUFFIXES:
        return Choice(read)
    if sampled is None:
        raise WenmoError(
            f"{path}: no conversations: give JSONL, JSON or Parquet in which a field holds a list "
            "of turns, a table with a message a row, or a chat exported from WhatsApp or WeChat"
            f"{_no_suffix(path)}"
        )
    location, suffix, rows = sampled
    if suffix in TABLES:
        rows = _with_header(rows)
    names = [*names_in(rows)]
    turns = known_field(names, TURN_NAMES)
    if turns and not read.group_field and suffix not in TABLES:
        return _with_note(replace(read, text_field=turns), names, {"turns": turns})
    group = read.group_field or known_field(names, GROUP_COLUMNS)
    if group is not None:
        return _choose_messages(read, location, names, group)
    pair = find_pair(names, read.source_field, read.text_field)
    if pair is not None:
        chosen = replace(read, source_field=pair[0], text_field=pair[1])
        return _with_note(chosen, names, {"user": pair[0], "assistant": pair[1]})
    raise WenmoError(
        f"{location}: which field holds the turns? pass --text-field NAME, one of: "
        f"{listed(names)}; for a message a row, pass --group-field NAME with the field that "
        "names the conversation"
    )


def _choose_messages(read: ReadConfig, location: str, names: Sequence[str], group: str) -> Choice:
    unused_names = [name for name in names if name != group]
    text = read.text_field or known_field(unused_names, MESSAGE_COLUMNS)
    if text is None:
        raise WenmoError(
            f"{location}: which field holds the messages of {group}? pass --text-field NAME, "
            f"one of: {listed(unused_names)}"
        )
    speakers = [name for name in unused_names if name != text]
    speaker = read.speaker_field or known_field(speakers, SPEAKER_COLUMNS)
    chosen = replace(read, group_field=group, text_field=text, speaker_field=speaker)
    roles = {"conversation": group, "message": text} | ({"speaker": speaker} if speaker else {})
    return _with_note(chosen, names, roles)


def _with_header(rows: Rows) -> Rows:
    """Rows with numbered columns, renamed by the first row."""
    names = [str(cell) for cell in rows[0].values()]
    return [dict(zip(names, row.values(), strict=False)) for row in rows[1:] or rows]


# -- pairs ---------------------------------------------------------------------------------------


def _choose_pair(
    read: ReadConfig, location: str, names: Sequence[str], control: tuple[str, ...]
) -> Choice:
    sides = [name for name in names if name not in control]
    found = find_pair(sides, read.source_field, read.text_field)
    if found is None:
        raise WenmoError(f"{location}: {_which_sides(names)}")
    return _pair(read, names, found, control)


def _choose_columns(
    read: ReadConfig, location: str, rows: Rows, control: tuple[str, ...]
) -> Choice:
    """The columns of a table, whose first row is a header or a pair."""
    cells = [[str(cell) for cell in row.values()] for row in rows]
    numbered = by_number(read.fields)
    names = list(rows[0]) if numbered else cells[0]
    sides = [name for name in names if name not in control]
    found = find_pair(sides, read.source_field, read.text_field)
    if found is not None:
        return _pair(read, names, found, control)
    columns = sniffing.text_columns(cells)
    if len(columns) != 2 or read.fields or control:
        raise WenmoError(f"{location}: {_which_sides(names)}; {HINT}")
    source, text = columns
    first = [cells[0][column] for column in columns]
    has_header = sniffing.header([[row[column] for column in columns] for row in cells])
    if has_header is None:
        raise WenmoError(
            f"{location}: is the first line a header, or a pair ({listed(first)})? a header: "
            f"--source-field {_quoted(first[0])} --text-field {_quoted(first[1])}; a pair: "
            f"--source-field {source + 1} --text-field {text + 1}"
        )
    if has_header:
        return _pair(read, names, (first[0], first[1]), control)
    chosen = replace(read, source_field=str(source + 1), text_field=str(text + 1))
    return _with_note(
        chosen, list(rows[0]), {"source": str(source + 1), "target": str(text + 1)}, control
    )


def _pair(
    read: ReadConfig, names: Sequence[str], found: tuple[str, str], control: tuple[str, ...]
) -> Choice:
    chosen = replace(read, source_field=found[0], text_field=found[1])
    return _with_note(chosen, names, {"source": found[0], "target": found[1]}, control)


# -- texts ---------------------------------------------------------------------------------------


def _choose_text(
    read: ReadConfig, sniffed: str | None, sampled: Sample | None, task: TaskConfig
) -> Choice:
    """The text field, as guessed when reading; or hints for a plain text."""
    if sampled is None or read.format != sniffed:
        return Choice(read, hints=_HINTS.get(sniffed or "", ()), plain=True)
    location, suffix, rows = sampled
    if suffix in TABLES and not by_number([*read.fields, *task.control]):
        rows = _with_header(rows)
    names = [*names_in(rows)]
    text = read.text_field
    if text is None:
        text = Fields(read, location, ReadCounts(), suffix, task.control).guess_text_field(rows[0])
    roles = {"text": text}
    choice = _with_note(replace(read, text_field=text), names, roles, task.control)
    pair = find_pair(names)
    hints = []
    if pair is not None and text in (pair[0], pair[1]):
        source, target = _join_names(pair[0]), pair[1]
        hints.append(f"{task_of_pair(*pair)}: learn {target} from {source}")
    return choice._replace(read=read, hints=hints)


_CHAT = ("--task dialogue: this is a chat; read as plain text, its times are learnt, too",)
_HINTS = {
    "whatsapp": _CHAT,
    "wechat": _CHAT,
    "csv": ("format=csv: the lines look like CSV with a header",),
    "tsv": ("--task translation (or another of pairs): the lines have columns, parted by tabs",),
}


# -- descriptions --------------------------------------------------------------------------------


def _describe(
    read: ReadConfig, sampled: Sample | None, roles: Mapping[str, str], control: tuple[str, ...]
) -> Choice:
    """The fields that the user chose, and the others."""
    if sampled is None:
        return Choice(read)
    _, suffix, rows = sampled
    if suffix in TABLES and not by_number(read.fields):
        rows = _with_header(rows)
    return _with_note(read, [*names_in(rows)], roles, control)


def _with_note(
    read: ReadConfig,
    names: Sequence[str],
    roles: Mapping[str, str],
    control: tuple[str, ...] = (),
) -> Choice:
    """A choice with the line that describes it and the unused fields."""
    numbered = by_number(roles.values())
    column = "column " if numbered else ""
    roles = {**roles, **({"control": ",".join(control)} if control else {})}
    descriptions = [f"{role}: {column}{_join_names(field)}" for role, field in roles.items()]
    unused_names = unused(names, read, control)
    if unused_names:
        descriptions.append(f"not used: {listed(column + name for name in unused_names)}")
    header = ["no header line"] if numbered else []
    return Choice(read, "; ".join([*header, *descriptions]), roles, unused_names)


def _which_sides(names: Sequence[str]) -> str:
    return (
        "which fields hold source and target? pass --source-field NAME and --text-field NAME, two "
        f"of: {listed(names)}"
    )


def _join_names(field: str) -> str:
    return field.replace(",", " and ")


def _quoted(name: str) -> str:
    return f'"{name}"' if " " in name else name
