"""From a prompt to a stream of text: tokens become characters, and stop strings end it."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from wenmo.decoding.choose import derive
from wenmo.decoding.engine import Engine, Request, StoppedBy, window
from wenmo.decoding.warp import Sampling
from wenmo.models.base import LanguageModel
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError


@dataclass(frozen=True, slots=True)
class Output:
    """A text that was written.

    Attributes:
        text: what follows the prompt; a stop string is no part of it.
        tokens: how many tokens were drawn, the closing END and a stop string's included.
        logprob: the sum of their natural log-probabilities under the model itself.
        stopped_by: what ended it: the model's END, ``max_tokens`` (length), or a stop string.
        truncated: the prompt was too long for the model's context, and only its end was read.
    """

    text: str
    tokens: int
    logprob: float
    stopped_by: StoppedBy
    truncated: bool


class Writer:
    """Writes text with a model and the tokenizer it was trained with.

    Args:
        rows: how many texts are written side by side at most.

    Raises:
        WenmoError: model and tokenizer do not belong together.
    """

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer, *, rows: int = 32) -> None:
        if len(tokenizer.table) != model.vocab_size:
            raise WenmoError(
                f"the tokenizer has {len(tokenizer.table)} tokens and the model {model.vocab_size}:"
                " use the tokenizer that the model was trained with"
            )
        self.model = model
        self.tokenizer = tokenizer
        self.rows = rows

    def generate(
        self, prompts: Sequence[str], sampling: Sampling | None = None, n: int = 1
    ) -> list[list[Output]]:
        """Write n texts for each prompt, all in one batch; an empty prompt asks for any text.

        The k-th text of a prompt is the same for every n and in every company.
        """
        texts = [
            (ids, sampled)
            for ids in map(self._encode, prompts)
            for sampled in _seeded(sampling or Sampling(), n)
        ]
        outputs: dict[int, Output] = {}
        for number, _, output in self._write(texts):
            if output is not None:
                outputs[number] = output
        return [[outputs[i * n + k] for k in range(n)] for i in range(len(prompts))]

    def stream(self, prompt: str, sampling: Sampling | None = None) -> Iterator[str]:
        """Write the first text that `generate` would, in pieces of whole characters."""
        [sampled] = _seeded(sampling or Sampling(), 1)
        for _, piece, _ in self._write([(self._encode(prompt), sampled)]):
            if piece:
                yield piece

    def _encode(self, prompt: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(prompt).tolist() if prompt else []
        return ids

    def _write(
        self, texts: Sequence[tuple[list[int], Sampling]]
    ) -> Iterator[tuple[int, str, Output | None]]:
        """Pieces of the numbered texts as they come, each text's last with its output."""
        engine = Engine(self.model, rows=self.rows)
        drafts = {}
        for ids, sampling in texts:
            strip = self.tokenizer.prefix_space and not ids
            draft = _Draft(Pieces(sampling.stop, strip_space=strip), 1 + len(ids))
            drafts[engine.add(Request(ids, sampling))] = draft
        for event in engine.run():
            draft = drafts[event.request]
            piece = draft.pieces.feed(self.tokenizer.table[event.token])
            draft.tokens += 1
            draft.logprob += event.logprob
            stopped_by: StoppedBy | None = "stop" if draft.pieces.stopped else event.stopped_by
            if stopped_by is None:
                draft.text += piece
                yield event.request, piece, None
                continue
            engine.cancel(event.request)
            piece += draft.pieces.rest()
            truncated = window(draft.prompt, self.model.context) < draft.prompt
            text = draft.text + piece
            output = Output(text, draft.tokens, draft.logprob, stopped_by, truncated)
            yield event.request, piece, output
            del drafts[event.request]


class Pieces:
    """Bytes in, text out: never half a character, and nothing from a stop string on.

    What may yet turn out to be the beginning of a stop string is held back. Bytes that are no UTF-8
    become U+FFFD; those of a character that the text breaks off in are dropped.

    Attributes:
        stopped: a stop string was met.
    """

    def __init__(self, stop: Sequence[str] = (), *, strip_space: bool = False) -> None:
        self.stopped = False
        self._stop = stop
        self._strip_space = strip_space
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""

    def feed(self, data: bytes) -> str:
        """The text that is certain after these bytes, beyond what was returned before."""
        new = self._decoder.decode(data)
        if self._strip_space and new:
            new = new.removeprefix(" ")
            self._strip_space = False
        text, self._held = self._held + new, ""
        met = [place for place in map(text.find, self._stop) if place >= 0]
        if met:
            self.stopped = True
            return text[: min(met)]
        certain = len(text) - self._doubtful(text)
        self._held = text[certain:]
        return text[:certain]

    def rest(self) -> str:
        """What was held back, when nothing more will come."""
        held, self._held = self._held, ""
        return held

    def _doubtful(self, text: str) -> int:
        """The length of the longest end of ``text`` that a stop string begins with."""
        lengths = range(min(len(text), max(map(len, self._stop), default=0)), 0, -1)
        return next((n for n in lengths if any(s.startswith(text[-n:]) for s in self._stop)), 0)


@dataclass(slots=True)
class _Draft:
    """A text under way; ``prompt`` is the length of its prompt in tokens, END counted."""

    pieces: Pieces
    prompt: int
    text: str = ""
    tokens: int = 0
    logprob: float = 0.0


def _seeded(sampling: Sampling, n: int) -> list[Sampling]:
    """The same request n times, each with its own seed."""
    seeds = derive(torch.tensor(sampling.seed), torch.arange(n)) & (2**63 - 1)
    return [replace(sampling, seed=seed) for seed in seeds.tolist()]
