"""Types that all packages share. Importing this module does not load PyTorch."""

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
"""A model's state after the tokens read so far. Dim 0 of every tensor is the batch."""

END = 0
"""The id of the special token before a text and after every record."""

IGNORE = -100
"""A target with this id is not scored: padding, or context."""


class WenmoError(Exception):
    """An error in the user's input. The message is one line: what is wrong, where, and what to do.

    The command line prints it and exits with code 2. Any other exception is a bug.
    """


def amount(number: float, noun: str, plural: str | None = None) -> str:
    """A number with its noun, in the plural unless the number is 1: ``1 minute``, ``0.5 minutes``.

    Args:
        plural: plural of the noun (default: the noun with an s).
    """
    shown = f"{number:g}" if isinstance(number, float) else f"{number:,}"
    return f"{shown} {noun if number == 1 else plural or f'{noun}s'}"


def strings(values: Any, name: str) -> list[str]:
    """Convert a list, tuple, array or pandas Series of strings, or a single string, to a list.

    Args:
        name: name of the argument, for error messages: ``prompts``.

    Raises:
        WenmoError: another type, or an item is not a string.
    """
    if isinstance(values, str):
        return [values]
    unordered = isinstance(values, Mapping | Set) or hasattr(values, "columns")
    if unordered or isinstance(values, bytes | bytearray) or not isinstance(values, Iterable):
        type_name = type(values).__name__
        raise WenmoError(f"{name}: give a string or a list of strings, not {type_name}")
    listed = list(values)
    for index, value in enumerate(listed, 1):
        if not isinstance(value, str):
            type_name = type(value).__name__
            raise WenmoError(f"{name}: item {index} is {type_name} ({value!r:.30}), not a string")
    return listed


def string(value: Any, name: str) -> str:
    """``value``, if it is a string.

    Raises:
        WenmoError: it is not a string.
    """
    if not isinstance(value, str):
        raise WenmoError(f"{name}: give one string, not {type(value).__name__}")
    return value


class WenmoWarning(UserWarning):
    """A one-line note for the user. The command line prints it."""


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The special token ids of a model. Pretrained models have their own.

    Attributes:
        bos: ids before a text, possibly none.
        separator: ids between a source and its target in a decoder-only model; none if a chat
            template writes them.
        source_suffix: ids after a source that an encoder reads.
        eos: ids that end a text, in addition to END.
        suppressed: ids that are never generated.
    """

    bos: tuple[int, ...] = (END,)
    separator: tuple[int, ...] = (END,)
    source_suffix: tuple[int, ...] = (END,)
    eos: tuple[int, ...] = ()
    suppressed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch for training or scoring.

    Attributes:
        tokens: input ids, int64 (rows, time).
        targets: the next id of each token, int64 (rows, time); ``IGNORE``: not scored.
        carry_state: bool (rows,), the rows that continue those of the previous batch, so that their
            state is carried over (truncated back-propagation through time); None: no row.
        source: source ids for models with an encoder, int64 (rows, source time): each row's ids,
            END, and ``IGNORE`` as padding.
        positions: position of each token in the training text, int64 (rows, time); arbitrary where
            there is no target.
        prior_probs: for mixtures with n-gram counts, the probabilities of each target by counts of
            *other* text, float32 (rows, time, columns); see `wenmo.models.hybrid.cross_fit`.
    """

    tokens: Tokens
    targets: Tokens
    carry_state: Tensor | None = None
    source: Tokens | None = None
    positions: Tensor | None = None
    prior_probs: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Move the batch to a device."""
        others = (self.carry_state, self.source, self.positions, self.prior_probs)
        optional = (None if t is None else t.to(device) for t in others)
        return Batch(self.tokens.to(device), self.targets.to(device), *optional)


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of one batch.

    Attributes:
        total: the scalar to minimise: nats per target token, plus any regularization.
        metrics: scalars for logging by name; ``nats`` is always the cross-entropy per target token.
        state: the state after the batch, for the next batch; empty if there is none.
    """

    total: Tensor
    metrics: dict[str, Tensor]
    state: State = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Score:
    """The negative log-likelihood of each row of a batch.

    Attributes:
        nats: negative natural log-likelihood of each row's targets, float64 (rows,).
        tokens: number of scored targets in each row, int64 (rows,).
        bound: ``nats`` is an upper bound (variational, diffusion).
        state: the state after the batch, for the next batch; empty if there is none.
    """

    nats: Tensor
    tokens: Tensor
    bound: bool = False
    state: State = field(default_factory=dict)
