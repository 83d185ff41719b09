"""Before the first step of a run with ``minutes``: trials measure what fits into the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

from torch import Tensor

from wenmo.budget import CHECKPOINT_BYTES_PER_SECOND, TimeBudget, enough_minutes, fit_count
from wenmo.models.base import LanguageModel
from wenmo.pipeline.datasets import SAMPLE, Dataset, Quick
from wenmo.runs.recipe import Recipe
from wenmo.text.batches import Batches
from wenmo.train_config import TrainConfig
from wenmo.training.adversarial import Adversarial
from wenmo.training.learners import step_seconds
from wenmo.types import Batch, amount

SCORING = 0.7  # of the time of an evaluation; the rest is for its sample
LEAST_TOKENS = 2000  # scored at an evaluation; where fewer fit, there are fewer evaluations
# Where fewer steps fit, batches become smaller unless their size is given (docs/experiments.md).
RECORD_STEPS = 400  # of records and pairs
WINDOW_STEPS = 200  # of windows of a text
LEAST_STEPS = 50  # of any batches; only where fewer fit are batches smaller than SMALL_BATCH
SMALL_BATCH = 512  # tokens
FEW_STEPS = 20  # fewer are reported as too few
LEAST_TIME = 32  # tokens of a sequence
LEAST_BATCH_TOKENS = 128
PROBE = 32  # tokens of the sequence of a first trial
TRIAL = 0.03  # of the time for steps: a trial that takes as long is the last
WARM_UP = 0.2  # of that time: a first trial that takes less is repeated
FEWEST_WRITTEN = 24  # tokens of a sample
FEW_TEXTS = 2  # of a first trial
FEW_BATCHES = 9  # of which the one of median size is timed
CRITIC_AND_BACK = 1.5  # times as long as writing and judging takes a step
LEAVING = 0.3  # seconds in which the process exits
CHECKPOINT = 3  # times the bytes of the weights: those, and two moments of the optimizer


@dataclass(frozen=True)
class Pace:
    """How a run divides its time.

    Attributes:
        evaluations: number of evaluations during training.
        quick: how much each of them scores.
        sample_tokens: the most tokens of the sample after each; None: as many as a text may have.
        reserve: seconds that are kept for what follows the last step.
        late: seconds by which the shortest sample exceeds its share of the time.
        saves: checkpoints are kept; where False, they would take too much of the time.
    """

    evaluations: int
    quick: Quick
    sample_tokens: int | None = None
    reserve: float = 0.0
    late: float = 0.0
    saves: bool = True

    def plain(self) -> dict[str, Any]:
        """What a resumed run keeps, so that its evaluations are of the same text."""
        names = ("evaluations", "quick", "sample_tokens")
        return {name: value for name, value in asdict(self).items() if name in names}


def find_pace(
    dataset: Dataset,
    model: LanguageModel,
    train: TrainConfig,
    time: TimeBudget,
    before: dict[str, Any] | None,
) -> Pace:
    """The pace of a run with ``minutes``, found by trials of scoring and writing.

    Args:
        dataset: the text.
        model: the model before the first step.
        train: the settings.
        time: the time of the run, which is divided.
        before: of a resumed run, what `Pace.plain` gave.
    """
    time.allocate()
    weights = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    saves = time.can_save(CHECKPOINT * weights)
    writing = (
        (2 + CHECKPOINT * saves) * weights / CHECKPOINT_BYTES_PER_SECOND
    )  # the best are opened again
    if before is not None:
        quick = Quick(**before["quick"])
        pace = Pace(before["evaluations"], quick, before["sample_tokens"])
    else:
        pace = _measured(dataset, model, train, time.evaluations)
    # The last evaluation and the end write a sample each, however long that takes.
    reserve = time.final + time.evaluations / pace.evaluations + 2 * pace.late + writing + LEAVING
    return replace(pace, reserve=reserve, saves=saves)


def _measured(dataset: Dataset, model: LanguageModel, train: TrainConfig, seconds: float) -> Pace:
    """The pace of evaluations that take so many seconds together, samples included."""
    count = train.eval_count
    quick = dataset.pace(model, SCORING * seconds / count)
    least = min(LEAST_TOKENS, train.eval_tokens)
    if quick.tokens < least:
        fewer = max(1, count * quick.tokens // least)
        more = count / fewer
        quick = Quick(int(more * quick.tokens), int(more * quick.answers))
        count = fewer
    most = SAMPLE.max_tokens
    each = (1 - SCORING) * seconds / count
    took: list[float] = []

    def write(tokens: int) -> None:
        started = perf_counter()
        dataset.sample(model, tokens)
        took.append(perf_counter() - started)

    # A model without a cache reads all of its text again for each token.
    tokens = fit_count(write, FEWEST_WRITTEN, most, each, power=2)
    return Pace(count, quick, tokens, late=max(0.0, took[0] - each))


def fit_batch_size(
    recipe: Recipe, model: LanguageModel, batches: Batches, seconds: float
) -> tuple[TrainConfig, list[str]]:
    """The training settings, with smaller batches where too few steps would fit, unless their size
    is given; and lines for the user.

    Args:
        recipe: all settings; ``given`` names those of the user.
        batches: of the training text; the weights of the model do not change.
        seconds: the time for steps.
    """
    is_ragged = recipe.task.paired or model.record_level
    train, batch = recipe.train, _median_batch(batches) if is_ragged else batches[0]
    took = _step_time(model, batch, seconds, cut=not is_ragged)
    took *= train.gradient_accumulation
    size, steps = batch.tokens.numel(), WINDOW_STEPS
    if is_ragged:
        size, steps = train.tokens_per_batch, RECORD_STEPS
    elif batch.carry_state is not None:  # smaller batches make recurrent networks worse
        steps = LEAST_STEPS
    wanted = max(seconds / steps / took, SMALL_BATCH / size)
    wanted = min(wanted, seconds / LEAST_STEPS / took)
    changes, factor = _shrunk(recipe, model, batch, wanted) if wanted < 1 else ({}, 1.0)
    if not changes and seconds / took >= LEAST_STEPS:
        return train, []
    smaller = took * factor
    note = f"a step of {_size(batch):,} tokens takes about {took:.1f} s"
    if changes:
        made = ", ".join(f"{name}={value}" for name, value in changes.items())
        note += f"; so that more fit: {made}, about {smaller:.1f} s a step"
    fit, given = max(seconds, 1e-3) / smaller, train.minutes or 0.0
    lines = [f"{note}; {_fit(fit)} into {amount(given, 'minute')}"]
    if fit < FEW_STEPS:
        enough = amount(enough_minutes(smaller, current_minutes=given), "minute")
        lines.append(f"so few steps teach little: give at least {enough}, or train a smaller model")
    return replace(train, **changes), lines


def fit_text_count(recipe: Recipe, learner: Adversarial, seconds: float) -> tuple[int, list[str]]:
    """Number of texts that the generator writes for its critic in a step: fewer where too few steps
    would fit, unless it is given; and lines for the user.

    Args:
        recipe: all settings; ``given`` names those of the user.
        learner: its weights do not change.
        seconds: the time for the steps of all stages.
    """
    trials = [(FEW_TEXTS, learner.trial(FEW_TEXTS))]  # the first includes one-time costs
    if trials[0][1] < TRIAL * seconds:
        trials = [(count, learner.trial(count)) for count in (FEW_TEXTS, 2 * FEW_TEXTS)]
    took = CRITIC_AND_BACK * extrapolated(trials, max(2 * FEW_TEXTS, recipe.train.batch_size))
    stage = seconds * (1 - learner.gan.config.mle_ratio - learner.gan.config.critic_pretrain_ratio)
    steps = stage / took
    if steps >= FEW_STEPS:
        return recipe.train.batch_size, []
    note = f"a step of generator and critic takes about {took:.1f} s"
    if "train.batch_size" in recipe.given:
        return recipe.train.batch_size, [f"{note}: {_fit(steps)}: give more minutes"]
    rows = max(FEW_TEXTS, int(recipe.train.batch_size * steps / FEW_STEPS))
    took *= rows / recipe.train.batch_size
    return rows, [f"{note}; so that more fit: batch_size={rows}, about {took:.1f} s a step"]


def _fit(steps: float) -> str:
    """Words for the number of steps that fit, at least one."""
    whole = max(1, int(steps))
    return f"about {amount(whole, 'step')} {'fits' if whole == 1 else 'fit'}"


def _step_time(model: LanguageModel, batch: Batch, seconds: float, *, cut: bool) -> float:
    """Seconds of a step of a batch, from trials of growing slices of it.

    Args:
        cut: the first trial cuts sequences, too.
    """
    rows, most, size = 1, len(batch.tokens), batch.tokens.numel()
    time = min(PROBE, batch.tokens.shape[1]) if cut else batch.tokens.shape[1]
    trials: list[tuple[int, float]] = []
    while True:
        some = _slice(batch, rows, time)
        took = step_seconds(model, some)
        if took < WARM_UP * seconds:  # the first pass includes one-time costs
            took = min(took, step_seconds(model, some))
        trials.append((some.tokens.numel(), took))
        if some.tokens.numel() == size or took >= TRIAL * seconds:
            return extrapolated(trials, size)
        rows, time = min(most, 4 * rows), batch.tokens.shape[1]


def extrapolated(trials: Sequence[tuple[int, float]], size: int) -> float:
    """Seconds for a size, by linear extrapolation of the last two trials.

    Args:
        trials: rising sizes, and the seconds that each took.
        size: not below the last of these.
    """
    last, took = trials[-1]
    if len(trials) == 1:
        return took * size / last
    before, less = trials[-2]
    return took + max(0.0, took - less) / (last - before) * (size - last)


def _median_batch(batches: Batches) -> Batch:
    """The batch of median size among the first few: the last one of an epoch may be far smaller
    than ``tokens_per_batch``.
    """
    some = [batches[number] for number in range(FEW_BATCHES)]
    return sorted(some, key=_size)[len(some) // 2]


def _size(batch: Batch) -> int:
    """Tokens of a batch as ``tokens_per_batch`` counts them: sources, targets and padding."""
    source = 0 if batch.source is None else batch.source.numel()
    return batch.tokens.numel() + source


def _slice(batch: Batch, rows: int, time: int) -> Batch:
    """The first rows of a batch, and of these the first tokens."""

    def first(tensor: Tensor | None, *, has_time: bool = True) -> Tensor | None:
        if tensor is None:
            return None
        return tensor[:rows, :time] if has_time else tensor[:rows]

    return Batch(
        batch.tokens[:rows, :time],
        batch.targets[:rows, :time],
        first(batch.carry_state, has_time=False),
        first(batch.source, has_time=False),
        first(batch.positions),
        first(batch.prior_probs),
    )


def _shrunk(
    recipe: Recipe, model: LanguageModel, batch: Batch, wanted: float
) -> tuple[dict[str, Any], float]:
    """Changes after which batches take ``wanted`` times as long, as far as the user leaves them
    open, and how many times as long they then take.
    """
    train, given = recipe.train, recipe.given
    if recipe.task.paired or model.record_level:
        if "train.tokens_per_batch" in given:
            return {}, 1.0
        fewer = max(LEAST_BATCH_TOKENS, int(wanted * train.tokens_per_batch))
        return {"tokens_per_batch": fewer}, fewer / train.tokens_per_batch
    most_rows, most_time = rows, time = batch.tokens.shape
    if "train.batch_size" not in given:
        rows = max(1, int(wanted * most_rows))
    if "train.sequence_length" not in given:
        share = wanted * most_rows / rows
        time = max(min(LEAST_TIME, time), min(time, int(share * time)))
    changes = {"batch_size": rows} if rows != most_rows else {}
    changes |= {"sequence_length": time} if time != most_time else {}
    return changes, rows * time / (most_rows * most_time)
