"""What a run learns from and is judged by: a text to go on with, or pairs of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wenmo.budget import fit_count
from wenmo.decoding.defaults import TEMPERATURE, default_sampling
from wenmo.decoding.generator import TextGenerator
from wenmo.decoding.output import Output
from wenmo.decoding.params import Sampling
from wenmo.evaluation.answers import TASK_METRICS, generate_targets, sources_with_references
from wenmo.evaluation.evaluate import (
    evaluate_pairs,
    evaluate_records,
    evaluate_text,
    evaluate_with_baselines,
    measure_targets,
    readable_pairs,
)
from wenmo.evaluation.likelihood import likelihood_of_examples
from wenmo.evaluation.results import Curve, Evaluation, RecordEvaluation
from wenmo.evaluation.sampled import (
    Blocks,
    block_likelihood,
    sampled_evaluation,
    sampled_likelihood,
)
from wenmo.evaluation.tradeoff import TEMPERATURES, sweep
from wenmo.models.base import LanguageModel
from wenmo.models.capabilities import (
    FitsPrior,
    HasMixture,
    SamplesTexts,
    baselines_of,
    capability,
    has_capability,
)
from wenmo.progress import FractionCallback
from wenmo.runs.recipe import Recipe
from wenmo.runs.store import always_same_length
from wenmo.text.batches import Batches, Streams, Windows
from wenmo.text.corpus import Corpus
from wenmo.text.pairs import Buckets, Pairs
from wenmo.text.records import Records
from wenmo.text.tasks import kept_side
from wenmo.types import WenmoError, amount

STREAM_CHUNK = 64  # tokens of truncated back-propagation, where no time is asked for
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
    """A text that a model is trained and evaluated on: a stream, pairs or records.

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
        progress: FractionCallback | None,
        seconds: float | None = None,
        count: int | None = None,
    ) -> Evaluation:
        """An evaluation of all of the held-out text; or, where that takes longer than so many
        seconds, of a sample of it, which holds what an evaluation on the way scores.

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
        self, model: LanguageModel, progress: FractionCallback | None, seconds: float | None = None
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
            return Quick(fit_count(self._scored(model), FEW_TOKENS, self.quick.tokens, seconds))
        size, score = self._blocks(model).size, self._scored(model)
        most = max(1, self.quick.tokens // size)
        most = min(most, -(-(len(self.corpus.valid) - 1) // size))
        return Quick(size * fit_count(lambda count: score(size * count), 1, most, seconds))

    def batches(self, model: LanguageModel) -> Batches:
        train, ids = self.recipe.train, trainable(self.corpus.train, model)
        if model.context is None:
            return Streams(ids, train.batch_size, train.sequence_length or STREAM_CHUNK)
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
        return self._scored(model)(self.quick.tokens).to_dict()

    def _blocks(self, model: LanguageModel) -> Blocks:
        return Blocks(model, self.corpus.valid, self.corpus.tokenizer.count_bytes)

    def _scored(self, model: LanguageModel) -> Callable[[int], Evaluation]:
        """Evaluates so many tokens from all over the held-out text."""
        tokenizer, ids = self.corpus.tokenizer, self.corpus.valid

        def score(tokens: int) -> Evaluation:
            if has_capability(model, SamplesTexts) or tokens >= len(ids) - 1:
                return evaluate_text(model, tokenizer, ids[: tokens + 1])
            count = max(1, tokens // self._blocks(model).size)
            return block_likelihood(model, ids, tokenizer.count_bytes, count)

        return score

    def evaluate(
        self,
        model: LanguageModel,
        progress: FractionCallback | None,
        seconds: float | None = None,
        count: int | None = None,
    ) -> Evaluation:
        tokenizer, ids, some = self.corpus.tokenizer, self.corpus.valid, None
        if seconds is not None and not has_capability(model, SamplesTexts):
            quick = max(1, self.quick.tokens // self._blocks(model).size)
            some = sampled_likelihood(
                model,
                ids,
                tokenizer.count_bytes,
                seconds,
                min_count=count or quick,
                max_count=count,
                progress=progress,
            )
        return some or evaluate_text(model, tokenizer, ids, progress=progress)

    def evaluate_components(self, model: LanguageModel) -> dict[str, float]:
        return components(model, self.bits_per_byte)

    def evaluate_baselines(
        self, model: LanguageModel, progress: FractionCallback | None, seconds: float | None = None
    ) -> dict[str, Curve]:
        return {}  # no family that learns so has any

    def bits_per_byte(self, model: LanguageModel) -> float:
        return self._scored(model)(self.quick.tokens).bits_per_byte

    def sample(
        self,
        model: LanguageModel,
        tokens: int | None = None,
        texts: int = 1,
        sampling: Sampling | None = None,
    ) -> tuple[str, list[Output]]:
        default = AS_IT_IS if has_capability(model, SamplesTexts) else shorter(SAMPLE, tokens)
        asked = default if sampling is None else shorter(sampling, tokens)
        return write_samples(model, self.corpus, self.opening, asked, texts)


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

        tokens = fit_count(score, FEW_TOKENS, self.quick.tokens, 0.5 * seconds)
        asked = sources_with_references(pairs, tokenizer, self.quick.answers)
        writer, sampling = self._writer(model), replace(GREEDY, max_tokens=self.longest)

        def reply(count: int) -> None:
            generate_targets(writer, asked[:count], sampling)

        return Quick(tokens, fit_count(reply, FEW_TEXTS, len(asked), 0.5 * seconds))

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
        if pairs.truncated or pairs.skipped:
            notes.append(
                f"too long for the model: {amount(pairs.skipped, 'target')} left out, "
                f"{amount(pairs.truncated, 'source')} cut"
            )
        return notes

    def quick_evaluate(self, model: LanguageModel) -> dict[str, float]:
        tokenizer, pairs = self.corpus.tokenizer, self._held_out(model)
        some = pairs.sample(self.quick.tokens)
        figures = likelihood_of_examples(
            model, some, tokenizer.count_bytes(some.stream())
        ).figures()
        asked = sources_with_references(pairs, tokenizer, self.quick.answers)
        lead = TASK_METRICS[self.recipe.task.name][:1]
        sampling = replace(GREEDY, max_tokens=self.longest)
        outputs = generate_targets(self._writer(model), asked, sampling)
        metrics = measure_targets(outputs, asked, lead, resamples=0)
        return {**figures, **{name: metric.value for name, metric in metrics.items()}}

    def evaluate(
        self,
        model: LanguageModel,
        progress: FractionCallback | None,
        seconds: float | None = None,
        count: int | None = None,
    ) -> Evaluation:
        sampling = default_sampling(self.recipe.task)
        held = always_same_length(self.corpus.summary["train"])
        sampling = replace(sampling, max_tokens=self.longest, same_length=held)
        writer, pairs = self._writer(model), self._held_out(model)
        least = count or len(pairs.sample(self.quick.tokens))
        return evaluate_pairs(
            writer,
            pairs,
            self.recipe.task,
            sampling,
            progress,
            seconds,
            min_count=least,
            max_count=count,
        )

    def evaluate_components(self, model: LanguageModel) -> dict[str, float]:
        return {}  # a sum of counts and a network that knows the source: not to be parted

    def evaluate_baselines(
        self, model: LanguageModel, progress: FractionCallback | None, seconds: float | None = None
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
        sources = [
            each.source for each in sources_with_references(pairs, self.corpus.tokenizer, texts)
        ]
        sampling = shorter(replace(sampling or GREEDY, max_tokens=self.longest), tokens)
        written = self._writer(model).generate([""] * len(sources), sampling, sources=sources)
        outputs = [each[0] for each in written]
        asked = self.corpus.tokenizer.decode(sources[0])
        return f"{asked}\n→ {outputs[0].text}", outputs

    def _pairs(self, model: LanguageModel) -> Pairs:
        return readable_pairs(self.corpus.train, self.corpus.train_ends, model, self.recipe.task)

    def _held_out(self, model: LanguageModel) -> Pairs:
        return readable_pairs(self.corpus.valid, self.corpus.valid_ends, model, self.recipe.task)

    def _writer(self, model: LanguageModel) -> TextGenerator:
        keep, alphabet = kept_side(self.recipe.task), self.corpus.alphabet
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
        def score(tokens: int) -> None:
            self._scored(model, tokens)

        return Quick(fit_count(score, FEW_TOKENS, self.quick.tokens, seconds))

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
        if not records.skipped:
            return []
        return [
            f"{amount(records.skipped, 'record')} left out for more than {model.context} tokens "
            "(context_length= allows for more)"
        ]

    def quick_evaluate(self, model: LanguageModel) -> dict[str, float]:
        return self._scored(model, self.quick.tokens).to_dict()

    def _scored(self, model: LanguageModel, tokens: int) -> RecordEvaluation:
        """Evaluates records of about so many tokens from all over the held-out text."""
        some = self._held_out(model).sample(tokens)
        return evaluate_records(model, some, self.corpus.tokenizer)

    def evaluate(
        self,
        model: LanguageModel,
        progress: FractionCallback | None,
        seconds: float | None = None,
        count: int | None = None,
    ) -> Evaluation:
        def score(records: Records) -> RecordEvaluation:
            return evaluate_with_baselines(model, records, self.corpus.tokenizer, progress=progress)

        records = self._held_out(model)
        least = count or len(records.sample(self.quick.tokens))
        return sampled_evaluation(records, score, seconds, min_count=least, max_count=count)

    def evaluate_components(self, model: LanguageModel) -> dict[str, float]:
        return components(model, self.bits_per_byte)

    def evaluate_baselines(
        self, model: LanguageModel, progress: FractionCallback | None, seconds: float | None = None
    ) -> dict[str, Curve]:
        if not (baselines := baselines_of(model)):
            return {}
        records, tokenizer = self._held_out(model), self.corpus.tokenizer
        most = REFERENCES if seconds is None else FEW_REFERENCES
        references = [tokenizer.decode(records.record(n)) for n in range(min(len(records), most))]
        _, lengths = records.token_counts()
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
            texts = fit_count(lambda n: curves(n, (1.0,)), FEW_TEXTS, RIVALS_TEXTS, each)
        return curves(texts)

    def bits_per_byte(self, model: LanguageModel) -> float:
        return self._scored(model, self.quick.tokens).bits_per_byte

    def sample(
        self,
        model: LanguageModel,
        tokens: int | None = None,
        texts: int = 1,
        sampling: Sampling | None = None,
    ) -> tuple[str, list[Output]]:
        return write_samples(model, self.corpus, "", shorter(sampling or SAMPLE, tokens), texts)

    def _held_out(self, model: LanguageModel) -> Records:
        return Records(self.corpus.valid, model.context)


def trainable(
    ids: NDArray[np.unsignedinteger], model: LanguageModel
) -> NDArray[np.unsignedinteger]:
    """A text, or as much of it as the model can be trained on."""
    prior = capability(model, FitsPrior)
    return ids if prior is None else ids[: prior.trainable_length(len(ids))]


def components(
    model: LanguageModel, bits_per_byte: Callable[[LanguageModel], float]
) -> dict[str, float]:
    """Bits per byte of what a model is a mixture of, and of the ``mixture``; empty where it is
    none.
    """
    mixture = capability(model, HasMixture)
    if mixture is None:
        return {}
    parts = {**mixture.mixture_components(), "mixture": model}
    return {name: bits_per_byte(part) for name, part in parts.items()}


def write_samples(
    model: LanguageModel, corpus: Corpus, opening: str, sampling: Sampling, texts: int
) -> tuple[str, list[Output]]:
    """As `with_shown`, by a generator that writes many texts side by side."""
    rows = max(1, min(texts, MOST_ROWS))
    writer = TextGenerator(model, corpus.tokenizer, alphabet=corpus.alphabet, rows=rows)
    return with_shown(writer, opening, sampling, texts)


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
