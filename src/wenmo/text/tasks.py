"""Tasks: the only module that turns a record into sources and targets.

A source is a text, a conversation history, a text with a gap, control codes, or codes followed by
one of these. At generation, ``source_of`` gives a user's request the form of the training data.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from wenmo.config import did_you_mean
from wenmo.text.config import KeptSide, ReadConfig, TaskConfig
from wenmo.text.readers import Reader, Record, Segment, Source
from wenmo.types import WenmoError

PAIRS = ("translation", "summarization", "paraphrase", "data-to-text")
"""Tasks whose records have a source."""

GAP = "____"
"""Marks the gap in a source."""

GAP_FORMS = re.compile(r"_{3,}|＿{2,}|\[MASK\]|<mask>", re.IGNORECASE)
"""Other spellings of a gap: typed by hand, or mask tokens of other programs."""

GAPS = 3
"""Maximum number of gap examples of a record."""

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
ASSISTANTS = {"assistant", "gpt"}
"""Roles in files of conversations: the system prompt, and the assistants, whose turns alone are
learned if there are any."""

# Units of a gap: a Han character, or a run without white space.
_HAN = "々〇㐀-\u9fff豈-\ufaff\U00020000-\U0003ffff"
_UNIT = re.compile(rf"[{_HAN}]|[^\s{_HAN}]+")


def kept_side(task: TaskConfig) -> KeptSide:
    """Which side of an overlong text is kept: the latest part if it is to be continued."""
    return "end" if task.name in ("completion", "dialogue") else "beginning"


COMPLETION = TaskConfig()


class Example(NamedTuple):
    """A source and a target."""

    source: str
    target: str


class Conversation(NamedTuple):
    """A conversation history and the reply to it.

    Attributes:
        turns: instructions (``system``), then the last turns (``user`` and ``assistant``).
        reply: the reply; empty if it is to be generated.
        cut: whether earlier turns are omitted.
    """

    turns: tuple[Segment, ...]
    reply: str = ""
    cut: bool = False


def open_records(
    path: Source, read: ReadConfig, task: TaskConfig, target: Source | None = None
) -> Reader:
    """The records of a file, read as the task requires; see ``Reader``."""
    turns = task.name == "dialogue"
    return Reader(path, read, control=task.control, turns=turns, target=target)


def examples(record: Record, task: TaskConfig) -> Iterator[Example]:
    """The examples of a record, always the same.

    The source is empty for completion without control codes. There is no example if a side is
    empty, or if a conversation or text is too short for the task.
    """
    codes = _codes(dict(record.attributes), task) if record.attributes else ""
    for source, target in _sides(record, task):
        if target.strip() and (source.strip() or task.name == "completion"):
            yield Example(codes + source, target)


def group_key(record: Record, task: TaskConfig) -> str | None:
    """The key of records that a split must keep together: their source or text without control
    codes.

    ``None`` for conversations and completion, which share beginnings by chance.
    """
    if task.name in PAIRS:
        return record.source
    return record.text if task.name == "infilling" else None


def source_of(task: TaskConfig, prompt: str, attributes: Mapping[str, str]) -> str:
    """The source of a user's request.

    Args:
        task: the task of the model.
        prompt: the user's text; with ``GAP`` for infilling; ignored for completion, where it is the
            beginning of the target.
        attributes: values of control fields; fields may be missing.

    Raises:
        WenmoError: an unknown field, no prompt, or not exactly one gap in it.
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
    """The prompt with every spelling of a gap replaced by ``GAP``."""
    return GAP_FORMS.sub(GAP, prompt)


def history_source(
    turns: Sequence[str], task: TaskConfig, attributes: Mapping[str, str] | None = None
) -> str:
    """The source of a conversation with two alternating speakers.

    Args:
        turns: the turns; the last is the one to reply to.
        task: the task of the model.
        attributes: as in ``source_of``.

    Raises:
        WenmoError: an unknown field, or no turn.
    """
    conversation = render_history(turns, task)
    return _codes(attributes or {}, task) + _lines(conversation.turns)


def render_history(
    turns: Sequence[str],
    task: TaskConfig,
    attributes: Mapping[str, str] | None = None,
    system: str | None = None,
) -> Conversation:
    """A conversation with two alternating speakers, with its control codes as an instruction; as
    ``history_source``.

    Args:
        system: system prompt before everything else.
    """
    if not turns or not turns[-1].strip():
        raise WenmoError("dialogue needs something to reply to: give a prompt")
    previous = [Segment(turn) for turn in turns[-task.history :]]
    head = [Segment(system, SYSTEM)] if system and system.strip() else []
    history = (*head, *_code_instructions(attributes or {}, task), *_with_roles(previous, None))
    return Conversation(history, cut=len(turns) > task.history)


def conversations(record: Record, task: TaskConfig) -> Iterator[Conversation]:
    """Every reply of a record with its history, with control codes as an instruction."""
    head = _code_instructions(dict(record.attributes), task)
    for conversation in _replies(record.segments, task):
        if conversation.reply.strip() and any(turn.role != SYSTEM for turn in conversation.turns):
            yield conversation._replace(turns=(*head, *conversation.turns))


