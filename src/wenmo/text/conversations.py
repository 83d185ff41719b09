"""Conversations from rows with a message each, or a question and a reply each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from wenmo.text.config import ReadConfig
from wenmo.text.fields import Fields
from wenmo.types import WenmoError, amount

TURNS = "turns"
"""The field with the turns of the resulting conversations."""

Rows = Iterator[tuple[str, object]]


def group_messages(rows: Rows, fields: Fields, config: ReadConfig) -> Rows:
    """The conversations of a table with one message per row, in the order of their first messages.

    Messages keep their order, also if conversations are interleaved: all are held in memory.
    Consecutive messages of a speaker form one turn. A row without a conversation, a message or, if
    there is a column for it, a speaker is left out and counted: a guess would teach a reply under
    the wrong name.

    Raises:
        WenmoError: a row is not an object, or lacks the fields.
    """
    assert config.group_field is not None
    assert config.text_field is not None
    first_rows: dict[str, tuple[str, Mapping[str, object]]] = {}
    turns: dict[str, list[dict[str, str | None]]] = {}
    fields_by_role = {"conversation": config.group_field, "message": config.text_field}
    if config.speaker_field:
        fields_by_role["speaker"] = config.speaker_field
    for location, row in rows:
        message = fields.check_row(row, location)
        fields.counts.rows += 1
        cells = {
            role: fields.read(message, field, location, chosen=True)
            for role, field in fields_by_role.items()
        }
        missing_role = next((role for role, cell in cells.items() if not cell.strip()), None)
        if missing_role is not None:
            word = fields.missing_word(message, fields_by_role[missing_role])
            fields.counts.rows_left_out[missing_role, word] += 1
            continue
        group, text, speaker = cells["conversation"].strip(), cells["message"], cells.get("speaker")
        first_rows.setdefault(group, (location, message))
        conversation_turns = turns.setdefault(group, [])
        if conversation_turns and speaker and conversation_turns[-1]["role"] == speaker:
            conversation_turns[-1]["content"] = f"{conversation_turns[-1]['content']}\n{text}"
        else:
            conversation_turns.append({"role": speaker or None, "content": text})
    fields.check_chosen(fields.seen_fields)
    for group, (location, row) in first_rows.items():
        yield location, {**row, TURNS: turns[group]}


def rows_left_out(left_out: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What the omitted rows lack, in words.

    Args:
        left_out: number of cells by the missing role and by the word in the cell.
    """
    descriptions = []
    for missing_role, words in left_out.items():
        count = sum(words.values())
        cells = ", ".join(f"{n:,} × {word}" for word, n in words.items())
        descriptions.append(f"{amount(count, 'row')} without a {missing_role} ({cells})")
    return descriptions


def group_by_role(left_out: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """The counts of omitted rows by the role they lack, then by word."""
    first_rows: dict[str, dict[str, int]] = {}
    for (missing_role, word), count in left_out.items():
        first_rows.setdefault(missing_role, {})[word] = count
    return first_rows


def make_pairs(rows: Rows, fields: Fields, config: ReadConfig) -> Rows:
    """A conversation of two turns from each row with a source and a target.

    Raises:
        WenmoError: a row is not an object, or lacks the fields.
    """
    assert config.source_field is not None
    assert config.text_field is not None
    for location, row in rows:
        pair = fields.check_row(row, location)
        question, answer = (
            fields.read(pair, field, location, chosen=True)
            for field in (config.source_field, config.text_field)
        )
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        yield location, {**pair, TURNS: turns if question.strip() and answer.strip() else []}
    fields.check_chosen(fields.seen_fields)


def is_row_based(config: ReadConfig) -> bool:
    """Whether a conversation is assembled from rows."""
    return config.group_field is not None or config.source_field is not None


def check_options(config: ReadConfig, turns: bool) -> None:
    """Refuse options of conversations without a conversation, or incomplete ones.

    Raises:
        WenmoError: with advice, in one line.
    """
    if config.speaker_field and not config.group_field:
        raise WenmoError("--speaker-field needs --group-field NAME: which conversation is it?")
    if config.group_field and not turns:
        raise WenmoError("--group-field is for conversations: pass --task dialogue")
    if config.group_field and config.source_field:
        raise WenmoError(
            "--group-field reads one message a row, --source-field a pair: leave one out"
        )
