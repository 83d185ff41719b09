"""Logits processors: every change of the next token's distribution, in one printable chain.

A processor is a pure function from logits, float32 (rows, vocab_size), to new logits of the same
shape; a forbidden token gets −inf. Rows are independent. Where a processor would forbid every token
of a row, it leaves the row as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wenmo.decoding import truncation
from wenmo.decoding.chain_text import format_setting
from wenmo.decoding.dry import SequenceBreakers, dry
from wenmo.decoding.history import History
from wenmo.decoding.params import PROCESSORS, READING, Sampling
from wenmo.types import END

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


# -- the chain -----------------------------------------------------------------------------------

_PROCESS: dict[str, Callable[..., Tensor]] = {
    "logit_bias": lambda logits, biases: bias(logits, *zip(*biases, strict=True)),
    "repetition_penalty": repetition,
    "presence_penalty": presence,
    "frequency_penalty": frequency,
    "dry_multiplier": dry,
    "no_repeat_ngram": no_repeat,
    "min_tokens": minimum_length,
    "temperature": truncation.temperature,
    "top_n_sigma": truncation.top_n_sigma,
    "top_k": truncation.top_k,
    "tfs_z": truncation.tail_free,
    "typical_p": truncation.typical,
    "top_p": truncation.top_p,
    "min_p": truncation.min_p,
    "epsilon_cutoff": truncation.epsilon_cutoff,
    "eta_cutoff": truncation.eta_cutoff,
    "xtc_probability": truncation.exclude_top_choices,
    "mirostat": truncation.mirostat,
}
_LOOK_BACK = READING.keys() - {"logit_bias"} | {"mirostat"}
_DRAW = {"xtc_probability"}


@dataclass(frozen=True)
class Step:
    """A processor with its settings.

    Attributes:
        name: the setting that turns it on, of `PROCESSORS`.
        settings: this and its other settings, by name.
        process: called with the logits, the history if it needs one, and further arguments.
        arguments: the further arguments.
    """

    name: str
    settings: Mapping[str, Any]
    process: Callable[..., Tensor]
    arguments: tuple[Any, ...]

    @property
    def looks_back(self) -> bool:
        """Whether the result depends on the tokens before."""
        return self.name in _LOOK_BACK

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        """Process logits, float32 (rows, vocab_size)."""
        if self.looks_back or self.name in _DRAW:
            return self.process(logits, history, *self.arguments)
        return self.process(logits, *self.arguments)

    def __str__(self) -> str:
        return " ".join(f"{name}={format_setting(value)}" for name, value in self.settings.items())


@dataclass(frozen=True)
class Chain:
    """Processors in the order in which they are applied; ``str`` shows them."""

    steps: tuple[Step, ...]

    @property
    def looks_back(self) -> bool:
        """Whether any step reads the tokens before; otherwise the history may be empty."""
        return any(step.looks_back for step in self.steps)

    @property
    def before_mirostat(self) -> Chain | None:
        """The steps before mirostat, which measures surprise by their result; None without it."""
        names = [step.name for step in self.steps]
        return Chain(self.steps[: names.index("mirostat")]) if "mirostat" in names else None

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        """Process logits, float32 (rows, vocab_size)."""
        for step in self.steps:
            logits = step(logits, history)
        return logits

    def __str__(self) -> str:
        return " → ".join(map(str, self.steps)) or "as the model has it"


def chain(sampling: Sampling, table: Sequence[bytes] | None = None) -> Chain:
    """The processors of a request: those that read the history come before those that cut the tail,
    unless ``sampling.chain`` has them in another order.

    Greedy and beam search take the likeliest tokens, so they need no cutting.

    Args:
        table: the bytes of each token, by which DRY finds its sequence breakers; None: it finds
            none.
    """
    names = [name for name in sampling.order if sampling.cuts or name in READING]
    return Chain(tuple(_step(sampling, name, table) for name in names))


def _step(sampling: Sampling, name: str, table: Sequence[bytes] | None) -> Step:
    settings = {each: getattr(sampling, each) for each in (name, *PROCESSORS[name])}
    process, arguments = _PROCESS[name], tuple(settings.values())
    if name == "temperature":
        if sampling.dynatemp_range:
            process = truncation.dynamic_temperature
        else:
            settings, arguments = {name: sampling.temperature}, (sampling.temperature,)
    elif name == "mirostat":  # the target and the rate are for μ, which the history has
        arguments = (sampling.mirostat,)
    elif name == "dry_multiplier":
        strings = sampling.dry_sequence_breakers
        breakers = None if table is None else SequenceBreakers(table, strings)
        arguments = (*arguments[:-1], breakers)
    return Step(name, settings, process, arguments)


# -- helpers -------------------------------------------------------------------------------------


def _counts(text: Tensor, logits: Tensor) -> Tensor:
    """How often each token is in each row of ``text``, (rows, vocabulary); -1 is no token."""
    zeros = torch.zeros_like(logits)
    return zeros.scatter_add(1, text.clamp_min(0), (text >= 0).to(logits.dtype))


def _unless_empty(processed: Tensor, logits: Tensor) -> Tensor:
    """The logits as they were for rows in which everything is forbidden."""
    possible = (processed > -math.inf).any(1, keepdim=True)
    return torch.where(possible, processed, logits)
