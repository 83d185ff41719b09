"""The evaluation of a text, of records and of pairs, as a run and its training share it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.evaluation.answers import TASK_METRICS, Question, answer, questions
from wenmo.evaluation.cache import cached_likelihood
from wenmo.evaluation.dynamic import dynamic_likelihood
from wenmo.evaluation.latents import importance_weighted, latent_usage
from wenmo.evaluation.likelihood import likelihood, likelihood_of_examples
from wenmo.evaluation.overlap import measure
from wenmo.evaluation.results import (
    Evaluation,
    ImportanceWeighted,
    Metric,
    PairEvaluation,
    RecordEvaluation,
)
from wenmo.evaluation.sampled import FEW, sampled_wholes
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import HasLatents, baselines_of, has_capability
from wenmo.progress import Share
from wenmo.text.config import TaskConfig
from wenmo.text.pairs import Pairs
from wenmo.text.records import Records
from wenmo.text.tasks import kept_side
from wenmo.text.tokenizers import Tokenizer

SCORING = 0.3  # of the time for pairs is for the targets' likelihood, the rest for answers


def evaluate_text(
    model: LanguageModel,
    tokenizer: Tokenizer,
    ids: NDArray[np.unsignedinteger],
    *,
    window: int | None = None,
    stride: int | None = None,
    dynamic: float | None = None,
    cache: int | None = None,
    progress: Share | None = None,
) -> Evaluation:
    """How likely a model finds a text.

    Args:
        ids: the text, beginning with the end symbol.
        window, stride: see `likelihood`.
        dynamic: the rate at which the model learns on the way.
        cache: tokens that a continuous cache holds.
        progress: called with the share that is done.
    """
    bytes_ = tokenizer.count_bytes(ids)
    if cache is not None:
        found = cached_likelihood(
            model, ids, bytes_, cache, window=window, stride=stride, progress=progress
        )
    elif dynamic is not None:
        found = dynamic_likelihood(model, ids, bytes_, dynamic, progress=progress)
    else:
        found = likelihood(model, ids, bytes_, window=window, stride=stride, progress=progress)
    return Evaluation(**found.figures())


def evaluate_records(
    model: LanguageModel,
    records: Records,
    tokenizer: Tokenizer,
    *,
    samples: int | None = None,
    progress: Share | None = None,
) -> RecordEvaluation:
    """How likely a model finds records, each as a whole, and what its latents tell of them.

    Args:
        samples: also score by importance weighting, with so many draws of the latents.
        progress: called with the share that is done.
    """
    bytes_ = tokenizer.count_bytes(records.stream())
    found = likelihood_of_examples(model, records, bytes_, progress=progress)
    weighted = None
    if samples is not None:
        nats = importance_weighted(model, records, samples, progress)
        figures = replace(found, nats=nats, interval=None).figures()
        weighted = ImportanceWeighted(
            **figures, samples=samples, nats_per_record=nats / len(records)
        )
    return RecordEvaluation(
        **found.figures(),
        records=len(records),
        records_left_out=records.skipped,
        nats_per_record=found.nats / len(records),
        latent_usage=latent_usage(model, records) if has_capability(model, HasLatents) else None,
        importance_weighted=weighted,
    )


def evaluate_beside_baselines(
    model: LanguageModel, records: Records, tokenizer: Tokenizer, **asked: Any
) -> RecordEvaluation:
    """As `evaluate_records`, and the same of the model's baselines."""
    baselines = {
        name: evaluate_records(baseline, records, tokenizer)
        for name, baseline in baselines_of(model).items()
    }
    return replace(evaluate_records(model, records, tokenizer, **asked), baselines=baselines)


def evaluate_pairs(
    writer: TextGenerator,
    pairs: Pairs,
    task: TaskConfig,
    sampling: Sampling,
    progress: Share | None = None,
    seconds: float | None = None,
    *,
    least: int = FEW,
    most: int | None = None,
) -> PairEvaluation:
    """How likely a model finds the targets, and metrics of its answers beside them.

    Args:
        progress: called with the share that is done, first of the targets, then of the answers.
        seconds: where all of it takes longer, pairs from all over the text are scored and answered.
        least, most: of the pairs that are then scored; see `sampled_wholes`.
    """
    scoring = None if seconds is None else SCORING * seconds

    def score(some: Pairs) -> Evaluation:
        bytes_ = writer.tokenizer.count_bytes(some.stream())
        first = progress and (lambda share: progress(SCORING * share))
        found = likelihood_of_examples(writer.model, some, bytes_, progress=first)
        return Evaluation(**found.figures())

    begun = time.perf_counter()
    scored = sampled_wholes(pairs, score, scoring, least=least, most=most)
    left = None if seconds is None else seconds - (time.perf_counter() - begun)
    asked = questions(pairs, writer.tokenizer)
    second = progress and (lambda share: progress(SCORING + (1 - SCORING) * share))
    outputs = answer(writer, asked, sampling, seconds=left, progress=second)
    return PairEvaluation(
        **vars(scored),
        pairs=len(pairs),
        pairs_left_out=pairs.skipped,
        sources_cut=pairs.truncated,
        answered=len(outputs) if len(outputs) < len(asked) else None,
        metrics=measure_answers(outputs, asked, TASK_METRICS[task.name]),
    )


def measure_answers(
    outputs: Sequence[str],
    asked: Sequence[Question],
    names: Sequence[str],
    *,
    resamples: int = 1000,
) -> dict[str, Metric]:
    """Metrics of answers to the first questions, by name; see `measure`."""
    references = [question.references for question in asked[: len(outputs)]]
    return measure(names, outputs, references, resamples=resamples)


def readable_pairs(
    ids: NDArray[np.unsignedinteger],
    ends: NDArray[np.int64] | None,
    model: LanguageModel,
    task: TaskConfig,
) -> Pairs:
    """The pairs of a flat array as the model can read them."""
    own = (model.conditioning, model.context)
    return Pairs(ids, *own, kept_side(task), ends, model.special_tokens)
