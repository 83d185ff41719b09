"""What a model is to learn: here, and nowhere else, a record becomes a source and a target.

A source is the text itself, a conversation so far, a text with a gap, control codes, or codes and
one of these. At writing time ``source_of`` gives a user's request the form it had in training.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from wenmo.config import did_you_mean
from wenmo.text.config import KeptSide, ReadConfig, TaskConfig
from wenmo.text.readers import Part, Reader, Record, Source
from wenmo.types import WenmoError

PAIRS = ("translation", "summarization", "paraphrase", "data-to-text")
"""The tasks whose records hold a source of their own."""

GAP = "____"
"""Stands in a source for the piece that is missing."""

GAP_FORMS = re.compile(r"_{3,}|＿{2,}|\[MASK\]|<mask>", re.IGNORECASE)
"""How people write a gap: by hand, or as masked models of other programs have it."""

GAPS = 3
"""The most examples of one record with a gap."""

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
ASSISTANTS = {"assistant", "gpt"}
"""Roles as files of conversations know them: an instruction, and those who alone are learnt from
where they take part."""

# Units of a text that a gap is made of: a Han character, or what stands between spaces.
_HAN = "々〇㐀-\u9fff豈-\ufaff\U00020000-\U0003ffff"
_UNIT = re.compile(rf"[{_HAN}]|[^\s{_HAN}]+")


def kept_side(task: TaskConfig) -> KeptSide:
    """Which end is kept of what is too long: the latest of what is to be gone on from."""
    return "end" if task.name in ("completion", "dialogue") else "beginning"


COMPLETION = TaskConfig()


class Example(NamedTuple):
    """What is read, and what is to be written."""

    source: str
    target: str


class Conversation(NamedTuple):
    """What was said, and what is replied to it.

    Attributes:
        turns: instructions (``system``), then the last turns (``user`` and ``assistant``), of which
            the last is replied to.
        reply: what is replied; empty where that is to be found out.
        cut: earlier turns are left out.
    """

    turns: tuple[Part, ...]
    reply: str = ""
    cut: bool = False


def open_records(
    path: Source, read: ReadConfig, task: TaskConfig, target: Source | None = None
) -> Reader:
    """The records of a file, read as the task needs them: see ``Reader``."""
    turns = task.name == "dialogue"
    return Reader(path, read, control=task.control, turns=turns, target=target)


def examples(record: Record, task: TaskConfig) -> Iterator[Example]:
    """The examples that a record gives: the same ones every time.

    Without a source (completion without control codes) it is empty. Where a side is empty, or a
    conversation or text is too short for the task, there is none.
    """
    codes = _codes(dict(record.attributes), task) if record.attributes else ""
    for source, target in _sides(record, task):
        if target.strip() and (source.strip() or task.name == "completion"):
            yield Example(codes + source, target)


def group_key(record: Record, task: TaskConfig) -> str | None:
    """What tells records that must not be parted by a split: their texts without any codes.

    ``None`` for conversations and completion, which have their beginnings in common by chance.
    """
    if task.name in PAIRS:
        return record.source
    return record.text if task.name == "infilling" else None


def source_of(task: TaskConfig, prompt: str, attributes: Mapping[str, str]) -> str:
    """The source that a user's request makes.

    Args:
        task: what the model has learnt.
        prompt: what is to be answered; for infilling with ``GAP`` in it; of no account for
            completion, where it is the beginning of the text itself.
        attributes: the values of control fields, of as many as one likes.

    Raises:
        WenmoError: a field that is none of the task's, no prompt, or not one gap in it.
    """
    if task.name == "dialogue":
        return history_source([prompt], task, attributes)
    codes = _codes(attributes, task)
    if task.name == "completion":
        return codes
    if task.name == "infilling":
        prompt = with_gaps(prompt)
    if task.name == "infilling" and prompt.count(GAP) != 1:
        raise WenmoError(
            f"a prompt for infilling has one gap, written {GAP}: this one has {prompt.count(GAP)}"
        )
    if not prompt.strip():
        raise WenmoError(f"{task.name} needs a text to answer to: give a prompt")
    return codes + prompt


def with_gaps(prompt: str) -> str:
    """A prompt in which every gap, however it is written, is ``GAP``."""
    return GAP_FORMS.sub(GAP, prompt)


def history_source(
    turns: Sequence[str], task: TaskConfig, attributes: Mapping[str, str] | None = None
) -> str:
    """The source that a conversation makes, in which two speak by turns.

    Args:
        turns: what was said so far; the last is what is to be replied to.
        task: what the model has learnt.
        attributes: as in ``source_of``.

    Raises:
        WenmoError: a field that is none of the task's, or nothing was said.
    """
    said = render_history(turns, task)
    return _codes(attributes or {}, task) + _lines(said.turns)


def render_history(
    turns: Sequence[str],
    task: TaskConfig,
    attributes: Mapping[str, str] | None = None,
    system: str | None = None,
) -> Conversation:
    """A conversation in which two speak by turns, with its control codes as an instruction; as
    ``history_source``.

    Args:
        system: an instruction that stands before all else.
    """
    if not turns or not turns[-1].strip():
        raise WenmoError("dialogue needs something to reply to: give a prompt")
    spoken = [Part(turn) for turn in turns[-task.history :]]
    head = [Part(system, SYSTEM)] if system and system.strip() else []
    said = (*head, *_instructed(attributes or {}, task), *_parted(spoken, None))
    return Conversation(said, cut=len(turns) > task.history)


def conversations(record: Record, task: TaskConfig) -> Iterator[Conversation]:
    """Every reply of a record with what was said before, its control codes as an instruction."""
    head = _instructed(dict(record.attributes), task)
    for said in _replies(record.parts, task):
        if said.reply.strip() and any(turn.role != SYSTEM for turn in said.turns):
            yield said._replace(turns=(*head, *said.turns))


def _instructed(attributes: Mapping[str, str], task: TaskConfig) -> list[Part]:
    codes = _codes(attributes, task).strip()
    return [Part(codes, SYSTEM)] if codes else []


def unknown_field(name: str, task: TaskConfig) -> WenmoError:
    """The error for a control field that is none of the task's."""
    known = ", ".join(task.control) or "none"
    return WenmoError(
        f"no control field {name!r}{did_you_mean(name, task.control)} (known: {known})"
    )


