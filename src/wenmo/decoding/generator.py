"""Text generation: prompts to requests, and the events of an engine to text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import nan
from typing import Any, TypeAlias

from wenmo.decoding.alternatives import Position, check_alternatives, text_positions
from wenmo.decoding.combination.capabilities import HasBaseModel
from wenmo.decoding.constraints.base import Constraint, combine, draw
from wenmo.decoding.constraints.build import ConstraintBuilder, ConstraintRequest, build_gap
from wenmo.decoding.constraints.notation import structure_of
from wenmo.decoding.constraints.prefix import PrefixTable
from wenmo.decoding.constraints.settings import NO_CONSTRAINTS, ConstraintSettings
from wenmo.decoding.constraints.utf8 import Utf8Vocabulary
from wenmo.decoding.detokenize import Detokenizer
from wenmo.decoding.drafts.base import Draft, Speculation
from wenmo.decoding.engines.base import Event, StoppedBy, window
from wenmo.decoding.engines.router import Router
from wenmo.decoding.engines.whole import draw_texts, sample_seeds, truncate_text
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request, own_seed
from wenmo.decoding.rescoring import text_log_probs
from wenmo.decoding.search.mbr import Utility, expected_utilities
from wenmo.grammar.chart import Chart
from wenmo.grammar.derivation import Derivation
from wenmo.grammar.sampler import SampledText
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import (
    Infills,
    SamplesTexts,
    capability,
    has_capability,
)
from wenmo.text.config import KeptSide
from wenmo.text.pairs import max_source_length
from wenmo.text.tasks import GAP, with_gaps
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import END, State, WenmoError

Source: TypeAlias = str | Sequence[int]
"""What a text answers to: a text, or its ids without END."""


@dataclass(frozen=True, slots=True)
class Output:
    """A generated text.

    Attributes:
        text: the text after the prompt, without a stop string.
        tokens: the number of tokens, including END and those of a stop string.
        logprob: the sum of the natural log-probabilities of the tokens under the model itself; of a
            combination of models, under its base.
        stopped_by: what ended the text: ``end`` (the model chose END), ``constraint`` (a constraint
            left nothing but END), ``length`` (max_tokens) or ``stop`` (a stop string).
        truncated: the model did not read all of the prompt, or of the source, for want of context.
        score: the score of a beam, the expected utility of minimum Bayes risk; of other methods,
            the log-probability.
        ids: the tokens.
        logprobs: the log-probability of each token; NaN where it cannot be computed.
        weight: the importance weight of texts that were drawn without replacement (stochastic
            beam search); None: of other methods.
        derivation: the rules that made the text, of grammars.
        seed: of the request; the same request with this seed gives the same text.
        positions: of each token, the likeliest tokens in its place, where they were asked for.
        combined_logprob: the sum of the log-probabilities under a combination of models; None:
            nothing is combined.
        speculation: what came of the draft, which is no part of the text; None: there was none.
    """

    text: str
    tokens: int
    logprob: float
    stopped_by: StoppedBy
    truncated: bool
    score: float
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    weight: float | None = None
    derivation: Derivation | None = None
    seed: int = 0
    combined_logprob: float | None = None
    positions: tuple[Position, ...] = ()
    speculation: Speculation | None = field(default=None, compare=False)


class TextGenerator:
    """Generates text with a model and the tokenizer it was trained with.

    The output is UTF-8. Without ``Sampling.unseen_characters`` it has only characters of the
    alphabet, the prompt and the source; under a grammar it has those of the grammar.

    One engine, with its prefix cache, serves all calls: make a new generator when the weights of
    the model change.

    Args:
        alphabet: the characters of the training text; None: all characters.
        rows: the largest batch size.
        keep: which end of a source is kept that is too long for the model.
        utilities: by name, for ``Sampling.mbr``.

    Raises:
        WenmoError: the vocabulary sizes of model and tokenizer differ.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        *,
        rows: int = 32,
        keep: KeptSide = "beginning",
        alphabet: Iterable[str] | None = None,
        utilities: Mapping[str, Utility] | None = None,
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
        self._utilities = utilities or {}
        self._sampler = capability(model, SamplesTexts)
        self._infills = has_capability(model, Infills)
        if self._sampler is not None:  # what rules say is taken as it is
            alphabet = None
        if alphabet is not None and (tokenizer.prefix_space or tokenizer.suffix_space):
            alphabet = {*alphabet, " "}  # the tokenizer puts it beside words
        self._characters = Utf8Vocabulary(tokenizer.table, alphabet)
        self._all_characters = (
            self._characters if alphabet is None else Utf8Vocabulary(tokenizer.table)
        )
        self._constraints = ConstraintBuilder(tokenizer, alphabet, model.special_tokens)
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
        constraints: ConstraintSettings = NO_CONSTRAINTS,
        alternatives: int = 0,
        draft: Draft[Any] | None = None,
    ) -> list[list[Output]]:
        """Generate n texts for each prompt; an empty prompt asks for a text from its beginning.

        The k-th text of a prompt is the same for every n and in every batch. The texts of a beam
        come best first; there are fewer than n where the model cannot generate more.

        Args:
            sources: the source of each prompt, as text or as ids without END; the prompt is then
                how the answer begins.
            states: the initial state of each prompt, of one row; see `Request`.
            chart: of a grammar; each text, without its prompt, is one of the grammar's.
            constraints: what else each text, without its prompt, must be; its files are read.
            alternatives: how many of the likeliest tokens at each position the outputs have.
            draft: proposes tokens; it does not change the texts.
        """
        sampling = sampling or Sampling()
        if sampling.mbr is not None:
            inputs: dict[str, Any] = {"sources": sources, "states": states, "chart": chart}
            inputs["draft"] = draft
            inputs["alternatives"] = alternatives
            return self._least_risk(prompts, sampling, n, **inputs, constraints=constraints)
        prompts = [self._with_gaps(prompt) for prompt in prompts]
        bare = sources is None and chart is None and not constraints.given
        drawn = draw_texts(self.model, prompts, sampling, n, bare=bare)
        _check_draft(draft, drawn)
        if drawn is not None:
            scored = [[self._score_drawn(each, sampling) for each in texts] for texts in drawn]
            if not alternatives:
                return scored
            job = self._job("", None, sampling, 1, None, NO_CONSTRAINTS)
            return [[self._with_positions(o, job.request, alternatives) for o in s] for s in scored]
        beam = sampling.searches
        copies = min(n, 1) if beam else n
        jobs: list[_Job] = []
        nothing = [None] * len(prompts)
        given = zip(prompts, sources or nothing, states or nothing, strict=True)
        for prompt, source, state in given:
            job = self._job(prompt, source, sampling, n if beam else 1, chart, constraints)
            request = replace(job.request, state=state, draft=draft)
            jobs += [replace(job, request=each) for each in _seeded(request, copies)]
        if alternatives:
            for job in jobs:  # before anything is written
                check_alternatives(alternatives, self.model, job.request)
        outputs: list[list[Output]] = [[] for _ in jobs]
        for index, _, output in self._run(jobs):
            if output is not None:
                request = jobs[index].request
                output = self._score_under_base(output, request)
                if alternatives:
                    output = self._with_positions(output, request, alternatives)
                outputs[index].append(replace(output, seed=sampling.seed))
        by_prompt = [outputs[i * copies : (i + 1) * copies] for i in range(len(prompts))]
        return [[output for each in group for output in each] for group in by_prompt]

    def _least_risk(
        self, prompts: Sequence[str], sampling: Sampling, n: int, **inputs: Any
    ) -> list[list[Output]]:
        """The n different samples of each prompt with the largest expected utility, which is their
        score; fewer where there are not so many.
        """
        if n > sampling.mbr_samples:
            raise WenmoError(f"{n} texts of {sampling.mbr_samples} samples: raise mbr_samples")
        utility = self._utilities.get(sampling.mbr or "")
        if utility is None:
            raise WenmoError(f"mbr={sampling.mbr}: give TextGenerator the utility of this name")
        drawing = replace(sampling, mbr=None)
        best = []
        for outputs in self.generate(prompts, drawing, sampling.mbr_samples, **inputs):
            first = {output.text: output for output in reversed(outputs)}
            expected = expected_utilities([output.text for output in outputs], utility)
            best.append(
                [replace(first[text], score=score) for text, score in list(expected.items())[:n]]
            )
        return best

    def texts(
        self, prompts: Sequence[str], sampling: Sampling, n: int, **inputs: Any
    ) -> list[list[str]]:
        """Only the texts of `generate`. A grammar gives them sooner, without their probabilities.

        Args:
            **inputs: as of `generate`.
        """
        given = {**inputs, "constraints": inputs.get("constraints", NO_CONSTRAINTS).given}
        draft = given.pop("draft", None)
        bare = not any(given.values())
        drawn = None if sampling.mbr else draw_texts(self.model, prompts, sampling, n, bare=bare)
        _check_draft(draft, drawn)
        if drawn is not None:
            return [[truncate_text(each.text, sampling)[0] for each in texts] for texts in drawn]
        outputs = self.generate(prompts, sampling, n, **inputs)
        return [[output.text for output in each] for each in outputs]

    def stream(
        self,
        prompt: str,
        sampling: Sampling | None = None,
        *,
        source: Source | None = None,
        chart: Chart | None = None,
        constraints: ConstraintSettings = NO_CONSTRAINTS,
        draft: Draft[Any] | None = None,
    ) -> Iterator[str]:
        """Generate the first text of `generate` in pieces of whole characters.

        The text of a beam, of a grammar or of minimum Bayes risk comes in one piece.
        """
        sampling = sampling or Sampling()
        if sampling.mbr is not None:
            inputs = {"sources": [source], "chart": chart, "constraints": constraints}
            yield from self.texts([prompt], sampling, 1, **inputs, draft=draft)[0]
            return
        prompt = self._with_gaps(prompt)
        bare = source is None and chart is None and not constraints.given
        drawn = draw_texts(self.model, [prompt], sampling, 1, bare=bare)
        _check_draft(draft, drawn)
        if drawn is not None:
            yield from (truncate_text(each.text, sampling)[0] for texts in drawn for each in texts)
            return
        job = self._job(prompt, source, sampling, 1, chart, constraints)
        [request] = _seeded(replace(job.request, draft=draft), 1)
        for _, piece, _ in self._run([replace(job, request=request)]):
            if piece:
                yield piece

    def encode_source(self, source: Source) -> list[int]:
        """The ids of a source, without END, cut to what the model can read."""
        ids = self._ids(source)
        room = max_source_length(self.model.conditioning, self.model.context)
        if room is None or len(ids) <= room:
            return ids
        return ids[:room] if self.keep == "beginning" else ids[-room:]

    def _ids(self, source: Source) -> list[int]:
        if not isinstance(source, str):
            return list(source)
        ids: list[int] = self.tokenizer.encode_source(source).tolist()
        return ids

    def _score_drawn(self, drawn: SampledText, sampling: Sampling) -> Output:
        """The output of a text that a grammar drew."""
        text, stopped_by = truncate_text(drawn.text, sampling)
        ids = self._encode(text) + [END] * (stopped_by == "end")
        found = None if self._sampler is None else self._sampler.logprobs(ids)
        logprobs = (nan,) * len(ids) if found is None else tuple(found)
        logprob = sum(logprobs)
        return Output(
            *(text, len(ids), logprob, stopped_by, False, logprob, tuple(ids), logprobs),
            derivation=drawn.derivation,
            seed=sampling.seed,
        )

    def _with_positions(self, output: Output, request: Request, count: int) -> Output:
        """The output with the likeliest tokens at each of its positions."""
        table = self.tokenizer.table
        positions = text_positions(self.model, request, output.ids, count, table)
        return replace(output, positions=positions)

    def _score_under_base(self, output: Output, request: Request) -> Output:
        """The output of a combination of models with the log-probabilities of its base."""
        combined = capability(self.model, HasBaseModel)
        if combined is None:
            return output
        logprobs = text_log_probs(combined.base_model(), request, output.ids)
        logprob = sum(logprobs)
        return replace(
            output,
            logprob=logprob,
            logprobs=logprobs,
            score=output.score if request.sampling.searches else logprob,
            combined_logprob=output.logprob,
        )

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text).tolist()
        return ids

    def _job(
        self,
        prompt: str,
        source: Source | None,
        sampling: Sampling,
        n: int,
        chart: Chart | None,
        settings: ConstraintSettings,
    ) -> _Job:
        """A prompt as a request to the engine."""
        if sampling.same_length and source is None:
            raise WenmoError("same_length is for answers to a source: leave it out")
        source_ids = None if source is None else self.encode_source(source)
        strip_space = self._strips_space(prompt)
        before, suffix = prompt, None
        if has_capability(self.model, Infills) and GAP in prompt:
            if chart is not None:
                raise WenmoError("a gap cannot be held to a grammar: leave one of the two out")
            before, suffix = self._around_gap(prompt)
        ids, healed = self._encode(before), b""
        constraint: Constraint | None = None
        if suffix is None:
            constraint = self._constraint(prompt, source, sampling, chart, settings)
        elif settings.given:
            constraint, sampling = self._gap_constraint(prompt, sampling, settings)
        if sampling.token_healing:
            if suffix is not None:
                raise WenmoError("token_healing is for prompts that are continued, not for gaps")
            ids, healed = self._without_begun_token(ids)
            if healed:
                constraint = self._prefixes.start(healed, constraint)
        request = Request(
            ids,
            sampling,
            source_ids,
            n,
            suffix,
            constraint=constraint,
            characters=self._all_characters
            if structure_of(settings)  # it prefers those of the training text by itself
            else self._allowed_characters(prompt, source, sampling, chart),
        )
        truncated = self._is_truncated(request, source)
        escapes = settings.json_schema is not None
        return _Job(request, truncated, strip_space and not healed, len(healed), escapes)

    def _without_begun_token(self, ids: list[int]) -> tuple[list[int], bytes]:
        """The ids of a prompt without the last ones that spell the beginning of a longer token, and
        their bytes; all ids, and no bytes, where no token is longer.
        """
        table, longest = self.tokenizer.table, self._prefixes.longest
        kept, begun, tail = len(ids), b"", b""
        for index in range(len(ids) - 1, -1, -1):
            tail = table[ids[index]] + tail
            if self.tokenizer.suffix_space and index == len(ids) - 1:
                tail = tail.removesuffix(b" ")  # the tokenizer put it behind the prompt
            if not table[ids[index]] or len(tail) >= longest:
                break
            if tail and self._prefixes.beyond(tail):
                kept, begun = index, tail
        return ids[:kept], begun

    @cached_property
    def _prefixes(self) -> PrefixTable:
        return PrefixTable(self.tokenizer.table)

    def _gap_constraint(
        self, prompt: str, sampling: Sampling, settings: ConstraintSettings
    ) -> tuple[Constraint, Sampling]:
        """The constraint of a gap, and how it is filled: from left to right."""
        before, _, after = prompt.partition(GAP)
        characters = self._allowed_characters(prompt, None, sampling, None)
        request = ConstraintRequest(settings, before, None, sampling, False, characters)
        constraint, size = build_gap(self._constraints, request, after)
        one_by_one = replace(
            sampling, unmask_order="left", unmask_schedule="linear", unmask_steps=0
        )
        return constraint, replace(one_by_one, gap_tokens=size, remask=False)

    def _around_gap(self, prompt: str) -> tuple[str, list[int]]:
        """The text before a gap, and the ids behind it."""
        before, _, after = prompt.partition(GAP)
        if GAP in after:
            raise WenmoError(f"a prompt has one gap, written {GAP}: this one has more")
        if self.tokenizer.prefix_space:  # spaces belong to the words behind them
            before, after = before.rstrip(" "), after.removeprefix(" ")
        return before, self._encode(after)[len(self.tokenizer.prefix) :] if after else []

    def _constraint(
        self,
        prompt: str,
        source: Source | None,
        sampling: Sampling,
        chart: Chart | None,
        settings: ConstraintSettings,
    ) -> Constraint | None:
        strip_space = self._strips_space(prompt)
        if chart is not None:
            grammar: Constraint | None
            grammar = self._constraints.grammar(chart, strip_space=strip_space)
        else:
            grammar = None
            if sampling.same_length and source is not None:
                grammar = self._same_length(prompt, source)
        read = None if source is None else self._text(source)
        characters = self._allowed_characters(prompt, source, sampling, chart)
        request = ConstraintRequest(settings, prompt, read, sampling, strip_space, characters)
        return combine(grammar, self._constraints.start(request))

    def _with_gaps(self, prompt: str) -> str:
        """A prompt with its gap in one spelling, for models that fill gaps."""
        return with_gaps(prompt) if self._infills else prompt

    def _same_length(self, prompt: str, source: Source) -> Constraint:
        """An answer with as many characters as its source; its prompt counts."""
        count = len(self._text(source)) - len(prompt) + self._strips_space(prompt)
        return self._constraints.characters(count)

    def _text(self, source: Source) -> str:
        return source if isinstance(source, str) else self.tokenizer.decode(source)

    def _allowed_characters(
        self, prompt: str, source: Source | None, sampling: Sampling, chart: Chart | None
    ) -> Utf8Vocabulary:
        """The characters that the output may have."""
        if sampling.unseen_characters or chart is not None:
            return self._all_characters
        given = prompt + self._text(source or "")
        return self._characters.extended(given.replace(GAP, ""))

    def _is_truncated(self, request: Request, source: Source | None) -> bool:
        if source is None or request.source is None:
            length = 1 + len(request.prompt)
            return window(length, self.model.context) < length
        return len(request.source) < len(self._ids(source))

    def _strips_space(self, prompt: str) -> bool:
        """Whether the space before the first generated word is not shown."""
        before, gap, _ = prompt.partition(GAP) if self._infills else (prompt, "", "")
        return self.tokenizer.prefix_space and (not before or (bool(gap) and before[-1] == " "))

    def _space_after(self, request: Request) -> str:
        """The space that the tokenizer added after the prompt's last word."""
        last = self.tokenizer.table[request.prompt[-1]] if request.prompt else b""
        return " " if last.endswith(b" ") else ""

    def _run(self, jobs: Sequence[_Job]) -> Iterator[tuple[int, str, Output | None]]:
        """Generate all jobs.

        Yields:
            The index of a job, a piece of its text and, with the last piece, its output.
        """
        submitted = self._submit([job.request for job in jobs])
        indices = {number: index for index, number in enumerate(submitted)}
        drafts: dict[tuple[int, int], _Writing] = {}
        for event in self._events(submitted):
            index, key = indices[event.request], (event.request, event.rank)
            if key not in drafts:
                drafts[key] = _Writing(self._detokenizer(jobs[index]), jobs[index].healed)
            draft = drafts[key]
            if draft.detokenizer.stopped:
                continue  # the rest of a beam's text, which was searched for as a whole
            piece = draft.append(event, self.tokenizer.table[event.token])
            stopped = "stop" if draft.detokenizer.stopped else event.stopped_by
            if stopped is None:
                yield index, piece, None
                continue
            self._engine.cancel(event.request)
            piece += draft.finish()
            yield index, piece, draft.output(stopped, jobs[index].truncated, event)

    def _detokenizer(self, job: _Job) -> Detokenizer:
        space = None
        if self.tokenizer.suffix_space:
            space = "" if job.healed else self._space_after(job.request)
        stop = job.request.sampling.stop
        strip_space, escapes = job.strip_space, job.escapes
        return Detokenizer(stop, strip_space=strip_space, pending_space=space, escapes=escapes)

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
        """The events of these requests, until none of them is open.

        Calls that run at the same time, such as two streams, share the steps of the engine: each
        keeps the events of the others in their inboxes.
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


@dataclass(frozen=True, slots=True)
class _Job:
    """A request, and what its text needs.

    Attributes:
        truncated: as of `Output`.
        strip_space: a space at the beginning of the output is not shown.
        healed: how many bytes at the beginning of the output repeat the prompt.
        escapes: the output is JSON.
    """

    request: Request
    truncated: bool
    strip_space: bool
    healed: int = 0
    escapes: bool = False


@dataclass(slots=True)
class _Writing:
    """A text that is being generated.

    Attributes:
        skip: how many of its next bytes are not shown.
    """

    detokenizer: Detokenizer
    skip: int = 0
    text: str = ""
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def append(self, event: Event, data: bytes) -> str:
        """Add a token that spells ``data``; the text that is certain after it."""
        self.ids.append(event.token)
        self.logprobs.append(event.logprob)
        piece = self.detokenizer.feed(data[self.skip :])
        self.skip = max(0, self.skip - len(data))
        self.text += piece
        return piece

    def finish(self) -> str:
        """The rest of the text."""
        rest = self.detokenizer.rest()
        self.text += rest
        return rest

    def output(self, stopped_by: StoppedBy, truncated: bool, last: Event) -> Output:
        """The finished text, whose last event is given."""
        logprob = sum(self.logprobs)
        return Output(
            self.text,
            len(self.ids),
            logprob,
            stopped_by,
            truncated,
            logprob if last.score is None else last.score,
            tuple(self.ids),
            tuple(self.logprobs),
            last.weight,
            speculation=last.speculation,
        )


def _check_draft(draft: Draft[Any] | None, drawn: object | None) -> None:
    if draft is not None and drawn is not None:
        raise WenmoError(
            "draft: a grammar draws each text at once, without steps to save: leave the draft out"
        )


def _seeded(request: Request, n: int) -> list[Request]:
    """The same request n times, each with its own seed; a beam's has the request's."""
    sampling = replace(request.sampling, seed=own_seed(request.sampling.seed, request))
    if sampling.searches:
        return [_with_sampling(request, sampling)] * n
    each = (replace(sampling, seed=seed) for seed in sample_seeds(sampling, n))
    return [_with_sampling(request, own) for own in each]


def _with_sampling(request: Request, sampling: Sampling) -> Request:
    constraint = request.constraint and draw(request.constraint, sampling.seed)
    return replace(request, sampling=sampling, constraint=constraint)
