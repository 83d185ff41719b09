"""Every change of the next token's distribution: one pure function each, in one printable chain.

A warp takes logits, float32 (rows, vocabulary), and returns new ones of the same shape; what it
forbids becomes −inf. None touches its input, looks from one row into another, or leaves a row with
nothing to choose: where everything would be forbidden, the row stays as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from wenmo.config import shown
from wenmo.types import END

DRAWING = {"temperature", "top_k", "top_p", "min_p", "typical_p"}
"""Settings that only drawing heeds: who asks for one without a method asks to draw."""


@dataclass(frozen=True)
class Sampling:
    """What a request may ask of the way its text is chosen. The defaults leave the model as it is.

    Attributes:
        method: ``sample`` draws each token, ``greedy`` takes the likeliest, ``beam`` searches for
            the text of the best score (see `wenmo.decoding.beam`). Only ``sample`` heeds the
            settings from temperature to typical_p and the seed. ``uniform`` is for grammars: every
            way to make a text is as likely as any other.
        max_tokens: the most tokens to write.
        min_tokens: the text may not end before it has so many.
        temperature: below 1 the likely becomes likelier; to sample at 0 is greedy.
        top_k: keep the k likeliest tokens; 0 keeps all.
        top_p: keep the likeliest tokens that together have probability p; 1 keeps all.
        min_p: keep the tokens at least so likely as this share of the likeliest; 0 keeps all.
        typical_p: keep the tokens of most typical information that together have probability p.
        repetition_penalty: divides the logits of what the prompt or the output holds; 1 is none. A
            beam applies it, as the other penalties and the bias, to log-probabilities.
        presence_penalty: lowers, once, the logits of what was written.
        frequency_penalty: lowers the logits of what was written, each time it was.
        no_repeat_ngram: no n tokens of prompt and output occur twice; 0 allows it.
        logit_bias: (id, amount) pairs, added to the logits; −inf forbids the token.
        stop: the text ends before the first of these strings.
        seed: the same seed and request give the same text, alone or among others.
        same_length: an answer has as many characters as its source; for models with a source.
        unseen_characters: also write characters that neither the training text nor the prompt has.
        beam_width: how many texts a beam follows at once; a beam of one writes the greedy text.
        length_penalty: how strongly a beam makes up for the cost of length; 0 does not, 1 compares
            the log-probability of a token.
        length_penalty_form: what a beam divides a log-probability by: with ``power``, the length to
            the power of length_penalty; with ``gnmt``, equation 14 of Wu et al. (2016).
        coverage_penalty: how much a beam minds places of the source that got little attention
            (Wu et al. 2016, equation 14); for models whose state holds ``coverage``.
        beam_groups: into how many groups a beam is parted, which keep away from each other
            (Vijayakumar et al. 2018); 1 is the plain search.
        unmask_order: in which order models that fill gaps write: ``random`` (Sahoo et al. 2024), by
            ``confidence``, the surest first (Ghazvininejad et al. 2019; Chang et al. 2022), or from
            the ``left``, as all others do, with every setting that looks back.
        unmask_steps: in how many steps all tokens appear; 0: one by one.
        unmask_schedule: as many at each step (``linear``), or few at first (``cosine``).
        remask: what has appeared may be hidden again and chosen anew.
        gap_tokens: how many tokens a gap has; 0: what suits it best.
        diversity_penalty: what a token costs a group for each time that a group before it chose it
            at the same step.
        max_depth: of a grammar's text, so many rules may stand within one another; None: as the
            grammar says.

    Raises:
        ValueError: a value out of range; the message names the field.
    """

    method: Literal["sample", "greedy", "beam", "uniform"] = "sample"
    max_tokens: int = 256
    min_tokens: int = 0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram: int = 0
    logit_bias: tuple[tuple[int, float], ...] = ()
    stop: tuple[str, ...] = ()
    seed: int = 0
    same_length: bool = False
    unseen_characters: bool = False
    beam_width: int = 5
    length_penalty: float = 0.6
    length_penalty_form: Literal["power", "gnmt"] = "power"
    coverage_penalty: float = 0.0
    beam_groups: int = 1
    diversity_penalty: float = 0.5
    unmask_order: Literal["random", "confidence", "left"] = "random"
    unmask_steps: int = 0
    unmask_schedule: Literal["linear", "cosine"] = "linear"
    remask: bool = False
    gap_tokens: int = 0
    max_depth: int | None = None

    def __post_init__(self) -> None:
        valid = {  # every test is false for NaN
            "method": (
                self.method in ("sample", "greedy", "beam", "uniform"),
                "sample, greedy, beam or uniform",
            ),
            "max_tokens": (self.max_tokens >= 1, "at least 1"),
            "min_tokens": (0 <= self.min_tokens <= self.max_tokens, "from 0 to max_tokens"),
            "temperature": (0 <= self.temperature < math.inf, "0 or more"),
            "top_k": (self.top_k >= 0, "0 or more"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "min_p": (0 <= self.min_p <= 1, "from 0 to 1"),
            "typical_p": (0 < self.typical_p <= 1, "above 0 and at most 1"),
            "repetition_penalty": (0.01 <= self.repetition_penalty <= 100, "from 0.01 to 100"),
            "presence_penalty": (abs(self.presence_penalty) <= 100, "from -100 to 100"),
            "frequency_penalty": (abs(self.frequency_penalty) <= 100, "from -100 to 100"),
            "no_repeat_ngram": (self.no_repeat_ngram >= 0, "0 or more"),
            "logit_bias": (
                all(token >= 0 and amount <= 1e4 for token, amount in self.logit_bias),
                "pairs of a token id and an amount of at most 10000",
            ),
            "stop": (all(self.stop), "strings that are not empty"),
            "seed": (0 <= self.seed < 2**63, "from 0 to 2**63 - 1"),
            "beam_width": (1 <= self.beam_width <= 1000, "from 1 to 1000"),
            "length_penalty": (0 <= self.length_penalty <= 10, "from 0 to 10"),
            "length_penalty_form": (self.length_penalty_form in ("power", "gnmt"), "power or gnmt"),
            "coverage_penalty": (0 <= self.coverage_penalty <= 100, "from 0 to 100"),
            "beam_groups": (
                self.beam_groups >= 1 and self.beam_width % self.beam_groups == 0,
                f"at least 1, and divide the beam_width of {self.beam_width}",
            ),
            "diversity_penalty": (0 <= self.diversity_penalty <= 100, "from 0 to 100"),
            "unmask_order": (
                self.unmask_order in ("random", "confidence", "left"),
                "random, confidence or left",
            ),
            "unmask_steps": (self.unmask_steps >= 0, "0 or more"),
            "unmask_schedule": (self.unmask_schedule in ("linear", "cosine"), "linear or cosine"),
            "gap_tokens": (self.gap_tokens >= 0, "0 or more"),
            "max_depth": (self.max_depth is None or 1 <= self.max_depth <= 200, "from 1 to 200"),
        }
        for name, (holds, wanted) in valid.items():
            if not holds:
                raise ValueError(f"{name}={shown(getattr(self, name))}: must be {wanted}")

    @property
    def whole(self) -> bool:
        """Whether texts are asked for as a model has them, so that it may draw them at once."""
        plain = self.method == "uniform" or (self.method == "sample" and not self.greedy)
        return plain and not chain(self).steps

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.method == "greedy" or (self.method == "sample" and self.temperature == 0)

    @property
    def unmasks(self) -> bool:
        """Whether a model that fills gaps writes in its own way, and not from left to right."""
        return self.method != "beam" and self.unmask_order != "left"


@dataclass(frozen=True)
class History:
    """What the rows' texts hold so far.

    Attributes:
        text: the prompt and then the output, int64 (rows, longest), padded with -1. The END before
            a text is no part of it.
        start: where the output begins, int64 (rows,).
    """

    text: Tensor
    start: Tensor

    @staticmethod
    def of(
        texts: Sequence[Sequence[int]],
        starts: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> History:
        """Pad lists of ids, one a row."""
        padded = np.full((len(texts), max(map(len, texts), default=0)), -1, dtype=np.int64)
        for row, text in zip(padded, texts, strict=True):
            row[: len(text)] = text
        start = torch.tensor(starts, dtype=torch.long, device=device)
        return History(torch.from_numpy(padded).to(device), start)

    @property
    def length(self) -> Tensor:
        """The number of tokens in each row, int64 (rows,)."""
        return (self.text >= 0).sum(1)

    @property
    def output(self) -> Tensor:
        """What was written: the text with its prompt replaced by -1."""
        places = torch.arange(self.text.shape[1], device=self.text.device)
        return self.text.masked_fill(places < self.start[:, None], -1)


# -- warps ---------------------------------------------------------------------------------------


def bias(logits: Tensor, tokens: Sequence[int], amounts: Sequence[float]) -> Tensor:
    """Add an amount to the logits of each named token."""
    index = torch.tensor(tokens, dtype=torch.long, device=logits.device)
    change = torch.tensor(amounts, dtype=logits.dtype, device=logits.device)
    return _unless_empty(logits.index_add(1, index, change.expand(len(logits), -1)), logits)


def forbid(logits: Tensor, tokens: Sequence[int]) -> Tensor:
    """Forbid the named tokens."""
    index = torch.tensor(tokens, dtype=torch.long, device=logits.device)
    return _unless_empty(logits.index_fill(1, index, -math.inf), logits)


def gather_ends(logits: Tensor, ends: Sequence[int], *, likeliest: bool) -> Tensor:
    """Let END stand for the named tokens, too, which are forbidden in turn.

    Args:
        likeliest: it gets the largest of their logits, so that what is the likeliest stays so; else
            the probabilities of all of them together, so that a text ends as often as by each.
    """
    every = logits[:, [END, *ends]]
    gathered = forbid(logits, ends)
    gathered[:, END] = every.amax(1) if likeliest else every.logsumexp(1)
    return gathered


def repetition(logits: Tensor, history: History, penalty: float) -> Tensor:
    """Divide the logits of tokens in prompt or output; negative ones are multiplied instead.

    Keskar et al. (2019), *CTRL*, section 4.1; the rule for negative logits, which make the division
    a reward, is what all implementations add.
    """
    penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(_counts(history.text, logits) > 0, penalised, logits)


def presence(logits: Tensor, history: History, penalty: float) -> Tensor:
    """Subtract ``penalty`` from the logits of every token in the output."""
    return logits - penalty * (_counts(history.output, logits) > 0)


def frequency(logits: Tensor, history: History, penalty: float) -> Tensor:
    """Subtract ``penalty`` from the logits of a token for each time it is in the output."""
    return logits - penalty * _counts(history.output, logits)


def no_repeat(logits: Tensor, history: History, n: int) -> Tensor:
    """Forbid each token that would complete n tokens which the text already holds."""
    text, length = history.text, history.length
    if text.shape[1] < n:
        return logits.clone()
    last = length[:, None] - (n - 1) + torch.arange(n - 1, device=text.device)
    recent = text.gather(1, last.clamp_min(0))  # the n − 1 tokens that the next would follow
    grams = text.unfold(1, n, 1)  # (rows, places, n)
    again = (grams[..., :-1] == recent[:, None]).all(2) & (grams[..., -1] >= 0)
    completing = grams[..., -1].masked_fill(~again | (length < n)[:, None], -1)
    return _unless_empty(logits.masked_fill(_counts(completing, logits) > 0, -math.inf), logits)


def minimum_length(logits: Tensor, history: History, minimum: int) -> Tensor:
    """Forbid END where fewer than ``minimum`` tokens were written."""
    warped = logits.clone()
    warped[history.length - history.start < minimum, END] = -math.inf
    return _unless_empty(warped, logits)


def temperature(logits: Tensor, degree: float) -> Tensor:
    """Divide the logits by ``degree``; each row's largest becomes 0, so that none overflows."""
    return (logits - logits.amax(1, keepdim=True)) / max(degree, 1e-30)


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k likeliest tokens; of equal ones, the lower ids."""
    if k >= logits.shape[1]:
        return logits.clone()
    least = logits.topk(k, dim=1).values[:, -1:]
    above, level = logits > least, logits == least
    room = k - above.sum(1, keepdim=True)
    return logits.masked_fill(~(above | (level & (level.cumsum(1) <= room))), -math.inf)


def typical(logits: Tensor, p: float) -> Tensor:
    """Keep the tokens whose information is nearest to the entropy and that together have mass p.

    Meister et al. (2023), *Locally Typical Sampling*, equation 10.
    """
    logp = logits.log_softmax(1)
    entropy = -(logp.exp() * logp.clamp_min(-1e30)).sum(1, keepdim=True)
    return _keep_mass(logits, (-logp - entropy).abs().argsort(dim=1, stable=True), p)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of likeliest tokens with mass p at least; of equal ones, the lower ids.

    Holtzman et al. (2020), *The Curious Case of Neural Text Degeneration*, section 3.1.
    """
    return _keep_mass(logits, logits.argsort(dim=1, descending=True, stable=True), p)


