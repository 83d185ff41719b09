"""Which fields a task reads, where the user does not say: by names, by what rows hold, or asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from wenmo.text import sniffing
from wenmo.text.config import ReadConfig, TaskConfig
from wenmo.text.conversations import refuse_half
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
from wenmo.text.formats import HINT, ReadCounts, by_number, listed, spread
from wenmo.text.inputs import STANDARD_INPUT, Source, check_path
from wenmo.text.readers import CHATS, Reader, without_fields
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
        read: the settings, with the fields that were found.
        note: what was found, in a line; ``None``: there was nothing to find.
        roles: which field holds the text, the source and so on.
        unused: the fields that are not read.
        hints: what the data may be read as instead, a line each.
        plain: it is text without fields.
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
    """How data is read, and a line for the user where something was found out; see `choose`."""
    return choose(path, read, task, target)[:2]


def choose(path: Source, read: ReadConfig, task: TaskConfig, target: Source | None) -> Choice:
    """Name the fields that a task needs, by those the file has, as far as the user did not.

    Args:
        path: the data.
        read: how it is read; what is chosen there stays.
        task: what is to be learnt from it.
        target: parallel files: the other one, which leaves nothing to choose.

    Raises:
        WenmoError: the file holds nothing of the kind, or it is not clear which field does.
    """
    check_path(path)
    refuse_half(read, turns=task.name == "dialogue")
    if target is not None:
        _check_parallel(read, task)
        return Choice(read)
    sampled = None
    given = read
    if str(path) != "-":  # what comes through a pipe comes once
        sampled, read = _sampled(path, read)
    if task.name == "dialogue":
        if read.text_field and not read.group_field:
            return _described(given, sampled, {"turns": read.text_field}, ())
        return _choose_turns(path, read, sampled)
    if task.name not in PAIRS:
        return _choose_text(given, read.format, sampled, task)
    if read.source_field and read.text_field:
        roles = {"source": read.source_field, "target": read.text_field}
        return _described(given, sampled, roles, task.control)
    if sampled is None:
        raise WenmoError(f"{path}: no pairs, only {_no_pairs(read)}{_no_suffix(path)}")
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
    lines = reader.first_lines(SAMPLE_LINES)
    read = replace(read, format=sniffing.sniff(lines))
    if read.format is None and str(path) == STANDARD_INPUT and sniffing.is_csv(lines):
        read = replace(read, format="csv")  # a file would have a suffix to say so
    if read.format in ("csv", "tsv"):
        sampled = Reader(path, replace(without_fields(read), format=read.format)).first_rows(
            SAMPLE_ROWS
        )
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


def _no_suffix(path: Source) -> str:
    """What to pass where the format of the standard input is not known."""
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
    if f".{read.format}" in CHATS:
        return Choice(read)
    if sampled is None:
        raise WenmoError(
            f"{path}: no conversations: give JSONL, JSON or Parquet in which a field holds a list "
            "of turns, a table with a message a row, or a chat exported from WhatsApp or WeChat"
            f"{_no_suffix(path)}"
        )
    place, kind, rows = sampled
    if kind in TABLES:
        rows = _with_header(rows)
    names = [*names_in(rows)]
    turns = known_field(names, TURN_NAMES)
    if turns and not read.group_field and kind not in TABLES:
        return _told(replace(read, text_field=turns), names, {"turns": turns})
    group = read.group_field or known_field(names, GROUP_COLUMNS)
    if group is not None:
        return _choose_messages(read, place, names, group)
    pair = find_pair(names, read.source_field, read.text_field)
    if pair is not None:
        chosen = replace(read, source_field=pair[0], text_field=pair[1])
        return _told(chosen, names, {"user": pair[0], "assistant": pair[1]})
    raise WenmoError(
        f"{place}: which field holds the turns? pass --text-field NAME, one of: {listed(names)}; "
        "for a message a row, pass --group-field NAME with the field that names the conversation"
    )


def _choose_messages(read: ReadConfig, place: str, names: Sequence[str], group: str) -> Choice:
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
    roles = {"conversation": group, "message": text} | ({"speaker": speaker} if speaker else {})
    return _told(chosen, names, roles)


def _with_header(rows: Rows) -> Rows:
    """Rows of a table whose columns are numbered, by the names in its first row."""
    names = [str(cell) for cell in rows[0].values()]
    return [dict(zip(names, row.values(), strict=False)) for row in rows[1:] or rows]


# -- pairs ---------------------------------------------------------------------------------------


def _choose_pair(
    read: ReadConfig, place: str, names: Sequence[str], control: tuple[str, ...]
) -> Choice:
    sides = [name for name in names if name not in control]
    found = find_pair(sides, read.source_field, read.text_field)
    if found is None:
        raise WenmoError(f"{place}: {_which_sides(names)}")
    return _pair(read, names, found, control)


def _choose_columns(read: ReadConfig, place: str, rows: Rows, control: tuple[str, ...]) -> Choice:
    """The columns of a table, whose first row may be a header or a pair."""
    cells = [[str(cell) for cell in row.values()] for row in rows]
    numbered = by_number(read.fields)
    names = list(rows[0]) if numbered else cells[0]
    sides = [name for name in names if name not in control]
    found = find_pair(sides, read.source_field, read.text_field)
    if found is not None:
        return _pair(read, names, found, control)
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
        return _pair(read, names, (first[0], first[1]), control)
    chosen = replace(read, source_field=str(source + 1), text_field=str(text + 1))
    return _told(
        chosen, list(rows[0]), {"source": str(source + 1), "target": str(text + 1)}, control
    )


def _pair(
    read: ReadConfig, names: Sequence[str], found: tuple[str, str], control: tuple[str, ...]
) -> Choice:
    chosen = replace(read, source_field=found[0], text_field=found[1])
    return _told(chosen, names, {"source": found[0], "target": found[1]}, control)


# -- texts ---------------------------------------------------------------------------------------


def _choose_text(
    read: ReadConfig, sniffed: str | None, sampled: Sample | None, task: TaskConfig
) -> Choice:
    """The field of a text alone, as it is guessed where it is read; or what a plain text may be."""
    if sampled is None or read.format != sniffed:
        return Choice(read, hints=_HINTS.get(sniffed or "", ()), plain=True)
    place, kind, rows = sampled
    if kind in TABLES and not by_number([*read.fields, *task.control]):
        rows = _with_header(rows)
    names = [*names_in(rows)]
    text = read.text_field
    if text is None:
        text = Fields(read, place, ReadCounts(), kind, task.control).guess(rows[0])
    roles = {"text": text}
    choice = _told(replace(read, text_field=text), names, roles, task.control)
    pair = find_pair(names)
    hints = []
    if pair is not None and text in (pair[0], pair[1]):
        source, target = _and(pair[0]), pair[1]
        hints.append(f"{task_of_pair(*pair)}: learn {target} from {source}")
    return choice._replace(read=read, hints=hints)


_CHAT = ("--task dialogue: this is a chat; read as plain text, its times are learnt, too",)
_HINTS = {
    "whatsapp": _CHAT,
    "wechat": _CHAT,
    "csv": ("format=csv: the lines look like CSV with a header",),
    "tsv": ("--task translation (or another of pairs): the lines have columns, parted by tabs",),
}


# -- what is told --------------------------------------------------------------------------------


def _described(
    read: ReadConfig, sampled: Sample | None, roles: Mapping[str, str], control: tuple[str, ...]
) -> Choice:
    """Fields that the user chose, and what is left."""
    if sampled is None:
        return Choice(read)
    _, kind, rows = sampled
    if kind in TABLES and not by_number(read.fields):
        rows = _with_header(rows)
    return _told(read, [*names_in(rows)], roles, control)


def _told(
    read: ReadConfig,
    names: Sequence[str],
    roles: Mapping[str, str],
    control: tuple[str, ...] = (),
) -> Choice:
    """A choice, and the line that tells of it and of the fields that are left."""
    numbered = by_number(roles.values())
    column = "column " if numbered else ""
    roles = {**roles, **({"control": ",".join(control)} if control else {})}
    told = [f"{role}: {column}{_and(field)}" for role, field in roles.items()]
    left = unused(names, read, control)
    if left:
        told.append(f"not used: {listed(column + name for name in left)}")
    header = ["no header line"] if numbered else []
    return Choice(read, "; ".join([*header, *told]), roles, left)


def _which_sides(names: Sequence[str]) -> str:
    return (
        "which fields hold source and target? pass --source-field NAME and --text-field NAME, two "
        f"of: {listed(names)}"
    )


def _and(field: str) -> str:
    return field.replace(",", " and ")


def _quoted(name: str) -> str:
    return f'"{name}"' if " " in name else name
