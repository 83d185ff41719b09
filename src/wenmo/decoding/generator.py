"""Text generation: prompts to requests, and the events of an engine to text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import Any

from wenmo.decoding.alternatives import check_alternatives, text_positions
from wenmo.decoding.combination.capabilities import HasBaseModel
from wenmo.decoding.constraints.settings import NO_CONSTRAINTS, ConstraintSettings
from wenmo.decoding.drafts.base import Draft
from wenmo.decoding.engines.base import Event
from wenmo.decoding.engines.router import Router
from wenmo.decoding.engines.whole import draw_texts, truncate_text
from wenmo.decoding.output import GrowingText, Output
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request
from wenmo.decoding.rescoring import text_log_probs
from wenmo.decoding.search.mbr import Utility, expected_utilities
from wenmo.decoding.text_request import RequestBuilder, Source, TextRequest, seeded
from wenmo.grammar.chart import Chart
from wenmo.grammar.sampler import SampledText
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import SamplesTexts, capability
from wenmo.text.config import KeptSide
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import END, State, WenmoError


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
        self._utilities = utilities or {}
        self._sampler = capability(model, SamplesTexts)
        self._requests = RequestBuilder(model, tokenizer, keep, alphabet)
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
        prompts = [self._requests.with_gaps(prompt) for prompt in prompts]
        bare = sources is None and chart is None and not constraints.given
        drawn = draw_texts(self.model, prompts, sampling, n, bare=bare)
        _check_draft(draft, drawn)
        if drawn is not None:
            scored = [[self._score_drawn(each, sampling) for each in texts] for texts in drawn]
            if not alternatives:
                return scored
            job = self._requests.build("", None, sampling, 1, None, NO_CONSTRAINTS)
            return [[self._with_positions(o, job.request, alternatives) for o in s] for s in scored]
        beam = sampling.searches
        copies = min(n, 1) if beam else n
        jobs: list[TextRequest] = []
        nothing = [None] * len(prompts)
        given = zip(prompts, sources or nothing, states or nothing, strict=True)
        for prompt, source, state in given:
            job = self._requests.build(
                prompt, source, sampling, n if beam else 1, chart, constraints
            )
            request = replace(job.request, state=state, draft=draft)
            jobs += [replace(job, request=each) for each in seeded(request, copies)]
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
        prompt = self._requests.with_gaps(prompt)
        bare = source is None and chart is None and not constraints.given
        drawn = draw_texts(self.model, [prompt], sampling, 1, bare=bare)
        _check_draft(draft, drawn)
        if drawn is not None:
            yield from (truncate_text(each.text, sampling)[0] for texts in drawn for each in texts)
            return
        job = self._requests.build(prompt, source, sampling, 1, chart, constraints)
        [request] = seeded(replace(job.request, draft=draft), 1)
        for _, piece, _ in self._run([replace(job, request=request)]):
            if piece:
                yield piece

    def encode_source(self, source: Source) -> list[int]:
        """The ids of a source, without END, cut to what the model can read."""
        return self._requests.encode_source(source)

    def _score_drawn(self, drawn: SampledText, sampling: Sampling) -> Output:
        """The output of a text that a grammar drew."""
        text, stopped_by = truncate_text(drawn.text, sampling)
        ids = self._requests.encode(text) + [END] * (stopped_by == "end")
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

    def _run(self, jobs: Sequence[TextRequest]) -> Iterator[tuple[int, str, Output | None]]:
        """Generate all jobs.

        Yields:
            The index of a job, a piece of its text and, with the last piece, its output.
        """
        submitted = self._submit([job.request for job in jobs])
        indices = {number: index for index, number in enumerate(submitted)}
        texts: dict[tuple[int, int], GrowingText] = {}
        for event in self._events(submitted):
            index, key = indices[event.request], (event.request, event.rank)
            job = jobs[index]
            if key not in texts:
                texts[key] = GrowingText(self._requests.detokenizer(job), job.healed)
            text = texts[key]
            if text.detokenizer.stopped:
                continue  # the rest of a beam's text, which was searched for as a whole
            piece = text.append(event, self.tokenizer.table[event.token])
            stopped = "stop" if text.detokenizer.stopped else event.stopped_by
            if stopped is None:
                yield index, piece, None
                continue
            self._engine.cancel(event.request)
            piece += text.finish()
            yield index, piece, text.output(stopped, job.truncated, event)

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


def _check_draft(draft: Draft[Any] | None, drawn: object | None) -> None:
    if draft is not None and drawn is not None:
        raise WenmoError(
            "draft: a grammar draws each text at once, without steps to save: leave the draft out"
        )