def min_p(logits: Tensor, share: float) -> Tensor:
    """Keep the tokens whose probability is at least ``share`` of the largest.

    Nguyen et al. (2024), *Turning Up the Heat: Min-p Sampling*, section 3.
    """
    least = logits.amax(1, keepdim=True) + (math.log(share) if share > 0 else -math.inf)
    return logits.masked_fill(logits < least, -math.inf)


# -- the chain -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """A warp with its name and amount; ``looks_back`` says that it reads the history."""

    name: str
    amount: float
    warp: Callable[..., Tensor]
    looks_back: bool = False

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        """Warp logits, float32 (rows, vocabulary)."""
        if self.looks_back:
            return self.warp(logits, history, self.amount)
        return self.warp(logits, self.amount)

    def __str__(self) -> str:
        return f"{self.name} {self.amount:g}"


@dataclass(frozen=True)
class Chain:
    """Warps in the order in which they are applied; ``str`` shows them."""

    steps: tuple[Step, ...]

    @property
    def looks_back(self) -> bool:
        """Whether any step reads the history; where none does, it may be an empty one."""
        return any(step.looks_back for step in self.steps)

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        """Warp logits, float32 (rows, vocabulary)."""
        for step in self.steps:
            logits = step(logits, history)
        return logits

    def __str__(self) -> str:
        return " → ".join(map(str, self.steps)) or "as the model has it"