def _codes(attributes: Mapping[str, str], task: TaskConfig) -> str:
    """One code a line, in the order of the task's fields."""
    for name in attributes:
        if name not in task.control:
            raise unknown_field(name, task)
    values = {name: " ".join(attributes.get(name, "").split()) for name in task.control}
    return "".join(f"{name}={value}\n" for name, value in values.items() if value)


def _sides(record: Record, task: TaskConfig) -> Iterator[tuple[str, str]]:
    if task.name == "completion":
        yield "", record.text
    elif task.name == "dialogue":
        for said in _replies(record.parts, task):
            yield _lines(said.turns), said.reply
    elif task.name == "infilling":
        yield from _gaps(record.text)
    else:
        for reference in record.parts or [Part(record.text)]:
            yield record.source or "", reference.text


def _replies(turns: Sequence[Part], task: TaskConfig) -> Iterator[Conversation]:
    """The turns that are replies, each after those before it: all but the first, or those of the
    speakers who are learnt from.
    """
    roles = _roles(turns)
    learnt = _learnt(roles, task)
    instructions: list[Part] = []
    spoken: list[Part] = []
    for (text, _), role in zip(turns, roles, strict=True):
        if role == SYSTEM:
            instructions += [Part(text, SYSTEM)] if text.strip() else []
            continue
        if spoken and (learnt is None or role in learnt):
            said = (*instructions, *_parted(spoken[-task.history :], role))
            yield Conversation(said, text, cut=len(spoken) > task.history)
        spoken.append(Part(text, role))


def _roles(turns: Sequence[Part]) -> list[str | None]:
    """Who says each turn, in lower case; nobody where one turn does not tell."""
    roles = [turn.role.strip().lower() if turn.role else None for turn in turns]
    return [None] * len(turns) if None in roles else roles


def _learnt(roles: Sequence[str | None], task: TaskConfig) -> set[str] | None:
    """Whose turns alone are replies; ``None``: every turn after the first is one."""
    named = {name.strip().lower() for name in task.reply_speakers}
    found = {role for role in roles if role is not None and role in (named or ASSISTANTS)}
    return found if found or named else None


def speakers_of(record: Record, task: TaskConfig) -> tuple[set[str], set[str]]:
    """Who speaks in a conversation, and who of them replies: ``""`` where every turn after the
    first is a reply.
    """
    roles = _roles(record.parts)
    learnt = _learnt(roles, task)
    names = {
        role: (turn.role or "").strip()
        for role, turn in zip(roles, record.parts, strict=True)
        if role is not None and role != SYSTEM
    }
    replies = {""} if learnt is None else {names[role] for role in learnt}
    return set(names.values()), replies


def _parted(spoken: Sequence[Part], role: str | None) -> Iterator[Part]:
    """The turns, each told by whether the one who replies said it; by turns without a role."""
    for back, turn in zip(range(len(spoken), 0, -1), spoken, strict=True):
        own = back % 2 == 0 if role is None else turn.role == role
        if turn.text.strip():
            yield Part(turn.text, ASSISTANT if own else USER)


def _lines(turns: Sequence[Part]) -> str:
    """A turn a line, marked by who said it."""
    said = [f"{turn.role}: {turn.text.strip()}" for turn in turns]
    return "\n".join(line.replace("\n", " ") for line in said)


def _gaps(text: str) -> Iterator[tuple[str, str]]:
    """The text with a gap, and what is missing: a tenth to a half of its units, drawn by a hash.

    The spaces around a piece are not part of it, so that a gap may be written between words.
    """
    units = [match_name.span() for match_name in _UNIT.finditer(text)]
    if GAP_FORMS.search(text) or len(units) < 2:
        return
    shortest, longest = -(-len(units) // 10), len(units) // 2
    drawn = set()
    for number in range(GAPS):
        key = bytes([number])
        seed = hashlib.blake2b(text.encode(errors="replace"), digest_size=16, key=key).digest()
        size = shortest + int.from_bytes(seed[:8], "big") % (longest - shortest + 1)
        first = int.from_bytes(seed[8:], "big") % (len(units) - size + 1)
        start, end = units[first][0], units[first + size - 1][1]
        touched = "_" in text[start - 1 : start] + text[end : end + 1]  # would lengthen the gap
        if (start, end) not in drawn and not touched:
            drawn.add((start, end))
            yield text[:start] + GAP + text[end:], text[start:end]
