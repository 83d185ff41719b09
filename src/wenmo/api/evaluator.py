"""How a run is evaluated: on a text, token by token, and in what it writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from wenmo.api.generator import Generator, warn
from wenmo.config import from_dict, override
from wenmo.decoding.generator import Output
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

MUCH = 0.2  # of a text; less may well be common phrases
SCORING: tuple[Effect[Evaluator], ...] = (
    Effect(
        "window stride",
        "for runs that read plain text in windows",
        lambda run: not run.generator.task.paired and not run.by_record,
    ),
    Effect(
        " ".join(field.name for field in fields(Sampling) if field.name != "seed"),
        "for runs that answer to sources",
        lambda run: run.generator.task.paired,
    ),
)
"""Where each setting of `Evaluator.evaluate` has an effect that is not refused elsewhere."""


class Evaluator:
    """Scores texts with the model of a run.

    Args:
        generator: writes the answers that are measured, and holds the model.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator: Generator = generator
        self.folder, self.card, self.model = generator.folder, generator.card, generator.model

    @property
    def by_record(self) -> bool:
        """Whether the run's family reads whole records alone."""
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
        """Score a text. Of pairs the targets are scored, and what the run answers is measured.

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
            on_progress: receives the share that is done.
            **sampling: how answers are written, where it differs from the task's own way.

        Returns:
            A `RecordEvaluation` where records were scored as wholes, a `PairEvaluation` of pairs.

        Raises:
            WenmoError: the text cannot be read, or an option makes no sense for this run.
        """
        self._check_options(window, stride, dynamic, cache, samples)
        options = {"window": window, "stride": stride, **sampling}
        given = {name for name, value in options.items() if value is not None}
        warn(ineffective_settings(given, SCORING, self))
        encoded = self._encode(data, target, encoding, settings, on_progress)
        progress, tokenizer = fraction_callback(on_progress, "scoring"), self.generator.tokenizer
        task = self.generator.task
        if task.paired:
            pairs = readable_pairs(encoded.ids, encoded.ends, self.model, task)
            asked = self.generator.sampling({"seed": 0, **sampling})  # the same figures each time
            return evaluate_pairs(self.generator.text_generator, pairs, task, asked, progress)
        if self.model.record_level:
            records = Records(encoded.ids, self.model.context)
            in_pieces = (window, stride, cache) != (None, None, None)
            if self.by_record or not (in_pieces or records.skipped):
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
        return explain(self.model, ids, self._spelled)

    def align(
        self,
        prompt: str,
        output: Output,
        *,
        control: Mapping[str, str] | None = None,
        prefix: str = "",
    ) -> Alignment:
        """See `Run.align`."""
        [begun], sources = self.generator.requests([prompt], control or {}, prefix)
        source = self.generator.text_generator.encode_source("" if sources is None else sources[0])
        before = self.generator.tokenizer.encode(begun).tolist() if begun else []
        weights = alignment(self.model, source, [*before, *output.ids])[len(before) :]
        return Alignment(
            source=[*map(self._spelled, source), "<end>"],
            target=[self._spelled(token) for token in output.ids],
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
        """The curves of the run and its baselines, and a verdict for each of these; see
        `wenmo.api.tradeoff`.
        """
        if self.generator.task.paired:
            raise WenmoError(f"{self.folder}: answers to sources: leave it out")
        name = str(self.folder)
        baselines = {
            f"{name}, {baseline}": model for baseline, model in baselines_of(self.model).items()
        }
        asked = {"max_tokens": self.generator.defaults.max_tokens, "seed": 0, **sampling}
        curves = sweep(
            {name: self.model, **baselines},
            self.generator.tokenizer,
            references,
            temperatures=temperatures,
            texts=texts,
            sampling=from_dict(Sampling, asked),  # as the model has it, but for the temperature
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
        """The ids of a text, read as the training text was."""
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
            formatter=self.generator.chat if self.card.is_chat else None,
        )
        if on_progress is not None:
            for note in [*encoded.notes, *self._flattered(encoded.sketch)]:
                on_progress(note, None)
        return encoded

    def _flattered(self, sketch: str) -> list[str]:
        """A line for the user where a text is one that the run has learnt from."""
        share, _ = overlap(sketch, self.card.data.get("sketch", ""))
        if share < MUCH:
            return []
        return [
            f"about {share:.0%} of the long lines and records of this text are in the training "
            f"text of {self.folder}: its figures flatter"
        ]

    def _spelled(self, token: int) -> str:
        """A token as text, or as bytes where it is no whole character."""
        spelled = self.generator.tokenizer.table[token]
        try:
            return spelled.decode() if token else "<end>"
        except UnicodeDecodeError:
            return f"<{spelled.hex(' ').upper()}>"

    def _check_options(
        self,
        window: int | None,
        stride: int | None,
        dynamic: float | None,
        cache: int | None,
        samples: int | None,
    ) -> None:
        """Refuse what the model cannot do.

        Raises:
            WenmoError: and what to leave out.
        """
        plain = not self.generator.task.paired
        if has_capability(self.model, SamplesTexts) and (window, stride) != (None, None):
            raise WenmoError(
                f"{self.folder}: reads a text from its beginning only: leave --window and --stride "
                "out"
            )
        streams = self.model.context is None and not has_capability(self.model, FitsCounts)
        if dynamic is not None and not (plain and streams):
            raise WenmoError(
                f"{self.folder}: dynamic evaluation is for networks without bounds (rnn, lstm, "
                "gru) that were trained on plain text: leave --dynamic out"
            )
        if cache is not None and dynamic is not None:
            raise WenmoError("--cache and --dynamic cannot be had at once: leave one out")
        if cache is not None and not (
            plain and not self.by_record and has_capability(self.model, HasHiddenStates)
        ):
            raise WenmoError(
                f"{self.folder}: a cache is for networks that were trained on plain text: leave "
                "--cache out"
            )
        if samples is not None and not has_capability(self.model, HasLatents):
            raise WenmoError(f"{self.folder}: has no latents to draw: leave --samples out")