_READING = (  # name, field of Sampling, warp
    ("repetition", "repetition_penalty", repetition),
    ("presence", "presence_penalty", presence),
    ("frequency", "frequency_penalty", frequency),
    ("no repeated n-gram", "no_repeat_ngram", no_repeat),
    ("minimum length", "min_tokens", minimum_length),
)
_CUTTING = (
    ("temperature", "temperature", temperature),
    ("top-k", "top_k", top_k),
    ("typical", "typical_p", typical),
    ("top-p", "top_p", top_p),
    ("min-p", "min_p", min_p),
)


def chain(sampling: Sampling) -> Chain:
    """The steps that a request asks for: what reads the text comes before what cuts the tail.

    A greedy choice and a beam need no cutting: the likeliest tokens are what they take.
    """
    default = Sampling()
    steps = []
    if sampling.logit_bias:
        tokens, amounts = zip(*sampling.logit_bias, strict=True)
        steps.append(
            Step("logit bias", len(tokens), lambda logits, _: bias(logits, tokens, amounts))
        )
    for name, field, warp in _READING:
        amount = getattr(sampling, field)
        if amount != getattr(default, field):
            steps.append(Step(name, amount, warp, looks_back=True))
    draws = sampling.method == "sample" and not sampling.greedy
    for name, field, cut in _CUTTING if draws else ():
        amount = getattr(sampling, field)
        if amount != getattr(default, field):
            steps.append(Step(name, amount, cut))
    return Chain(tuple(steps))


# -- helpers -------------------------------------------------------------------------------------


def _counts(text: Tensor, logits: Tensor) -> Tensor:
    """How often each token is in each row of ``text``, (rows, vocabulary); -1 is no token."""
    zeros = torch.zeros_like(logits)
    return zeros.scatter_add(1, text.clamp_min(0), (text >= 0).to(logits.dtype))


def _keep_mass(logits: Tensor, order: Tensor, p: float) -> Tensor:
    """Keep tokens in the given order until their mass reaches p; the first is always kept."""
    # Float64: over a large vocabulary, a float32 running sum is off by more than the tail's mass.
    mass = logits.softmax(1, dtype=torch.float64).gather(1, order)
    keep = mass.cumsum(1) - mass < p
    return logits.masked_fill(~torch.empty_like(keep).scatter_(1, order, keep), -math.inf)


def _unless_empty(warped: Tensor, logits: Tensor) -> Tensor:
    """Take back what was done to a row if it forbids everything."""
    possible = (warped > -math.inf).any(1, keepdim=True)
    return torch.where(possible, warped, logits)