def _code_instructions(attributes: Mapping[str, str], task: TaskConfig) -> list[Segment]:
    codes = _codes(attributes, task).strip()
    return [Segment(codes, SYSTEM)] if codes else []


def unknown_field(name: str, task: TaskConfig) -> WenmoError:
    """The error for an unknown control field."""
    known = ", ".join(task.control) or "none"
    return WenmoError(
        f"no control field {name!r}{did_you_mean(name, task.control)} (known: {known})"
    )


def _codes(attributes: Mapping[str, str], task: TaskConfig) -> str:
    """One code per line, in the order of the task's fields."""
    for name in attributes:
        if name not in task.control:
            raise unknown_field(name, task)
    values = {name: " ".join(attributes.get(name, "").split()) for name in task.control}
    return "".join(f"{name}={value}\n" for name, value in values.items() if value)


def _sides(record: Record, task: TaskConfig) -> Iterator[tuple[str, str]]:
    if task.name == "completion":
        yield "", record.text
    elif task.name == "dialogue":
        for conversation in _replies(record.segments, task):
            yield _lines(conversation.turns), conversation.reply
    elif task.name == "infilling":
        yield from _gaps(record.text)
    else:
        for reference in record.segments or [Segment(record.text)]:
            yield record.source or "", reference.text


def _replies(turns: Sequence[Segment], task: TaskConfig) -> Iterator[Conversation]:
    """The turns that are replies, each with its history: all but the first, or those of the learned
    speakers.
    """
    roles = _roles(turns)
    learned = _learned_roles(roles, task)
    instructions: list[Segment] = []
    previous: list[Segment] = []
    for (text, _), role in zip(turns, roles, strict=True):
        if role == SYSTEM:
            instructions += [Segment(text, SYSTEM)] if text.strip() else []
            continue
        if previous and (learned is None or role in learned):
            history = (*instructions, *_with_roles(previous[-task.history :], role))
            yield Conversation(history, text, cut=len(previous) > task.history)
        previous.append(Segment(text, role))


def _roles(turns: Sequence[Segment]) -> list[str | None]:
    """The speaker of each turn, in lower case; all None if one is unknown."""
    roles = [turn.role.strip().lower() if turn.role else None for turn in turns]
    return [None] * len(turns) if None in roles else roles


def _learned_roles(roles: Sequence[str | None], task: TaskConfig) -> set[str] | None:
    """The speakers whose turns are replies; ``None``: every turn after the first is one."""
    named = {name.strip().lower() for name in task.reply_speakers}
    found = {role for role in roles if role is not None and role in (named or ASSISTANTS)}
    return found if found or named else None


def speakers_of(record: Record, task: TaskConfig) -> tuple[set[str], set[str]]:
    """The speakers of a conversation, and those who reply: ``""`` if every turn after the first is
    a reply.
    """
    roles = _roles(record.segments)
    learned = _learned_roles(roles, task)
    names = {
        role: (turn.role or "").strip()
        for role, turn in zip(roles, record.segments, strict=True)
        if role is not None and role != SYSTEM
    }
    replies = {""} if learned is None else {names[role] for role in learned}
    return set(names.values()), replies


def _with_roles(previous: Sequence[Segment], role: str | None) -> Iterator[Segment]:
    """The turns with the roles of assistant (who replies) and user; alternating without roles."""
    for distance, turn in zip(range(len(previous), 0, -1), previous, strict=True):
        is_reply = distance % 2 == 0 if role is None else turn.role == role
        if turn.text.strip():
            yield Segment(turn.text, ASSISTANT if is_reply else USER)


def _lines(turns: Sequence[Segment]) -> str:
    """One turn per line, prefixed by its role."""
    lines = [f"{turn.role}: {turn.text.strip()}" for turn in turns]
    return "\n".join(line.replace("\n", " ") for line in lines)


def _gaps(text: str) -> Iterator[tuple[str, str]]:
    """The text with a gap, and the missing piece: a tenth to a half of its units, chosen by a hash.

    White space around the piece is not part of it, so that a gap can be written between words.
    """
    units = [match.span() for match in _UNIT.finditer(text)]
    if GAP_FORMS.search(text) or len(units) < 2:
        return
    shortest, longest = -(-len(units) // 10), len(units) // 2
    chosen = set()
    for number in range(GAPS):
        key = bytes([number])
        seed = hashlib.blake2b(text.encode(errors="replace"), digest_size=16, key=key).digest()
        size = shortest + int.from_bytes(seed[:8], "big") % (longest - shortest + 1)
        first = int.from_bytes(seed[8:], "big") % (len(units) - size + 1)
        start, end = units[first][0], units[first + size - 1][1]
        extends_gap = (
            "_" in text[start - 1 : start] + text[end : end + 1]
        )  # an adjacent underscore would extend the gap
        if (start, end) not in chosen and not extends_gap:
            chosen.add((start, end))
            yield text[:start] + GAP + text[end:], text[start:end]
