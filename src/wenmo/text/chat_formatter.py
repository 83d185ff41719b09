"""Conversations in the format of a model's chat template, within its context length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from wenmo.text.config import TaskConfig
from wenmo.text.formats import Record, Segment
from wenmo.text.pretrained import NUL, PretrainedTokenizer
from wenmo.text.tasks import ASSISTANT, SYSTEM, Conversation, Example, conversations
from wenmo.text.template import render
from wenmo.types import WenmoError

CHUNK = 1 << 19
"""Characters of conversations rendered by one process."""

TOKENS_PER_TURN = 16
"""Upper estimate of the tokens that a template adds to a turn."""


@dataclass(frozen=True)
class ChatFormatter:
    """Formats conversations for a model.

    Special tokens in the text of turns are escaped.

    Attributes:
        template: the model's chat template, in Jinja.
        tokenizer: the model's tokenizer, ``for_chat_template``.
        max_source_tokens: maximum number of tokens of a source; None: unbounded.
    """

    template: str
    tokenizer: PretrainedTokenizer
    max_source_tokens: int | None = None

    def examples(
        self, records: Iterable[Record], task: TaskConfig
    ) -> Iterator[tuple[Record, list[Example]]]:
        """The examples of each record: for every reply, the source is the rendered conversation up
        to the generation prompt, and the target the reply with the template's end-of-turn token. If
        that is the tokenizer's own end token, it is omitted, since END follows every target.

        Raises:
            WenmoError: the template fails, or does not continue its generation prompt with the
                reply.
        """
        for chunk in _chunks(records, task):
            histories = [
                conversation
                for _, record_conversations in chunk
                for conversation in record_conversations
            ]
            locations = [
                record.location
                for record, record_conversations in chunk
                for _ in record_conversations
            ]
            turns, sources = self._fit(histories, locations)
            replies = [Segment(conversation.reply, ASSISTANT) for conversation in histories]
            with_replies = [
                (*some_turns, reply) for some_turns, reply in zip(turns, replies, strict=True)
            ]
            rendered = self._render(with_replies, locations, is_complete=True)
            targets = map(self._target, sources, rendered, replies, locations)
            all_examples = map(Example, sources, targets)
            for record, record_conversations in chunk:
                yield record, list(islice(all_examples, len(record_conversations)))

    def sources(self, histories: Sequence[Conversation]) -> list[str]:
        """The rendered text before a reply to each conversation.

        Raises:
            WenmoError: the template fails.
        """
        return self._fit(histories, ())[1]

    def sources_with_system(
        self, histories: Sequence[Conversation], system: str | None
    ) -> list[str]:
        """As `sources`, with an optional system prompt, which must appear in the text.

        Raises:
            WenmoError: the template omits the system prompt.
        """
        texts = self.sources(histories)
        if system and not all(
            self.tokenizer.escape_special_tokens(system).strip() in text for text in texts
        ):
            raise WenmoError(
                "the model's chat template does not support a system prompt: leave out --system"
            )
        return texts

    def _target(self, source: str, rendered: str, answer: Segment, location: str) -> str:
        """The target of a reply: the rest of the rendered text, up to the end-of-turn token."""
        if not rendered.startswith(source):
            raise WenmoError(
                f"{location}: the model's chat template does not continue its generation prompt "
                "with the reply: replies cannot be learned"
            )
        target = rendered[len(source) :]
        reply = self.tokenizer.escape_special_tokens(answer.text).strip()
        at = target.find(reply)
        special_tokens = self.tokenizer.special_pattern.finditer(
            target, at + len(reply) if at >= 0 else 0
        )
        token = next((token for token in special_tokens if not token[0].startswith(NUL)), None)
        if token is None:
            return target.rstrip()
        return target[: token.start() if token[0] == self.tokenizer.eos_token else token.end()]

    def _fit(
        self, histories: Sequence[Conversation], locations: Sequence[str]
    ) -> tuple[list[tuple[Segment, ...]], list[str]]:
        """The turns that fit, and their rendered text."""
        kept_turns = [
            _drop_leading_replies(conversation.turns) if conversation.cut else conversation.turns
            for conversation in histories
        ]
        texts = self._render(kept_turns, locations)
        candidates = list(range(len(kept_turns)))
        while candidates:
            shorter = {n: self._shorter(kept_turns[n], texts[n]) for n in candidates}
            candidates = [n for n in candidates if len(shorter[n]) < len(kept_turns[n])]
            rendered = self._render(
                [shorter[n] for n in candidates], [locations[n] for n in candidates if locations]
            )
            for n, text in zip(candidates, rendered, strict=True):
                kept_turns[n], texts[n] = shorter[n], text
        return kept_turns, texts

    def _shorter(self, turns: tuple[Segment, ...], text: str) -> tuple[Segment, ...]:
        """The turns without the first, or as many as are certainly too long; the last turn
        stays.
        """
        limit = self.max_source_tokens
        if limit is None or len(text.encode()) <= limit:  # a token has at least one byte
            return turns
        excess = self._tokens(text) - limit
        system_turns = [turn for turn in turns if turn.role == SYSTEM]
        spoken = [turn for turn in turns if turn.role != SYSTEM]
        while excess > 0 and len(spoken) > 1:
            excess -= (
                self._tokens(self.tokenizer.escape_special_tokens(spoken.pop(0).text))
                + TOKENS_PER_TURN
            )
        remaining = (*system_turns, *spoken)
        return _drop_leading_replies(remaining) if len(remaining) < len(turns) else turns

    def _tokens(self, text: str) -> int:
        return len(self.tokenizer.encode(text))

    def _render(
        self,
        histories: Sequence[Sequence[Segment]],
        locations: Sequence[str],
        *,
        is_complete: bool = False,
    ) -> list[str]:
        token_names = {"bos_token": self.tokenizer.bos_token, "eos_token": self.tokenizer.eos_token}
        special_tokens = {name: token for name, token in token_names.items() if token}
        messages = [self._messages(turns) for turns in histories]
        return render(
            self.template, messages, special_tokens, is_complete=is_complete, locations=locations
        )

    def _messages(self, turns: Sequence[Segment]) -> list[dict[str, str]]:
        """The turns as messages of a template, with all instructions merged into the first."""
        instructions = [turn.text for turn in turns if turn.role == SYSTEM]
        spoken = [turn for turn in turns if turn.role != SYSTEM]
        system_turns = [Segment("\n".join(instructions), SYSTEM)] if instructions else []
        return [
            {"role": str(turn.role), "content": self.tokenizer.escape_special_tokens(turn.text)}
            for turn in (*system_turns, *spoken)
        ]


def _drop_leading_replies(turns: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """The turns without leading replies, where earlier turns were dropped."""
    spoken = [turn for turn in turns if turn.role != SYSTEM]
    while len(spoken) > 1 and spoken[0].role == ASSISTANT:
        spoken.pop(0)
    return (*(turn for turn in turns if turn.role == SYSTEM), *spoken)


def _chunks(
    records: Iterable[Record], task: TaskConfig
) -> Iterator[list[tuple[Record, list[Conversation]]]]:
    """Records with their conversations, in chunks for one process each."""
    chunk: list[tuple[Record, list[Conversation]]] = []
    size = 0
    for record in records:
        record_conversations = list(conversations(record, task))
        chunk.append((record, record_conversations))
        size += sum(
            len(turn.text) for conversation in record_conversations for turn in conversation.turns
        )
        if size >= CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
