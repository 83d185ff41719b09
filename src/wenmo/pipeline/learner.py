"""The learner of a job: its batches, fitted to the time, its optimizer and its precision."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import FitsPrior, HasGenerator, capability, require
from wenmo.pipeline.job import Job
from wenmo.pipeline.pace import fit_batch_size, fit_text_count
from wenmo.text.batches import Batches, BatchesWithPriors
from wenmo.text.records import Records, ShuffledRecords
from wenmo.train_config import TrainConfig
from wenmo.training.adversarial import Adversarial
from wenmo.training.learners import Count, Gradient, Learner, faster_precision
from wenmo.training.optimizers import DEFAULT_RATE, Optimizer, make_optimizer

SHARE_OF_STEPS = 0.8  # of the time that is left before the first step
SHARE_OF_TRIALS = 0.02  # of all the time, to find the faster precision
DEFAULT_WEIGHT_DECAY = {"adamw": 0.1, "muon": 0.1}  # of other optimizers: none


def make_learner(job: Job) -> Learner:
    """The learner that trains the model of a job."""
    return _MAKERS[job.learner_class](job)


def _count(job: Job) -> Learner:
    return Count(job.model, job.corpus.train, job.progress_of("counting"))


def _gradient(job: Job) -> Learner:
    prior_probs = _fit_prior(job)

    def batches() -> Batches:
        made = job.dataset.batches(job.model)
        return made if prior_probs is None else BatchesWithPriors(made, prior_probs)

    fitted = batches()
    if _fits_batches(job):
        seconds = SHARE_OF_STEPS * job.time.remaining()
        train, notes = fit_batch_size(job.recipe, job.model, fitted, seconds)
        _change(job, train, notes)
        fitted = batches()
    optimizer = _optimizer(job.recipe.train, job.model)
    return Gradient(job.model, fitted, optimizer, **_gradient_settings(job, fitted))


def _adversarial(job: Job) -> Learner:
    fits, train = _fits_batches(job), job.recipe.train
    batches = job.dataset.batches(job.model)
    records = Records(job.dataset.stream(job.model), job.model.context)
    _, lengths = records.token_counts()
    learner = Adversarial(
        job.model,
        batches,
        ShuffledRecords(records, train.batch_size, train.seed),
        _optimizer(train, require(job.model, HasGenerator).generator),
        longest=int(lengths.max()),
        **_gradient_settings(job, batches),
    )
    if fits:
        rows, notes = fit_text_count(job.recipe, learner, SHARE_OF_STEPS * job.time.remaining())
        _change(job, replace(train, batch_size=rows), notes)
        learner.texts = ShuffledRecords(records, rows, train.seed)
    return learner


_MAKERS: Mapping[type[Learner], Callable[[Job], Learner]] = {
    Count: _count,
    Gradient: _gradient,
    Adversarial: _adversarial,
}


def _fits_batches(job: Job) -> bool:
    """Whether the size of batches is still to be fitted to the time: once in a run."""
    return job.is_timed and "precision" not in job.card.results


def _change(job: Job, train: TrainConfig, notes: list[str]) -> None:
    job.set_train_config(train)
    for note in notes:
        job.note(note)


def _fit_prior(job: Job) -> NDArray[np.floating] | None:
    """Count the n-grams of a model that has such a prior; the probabilities that they give to the
    training text, as `BatchesWithPriors` takes them, or None.
    """
    prior = capability(job.model, FitsPrior)
    if prior is None:
        return None
    started, stream = time.perf_counter(), job.dataset.stream(job.model)
    prior_probs = prior.fit_prior(stream, job.progress_of("counting"))
    if prior_probs is not None:
        job.counting_seconds = time.perf_counter() - started
    return prior_probs


def _gradient_settings(job: Job, batches: Batches) -> dict[str, Any]:
    """Settings of learners by gradients, in the precision that is measured to be faster."""
    train = job.recipe.train
    if "precision" not in job.card.results:
        precision = train.precision
        if precision == "auto":
            seconds = SHARE_OF_TRIALS * job.time.total
            precision = faster_precision(job.model, batches, seconds)
        job.card.results["precision"] = precision
        job.write_card()
    return {
        "max_grad_norm": train.max_grad_norm,
        "gradient_accumulation": train.gradient_accumulation,
        "precision": job.card.results["precision"],
        "seed": train.seed,
        "label_smoothing": train.label_smoothing,
    }


def _optimizer(train: TrainConfig, model: LanguageModel) -> Optimizer:
    decay = train.weight_decay
    return make_optimizer(
        train.optimizer,
        model,
        rate=train.learning_rate or DEFAULT_RATE[train.optimizer],
        weight_decay=DEFAULT_WEIGHT_DECAY.get(train.optimizer, 0.0) if decay is None else decay,
        momentum=train.momentum,
        betas=(train.beta1, train.beta2),
    )
