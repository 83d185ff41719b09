"""Logits processors: every change of the next token's distribution, in one printable chain.

A processor is a pure function from logits, float32 (rows, vocab_size), to new logits of the same
shape; a forbidden token gets −inf. Rows are independent. Where a processor would forbid every token
of a row, it leaves the row as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wenmo.decoding.params import Sampling
from wenmo.types import END


@dataclass(frozen=True)
class History:
    """The tokens of each row's text so far.

    Attributes:
        text: the prompt and the output, int64 (rows, longest), padded with -1, without the END
            before the text.
        start: the index of the first output token, int64 (rows,).
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
        """The output: the text with its prompt replaced by -1."""
        positions = torch.arange(self.text.shape[1], device=self.text.device)
        return self.text.masked_fill(positions < self.start[:, None], -1)


# -- processors ----------------------------------------------------------------------------------


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
    """Give END the probability of other tokens that end a text, and forbid those.

    Args:
        likeliest: END gets the largest of their logits, so that the likeliest token stays the
            likeliest; else the sum of their probabilities, so that a text ends as often.
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
    processed = logits.clone()
    processed[history.length - history.start < minimum, END] = -math.inf
    return _unless_empty(processed, logits)


def temperature(logits: Tensor, value: float) -> Tensor:
    """Divide the logits by ``value``; each row's largest becomes 0, so that none overflows."""
    return (logits - logits.amax(1, keepdim=True)) / max(value, 1e-30)


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
    """A processor with its name and setting; ``looks_back``: it reads the history."""

    name: str
    amount: float
    process: Callable[..., Tensor]
    looks_back: bool = False

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        """Process logits, float32 (rows, vocab_size)."""
        if self.looks_back:
            return self.process(logits, history, self.amount)
        return self.process(logits, self.amount)

    def __str__(self) -> str:
        return f"{self.name} {self.amount:g}"


@dataclass(frozen=True)
class Chain:
    """Processors in the order in which they are applied; ``str`` shows them."""

    steps: tuple[Step, ...]

    @property
    def looks_back(self) -> bool:
        """Whether any step reads the history; otherwise the history may be empty."""
        return any(step.looks_back for step in self.steps)

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        """Process logits, float32 (rows, vocab_size)."""
        for step in self.steps:
            logits = step(logits, history)
        return logits

    def __str__(self) -> str:
        return " → ".join(map(str, self.steps)) or "as the model has it"


_READING = (  # name, field of Sampling, processor
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
    """The processors of a request: those that read the history come before those that cut the tail.

    Greedy and beam search take the likeliest tokens, so they need no cutting.
    """
    default = Sampling()
    steps = []
    if sampling.logit_bias:
        tokens, amounts = zip(*sampling.logit_bias, strict=True)
        steps.append(
            Step("logit bias", len(tokens), lambda logits, _: bias(logits, tokens, amounts))
        )
    for name, field, process in _READING:
        amount = getattr(sampling, field)
        if amount != getattr(default, field):
            steps.append(Step(name, amount, process, looks_back=True))
    draws = sampling.draws and sampling.method != "uniform"
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


def _unless_empty(processed: Tensor, logits: Tensor) -> Tensor:
    """The logits as they were for rows in which everything is forbidden."""
    possible = (processed > -math.inf).any(1, keepdim=True)
    return torch.where(possible, processed, logits)
