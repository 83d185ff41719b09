"""A trained generator: it writes, answers, replies, aligns and scores."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, TypeVar

from wenmo.config import from_dict, override, to_dict
from wenmo.decoding.effects import WRITING, Writing
from wenmo.decoding.engines.base import window
from wenmo.decoding.generator import Output, TextGenerator
from wenmo.decoding.latents import Latents
from wenmo.decoding.noise import draw_seed
from wenmo.decoding.params import DRAWING, Sampling
from wenmo.effects import Effect, without_effect
from wenmo.evaluation.alignment import alignment
from wenmo.evaluation.explain import explain
from wenmo.evaluation.tradeoff import Curve, sweep, verdict
from wenmo.grammar.chart import Chart
from wenmo.grammar.reading import read_grammar
from wenmo.models import MODELS, LanguageModel
from wenmo.models.capabilities import (
    FitsCounts,
    HasHiddenStates,
    HasLatents,
    Infills,
    SamplesTexts,
    baselines_of,
    has_capability,
)
from wenmo.pipeline.datasets import (
    evaluate_beside_baselines,
    evaluate_pairs,
    evaluate_text,
    kept,
    readable,
    sampling_for,
)
from wenmo.pipeline.session import ProgressCallback, share_of
from wenmo.runs.exports import write_export
from wenmo.runs.folders import history, samples
from wenmo.runs.store import Card, talk_of
from wenmo.text import corpus as corpora
from wenmo.text.choosing import choose_fields
from wenmo.text.config import TaskConfig
from wenmo.text.control import resolve
from wenmo.text.inputs import Source, rereadable
from wenmo.text.objects import Texts, as_source
from wenmo.text.pairs import Keep, source_room
from wenmo.text.readers import for_other_data, has_fields
from wenmo.text.records import Records
from wenmo.text.sketch import overlap
from wenmo.text.talk import ChatFormatter
from wenmo.text.tasks import GAP, history_source, render_history, source_of, with_gaps
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError, WenmoWarning, string, strings

T = TypeVar("T")
SCORING: tuple[Effect[Run], ...] = (
    Effect(
        "window stride",
        "for runs that read plain text in windows",
        lambda run: not run.task.paired and not run.by_record,
    ),
    Effect(
        " ".join(field.name for field in fields(Sampling) if field.name != "seed"),
        "for runs that answer to sources",
        lambda run: run.task.paired,
    ),
)
"""Where each setting of `Run.evaluate` has an effect that is not refused elsewhere."""
MUCH = 0.2  # of a text; less may well be common phrases
UNASKED = Output("", 0, 0.0, "end", False, 0.0, (), ())
"""What answers a blank line among sources."""
_UNTRAINED = {
    "control": "trained without control fields: leave --control out, or train with --control FIELD",
    "prefix": "--prefix is for runs trained on pairs; leave it out, or say it with --prompt",
}
"""Why a run that learnt no pairs refuses an option, and what to do."""
WHOLE = 100_000  # tokens of a text that ends by itself


class Run:
    """A trained generator: the content of a run folder, ready to write and to score.

    Attributes:
        folder: where it lies.
        card: settings, data and results.
        model: the best weights that training found.
        tokenizer: between text and ids.
    """

    def __init__(
        self, folder: Path, card: Card, model: LanguageModel, tokenizer: Tokenizer
    ) -> None:
        self.folder, self.card, self.model, self.tokenizer = folder, card, model, tokenizer
        if card.is_chat and self._talk is not None:
            self.tokenizer = self._talk.tokenizer

    @property
    def history(self) -> list[dict[str, Any]]:
        """The figures of training, a dict each: ``step``, ``seconds``, ``loss``, and after an
        evaluation ``heldout_bits_per_byte`` and so on; ``pandas.DataFrame(run.history)`` makes a
        table of it.
        """
        return history(self.folder)

    @property
    def samples(self) -> list[dict[str, Any]]:
        """What the run wrote after each evaluation of its training: ``step`` and ``text``."""
        return samples(self.folder)

    def _repr_html_(self) -> str:
        """A table for notebooks: the figures of the run and its last sample."""
        results = self.card.results
        heldout = results.get("heldout", {})
        rows = {
            "run": self.folder,
            "model": self.card.recipe.family,
            "task": self.task.name,
            "bits per byte": heldout.get("bits_per_byte"),
            "perplexity": heldout.get("perplexity"),
            "minutes": results["seconds"] / 60 if "seconds" in results else None,
            "parameters": results.get("parameters"),
            "sample": results.get("sample"),
        }
        cells = (
            f"<tr><th>{name}</th><td>{escape(_cell(value))}</td></tr>"
            for name, value in rows.items()
            if value is not None
        )
        return f"<table>{''.join(cells)}</table>"

    def __repr__(self) -> str:
        return f"<wenmo run {str(self.folder)!r}: {self.card.recipe.family}>"

    @cached_property
    def _talk(self) -> ChatFormatter | None:
        """How conversations are written for the model; None: it has no chat template."""
        return talk_of(self.card, self.model, self.tokenizer)

    @property
    def sampling(self) -> Sampling:
        """How the run writes where nothing is asked for, the same in every shell: what suits its
        task, and above that what its card says.
        """
        samples_texts = has_capability(self.model, SamplesTexts)
        settings = to_dict(sampling_for(self.task, samples_texts=samples_texts))
        if self.task.paired:
            settings["max_tokens"] = self.card.longest_target
            settings["same_length"] = self.card.same_length and not self.card.is_chat
        elif samples_texts:
            settings["max_tokens"] = WHOLE
        return from_dict(Sampling, settings | self.card.sampling)

    @property
    def task(self) -> TaskConfig:
        """What the run was trained to do."""
        return self.card.recipe.task

    def generate(self, prompt: str = "", n: int = 1, **options: Any) -> list[str]:
        """Write ``n`` texts for a prompt: what goes on from it, or, where the run was trained on
        pairs, what answers it. The prompt itself is not repeated.

        Args:
            prompt: what to go on from; empty for a text from its beginning, or, where the training
                text is a few long documents, from the beginning of a line. For pairs: the source.
            n: how many.
            **options: as of ``write``.

        Raises:
            WenmoError: the prompt is not one string, or an option makes no sense.
        """
        return self.texts([string(prompt, "prompt")], n, **options)[0]

    def texts(self, prompts: str | Iterable[str], n: int = 1, **options: Any) -> list[list[str]]:
        """As ``write``, but the texts alone. Rules draw a million of them in a minute.

        Args:
            **options: as of ``write``.
        """
        return self._answered(self._writer.texts, [""] * n, prompts, n, **options)

    def write(self, prompts: str | Iterable[str], n: int = 1, **options: Any) -> list[list[Output]]:
        """As ``generate``, for many prompts in one batch, with token counts and probabilities.

        Among sources to answer, a blank one is answered by nothing.

        Args:
            prompts: a list, an array or a pandas Series of strings; one string is one prompt.
            **options: ``control``, values of the fields that were trained on as control codes;
                ``prefix``, how every answer must begin, for runs that were trained on pairs;
                ``grammar``, the file of a grammar of which every text is to be one, the prompt not
                counted; and any setting of ``Sampling``: temperature, top_p, max_tokens, seed and
                so on. Where no seed is given, one is drawn, which every output tells.

        Raises:
            WenmoError: prompts of another kind, or an option that makes no sense.
        """
        return self._answered(self._writer.generate, [UNASKED] * n, prompts, n, **options)

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
        begun, sources = self._requests(asked or prompts, control or {}, prefix)
        chart = _chart(grammar)
        written = write(begun, self._sampling(sampling), n, sources=sources, chart=chart)
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
        """Write one text in pieces, as they come; never half a character."""
        [begun], sources = self._requests([string(prompt, "prompt")], control or {}, prefix)
        source, chart = None if sources is None else sources[0], _chart(grammar)
        settings = self._sampling(sampling)
        yield from self._writer.stream(begun, settings, source=source, chart=chart)

    def reply(
        self,
        turns: str | Iterable[str],
        *,
        control: Mapping[str, str] | None = None,
        system: str | None = None,
        **sampling: Any,
    ) -> Iterator[str]:
        """The next turn of a conversation, in pieces, as they come.

        Args:
            turns: what was said so far, by turns; the last is what is replied to.
            system: an instruction that stands before the conversation.

        Raises:
            WenmoError: the run was not trained on dialogue, or has no place for an instruction.
        """
        self.require("dialogue")
        control, _ = self.resolve_control(control or {})
        turns = strings(turns, "turns")
        if self._talk is None:
            if system:
                raise WenmoError(
                    f"{self.folder}: has no chat template, and so no place for a system prompt: "
                    "leave --system out"
                )
            source = history_source(turns, self.task, control)
        elif self.card.is_chat:
            asked = render_history(turns, self.task, control, system)
            [source] = self._talk.instructed([asked], system)
        else:  # others taught it to talk: the conversation is a text to go on with
            every = replace(self.task, history=len(turns))
            [said] = self._talk.instructed([render_history(turns, every, system=system)], system)
            return self._chat_writer.stream(said, self._sampling({"max_tokens": 512, **sampling}))
        return self._writer.stream("", self._sampling(sampling), source=source)

    def resolve_control(self, asked: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
        """The values of control fields that texts are written with, of which those that are not
        asked for are the most common ones, and a line for the user of each that was not.

        Raises:
            WenmoError: the training text has no such value.
        """
        return resolve(asked, self.task, self.card.data.get("control", {}))

    def require(self, task: str) -> None:
        """Make sure that the run was trained for a task.

        Raises:
            WenmoError: it was trained for another.
        """
        if self.task.name != task and not (task == "dialogue" and self.is_chat):
            raise WenmoError(
                f"{self.folder}: was trained for {self.task.name}: train a run with --task {task}"
            )

    @property
    def is_chat(self) -> bool:
        """Whether the run has a chat template, and so was trained for conversations."""
        return self.card.template is not None

    def ignores_gap(self, prompt: str) -> bool:
        """Whether a prompt has a gap that the run reads as any other text."""
        fills = has_capability(self.model, Infills) or self.task.name != "completion"
        return not fills and GAP in with_gaps(prompt)

    def chooses_gap(self, prompt: str, **sampling: Any) -> bool:
        """Whether a prompt has a gap whose length the model chooses."""
        fills = has_capability(self.model, Infills) and GAP in with_gaps(prompt)
        return fills and not sampling.get("gap_tokens", self.sampling.gap_tokens)

    def unknown_characters(self, prompts: Iterable[str]) -> str:
        """The characters of prompts that the training text does not have, each once; of sources
        nothing is known, since the card keeps the characters of targets alone.
        """
        if self.card.alphabet is None or self.task.paired:
            return ""
        known = {*self.card.alphabet, *GAP}
        given = dict.fromkeys("".join(map(with_gaps, prompts)))
        return "".join(c for c in given if c not in known and not c.isspace())

    def display_affixes(self, prompt: str, prefix: str = "") -> tuple[str, str]:
        """What of prompt and prefix belongs before and after a text that a person is shown."""
        marked = with_gaps(prompt)
        if self.task.name == "infilling" or (has_capability(self.model, Infills) and GAP in marked):
            before, _, after = marked.partition(GAP)
            return before + prefix, after
        return prefix + prompt if self.task.name == "completion" else prefix, ""

    def align(
        self,
        prompt: str,
        output: Output,
        *,
        control: Mapping[str, str] | None = None,
        prefix: str = "",
    ) -> dict[str, Any]:
        """How much each token of a text attended to each of its source.

        Args:
            prompt, control, prefix: what the text was written for.
            output: the text.

        Returns:
            ``source`` and ``target``, the tokens as text, and ``weights``, a row for each of the
            target's.

        Raises:
            WenmoError: the run's family has no encoder to attend to.
        """
        [begun], sources = self._requests([prompt], control or {}, prefix)
        source = self._writer.encode_source("" if sources is None else sources[0])
        before = self.tokenizer.encode(begun).tolist() if begun else []
        weights = alignment(self.model, source, [*before, *output.ids])[len(before) :]
        return {
            "source": [*map(self._spelled, source), "<end>"],
            "target": [self._spelled(token) for token in output.ids],
            "weights": weights.tolist(),
        }

    @property
    def latents(self) -> Latents:
        """The space that the run writes from: ``reconstruct``, ``walk`` and ``edit`` texts in it.

        Raises:
            WenmoError: its family has none.
        """
        return Latents(self._writer, self.sampling)

    def explain(self, text: str) -> list[dict[str, Any]]:
        """Token by token, how likely a text is, what was expected, and, where the run stands on
        counts, which of the counts or the network said so; see `evaluation.explain.explain`.

        Raises:
            WenmoError: the run answers to sources, or the text is empty or too long.
        """
        if self.task.paired:
            raise WenmoError(f"{self.folder}: explain is for runs that were trained on plain text")
        if not text:
            raise WenmoError("no text to explain: give some")
        rows = explain(self.model, self.tokenizer.encode(text).tolist())
        spelled = ("token", "likeliest")
        return [row | {name: self._spelled(row[name]) for name in spelled} for row in rows]

    def _spelled(self, token: int) -> str:
        """A token as text, or as bytes where it is no whole character."""
        spelled = self.tokenizer.table[token]
        try:
            return spelled.decode() if token else "<end>"
        except UnicodeDecodeError:
            return f"<{spelled.hex(' ').upper()}>"

    def _requests(
        self, prompts: Sequence[str], control: Mapping[str, str], prefix: str
    ) -> tuple[list[str], list[str] | None]:
        """How each text begins, and the source it is to answer."""
        control, _ = self.resolve_control(control)
        if not self.task.paired:
            if control or prefix:
                raise WenmoError(f"{self.folder}: {_UNTRAINED['control' if control else 'prefix']}")
            return [prompt or self.card.opening for prompt in prompts], None
        if self.card.is_chat and self._talk is not None:
            said = [render_history([prompt], self.task, control) for prompt in prompts]
            return [prefix] * len(prompts), self._talk.sources(said)
        sources = [source_of(self.task, prompt, control) for prompt in prompts]
        if self.task.name == "completion":
            return [prefix + prompt for prompt in prompts], sources
        return [prefix] * len(prompts), sources

    def _sampling(self, options: Mapping[str, Any]) -> Sampling:
        """What was asked for, over what the run does by itself, with a seed of its own where none
        was given. A setting that only drawing heeds asks for drawing, unless a method is named.
        """
        if DRAWING & options.keys():
            options = {"method": "sample", **options}
        if options.get("seed") is None:
            options = {**options, "seed": draw_seed()}
        sampling = from_dict(Sampling, {**to_dict(self.sampling), **options})
        _warn(without_effect(options, WRITING, Writing(sampling, self.model)))
        return sampling

    def draws(self, **sampling: Any) -> bool:
        """Whether a text depends on the seed, if it is asked for with these settings."""
        asked = self._sampling(sampling)
        if asked.method != "beam" and not asked.greedy:
            return True
        return has_capability(self.model, HasLatents) or has_capability(self.model, Infills)

    def repeats(self, **sampling: Any) -> bool:
        """Whether several texts for one prompt are all the same with these settings."""
        return not self.draws(**sampling) and self._sampling(sampling).method != "beam"

    @cached_property
    def _writer(self) -> TextGenerator:
        """Made once: its table of all tokens takes a quarter of a second for 150,000 of them."""
        keep, alphabet = kept(self.task), self.card.alphabet
        return TextGenerator(self.model, self.tokenizer, keep=keep, alphabet=alphabet)

    @cached_property
    def _chat_writer(self) -> TextGenerator:
        """As ``_writer``, for conversations, whose marks the chat template writes."""
        assert self._talk is not None
        return TextGenerator(self.model, self._talk.tokenizer, alphabet=self.card.alphabet)

    def truncates(self, prompt: str) -> Keep | None:
        """Which end alone is read of a prompt that is too long for the model; None if all of it."""
        if self.task.paired and self.task.name != "completion":
            length = len(self.tokenizer.encode_source(prompt))
            room = source_room(self.model.conditioning, self.model.context)
            too_long = room is not None and length > room
        else:
            length = len(self.tokenizer.encode(prompt))
            too_long = window(1 + length, self.model.context) < 1 + length
        return kept(self.task) if too_long else None

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

    def evaluate(
        self,
        data: Source | Iterable[Any],
        *,
        target: Source | None = None,
        encoding: str | None = None,
        window: int | None = None,
        stride: int | None = None,
        dynamic: float | None = None,
        cache: int | None = None,
        samples: int | None = None,
        settings: Sequence[str] = (),
        on_progress: ProgressCallback | None = None,
        **sampling: Any,
    ) -> dict[str, Any]:
        """Score a text: bits per byte, nats per token, perplexity, tokens, bytes. Of pairs, the
        targets are scored, and ``metrics`` measure what the run answers beside them.

        Args:
            data: a file, a folder or records in memory, of any kind that ``fit`` reads.
            target: the texts that answer the lines of ``data``, a line each.
            encoding: of the text, such as ``gb18030``; ``None`` detects it.
            window: read the text in windows of so many tokens, each with nothing before it;
                ``None``: in windows of the model's context, or, where that is unbounded, as one.
            stride: how far windows move; ``None``: by a whole one.
            dynamic: go on learning from the text while it is scored, at this rate of gradient
                descent; for networks without bounds.
            cache: how many tokens a continuous cache holds; for networks, and not with ``dynamic``.
            samples: also score by importance weighting, with so many draws of the latents; for
                models that have some.
            settings: how to read it, as ``key=value``, where it differs from the training text.
            on_progress: is told the share that is done.
            **sampling: how answers are written, where it differs from the task's own way.
        """
        if has_capability(self.model, SamplesTexts) and (window, stride) != (None, None):
            raise WenmoError(
                f"{self.folder}: reads a text from its beginning only: leave --window and --stride "
                "out"
            )
        if dynamic is not None:
            self._require_learning()
        if cache is not None:
            self._require_hidden_states(dynamic)
        if samples is not None and not has_capability(self.model, HasLatents):
            raise WenmoError(f"{self.folder}: has no latents to draw: leave --samples out")
        options = {"window": window, "stride": stride, **sampling}
        given = {name for name, value in options.items() if value is not None}
        _warn(without_effect(given, SCORING, self))
        data, target = as_source(data), target and rereadable(target)
        read = replace(self.card.recipe.read, encoding=encoding)
        read = for_other_data(read, plain=isinstance(data, Texts) or not has_fields(data))
        read, _ = choose_fields(data, override(read, settings, where="read."), self.task, target)
        encoded = corpora.encode_text(
            data,
            read,
            self.tokenizer,
            task=self.task,
            target=target,
            talk=self._talk if self.card.is_chat else None,
        )
        if on_progress is not None:
            for note in encoded.notes:
                on_progress(note, None)
            if flattered := self._flattered(encoded.sketch):
                on_progress(flattered, None)
        progress = share_of(on_progress, "scoring")
        if self.model.record_level:
            records, more = Records(encoded.ids, self.model.context), {"samples": samples}
        in_pieces = (window, stride, cache) != (None, None, None)
        if self.by_record or (self.model.record_level and not (in_pieces or records.left_out)):
            return evaluate_beside_baselines(
                self.model, records, self.tokenizer, progress=progress, **more
            )
        if not self.task.paired:
            return evaluate_text(
                self.model,
                self.tokenizer,
                encoded.ids,
                window=window,
                stride=stride,
                dynamic=dynamic,
                cache=cache,
                progress=progress,
            )
        pairs = readable(encoded.ids, encoded.ends, self.model, self.task)
        asked = self._sampling({"seed": 0, **sampling})  # the same figures each time
        return evaluate_pairs(self._writer, pairs, self.task, asked, progress)

    def tradeoff(
        self,
        references: Sequence[str],
        temperatures: Sequence[float],
        texts: int,
        on_progress: ProgressCallback | None = None,
        **sampling: Any,
    ) -> tuple[dict[str, Curve], dict[str, Any]]:
        """The curves of the run and its baselines, and a verdict for each of these; see
        `wenmo.api.tradeoff`.
        """
        if self.task.paired:
            raise WenmoError(f"{self.folder}: answers to sources: leave it out")
        name = str(self.folder)
        baselines = {
            f"{name}, {baseline}": model for baseline, model in baselines_of(self.model).items()
        }
        asked = {"max_tokens": self.sampling.max_tokens, "seed": 0, **sampling}
        curves = sweep(
            {name: self.model, **baselines},
            self.tokenizer,
            references,
            temperatures=temperatures,
            texts=texts,
            sampling=from_dict(Sampling, asked),  # as the model has it, but for the temperature
            alphabet=self.card.alphabet,
            progress=share_of(on_progress, f"writing with {name}"),
        )
        return curves, {
            baseline: verdict(curves[name], curves[baseline], (name, baseline))
            for baseline in baselines
        }

    def export(
        self,
        to: str,
        out: str | Path,
        *,
        precision: str | None = None,
        network_only: bool = False,
    ) -> str | None:
        """Write the model for other programs; adapters are added into its weights first.

        Args:
            to: ``huggingface``, a folder that `transformers` opens; ``gguf``, a file that llama.cpp
                runs; ``onnx``, a folder that onnxruntime runs; ``arpa``, a file of an n-gram model;
                ``grammar``, rules with their weights.
            out: the folder or file.
            precision: of GGUF's matrices: float32, float16 (the default) or q8_0.
            network_only: write the network of a run on counts without them.

        Returns:
            What the user should know of what was written; ``None``: nothing.

        Raises:
            WenmoError: the format cannot hold this model, or there is no such format.
        """
        return write_export(
            to,
            Path(out),
            self.model,
            self.card,
            self.tokenizer,
            precision=precision,
            network_only=network_only,
            sampling=to_dict(self.sampling),
        )

    @property
    def by_record(self) -> bool:
        """Whether the run's family reads whole records alone."""
        return MODELS[self.card.recipe.family].kind.record_level

    def _flattered(self, sketch: str) -> str | None:
        """A line for the user where a text is one that the run has learnt from."""
        share, _ = overlap(sketch, self.card.data.get("sketch", ""))
        if share < MUCH:
            return None
        return (
            f"about {share:.0%} of the long lines and records of this text are in the training "
            f"text of {self.folder}: its figures flatter"
        )

    def _require_learning(self) -> None:
        """Make sure that the run can go on learning from a text that it is scored on."""
        counts = has_capability(self.model, FitsCounts)
        streams = self.model.context is None and not counts
        if self.task.paired or not streams:
            raise WenmoError(
                f"{self.folder}: dynamic evaluation is for networks without bounds (rnn, lstm, "
                "gru) that were trained on plain text: leave --dynamic out"
            )

    def _require_hidden_states(self, dynamic: float | None) -> None:
        """Make sure that the run has hidden states to keep in a cache."""
        if dynamic is not None:
            raise WenmoError("--cache and --dynamic cannot be had at once: leave one out")
        streams = not (self.task.paired or self.by_record)
        if not (streams and has_capability(self.model, HasHiddenStates)):
            raise WenmoError(
                f"{self.folder}: a cache is for networks that were trained on plain text: leave "
                "--cache out"
            )


def _warn(lines: Sequence[str]) -> None:
    for line in lines:
        warnings.warn(line, WenmoWarning, stacklevel=3)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _chart(grammar: str | Path | None) -> Chart | None:
    """What holds texts to a grammar."""
    return None if grammar is None else Chart.of(read_grammar(Path(grammar))[0])
