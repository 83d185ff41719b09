"""Evaluation of a text, records or pairs, used by runs and by training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.evaluation.answers import (
    TASK_METRICS,
    SourceWithReferences,
    generate_targets,
    sources_with_references,
)
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
from wenmo.evaluation.sampled import MIN_SAMPLED, sampled_evaluation
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import HasLatents, baselines_of, has_capability
from wenmo.progress import FractionCallback
from wenmo.text.config import TaskConfig
from wenmo.text.pairs import Pairs
from wenmo.text.records import Records
from wenmo.text.tasks import kept_side
from wenmo.text.tokenizers import Tokenizer

SCORING_FRACTION = 0.3  # of the time for pairs; the rest is for generation


def evaluate_text(
    model: LanguageModel,
    tokenizer: Tokenizer,
    ids: NDArray[np.unsignedinteger],
    *,
    window: int | None = None,
    stride: int | None = None,
    dynamic: float | None = None,
    cache: int | None = None,
    progress: FractionCallback | None = None,
) -> Evaluation:
    """Evaluate the likelihood of a text.

    Args:
        ids: the text, starting with END.
        window, stride: see `likelihood`.
        dynamic: learning rate of dynamic evaluation; None: no dynamic evaluation.
        cache: number of tokens in a continuous cache; None: no cache.
        progress: called with the fraction done.
    """
    bytes_ = tokenizer.count_bytes(ids)
    if cache is not None:
        result = cached_likelihood(
            model, ids, bytes_, cache, window=window, stride=stride, progress=progress
        )
    elif dynamic is not None:
        result = dynamic_likelihood(model, ids, bytes_, dynamic, progress=progress)
    else:
        result = likelihood(model, ids, bytes_, window=window, stride=stride, progress=progress)
    return Evaluation(**result.figures())


def evaluate_records(
    model: LanguageModel,
    records: Records,
    tokenizer: Tokenizer,
    *,
    samples: int | None = None,
    progress: FractionCallback | None = None,
) -> RecordEvaluation:
    """Evaluate the likelihood of records, each scored separately, and the use of latents.

    Args:
        samples: number of samples for importance weighting; None: no importance weighting.
        progress: called with the fraction done.
    """
    bytes_ = tokenizer.count_bytes(records.stream())
    result = likelihood_of_examples(model, records, bytes_, progress=progress)
    weighted = None
    if samples is not None:
        nats = importance_weighted(model, records, samples, progress)
        figures = replace(result, nats=nats, interval=None).figures()
        weighted = ImportanceWeighted(
            **figures, samples=samples, nats_per_record=nats / len(records)
        )
    return RecordEvaluation(
        **result.figures(),
        records=len(records),
        records_left_out=records.skipped,
        nats_per_record=result.nats / len(records),
        latent_usage=latent_usage(model, records) if has_capability(model, HasLatents) else None,
        importance_weighted=weighted,
    )


def evaluate_with_baselines(
    model: LanguageModel, records: Records, tokenizer: Tokenizer, **options: Any
) -> RecordEvaluation:
    """`evaluate_records` for a model and its baselines."""
    baselines = {
        name: evaluate_records(baseline, records, tokenizer)
        for name, baseline in baselines_of(model).items()
    }
    return replace(evaluate_records(model, records, tokenizer, **options), baselines=baselines)


def evaluate_pairs(
    writer: TextGenerator,
    pairs: Pairs,
    task: TaskConfig,
    sampling: Sampling,
    progress: FractionCallback | None = None,
    seconds: float | None = None,
    *,
    min_count: int = MIN_SAMPLED,
    max_count: int | None = None,
) -> PairEvaluation:
    """Evaluate the likelihood of targets, and metrics of generated targets.

    Args:
        progress: called with the fraction done.
        seconds: wall-clock limit; a sample of the pairs is evaluated if all take longer.
        min_count, max_count: limits of the sample; see `sampled_evaluation`.
    """
    scoring_seconds = None if seconds is None else SCORING_FRACTION * seconds

    def score(sample: Pairs) -> Evaluation:
        bytes_ = writer.tokenizer.count_bytes(sample.stream())
        score_progress = progress and (lambda fraction: progress(SCORING_FRACTION * fraction))
        result = likelihood_of_examples(writer.model, sample, bytes_, progress=score_progress)
        return Evaluation(**result.figures())

    started = time.perf_counter()
    evaluation = sampled_evaluation(
        pairs, score, scoring_seconds, min_count=min_count, max_count=max_count
    )
    remaining = None if seconds is None else seconds - (time.perf_counter() - started)
    examples = sources_with_references(pairs, writer.tokenizer)
    generate_progress = progress and (
        lambda fraction: progress(SCORING_FRACTION + (1 - SCORING_FRACTION) * fraction)
    )
    outputs = generate_targets(
        writer, examples, sampling, seconds=remaining, progress=generate_progress
    )
    return PairEvaluation(
        **vars(evaluation),
        pairs=len(pairs),
        pairs_left_out=pairs.skipped,
        sources_cut=pairs.truncated,
        answered=len(outputs) if len(outputs) < len(examples) else None,
        metrics=measure_targets(outputs, examples, TASK_METRICS[task.name]),
    )


def measure_targets(
    outputs: Sequence[str],
    examples: Sequence[SourceWithReferences],
    names: Sequence[str],
    *,
    resamples: int = 1000,
) -> dict[str, Metric]:
    """Metrics by name of generated targets for the first examples; see `measure`."""
    references = [example.references for example in examples[: len(outputs)]]
    return measure(names, outputs, references, resamples=resamples)


def readable_pairs(
    ids: NDArray[np.unsignedinteger],
    ends: NDArray[np.int64] | None,
    model: LanguageModel,
    task: TaskConfig,
) -> Pairs:
    """The pairs of a stream, cut to the model's context."""
    limits = (model.conditioning, model.context)
    return Pairs(ids, *limits, kept_side(task), ends, model.special_tokens)
