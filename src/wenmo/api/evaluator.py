"""Evaluation of a run: on a text, token by token, and by its generated texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from wenmo.api.generator import Generator, warn
from wenmo.config import from_dict, override
from wenmo.decoding.output import Output
from wenmo.decoding.params import Sampling
from wenmo.effects import Effect, ineffective_settings
from wenmo.evaluation.alignment import alignment
from wenmo.evaluation.evaluate import (
    evaluate_pairs,
    evaluate_text,
    evaluate_with_baselines,
    readable_pairs,
)
from wenmo.evaluation.explain import explain
from wenmo.evaluation.results import Alignment, Evaluation, ExplainedToken, Tradeoff
from wenmo.evaluation.tradeoff import sweep, verdict
from wenmo.models import MODELS
from wenmo.models.capabilities import (
    FitsCounts,
    HasHiddenStates,
    HasLatents,
    SamplesTexts,
    baselines_of,
    has_capability,
)
from wenmo.progress import ProgressCallback, fraction_callback
from wenmo.text import corpus as corpora
from wenmo.text.choosing import choose_fields
from wenmo.text.inputs import Source, rereadable
from wenmo.text.objects import Texts, as_source
from wenmo.text.readers import for_other_data, has_fields
from wenmo.text.records import Records
from wenmo.text.sketch import overlap
from wenmo.types import WenmoError

MIN_OVERLAP = 0.2  # of a text with the training text; less may be common phrases
EVALUATION_EFFECTS: tuple[Effect[Evaluator], ...] = (
    Effect(
        "window stride",
        "for runs that read plain text in windows",
        lambda evaluator: not evaluator.generator.task.paired and not evaluator.is_record_level,
    ),
    Effect(
        " ".join(field.name for field in fields(Sampling) if field.name != "seed"),
        "for runs that were trained on pairs",
        lambda evaluator: evaluator.generator.task.paired,
    ),
)
"""The conditions under which settings of `Evaluator.evaluate` have an effect."""


class Evaluator:
    """Scores texts with the model of a run.

    Args:
        generator: the generator of the run, with its model and tokenizer.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator: Generator = generator
        self.folder, self.card, self.model = generator.folder, generator.card, generator.model

    @property
    def is_record_level(self) -> bool:
        """Whether the run's family scores complete records only."""
        return MODELS[self.card.recipe.family].model_class.record_level

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
    ) -> Evaluation:
        """Score a text. For pairs, score the targets and measure the run's answers.

        Args:
            data: a file, a folder or records in memory, in any format that ``fit`` reads.
            target: a file with the target of each line of ``data``, one a line.
            encoding: encoding of the text, such as ``gb18030``; ``None`` detects it.
            window: number of tokens in a scoring window, each without context before it (default:
                the model's context, or one window if that is unbounded).
            stride: tokens between the starts of windows (default: the window's size).
            dynamic: learning rate of dynamic evaluation, which trains on the text while it scores;
                for networks with unbounded context.
            cache: size of a continuous cache in tokens; for networks, not with ``dynamic``.
            samples: number of draws of the latents for importance weighting; for models with
                latents.
            settings: settings of reading as ``key=value``, where they differ from the run's.
            on_progress: called with an activity and its completed fraction.
            **sampling: settings of ``Sampling`` for the answers, where they differ from the run's.

        Returns:
            A `RecordEvaluation` if complete records were scored, a `PairEvaluation` for pairs.

        Raises:
            WenmoError: the text cannot be read, or an option does not fit this run.
        """
        self._validate_options(window, stride, dynamic, cache, samples)
        options = {"window": window, "stride": stride, **sampling}
        given = {name for name, value in options.items() if value is not None}
        warn(ineffective_settings(given, EVALUATION_EFFECTS, self))
        encoded = self._encode(data, target, encoding, settings, on_progress)
        progress, tokenizer = fraction_callback(on_progress, "scoring"), self.generator.tokenizer
        task = self.generator.task
        if task.paired:
            pairs = readable_pairs(encoded.ids, encoded.ends, self.model, task)
            # A fixed seed gives the same figures on every call.
            answer_sampling = self.generator.sampling({"seed": 0, **sampling})
            generator = self.generator.text_generator
            return evaluate_pairs(generator, pairs, task, answer_sampling, progress)
        if self.model.record_level:
            records = Records(encoded.ids, self.model.context)
            needs_stream = (window, stride, cache) != (None, None, None) or records.skipped
            if self.is_record_level or not needs_stream:
                return evaluate_with_baselines(
                    self.model, records, tokenizer, progress=progress, samples=samples
                )
        return evaluate_text(
            self.model,
            tokenizer,
            encoded.ids,
            window=window,
            stride=stride,
            dynamic=dynamic,
            cache=cache,
            progress=progress,
        )

    def explain(self, text: str) -> list[ExplainedToken]:
        """See `Run.explain`."""
        if self.generator.task.paired:
            raise WenmoError(f"{self.folder}: explain is for runs that were trained on plain text")
        if not text:
            raise WenmoError("no text to explain: give some")
        ids = self.generator.tokenizer.encode(text).tolist()
        return explain(self.model, ids, self._token_text)

    def align(
        self,
        prompt: str,
        output: Output,
        *,
        control: Mapping[str, str] | None = None,
        prefix: str = "",
    ) -> Alignment:
        """See `Run.align`."""
        [text_prefix], sources = self.generator.prepare_requests([prompt], control or {}, prefix)
        source = self.generator.text_generator.encode_source("" if sources is None else sources[0])
        prefix_ids = self.generator.tokenizer.encode(text_prefix).tolist() if text_prefix else []
        weights = alignment(self.model, source, [*prefix_ids, *output.ids])[len(prefix_ids) :]
        return Alignment(
            source=[*map(self._token_text, source), "<end>"],
            target=[self._token_text(token) for token in output.ids],
            weights=weights.tolist(),
        )

    def tradeoff(
        self,
        references: Sequence[str],
        temperatures: Sequence[float],
        texts: int,
        on_progress: ProgressCallback | None = None,
        **sampling: Any,
    ) -> Tradeoff:
        """The curves of the run and its baselines, and a verdict for each baseline.

        See `wenmo.api.tradeoff`.
        """
        if self.generator.task.paired:
            raise WenmoError(f"{self.folder}: was trained on pairs: leave it out")
        name = str(self.folder)
        baselines = {
            f"{name}, {baseline}": model for baseline, model in baselines_of(self.model).items()
        }
        options = {"max_tokens": self.generator.defaults.max_tokens, "seed": 0, **sampling}
        curves = sweep(
            {name: self.model, **baselines},
            self.generator.tokenizer,
            references,
            temperatures=temperatures,
            texts=texts,
            sampling=from_dict(Sampling, options),
            alphabet=self.card.alphabet,
            progress=fraction_callback(on_progress, f"writing with {name}"),
        )
        return Tradeoff(
            curves,
            {
                baseline: verdict(curves[name], curves[baseline], (name, baseline))
                for baseline in baselines
            },
        )

    def _encode(
        self,
        data: Source | Iterable[Any],
        target: Source | None,
        encoding: str | None,
        settings: Sequence[str],
        on_progress: ProgressCallback | None,
    ) -> corpora.Encoded:
        """The ids of a text that is read with the settings of the training text."""
        data, target = as_source(data), target and rereadable(target)
        read = replace(self.card.recipe.read, encoding=encoding)
        read = for_other_data(read, plain=isinstance(data, Texts) or not has_fields(data))
        read = override(read, settings, prefix="read.")
        read, _ = choose_fields(data, read, self.generator.task, target)
        encoded = corpora.encode_text(
            data,
            read,
            self.generator.tokenizer,
            task=self.generator.task,
            target=target,
            formatter=self.generator.chat_formatter if self.card.is_chat else None,
        )
        if on_progress is not None:
            for note in [*encoded.notes, *self._overlap_notes(encoded.sketch)]:
                on_progress(note, None)
        return encoded

    def _overlap_notes(self, sketch: str) -> list[str]:
        """A note if much of a text is also in the training text."""
        fraction, _ = overlap(sketch, self.card.data.get("sketch", ""))
        if fraction < MIN_OVERLAP:
            return []
        return [
            f"about {fraction:.0%} of the long lines and records of this text are in the training "
            f"text of {self.folder}: its figures are optimistic"
        ]

    def _token_text(self, token: int) -> str:
        """A token as text, or as hexadecimal bytes if it is not UTF-8."""
        token_bytes = self.generator.tokenizer.table[token]
        try:
            return token_bytes.decode() if token else "<end>"
        except UnicodeDecodeError:
            return f"<{token_bytes.hex(' ').upper()}>"

    def _validate_options(
        self,
        window: int | None,
        stride: int | None,
        dynamic: float | None,
        cache: int | None,
        samples: int | None,
    ) -> None:
        """Check that the run supports the options.

        Raises:
            WenmoError: it does not; the message names the option to leave out.
        """
        is_plain_text = not self.generator.task.paired
        if has_capability(self.model, SamplesTexts) and (window, stride) != (None, None):
            raise WenmoError(
                f"{self.folder}: scores a text as a whole: leave --window and --stride out"
            )
        is_unbounded = self.model.context is None and not has_capability(self.model, FitsCounts)
        if dynamic is not None and not (is_plain_text and is_unbounded):
            raise WenmoError(
                f"{self.folder}: dynamic evaluation is for recurrent networks (rnn, lstm, gru) "
                "that were trained on plain text: leave --dynamic out"
            )
        if cache is not None and dynamic is not None:
            raise WenmoError("--cache and --dynamic exclude each other: leave one out")
        if cache is not None and not (
            is_plain_text
            and not self.is_record_level
            and has_capability(self.model, HasHiddenStates)
        ):
            raise WenmoError(
                f"{self.folder}: a cache is for networks that were trained on plain text: leave "
                "--cache out"
            )
        if samples is not None and not has_capability(self.model, HasLatents):
            raise WenmoError(f"{self.folder}: has no latents to draw: leave --samples out")
