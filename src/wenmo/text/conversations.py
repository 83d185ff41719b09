"""Conversations out of rows that hold a part of one each: a message, or a question and a reply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from wenmo.text.config import ReadConfig
from wenmo.text.fields import Fields
from wenmo.types import WenmoError, amount

TURNS = "turns"
"""The field of the conversations that are made here."""

Rows = Iterator[tuple[str, object]]


def by_group(rows: Rows, fields: Fields, config: ReadConfig) -> Rows:
    """Each conversation of a table with one message a row, in the order of its first message.

    Messages keep their order, also where those of other conversations stand between them: all are
    held in memory. Messages of one speaker in a row are one turn. A row without a conversation, a
    message or, where there is a column for it, a speaker is left out and counted: whose words they
    are is not known, and a guess would teach a reply under the wrong name.

    Raises:
        WenmoError: a row is no object, or has no such fields.
    """
    assert config.group_field is not None
    assert config.text_field is not None
    found: dict[str, tuple[str, Mapping[str, object]]] = {}
    turns: dict[str, list[dict[str, str | None]]] = {}
    wanted = {"conversation": config.group_field, "message": config.text_field}
    if config.speaker_field:
        wanted["speaker"] = config.speaker_field
    for place, row in rows:
        message = fields.look(row, place)
        fields.counts.rows += 1
        cells = {
            role: fields.read(message, field, place, chosen=True) for role, field in wanted.items()
        }
        lacking = next((role for role, cell in cells.items() if not cell.strip()), None)
        if lacking is not None:
            word = fields.missing_word(message, wanted[lacking])
            fields.counts.rows_left_out[lacking, word] += 1
            continue
        group, text, speaker = cells["conversation"].strip(), cells["message"], cells.get("speaker")
        found.setdefault(group, (place, message))
        said = turns.setdefault(group, [])
        if said and speaker and said[-1]["role"] == speaker:
            said[-1]["content"] = f"{said[-1]['content']}\n{text}"
        else:
            said.append({"role": speaker or None, "content": text})
    fields.check(fields.met)
    for group, (place, row) in found.items():
        yield place, {**row, TURNS: turns[group]}


def rows_left_out(left_out: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What the rows that were left out lack, in words.

    Args:
        left_out: by what a row lacks, how many cells held each word for it.
    """
    told = []
    for lacking, words in left_out.items():
        count = sum(words.values())
        cells = ", ".join(f"{n:,} × {word}" for word, n in words.items())
        told.append(f"{amount(count, 'row')} without a {lacking} ({cells})")
    return told


def by_lacking(left_out: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """The words that stand for what rows lack, by what they lack."""
    found: dict[str, dict[str, int]] = {}
    for (lacking, word), count in left_out.items():
        found.setdefault(lacking, {})[word] = count
    return found


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
