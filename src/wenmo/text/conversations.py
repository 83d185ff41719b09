"""Conversations out of rows that hold a part of one each: a message, or a question and a reply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wenmo.text.fields import Fields
from wenmo.text.formats import ReadConfig
from wenmo.types import WenmoError

TURNS = "turns"
"""The field of the conversations that are made here."""

Rows = Iterator[tuple[str, object]]


def by_group(rows: Rows, fields: Fields, config: ReadConfig) -> Rows:
    """Each conversation of a table with one message a row, in the order of its first message.

    Messages keep their order, also where those of other conversations stand between them: all are
    held in memory. Messages of one speaker in a row are one turn; those without a text, or without
    a conversation, count as missing.

    Raises:
        WenmoError: a row is no object, or has no such fields.
    """
    assert config.group_field is not None
    assert config.text_field is not None
    found: dict[str, tuple[str, Mapping[str, object]]] = {}
    turns: dict[str, list[dict[str, str | None]]] = {}
    for place, row in rows:
        message = fields.look(row, place)
        group = fields.read(message, config.group_field, place, chosen=True).strip()
        text = fields.read(message, config.text_field, place, chosen=True)
        if not group or not text.strip():
            fields.counts.missing += 1
            continue
        speaker = config.speaker_field and fields.read(
            message, config.speaker_field, place, chosen=True
        )
        found.setdefault(group, (place, message))
        said = turns.setdefault(group, [])
        if said and speaker and said[-1]["role"] == speaker:
            said[-1]["content"] = f"{said[-1]['content']}\n{text}"
        else:
            said.append({"role": speaker or None, "content": text})
    fields.check(fields.met)
    for group, (place, row) in found.items():
        yield place, {**row, TURNS: turns[group]}


def by_pair(rows: Rows, fields: Fields, config: ReadConfig) -> Rows:
    """A conversation of two turns from each row that holds a source and a target.

    Raises:
        WenmoError: a row is no object, or has no such fields.
    """
    assert config.source_field is not None
    assert config.text_field is not None
    for place, row in rows:
        pair = fields.look(row, place)
        asked, told = (
            fields.read(pair, field, place, chosen=True)
            for field in (config.source_field, config.text_field)
        )
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": told}]
        yield place, {**pair, TURNS: turns if asked.strip() and told.strip() else []}
    fields.check(fields.met)


def made_of(config: ReadConfig) -> bool:
    """Whether conversations are made of rows that hold a part of one each."""
    return config.group_field is not None or config.source_field is not None


def refuse_half(config: ReadConfig, turns: bool) -> None:
    """Refuse options that belong to conversations where there are none, or lack their other half.

    Raises:
        WenmoError: in a line, with what to do.
    """
    if config.speaker_field and not config.group_field:
        raise WenmoError("--speaker-field needs --group-field NAME: which conversation is it?")
    if config.group_field and not turns:
        raise WenmoError("--group-field is for conversations: pass --task dialogue")
    if config.group_field and config.source_field:
        raise WenmoError(
            "--group-field reads one message a row, --source-field a pair: leave one out"
        )
