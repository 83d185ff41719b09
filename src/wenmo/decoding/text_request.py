"""From a prompt to a request of an engine: ids, constraints, and what the output's text needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

from wenmo.decoding.constraints.base import Constraint, combine, draw
from wenmo.decoding.constraints.build import ConstraintBuilder, ConstraintRequest, build_gap
from wenmo.decoding.constraints.notation import structure_of
from wenmo.decoding.constraints.settings import ConstraintSettings
from wenmo.decoding.constraints.token_healing import HealedPrefixes
from wenmo.decoding.constraints.utf8 import Utf8Vocabulary
from wenmo.decoding.detokenize import Detokenizer
from wenmo.decoding.engines.base import window
from wenmo.decoding.engines.whole import sample_seeds
from wenmo.decoding.params import Sampling
from wenmo.decoding.request import Request, own_seed
from wenmo.grammar.chart import Chart
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import Infills, SamplesTexts, has_capability
from wenmo.text.config import KeptSide
from wenmo.text.pairs import max_source_length
from wenmo.text.tasks import GAP, with_gaps
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError

Source: TypeAlias = str | Sequence[int]
"""What a text answers to: a text, or its ids without END."""


@dataclass(frozen=True, slots=True)
class TextRequest:
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


class RequestBuilder:
    """Builds the requests of one model and its tokenizer.

    Args:
        keep: which end of a source is kept that is too long for the model.
        alphabet: the characters of the training text; None: all characters.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        keep: KeptSide,
        alphabet: Iterable[str] | None,
    ) -> None:
        self.model, self.tokenizer, self.keep = model, tokenizer, keep
        self._infills = has_capability(model, Infills)
        if has_capability(model, SamplesTexts):  # what rules say is taken as it is
            alphabet = None
        if alphabet is not None and (tokenizer.prefix_space or tokenizer.suffix_space):
            alphabet = {*alphabet, " "}  # the tokenizer puts it beside words
        self._characters = Utf8Vocabulary(tokenizer.table, alphabet)
        self._all_characters = (
            self._characters if alphabet is None else Utf8Vocabulary(tokenizer.table)
        )
        self._constraints = ConstraintBuilder(tokenizer, alphabet, model.special_tokens)

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

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        ids: list[int] = self.tokenizer.encode(text).tolist()
        return ids

    def build(
        self,
        prompt: str,
        source: Source | None,
        sampling: Sampling,
        n: int,
        chart: Chart | None,
        settings: ConstraintSettings,
    ) -> TextRequest:
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
        ids, healed = self.encode(before), b""
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
        return TextRequest(request, truncated, strip_space and not healed, len(healed), escapes)

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
    def _prefixes(self) -> HealedPrefixes:
        return HealedPrefixes(self.tokenizer.table)

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
        return before, self.encode(after)[len(self.tokenizer.prefix) :] if after else []

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

    def with_gaps(self, prompt: str) -> str:
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

    def detokenizer(self, job: TextRequest) -> Detokenizer:
        """Turns the tokens of a request's output into text."""
        space = None
        if self.tokenizer.suffix_space:
            space = "" if job.healed else self._space_after(job.request)
        stop = job.request.sampling.stop
        strip_space, escapes = job.strip_space, job.escapes
        return Detokenizer(stop, strip_space=strip_space, pending_space=space, escapes=escapes)


def seeded(request: Request, n: int) -> list[Request]:
    """The same request n times, each with its own seed; a beam's has the request's."""
    sampling = replace(request.sampling, seed=own_seed(request.sampling.seed, request))
    if sampling.searches:
        return [_with_sampling(request, sampling)] * n
    each = (replace(sampling, seed=seed) for seed in sample_seeds(sampling, n))
    return [_with_sampling(request, own) for own in each]


def _with_sampling(request: Request, sampling: Sampling) -> Request:
    constraint = request.constraint and draw(request.constraint, sampling.seed)
    return replace(request, sampling=sampling, constraint=constraint)
