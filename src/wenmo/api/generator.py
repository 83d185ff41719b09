"""How a run writes: prompts become requests, and options settings."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from wenmo.config import from_dict, to_dict
from wenmo.decoding.defaults import default_sampling
from wenmo.decoding.effects import WRITING, Writing
from wenmo.decoding.generator import Output, TextGenerator
from wenmo.decoding.noise import draw_seed
from wenmo.decoding.params import DRAWING, Sampling
from wenmo.effects import ineffective_settings
from wenmo.grammar.chart import Chart
from wenmo.grammar.reading import read_grammar
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import HasLatents, Infills, SamplesTexts, has_capability
from wenmo.runs.store import Card, chat_formatter_of
from wenmo.text.chat_formatter import ChatFormatter
from wenmo.text.config import TaskConfig
from wenmo.text.control import resolve
from wenmo.text.tasks import history_source, kept_side, render_history, source_of
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError, WenmoWarning, string, strings

T = TypeVar("T")
UNASKED = Output("", 0, 0.0, "end", False, 0.0, (), ())
"""What answers a blank line among sources."""
WHOLE = 100_000  # tokens of a text that ends by itself
LONGEST_REPLY = 512  # tokens, of models that others taught to talk
_UNTRAINED = {
    "control": "trained without control fields: leave --control out, or train with --control FIELD",
    "prefix": "--prefix is for runs trained on pairs; leave it out, or say it with --prompt",
}
"""Why a run that learnt no pairs refuses an option, and what to do."""


class Generator:
    """Writes with the model of a run, by the run's task and card.

    Attributes:
        folder: where the run lies, for messages.
        card: settings, data and results.
        model: the weights.
        tokenizer: between text and ids; of a run that learnt conversations, that of its chat
            template.
    """

    def __init__(
        self, folder: Path, card: Card, model: LanguageModel, tokenizer: Tokenizer
    ) -> None:
        self.folder, self.card, self.model, self.tokenizer = folder, card, model, tokenizer
        if card.is_chat and self.chat is not None:
            self.tokenizer = self.chat.tokenizer

    @property
    def task(self) -> TaskConfig:
        """What the run was trained to do."""
        return self.card.recipe.task

    @cached_property
    def chat(self) -> ChatFormatter | None:
        """How conversations are written for the model; None: it has no chat template."""
        return chat_formatter_of(self.card, self.model, self.tokenizer)

    @cached_property
    def text_generator(self) -> TextGenerator:
        """Made once: its table of all tokens takes a quarter of a second for 150,000 of them."""
        keep, alphabet = kept_side(self.task), self.card.alphabet
        return TextGenerator(self.model, self.tokenizer, keep=keep, alphabet=alphabet)

    @cached_property
    def chat_generator(self) -> TextGenerator:
        """As ``text_generator``, for conversations whose marks the chat template writes."""
        assert self.chat is not None
        return TextGenerator(self.model, self.chat.tokenizer, alphabet=self.card.alphabet)

    # -- settings ----------------------------------------------------------------------------------

    @property
    def defaults(self) -> Sampling:
        """How the run writes where nothing is asked for, the same in every shell: what suits its
        task, and above that what its card says.
        """
        samples_texts = has_capability(self.model, SamplesTexts)
        settings = to_dict(default_sampling(self.task, samples_texts=samples_texts))
        if self.task.paired:
            settings["max_tokens"] = self.card.longest_target
            settings["same_length"] = self.card.same_length and not self.card.is_chat
        elif samples_texts:
            settings["max_tokens"] = WHOLE
        return from_dict(Sampling, settings | self.card.sampling)

    def sampling(self, options: Mapping[str, Any]) -> Sampling:
        """What was asked for, over what the run does by itself, with a seed of its own where none
        was given. A setting that only drawing heeds asks for drawing, unless a method is named.
        """
        if DRAWING & options.keys():
            options = {"method": "sample", **options}
        if options.get("seed") is None:
            options = {**options, "seed": draw_seed()}
        sampling = from_dict(Sampling, {**to_dict(self.defaults), **options})
        warn(ineffective_settings(options, WRITING, Writing(sampling, self.model)))
        return sampling

    def draws(self, **sampling: Any) -> bool:
        """Whether a text depends on the seed, if it is asked for with these settings."""
        asked = self.sampling(sampling)
        if asked.method != "beam" and not asked.greedy:
            return True
        return has_capability(self.model, HasLatents) or has_capability(self.model, Infills)

    def repeats(self, **sampling: Any) -> bool:
        """Whether several texts for one prompt are all the same with these settings."""
        return not self.draws(**sampling) and self.sampling(sampling).method != "beam"

    def resolve_control(self, asked: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
        """The values of control fields that texts are written with, of which those that are not
        asked for are the most common ones, and a line for the user of each that was not.

        Raises:
            WenmoError: the training text has no such value.
        """
        return resolve(asked, self.task, self.card.data.get("control", {}))

    def logit_bias(self, amounts: str | Iterable[str]) -> tuple[tuple[int, float], ...]:
        """``TEXT=AMOUNT`` strings as the ids and amounts that sampling takes.

        Raises:
            WenmoError: not of that form, or a text that is not one token of this run's.
        """
        biases = []
        for entry in strings(amounts, "logit_bias"):
            text, equals, amount = entry.rpartition("=")
            try:
                value = float(amount)
            except ValueError:
                equals = ""
            if not equals or not text:
                raise WenmoError(f"logit bias {entry!r}: write TEXT=AMOUNT, as in 春=2.5")
            ids = [i for i, spelled in enumerate(self.tokenizer.table) if spelled == text.encode()]
            if not ids:
                raise WenmoError(f"logit bias {text!r}: not one token of {self.folder}'s tokenizer")
            biases += [(token, value) for token in ids]
        return tuple(biases)

    # -- texts -------------------------------------------------------------------------------------

    def texts(self, prompts: str | Iterable[str], n: int = 1, **options: Any) -> list[list[str]]:
        """See `Run.texts`."""
        return self._answered(self.text_generator.texts, [""] * n, prompts, n, **options)

    def write(self, prompts: str | Iterable[str], n: int = 1, **options: Any) -> list[list[Output]]:
        """See `Run.write`."""
        return self._answered(self.text_generator.generate, [UNASKED] * n, prompts, n, **options)

    def _answered(
        self,
        write: Callable[..., list[list[T]]],
        blank: list[T],
        prompts: str | Iterable[str],
        n: int,
        *,
        control: Mapping[str, str] | None = None,
        prefix: str = "",
        grammar: str | Path | None = None,
        **sampling: Any,
    ) -> list[list[T]]:
        """What a writer writes for each prompt; ``blank`` answers a source without text."""
        if n < 1:
            raise WenmoError(f"n must be at least 1, not {n}")
        prompts = strings(prompts, "prompts")
        answers = self.task.paired and self.task.name != "completion"
        asked = [p for p in prompts if p.strip()] if answers else list(prompts)
        begun, sources = self.requests(asked or prompts, control or {}, prefix)
        chart = _chart(grammar)
        written = write(begun, self.sampling(sampling), n, sources=sources, chart=chart)
        if len(asked) == len(prompts):
            return written
        following = iter(written)
        return [next(following) if prompt.strip() else blank for prompt in prompts]

    def stream(
        self,
        prompt: str = "",
        *,
        control: Mapping[str, str] | None = None,
        prefix: str = "",
        grammar: str | Path | None = None,
        **sampling: Any,
    ) -> Iterator[str]:
        """See `Run.stream`."""
        [begun], sources = self.requests([string(prompt, "prompt")], control or {}, prefix)
        source, chart = None if sources is None else sources[0], _chart(grammar)
        settings = self.sampling(sampling)
        yield from self.text_generator.stream(begun, settings, source=source, chart=chart)

    def requests(
        self, prompts: Sequence[str], control: Mapping[str, str], prefix: str
    ) -> tuple[list[str], list[str] | None]:
        """How each text begins, and the source it is to answer; None: no text has one."""
        control, _ = self.resolve_control(control)
        if not self.task.paired:
            if control or prefix:
                raise WenmoError(f"{self.folder}: {_UNTRAINED['control' if control else 'prefix']}")
            return [prompt or self.card.default_prompt for prompt in prompts], None
        if self.card.is_chat and self.chat is not None:
            said = [render_history([prompt], self.task, control) for prompt in prompts]
            return [prefix] * len(prompts), self.chat.sources(said)
        sources = [source_of(self.task, prompt, control) for prompt in prompts]
        if self.task.name == "completion":
            return [prefix + prompt for prompt in prompts], sources
        return [prefix] * len(prompts), sources

    # -- conversations -----------------------------------------------------------------------------

    def require(self, task: str) -> None:
        """Make sure that the run was trained for a task.

        Raises:
            WenmoError: it was trained for another.
        """
        talks = task == "dialogue" and self.card.has_chat_template
        if self.task.name != task and not talks:
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
        self.require("dialogue")
        control, _ = self.resolve_control(control or {})
        turns = strings(turns, "turns")
        if self.chat is None:
            if system:
                raise WenmoError(
                    f"{self.folder}: has no chat template, and so no place for a system prompt: "
                    "leave --system out"
                )
            source = history_source(turns, self.task, control)
        elif self.card.is_chat:
            asked = render_history(turns, self.task, control, system)
            [source] = self.chat.sources_with_system([asked], system)
        else:  # others taught it to talk: the conversation is a text to go on with
            every = replace(self.task, history=len(turns))
            [said] = self.chat.sources_with_system(
                [render_history(turns, every, system=system)], system
            )
            settings = self.sampling({"max_tokens": LONGEST_REPLY, **sampling})
            return self.chat_generator.stream(said, settings)
        return self.text_generator.stream("", self.sampling(sampling), source=source)


def warn(lines: Sequence[str]) -> None:
    """Warn of each line at the caller's caller."""
    for line in lines:
        warnings.warn(line, WenmoWarning, stacklevel=3)


def _chart(grammar: str | Path | None) -> Chart | None:
    """What holds texts to a grammar."""
    return None if grammar is None else Chart.from_grammar(read_grammar(Path(grammar))[0])
