"""From a prompt to a stream of text: tokens become characters, and stop strings end it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import nan
from typing import Any, TypeAlias

from wenmo.decoding.constraints.base import Constraint
from wenmo.decoding.constraints.grammar import TokenGrammar
from wenmo.decoding.constraints.length import LengthTable
from wenmo.decoding.constraints.utf8 import Utf8Vocabulary
from wenmo.decoding.detokenize import Detokenizer
from wenmo.decoding.engines.base import Event, StoppedBy, window
from wenmo.decoding.engines.router import Router
from wenmo.decoding.engines.whole import draw, kept, seeds
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request, own_seed
from wenmo.grammar.chart import Chart
from wenmo.grammar.sampler import Drawn
from wenmo.grammar.writing import Derivation
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import Infills, SamplesTexts, capability, has_capability
from wenmo.text.pairs import Keep, source_room
from wenmo.text.tasks import GAP, with_gaps
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import END, State, WenmoError

Source: TypeAlias = str | Sequence[int]
"""What a text answers to: a text, or its ids without END."""


@dataclass(frozen=True, slots=True)
class Output:
    """A text that was written.

    Attributes:
        text: what follows the prompt; a stop string is no part of it.
        tokens: how many tokens were drawn, the closing END and a stop string's included.
        logprob: the sum of their natural log-probabilities under the model itself.
        stopped_by: what ended it: the model's END, ``max_tokens`` (length), or a stop string.
        truncated: the prompt was too long for the model's context, and only its end was read; or
            the source was, and a part of it was left out.
        score: what a beam ranked the whole text by; of other methods, the log-probability.
        ids: the tokens.
        logprobs: the log-probability of each; not a number where it cannot be computed.
        derivation: which rules made it, where rules did.
        seed: with it, the same request gets the same text again.
    """

    text: str
    tokens: int
    logprob: float
    stopped_by: StoppedBy
    truncated: bool
    score: float
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    derivation: Derivation | None = None
    seed: int = 0


class TextGenerator:
    """Writes text with a model and the tokenizer it was trained with.

    What it writes is UTF-8 and, unless ``Sampling.unseen_characters`` is asked for, has no
    character that neither the alphabet nor the request (its prompt and source) has. What is held to
    a grammar may have all that the grammar asks for.

    Args:
        alphabet: the characters of the training text; None: all may be written.
        rows: how many texts are written side by side at most.
        keep: which end of a source that is too long for the model is read.

    Raises:
        WenmoError: model and tokenizer do not belong together.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        *,
        rows: int = 32,
        keep: Keep = "beginning",
        alphabet: Iterable[str] | None = None,
    ) -> None:
        if len(tokenizer.table) != model.vocab_size:
            raise WenmoError(
                f"the tokenizer has {len(tokenizer.table)} tokens and the model {model.vocab_size}:"
                " use the tokenizer that the model was trained with"
            )
        self.model = model
        self.tokenizer = tokenizer
        self.rows = rows
        self.keep = keep
        self._sampler = capability(model, SamplesTexts)
        self._infills = has_capability(model, Infills)
        if self._sampler is not None:  # what rules say is taken as it is
            alphabet = None
        if alphabet is not None and (tokenizer.prefix_space or tokenizer.suffix_space):
            alphabet = {*alphabet, " "}  # which the tokenizer puts beside words
        self._characters = Utf8Vocabulary(tokenizer.table, alphabet)
        self._all_characters = (
            self._characters if alphabet is None else Utf8Vocabulary(tokenizer.table)
        )
        self._lengths: LengthTable | None = None
        self._grammars: dict[tuple[Chart, bool], TokenGrammar] = {}
        self._engine = Router(model, rows=rows)
        self._inbox: dict[int, list[Event]] = {}  # events of requests, until they are read

    def generate(
        self,
        prompts: Sequence[str],
        sampling: Sampling | None = None,
        n: int = 1,
        *,
        sources: Sequence[Source | None] | None = None,
        states: Sequence[State] | None = None,
        chart: Chart | None = None,
    ) -> list[list[Output]]:
        """Write n texts for each prompt, all in one batch; an empty prompt asks for any text.

        The k-th text of a prompt is the same for every n and in every company. Those of a beam come
        with the best first; there are fewer than n where a model can write no more.

        Args:
            sources: for each prompt, what the text answers to, as text or as its ids without END;
                the prompt is then how it begins.
            states: for each prompt, of one row, what the text begins in; see `Request`.
            chart: of a grammar of which every text must be one, the prompt not counted.
        """
        sampling = sampling or Sampling()
        prompts = [self._with_gaps(prompt) for prompt in prompts]
        drawn = draw(self.model, prompts, sampling, n, bare=sources is None and chart is None)
        if drawn is not None:
            return [[self._told(each, sampling) for each in own] for own in drawn]
        beam = sampling.method == "beam"
        each = min(n, 1) if beam else n
        asked = []
        nothing = [None] * len(prompts)
        begun = zip(prompts, sources or nothing, states or nothing, strict=True)
        for prompt, source, state in begun:
            request = self._request(prompt, source, sampling, n if beam else 1, chart)
            request = replace(request, state=state)
            truncated, spaced = self._truncates(request, source), self._spaced(prompt)
            asked += [(own, truncated, spaced) for own in _seeded(request, each)]
        outputs: list[list[Output]] = [[] for _ in asked]
        for number, _, output in self._write(asked):
            if output is not None:
                outputs[number].append(replace(output, seed=sampling.seed))
        parts = [outputs[i * each : (i + 1) * each] for i in range(len(prompts))]
        return [[output for own in part for output in own] for part in parts]

    def texts(
        self, prompts: Sequence[str], sampling: Sampling, n: int, **asked: Any
    ) -> list[list[str]]:
        """The texts alone that `generate` would write, which are there sooner where rules make
        them: nothing is asked of their probabilities.
        """
        drawn = draw(self.model, prompts, sampling, n, bare=not any(asked.values()))
        if drawn is not None:
            return [[kept(each.text, sampling)[0] for each in own] for own in drawn]
        outputs = self.generate(prompts, sampling, n, **asked)
        return [[output.text for output in own] for own in outputs]

    def stream(
        self,
        prompt: str,
        sampling: Sampling | None = None,
        *,
        source: Source | None = None,
        chart: Chart | None = None,
    ) -> Iterator[str]:
        """Write the first text that `generate` would, in pieces of whole characters.

        A beam's comes when it is found, and one that is drawn whole, whole.
        """
        sampling = sampling or Sampling()
        prompt = self._with_gaps(prompt)
        drawn = draw(self.model, [prompt], sampling, 1, bare=source is None and chart is None)
        if drawn is not None:
            yield from (kept(each.text, sampling)[0] for own in drawn for each in own)
            return
        [request] = _seeded(self._request(prompt, source, sampling, 1, chart), 1)
        asked = request, self._truncates(request, source), self._spaced(prompt)
        for _, piece, _ in self._write([asked]):
            if piece:
                yield piece

    def encode_source(self, source: Source) -> list[int]:
        """A source's ids, without END, as far as the model can read them."""
        ids = self._ids(source)
        room = source_room(self.model.conditioning, self.model.context)
        if room is None or len(ids) <= room:
            return ids
        return ids[:room] if self.keep == "beginning" else ids[-room:]

    def _ids(self, source: Source) -> list[int]:
        if not isinstance(source, str):
            return list(source)
        ids: list[int] = self.tokenizer.encode_source(source).tolist()
        return ids

    def _told(self, drawn: Drawn, sampling: Sampling) -> Output:
        """A text that was drawn whole, with what `Output` tells of it."""
        text, stopped_by = kept(drawn.text, sampling)
        ids = self._encode(text) + [END] * (stopped_by == "end")
        found = None if self._sampler is None else self._sampler.logprobs(ids)
        logprobs = (nan,) * len(ids) if found is None else tuple(found)
        logprob = sum(logprobs)
        return Output(
            *(text, len(ids), logprob, stopped_by, False, logprob, tuple(ids), logprobs),
            derivation=drawn.derivation,
            seed=sampling.seed,
        )

    def _grammar(self, chart: Chart, *, spaced: bool) -> Constraint:
        """Holds texts to a grammar; texts that begin alike share what was found."""
        if (chart, spaced) not in self._grammars:
            if any(other is not chart for other, _ in self._grammars):
                self._grammars.clear()  # a generator lives as long as its run, a grammar for a call
            table = self.tokenizer.table
            self._grammars[chart, spaced] = TokenGrammar(chart, table, strip_space=spaced)
        return self._grammars[chart, spaced].start()

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text).tolist()
        return ids

    def _request(
        self, prompt: str, source: Source | None, sampling: Sampling, n: int, chart: Chart | None
    ) -> Request:
        read = None if source is None else self.encode_source(source)
        if sampling.same_length and source is None:
            raise WenmoError("same_length is for answers to a source: leave it out")
        characters = self._characters_for(prompt, source, sampling, chart)
        if not self._infills or GAP not in prompt:
            constraint: Constraint | None = None
            if chart is not None:
                constraint = self._grammar(chart, spaced=self._spaced(prompt))
            elif sampling.same_length and source is not None:
                constraint = self._as_long(prompt, source)
            ids = self._encode(prompt)
            return Request(ids, sampling, read, n, constraint=constraint, characters=characters)
        if chart is not None:
            raise WenmoError("a gap cannot be held to a grammar: leave one of the two out")
        before, _, after = prompt.partition(GAP)
        if GAP in after:
            raise WenmoError(f"a prompt has one gap, written {GAP}: this one has more")
        if self.tokenizer.prefix_space:  # spaces belong to the words behind them
            before, after = before.rstrip(" "), after.removeprefix(" ")
        suffix = self._encode(after)[len(self.tokenizer.prefix) :] if after else []
        return Request(self._encode(before), sampling, read, n, suffix, characters=characters)

    def _with_gaps(self, prompt: str) -> str:
        """A prompt whose gaps are written as one, where the model fills them."""
        return with_gaps(prompt) if self._infills else prompt

    def _as_long(self, prompt: str, source: Source) -> Constraint:
        """Makes an answer as long as its source, what the answer begins with included."""
        text = source if isinstance(source, str) else self.tokenizer.decode(source)
        if self._lengths is None:
            self._lengths = LengthTable(self.tokenizer.table)
        return self._lengths.start(len(text) - len(prompt) + self._spaced(prompt))

    def _characters_for(
        self, prompt: str, source: Source | None, sampling: Sampling, chart: Chart | None
    ) -> Utf8Vocabulary:
        """The characters that a text may have."""
        if sampling.unseen_characters or chart is not None:
            return self._all_characters
        read = source or ""
        given = prompt + (read if isinstance(read, str) else self.tokenizer.decode(read))
        return self._characters.extended(given.replace(GAP, ""))

    def _truncates(self, request: Request, source: Source | None) -> bool:
        if source is None or request.source is None:
            length = 1 + len(request.prompt)
            return window(length, self.model.context) < length
        return len(request.source) < len(self._ids(source))

    def _spaced(self, prompt: str) -> bool:
        """Whether the space before the first word that is written is not part of the text."""
        before, gap, _ = prompt.partition(GAP) if self._infills else (prompt, "", "")
        return self.tokenizer.prefix_space and (not before or (bool(gap) and before[-1] == " "))

    def _space_after(self, request: Request) -> str:
        """The space that a prompt's last word has after it, which the prompt itself had not."""
        last = self.tokenizer.table[request.prompt[-1]] if request.prompt else b""
        return " " if last.endswith(b" ") else ""

    def _write(
        self, asked: Sequence[tuple[Request, bool, bool]]
    ) -> Iterator[tuple[int, str, Output | None]]:
        """Pieces of the numbered texts as they come, each text's last with its output.

        Args:
            asked: requests, each with whether what it reads is cut, and whether it is `_spaced`.
        """
        submitted = self._submit([request for request, _, _ in asked])
        requests = dict(zip(submitted, asked, strict=True))
        numbers = {number: index for index, number in enumerate(submitted)}
        drafts: dict[tuple[int, int], _Draft] = {}
        for event in self._events(submitted):
            request, truncated, spaced = requests[event.request]
            draft = drafts.get((event.request, event.rank))
            if draft is None:
                lag = self._space_after(request) if self.tokenizer.suffix_space else None
                pieces = Detokenizer(request.sampling.stop, strip_space=spaced, lag=lag)
                draft = drafts[event.request, event.rank] = _Draft(pieces)
            if draft.pieces.stopped:
                continue  # the rest of a beam's text, which was searched for as a whole
            piece = draft.pieces.feed(self.tokenizer.table[event.token])
            draft.ids.append(event.token)
            draft.logprobs.append(event.logprob)
            stopped_by: StoppedBy | None = "stop" if draft.pieces.stopped else event.stopped_by
            draft.text += piece
            if stopped_by is None:
                yield numbers[event.request], piece, None
                continue
            self._engine.cancel(event.request)
            rest = draft.pieces.rest()
            draft.text += rest
            output = draft.output(stopped_by, truncated, event.score)
            yield numbers[event.request], piece + rest, output

    def _submit(self, requests: Sequence[Request]) -> list[int]:
        """Submit all of the requests, or none where one is refused."""
        submitted: list[int] = []
        try:
            for request in requests:
                submitted.append(self._engine.submit(request))
        except WenmoError:
            for number in submitted:
                self._engine.cancel(number)
            raise
        return submitted

    def _events(self, requests: list[int]) -> Iterator[Event]:
        """The events of some requests of the engine, until none of them is left. Texts that are
        written at the same time, as by two streams, share its steps.
        """
        self._inbox |= {request: [] for request in requests}
        try:
            while True:
                events = [event for number in requests for event in self._inbox[number]]
                for number in requests:
                    self._inbox[number] = []
                for event in events:
                    if event.error is not None:
                        raise event.error
                    yield event
                if not any(map(self._engine.is_open, requests)) and not events:
                    return
                if not events:
                    for event in self._engine.step():
                        if event.request in self._inbox:
                            self._inbox[event.request].append(event)
        finally:
            for number in requests:
                self._engine.cancel(number)
                del self._inbox[number]


@dataclass(slots=True)
class _Draft:
    """A text under way."""

    pieces: Detokenizer
    text: str = ""
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def output(self, stopped_by: StoppedBy, truncated: bool, score: float | None) -> Output:
        """The text as it is handed out."""
        logprob = sum(self.logprobs)
        return Output(
            self.text,
            len(self.ids),
            logprob,
            stopped_by,
            truncated,
            logprob if score is None else score,
            tuple(self.ids),
            tuple(self.logprobs),
        )


def _seeded(request: Request, n: int) -> list[Request]:
    """The same request n times, each with its own seed; a beam's has the request's."""
    sampling = replace(request.sampling, seed=own_seed(request.sampling.seed, request))
    if sampling.method == "beam":
        return [replace(request, sampling=sampling)] * n
    each = (replace(sampling, seed=seed) for seed in seeds(sampling, n))
    return [replace(request, sampling=own) for own in each]
