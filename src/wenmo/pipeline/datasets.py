"""What a run learns from and is judged by: a text to go on with, or pairs of texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wenmo.budget import how_many
from wenmo.decoding.generator import Output, TextGenerator
from wenmo.decoding.params import Sampling
from wenmo.evaluation.answers import TASK_METRICS, Question, answer, questions
from wenmo.evaluation.cache import cached_likelihood
from wenmo.evaluation.dynamic import dynamic_likelihood
from wenmo.evaluation.latents import importance_weighted, latent_figures
from wenmo.evaluation.likelihood import likelihood, likelihood_of_examples
from wenmo.evaluation.overlap import measure
from wenmo.evaluation.sampled import (
    FEW,
    Blocks,
    block_likelihood,
    sampled_likelihood,
    sampled_wholes,
)
from wenmo.evaluation.tradeoff import TEMPERATURES, Curve, sweep
from wenmo.models import LanguageModel
from wenmo.models.capabilities import (
    FitsPrior,
    HasLatents,
    HasMixture,
    SamplesTexts,
    baselines_of,
    capability,
    has_capability,
)
from wenmo.runs.recipe import Recipe
from wenmo.runs.store import always_same_length
from wenmo.text.batches import Batches, Streams, Windows
from wenmo.text.config import TaskConfig
from wenmo.text.corpus import Corpus
from wenmo.text.pairs import Buckets, Keep, Pairs
from wenmo.text.records import Records
from wenmo.text.tokenizers import Tokenizer
from wenmo.types import WenmoError, amount

SCORING = 0.3  # of the time for pairs is for the targets' likelihood, the rest for answers
STREAM_TIME = 64  # tokens of truncated back-propagation, where no time is asked for
TEMPERATURE = 0.8  # of runs whose card says nothing
SAMPLE = Sampling(max_tokens=160, temperature=TEMPERATURE)
AS_IT_IS = Sampling(max_tokens=160)  # of a model that has its texts by rule
MOST_ROWS = 128  # samples that are written side by side
SAMPLED_ANSWERS = 100  # questions answered at each evaluation on the way
FEW_TOKENS = 64  # scored, and
FEW_TEXTS = 2  # answers or samples written, to see how long it takes
SHOWN = 24  # tokens of the text that is shown, where one of the texts that are tried has so many
MOST_SHOWN = 8  # texts that are tried
GREEDY = Sampling(method="greedy")
RIVALS_TEXTS = 100  # that each writes at each temperature
REFERENCES = 2000  # held-out records beside which they are set
FEW_REFERENCES = 300  # where time is short

Share = Callable[[float], None] | None
"""Told the share that is done."""


@dataclass(frozen=True)
class Quick:
    """How much held-out text is scored at an evaluation on the way.

    Attributes:
        tokens: the most tokens that are scored.
        answers: the most sources that are answered, of pairs.
    """

    tokens: int
    answers: int = SAMPLED_ANSWERS


class Dataset(Protocol):
    """One of the two kinds of text that a model can be trained on.

    Attributes:
        quick: how much of it is scored on the way.
    """

    @property
    def quick(self) -> Quick: ...

    def with_quick(self, quick: Quick) -> Dataset:
        """The same text, of which so much is scored on the way."""
        ...

    def pace(self, model: LanguageModel, seconds: float) -> Quick:
        """How much held-out text an evaluation on the way can score in so many seconds."""
        ...

    def batches(self, model: LanguageModel) -> Batches:
        """What the model learns from."""
        ...

    def stream(self, model: LanguageModel) -> NDArray[np.unsignedinteger]:
        """The text that the model learns to write: END, a text, END, a text, ..., END."""
        ...

    def notes(self, model: LanguageModel) -> list[str]:
        """What the user should know of how the model is given it."""
        ...

    def quick_evaluate(self, model: LanguageModel) -> dict[str, float]:
        """Figures on some of the held-out text; ``nats_per_token`` is one."""
        ...

    def evaluate(
        self,
        model: LanguageModel,
        progress: Share,
        seconds: float | None = None,
        count: int | None = None,
    ) -> dict[str, Any]:
        """Figures on all of the held-out text; or, where that takes longer than so many seconds, on
        a ``sample`` of it, which holds what an evaluation on the way scores.

        Args:
            count: with ``seconds``, of an earlier ``sample``: the same one is scored.
        """
        ...

    def evaluate_components(self, model: LanguageModel) -> dict[str, float]:
        """Bits per byte, on some of the held-out text, of what the model is a mixture of, and of
        the ``mixture``; empty where it is none.
        """
        ...

    def evaluate_baselines(
        self, model: LanguageModel, progress: Share, seconds: float | None = None
    ) -> dict[str, Curve]:
        """The curves of the model, called ``model``, and of its baselines, by name; see `sweep`.
        Empty where it has none. Within so many seconds fewer texts are written.
        """
        ...

    def bits_per_byte(self, model: LanguageModel) -> float:
        """On the text of an evaluation on the way, of any model of the same tokens."""
        ...

    def sample(
        self,
        model: LanguageModel,
        tokens: int | None = None,
        texts: int = 1,
        sampling: Sampling | None = None,
    ) -> tuple[str, list[Output]]:
        """What the model writes: a text to be shown to a person, and all as they were written.

        Args:
            tokens: the most tokens of each; None: as many as a text has room for.
            texts: how many; of pairs, for as many sources.
            sampling: how they are written; None: by the default for samples.
        """
        ...


@dataclass(frozen=True)
class StreamDataset:
    """A text to go on with.

    Attributes:
        opening: what writing begins from.
    """

    recipe: Recipe
    corpus: Corpus
    opening: str
    quick: Quick

    def with_quick(self, quick: Quick) -> Dataset:
        return replace(self, quick=quick)

    def pace(self, model: LanguageModel, seconds: float) -> Quick:
        if has_capability(model, SamplesTexts):  # such texts are read from their beginning
            return Quick(how_many(self._scored(model), FEW_TOKENS, self.quick.tokens, seconds))
        size, score = self._blocks(model).size, self._scored(model)
        most = max(1, self.quick.tokens // size)
        most = min(most, -(-(len(self.corpus.valid) - 1) // size))
        return Quick(size * how_many(lambda count: score(size * count), 1, most, seconds))

    def batches(self, model: LanguageModel) -> Batches:
        train, ids = self.recipe.train, trainable(self.corpus.train, model)
        if model.context is None:
            return Streams(ids, train.batch_size, train.sequence_length or STREAM_TIME)
        return Windows(
            ids,
            train.batch_size,
            min(train.sequence_length or model.context, model.context),
            train.seed,
        )

    def stream(self, model: LanguageModel) -> NDArray[np.unsignedinteger]:
        return self.corpus.train

    def notes(self, model: LanguageModel) -> list[str]:
        return []

    def quick_evaluate(self, model: LanguageModel) -> dict[str, float]:
        return self._scored(model)(self.quick.tokens)

    def _blocks(self, model: LanguageModel) -> Blocks:
        return Blocks(model, self.corpus.valid, self.corpus.tokenizer.count_bytes)

    def _scored(self, model: LanguageModel) -> Callable[[int], dict[str, Any]]:
        """Gives the figures of so many tokens from all over the held-out text."""
        tokenizer, ids = self.corpus.tokenizer, self.corpus.valid

        def score(tokens: int) -> dict[str, Any]:
            if has_capability(model, SamplesTexts) or tokens >= len(ids) - 1:
                return evaluate_text(model, tokenizer, ids[: tokens + 1])
            count = max(1, tokens // self._blocks(model).size)
            return block_likelihood(model, ids, tokenizer.count_bytes, count)

        return score

    def evaluate(
        self,
        model: LanguageModel,
        progress: Share,
        seconds: float | None = None,
        count: int | None = None,
    ) -> dict[str, Any]:
        tokenizer, ids, some = self.corpus.tokenizer, self.corpus.valid, None
        if seconds is not None and not has_capability(model, SamplesTexts):
            quick = max(1, self.quick.tokens // self._blocks(model).size)
            some = sampled_likelihood(
                model,
                ids,
                tokenizer.count_bytes,
                seconds,
                least=count or quick,
                most=count,
                progress=progress,
            )
        return some or evaluate_text(model, tokenizer, ids, progress=progress)

    def evaluate_components(self, model: LanguageModel) -> dict[str, float]:
        mixture = capability(model, HasMixture)
        if mixture is None:
            return {}
        return {
            name: self.quick_evaluate(part)["bits_per_byte"]
            for name, part in {**mixture.mixture_components(), "mixture": model}.items()
        }

    def evaluate_baselines(
        self, model: LanguageModel, progress: Share, seconds: float | None = None
    ) -> dict[str, Curve]:
        return {}  # no family that learns so has any

    def bits_per_byte(self, model: LanguageModel) -> float:
        return float(self.quick_evaluate(model)["bits_per_byte"])

    def sample(
        self,
        model: LanguageModel,
        tokens: int | None = None,
        texts: int = 1,
        sampling: Sampling | None = None,
    ) -> tuple[str, list[Output]]:
        alphabet, rows = self.corpus.alphabet, max(1, min(texts, MOST_ROWS))
        writer = TextGenerator(model, self.corpus.tokenizer, alphabet=alphabet, rows=rows)
        default = AS_IT_IS if has_capability(model, SamplesTexts) else shorter(SAMPLE, tokens)
        asked = default if sampling is None else shorter(sampling, tokens)
        return with_shown(writer, self.opening, asked, texts)


@dataclass(frozen=True)
class PairDataset:
    """Pairs of texts.

    Attributes:
        longest: the most tokens of an answer, END counted: as many as the longest target has that
            is trained on.
    """

    recipe: Recipe
    corpus: Corpus
    longest: int
    quick: Quick

    def with_quick(self, quick: Quick) -> Dataset:
        return replace(self, quick=quick)

    def pace(self, model: LanguageModel, seconds: float) -> Quick:
        pairs, tokenizer = self._held_out(model), self.corpus.tokenizer

        def score(tokens: int) -> None:
            likelihood_of_examples(model, pairs.sample(tokens), 1)

        tokens = how_many(score, FEW_TOKENS, self.quick.tokens, 0.5 * seconds)
        asked = questions(pairs, tokenizer, self.quick.answers)
        writer, sampling = self._writer(model), replace(GREEDY, max_tokens=self.longest)

        def reply(count: int) -> None:
            answer(writer, asked[:count], sampling)

        return Quick(tokens, how_many(reply, FEW_TEXTS, len(asked), 0.5 * seconds))

    def batches(self, model: LanguageModel) -> Buckets:
        train = self.recipe.train
        return Buckets(self._pairs(model), train.tokens_per_batch, train.seed)

    def stream(self, model: LanguageModel) -> NDArray[np.unsignedinteger]:
        return self._pairs(model).stream()

    def notes(self, model: LanguageModel) -> list[str]:
        pairs, buckets = self._pairs(model), self.batches(model)
        notes = [
            f"{amount(len(pairs), 'pair')} in {amount(buckets.per_epoch, 'batch', 'batches')}, "
            f"{buckets.padding:.1%} padding"
        ]
        if pairs.cut or pairs.left_out:
            notes.append(
                f"too long for the model: {amount(pairs.left_out, 'target')} left out, "
                f"{amount(pairs.cut, 'source')} cut"
            )
        return notes

    def quick_evaluate(self, model: LanguageModel) -> dict[str, float]:
        tokenizer, pairs = self.corpus.tokenizer, self._held_out(model)
        some = pairs.sample(self.quick.tokens)
        figures = likelihood_of_examples(
            model, some, tokenizer.count_bytes(some.stream())
        ).figures()
        asked = questions(pairs, tokenizer, self.quick.answers)
        lead = TASK_METRICS[self.recipe.task.name][:1]
        sampling = replace(GREEDY, max_tokens=self.longest)
        metrics = evaluate_answers(self._writer(model), asked, lead, sampling, resamples=0)
        return {**figures, **{name: float(m["value"]) for name, m in metrics.items()}}

    def evaluate(
        self,
        model: LanguageModel,
        progress: Share,
        seconds: float | None = None,
        count: int | None = None,
    ) -> dict[str, Any]:
        sampling = sampling_for(self.recipe.task)
        held = always_same_length(self.corpus.summary["train"])
        sampling = replace(sampling, max_tokens=self.longest, same_length=held)
        writer, pairs = self._writer(model), self._held_out(model)
        least = count or len(pairs.sample(self.quick.tokens))
        return evaluate_pairs(
            writer, pairs, self.recipe.task, sampling, progress, seconds, least=least, most=count
        )

    def evaluate_components(self, model: LanguageModel) -> dict[str, float]:
        return {}  # a sum of counts and a network that knows the source: not to be parted

    def evaluate_baselines(
        self, model: LanguageModel, progress: Share, seconds: float | None = None
    ) -> dict[str, Curve]:
        return {}  # no family that learns so has any

    def bits_per_byte(self, model: LanguageModel) -> float:
        some = self._held_out(model).sample(self.quick.tokens)
        bytes_ = self.corpus.tokenizer.count_bytes(some.stream())
        return likelihood_of_examples(model, some, bytes_).bits_per_byte

    def sample(
        self,
        model: LanguageModel,
        tokens: int | None = None,
        texts: int = 1,
        sampling: Sampling | None = None,
    ) -> tuple[str, list[Output]]:
        pairs = self._held_out(model)
        sources = [each.source for each in questions(pairs, self.corpus.tokenizer, texts)]
        sampling = shorter(replace(sampling or GREEDY, max_tokens=self.longest), tokens)
        written = self._writer(model).generate([""] * len(sources), sampling, sources=sources)
        outputs = [each[0] for each in written]
        asked = self.corpus.tokenizer.decode(sources[0])
        return f"{asked}\n→ {outputs[0].text}", outputs

    def _pairs(self, model: LanguageModel) -> Pairs:
        return readable(self.corpus.train, self.corpus.train_ends, model, self.recipe.task)

    def _held_out(self, model: LanguageModel) -> Pairs:
        return readable(self.corpus.valid, self.corpus.valid_ends, model, self.recipe.task)

    def _writer(self, model: LanguageModel) -> TextGenerator:
        keep, alphabet = kept(self.recipe.task), self.corpus.alphabet
        return TextGenerator(model, self.corpus.tokenizer, keep=keep, alphabet=alphabet)


@dataclass(frozen=True)
class RecordDataset:
    """Records, each of which is learnt from its beginning to its end."""

    recipe: Recipe
    corpus: Corpus
    quick: Quick

    def with_quick(self, quick: Quick) -> Dataset:
        return replace(self, quick=quick)

    def pace(self, model: LanguageModel, seconds: float) -> Quick:
        records, tokenizer = self._held_out(model), self.corpus.tokenizer

        def score(tokens: int) -> None:
            evaluate_records(model, records.sample(tokens), tokenizer)

        return Quick(how_many(score, FEW_TOKENS, self.quick.tokens, seconds))

    def batches(self, model: LanguageModel) -> Buckets:
        train, stream = self.recipe.train, self.stream(model)
        if not len(self._held_out(model)):
            raise WenmoError(
                f"each held-out record has more than {model.context} tokens: raise context="
            )
        reached = Records(trainable(stream, model), model.context)
        return Buckets(reached, train.tokens_per_batch, train.seed)

    def stream(self, model: LanguageModel) -> NDArray[np.unsignedinteger]:
        return Records(self.corpus.train, model.context).stream()

    def notes(self, model: LanguageModel) -> list[str]:
        records = Records(self.corpus.train, model.context)
        if not records.left_out:
            return []
        return [
            f"{amount(records.left_out, 'record')} left out for more than {model.context} tokens "
            "(context_length= allows for more)"
        ]

    def quick_evaluate(self, model: LanguageModel) -> dict[str, float]:
        some = self._held_out(model).sample(self.quick.tokens)
        return evaluate_records(model, some, self.corpus.tokenizer)

    def evaluate(
        self,
        model: LanguageModel,
        progress: Share,
        seconds: float | None = None,
        count: int | None = None,
    ) -> dict[str, Any]:
        def figures(records: Records) -> dict[str, Any]:
            return evaluate_beside_baselines(
                model, records, self.corpus.tokenizer, progress=progress
            )

        records = self._held_out(model)
        least = count or len(records.sample(self.quick.tokens))
        return sampled_wholes(records, figures, seconds, least=least, most=count)

    def evaluate_components(self, model: LanguageModel) -> dict[str, float]:
        mixture = capability(model, HasMixture)
        if mixture is None:
            return {}
        return {
            name: self.quick_evaluate(part)["bits_per_byte"]
            for name, part in {**mixture.mixture_components(), "mixture": model}.items()
        }

    def evaluate_baselines(
        self, model: LanguageModel, progress: Share, seconds: float | None = None
    ) -> dict[str, Curve]:
        if not (baselines := baselines_of(model)):
            return {}
        records, tokenizer = self._held_out(model), self.corpus.tokenizer
        most = REFERENCES if seconds is None else FEW_REFERENCES
        references = [tokenizer.decode(records.record(n)) for n in range(min(len(records), most))]
        _, lengths = records.widths()
        sampling = Sampling(max_tokens=int(lengths.max()))

        def curves(texts: int, temperatures: Sequence[float] = TEMPERATURES) -> dict[str, Curve]:
            return sweep(
                {"model": model, **baselines},
                tokenizer,
                references,
                temperatures=temperatures,
                texts=texts,
                sampling=sampling,
                alphabet=self.corpus.alphabet,
                progress=progress,
            )

        texts = RIVALS_TEXTS
        if seconds is not None:
            each = seconds / len(TEMPERATURES)
            texts = how_many(lambda n: curves(n, (1.0,)), FEW_TEXTS, RIVALS_TEXTS, each)
        return curves(texts)

    def bits_per_byte(self, model: LanguageModel) -> float:
        return float(self.quick_evaluate(model)["bits_per_byte"])

    def sample(
        self,
        model: LanguageModel,
        tokens: int | None = None,
        texts: int = 1,
        sampling: Sampling | None = None,
    ) -> tuple[str, list[Output]]:
        alphabet, rows = self.corpus.alphabet, max(1, min(texts, MOST_ROWS))
        writer = TextGenerator(model, self.corpus.tokenizer, alphabet=alphabet, rows=rows)
        return with_shown(writer, "", shorter(sampling or SAMPLE, tokens), texts)

    def _held_out(self, model: LanguageModel) -> Records:
        return Records(self.corpus.valid, model.context)


def with_shown(
    writer: TextGenerator, opening: str, sampling: Sampling, texts: int
) -> tuple[str, list[Output]]:
    """So many texts, and before them one to show: the first that is not too short to tell anything,
    or else the longest. Where all are too short, it is looked for among a few more.
    """
    [outputs] = writer.generate([opening], sampling, texts)
    least = min(SHOWN, sampling.max_tokens)
    tried = outputs
    if texts < MOST_SHOWN and all(len(output.ids) < least for output in outputs):
        [tried] = writer.generate([opening], sampling, MOST_SHOWN)
    long = (output for output in tried if len(output.ids) >= least)
    shown = next(long, None) or max(tried, key=lambda output: len(output.ids))
    return shown.text, outputs


def shorter(sampling: Sampling, tokens: int | None) -> Sampling:
    """The same sampling of at most so many tokens."""
    most = sampling.max_tokens
    return replace(sampling, max_tokens=most if tokens is None else min(most, tokens))


def kept(task: TaskConfig) -> Keep:
    """Which end is kept of what is too long: the latest of what is to be gone on from."""
    return "end" if task.name in ("completion", "dialogue") else "beginning"


def readable(
    ids: NDArray[np.unsignedinteger],
    ends: NDArray[np.int64] | None,
    model: LanguageModel,
    task: TaskConfig,
) -> Pairs:
    """The pairs of a flat array as the model can read them."""
    own = (model.conditioning, model.context)
    return Pairs(ids, *own, kept(task), ends, model.special_tokens)


def trainable(
    ids: NDArray[np.unsignedinteger], model: LanguageModel
) -> NDArray[np.unsignedinteger]:
    """A text, or as much of it as the model can be trained on."""
    prior = capability(model, FitsPrior)
    return ids if prior is None else ids[: prior.trainable_length(len(ids))]


def sampling_for(task: TaskConfig, *, samples_texts: bool = False) -> Sampling:
    """How texts of a task are written where neither user nor card says it: what has a right answer
    is searched for, what may differ each time is drawn.

    Args:
        complete: the model has its texts by rule, and what it says is taken as it is.
    """
    if task.name == "completion":
        return Sampling(temperature=1.0 if samples_texts else TEMPERATURE)
    if task.name == "dialogue":
        return Sampling(temperature=TEMPERATURE, top_p=0.9)
    return Sampling(method="beam")


def evaluate_text(
    model: LanguageModel,
    tokenizer: Tokenizer,
    ids: NDArray[np.unsignedinteger],
    *,
    window: int | None = None,
    stride: int | None = None,
    dynamic: float | None = None,
    cache: int | None = None,
    progress: Share = None,
) -> dict[str, Any]:
    """How likely a model finds a text; ``dynamic`` is the rate at which it learns on the way, and
    ``cache`` the tokens that a continuous cache holds.
    """
    bytes_ = tokenizer.count_bytes(ids)
    if cache is not None:
        return cached_likelihood(
            model, ids, bytes_, cache, window=window, stride=stride, progress=progress
        ).figures()
    if dynamic is not None:
        return dynamic_likelihood(model, ids, bytes_, dynamic, progress=progress).figures()
    found = likelihood(model, ids, bytes_, window=window, stride=stride, progress=progress)
    return found.figures()


def evaluate_records(
    model: LanguageModel,
    records: Records,
    tokenizer: Tokenizer,
    *,
    samples: int | None = None,
    progress: Share = None,
) -> dict[str, Any]:
    """How likely a model finds records, each as a whole, and what its latents tell of them; with
    ``samples`` also by importance weighting, with so many draws.
    """
    found = likelihood_of_examples(
        model, records, tokenizer.count_bytes(records.stream()), progress=progress
    )
    counts = {"records": len(records), "records_left_out": records.left_out}
    figures: dict[str, Any] = {**found.figures(), **counts}
    figures["nats_per_record"] = found.nats / len(records)
    if has_capability(model, HasLatents):
        figures |= latent_figures(model, records)
    if samples is not None:
        nats = importance_weighted(model, records, samples, progress)
        weighted = replace(found, nats=nats, interval=None).figures() | {
            "nats_per_record": nats / len(records)
        }
        figures["importance_weighted"] = {"samples": samples, **weighted}
    return figures


def evaluate_beside_baselines(
    model: LanguageModel, records: Records, tokenizer: Tokenizer, **asked: Any
) -> dict[str, Any]:
    """As `evaluate_records`, and the same of the model's baselines, by their names."""
    baselines = baselines_of(model).items()
    beside = {name: evaluate_records(baseline, records, tokenizer) for name, baseline in baselines}
    return evaluate_records(model, records, tokenizer, **asked) | beside


