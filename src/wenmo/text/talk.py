"""Conversations as a model was taught to read them: written by its chat template, and no longer
than it can read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from wenmo.text.config import TaskConfig
from wenmo.text.formats import Part, Record
from wenmo.text.pretrained import NUL, Pretrained
from wenmo.text.tasks import ASSISTANT, SYSTEM, Conversation, Example, conversations
from wenmo.text.template import render
from wenmo.types import WenmoError

CHUNK = 1 << 19
"""Characters of conversations that one process is given to write."""

MARKS = 16
"""About the most tokens that a template adds to a turn."""


@dataclass(frozen=True)
class ChatFormatter:
    """How conversations are written for a model.

    What people said holds no marks, whatever it is spelled like: it is shielded.

    Attributes:
        template: the model's own, in Jinja's language.
        tokenizer: the model's own, ``templated``.
        room: the most tokens of a source; None: there is no bound.
    """

    template: str
    tokenizer: Pretrained
    room: int | None = None

    def examples(
        self, records: Iterable[Record], task: TaskConfig
    ) -> Iterator[tuple[Record, list[Example]]]:
        """What each record gives to learn from: for every reply, as source, all up to where the
        template lets it begin, and as target the reply, with the mark by which the template ends
        it, unless that is the tokenizer's own end, which stands behind every target anyway.

        Raises:
            WenmoError: the template fails, or does not write a reply where it says that one begins.
        """
        for chunk in _chunks(records, task):
            asked = [said for _, all_said in chunk for said in all_said]
            places = [record.place for record, all_said in chunk for _ in all_said]
            fitted, sources = self._fitted(asked, places)
            replies = [Part(said.reply, ASSISTANT) for said in asked]
            answered = [(*turns, reply) for turns, reply in zip(fitted, replies, strict=True)]
            whole = self._written(answered, places, answered=True)
            targets = map(self._target, sources, whole, replies, places)
            made = map(Example, sources, targets)
            for record, all_said in chunk:
                yield record, list(islice(made, len(all_said)))

    def sources(self, asked: Sequence[Conversation]) -> list[str]:
        """What is read before a reply to each conversation.

        Raises:
            WenmoError: the template fails.
        """
        return self._fitted(asked, ())[1]

    def instructed(self, asked: Sequence[Conversation], system: str | None) -> list[str]:
        """As `sources`, of conversations that begin with an instruction, if there is one.

        Raises:
            WenmoError: the template leaves the instruction out.
        """
        texts = self.sources(asked)
        if system and not all(self.tokenizer.shield(system).strip() in text for text in texts):
            raise WenmoError(
                "the model's chat template has no place for a system prompt: leave --system out"
            )
        return texts

    def _target(self, source: str, whole: str, said: Part, place: str) -> str:
        if not whole.startswith(source):
            raise WenmoError(
                f"{place}: the model's chat template does not write a reply where it says that one "
                "begins, so that it cannot be learnt from"
            )
        target = whole[len(source) :]
        reply = self.tokenizer.shield(said.text).strip()
        at = target.find(reply)
        marks = self.tokenizer.marks.finditer(target, at + len(reply) if at >= 0 else 0)
        mark = next((mark for mark in marks if not mark[0].startswith(NUL)), None)
        if mark is None:
            return target.rstrip()
        return target[: mark.start() if mark[0] == self.tokenizer.mark else mark.end()]

    def _fitted(
        self, asked: Sequence[Conversation], places: Sequence[str]
    ) -> tuple[list[tuple[Part, ...]], list[str]]:
        """The turns that there is room for, and what is written of them."""
        kept = [_begun(said.turns) if said.cut else said.turns for said in asked]
        texts = self._written(kept, places)
        doubtful = list(range(len(kept)))
        while doubtful:
            shorter = {n: self._shorter(kept[n], texts[n]) for n in doubtful}
            doubtful = [n for n in doubtful if len(shorter[n]) < len(kept[n])]
            written = self._written(
                [shorter[n] for n in doubtful], [places[n] for n in doubtful if places]
            )
            for n, text in zip(doubtful, written, strict=True):
                kept[n], texts[n] = shorter[n], text
        return kept, texts

    def _shorter(self, turns: tuple[Part, ...], text: str) -> tuple[Part, ...]:
        """The turns without the first, or without more that are surely too many; the last stays."""
        if self.room is None or len(text.encode()) <= self.room:  # no token is less than a byte
            return turns
        over = self._tokens(text) - self.room
        head = [turn for turn in turns if turn.role == SYSTEM]
        said = [turn for turn in turns if turn.role != SYSTEM]
        while over > 0 and len(said) > 1:
            over -= self._tokens(self.tokenizer.shield(said.pop(0).text)) + MARKS
        rest = (*head, *said)
        return _begun(rest) if len(rest) < len(turns) else turns

    def _tokens(self, text: str) -> int:
        return len(self.tokenizer.encode(text))

    def _written(
        self,
        asked: Sequence[Sequence[Part]],
        places: Sequence[str],
        *,
        answered: bool = False,
    ) -> list[str]:
        named = {"bos_token": self.tokenizer.beginning, "eos_token": self.tokenizer.mark}
        marks = {name: mark for name, mark in named.items() if mark}
        messages = [self._messages(turns) for turns in asked]
        return render(self.template, messages, marks, answered=answered, places=places)

    def _messages(self, turns: Sequence[Part]) -> list[dict[str, str]]:
        """The turns as templates know them, with one instruction at the head."""
        instructions = [turn.text for turn in turns if turn.role == SYSTEM]
        said = [turn for turn in turns if turn.role != SYSTEM]
        head = [Part("\n".join(instructions), SYSTEM)] if instructions else []
        return [
            {"role": str(turn.role), "content": self.tokenizer.shield(turn.text)}
            for turn in (*head, *said)
        ]


def _begun(turns: tuple[Part, ...]) -> tuple[Part, ...]:
    """What is left of turns of which the first were left out: it does not begin with a reply."""
    said = [turn for turn in turns if turn.role != SYSTEM]
    while len(said) > 1 and said[0].role == ASSISTANT:
        said.pop(0)
    return (*(turn for turn in turns if turn.role == SYSTEM), *said)


def _chunks(
    records: Iterable[Record], task: TaskConfig
) -> Iterator[list[tuple[Record, list[Conversation]]]]:
    """Records with their conversations, as many as one process is given."""
    chunk: list[tuple[Record, list[Conversation]]] = []
    size = 0
    for record in records:
        all_said = list(conversations(record, task))
        chunk.append((record, all_said))
        size += sum(len(turn.text) for said in all_said for turn in said.turns)
        if size >= CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
