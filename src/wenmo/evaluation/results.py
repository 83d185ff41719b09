"""Results of evaluations.

This module does not import PyTorch, so that results of a run folder are shown at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from wenmo.results import Result, find, inlined

# -- likelihood and metrics ------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample(Result):
    """The size of a sample of the held-out text.

    Attributes:
        share: fraction of the tokens, or of the pairs or records; 0 to 1.
        count: number of blocks of text, pairs or records.
    """

    share: float
    count: int


@dataclass(frozen=True)
class Evaluation(Result):
    """The likelihood of a text under a model.

    Attributes:
        bits_per_byte: bits per byte of UTF-8; comparable between models with different tokenizers.
        nats_per_token: mean negative natural log-likelihood of a token.
        perplexity: exponential of ``nats_per_token``.
        tokens: number of scored tokens, including the end of each record.
        bytes: UTF-8 bytes of the raw text, plus one for the end of each record.
        bound: the values are upper bounds.
        low, high: 95% bootstrap interval of ``bits_per_byte``; None: not computed.
        sample: size of the sample; None: all of the text was scored.
    """

    bits_per_byte: float
    nats_per_token: float
    perplexity: float
    tokens: int
    bytes: int
    bound: bool
    low: float | None = None
    high: float | None = None
    sample: Sample | None = None


@dataclass(frozen=True)
class LatentUsage(Result):
    """How a model uses its latents; means over records, in nats per record.

    Attributes:
        kl: divergence of the posterior from the prior.
        mutual_information: mutual information of latents and texts.
        active_latents: number of latents whose posterior mean has a variance over records above
            0.01 (Burda et al. 2016, section 5.2).
        latents: number of latents.
    """

    kl: float
    mutual_information: float
    active_latents: int
    latents: int


@dataclass(frozen=True, kw_only=True)
class ImportanceWeighted(Evaluation):
    """An evaluation by importance weighting.

    Attributes:
        samples: number of samples of the latents for each record.
        nats_per_record: mean negative natural log-likelihood of a record.
    """

    samples: int
    nats_per_record: float


@dataclass(frozen=True, kw_only=True)
class RecordEvaluation(Evaluation):
    """The likelihood of records, each scored separately.

    Attributes:
        records: number of scored records.
        records_left_out: number of records longer than the model's context.
        nats_per_record: mean negative natural log-likelihood of a record.
        latent_usage: use of latents, if the model has any.
        importance_weighted: evaluation by importance weighting, if requested.
        baselines: evaluations of the model's baselines on the same records, by name.
    """

    records: int
    records_left_out: int
    nats_per_record: float
    latent_usage: LatentUsage | None = inlined(default=None)
    importance_weighted: ImportanceWeighted | None = None
    baselines: dict[str, RecordEvaluation] = inlined(default_factory=dict)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`; objects under other names are evaluations of baselines."""
        own = {each.name for each in fields(cls)}
        others = {k: v for k, v in content.items() if k not in own and isinstance(v, Mapping)}
        baselines = {name: RecordEvaluation.from_dict(other) for name, other in others.items()}
        return replace(super().from_dict(content), baselines=baselines)


@dataclass(frozen=True)
class Metric(Result):
    """A metric of a set of texts.

    Attributes:
        value: value in percent; higher is better, except for ``ter``, which may exceed 100.
        low, high: 95% bootstrap interval; None: not requested, or too few texts.
        texts: number of texts.
        signature: settings of the metric, in sacrebleu's format.
    """

    value: float
    low: float | None
    high: float | None
    texts: int
    signature: str


@dataclass(frozen=True, kw_only=True)
class PairEvaluation(Evaluation):
    """The likelihood of the targets of pairs, and metrics of generated targets.

    Attributes:
        pairs: number of pairs.
        pairs_left_out: number of pairs whose targets are longer than the model's context.
        sources_cut: number of sources truncated to the model's context.
        answered: number of distinct sources for which targets were generated; None: all.
        metrics: metrics of the generated targets, by name.
    """

    pairs: int
    pairs_left_out: int
    sources_cut: int
    answered: int | None = None
    metrics: dict[str, Metric]


def read_evaluation(content: Mapping[str, Any]) -> Evaluation:
    """An evaluation of a text, of records or of pairs, from its JSON object."""
    return (
        find(PairEvaluation, content)
        or find(RecordEvaluation, content)
        or Evaluation.from_dict(content)
    )


@dataclass(frozen=True)
class ComparedRun(Result):
    """A run in a comparison on one text.

    Attributes:
        run: folder of the run.
        model: model family.
        evaluation: evaluation of the text; None: the run cannot score it.
        problem: why the run cannot score the text.
    """

    run: str
    model: str | None = None
    evaluation: Evaluation | None = inlined(default=None)
    problem: str | None = None


# -- token by token --------------------------------------------------------------------------------