def evaluate_pairs(
    writer: TextGenerator,
    pairs: Pairs,
    task: TaskConfig,
    sampling: Sampling,
    progress: Share = None,
    seconds: float | None = None,
    *,
    least: int = FEW,
    most: int | None = None,
) -> dict[str, Any]:
    """How likely a model finds the targets, and ``metrics`` of its answers beside them.

    Args:
        progress: told the share that is done, first of the targets, then of the answers.
        seconds: where all of it takes longer, pairs from all over the text are scored and answered.
        least, most: of the pairs that are then scored; see `sampled_wholes`.
    """
    scoring = None if seconds is None else SCORING * seconds

    def score(some: Pairs) -> dict[str, Any]:
        bytes_ = writer.tokenizer.count_bytes(some.stream())
        first = progress and (lambda share: progress(SCORING * share))
        return likelihood_of_examples(writer.model, some, bytes_, progress=first).figures()

    begun = time.perf_counter()
    figures = sampled_wholes(pairs, score, scoring, least=least, most=most)
    left = None if seconds is None else seconds - (time.perf_counter() - begun)
    asked = questions(pairs, writer.tokenizer)
    second = progress and (lambda share: progress(SCORING + (1 - SCORING) * share))
    outputs = answer(writer, asked, sampling, seconds=left, progress=second)
    metrics = measure_answers(outputs, asked, TASK_METRICS[task.name])
    counts = {"pairs": len(pairs), "pairs_left_out": pairs.left_out, "sources_cut": pairs.cut}
    if len(outputs) < len(asked):
        counts["answered"] = len(outputs)
    return {**figures, **counts, "metrics": metrics}


def evaluate_answers(
    writer: TextGenerator,
    asked: Sequence[Question],
    names: Sequence[str],
    sampling: Sampling,
    *,
    resamples: int = 1000,
) -> dict[str, dict[str, Any]]:
    """Metrics of what the writer answers: ``value``, ``low``, ``high``, ``texts`` (how many were
    measured) and ``signature`` each.
    """
    return measure_answers(answer(writer, asked, sampling), asked, names, resamples=resamples)


def measure_answers(
    outputs: Sequence[str],
    asked: Sequence[Question],
    names: Sequence[str],
    *,
    resamples: int = 1000,
) -> dict[str, dict[str, Any]]:
    """The metrics of `evaluate_answers` of answers to the first questions."""
    references = [question.references for question in asked[: len(outputs)]]
    measured = measure(names, outputs, references, resamples=resamples)
    return {
        name: {
            "value": m.value,
            "low": m.low,
            "high": m.high,
            "texts": len(outputs),
            "signature": m.signature,
        }
        for name, m in measured.items()
    }
