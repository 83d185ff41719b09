"""Text generation of a run: turns prompts into requests and options into settings."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from wenmo.api.combination import Combiner
from wenmo.api.drafts import open_draft
from wenmo.config import from_dict, to_dict
from wenmo.decoding.chain_text import expand_chain, format_chain
from wenmo.decoding.combination.settings import CombinationSettings, split_combination
from wenmo.decoding.constraints.notation import structure_of
from wenmo.decoding.constraints.settings import split_options
from wenmo.decoding.defaults import default_sampling
from wenmo.decoding.drafts.base import Draft
from wenmo.decoding.drafts.settings import DraftSettings, split_draft
from wenmo.decoding.effects import WRITING, Writing
from wenmo.decoding.explain import explain_decoding
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.noise import draw_seed
from wenmo.decoding.output import Output
from wenmo.decoding.params import DRAWING, Sampling
from wenmo.effects import ineffective_settings
from wenmo.evaluation.utility import UTILITIES
from wenmo.grammar.chart import Chart
from wenmo.grammar.reading import read_grammar
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import HasLatents, Infills, SamplesTexts, has_capability
from wenmo.runs.store import Card, chat_formatter_of
from wenmo.text.chat_formatter import ChatFormatter
from wenmo.text.config import TaskConfig
from wenmo.text.control import resolve
from wenmo.text.tasks import GAP, history_source, kept_side, render_history, source_of, with_gaps
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError, WenmoWarning, string, strings

T = TypeVar("T")
EMPTY_OUTPUT = Output("", 0, 0.0, "end", False, 0.0, (), ())
"""The answer to a blank source."""
MAX_SAMPLED_TOKENS = 100_000  # of models that sample whole texts, which end by themselves
MAX_REPLY_TOKENS = 512  # of pretrained chat models
_UNSUPPORTED = {
    "control": "trained without control fields: leave --control out, or train with --control FIELD",
    "prefix": "--prefix is for runs trained on pairs; leave it out, or put it in --prompt",
}
"""Messages for options that a run without pairs does not support."""


class Generator:
    """Generates text with the model of a run, with the task and the defaults of its card.

    Attributes:
        folder: the run folder, for messages.
        card: settings, data and results.
        model: the model.
        tokenizer: the tokenizer; for a run that was trained on conversations, the one of its chat
            template.
    """

    def __init__(
        self, folder: Path, card: Card, model: LanguageModel, tokenizer: Tokenizer
    ) -> None:
        self.folder, self.card, self.model, self.tokenizer = folder, card, model, tokenizer
        if card.is_chat and self.chat_formatter is not None:
            self.tokenizer = self.chat_formatter.tokenizer
        self._drafts: dict[str, Draft[Any]] = {}
        self._combined: tuple[CombinationSettings, TextGenerator] | None = None

    @property
    def task(self) -> TaskConfig:
        """The task of the training."""
        return self.card.recipe.task

    @cached_property
    def chat_formatter(self) -> ChatFormatter | None:
        """Formats conversations with the model's chat template; None if it has none."""
        return chat_formatter_of(self.card, self.model, self.tokenizer)

    @cached_property
    def text_generator(self) -> TextGenerator:
        """Created once: the table of 150,000 tokens takes a quarter of a second."""
        return self._text_generator(self.model)

    def _text_generator(self, model: LanguageModel) -> TextGenerator:
        keep, alphabet = kept_side(self.task), self.card.alphabet
        return TextGenerator(
            model, self.tokenizer, keep=keep, alphabet=alphabet, utilities=UTILITIES
        )

    @cached_property
    def _combiner(self) -> Combiner:
        return Combiner(self.folder, self.card, self.model, self.tokenizer)

    def combined_generator(self, settings: CombinationSettings) -> TextGenerator:
        """As ``text_generator``, of the model that other runs steer; the last one is kept.

        Raises:
            WenmoError: a run that cannot steer this one.
        """
        if not settings.steers:
            return self.text_generator
        if self._combined is None or self._combined[0] != settings:
            self._combined = settings, self._text_generator(self._combiner.combine(settings))
        return self._combined[1]

    @cached_property
    def chat_generator(self) -> TextGenerator:
        """As ``text_generator``, with the tokenizer of the chat template."""
        assert self.chat_formatter is not None
        tokenizer = self.chat_formatter.tokenizer
        alphabet = self.card.alphabet
        return TextGenerator(self.model, tokenizer, alphabet=alphabet, utilities=UTILITIES)

    # -- settings ----------------------------------------------------------------------------------

    @property
    def defaults(self) -> Sampling:
        """The default settings: those of the task, overridden by those of the card.

        They are the same on the command line and in Python.
        """
        samples_texts = has_capability(self.model, SamplesTexts)
        settings = to_dict(default_sampling(self.task, samples_texts=samples_texts))
        if self.task.paired:
            settings["max_tokens"] = self.card.longest_target
            settings["same_length"] = self.card.same_length and not self.card.is_chat
        elif samples_texts:
            settings["max_tokens"] = MAX_SAMPLED_TOKENS
        return from_dict(Sampling, settings | self.card.sampling)

    def sampling(self, options: Mapping[str, Any]) -> Sampling:
        """The settings of ``options``, completed by the defaults and, without a seed, a drawn one.

        Options that only affect sampling select ``method=sample``, unless a method is given.
        ``chain`` may be the text of a chain; see `expand_chain`.
        """
        settings = expand_chain(options)
        given = {*options, *settings.get("chain", ())} - {"chain"}
        if DRAWING & given:
            settings = {"method": "sample", **settings}
        if settings.get("seed") is None:
            settings = {**settings, "seed": draw_seed()}
        sampling = from_dict(Sampling, {**to_dict(self.defaults), **settings})
        warn(ineffective_settings(given, WRITING, Writing(sampling, self.model)))
        return sampling

    def given_seed(self, **options: Any) -> int | None:
        """The seed that the options name, in a chain or by itself."""
        seed: int | None = expand_chain(options).get("seed")
        return seed

    def format_chain(self, **options: Any) -> str:
        """The settings of ``options`` as one text, which ``chain=`` takes."""
        return format_chain(self.sampling(split_options(options)[1]), self.defaults)

    def explain_decoding(
        self,
        *,
        control: Mapping[str, str] | None = None,
        prefix: str = "",
        grammar: str | Path | None = None,
        **options: Any,
    ) -> list[str]:
        """See `Run.explain_decoding`."""
        constraints, settings = split_options(options)
        combination, settings = split_combination(settings)
        sampling = self.sampling(settings)
        free = sampling.unseen_characters or grammar is not None or self.card.alphabet is None
        free = free or bool(structure_of(constraints))
        return [f"model: {combination}"] * combination.steers + explain_decoding(
            sampling,
            self.model.special_tokens,
            self.tokenizer.table,
            alphabet=None if free else len(self.card.alphabet or ()),
            constraints=constraints,
            grammar=None if grammar is None else str(grammar),
            unmasks=has_capability(self.model, Infills)
            and sampling.unmasks
            and not constraints.given
            and grammar is None,
            defaults=self.defaults,
        )

    def is_random(self, **sampling: Any) -> bool:
        """Whether texts with these settings depend on the seed."""
        settings = self.sampling(sampling)
        if settings.draws:
            return True
        return has_capability(self.model, HasLatents) or has_capability(self.model, Infills)

    def repeats_text(self, **sampling: Any) -> bool:
        """Whether several texts for one prompt are all equal with these settings."""
        return not self.is_random(**sampling) and not self.sampling(sampling).searches

    def resolve_control(self, fields: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
        """Complete the control fields with the most common values of the training text.

        Returns:
            The values of all fields, and a note for each field that was completed.

        Raises:
            WenmoError: the training text does not have a value.
        """
        return resolve(fields, self.task, self.card.data.get("control", {}))

    def logit_bias(self, amounts: str | Iterable[str]) -> tuple[tuple[int, float], ...]:
        """See `Run.logit_bias`."""
        biases = []
        for entry in strings(amounts, "logit_bias"):
            text, equals, amount = entry.rpartition("=")
            try:
                value = float(amount)
            except ValueError:
                equals = ""
            if not equals or not text:
                raise WenmoError(f"logit bias {entry!r}: write TEXT=AMOUNT, as in 春=2.5")
            ids = [i for i, token in enumerate(self.tokenizer.table) if token == text.encode()]
            if not ids:
                raise WenmoError(f"logit bias {text!r}: not one token of {self.folder}'s tokenizer")
            biases += [(token_id, value) for token_id in ids]
        return tuple(biases)

    # -- texts -------------------------------------------------------------------------------------

    def texts(self, prompts: str | Iterable[str], n: int = 1, **options: Any) -> list[list[str]]:
        """See `Run.texts`."""
        return self._generate(TextGenerator.texts, [""] * n, prompts, n, **options)

    def write(self, prompts: str | Iterable[str], n: int = 1, **options: Any) -> list[list[Output]]:
        """See `Run.write`."""
        return self._generate(TextGenerator.generate, [EMPTY_OUTPUT] * n, prompts, n, **options)

    def _generate(
        self,
        generate: Callable[..., list[list[T]]],
        empty: list[T],
        prompts: str | Iterable[str],
        n: int,
        *,
        control: Mapping[str, str] | None = None,
        prefix: str = "",
        grammar: str | Path | None = None,
        alternatives: int | None = None,
        **options: Any,
    ) -> list[list[T]]:
        """The outputs of ``generate`` for each prompt, and ``empty`` for each blank source."""
        if n < 1:
            raise WenmoError(f"n must be at least 1, not {n}")
        prompts = strings(prompts, "prompts")
        constraints, options = split_options(options)
        combination, options = split_combination(options)
        draft, sampling = split_draft(options)
        needs_source = self.task.paired and self.task.name != "completion"
        nonblank = [p for p in prompts if p.strip()] if needs_source else list(prompts)
        prefixes, sources = self.prepare_requests(nonblank or prompts, control or {}, prefix)
        writer = self.combined_generator(combination)
        self._check_gaps(prompts, writer.model)
        outputs = generate(
            writer,
            prefixes,
            self.sampling(sampling),
            n,
            sources=sources,
            chart=_load_chart(grammar),
            constraints=constraints,
            **({} if alternatives is None else {"alternatives": alternatives}),
            draft=self._draft(draft),
        )
        if len(nonblank) == len(prompts):
            return outputs
        remaining = iter(outputs)
        return [next(remaining) if prompt.strip() else empty for prompt in prompts]

    def stream(
        self,
        prompt: str = "",
        *,
        control: Mapping[str, str] | None = None,
        prefix: str = "",
        grammar: str | Path | None = None,
        **options: Any,
    ) -> Iterator[str]:
        """See `Run.stream`."""
        prompts = [string(prompt, "prompt")]
        constraints, options = split_options(options)
        combination, options = split_combination(options)
        draft, sampling = split_draft(options)
        writer = self.combined_generator(combination)
        self._check_gaps(prompts, writer.model)
        [text_prefix], sources = self.prepare_requests(prompts, control or {}, prefix)
        yield from writer.stream(
            text_prefix,
            self.sampling(sampling),
            source=None if sources is None else sources[0],
            chart=_load_chart(grammar),
            constraints=constraints,
            draft=self._draft(draft),
        )

    def _draft(self, settings: DraftSettings) -> Draft[Any] | None:
        """What proposes tokens; opened once."""
        name = settings.draft
        if name is not None and name not in self._drafts:
            self._drafts[name] = open_draft(name, self.folder, self.model, self.tokenizer)
        return None if name is None else self._drafts[name]

    def _check_gaps(self, prompts: Sequence[str], model: LanguageModel) -> None:
        """Refuse gaps that the run fills, but not a combination with other runs."""
        fills = has_capability(self.model, Infills) and not has_capability(model, Infills)
        if fills and any(GAP in with_gaps(prompt) for prompt in prompts):
            raise WenmoError(
                "a gap is filled by a masked run alone, or with others of its kind: leave the gap "
                "out, or what steers the run"
            )

    def prepare_requests(
        self, prompts: Sequence[str], control: Mapping[str, str], prefix: str
    ) -> tuple[list[str], list[str] | None]:
        """The prefix of each text, and the sources; None for a run without pairs."""
        control, _ = self.resolve_control(control)
        if not self.task.paired:
            if control or prefix:
                raise WenmoError(
                    f"{self.folder}: {_UNSUPPORTED['control' if control else 'prefix']}"
                )
            return [prompt or self.card.default_prompt for prompt in prompts], None
        if self.card.is_chat and self.chat_formatter is not None:
            histories = [render_history([prompt], self.task, control) for prompt in prompts]
            return [prefix] * len(prompts), self.chat_formatter.sources(histories)
        sources = [source_of(self.task, prompt, control) for prompt in prompts]
        if self.task.name == "completion":
            return [prefix + prompt for prompt in prompts], sources
        return [prefix] * len(prompts), sources

    # -- conversations -----------------------------------------------------------------------------

    def require_task(self, task: str) -> None:
        """Check that the run was trained for a task.

        Raises:
            WenmoError: the run was trained for another task.
        """
        supports_chat = task == "dialogue" and self.card.has_chat_template
        if self.task.name != task and not supports_chat:
            raise WenmoError(
                f"{self.folder}: was trained for {self.task.name}: train a run with --task {task}"
            )

    def reply(
        self,
        turns: str | Iterable[str],
        *,
        control: Mapping[str, str] | None = None,
        system: str | None = None,
        **sampling: Any,
    ) -> Iterator[str]:
        """See `Run.reply`."""
        self.require_task("dialogue")
        control, _ = self.resolve_control(control or {})
        turns = strings(turns, "turns")
        if self.chat_formatter is None:
            if system:
                raise WenmoError(
                    f"{self.folder}: has no chat template for a system prompt: leave --system out"
                )
            source = history_source(turns, self.task, control)
        elif self.card.is_chat:
            history = render_history(turns, self.task, control, system)
            [source] = self.chat_formatter.sources_with_system([history], system)
        else:  # a pretrained chat model continues the conversation as a text
            task = replace(self.task, history=len(turns))
            history = render_history(turns, task, system=system)
            [prompt] = self.chat_formatter.sources_with_system([history], system)
            settings = self.sampling({"max_tokens": MAX_REPLY_TOKENS, **sampling})
            return self.chat_generator.stream(prompt, settings)
        return self.text_generator.stream("", self.sampling(sampling), source=source)


def warn(lines: Sequence[str]) -> None:
    """Issue a `WenmoWarning` for each line, attributed to the caller's caller."""
    for line in lines:
        warnings.warn(line, WenmoWarning, stacklevel=3)


def _load_chart(grammar: str | Path | None) -> Chart | None:
    """The chart that constrains texts to the grammar of a file; None without a file."""
    return None if grammar is None else Chart.from_grammar(read_grammar(Path(grammar))[0])