@dataclass(frozen=True)
class MixtureComponent(Result):
    """The contribution of a mixture component to the probability of a token.

    Attributes:
        name: name of the component.
        weight: its weight in the mixture at this token.
        probability: its own probability of the token.
        share: its fraction of the mixture's probability.
    """

    name: str
    weight: float
    probability: float
    share: float


@dataclass(frozen=True)
class ExplainedToken(Result):
    """The prediction for a token given the tokens before it.

    Attributes:
        token: the token as text.
        probability: its probability, 0 to 1.
        rank: its rank by probability, from 1.
        likeliest: the most probable token.
        likeliest_probability: the probability of that token, 0 to 1.
        mixture_components: contributions of the components of a mixture.
    """

    token: str
    probability: float
    rank: int
    likeliest: str
    likeliest_probability: float
    mixture_components: list[MixtureComponent] | None = None


@dataclass(frozen=True)
class Alignment(Result):
    """Attention weights of target tokens over source tokens.

    Attributes:
        source, target: tokens as text.
        weights: a row for each target token with weights of the source tokens; each row sums to 1.
    """

    source: list[str]
    target: list[str]
    weights: list[list[float]]


# -- quality and diversity -------------------------------------------------------------------------


@dataclass(frozen=True)
class TradeoffPoint(Result):
    """Quality and diversity of texts generated at one temperature.

    Attributes:
        temperature: sampling temperature.
        bleu, bleu_error: BLEU against the reference texts and its standard error, by order
            (``"4"``), 0 to 1.
        self_bleu, self_bleu_error: BLEU of each text against the others; lower is more diverse.
        sample: one of the texts.
    """

    temperature: float
    bleu: dict[str, float]
    bleu_error: dict[str, float]
    self_bleu: dict[str, float]
    self_bleu_error: dict[str, float]
    sample: str


Curve = list[TradeoffPoint]
"""One point for each temperature."""


@dataclass(frozen=True)
class TradeoffVerdict(Result):
    """Comparison of a generator with its baseline at equal diversity.

    Attributes:
        gain: BLEU minus the baseline's BLEU at the same Self-BLEU, averaged over the temperatures
            within the range of the baseline's curve; None: there is no such temperature.
        error: standard error of ``gain``.
        compared: number of these temperatures.
        text: one line for the user.
    """

    gain: float | None
    error: float | None
    compared: int
    text: str


@dataclass(frozen=True)
class Tradeoff(Result):
    """Quality against diversity over temperatures.

    Attributes:
        curves: curves of runs and baselines by name.
        verdicts: comparisons with baselines, by name of the baseline.
    """

    curves: dict[str, Curve]
    verdicts: dict[str, TradeoffVerdict]


# -- the verdict on a training ---------------------------------------------------------------------


@dataclass(frozen=True)
class Originality(Result):
    """Comparison of samples with the training text.

    Attributes:
        words, characters: number of words and graphemes in the samples.
        invented_words, invented_characters: fraction that does not occur in the training text;
            None: the model was trained on other text before.
        repeated: fraction of word bigrams that occur earlier in the samples.
        longest_copy: length in characters of the longest substring copied from the training text.
    """

    words: int
    characters: int
    invented_words: float | None
    invented_characters: float | None
    repeated: float
    longest_copy: int


@dataclass(frozen=True)
class Forecast(Result):
    """Forecast of the gain of doubling the training, from the learning curve.

    Attributes:
        gain: bits per byte, at least 0.
        low, high: 80% interval of ``gain``.
        best_at: fraction of the training at which the held-out loss was lowest.
        overfits: the held-out loss has risen since.
    """

    gain: float
    low: float
    high: float
    best_at: float
    overfits: bool


@dataclass(frozen=True)
class Verdict(Result):
    """The verdict on a run; values that could not be computed are None.

    Attributes:
        bits_per_byte: of the run, on a sample of the held-out text.
        counts_bits_per_byte: of an n-gram model of the training text, on the same sample.
        originality: of a few samples.
        forecast: of further training.
        advice: what to try next.
        counts_share: fraction of the training text that the n-gram model was fitted to.
    """

    bits_per_byte: float | None
    counts_bits_per_byte: float | None
    originality: Originality | None
    forecast: Forecast | None
    advice: str
    counts_share: float = 1.0


@dataclass(frozen=True)
class ChosenSampling(Result):
    """The default sampling settings of a run.

    Attributes:
        temperature, top_p: the settings.
        reason: where they come from, in one line.
        written, heldout: fractions of new words, new word bigrams and repeated 4-grams by name, in
            texts generated with these settings and in held-out text; None: not measured.
        tried: settings and fractions of each trial.
    """

    temperature: float
    top_p: float
    reason: str
    written: dict[str, float] | None
    heldout: dict[str, float] | None
    tried: list[dict[str, float]] = field(default_factory=list)
