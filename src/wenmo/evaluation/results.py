"""What evaluations find: how likely texts are, how good, how varied, and why.

Nothing here loads PyTorch, so that a run folder is shown at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from wenmo.results import Result, find, inlined

# -- likelihood and answers ------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample(Result):
    """How much of the held-out text was scored, where not all was.

    Attributes:
        share: of the tokens, or of the pairs or records; 0 to 1.
        count: blocks of text, pairs or records.
    """

    share: float
    count: int


@dataclass(frozen=True)
class Evaluation(Result):
    """How likely a model finds a text.

    Attributes:
        bits_per_byte: of the raw text in UTF-8; compares models with different tokenizers.
        nats_per_token: minus the mean natural log-probability of a token.
        perplexity: the exponential of that.
        tokens: that were scored, the end of each record included.
        bytes: UTF-8 bytes of the raw text, and one for the end of each record.
        bound: the figures are upper bounds.
        low, high: the 95% interval of ``bits_per_byte``, where blocks or records were resampled.
        sample: None: all of the text was scored.
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
    """What the latents of a model tell of records: means over them, in nats a record.

    Attributes:
        kl: the divergence of the posterior from the prior.
        mutual_information: of latents and texts.
        active_latents: how many of the latents have a posterior mean whose variance over the
            records is above 0.01 (Burda et al. 2016, section 5.2).
        latents: how many there are.
    """

    kl: float
    mutual_information: float
    active_latents: int
    latents: int


@dataclass(frozen=True, kw_only=True)
class ImportanceWeighted(Evaluation):
    """An evaluation by importance weighting.

    Attributes:
        samples: draws of the latents for each record.
        nats_per_record: minus the mean natural log-probability of a record.
    """

    samples: int
    nats_per_record: float


@dataclass(frozen=True, kw_only=True)
class RecordEvaluation(Evaluation):
    """How likely a model finds records, each scored as a whole.

    Attributes:
        records: that were scored.
        records_left_out: longer than the model can read.
        nats_per_record: minus the mean natural log-probability of a record.
        latent_usage: of models with latents.
        importance_weighted: where draws were asked for.
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
        """Take back what `to_dict` gave: objects under other names are those of baselines."""
        own = {each.name for each in fields(cls)}
        others = {k: v for k, v in content.items() if k not in own and isinstance(v, Mapping)}
        baselines = {name: RecordEvaluation.from_dict(other) for name, other in others.items()}
        return replace(super().from_dict(content), baselines=baselines)


@dataclass(frozen=True)
class Metric(Result):
    """A metric of a set of texts.

    Attributes:
        value: in percent. More is better, but for ``ter``, which may exceed 100.
        low, high: the 95% bootstrap interval; None if none was asked for, or there are too few
            texts.
        texts: how many were measured.
        signature: what was counted and how; sacrebleu's own for its metrics.
    """

    value: float
    low: float | None
    high: float | None
    texts: int
    signature: str


@dataclass(frozen=True, kw_only=True)
class PairEvaluation(Evaluation):
    """How likely a model finds the targets of pairs, and how good its answers are.

    Attributes:
        pairs: that were read.
        pairs_left_out: whose targets are longer than the model can read.
        sources_cut: to the length that the model can read.
        answered: distinct sources; None: all.
        metrics: of the answers, by name.
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
    """A run beside others on one text.

    Attributes:
        run: its folder.
        model: its family.
        evaluation: None where the run cannot score this text.
        problem: why.
    """

    run: str
    model: str | None = None
    evaluation: Evaluation | None = inlined(default=None)
    problem: str | None = None


# -- token by token --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Voice(Result):
    """What one component of a mixture gives a token.

    Attributes:
        name: of the component.
        weight: in the mixture, there.
        probability: that it gives alone.
        share: of the probability that the mixture gives.
    """

    name: str
    weight: float
    probability: float
    share: float


@dataclass(frozen=True)
class ExplainedToken(Result):
    """What a model says of a token, given those before it.

    Attributes:
        token: as text.
        probability: 0 to 1.
        rank: 1 where no token was likelier.
        likeliest: the token that was expected.
        likeliest_probability: 0 to 1.
        voices: of a mixture, its components.
    """

    token: str
    probability: float
    rank: int
    likeliest: str
    likeliest_probability: float
    voices: list[Voice] | None = None


