"""The words every room shares. Importing this module is cheap: PyTorch is named, not loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Tokens: TypeAlias = "Tensor"
"""int64 ids, shape (rows, time)."""

Logits: TypeAlias = "Tensor"
"""float32 unnormalised log-probabilities of the *next* token, shape (rows, time, vocabulary)."""

State: TypeAlias = "dict[str, Tensor]"
"""What a model remembers of the tokens read so far. Every tensor has its rows on dim 0."""

END = 0
"""The one special id: it stands before a text and after every record, as beginning and end."""

IGNORE = -100
"""A target with this id costs nothing: padding, or text that is only to be read."""


class WenmoError(Exception):
    """The user's input is at fault. The message is one line: what, where, and what to do.

    The command line prints it and leaves with exit code 2. Anything else that escapes is our bug.
    """


def amount(number: float, noun: str, plural: str | None = None) -> str:
    """A number with its noun, in the plural unless it is 1: ``1 minute``, ``0.5 minutes``.

    Args:
        plural: the noun's plural; None: the noun with an s.
    """
    shown = f"{number:g}" if isinstance(number, float) else f"{number:,}"
    return f"{shown} {noun if number == 1 else plural or f'{noun}s'}"


def strings(values: Any, what: str) -> list[str]:
    """Several strings as a list: a list, a tuple, an array, a pandas Series; one string is one.

    Args:
        what: their name, for errors: ``prompts``.

    Raises:
        WenmoError: something else, or one of them is no string.
    """
    if isinstance(values, str):
        return [values]
    unordered = isinstance(values, Mapping | Set) or hasattr(values, "columns")
    if unordered or isinstance(values, bytes | bytearray) or not isinstance(values, Iterable):
        kind = type(values).__name__
        raise WenmoError(f"{what}: give a string or a list of strings, not {kind}")
    listed = list(values)
    for number, value in enumerate(listed, 1):
        if not isinstance(value, str):
            kind = type(value).__name__
            raise WenmoError(f"{what}: number {number} is {kind} ({value!r:.30}), not a string")
    return listed


def string(value: Any, what: str) -> str:
    """One string.

    Raises:
        WenmoError: something else.
    """
    if not isinstance(value, str):
        raise WenmoError(f"{what}: give one string, not {type(value).__name__}")
    return value


class WenmoWarning(UserWarning):
    """Something the user should know of what was asked, one line. The command line prints it."""


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The ids around a model's texts. Models that others trained have their own.

    Attributes:
        bos: before a text; there may be none.
        separator: between a source and its text, where it stands before that. There are none where
            a chat template writes all marks of a source itself.
        source_suffix: after a source that an encoder reads.
        eos: other ids that end a text as END does.
        suppressed: never written.
    """

    bos: tuple[int, ...] = (END,)
    separator: tuple[int, ...] = (END,)
    source_suffix: tuple[int, ...] = (END,)
    eos: tuple[int, ...] = ()
    suppressed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """What a model learns from, or is scored on.

    Attributes:
        tokens: the ids read, int64 (rows, time).
        targets: the id that should follow each of them, int64 (rows, time), ``IGNORE`` where
            nothing is asked.
        carry: bool (rows,), the rows that go on where the same rows of the batch before stopped, so
            that their state may be carried over (truncated back-propagation through time); ``None``
            if none does.
        source: for models with an encoder, the ids to condition on, int64 (rows, source time): each
            row's ids, their END, and ``IGNORE`` behind it where other rows are longer.
        positions: where each token stands in the text that is trained on, int64 (rows, time); where
            no target is asked for, anywhere.
        counted: for models that stand on counts, what the counts of *other* text say of each
            target, float32 (rows, time, columns); see `wenmo.models.hybrid.cross_fit`.
    """

    tokens: Tokens
    targets: Tokens
    carry_state: Tensor | None = None
    source: Tokens | None = None
    positions: Tensor | None = None
    prior_probs: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch where the model is."""
        others = (self.carry_state, self.source, self.positions, self.prior_probs)
        optional = (None if t is None else t.to(device) for t in others)
        return Batch(self.tokens.to(device), self.targets.to(device), *optional)


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of one batch.

    Attributes:
        total: what is minimised, a scalar: nats per target token, plus any regulariser.
        parts: named figures to watch; ``nats`` is always the plain cross-entropy per target token.
        state: the state after the batch, to carry into the next one; empty if there is none.
    """

    total: Tensor
    parts: dict[str, Tensor]
    state: State = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Score:
    """How likely a model finds each row of a batch.

    Attributes:
        nats: minus the natural log-probability of each row's targets, float64 (rows,).
        tokens: the number of targets counted in each row, int64 (rows,).
        bound: the figure is an upper bound on the nats (variational, diffusion), not exact.
        state: the state after the batch, to carry into the next one; empty if there is none.
    """

    nats: Tensor
    tokens: Tensor
    bound: bool = False
    state: State = field(default_factory=dict)
