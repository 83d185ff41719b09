"""After the last step: the best weights are evaluated, and the results go into the card.

With ``minutes``, each stage has a share of the time that is left.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wenmo.decoding.output import Output
from wenmo.decoding.params import Sampling
from wenmo.evaluation.evaluate import evaluate_text
from wenmo.evaluation.results import ChosenSampling, Tradeoff, Verdict
from wenmo.evaluation.sampling_choice import MAX_TOKENS, MAX_TOTAL_TOKENS, NO_TIME
from wenmo.evaluation.tradeoff import tradeoff_svg, verdict
from wenmo.evaluation.verdict import TrainingCost
from wenmo.files import write_text
from wenmo.models import MODELS
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import (
    HasMixture,
    Infills,
    SamplesTexts,
    capability,
    has_capability,
    network_of,
    parameter_count,
)
from wenmo.pipeline.assess import TEXTS, assess, choose_settings
from wenmo.pipeline.datasets import SAMPLE
from wenmo.pipeline.job import Job
from wenmo.pipeline.pace import FEWEST_WRITTEN, Pace
from wenmo.runs.store import Card
from wenmo.training.learners import Count, Gradient
from wenmo.training.metrics import METRICS
from wenmo.training.state import TrainState

TRADEOFF = "tradeoff.svg"
SCORING = "scoring held-out text"
SHARE_OF_SCORING = 0.5  # of the time that is left after the last step
SHARE_OF_CHOOSING = 0.6  # of the time that is left after scoring
SHARE_OF_SAMPLES = 0.3  # of the time that is left when they are written
SHARE_OF_BASELINES = 0.6  # of the time that is left after scoring
SHARE_OF_VERDICT = 0.6  # of the time that is left after all else
LEAST_SAMPLE = 48  # tokens of the final samples; where there is no time for them, one is written
FEWEST_TIMED = 100  # characters, fewer of which tell no speed of writing


def finish(job: Job, state: TrainState, pace: Pace) -> LanguageModel:
    """Evaluate the best weights, choose how the run writes, and complete the card.

    Returns:
        The best weights.
    """
    started = time.perf_counter()
    best = _best_model(job, state)
    heldout = job.dataset.evaluate(
        best,
        job.progress_of(SCORING),
        job.seconds_for(SHARE_OF_SCORING),
        _earlier_sample_count(job.card),
    )
    if job.reference is not None:
        after = reference_bits_per_byte(job, best, job.reference)
        job.card.results["forgetting"]["after"] = after
    components = _evaluate_components(job, best, pace)
    sampling = _choose_sampling(job, best, state.tokens)
    samples = _write_samples(job, best, sampling)
    tradeoff = _beside_baselines(job, best)
    found = _verdict(job, best, state, samples.texts, components)
    job.card.results |= {
        "heldout": heldout.to_dict(),
        **({"parts": components} if components else {}),
        **tradeoff,
        "steps": state.step,
        "seconds": state.seconds,
        "tokens_seen": state.tokens,
        "best_step": state.best_step,
        "rollbacks": state.rollbacks,
        "parameters": parameter_count(best),
        "characters_per_second": writing_rate(samples.texts, samples.seconds),
        "sample": samples.shown,
        "verdict": found.to_dict(),
        "time": _timings(job, state, time.perf_counter() - started),
    }
    job.card.finished = True
    job.write_card()
    return best


def complete_evaluation(job: Job) -> bool:
    """With ``full_evaluation``, do what a finished run had no time for: score all of the held-out
    text, and choose how the run writes. False where nothing was left.
    """
    card, results = job.card, job.card.results
    scores, chooses = "sample" in results["heldout"], card.sampling_reason == NO_TIME
    if not (job.recipe.train.full_evaluation and (scores or chooses)):
        return False
    best = job.load_best()
    if scores:
        heldout = job.dataset.evaluate(best, job.progress_of(SCORING))
        results["heldout"] = heldout.to_dict()
    if chooses:
        _choose_sampling(job, best, results["tokens_seen"])
    job.write_card()
    return True


def reference_bits_per_byte(
    job: Job, model: LanguageModel, ids: NDArray[np.unsignedinteger]
) -> float:
    """Bits per byte of a model on the text on which forgetting is measured."""
    progress = job.progress_of("scoring the reference text")
    return evaluate_text(model, job.tokenizer, ids, progress=progress).bits_per_byte


def _best_model(job: Job, state: TrainState) -> LanguageModel:
    """The best weights that training found."""
    if state.best_step == state.step and not state.averaged_count:
        return job.model.eval()
    return job.load_best()


def _earlier_sample_count(card: Card) -> int | None:
    """Where a finished run was continued, how much of the held-out text was scored before: the same
    is scored again, so that the figures can be compared. None: all of it.
    """
    for ended in card.results.get("history", [])[-1:]:
        count: int | None = ended.get("heldout", {}).get("sample", {}).get("count")
        return count
    return None


def _evaluate_components(job: Job, model: LanguageModel, pace: Pace) -> dict[str, float]:
    """Bits per byte of each component of a mixture, and of the ``mixture``; empty where the model
    is none, or the time is short.
    """
    if job.is_timed:
        mixture = capability(job.model, HasMixture)
        evaluations = 1 if mixture is None else len(mixture.mixture_components())
        if evaluations * job.time.evaluations / pace.evaluations >= job.time.remaining():
            return {}
    components = job.dataset.evaluate_components(model)
    if components:
        job.note(about_components(components))
    return components


def about_components(components: Mapping[str, float]) -> str:
    """Whether a mixture is better than its components, in a line for the user.

    Args:
        components: bits per byte by name; that of the ``mixture`` comes last.
    """
    *others, mixture = components.items()
    alone = ", ".join(f"{name} in it alone {bits:.3f}" for name, bits in others)
    best, bits = min(others, key=lambda component: component[1])
    line = f"held out, bits per byte: mixture {mixture[1]:.3f}, {alone}"
    if mixture[1] < bits:
        return line
    if best == "network":
        return f"{line}: standing on counts did not help here: try --prior none"
    return f"{line}: the network adds nothing to its counts yet: give it more minutes"


def _choose_sampling(job: Job, model: LanguageModel, tokens_seen: int) -> Sampling | None:
    """Choose the temperature and top-p with which the run writes, and note them in the card.

    Args:
        model: the best weights.
        tokens_seen: number of tokens that were trained on.

    Returns:
        None: the defaults of the task or the model hold.
    """
    if job.recipe.task.paired or has_capability(model, SamplesTexts):
        return None
    choice = choose_settings(
        job.dataset,
        model,
        job.tokenizer,
        job.corpus.valid,
        seconds=_seconds_for_choosing(job, model, tokens_seen),
        progress=job.progress_of("choosing temperature and top-p"),
    )
    temperature, top_p = choice.setting or (SAMPLE.temperature, SAMPLE.top_p)
    chosen = {"temperature": temperature, "top_p": top_p}
    job.card.sampling = chosen if choice.setting else {}
    job.card.sampling_reason = choice.reason
    job.card.results["sampling"] = ChosenSampling(
        **chosen,
        reason=choice.reason,
        written=choice.written,
        heldout=choice.held_out,
        tried=list(choice.tried),
    ).to_dict()
    return replace(SAMPLE, temperature=temperature, top_p=top_p)


def _seconds_for_choosing(job: Job, model: LanguageModel, tokens_seen: int) -> float | None:
    """Seconds for choosing how the run writes; None: no bound.

    With a number of steps, it is not done where it would take longer than the training itself.
    """
    seconds = job.seconds_for(SHARE_OF_CHOOSING)
    is_counted = job.learner_class is Count
    if seconds is not None or is_counted or job.recipe.train.full_evaluation:
        return seconds
    # Forward passes over the whole text for each token that is written.
    passes = MAX_TOKENS if has_capability(model, Infills) else 1
    return 0.0 if tokens_seen < MAX_TOTAL_TOKENS * passes else None


@dataclass(frozen=True)
class _Samples:
    """What the run writes at its end.

    Attributes:
        shown: a text to be shown to a person.
        texts: all texts.
        seconds: the time that they took.
    """

    shown: str
    texts: list[str]
    seconds: float


def _write_samples(job: Job, model: LanguageModel, sampling: Sampling | None) -> _Samples:
    """Final samples. With little time they are short, but long enough to be judged by a person."""

    def write(tokens: int | None, count: int = TEXTS) -> _Samples:
        started = time.perf_counter()
        shown, outputs = job.dataset.sample(model, tokens, count, sampling)
        return _Samples(shown, _texts_of(outputs), time.perf_counter() - started)

    if not job.is_timed:
        return write(None)
    samples = write(FEWEST_WRITTEN, 1)
    if 2 * TEXTS * samples.seconds > job.time.remaining():
        return samples
    tokens, most = LEAST_SAMPLE, SAMPLE.max_tokens
    while True:
        samples = write(tokens)
        times = SHARE_OF_SAMPLES * job.time.remaining() / max(samples.seconds, 1e-9)
        fitting = int(tokens * times**0.5)  # the time may grow with the square
        if tokens >= most or fitting < 2 * tokens:
            return samples
        tokens = min(most, fitting)


def _texts_of(outputs: Sequence[Output]) -> list[str]:
    return [output.text for output in outputs]


def writing_rate(texts: Sequence[str], seconds: float) -> float | None:
    """Characters per second; None where there are too few to tell."""
    characters = sum(map(len, texts))
    return characters / seconds if characters >= FEWEST_TIMED else None


def _beside_baselines(job: Job, model: LanguageModel) -> dict[str, Any]:
    """Quality and diversity beside the model's baselines, for the card, with a picture in the run
    folder; empty where the model has none.
    """
    curves = job.dataset.evaluate_baselines(
        model,
        job.progress_of("writing beside baselines"),
        job.seconds_for(SHARE_OF_BASELINES),
    )
    if not curves:
        return {}
    own, *others = curves
    write_text(job.folder / TRADEOFF, tradeoff_svg(curves))
    verdicts = {name: verdict(curves[own], curves[name], ("this run", name)) for name in others}
    return {"tradeoff": Tradeoff(curves, verdicts).to_dict()}


def _verdict(
    job: Job,
    model: LanguageModel,
    state: TrainState,
    samples: list[str],
    components: Mapping[str, float],
) -> Verdict:
    """Whether the run is any good, and what to try next."""
    return assess(
        job.dataset,
        model,
        job.tokenizer,
        samples,
        job.folder / METRICS if job.learner_class is Gradient else None,
        components=components,
        has_base=job.recipe.init.base is not None,
        is_stream=not (job.recipe.task.paired or job.model.record_level),
        can_use_counts=MODELS[job.recipe.family].supports_ngram_prior,
        seconds=job.seconds_for(SHARE_OF_VERDICT),
        spent=TrainingCost(
            steps=state.step,
            step_seconds=state.step_seconds_total / max(1, state.step),
            minutes=job.recipe.train.minutes,
            other_seconds=job.time.used() - state.step_seconds_total,
            epochs=_passes(job, state),
        ),
        smaller=_smaller_model(job, model),
    )


def _passes(job: Job, state: TrainState) -> float:
    """How often the steps have read the training text; infinite where they do not read it."""
    if job.learner_class is not Gradient:
        return math.inf
    return state.tokens / max(1, len(job.dataset.stream(job.model)) - 1)


def _smaller_model(job: Job, model: LanguageModel) -> str | None:
    """The smallest size of the family, if the model has more weights."""
    family = MODELS.get(job.recipe.family)
    sizes = {} if family is None else family.sizes
    if "tiny" not in sizes:
        return None
    tiny = sizes["tiny"].build(job.tokenizer.vocab_size)
    is_larger = parameter_count(tiny) < parameter_count(network_of(model))
    return f"{job.recipe.family}:tiny" if is_larger else None


def _timings(job: Job, state: TrainState, final: float) -> dict[str, float]:
    """Seconds of each stage of the run, for the card; ``ready`` includes ``counting``."""
    return {
        "ready": job.ready_seconds,
        "counting": job.counting_seconds,
        "steps": state.step_seconds_total,
        "evaluations": state.evaluation_seconds_total,
        "final": final,
        "total": job.time.used(),
    }