@dataclass(frozen=True)
class Alignment(Result):
    """How much each token of a text attended to each token of its source.

    Attributes:
        source, target: the tokens as text.
        weights: a row for each token of the target, in it a number from 0 to 1 for each of the
            source; a row sums to 1.
    """

    source: list[str]
    target: list[str]
    weights: list[list[float]]


# -- quality and diversity -------------------------------------------------------------------------


@dataclass(frozen=True)
class TradeoffPoint(Result):
    """Quality and diversity of texts that were written at one temperature.

    Attributes:
        temperature: above 0.
        bleu, bleu_error: beside the reference texts, and its standard error; by order (``"4"``), 0
            to 1.
        self_bleu, self_bleu_error: of each text beside the others; the lower, the more diverse.
        sample: one of the texts.
    """

    temperature: float
    bleu: dict[str, float]
    bleu_error: dict[str, float]
    self_bleu: dict[str, float]
    self_bleu_error: dict[str, float]
    sample: str


Curve = list[TradeoffPoint]
"""A point for each temperature."""


@dataclass(frozen=True)
class TradeoffVerdict(Result):
    """Whether a generator writes better texts than its baseline at equal diversity.

    Attributes:
        gain: by how much its BLEU is above the baseline's at the same Self-BLEU, the mean over the
            temperatures at which the baseline's curve reaches so far; None where it reaches none.
        error: the standard error of ``gain``.
        compared: how many temperatures these are.
        text: a line for the user.
    """

    gain: float | None
    error: float | None
    compared: int
    text: str


@dataclass(frozen=True)
class Tradeoff(Result):
    """Quality against diversity over temperatures.

    Attributes:
        curves: by the names of runs and baselines.
        verdicts: on runs that have baselines, by the baseline's name.
    """

    curves: dict[str, Curve]
    verdicts: dict[str, TradeoffVerdict]


# -- the verdict on a training ---------------------------------------------------------------------


@dataclass(frozen=True)
class Originality(Result):
    """What samples have of the training text, and what not.

    Attributes:
        words, characters: how many the samples have; a character is one with its marks.
        invented_words, invented_characters: the share that stands nowhere in the training text;
            None where the model knew other text before.
        repeated: the share of pairs of neighbouring words that stood in the samples before.
        longest_copy: characters of the longest run that the training text has, too.
    """

    words: int
    characters: int
    invented_words: float | None
    invented_characters: float | None
    repeated: float
    longest_copy: int


@dataclass(frozen=True)
class Forecast(Result):
    """What as much training again would gain, by the run's own curve.

    Attributes:
        gain: bits per byte, 0 or more.
        low, high: the ends of an 80% interval.
        best_at: the share of the training at which held-out text was likeliest.
        overfits: it has become less likely since.
    """

    gain: float
    low: float
    high: float
    best_at: float
    overfits: bool


@dataclass(frozen=True)
class Verdict(Result):
    """What a run is worth; what could not be told is None.

    Attributes:
        bits_per_byte: of the run, on some of the held-out text.
        counts_bits_per_byte: of plain counts of the training text, on the same.
        originality: of a few samples.
        forecast: what more training would bring.
        advice: what to try next.
        counts_share: the share of the training text that was counted for it.
    """

    bits_per_byte: float | None
    counts_bits_per_byte: float | None
    originality: Originality | None
    forecast: Forecast | None
    advice: str
    counts_share: float = 1.0


@dataclass(frozen=True)
class ChosenSampling(Result):
    """How a run writes where nothing is asked for.

    Attributes:
        temperature, top_p: the settings.
        reason: where they come from, in one line.
        written, heldout: shares of new words, new pairs of words and repetition, by name, in texts
            that were written with these settings and in held-out text; None: not measured.
        tried: the same of every setting that was tried.
    """

    temperature: float
    top_p: float
    reason: str
    written: dict[str, float] | None
    heldout: dict[str, float] | None
    tried: list[dict[str, float]] = field(default_factory=list)
